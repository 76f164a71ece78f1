//! What the cold start's search is worth: accuracy and length of the Countdown traces at
//! several settings of their dials, on the training problems that they are made for. A model
//! that imitates them perfectly would reach the accuracy shown.
//!
//! ```text
//! cargo run --release -p picnic-tasks --example policy
//! ```

use picnic_tasks::countdown::{Config, Countdown};
use picnic_tasks::{Split, Task};

const PROBLEMS: u64 = 2000;

fn main() -> Result<(), picnic_tasks::TaskError> {
    println!("numbers skill foresight give_up attempts | right  mean chars  p95 chars");
    for numbers in [3, 4] {
        for (skill, foresight, give_up, max_attempts) in [
            // The default, and what each dial alone would add to it.
            (0.5, 0.0, 0.5, 16),
            (0.5, 0.0, 0.0, 16),
            (1.0, 0.0, 0.5, 16),
            (0.5, 0.3, 0.5, 16),
            // Blind, thorough, and perfect.
            (0.0, 0.0, 1.0, 1),
            (1.0, 0.0, 0.0, 16),
            (1.0, 1.0, 0.0, 1),
            // In between.
            (0.5, 0.0, 0.3, 5),
            (0.8, 0.1, 0.15, 5),
        ] {
            let config =
                Config { numbers: [numbers, numbers], skill, foresight, give_up, max_attempts, ..Config::default() };
            let (right, mean, p95) = measure(&Countdown::new(config, 0)?);
            println!(
                "{numbers:7} {skill:5} {foresight:9} {give_up:7} {max_attempts:8} | {:4.1}% {mean:11} {p95:10}",
                100.0 * right
            );
        }
    }
    Ok(())
}

/// Share of traces that end right, and the length of their thinking in characters, nearly all
/// of which are tokens of their own.
fn measure(task: &Countdown) -> (f64, usize, usize) {
    let mut right = 0;
    let mut lengths = Vec::new();
    for problem in (0..PROBLEMS).map(|index| task.problem(Split::Train, index)) {
        if let Some(trace) = task.trace(&problem) {
            right += usize::from(task.verify(&problem, &trace.answer).is_right());
            lengths.push(trace.thinking.chars().count());
        }
    }
    lengths.sort_unstable();
    let mean = lengths.iter().sum::<usize>() / lengths.len().max(1);
    let p95 = lengths[lengths.len() * 95 / 100];
    (right as f64 / PROBLEMS as f64, mean, p95)
}
