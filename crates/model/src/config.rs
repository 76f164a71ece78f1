//! What `config.json` says about a model: sizes, attention, mixture of experts, rotary positions.
//!
//! [`ModelConfig`] has upstream's words; [`ModelConfig::layers`] makes of them the list of layers that a model is. A
//! family (`config/families`) says what its `model_type` means; the kinds of layers read and bound their own keys
//! (`arch`). Reading (`config/read.rs`) accepts the old and the new spelling of Hugging Face's keys, `validate.rs`
//! bounds every size, `write.rs` writes upstream's form, `rope.rs` computes the rotary frequencies, and `training.rs` has
//! the keys of our own. Left out: training hyper-parameters, dropout, sliding windows and quantisation settings.

mod families;
mod keys;
mod read;
mod rope;
mod training;
mod validate;
mod write;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use crate::arch::{Dense, Gqa, GroupScore, Mla, Moe, Scoring, SparseLayers};
pub use families::Family;
pub(crate) use keys::Keys;
pub use rope::{Rope, RopeScaling, RopeStyle, Yarn};
pub use training::Training;
pub(crate) use validate::{Bounds, Contradiction};
pub(crate) use write::Put;

/// A model's architecture, in the words of `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family, which decides tensor names and defaults.
    pub family: &'static Family,
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Inner width of a dense SwiGLU block.
    pub intermediate_size: usize,
    /// Biases in dense SwiGLU blocks.
    pub mlp_bias: bool,
    /// Transformer blocks, without those of multi-token prediction.
    pub num_hidden_layers: usize,
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
    /// What it was trained for, as far as whoever talks to it should know.
    pub training: Training,
}

/// Attention and its sizes.
#[derive(Debug, Clone, PartialEq)]
pub enum Attention {
    /// Grouped-query attention.
    Gqa(Gqa),
    /// Multi-head latent attention.
    Mla(Mla),
}

/// What a layer does to each row by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FeedForward<'c> {
    /// One SwiGLU block.
    Dense(Dense),
    /// A mixture of experts.
    Moe(&'c Moe),
}

/// One layer of a model. Nothing in it need be as in its neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerConfig<'c> {
    /// Kind and sizes of the attention.
    pub attention: &'c Attention,
    /// How queries and keys are rotated.
    pub rope: &'c Rope,
    /// Dense block or mixture.
    pub feed_forward: FeedForward<'c>,
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

    /// The layers in order, without multi-token prediction.
    pub fn layers(&self) -> impl Iterator<Item = LayerConfig<'_>> {
        (0..self.num_hidden_layers).map(|index| self.layer(index))
    }

    /// Layer `index`, counted from 0. That of multi-token prediction comes after the last.
    pub fn layer(&self, index: usize) -> LayerConfig<'_> {
        let dense = Dense { intermediate_size: self.intermediate_size, bias: self.mlp_bias };
        let sparse = self.moe.as_ref().filter(|moe| moe.sparse.contains(index));
        let feed_forward = sparse.map_or(FeedForward::Dense(dense), FeedForward::Moe);
        LayerConfig { attention: &self.attention, rope: &self.rope, feed_forward }
    }

    /// Positions that it can read: `max_position_embeddings`, or `factor` times as many under dynamic scaling, which is for
    /// that.
    pub fn context(&self) -> usize {
        let positions = self.max_position_embeddings;
        match self.rope.scaling {
            RopeScaling::Dynamic { factor, .. } => positions.max((positions as f64 * factor) as usize),
            _ => positions,
        }
    }

    /// Query heads.
    pub fn num_attention_heads(&self) -> usize {
        match &self.attention {
            Attention::Gqa(gqa) => gqa.num_attention_heads,
            Attention::Mla(mla) => mla.num_attention_heads,
        }
    }

    /// Width of the part of a head that is rotated.
    pub fn rope_dim(&self) -> usize {
        match &self.attention {
            Attention::Gqa(gqa) => gqa.head_dim,
            Attention::Mla(mla) => mla.qk_rope_head_dim,
        }
    }
}

#[cfg(test)]
mod tests;
