//! `qwen3`: grouped queries with a norm on each head of Q and K, dense.

use super::{AttentionKind, Biases, Family, Interleaved};

pub(super) const FAMILY: Family = Family {
    model_type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    attention: AttentionKind::Gqa { biases: Biases::ByKey, qk_norm: true, head_dim: Some(128) },
    moe: None,
    interleaved: Interleaved::Never,
    multi_token_prediction: false,
    mlp_bias: false,
};
