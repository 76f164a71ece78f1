//! `deepseek2`: DeepSeek-V2, V3 and R1.
//!
//! Newer files split `kv_b_proj` into the keys' half, transposed for absorption, and the values'; they describe the
//! heads as absorbed attention has them and keep the real sizes in `key_length_mla` and `value_length_mla`. The module
//! of multi-token prediction, where a file has it, is the last block. Left out: the other families that llama.cpp
//! keeps under this name, as far as they differ.

use super::architecture::{Architecture, COMMON, DENSE, EXPERTS, Layout, Part, plain};
use super::metadata::Metadata;
use super::settings::Settings;
use crate::checkpoint::CheckpointError;
use crate::config::{
    Attention, Family, GroupScore, Mla, ModelConfig, Moe, RopeScaling, RopeStyle, Scoring, SparseLayers,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "deepseek2",
    families: &[Family::DEEPSEEK_V2, Family::DEEPSEEK_V3],
    block: &[COMMON, LATENT_ATTENTION, DENSE, EXPERTS, SHARED, MTP],
    read,
    write,
};

const LATENT_ATTENTION: &[Part] = &[
    plain("attn_q.weight", "self_attn.q_proj.weight"),
    plain("attn_q_a.weight", "self_attn.q_a_proj.weight"),
    plain("attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight"),
    plain("attn_q_b.weight", "self_attn.q_b_proj.weight"),
    plain("attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight"),
    plain("attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight"),
    plain("attn_kv_b.weight", "self_attn.kv_b_proj.weight"),
    Part { gguf: "attn_k_b.weight", upstream: "self_attn.kv_b_proj.weight", layout: Layout::Keys },
    Part { gguf: "attn_v_b.weight", upstream: "self_attn.kv_b_proj.weight", layout: Layout::Values },
];

const SHARED: &[Part] = &[
    plain("exp_probs_b.bias", "mlp.gate.e_score_correction_bias"),
    plain("ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight"),
    plain("ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight"),
    plain("ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight"),
];

const MTP: &[Part] = &[
    plain("nextn.eh_proj.weight", "eh_proj.weight"),
    plain("nextn.enorm.weight", "enorm.weight"),
    plain("nextn.hnorm.weight", "hnorm.weight"),
    plain("nextn.embed_tokens.weight", "embed_tokens.weight"),
    plain("nextn.shared_head_norm.weight", "shared_head.norm.weight"),
    plain("nextn.shared_head_head.weight", "shared_head.head.weight"),
];

/// Values of `expert_gating_func`.
const SOFTMAX: usize = 1;
const SIGMOID: usize = 2;

