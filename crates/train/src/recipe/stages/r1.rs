//! The keys of the whole chain.

use serde::{Deserialize, Serialize};

use super::{Eval, Fault, Pretrain, Rl, Sft, Stage};

/// The stages of the chain that may stand in files of their own.
pub const NAMES: [&str; 4] = ["pretrain", "sft", "rl", "eval"];

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

    fn check_without_mtp(&self) -> Result<(), Fault> {
        if let Some(pretrain) = &self.pretrain {
            pretrain.check_without_mtp().map_err(|fault| fault.under("pretrain"))?;
        }
        self.sft.check_without_mtp().map_err(|fault| fault.under("sft"))
    }
}

mod default {
    pub fn yes() -> bool {
        true
    }
}
