//! The keys of reinforcement learning.

pub use picnic_model::ops::{KlEstimator, Ratio, Surrogate};
use picnic_model::{CacheForm, WeightForm};
use picnic_tasks::CurriculumSettings;
use serde::{Deserialize, Serialize};

use super::{
    Fault, MAX_BATCH, MAX_STEPS, MAX_TOKENS, Optimizer, Stage, check_balance, check_sampling, check_template,
    leaves_room, within,
};

/// Group relative policy optimisation [GRPO] with rule rewards [R1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rl {
    /// The preset whose keys stand in for those that are not given (`recipes/presets`).
    #[serde(default)]
    pub preset: Option<String>,
    /// Rollouts, each of `questions` · `group_size` samples. R1-Zero: 650, which are 10,400 optimizer steps.
    pub steps: usize,
    /// Which of the RL stages of a chain this is, from 0: each asks other questions. The whole chain counts by itself.
    #[serde(default)]
    pub round: u64,
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
    /// The weights that samples are drawn with.
    #[serde(default, skip_serializing_if = "RolloutWeights::is_exact")]
    pub rollout: RolloutWeights,
    /// C, the most that a token weighs for being likelier under the policy than under the weights that drew it; only
    /// with `rollout = "q8"`, where it is 2 if not given (truncated importance sampling, Yao et al. 2025).
    #[serde(default)]
    pub rollout_cap: Option<f64>,
    /// Optimizer steps per rollout, each on another equal part of its samples. R1: 16, so 512 samples each.
    #[serde(default = "default::minibatches")]
    pub minibatches: usize,
    /// ε: the ratio is clipped at 1 − ε from below. R1: 10, which leaves that side open.
    #[serde(default = "default::clip_epsilon")]
    pub clip_epsilon: f64,
    /// The ratio is clipped at 1 + this from above; the same as `clip_epsilon` if not given.
    #[serde(default)]
    pub clip_epsilon_high: Option<f64>,
    /// Whose ratio is clipped: each token's, or that of the whole sample.
    #[serde(default)]
    pub ratio: Ratio,
    /// What the clip does.
    #[serde(default)]
    pub surrogate: Surrogate,
    /// β, the weight of the divergence from the reference policy [R1].
    #[serde(default = "default::kl_beta")]
    pub kl_beta: f64,
    /// How that divergence is estimated.
    #[serde(default)]
    pub kl_estimator: KlEstimator,
    /// δ: a sample with a negative advantage and a mean ln(π_old/π) above this loses its part in the surrogate
    /// (DeepSeek-V3.2 §3.1). Not given, none does.
    #[serde(default)]
    pub off_policy_delta: Option<f64>,
    /// Rollouts after which the reference becomes a copy of the policy. R1: 400 optimizer steps, which are 25.
    #[serde(default = "default::reference_every")]
    pub reference_every: usize,
    /// How rewards become advantages.
    #[serde(default)]
    pub advantage: Advantage,
    /// How token losses are averaged.
    #[serde(default)]
    pub loss: LossAverage,
    /// Ask more of what is answered right sometimes, by pass rates that are followed for each task and level. Without
    /// it questions come by the tasks' weights alone.
    #[serde(default)]
    pub curriculum: Option<CurriculumSettings>,
    /// Where the reward comes from.
    #[serde(default)]
    pub reward: RewardSource,
    /// Weight of the reward for thinking in the question's language: the share of its words that are. R1's first RL,
    /// after the cold start, has one; accuracy and format weigh 1 each.
    #[serde(default)]
    pub language_weight: f64,
    /// The last share of `max_tokens` over which a sample's reward falls linearly by 1 (DAPO §3.4: 0.2). 0: none.
    #[serde(default)]
    pub overlong_share: f64,
    /// How often, at most, groups whose rewards are all equal are replaced by groups of new questions before a step
    /// (dynamic sampling, DAPO §3.2). R1: 0.
    #[serde(default)]
    pub extra_rollouts: usize,
    /// What moves the weights, and its schedule. R1-Zero: 3e-6.
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

impl Rl {
    /// C, the cap of the importance weights; `None` where the policy itself draws and there are none.
    pub fn importance_cap(&self) -> Option<f64> {
        match self.rollout {
            RolloutWeights::Exact => None,
            RolloutWeights::Q8 => Some(self.rollout_cap.unwrap_or(2.0)),
        }
    }
}

/// The weights that samples are drawn with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolloutWeights {
    /// The policy's own, so that the log-probabilities of a rollout are those of training, bit for bit.
    #[default]
    Exact,
    /// A copy of them in 8 bits that is made for each rollout, multiplied in integers as `--weights q8` does, with keys and
    /// values kept in f16. Learning corrects for the difference and reads every sample once more to know it.
    Q8,
}

impl RolloutWeights {
    /// How these weights are kept and multiplied.
    pub fn form(self) -> WeightForm {
        match self {
            RolloutWeights::Exact => WeightForm::Exact,
            RolloutWeights::Q8 => WeightForm::Q8,
        }
    }

    /// How what was read of a sample is kept. Where the weights are rounded, rounding this too costs little more.
    pub fn cache(self) -> CacheForm {
        match self {
            RolloutWeights::Exact => CacheForm::Exact,
            RolloutWeights::Q8 => CacheForm::F16,
        }
    }

    /// A resolved recipe then leaves the key out, so that runs from before it existed can be resumed.
    fn is_exact(&self) -> bool {
        *self == RolloutWeights::Exact
    }
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
    /// The sum over a sample's tokens divided by `max_tokens`, then the mean over samples (Liu et al. 2025, Dr. GRPO).
    Constant,
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
    const RL: &'static [&'static str] = &[""];
    const TUNED: &'static [&'static str] = &[""];

    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("steps", self.steps, 1..=MAX_STEPS)?;
        within("round", self.round, 0..=100)?;
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
        within("rollout_cap", self.rollout_cap.unwrap_or(1.0), 1e-6..=1e6)?;
        if self.rollout_cap.is_some() && self.rollout == RolloutWeights::Exact {
            let problem = "is given, but the policy itself draws the samples, so that each token weighs 1";
            return Err(Fault::new("rollout_cap", problem, "remove it, or add rollout = \"q8\""));
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
        within("off_policy_delta", self.off_policy_delta.unwrap_or(0.0), 0.0..=1e6)?;
        within("overlong_share", self.overlong_share, 0.0..=1.0)?;
        within("extra_rollouts", self.extra_rollouts, 0..=100)?;
        within("reference_every", self.reference_every, 1..=MAX_STEPS)?;
        within("language_weight", self.language_weight, 0.0..=10.0)?;
        if let Some(CurriculumSettings { smoothing, floor }) = self.curriculum {
            within("curriculum.smoothing", smoothing, 1e-6..=1.0)?;
            within("curriculum.floor", floor, 1e-6..=1.0)?;
        }
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
