//! `qwen2`: grouped queries with biases on Q, K and V, dense. Qwen2, Qwen2.5, and R1's distilled Qwens.

use super::{AttentionKind, Biases, Family, Interleaved};

pub(super) const FAMILY: Family = Family {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    attention: AttentionKind::Gqa { biases: Biases::Qkv, qk_norm: false, head_dim: None },
    moe: None,
    interleaved: Interleaved::Never,
    multi_token_prediction: false,
    mlp_bias: false,
};
