//! `deepseek_v3`: latent attention, experts chosen by sigmoid scores with a selection bias. V3, V3.1 and R1.

use super::{AttentionKind, Family, Interleaved, MoeKeys};
use crate::config::{ConfigError, GroupScore, Keys, Moe, Put, Scoring, SparseLayers};
use serde_json::json;

pub(super) const FAMILY: Family = Family {
    model_type: "deepseek_v3",
    architecture: "DeepseekV3ForCausalLM",
    attention: AttentionKind::Mla,
    moe: Some(MoeKeys { read, write }),
    interleaved: Interleaved::ByKey,
    multi_token_prediction: true,
    mlp_bias: false,
};

fn read(keys: &Keys) -> Result<Moe, ConfigError> {
    one_of(keys, "scoring_func", &["sigmoid"])?;
    one_of(keys, "topk_method", &["noaux_tc"])?;
    Ok(Moe {
        n_group: keys.size("n_group")?.unwrap_or(1),
        topk_group: keys.size("topk_group")?.unwrap_or(1),
        norm_topk_prob: keys.boolean("norm_topk_prob")?.unwrap_or(true),
        scoring: Scoring::Sigmoid,
        group_score: GroupScore::SumTop2,
        has_correction_bias: true,
        ..deepseek(keys)?
    })
}

fn write(moe: &Moe, put: Put) {
    write_deepseek(moe, put);
    put("scoring_func", json!("sigmoid"));
    put("topk_method", json!("noaux_tc"));
}

/// What DeepSeek's families have alike; the rest is V2's ungrouped choice.
pub(super) fn deepseek(keys: &Keys) -> Result<Moe, ConfigError> {
    Ok(Moe {
        n_routed_experts: keys.needed_size("n_routed_experts")?,
        n_shared_experts: keys.needed_size("n_shared_experts")?,
        num_experts_per_tok: keys.needed_size("num_experts_per_tok")?,
        moe_intermediate_size: keys.needed_size("moe_intermediate_size")?,
        sparse: SparseLayers::From {
            first_k_dense_replace: keys.needed_size("first_k_dense_replace")?,
            moe_layer_freq: keys.size("moe_layer_freq")?.unwrap_or(1),
        },
        n_group: 1,
        topk_group: 1,
        routed_scaling_factor: keys.float("routed_scaling_factor")?.unwrap_or(1.0),
        norm_topk_prob: false,
        scoring: Scoring::Softmax,
        group_score: GroupScore::Max,
        has_correction_bias: false,
    })
}

pub(super) fn write_deepseek(moe: &Moe, put: Put) {
    put("n_routed_experts", json!(moe.n_routed_experts));
    put("n_shared_experts", json!(moe.n_shared_experts));
    put("num_experts_per_tok", json!(moe.num_experts_per_tok));
    put("moe_intermediate_size", json!(moe.moe_intermediate_size));
    if let SparseLayers::From { first_k_dense_replace, moe_layer_freq } = moe.sparse {
        put("first_k_dense_replace", json!(first_k_dense_replace));
        put("moe_layer_freq", json!(moe_layer_freq));
    }
    put("n_group", json!(moe.n_group));
    put("topk_group", json!(moe.topk_group));
    put("routed_scaling_factor", json!(moe.routed_scaling_factor));
    put("norm_topk_prob", json!(moe.norm_topk_prob));
}

/// The text under `key`, of the `known` ones; the first where it is absent.
pub(super) fn one_of<'k>(keys: &Keys<'k>, key: &str, known: &[&'k str]) -> Result<&'k str, ConfigError> {
    let value = keys.text(key)?.unwrap_or(known[0]);
    if known.contains(&value) {
        return Ok(value);
    }
    Err(keys.unsupported(key, value, format!("this family has {}", known.join(" or "))))
}
