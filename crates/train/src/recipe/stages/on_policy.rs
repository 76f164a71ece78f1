//! The keys of on-policy distillation.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::is_a_model;
use super::{
    Fault, MAX_BATCH, MAX_STEPS, MAX_TOKENS, Optimizer, Stage, check_balance, check_sampling, leaves_room, within,
};

/// On-policy distillation: the student answers, the teacher says how likely it finds every token
/// (Agarwal et al. 2024, generalised knowledge distillation, with the reverse divergence).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnPolicy {
    /// The model to learn from, with the student's vocabulary. In the whole chain it is the chain's last model.
    #[serde(default)]
    pub teacher: Option<PathBuf>,
    /// Optimizer steps, each on fresh answers.
    pub steps: usize,
    /// Questions in a step.
    pub questions: usize,
    /// Answers to each. They need no baseline, so one is enough.
    #[serde(default = "default::samples")]
    pub samples: usize,
    /// Tokens that an answer may have.
    pub max_tokens: usize,
    /// Of the samples. Any other value than 1 samples from another policy than the one whose gradient is taken.
    #[serde(default = "default::one")]
    pub temperature: f64,
    /// Share of the probability that is sampled from; less than 1 is another policy too.
    #[serde(default = "default::one")]
    pub top_p: f64,
    /// Share of the next token's cost that a token pays, the one after that twice discounted, and so on: 0 for its own
    /// alone, 1 for the whole rest of the answer.
    #[serde(default)]
    pub discount: f64,
    /// What moves the weights, and its schedule.
    pub optimizer: Optimizer,
    /// γ, how far a router's bias moves after each step.
    #[serde(default = "default::router_bias_speed")]
    pub router_bias_speed: f64,
    /// α, the weight of the sequence-wise balance loss.
    #[serde(default = "default::balance_alpha")]
    pub balance_alpha: f64,
    /// Steps between checkpoints that `--resume` can go on from; the finished model needs none.
    #[serde(default = "default::checkpoint_every")]
    pub checkpoint_every: usize,
}

impl Stage for OnPolicy {
    const TUNED: &'static [&'static str] = &[""];

    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        if let Some(teacher) = &self.teacher {
            is_a_model("teacher", teacher)?;
        }
        within("steps", self.steps, 1..=MAX_STEPS)?;
        within("questions", self.questions, 1..=MAX_BATCH)?;
        within("samples", self.samples, 1..=1 << 16)?;
        within("max_tokens", self.max_tokens, 1..=MAX_TOKENS)?;
        leaves_room("max_tokens", self.max_tokens, positions)?;
        check_sampling(self.temperature, self.top_p)?;
        if !(0.0..=1.0).contains(&self.discount) {
            return Err(Fault::new("discount", format!("{} is no share", self.discount), "give a number from 0 to 1"));
        }
        check_balance(self.router_bias_speed, self.balance_alpha)?;
        within("checkpoint_every", self.checkpoint_every, 1..=MAX_STEPS)?;
        self.optimizer.check()
    }
}

mod default {
    pub use super::super::default::*;
    pub fn samples() -> usize {
        1
    }
}
