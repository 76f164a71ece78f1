//! The keys of reinforcement learning.

use serde::{Deserialize, Serialize};

use super::{
    Fault, MAX_BATCH, MAX_STEPS, MAX_TOKENS, Optimizer, Stage, check_balance, check_sampling, check_template,
    leaves_room, within,
};

/// Group relative policy optimisation [GRPO] with rule rewards [R1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rl {
    /// Rollouts, each of `questions` · `group_size` samples. R1-Zero: 650, which are 10,400 optimizer steps.
    pub steps: usize,
    /// Questions in a rollout. R1: 512.
    #[serde(default = "default::questions")]
    pub questions: usize,
    /// G, samples of one question, whose rewards are each other's baseline. R1: 16.
    #[serde(default = "default::group_size")]
    pub group_size: usize,
    /// Tokens that a sample may have after its prompt. R1: 32,768, later 65,536.
    pub max_tokens: usize,
    /// How problems are posed: the model's own chat template if not given, `r1-zero`, or a page of
    /// text with `{question}` in it.
    #[serde(default)]
    pub template: Option<String>,
    /// Of the samples. R1: 1. Any other value samples from another policy than the one whose
    /// gradient is taken.
    #[serde(default = "default::one")]
    pub temperature: f64,
    /// Share of the probability that is sampled from; less than 1 is another policy too.
    #[serde(default = "default::one")]
    pub top_p: f64,
    /// Optimizer steps per rollout, each on another equal part of its samples. R1: 16, so 32 questions each.
    #[serde(default = "default::minibatches")]
    pub minibatches: usize,
    /// ε: the ratio is clipped at 1 − ε from below. R1: 10, which leaves that side open.
    #[serde(default = "default::clip_epsilon")]
    pub clip_epsilon: f64,
    /// The ratio is clipped at 1 + this from above; the same as `clip_epsilon` if not given.
    #[serde(default)]
    pub clip_epsilon_high: Option<f64>,
    /// β, the weight of the divergence from the reference policy [R1].
    #[serde(default = "default::kl_beta")]
    pub kl_beta: f64,
    /// Rollouts after which the reference becomes a copy of the policy. R1: 400 optimizer steps, which are 25.
    #[serde(default = "default::reference_every")]
    pub reference_every: usize,
    /// How rewards become advantages.
    #[serde(default)]
    pub advantage: Advantage,
    /// How token losses are averaged.
    #[serde(default)]
    pub loss: LossAverage,
    /// Where the reward comes from.
    #[serde(default)]
    pub reward: RewardSource,
    /// AdamW and its schedule. R1-Zero: 3e-6.
    pub optimizer: Optimizer,
    /// γ, how far a router's bias moves after each rollout; it stands still while one is learned from.
    #[serde(default = "default::router_bias_speed")]
    pub router_bias_speed: f64,
    /// α, the weight of the sequence-wise balance loss.
    #[serde(default = "default::balance_alpha")]
    pub balance_alpha: f64,
    /// Steps between checkpoints that `--resume` can go on from; the finished model needs none.
    #[serde(default = "default::checkpoint_every")]
    pub checkpoint_every: usize,
}

/// From the rewards of a group to the advantages of its samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Advantage {
    /// Minus the mean, divided by the standard deviation [GRPO].
    #[default]
    Std,
    /// Minus the mean only (Liu et al. 2025, Dr. GRPO).
    Mean,
}

/// How the losses of a minibatch's tokens become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossAverage {
    /// The mean over a sample's tokens, then over samples [GRPO].
    #[default]
    Sequence,
    /// The mean over all tokens (Yu et al. 2025, DAPO).
    Token,
}

/// Where rewards come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RewardSource {
    /// Accuracy and format, by rule [R1].
    #[default]
    Rules,
    /// A coin: the control that shows what training alone does.
    Random,
}

impl Stage for Rl {
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("steps", self.steps, 1..=MAX_STEPS)?;
        within("questions", self.questions, 1..=MAX_BATCH)?;
        // A group of one is its own mean: every advantage would be 0.
        within("group_size", self.group_size, 2..=1 << 16)?;
        within("max_tokens", self.max_tokens, 1..=MAX_TOKENS)?;
        leaves_room("max_tokens", self.max_tokens, positions)?;
        check_template(self.template.as_deref())?;
        check_sampling(self.temperature, self.top_p)?;
        if self.temperature == 0.0 {
            let cure = "give a value above 0; R1's is 1";
            return Err(Fault::new("temperature", "0 makes all samples of a group the same", cure));
        }
        let samples = self.questions * self.group_size;
        within("minibatches", self.minibatches, 1..=samples)?;
        if !samples.is_multiple_of(self.minibatches) {
            let problem = format!("{} does not divide the {samples} samples of a rollout", self.minibatches);
            return Err(Fault::new("minibatches", problem, "give a divisor of questions · group_size"));
        }
        within("clip_epsilon", self.clip_epsilon, 1e-6..=1e6)?;
        within("clip_epsilon_high", self.clip_epsilon_high.unwrap_or(1.0), 1e-6..=1e6)?;
        within("kl_beta", self.kl_beta, 0.0..=1e3)?;
        within("reference_every", self.reference_every, 1..=MAX_STEPS)?;
        check_balance(self.router_bias_speed, self.balance_alpha)?;
        within("checkpoint_every", self.checkpoint_every, 1..=MAX_STEPS)?;
        self.optimizer.check()
    }
}

mod default {
    pub use super::super::default::*;
    pub fn questions() -> usize {
        512
    }
    pub fn group_size() -> usize {
        16
    }
    pub fn minibatches() -> usize {
        16
    }
    pub fn clip_epsilon() -> f64 {
        10.0
    }
    pub fn kl_beta() -> f64 {
        0.001
    }
    pub fn reference_every() -> usize {
        25
    }
}
