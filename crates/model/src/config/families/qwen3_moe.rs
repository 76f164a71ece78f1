//! `qwen3_moe`: Qwen3's attention, experts chosen by softmax scores, none of them shared. Qwen3-30B-A3B and its kin.

use super::{AttentionKind, Biases, Family, Interleaved, MoeKeys};
use crate::config::{ConfigError, GroupScore, Keys, Moe, Put, Scoring, SparseLayers};
use serde_json::json;

pub(super) const FAMILY: Family = Family {
    model_type: "qwen3_moe",
    architecture: "Qwen3MoeForCausalLM",
    attention: AttentionKind::Gqa { biases: Biases::ByKey, qk_norm: true, head_dim: None },
    moe: Some(MoeKeys { read, write }),
    interleaved: Interleaved::Never,
    multi_token_prediction: false,
    mlp_bias: false,
};

fn read(keys: &Keys) -> Result<Moe, ConfigError> {
    // transformers 5 writes the number of experts under another name than Qwen's own files.
    let experts = match keys.size("num_experts")? {
        Some(experts) => experts,
        None => keys.needed_size("num_local_experts")?,
    };
    Ok(Moe {
        n_routed_experts: experts,
        n_shared_experts: 0,
        num_experts_per_tok: keys.needed_size("num_experts_per_tok")?,
        moe_intermediate_size: keys.needed_size("moe_intermediate_size")?,
        sparse: SparseLayers::Every {
            decoder_sparse_step: keys.size("decoder_sparse_step")?.unwrap_or(1),
            mlp_only_layers: keys.sizes("mlp_only_layers")?,
        },
        n_group: 1,
        topk_group: 1,
        routed_scaling_factor: 1.0,
        norm_topk_prob: keys.boolean("norm_topk_prob")?.unwrap_or(false),
        scoring: Scoring::Softmax,
        group_score: GroupScore::Max,
        has_correction_bias: false,
    })
}

fn write(moe: &Moe, put: Put) {
    put("num_experts", json!(moe.n_routed_experts));
    put("num_local_experts", json!(moe.n_routed_experts));
    put("num_experts_per_tok", json!(moe.num_experts_per_tok));
    put("moe_intermediate_size", json!(moe.moe_intermediate_size));
    put("norm_topk_prob", json!(moe.norm_topk_prob));
    if let SparseLayers::Every { decoder_sparse_step, mlp_only_layers } = &moe.sparse {
        put("decoder_sparse_step", json!(decoder_sparse_step));
        put("mlp_only_layers", json!(mlp_only_layers));
    }
}
