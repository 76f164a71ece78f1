//! The keys of pre-training.

use serde::{Deserialize, Serialize};

use super::{Fault, MAX_BATCH, MAX_STEPS, MAX_TOKENS, Optimizer, Stage, check_balance, default, fits, no_mtp, within};

/// Pre-training on generated text, packed into sequences of one length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretrain {
    /// Optimizer steps.
    pub steps: usize,
    /// Sequences in a step. V3: 3,072 growing to 15,360.
    pub batch_sequences: usize,
    /// Tokens in a sequence. V3: 4,096.
    pub sequence_tokens: usize,
    /// What moves the weights, and its schedule.
    pub optimizer: Optimizer,
    /// γ, how far a router's bias moves per step [V3].
    #[serde(default = "default::router_bias_speed")]
    pub router_bias_speed: f64,
    /// α, the weight of the sequence-wise balance loss [V3].
    #[serde(default = "default::balance_alpha")]
    pub balance_alpha: f64,
    /// λ, the weight of the loss of multi-token prediction; 0 leaves the module as it is. V3: 0.3, then 0.1.
    #[serde(default)]
    pub mtp_weight: f64,
    /// Steps between checkpoints that `--resume` can go on from; the finished model needs none.
    #[serde(default = "default::checkpoint_every")]
    pub checkpoint_every: usize,
}

impl Stage for Pretrain {
    const TUNED: &'static [&'static str] = &[""];

    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("steps", self.steps, 1..=MAX_STEPS)?;
        within("batch_sequences", self.batch_sequences, 1..=MAX_BATCH)?;
        // One token has no next one to predict.
        within("sequence_tokens", self.sequence_tokens, 2..=MAX_TOKENS)?;
        fits("sequence_tokens", self.sequence_tokens, positions)?;
        check_balance(self.router_bias_speed, self.balance_alpha)?;
        within("mtp_weight", self.mtp_weight, 0.0..=1.0)?;
        within("checkpoint_every", self.checkpoint_every, 1..=MAX_STEPS)?;
        self.optimizer.check()
    }

    fn check_without_mtp(&self) -> Result<(), Fault> {
        no_mtp(self.mtp_weight)
    }
}
