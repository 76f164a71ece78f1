//! A GGUF file's settings as a model's configuration: what all architectures spell alike.

use super::container::{Gguf, Tensor};
use super::metadata::{CONVERSATION_TOKENS, TAUGHT};
use crate::checkpoint::CheckpointError;
use crate::checkpoint::error::FETCH_AGAIN;
use crate::config::{Attention, ConfigError, Family, Gqa, ModelConfig, Rope, RopeScaling, RopeStyle, Training, Yarn};

/// The settings of one file, below its architecture's name.
pub(super) struct Settings<'a> {
    pub(super) gguf: &'a Gguf<'a>,
    pub(super) architecture: &'static str,
    /// The tensors of all shards.
    pub(super) tensors: &'a [(usize, &'a Tensor<'a>)],
    /// What `rope_freqs.weight` holds, if the file has it: divisors of the rotary frequencies.
    pub(super) freq_factors: Option<Vec<f32>>,
}

impl Settings<'_> {
    /// A size, which may also be a list of the same for every layer.
    pub(super) fn size(&self, key: &str) -> Result<Option<usize>, CheckpointError> {
        let full = self.key(key);
        let value = match self.gguf.is_list(&full) {
            false => self.gguf.unsigned(&full)?,
            true => {
                let mut by_layer = self.gguf.ints(&full)?.unwrap_or_default();
                by_layer.dedup();
                match by_layer.as_slice() {
                    &[one] if one >= 0 => Some(one as u64),
                    _ => return Err(self.refuse(format!("has layers that differ in `{full}`"))),
                }
            }
        };
        // What does not fit is refused with everything else that is too large.
        Ok(value.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
    }

    pub(super) fn needed(&self, key: &str) -> Result<usize, CheckpointError> {
        self.size(key)?.ok_or_else(|| self.fail(key, "is missing", "convert the model again"))
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.gguf.float(&self.key(key))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, CheckpointError> {
        self.gguf.boolean(&self.key(key))
    }

    pub(super) fn fail(&self, key: &str, problem: &str, cure: &str) -> CheckpointError {
        let (key, problem, cure) = (self.key(key), problem.to_owned(), cure.to_owned());
        ConfigError { file: self.gguf.path.to_owned(), key, problem, cure }.into()
    }

    /// Refuses the file for what it `does`.
    pub(super) fn refuse(&self, does: impl Into<String>) -> CheckpointError {
        let cure = "that is not supported from GGUF: use another model";
        CheckpointError::refused(self.gguf.path, does.into(), cure)
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn tensor(&self, name: &str) -> Option<&Tensor<'_>> {
        self.tensors.iter().find(|(_, tensor)| tensor.name == name).map(|(_, tensor)| *tensor)
    }

    /// The configuration of a model of `family` with grouped-query attention and dense feed-forwards.
    pub(super) fn grouped(&self, family: &'static Family) -> Result<ModelConfig, CheckpointError> {
        let (heads, hidden) = (self.needed("attention.head_count")?, self.needed("embedding_length")?);
        let head_dim = match self.size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                let problem = format!("does not divide {}", self.key("embedding_length"));
                return Err(self.fail("attention.head_count", &problem, FETCH_AGAIN));
            }
        };
        for key in ["rope.dimension_count", "attention.value_length"] {
            if self.size(key)?.is_some_and(|width| width != head_dim) {
                let cure = "use a model whose heads have one width and rotate whole";
                return Err(self.fail(key, "differs from the heads' width", cure));
            }
        }
        let attention = Attention::Gqa(Gqa {
            num_attention_heads: heads,
            num_key_value_heads: self.size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            qkv_bias: ["blk.0.attn_q.bias", "blk.0.attn_qkv.bias"].iter().any(|name| self.tensor(name).is_some()),
            o_bias: self.tensor("blk.0.attn_output.bias").is_some(),
            qk_norm: self.tensor("blk.0.attn_q_norm.weight").is_some(),
        });
        self.with(family, attention)
    }

    /// A configuration of `family` with `attention` and dense feed-forwards.
    pub(super) fn with(&self, family: &'static Family, attention: Attention) -> Result<ModelConfig, CheckpointError> {
        let embedding = self.tensor("token_embd.weight").ok_or_else(|| CheckpointError::MissingTensor {
            file: self.gguf.path.to_owned(),
            tensor: "token_embd.weight".into(),
        })?;
        let max_position_embeddings = self.needed("context_length")?;
        let mut eos_token_ids = Vec::new();
        for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
            let id = token_id(self.gguf, &format!("tokenizer.ggml.{key}"))?;
            let known = |id: &u32| (*id as usize) < embedding.shape[0] && !eos_token_ids.contains(id);
            eos_token_ids.extend(id.filter(known));
        }
        Ok(ModelConfig {
            family,
            vocab_size: embedding.shape[0],
            hidden_size: self.needed("embedding_length")?,
            intermediate_size: self.needed("feed_forward_length")?,
            mlp_bias: self.tensor("blk.0.ffn_down.bias").is_some(),
            num_hidden_layers: self.needed("block_count")?,
            rms_norm_eps: self.float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5),
            tie_word_embeddings: self.tensor("output.weight").is_none(),
            max_position_embeddings,
            initializer_range: 0.02,
            bos_token_id: token_id(self.gguf, "tokenizer.ggml.bos_token_id")?
                .filter(|&id| (id as usize) < embedding.shape[0]),
            eos_token_ids,
            num_nextn_predict_layers: 0,
            attention,
            moe: None,
            rope: self.rope(max_position_embeddings)?,
            training: self.training()?,
        })
    }

    /// What the model was trained for, under keys of our own.
    fn training(&self) -> Result<Training, CheckpointError> {
        let tokens = self.gguf.unsigned(CONVERSATION_TOKENS)?;
        Ok(Training {
            conversation_tokens: tokens.map(|tokens| usize::try_from(tokens).unwrap_or(usize::MAX)),
            taught: self.gguf.texts(TAUGHT)?.unwrap_or_default(),
        })
    }

    fn rope(&self, max_positions: usize) -> Result<Rope, CheckpointError> {
        let theta = self.float("rope.freq_base")?.unwrap_or(10_000.0);
        let kind = self.gguf.text(&self.key("rope.scaling.type"))?;
        let factor = match self.float("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.float("rope.scale_linear")?,
        };
        // As llama.cpp has it: without a kind a factor is linear, and 0 stands for none.
        let factor = factor.filter(|&factor| factor != 0.0).unwrap_or(1.0);
        let scaling = match (kind.unwrap_or("linear"), &self.freq_factors) {
            ("none", None) => RopeScaling::None,
            ("linear", None) if factor == 1.0 => RopeScaling::None,
            ("none" | "linear", Some(divisors)) if factor == 1.0 => RopeScaling::of_divisors(divisors, theta),
            ("linear", None) => RopeScaling::Linear { factor },
            ("yarn", None) => RopeScaling::Yarn(self.yarn(factor, max_positions)?),
            ("linear" | "yarn" | "none", Some(_)) => {
                return Err(self.refuse("scales its rotary frequencies in two ways"));
            }
            (other, _) => return Err(self.refuse(format!("has rotary frequencies scaled by {other:?}"))),
        };
        let mut rope = Rope { theta, style: RopeStyle::Half, scaling };
        let more = self.float("rope.scaling.attn_factor")?.unwrap_or(1.0);
        let usual = rope.attention_factor();
        match &mut rope.scaling {
            _ if more == 1.0 => {}
            // On top of the factor that follows from the length.
            RopeScaling::Yarn(yarn) => yarn.attention_factor = Some(usual * more),
            _ => return Err(self.refuse("scales its rotary tables by `rope.scaling.attn_factor`")),
        }
        Ok(rope)
    }

    fn yarn(&self, factor: f64, max_positions: usize) -> Result<Yarn, CheckpointError> {
        // DeepSeek's `mscale_all_dim`, a tenth of which is kept; llama.cpp takes `mscale` for 1 where that is 1, and
        // for the same otherwise.
        let mscale_all_dim = match self.float("rope.scaling.yarn_log_multiplier")? {
            Some(tenth) => (tenth * 10.0 * 1e6).round() / 1e6,
            None => 0.0,
        };
        Ok(Yarn {
            factor,
            beta_fast: self.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
            beta_slow: self.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
            mscale: mscale_all_dim,
            mscale_all_dim,
            original_max_position_embeddings: self
                .size("rope.scaling.original_context_length")?
                .unwrap_or(max_positions),
            attention_factor: self.float("rope.scaling.yarn_attn_factor")?,
            truncate: true,
        })
    }
}

/// A token id; what does not fit 32 bits lies outside every vocabulary.
pub(super) fn token_id(gguf: &Gguf, key: &str) -> Result<Option<u32>, CheckpointError> {
    let id = gguf.unsigned(key)?.map(|id| u32::try_from(id).unwrap_or(u32::MAX - 1));
    // All ones is llama.cpp's −1, which stands for no token.
    Ok(id.filter(|&id| id != u32::MAX))
}