fn read(settings: &Settings) -> Result<ModelConfig, CheckpointError> {
    let scoring = match settings.size("expert_gating_func")?.unwrap_or(SOFTMAX) {
        // Files from before the key are of DeepSeek-V2.
        0 | SOFTMAX => Scoring::Softmax,
        SIGMOID => Scoring::Sigmoid,
        other => return Err(settings.refuse(format!("scores experts by function {other}"))),
    };
    let (family, group_score) = match scoring {
        Scoring::Sigmoid => (Family::DEEPSEEK_V3, GroupScore::SumTop2),
        Scoring::Softmax => (Family::DEEPSEEK_V2, GroupScore::Max),
    };
    let norm_topk_prob = settings.boolean("expert_weights_norm")?.unwrap_or(false);
    if norm_topk_prob && scoring == Scoring::Softmax {
        return Err(settings.refuse("normalises the experts' weights after a softmax"));
    }
    let mtp = settings.size("nextn_predict_layers")?.unwrap_or(0);
    let rotated = settings.needed("rope.dimension_count")?;
    let [key, value] = match settings.size("attention.key_length_mla")? {
        Some(key) => [key, settings.needed("attention.value_length_mla")?],
        None => [settings.needed("attention.key_length")?, settings.needed("attention.value_length")?],
    };
    let qk_nope_head_dim = key
        .checked_sub(rotated)
        .ok_or_else(|| settings.fail("rope.dimension_count", "is wider than a head", "convert the model again"))?;
    let groups = settings.size("expert_group_count")?.filter(|&groups| groups > 1);
    let attention = Attention::Mla(Mla {
        num_attention_heads: settings.needed("attention.head_count")?,
        // Zero stands for none.
        q_lora_rank: settings.size("attention.q_lora_rank")?.filter(|&rank| rank > 0),
        kv_lora_rank: settings.needed("attention.kv_lora_rank")?,
        qk_nope_head_dim,
        qk_rope_head_dim: rotated,
        v_head_dim: value,
    });
    let mut config = settings.with(family, attention)?;
    config.num_hidden_layers = config.num_hidden_layers.saturating_sub(mtp);
    config.num_nextn_predict_layers = mtp;
    config.rope.style = RopeStyle::Interleaved;
    config.moe = Some(Moe {
        n_routed_experts: settings.needed("expert_count")?,
        n_shared_experts: settings.size("expert_shared_count")?.unwrap_or(0),
        num_experts_per_tok: settings.needed("expert_used_count")?,
        moe_intermediate_size: settings.needed("expert_feed_forward_length")?,
        sparse: SparseLayers::From {
            first_k_dense_replace: settings.size("leading_dense_block_count")?.unwrap_or(0),
            moe_layer_freq: 1,
        },
        n_group: groups.unwrap_or(1),
        topk_group: match groups {
            Some(_) => settings.needed("expert_group_used_count")?,
            None => 1,
        },
        // Zero stands for none here too.
        routed_scaling_factor: settings.float("expert_weights_scale")?.filter(|&scale| scale != 0.0).unwrap_or(1.0),
        norm_topk_prob,
        scoring,
        group_score,
        has_correction_bias: scoring == Scoring::Sigmoid,
    });
    Ok(config)
}

fn write(config: &ModelConfig, out: &mut Metadata) -> Result<(), String> {
    let (Attention::Mla(mla), Some(moe)) = (&config.attention, &config.moe) else {
        return Err("it has no latent attention, or no experts".into());
    };
    let SparseLayers::From { first_k_dense_replace, moe_layer_freq: 1 } = moe.sparse else {
        return Err("llama.cpp has no dense layers among DeepSeek's mixtures but the first".into());
    };
    if config.rope.style != RopeStyle::Interleaved {
        return Err("llama.cpp rotates neighbouring values, which this model does not (`rope_interleave`)".into());
    }
    if let RopeScaling::Yarn(yarn) = &config.rope.scaling {
        // llama.cpp takes `mscale` for that of all dimensions, and scales the softmax by it.
        if yarn.mscale_all_dim == 0.0 || config.rope.attention_factor() != 1.0 {
            return Err("llama.cpp wants `mscale` and `mscale_all_dim` of YaRN to be equal".into());
        }
        out.real("rope.scaling.yarn_log_multiplier", 0.1 * yarn.mscale_all_dim);
    }
    // As absorbed attention has them: all heads share one key and value, the latent.
    out.size("attention.head_count_kv", 1);
    out.size("attention.key_length", mla.kv_lora_rank + mla.qk_rope_head_dim);
    out.size("attention.value_length", mla.kv_lora_rank);
    out.size("attention.key_length_mla", mla.qk_nope_head_dim + mla.qk_rope_head_dim);
    out.size("attention.value_length_mla", mla.v_head_dim);
    out.size("attention.q_lora_rank", mla.q_lora_rank.unwrap_or(0));
    out.size("attention.kv_lora_rank", mla.kv_lora_rank);
    out.size("leading_dense_block_count", first_k_dense_replace);
    out.size("expert_count", moe.n_routed_experts);
    out.size("expert_used_count", moe.num_experts_per_tok);
    out.size("expert_shared_count", moe.n_shared_experts);
    out.size("expert_feed_forward_length", moe.moe_intermediate_size);
    out.real("expert_weights_scale", moe.routed_scaling_factor);
    out.switch("expert_weights_norm", moe.norm_topk_prob);
    out.size("expert_gating_func", if moe.scoring == Scoring::Sigmoid { SIGMOID } else { SOFTMAX });
    if moe.n_group > 1 {
        out.size("expert_group_count", moe.n_group);
        out.size("expert_group_used_count", moe.topk_group);
    }
    Ok(())
}
