//! What `config.json` says about a model: sizes, attention, mixture of experts, rotary positions.
//!
//! One struct for every architecture that the model code runs. Reading (`config/read.rs`) accepts
//! the old and the new spelling of Hugging Face's keys, [`ModelConfig::validate`]
//! (`config/validate.rs`) holds the bounds, `config/write.rs` writes upstream's form and
//! `config/rope.rs` computes the rotary frequencies. Left out: training hyper-parameters, dropout,
//! sliding windows and quantisation settings, none of which our models have.

mod read;
mod rope;
mod validate;
mod write;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use rope::{Rope, RopeStyle, Yarn};

/// A model's architecture, in the words of `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family, which decides tensor names and defaults.
    pub model_type: ModelType,
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Inner width of a dense SwiGLU block.
    pub intermediate_size: usize,
    /// Transformer blocks, without those of multi-token prediction.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Added to the mean square in every RMSNorm over the residual stream. The norms on MLA's
    /// latents do not read it: upstream fixes them at 1e-6.
    pub rms_norm_eps: f64,
    /// Whether the head is the embedding, so that no `lm_head.weight` exists.
    pub tie_word_embeddings: bool,
    /// Positions the model was made for. A promise of the file, not a size to allocate by.
    pub max_position_embeddings: usize,
    /// Standard deviation of freshly initialised matrices.
    pub initializer_range: f64,
    /// Token that opens a text, if the model has one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text; empty if the file names none.
    pub eos_token_ids: Vec<u32>,
    /// Modules of multi-token prediction after the last layer (DeepSeek-V3 §2.2); a model has one at most, and what is
    /// loaded has none where the checkpoint lacks it.
    pub num_nextn_predict_layers: usize,
    /// Kind and sizes of the attention.
    pub attention: Attention,
    /// Sizes and routing of the mixture of experts; `None` for a dense model.
    pub moe: Option<Moe>,
    /// Rotary position embedding.
    pub rope: Rope,
}

/// The model families that we run, by `model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelType {
    /// `deepseek_v3`: MLA, sigmoid router with a selection bias. V3 and R1.
    DeepseekV3,
    /// `deepseek_v2`: MLA, softmax router.
    DeepseekV2,
    /// `llama`: GQA without biases. Llama, SmolLM2.
    Llama,
    /// `qwen2`: GQA with biases on Q, K and V.
    Qwen2,
    /// `qwen3`: GQA with RMSNorm on each head of Q and K.
    Qwen3,
}

/// Attention and its sizes.
#[derive(Debug, Clone, PartialEq)]
pub enum Attention {
    /// Grouped-query attention (Ainslie et al. 2023).
    Gqa {
        /// Key and value heads; divides the number of query heads.
        num_key_value_heads: usize,
        /// Width of a head.
        head_dim: usize,
        /// Biases on `q_proj`, `k_proj` and `v_proj`.
        qkv_bias: bool,
        /// Bias on `o_proj`.
        o_bias: bool,
        /// RMSNorm over each head of Q and K before the rotation.
        qk_norm: bool,
    },
    /// Multi-head latent attention (DeepSeek-V2 §2.1).
    Mla {
        /// Width of the query latent; `None` for one full `q_proj`.
        q_lora_rank: Option<usize>,
        /// Width of the latent that keys and values share.
        kv_lora_rank: usize,
        /// Width of a query or key head without rotation.
        qk_nope_head_dim: usize,
        /// Width of the rotated part, shared by all heads of the key.
        qk_rope_head_dim: usize,
        /// Width of a value head.
        v_head_dim: usize,
    },
}

/// Shared and routed experts (DeepSeekMoE; DeepSeek-V3 §2.1.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Moe {
    /// Routed experts in a layer.
    pub n_routed_experts: usize,
    /// Shared experts in a layer, stored as one SwiGLU block of that many times the width.
    pub n_shared_experts: usize,
    /// Routed experts that a token visits.
    pub num_experts_per_tok: usize,
    /// Inner width of one expert.
    pub moe_intermediate_size: usize,
    /// Leading layers that stay dense.
    pub first_k_dense_replace: usize,
    /// Of the others, those whose index this divides are sparse.
    pub moe_layer_freq: usize,
    /// Groups of consecutive experts; 1 for routing without groups.
    pub n_group: usize,
    /// Groups that a token may visit.
    pub topk_group: usize,
    /// Factor on the mixing weights.
    pub routed_scaling_factor: f64,
    /// Whether the chosen weights are divided by their sum.
    pub norm_topk_prob: bool,
    /// From router logits to scores.
    pub scoring: Scoring,
    /// From the scores of a group's experts to the group's own.
    pub group_score: GroupScore,
    /// Whether `gate.e_score_correction_bias` is added for the selection.
    pub has_correction_bias: bool,
}

