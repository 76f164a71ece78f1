//! The keys of each stage, with their ranges. Where DeepSeek's papers give a value it is the
//! default, or stands in the doc if it only makes sense at their size.
//!
//! Sources: [V3] DeepSeek-V3 technical report §4.2 and §5.1, [R1] DeepSeek-R1 §2 and its
//! supplement, [GRPO] DeepSeekMath §4.

use serde::{Deserialize, Serialize};

use super::Stage;
use super::read::{Fault, within};

/// The stages of the chain that may stand in files of their own.
pub(super) const NAMES: [&str; 4] = ["pretrain", "sft", "rl", "eval"];

const MAX_STEPS: usize = 1_000_000_000;
const MAX_BATCH: usize = 1 << 20;
const MAX_TOKENS: usize = 1 << 24;

/// The whole chain: pre-training, cold start, reinforcement learning, evaluation after each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct R1 {
    /// Whether to run the two controls that RL is held against: fine-tuning continued for RL's
    /// compute, and RL with a random reward.
    #[serde(default = "default::yes")]
    pub controls: bool,
    /// Not needed, and not used, where the run starts from a base model.
    #[serde(default)]
    pub pretrain: Option<Pretrain>,
    /// The cold start.
    pub sft: Sft,
    /// Reinforcement learning.
    pub rl: Rl,
    /// How every model of the chain is evaluated.
    pub eval: Eval,
}

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
    /// AdamW and its schedule.
    pub optimizer: Optimizer,
    /// γ, how far a router's bias moves per step [V3].
    #[serde(default = "default::router_bias_speed")]
    pub router_bias_speed: f64,
    /// α, the weight of the sequence-wise balance loss [V3].
    #[serde(default = "default::balance_alpha")]
    pub balance_alpha: f64,
    /// Steps between checkpoints that `--resume` can go on from; the finished model needs none.
    #[serde(default = "default::checkpoint_every")]
    pub checkpoint_every: usize,
}

/// Cold-start fine-tuning on worked problems in the think/answer format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sft {
    /// Worked problems to learn from, seen over and over. R1: thousands.
    pub examples: usize,
    /// Optimizer steps. R1: 2–3 epochs.
    pub steps: usize,
    /// Examples in a step. R1: 128.
    pub batch_examples: usize,
    /// Examples longer than this, prompt included, are left out. R1: 32,768.
    pub max_tokens: usize,
    /// AdamW and its schedule. R1: 5e-5 to 5e-6, cosine.
    pub optimizer: Optimizer,
    /// γ, how far a router's bias moves per step.
    #[serde(default = "default::router_bias_speed")]
    pub router_bias_speed: f64,
    /// α, the weight of the sequence-wise balance loss.
    #[serde(default = "default::balance_alpha")]
    pub balance_alpha: f64,
    /// Steps between checkpoints that `--resume` can go on from; the finished model needs none.
    #[serde(default = "default::checkpoint_every")]
    pub checkpoint_every: usize,
}

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

/// Evaluation on held-out problems. The defaults are R1's sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// Held-out problems per task.
    pub problems: usize,
    /// k, samples per problem, whose accuracies are averaged. R1: 4 to 64, by benchmark.
    pub samples: usize,
    /// Of the samples.
    #[serde(default = "default::eval_temperature")]
    pub temperature: f64,
    /// Share of the probability that is sampled from.
    #[serde(default = "default::eval_top_p")]
    pub top_p: f64,
    /// Tokens that a sample may have after its prompt. R1: 32,768.
    pub max_tokens: usize,
    /// Decides problems and samples. Apart from the run's `seed`, so that runs from several seeds
    /// meet the same problems.
    #[serde(default)]
    pub problem_seed: u64,
}

/// AdamW (Loshchilov and Hutter 2019) and the course of its learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// The highest learning rate. V3: 2.2e-4.
    pub lr: f64,
    /// Steps over which it rises from 0. V3: 2,000.
    #[serde(default)]
    pub warmup_steps: usize,
    /// How it falls after that.
    #[serde(default)]
    pub decay: Decay,
    /// What is left of it at the last step. V3 and R1: a tenth. Not used by a constant rate.
    #[serde(default = "default::final_lr_ratio")]
    pub final_lr_ratio: f64,
    /// Decay of the first moment [V3].
    #[serde(default = "default::beta1")]
    pub beta1: f64,
    /// Decay of the second moment [V3].
    #[serde(default = "default::beta2")]
    pub beta2: f64,
    /// Added to the root of the second moment.
    #[serde(default = "default::eps")]
    pub eps: f64,
    /// Decoupled weight decay [V3].
    #[serde(default = "default::weight_decay")]
    pub weight_decay: f64,
    /// The norm to which a longer gradient is scaled down [V3].
    #[serde(default = "default::one")]
    pub clip: f64,
}

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// None.
    Constant,
    /// Half a cosine down to the final rate.
    #[default]
    Cosine,
    /// A straight line down to the final rate.
    Linear,
}

