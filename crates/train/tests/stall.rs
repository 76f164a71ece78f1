//! A component that stalls is named. By itself in a file, because marks are of the whole process.

use picnic_chat::ChatFormat;
use picnic_data::ProblemFormat;
use picnic_engine::{Completion, Finish, Reading};
use picnic_tasks::{Problem, RewardWeights, Source, Split, Task, Trace, Verdict};
use picnic_tokenizer::{Tokenizer, TrainConfig};
use picnic_train::rollout::{Sample, judge};
use picnic_train::watch::{Watchdog, at, counting};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long to wait for the next note. Each comes after twice the time of the one before, so this bounds all of them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Judges only when somebody has noticed that it does not.
struct Stubborn(Mutex<Receiver<String>>, Mutex<Vec<String>>);

impl Source for Stubborn {
    fn problem(&self, _: Split, _: u64) -> Problem {
        Problem { id: "stubborn/1".into(), task: "stubborn".into(), prompt: "?".into(), gold: serde_json::Value::Null }
    }
}

impl Task for Stubborn {
    fn name(&self) -> &'static str {
        "stubborn"
    }

    fn source(&self) -> &dyn Source {
        self
    }

    fn trace(&self, _: &Problem) -> Option<Trace> {
        None
    }

    fn verify(&self, _: &Problem, _: &str) -> Verdict {
        let notes = self.0.lock().unwrap();
        let next = || notes.recv_timeout(PATIENCE).expect("a note that names the verifier");
        // On a busy machine a thread may stand still before it comes here, and that is noted too.
        let mut note = next();
        while !note.contains("verifier") {
            note = next();
        }
        self.1.lock().unwrap().extend([note, next()]);
        Verdict::Right(1.0)
    }
}

#[test]
fn a_verifier_that_stalls_is_named_and_named_again() {
    let (said, notes) = channel();
    let watchdog = Watchdog::start(Duration::from_millis(20), move |note| drop(said.send(note.to_owned())));
    let config = TrainConfig { vocab_size: 280, ..TrainConfig::default() };
    let chat = ChatFormat::picnic(Tokenizer::train(["1 + 1 = 2"], &config).unwrap());
    let format = ProblemFormat::new(&chat).unwrap();
    let tokens = chat.tokenizer().encode("<think>so</think><answer>4</answer>", false).unwrap();
    let (logprobs, reading) = (vec![0.0; tokens.len()], Reading::default());
    let completion = Completion { logprobs, tokens, finish: Finish::Stop, reading };
    let task = Stubborn(Mutex::new(notes), Mutex::default());
    let problems = [Task::problem(&task, Split::Train, 0)];

    let stage = counting("stage rl has done", 60, "steps");
    stage.done(7);
    drop(at("something that has ended"));
    let reward = judge(&task, &format, &problems, &Sample { prompt: 0, completion }, RewardWeights::default());
    assert!(reward.accuracy.is_right(), "the run goes on");
    for note in task.1.lock().unwrap().iter() {
        assert!(note.ends_with("s: stage rl has done 7 of 60 steps; verifier: task stubborn"), "{note}");
    }
    drop(watchdog);
}
