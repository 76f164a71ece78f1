//! Answers to problems, in the trainer's process on the trainer's parameters, and what rules say of them.

use crate::error::Error;
use crate::load::check_positions;
use crate::watch;
use picnic_data::ProblemFormat;
use picnic_engine::{Completion, Limits, Request, Sampling, generate_counted};
use picnic_model::{Backend, CacheForm, Ops, SharedModel};
use picnic_tasks::{Problem, Reward, RewardWeights, Task, Verdict, score};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Sequences that a thread generates at once: enough rows for full tiles, few enough to stay in cache.
const SEQUENCES: usize = 128;

/// Tokens that a thread reads in a step.
const BATCH_TOKENS: usize = 512;

/// How answers are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Samples of each prompt.
    pub samples: usize,
    /// Tokens of an answer at most.
    pub max_tokens: usize,
    /// Divides the logits.
    pub temperature: f64,
    /// Share of the probability to draw from.
    pub top_p: f64,
    /// Every sample's random stream starts from this, its prompt's number and its own.
    pub seed: u64,
}

/// One answer.
pub struct Sample {
    /// Which prompt.
    pub prompt: usize,
    /// Tokens and their logprobs.
    pub completion: Completion,
}

/// `draw.samples` answers to each prompt, in order, by one engine on the model as it is, with a cache of `form`; no answer
/// depends on the threads of `ops`.
///
/// # Errors
/// If a prompt with its answer may outgrow the model's positions, the engine refuses it, or memory runs out.
pub fn roll_out(
    ops: &Backend,
    model: &SharedModel<Backend>,
    prompts: &[Vec<u32>],
    stop: &[u32],
    form: CacheForm,
    draw: Draw,
) -> Result<Vec<Sample>, Error> {
    // More than a number can count is more than any model has positions for.
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0).saturating_add(draw.max_tokens);
    check_positions("the longest prompt with its answer", longest, model.model().config().max_position_embeddings)?;
    let sequences = SEQUENCES * ops.parallelism();
    // Nothing is kept: samples of one prompt share it while they run, and the next rollout has other weights.
    let cache_tokens = Limits::cache_for::<Backend>(sequences, longest);
    let limits = Limits { cache: form, ..Limits::new(sequences, BATCH_TOKENS * ops.parallelism(), cache_tokens) };
    let request = |i: usize| Request {
        stop: stop.to_vec(),
        sampling: Sampling {
            temperature: draw.temperature as f32,
            top_p: draw.top_p as f32,
            seed: picnic_random::child(draw.seed, i as u64),
            ..Sampling::GREEDY
        },
        ..Request::new(prompts[i / draw.samples].clone(), draw.max_tokens)
    };
    let requests: Vec<Request> = (0..prompts.len() * draw.samples).map(request).collect();
    let mark = watch::counting("rollout: has generated", requests.len(), "answers");
    let answers = generate_counted(ops, model, limits, requests, |count| mark.done(count as u64))?;
    let sample = |(i, completion)| Sample { prompt: i / draw.samples, completion };
    Ok(answers.into_iter().enumerate().map(sample).collect())
}

/// The prompts of `problems`.
///
/// # Errors
/// If the chat template fails.
pub fn prompts(format: &ProblemFormat, problems: &[Problem]) -> Result<Vec<Vec<u32>>, Error> {
    problems.iter().map(|problem| Ok(format.prompt(&problem.prompt)?)).collect()
}

/// What the rules say of a sample. Verifiers must not panic; one that does could not judge, and the run goes on.
pub fn judge(
    tasks: &dyn Task,
    format: &ProblemFormat,
    problems: &[Problem],
    sample: &Sample,
    weights: RewardWeights,
) -> Reward {
    let problem = &problems[sample.prompt];
    let text = format.text(&sample.completion.tokens);
    let _judging = watch::at(format!("verifier: task {}", problem.task));
    match caught(|| score(tasks, problem, &text, format.layout, weights)) {
        Some(reward) => reward,
        None => Reward {
            accuracy: Verdict::CouldNotJudge("the verifier panicked".to_owned()),
            format: format.layout.parse(&text).is_some(),
            language: 0.0,
            total: None,
        },
    }
}

thread_local! {
    /// Whether a panic on this thread is caught by [`caught`], so that nobody needs to hear of it.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or `None` if it panics, which is then not printed.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                loud(panic);
            }
        }));
    });
    IS_CAUGHT.set(true);
    // A verifier only reads, so there is nothing that it could leave half done.
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(false);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_chat::ChatFormat;
    use picnic_engine::{Finish, Reading};
    use picnic_tasks::{Source, Split, Trace};
    use picnic_tokenizer::{Tokenizer, TrainConfig};

    /// Its verifier indexes into what a model may leave empty.
    struct Careless;

    impl Source for Careless {
        fn problem(&self, _: Split, index: u64) -> Problem {
            let id = format!("careless/{index}");
            Problem { id, task: "careless".into(), prompt: "Say a.".into(), gold: "a".into() }
        }
    }

    impl Task for Careless {
        fn name(&self) -> &'static str {
            "careless"
        }

        fn source(&self) -> &dyn Source {
            self
        }

        fn trace(&self, _: &Problem) -> Option<Trace> {
            None
        }

        fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
            let said = answer.split('=').nth(1).expect("an equation");
            if problem.gold == said { Verdict::Right(1.0) } else { Verdict::Wrong("another letter".into()) }
        }
    }

    #[test]
    fn a_verifier_that_panics_could_not_judge() {
        let config = TrainConfig { vocab_size: 300, ..TrainConfig::default() };
        let chat = ChatFormat::picnic(Tokenizer::train(["a b c"], &config).unwrap());
        let format = ProblemFormat::new(&chat).unwrap();
        let problems = [Task::problem(&Careless, Split::Train, 0)];
        let reward = |text: &str| {
            let tokens = chat.tokenizer().encode(text, false).unwrap();
            let logprobs = vec![-1.0; tokens.len()];
            let completion = Completion { tokens, logprobs, finish: Finish::Stop, reading: Reading::default() };
            judge(&Careless, &format, &problems, &Sample { prompt: 0, completion }, RewardWeights::default())
        };
        let broken = reward("<think>a</think><answer>a</answer>");
        assert!(matches!(broken.accuracy, Verdict::CouldNotJudge(_)) && broken.format && broken.total.is_none());
        // The next one is judged as ever, and so is a text that never reaches the verifier.
        assert_eq!(reward("<think>a</think><answer>x=a</answer>").total, Some(2.0));
        assert_eq!(reward("a").total, Some(0.0));
    }
}