mod default {
    pub fn yes() -> bool {
        true
    }
    pub fn one() -> f64 {
        1.0
    }
    pub fn router_bias_speed() -> f64 {
        0.001
    }
    pub fn balance_alpha() -> f64 {
        1e-4
    }
    pub fn checkpoint_every() -> usize {
        100
    }
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
    pub fn eval_temperature() -> f64 {
        0.6
    }
    pub fn eval_top_p() -> f64 {
        0.95
    }
    pub fn final_lr_ratio() -> f64 {
        0.1
    }
    pub fn beta1() -> f64 {
        0.9
    }
    pub fn beta2() -> f64 {
        0.95
    }
    pub fn eps() -> f64 {
        1e-8
    }
    pub fn weight_decay() -> f64 {
        0.1
    }
}

impl Stage for R1 {
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        match &self.pretrain {
            Some(pretrain) => pretrain.check(positions).map_err(|fault| fault.under("pretrain"))?,
            None if positions.is_some() => {
                let cure = "add pretrain = \"FILE\" or a table, or start from a model with base=MODEL";
                return Err(Fault::new("pretrain", "is missing", cure));
            }
            None => {}
        }
        self.sft.check(positions).map_err(|fault| fault.under("sft"))?;
        self.rl.check(positions).map_err(|fault| fault.under("rl"))?;
        self.eval.check(positions).map_err(|fault| fault.under("eval"))
    }
}

impl Stage for Pretrain {
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("steps", self.steps, 1..=MAX_STEPS)?;
        within("batch_sequences", self.batch_sequences, 1..=MAX_BATCH)?;
        // One token has no next one to predict.
        within("sequence_tokens", self.sequence_tokens, 2..=MAX_TOKENS)?;
        fits("sequence_tokens", self.sequence_tokens, positions)?;
        check_balance(self.router_bias_speed, self.balance_alpha)?;
        within("checkpoint_every", self.checkpoint_every, 1..=MAX_STEPS)?;
        self.optimizer.check()
    }
}

impl Stage for Sft {
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("examples", self.examples, 1..=100_000_000)?;
        within("steps", self.steps, 1..=MAX_STEPS)?;
        within("batch_examples", self.batch_examples, 1..=MAX_BATCH)?;
        within("max_tokens", self.max_tokens, 2..=MAX_TOKENS)?;
        fits("max_tokens", self.max_tokens, positions)?;
        check_balance(self.router_bias_speed, self.balance_alpha)?;
        within("checkpoint_every", self.checkpoint_every, 1..=MAX_STEPS)?;
        self.optimizer.check()
    }
}

impl Stage for Rl {
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("steps", self.steps, 1..=MAX_STEPS)?;
        within("questions", self.questions, 1..=MAX_BATCH)?;
        // A group of one is its own mean: every advantage would be 0.
        within("group_size", self.group_size, 2..=1 << 16)?;
        within("max_tokens", self.max_tokens, 1..=MAX_TOKENS)?;
        leaves_room("max_tokens", self.max_tokens, positions)?;
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

impl Stage for Eval {
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        within("problems", self.problems, 1..=1_000_000)?;
        within("samples", self.samples, 1..=1 << 16)?;
        check_sampling(self.temperature, self.top_p)?;
        within("max_tokens", self.max_tokens, 1..=MAX_TOKENS)?;
        leaves_room("max_tokens", self.max_tokens, positions)
    }
}

impl Optimizer {
    fn check(&self) -> Result<(), Fault> {
        let check = || {
            within("lr", self.lr, 1e-12..=10.0)?;
            within("warmup_steps", self.warmup_steps, 0..=MAX_STEPS)?;
            within("final_lr_ratio", self.final_lr_ratio, 0.0..=1.0)?;
            within("beta1", self.beta1, 0.0..=0.999_999)?;
            within("beta2", self.beta2, 0.0..=0.999_999)?;
            within("eps", self.eps, 1e-30..=1.0)?;
            within("weight_decay", self.weight_decay, 0.0..=10.0)?;
            within("clip", self.clip, 1e-9..=1e9)
        };
        check().map_err(|fault: Fault| fault.under("optimizer"))
    }
}

fn check_balance(router_bias_speed: f64, balance_alpha: f64) -> Result<(), Fault> {
    within("router_bias_speed", router_bias_speed, 0.0..=1.0)?;
    within("balance_alpha", balance_alpha, 0.0..=1.0)
}

fn check_sampling(temperature: f64, top_p: f64) -> Result<(), Fault> {
    within("temperature", temperature, 0.0..=100.0)?;
    within("top_p", top_p, 1e-6..=1.0)
}

/// A whole sequence must not be longer than the model.
fn fits(key: &str, tokens: usize, positions: Option<usize>) -> Result<(), Fault> {
    match positions {
        Some(positions) if tokens > positions => Err(too_long(key, tokens, positions)),
        _ => Ok(()),
    }
}

/// A completion must leave its prompt at least one position.
fn leaves_room(key: &str, tokens: usize, positions: Option<usize>) -> Result<(), Fault> {
    match positions {
        Some(positions) if tokens >= positions => Err(too_long(key, tokens, positions)),
        _ => Ok(()),
    }
}

fn too_long(key: &str, tokens: usize, positions: usize) -> Fault {
    let problem = format!("{tokens} tokens are too many for the {positions} positions of the model");
    Fault::new(key, problem, "lower it or raise model.max_position_embeddings")
}
