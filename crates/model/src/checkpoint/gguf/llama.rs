//! `llama`: Llama, SmolLM2 and their like. llama.cpp rotates adjacent pairs of a head's values, so the rows of Q and K
//! are stored in that order. Left out: its mixtures of experts (Mixtral), which are refused.

use super::architecture::{Architecture, COMMON, DENSE, Part, paired, plain};
use super::metadata::Metadata;
use super::settings::Settings;
use crate::checkpoint::CheckpointError;
use crate::config::{Family, ModelConfig};

pub(super) const ARCHITECTURE: Architecture =
    Architecture { name: "llama", families: &[Family::LLAMA], block: &[COMMON, ATTENTION, DENSE, BIASES], read, write };

const ATTENTION: &[Part] = &[
    paired("attn_q.weight", "self_attn.q_proj.weight"),
    paired("attn_k.weight", "self_attn.k_proj.weight"),
    plain("attn_v.weight", "self_attn.v_proj.weight"),
    paired("attn_q.bias", "self_attn.q_proj.bias"),
    paired("attn_k.bias", "self_attn.k_proj.bias"),
    plain("attn_v.bias", "self_attn.v_proj.bias"),
    plain("attn_output.bias", "self_attn.o_proj.bias"),
];

const BIASES: &[Part] = &[
    plain("ffn_gate.bias", "mlp.gate_proj.bias"),
    plain("ffn_up.bias", "mlp.up_proj.bias"),
    plain("ffn_down.bias", "mlp.down_proj.bias"),
];

fn read(settings: &Settings) -> Result<ModelConfig, CheckpointError> {
    if settings.size("expert_count")?.unwrap_or(0) > 0 {
        return Err(settings.refuse("is a mixture of experts of the llama architecture (Mixtral)"));
    }
    settings.grouped(Family::LLAMA)
}

fn write(config: &ModelConfig, out: &mut Metadata) -> Result<(), String> {
    out.grouped(config);
    Ok(())
}
