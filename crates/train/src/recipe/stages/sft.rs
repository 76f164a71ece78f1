//! The keys of supervised fine-tuning.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Fault, MAX_BATCH, MAX_STEPS, MAX_TOKENS, Optimizer, Stage, check_balance, default, fits, no_mtp, within};

/// Cold-start fine-tuning on worked problems in the think/answer format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sft {
    /// Worked problems to learn from, seen over and over. R1: thousands.
    pub examples: usize,
    /// A file to learn from instead of the tasks' own worked problems, the first `examples` of its rows:
    /// `{"prompt", "completion"}` or `{"prompt", "thinking", "answer"}`, one a line.
    #[serde(default)]
    pub traces: Option<PathBuf>,
    /// Most exchanges of a conversation; 1 for every question by itself. Three quarters of the examples are single
    /// questions, the others have each larger number of exchanges equally often. The exchanges before the last are other
    /// problems with their answers, without the thinking; only the last is learned.
    #[serde(default = "one_turn")]
    pub turns: usize,
    /// Share of what is learned from that is text of pre-training, beside those examples: what stands only there is
    /// forgotten otherwise. R1's second fine-tuning has a quarter of general data (section 2.3.3).
    #[serde(default)]
    pub replay: f64,
    /// Optimizer steps. R1: 2–3 epochs.
    pub steps: usize,
    /// Examples in a step. R1: 128.
    pub batch_examples: usize,
    /// Whether a step's examples are dealt to the lanes by length, so that no lane waits long for another. The gradient is
    /// the same up to rounding.
    #[serde(default)]
    pub even_lanes: bool,
    /// Examples longer than this, prompt included, are left out. R1: 32,768.
    pub max_tokens: usize,
    /// What moves the weights, and its schedule. R1: 5e-5 to 5e-6, cosine.
    pub optimizer: Optimizer,
    /// γ, how far a router's bias moves per step.
    #[serde(default = "default::router_bias_speed")]
    pub router_bias_speed: f64,
    /// α, the weight of the sequence-wise balance loss.
    #[serde(default = "default::balance_alpha")]
    pub balance_alpha: f64,
    /// λ, the weight of the loss of multi-token prediction; 0 leaves the module as it is.
    #[serde(default)]
    pub mtp_weight: f64,
    /// Steps between checkpoints that `--resume` can go on from; the finished model needs none.
    #[serde(default = "default::checkpoint_every")]
    pub checkpoint_every: usize,
}

impl Stage for Sft {
    const TUNED: &'static [&'static str] = &[""];

    /// A file of traces takes the place of worked problems, but texts are made of tasks too.
    fn uses_tasks(&self) -> bool {
        self.traces.is_none() || self.replay > 0.0
    }

    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("examples", self.examples, 1..=100_000_000)?;
        within("steps", self.steps, 1..=MAX_STEPS)?;
        within("batch_examples", self.batch_examples, 1..=MAX_BATCH)?;
        within("max_tokens", self.max_tokens, 2..=MAX_TOKENS)?;
        fits("max_tokens", self.max_tokens, positions)?;
        check_balance(self.router_bias_speed, self.balance_alpha)?;
        within("turns", self.turns, 1..=16)?;
        within("replay", self.replay, 0.0..=0.9)?;
        within("mtp_weight", self.mtp_weight, 0.0..=1.0)?;
        within("checkpoint_every", self.checkpoint_every, 1..=MAX_STEPS)?;
        self.optimizer.check()
    }

    fn check_without_mtp(&self) -> Result<(), Fault> {
        no_mtp(self.mtp_weight)
    }
}

fn one_turn() -> usize {
    1
}
