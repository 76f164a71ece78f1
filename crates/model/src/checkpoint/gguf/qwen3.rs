//! `qwen3`: Qwen3, dense. Each head of Q and K has a norm.

use super::architecture::{ATTENTION, Architecture, COMMON, DENSE, Part, plain};
use super::metadata::Metadata;
use super::settings::Settings;
use crate::checkpoint::CheckpointError;
use crate::config::{Family, ModelConfig};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3",
    families: &[Family::QWEN3],
    block: &[COMMON, ATTENTION, HEAD_NORMS, DENSE],
    read,
    write,
};

pub(super) const HEAD_NORMS: &[Part] =
    &[plain("attn_q_norm.weight", "self_attn.q_norm.weight"), plain("attn_k_norm.weight", "self_attn.k_norm.weight")];

fn read(settings: &Settings) -> Result<ModelConfig, CheckpointError> {
    settings.grouped(Family::QWEN3)
}

fn write(config: &ModelConfig, out: &mut Metadata) -> Result<(), String> {
    out.grouped(config);
    Ok(())
}
