//! The keys of evaluation.

use serde::{Deserialize, Serialize};

use super::{Fault, MAX_TOKENS, Stage, check_sampling, leaves_room, within};

/// Evaluation on held-out problems. The defaults are R1's sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// Held-out problems per task.
    pub problems: usize,
    /// k, samples per problem, whose accuracies are averaged. R1: 4 to 64, by benchmark.
    pub samples: usize,
    /// Of the samples.
    #[serde(default = "default::temperature")]
    pub temperature: f64,
    /// Share of the probability that is sampled from.
    #[serde(default = "default::top_p")]
    pub top_p: f64,
    /// Tokens that a sample may have after its prompt. R1: 32,768.
    pub max_tokens: usize,
    /// Decides problems and samples. Apart from the run's `seed`, so that runs from several seeds
    /// meet the same problems.
    #[serde(default)]
    pub problem_seed: u64,
}

impl Stage for Eval {
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("problems", self.problems, 1..=1_000_000)?;
        within("samples", self.samples, 1..=1 << 16)?;
        check_sampling(self.temperature, self.top_p)?;
        within("max_tokens", self.max_tokens, 1..=MAX_TOKENS)?;
        leaves_room("max_tokens", self.max_tokens, positions)
    }
}

mod default {
    pub fn temperature() -> f64 {
        0.6
    }
    pub fn top_p() -> f64 {
        0.95
    }
}
