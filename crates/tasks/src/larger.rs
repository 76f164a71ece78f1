//! Which of two numbers is larger: a whole task at its smallest, and the one to copy (docs/adding-a-task.md).
//!
//! Only that number by itself is right. Left out: equal numbers, and levels of difficulty.

use crate::draw::Drawn;
use crate::task::{Problem, Source, Task, TaskError, Trace, Verdict};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The dials of [`Larger`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// The largest number that is asked about, 10 to 1,000,000.
    pub max_number: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, max_number: 999 }
    }
}

/// The task.
pub struct Larger(Drawn<Config>);

impl Larger {
    /// Sets it up.
    ///
    /// # Errors
    /// [`TaskError::Dial`] if a dial is out of range.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        if !(10..=1_000_000).contains(&config.max_number) {
            let (key, value, cure) = ("max_number", config.max_number.to_string(), "give 10 to 1,000,000");
            return Err(TaskError::Dial { task: "larger", key, value, cure });
        }
        Ok(Self(Drawn::new("larger", seed, config, [], draw)?))
    }
}

/// A problem, or nothing if the two numbers are equal.
fn draw(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    let [a, b] = [(); 2].map(|()| rng.random_range(0..=config.max_number));
    let (small, large) = (a.min(b), a.max(b));
    (small < large).then(|| Problem {
        id: format!("larger/{small},{large}"), // the same for either order, so that both lie in one split
        task: "larger".into(),
        prompt: format!("Which is larger, {a} or {b}?"),
        gold: serde_json::json!([small, large]),
    })
}

/// The two numbers, the larger one last; `None` for another task's problem.
fn numbers(problem: &Problem) -> Option<[u32; 2]> {
    serde_json::from_value(problem.gold.clone()).ok()
}

impl Task for Larger {
    fn name(&self) -> &'static str {
        "larger"
    }

    fn source(&self) -> &dyn Source {
        &self.0
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let [small, large] = numbers(problem)?;
        Some(Trace { thinking: format!("{large}-{small}={}", large.checked_sub(small)?), answer: large.to_string() })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        match numbers(problem) {
            Some([_, large]) if answer.trim() == large.to_string() => Verdict::Right(1.0),
            Some([_, large]) => Verdict::Wrong(format!("the larger number is {large}")),
            None => Verdict::foreign("larger", problem),
        }
    }
}
