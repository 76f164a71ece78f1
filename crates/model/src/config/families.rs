//! The model families that can be run, one a file: what each `model_type` means for the keys of its `config.json`.

mod deepseek_v2;
mod deepseek_v3;
mod llama;
mod qwen2;
mod qwen3;
mod qwen3_moe;

use super::{ConfigError, Keys, Moe, Put};
pub(crate) use crate::arch::Biases;
use std::fmt;

/// A family of models, by its `model_type`.
pub struct Family {
    /// The value of `model_type`.
    pub model_type: &'static str,
    /// The class that Hugging Face's `architectures` names.
    pub architecture: &'static str,
    /// Kind of attention.
    pub(super) attention: AttentionKind,
    /// How the keys of its mixture are read and written; `None` for a dense family.
    pub(super) moe: Option<MoeKeys>,
    /// Whether neighbouring values of a head are rotated together.
    pub(super) interleaved: Interleaved,
    /// Whether it may have modules of multi-token prediction.
    pub(super) multi_token_prediction: bool,
    /// Whether it obeys `mlp_bias`; upstream's other families do not know the key.
    pub(super) mlp_bias: bool,
}

/// A family's kind of attention.
pub(super) enum AttentionKind {
    /// Grouped queries.
    Gqa {
        /// Where biases are.
        biases: Biases,
        /// Whether each head of Q and K is normalised.
        qk_norm: bool,
        /// Width of a head where `head_dim` is absent; `None` for what the hidden size leaves each.
        head_dim: Option<usize>,
    },
    /// Multi-head latent attention.
    Mla,
}

/// Both directions of a mixture's keys.
pub(super) struct MoeKeys {
    pub(super) read: fn(&Keys) -> Result<Moe, ConfigError>,
    pub(super) write: fn(&Moe, Put),
}

/// Whether values 2i and 2i+1 are rotated together, rather than i and i + dim/2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Interleaved {
    Never,
    Always,
    /// As `rope_interleave` says, which is true where it is absent.
    ByKey,
}

impl Family {
    /// All families, in the order in which errors list them.
    pub const ALL: &[&Family] = &[
        &deepseek_v3::FAMILY,
        &deepseek_v2::FAMILY,
        &llama::FAMILY,
        &qwen2::FAMILY,
        &qwen3::FAMILY,
        &qwen3_moe::FAMILY,
    ];

    // By name for other formats, whose own names tell families apart.
    pub(crate) const DEEPSEEK_V2: &Family = &deepseek_v2::FAMILY;
    pub(crate) const DEEPSEEK_V3: &Family = &deepseek_v3::FAMILY;
    pub(crate) const LLAMA: &Family = &llama::FAMILY;
    pub(crate) const QWEN2: &Family = &qwen2::FAMILY;
    pub(crate) const QWEN3: &Family = &qwen3::FAMILY;
    pub(crate) const QWEN3_MOE: &Family = &qwen3_moe::FAMILY;

    /// The family whose `model_type` is `name`.
    pub fn named(name: &str) -> Option<&'static Family> {
        Family::ALL.iter().copied().find(|family| family.model_type == name)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Family) -> bool {
        self.model_type == other.model_type
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type)
    }
}
