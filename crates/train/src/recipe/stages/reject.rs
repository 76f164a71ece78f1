//! The keys of rejection sampling.

use serde::{Deserialize, Serialize};

use super::{Fault, MAX_BATCH, MAX_TOKENS, Stage, check_sampling, leaves_room, within};

/// Rejection sampling: answers of a model of which the right ones become a set to fine-tune on [R1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Problems to pose.
    pub questions: usize,
    /// Answers to each.
    pub samples: usize,
    /// Right answers of one problem that are kept at most, the first distinct ones. R1: about 600,000 in all.
    #[serde(default = "default::keep")]
    pub keep: usize,
    /// Tokens that an answer may have. R1: 32,768.
    pub max_tokens: usize,
    /// Of the samples.
    #[serde(default = "default::one")]
    pub temperature: f64,
    /// Share of the probability that is sampled from.
    #[serde(default = "default::one")]
    pub top_p: f64,
    /// Problems whose answers are drawn together and written before the next: what `--resume` goes on from.
    #[serde(default = "default::batch_questions")]
    pub batch_questions: usize,
}

impl Stage for Reject {
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("questions", self.questions, 1..=100_000_000)?;
        within("samples", self.samples, 1..=1 << 16)?;
        within("keep", self.keep, 1..=1 << 16)?;
        within("max_tokens", self.max_tokens, 1..=MAX_TOKENS)?;
        leaves_room("max_tokens", self.max_tokens, positions)?;
        check_sampling(self.temperature, self.top_p)?;
        within("batch_questions", self.batch_questions, 1..=MAX_BATCH)
    }
}

mod default {
    pub use super::super::default::*;
    pub fn keep() -> usize {
        1
    }
    pub fn batch_questions() -> usize {
        256
    }
}
