//! `llama`: grouped queries, dense. Llama 2 and 3, SmolLM2, and R1's distilled Llamas.

use super::{AttentionKind, Biases, Family, Interleaved};

pub(super) const FAMILY: Family = Family {
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    attention: AttentionKind::Gqa { biases: Biases::ByKey, qk_norm: false, head_dim: None },
    moe: None,
    interleaved: Interleaved::Never,
    multi_token_prediction: false,
    mlp_bias: true,
};
