//! `qwen3`: Qwen3, dense. Each head of Q and K has a norm.

use super::architecture::{ATTENTION, Architecture, COMMON, DENSE, Part, plain};
use super::metadata::Metadata;
use super::settings::Settings;
use crate::checkpoint::CheckpointError;
use crate::config::{Attention, Family, ModelConfig};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3",
    families: &[Family::QWEN3],
    block: &[COMMON, ATTENTION, HEAD_NORMS, DENSE],
    read,
    write,
};

pub(super) const HEAD_NORMS: &[Part] =
    &[plain("attn_q_norm.weight", "self_attn.q_norm.weight"), plain("attn_k_norm.weight", "self_attn.k_norm.weight")];

/// llama.cpp adds no bias to the output of Qwen3's attention, and does not load a file that has one.
pub(super) fn without_biases(config: &ModelConfig) -> Result<(), String> {
    match &config.attention {
        Attention::Gqa(gqa) if gqa.o_bias => Err("llama.cpp has no biases in Qwen3's attention".to_owned()),
        _ => Ok(()),
    }
}

fn read(settings: &Settings) -> Result<ModelConfig, CheckpointError> {
    settings.grouped(Family::QWEN3)
}

fn write(config: &ModelConfig, out: &mut Metadata) -> Result<Option<String>, String> {
    without_biases(config)?;
    out.grouped(config);
    Ok(None)
}
