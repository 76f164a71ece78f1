//! `qwen3moe`: Qwen3's mixtures of experts. llama.cpp divides the chosen experts' weights by their sum, whatever a
//! file says, as the published models want it.

use super::architecture::{ATTENTION, Architecture, COMMON, EXPERTS};
use super::metadata::Metadata;
use super::qwen3::{HEAD_NORMS, without_biases};
use super::settings::Settings;
use crate::checkpoint::CheckpointError;
use crate::config::{Family, GroupScore, ModelConfig, Moe, Scoring, SparseLayers};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3moe",
    families: &[Family::QWEN3_MOE],
    block: &[COMMON, ATTENTION, HEAD_NORMS, EXPERTS],
    read,
    write,
};

fn read(settings: &Settings) -> Result<ModelConfig, CheckpointError> {
    let mut config = settings.grouped(Family::QWEN3_MOE)?;
    config.moe = Some(Moe {
        n_routed_experts: settings.needed("expert_count")?,
        n_shared_experts: 0,
        num_experts_per_tok: settings.needed("expert_used_count")?,
        moe_intermediate_size: settings.needed("expert_feed_forward_length")?,
        sparse: SparseLayers::Every { decoder_sparse_step: 1, mlp_only_layers: Vec::new() },
        n_group: 1,
        topk_group: 1,
        routed_scaling_factor: 1.0,
        norm_topk_prob: true,
        scoring: Scoring::Softmax,
        group_score: GroupScore::Max,
        has_correction_bias: false,
    });
    Ok(config)
}

fn write(config: &ModelConfig, out: &mut Metadata) -> Result<Option<String>, String> {
    let Some(moe) = &config.moe else { return Err("it is no mixture of experts".into()) };
    if !moe.norm_topk_prob {
        return Err("llama.cpp divides the experts' weights by their sum, which this model does not".into());
    }
    if !(0..config.num_hidden_layers).all(|layer| moe.sparse.contains(layer)) {
        return Err("llama.cpp has no dense layers among Qwen3's mixtures".into());
    }
    without_biases(config)?;
    out.grouped(config);
    out.size("expert_count", moe.n_routed_experts);
    out.size("expert_used_count", moe.num_experts_per_tok);
    out.size("expert_feed_forward_length", moe.moe_intermediate_size);
    Ok(None)
}
