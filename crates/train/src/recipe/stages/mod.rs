//! The keys of each stage, with their ranges. Where DeepSeek's papers give a value it is the
//! default, or stands in the doc if it only makes sense at their size.
//!
//! Sources: [V3] DeepSeek-V3 technical report §4.2 and §5.1, [R1] DeepSeek-R1 §2 and its
//! supplement, [GRPO] DeepSeekMath §4.

mod eval;
mod on_policy;
mod optimizer;
mod pretrain;
mod r1;
mod reject;
mod rl;
mod sft;

pub use eval::Eval;
pub use on_policy::OnPolicy;
pub use optimizer::{Decay, Optimizer, Rule};
pub use pretrain::Pretrain;
pub(super) use r1::NAMES;
pub use r1::{R1, Student};
pub use reject::Reject;
pub use rl::{Advantage, KlEstimator, LossAverage, Ratio, RewardSource, Rl, RolloutWeights, Surrogate};
pub use sft::Sft;

use super::Stage;
use super::read::{Fault, within};

const MAX_STEPS: usize = 1_000_000_000;
const MAX_BATCH: usize = 1 << 20;
const MAX_TOKENS: usize = 1 << 24;

fn check_balance(router_bias_speed: f64, balance_alpha: f64) -> Result<(), Fault> {
    within("router_bias_speed", router_bias_speed, 0.0..=1.0)?;
    within("balance_alpha", balance_alpha, 0.0..=1.0)
}

fn check_template(template: Option<&str>) -> Result<(), Fault> {
    match template {
        None | Some("r1-zero") => Ok(()),
        Some(page) if page.matches("{question}").count() == 1 => Ok(()),
        Some(_) => {
            Err(Fault::new("template", "has no {question}, or more than one", "give r1-zero or a page with one"))
        }
    }
}

/// A model without the module cannot train it.
fn no_mtp(mtp_weight: f64) -> Result<(), Fault> {
    match mtp_weight > 0.0 {
        true => Err(Fault::new(
            "mtp_weight",
            format!("{mtp_weight} needs a module for multi-token prediction"),
            "give model.num_nextn_predict_layers=1 or mtp_weight=0",
        )),
        false => Ok(()),
    }
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

mod default {
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
}
