//! The keys of the optimizer.

use serde::{Deserialize, Serialize};

use super::{Fault, MAX_STEPS, within};

/// What moves the weights, and the course of its learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// The rule by which a gradient moves the weights.
    #[serde(default)]
    pub rule: Rule,
    /// The highest learning rate. V3: 2.2e-4.
    pub lr: f64,
    /// Optimizer steps over which it rises from 0; RL takes `minibatches` of them a step. V3: 2,000.
    #[serde(default)]
    pub warmup_steps: usize,
    /// How it falls after that.
    #[serde(default)]
    pub decay: Decay,
    /// What is left of it where the schedule ends, one step after the last. V3 and R1: a tenth. Not used by a constant rate.
    #[serde(default = "default::final_lr_ratio")]
    pub final_lr_ratio: f64,
    /// Decay of the sum of gradients in Muon.
    #[serde(default = "default::momentum")]
    pub momentum: f64,
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
    /// Whether the weights of norms and the biases decay, too. They are few, and nearness to zero is no virtue in a
    /// factor that starts at one; so trainers commonly leave them alone.
    #[serde(default)]
    pub decay_norms_and_biases: bool,
    /// The norm to which a longer gradient is scaled down [V3].
    #[serde(default = "default::one")]
    pub clip: f64,
}

/// The rule by which a gradient moves the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// AdamW (Loshchilov and Hutter 2019) [V3].
    #[default]
    AdamW,
    /// Muon (Jordan et al. 2024) for the weights of the layers, and AdamW for tables, head, norms and biases. Its steps
    /// have the size of AdamW's at the same rate, and it bears a higher one (LOG.md). It learns as much from fewer
    /// examples; a step of few tokens takes longer.
    Muon,
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

impl Optimizer {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let check = || {
            within("lr", self.lr, 1e-12..=10.0)?;
            within("warmup_steps", self.warmup_steps, 0..=MAX_STEPS)?;
            within("final_lr_ratio", self.final_lr_ratio, 0.0..=1.0)?;
            within("momentum", self.momentum, 0.0..=0.999_999)?;
            within("beta1", self.beta1, 0.0..=0.999_999)?;
            within("beta2", self.beta2, 0.0..=0.999_999)?;
            within("eps", self.eps, 1e-30..=1.0)?;
            within("weight_decay", self.weight_decay, 0.0..=10.0)?;
            within("clip", self.clip, 1e-9..=1e9)
        };
        check().map_err(|fault: Fault| fault.under("optimizer"))
    }
}

mod default {
    pub use super::super::default::*;
    pub fn final_lr_ratio() -> f64 {
        0.1
    }
    pub fn momentum() -> f64 {
        0.95
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
