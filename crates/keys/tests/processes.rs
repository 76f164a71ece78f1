//! Several processes with one file, one of which dies in the middle.
//!
//! The other process is this program again, told by the environment what to do in the test `other_process`.

use picnic_keys::{Error, Keys, NewKey, Refusal, Scope, Timestamp, Usage};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The file and the secret, separated by a line's end.
const TASK: &str = "PICNIC_KEYS_TEST";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Starts a process that records 3 and 5 tokens again and again, on four threads, and prints a line when they are recorded.
fn recorder(file: &Path, secret: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "other_process", "--nocapture"]).env(TASK, format!("{}\n{secret}", file.display()));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn other_process() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (file, secret) = task.split_once('\n').unwrap();
    let keys = Keys::open(Path::new(file)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Until it is killed, or its key revoked.
                while let Ok(grant) = keys.authorize(secret, Scope::Inference, now()) {
                    keys.record(&grant, Usage::of_request(3, 5), now()).unwrap();
                    let mut out = std::io::stdout().lock();
                    out.write_all(b"recorded\n").and_then(|()| out.flush()).unwrap();
                }
            });
        }
    });
}

/// Reads `count` acknowledgements.
fn wait_for(lines: &mut impl Iterator<Item = std::io::Result<String>>, count: usize) {
    let acknowledged = lines.filter(|line| line.as_ref().is_ok_and(|line| line.contains("recorded")));
    assert_eq!(acknowledged.take(count).count(), count);
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.sqlite");
    let (_, secret) = Keys::open(&file).unwrap().create(&NewKey::named("a"), now()).unwrap();
    let mut acknowledged = 0;
    for round in 0..5 {
        let mut child = recorder(&file, secret.reveal());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        wait_for(&mut lines, 7 + 11 * round);
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        // What it said before it died, after what was waited for.
        let rest = lines.map_while(Result::ok).filter(|line| line.contains("recorded")).count();
        acknowledged += (7 + 11 * round + rest) as u64;
        let used = Keys::open(&file).unwrap().usage("a").unwrap().0.used;
        assert!(used.requests >= acknowledged, "{} of {acknowledged} acknowledged requests are there", used.requests);
        // Four threads may each have recorded one that they could not say any more.
        assert!(used.requests <= acknowledged + 4 * (round as u64 + 1), "{} of {acknowledged}", used.requests);
        assert_eq!((used.prompt_tokens, used.completion_tokens), (3 * used.requests, 5 * used.requests));
    }
}

#[test]
fn two_processes_record_and_a_third_revokes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.sqlite");
    let keys = Keys::open(&file).unwrap();
    let (_, secret) = keys.create(&NewKey::named("a"), now()).unwrap();
    let mut children = [recorder(&file, secret.reveal()), recorder(&file, secret.reveal())];
    let mut acknowledged = 0;
    let mut outputs: Vec<_> =
        children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap()).lines()).collect();
    for output in &mut outputs {
        wait_for(output, 20);
        acknowledged += 20;
    }
    keys.revoke("a", now()).unwrap();
    assert!(matches!(keys.authorize(secret.reveal(), Scope::Inference, now()), Err(Refusal::Revoked)));
    // Both hear of it by themselves, and end well.
    for (child, output) in children.iter_mut().zip(outputs) {
        acknowledged += output.map_while(Result::ok).filter(|line| line.contains("recorded")).count() as u64;
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(keys.usage("a").unwrap().0.used.requests, acknowledged);
    assert!(matches!(keys.revoke("a", now()), Err(Error::NoSuchKey(_))));
}

#[test]
fn who_opens_a_new_file_at_the_same_time_gets_the_same_file() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.sqlite");
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let file = &file;
                scope.spawn(move || Keys::open(file).unwrap().create(&NewKey::named(name), now()).map(drop).unwrap());
            }
        });
        assert_eq!(Keys::open(&file).unwrap().list().unwrap().len(), 4);
    }
}
