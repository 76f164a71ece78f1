//! How GGUF calls and stores the tensors of an architecture, beside upstream's names.
//!
//! A table lists the parts of a block; reading and writing both follow it, so what one undoes the other does. Left
//! out: the sizes, which each architecture's own file takes from the metadata and puts there.

use super::container::Gguf;
use super::metadata::Metadata;
use super::settings::Settings;
use super::{deepseek2, llama, qwen2, qwen3, qwen3moe};
use crate::checkpoint::CheckpointError;
use crate::checkpoint::error::quoted;
use crate::config::{Family, ModelConfig};

/// An architecture of GGUF.
pub(super) struct Architecture {
    /// The value of `general.architecture`, with which the keys of its settings begin.
    pub(super) name: &'static str,
    /// Whose models are stored so.
    pub(super) families: &'static [&'static Family],
    /// The parts of a block.
    pub(super) block: &'static [&'static [Part]],
    /// Gathers the configuration.
    pub(super) read: fn(&Settings) -> Result<ModelConfig, CheckpointError>,
    /// Puts down the settings that not all architectures have. The error says what llama.cpp would do otherwise.
    pub(super) write: fn(&ModelConfig, &mut Metadata) -> Result<(), String>,
}

const ALL: [&Architecture; 5] = [
    &llama::ARCHITECTURE,
    &qwen2::ARCHITECTURE,
    &qwen3::ARCHITECTURE,
    &qwen3moe::ARCHITECTURE,
    &deepseek2::ARCHITECTURE,
];

/// A tensor of a block.
pub(super) struct Part {
    /// Below `blk.N.`.
    pub(super) gguf: &'static str,
    /// Below `model.layers.N.`; for [`Layout::Stacked`] with `{}` where the expert's number stands.
    pub(super) upstream: &'static str,
    pub(super) layout: Layout,
}

/// How a part is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As upstream has it.
    Plain,
    /// The rows of each head in rotary pairs.
    Paired,
    /// All experts in one tensor, `[experts, outputs, inputs]`.
    Stacked,
    /// The keys' half of MLA's `kv_b_proj`, `[heads, rank, nope]`.
    Keys,
    /// The values' half, `[heads, v, rank]`.
    Values,
}

pub(super) const fn plain(gguf: &'static str, upstream: &'static str) -> Part {
    Part { gguf, upstream, layout: Layout::Plain }
}

pub(super) const fn paired(gguf: &'static str, upstream: &'static str) -> Part {
    Part { gguf, upstream, layout: Layout::Paired }
}

const fn stacked(gguf: &'static str, upstream: &'static str) -> Part {
    Part { gguf, upstream, layout: Layout::Stacked }
}

/// Tensors outside the blocks.
pub(super) const TOP: [Part; 3] = [
    plain("token_embd.weight", "model.embed_tokens.weight"),
    plain("output_norm.weight", "model.norm.weight"),
    plain("output.weight", "lm_head.weight"),
];

/// What every block has.
pub(super) const COMMON: &[Part] = &[
    plain("attn_norm.weight", "input_layernorm.weight"),
    plain("ffn_norm.weight", "post_attention_layernorm.weight"),
    plain("attn_output.weight", "self_attn.o_proj.weight"),
];

/// Queries, keys and values where llama.cpp rotates as Hugging Face does.
pub(super) const ATTENTION: &[Part] = &[
    plain("attn_q.weight", "self_attn.q_proj.weight"),
    plain("attn_k.weight", "self_attn.k_proj.weight"),
    plain("attn_v.weight", "self_attn.v_proj.weight"),
    plain("attn_q.bias", "self_attn.q_proj.bias"),
    plain("attn_k.bias", "self_attn.k_proj.bias"),
    plain("attn_v.bias", "self_attn.v_proj.bias"),
    plain("attn_output.bias", "self_attn.o_proj.bias"),
];

/// A dense SwiGLU.
pub(super) const DENSE: &[Part] = &[
    plain("ffn_gate.weight", "mlp.gate_proj.weight"),
    plain("ffn_up.weight", "mlp.up_proj.weight"),
    plain("ffn_down.weight", "mlp.down_proj.weight"),
];

/// Routed experts.
pub(super) const EXPERTS: &[Part] = &[
    plain("ffn_gate_inp.weight", "mlp.gate.weight"),
    stacked("ffn_gate_exps.weight", "mlp.experts.{}.gate_proj.weight"),
    stacked("ffn_up_exps.weight", "mlp.experts.{}.up_proj.weight"),
    stacked("ffn_down_exps.weight", "mlp.experts.{}.down_proj.weight"),
];

impl Architecture {
    /// The architecture that a file names.
    ///
    /// # Errors
    /// One that is not in the list.
    pub(super) fn of(gguf: &Gguf) -> Result<&'static Architecture, CheckpointError> {
        let name = gguf.text("general.architecture")?.unwrap_or("");
        ALL.into_iter().find(|architecture| architecture.name == name).ok_or_else(|| {
            let problem = format!("is of architecture {}", quoted(name));
            let names = ALL.map(|architecture| architecture.name).join(", ");
            let cure = format!("{names} can be read from GGUF: use a model of these");
            CheckpointError::refused(gguf.path, problem, cure)
        })
    }

    /// The architecture under which models of `family` are written.
    pub(super) fn for_family(family: &Family) -> Option<&'static Architecture> {
        ALL.into_iter().find(|architecture| architecture.families.contains(&family))
    }

    /// The part that GGUF calls `name`, below `blk.N.`.
    pub(super) fn part(&self, name: &str) -> Option<&'static Part> {
        self.block.iter().copied().flatten().find(|part| part.gguf == name)
    }
}
