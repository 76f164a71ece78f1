//! Small random models, large enough that teams of threads really share their operations.

use picnic_model::config::ModelConfig;
use picnic_model::{CpuOps, Model, Ops, ParamStore, Role, initialise};
use serde_json::{Value, json};
use std::path::Path;

/// Token ids in the models' vocabulary.
pub const VOCABULARY: usize = 300;

/// DeepSeek-V3 (MLA with q-LoRA, a dense layer and a sparse one with groups, multi-token prediction), Llama and Qwen3,
/// by name.
pub fn models() -> Vec<(&'static str, Model)> {
    let common = json!({
        "vocab_size": VOCABULARY, "hidden_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 112, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "initializer_range": 0.1
    });
    let deepseek = json!({
        "model_type": "deepseek_v3", "q_lora_rank": 24, "kv_lora_rank": 20, "qk_nope_head_dim": 12,
        "qk_rope_head_dim": 8, "v_head_dim": 14, "first_k_dense_replace": 1, "n_shared_experts": 1,
        "n_routed_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "n_group": 3, "topk_group": 2,
        "norm_topk_prob": true, "routed_scaling_factor": 2.5, "num_nextn_predict_layers": 1
    });
    let llama = json!({ "model_type": "llama", "num_key_value_heads": 2 });
    let qwen3 = json!({ "model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 24, "tie_word_embeddings": true });
    [("deepseek_v3", deepseek), ("llama", llama), ("qwen3", qwen3)]
        .map(|(name, own)| {
            let config = ModelConfig::from_value(&merged(&common, own), Path::new(name)).unwrap();
            (name, Model::new(config))
        })
        .into()
}

fn merged(common: &Value, own: Value) -> Value {
    let (mut all, Value::Object(own)) = (common.clone(), own) else { unreachable!("both are objects") };
    all.as_object_mut().unwrap().extend(own);
    all
}

/// Fresh weights, with norms and router biases moved off the values that would hide a mistake.
pub fn weights(ops: &CpuOps, model: &Model) -> ParamStore<CpuOps> {
    let mut params = initialise(ops, model, 7).unwrap();
    let mut noise = Noise(1);
    for (_, spec, buffer) in params.learning_mut() {
        let size = match spec.role {
            Role::Norm | Role::Bias => 0.3,
            Role::RouterBias => 0.05,
            Role::Linear | Role::Router | Role::Head | Role::Embedding | Role::TiedEmbedding => continue,
        };
        let values: Vec<f32> = ops.download(buffer).into_iter().map(|x| x + size * noise.next()).collect();
        ops.write(buffer, &values);
    }
    params
}

/// Values in −1..1 by a linear congruential generator: the same everywhere.
pub struct Noise(pub u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// `n` token ids.
    pub fn ids(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| ((self.next() + 1.0) * 0.5 * VOCABULARY as f32) as u32 % VOCABULARY as u32).collect()
    }
}