/// How router logits become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// Each expert on its own (V3).
    Sigmoid,
    /// Over all experts (V2).
    Softmax,
}

/// How a group of experts is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupScore {
    /// The sum of the two best (V3).
    SumTop2,
    /// The best (V2).
    Max,
}

/// A setting that cannot be used: where it stands, what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {key}: {problem}; {cure}", file.display())]
pub struct ConfigError {
    /// The file at fault.
    pub file: PathBuf,
    /// The key in it.
    pub key: String,
    /// What is wrong with its value.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

impl ModelConfig {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// The file cannot be read, is no JSON, or fails [`ModelConfig::from_value`].
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        read::from_file(file)
    }

    /// Reads and validates a configuration given as a JSON object; `file` is named in errors.
    ///
    /// # Errors
    /// A missing key, a wrong type, a setting that we do not support, or sizes that
    /// [`ModelConfig::validate`] refuses.
    pub fn from_value(value: &Value, file: &Path) -> Result<Self, ConfigError> {
        let config = read::from_value(value, file)?;
        config.validate(file)?;
        Ok(config)
    }

    /// Whether block `layer` has experts in place of a dense SwiGLU.
    pub fn is_moe_layer(&self, layer: usize) -> bool {
        self.moe
            .as_ref()
            .is_some_and(|moe| layer >= moe.first_k_dense_replace && layer.is_multiple_of(moe.moe_layer_freq))
    }

    /// Width of the part of a head that is rotated.
    pub fn rope_dim(&self) -> usize {
        match self.attention {
            Attention::Gqa { head_dim, .. } => head_dim,
            Attention::Mla { qk_rope_head_dim, .. } => qk_rope_head_dim,
        }
    }

    /// Radians per position of each rotated pair: `rope_dim / 2` values.
    pub fn inv_freq(&self) -> Vec<f32> {
        self.rope.inv_freq(self.rope_dim())
    }

    /// Factor on the sine and cosine tables (YaRN, Peng et al. 2023 §3.4); 1 without YaRN.
    pub fn attention_factor(&self) -> f32 {
        self.rope.attention_factor() as f32
    }

    /// Factor on Q·K before the softmax: head width^-½, for MLA times YaRN's mscale squared.
    pub fn softmax_scale(&self) -> f32 {
        let scale = match self.attention {
            Attention::Gqa { head_dim, .. } => 1.0 / (head_dim as f64).sqrt(),
            Attention::Mla { qk_nope_head_dim, qk_rope_head_dim, .. } => {
                let mscale = self.rope.mscale_all_dim();
                mscale * mscale / ((qk_nope_head_dim + qk_rope_head_dim) as f64).sqrt()
            }
        };
        scale as f32
    }
}

impl ModelType {
    /// All families, in the order in which errors list them.
    pub const ALL: [ModelType; 5] =
        [ModelType::DeepseekV3, ModelType::DeepseekV2, ModelType::Llama, ModelType::Qwen2, ModelType::Qwen3];

    /// The value of `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            ModelType::DeepseekV3 => "deepseek_v3",
            ModelType::DeepseekV2 => "deepseek_v2",
            ModelType::Llama => "llama",
            ModelType::Qwen2 => "qwen2",
            ModelType::Qwen3 => "qwen3",
        }
    }

    /// The class that Hugging Face's `architectures` names.
    pub fn architecture(self) -> &'static str {
        match self {
            ModelType::DeepseekV3 => "DeepseekV3ForCausalLM",
            ModelType::DeepseekV2 => "DeepseekV2ForCausalLM",
            ModelType::Llama => "LlamaForCausalLM",
            ModelType::Qwen2 => "Qwen2ForCausalLM",
            ModelType::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

#[cfg(test)]
mod tests;
