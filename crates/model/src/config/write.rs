//! Writes a configuration in upstream's form.
//!
//! Rotary settings appear twice: as `rope_parameters`, which `transformers` 5 writes, and as
//! `rope_theta` with `rope_scaling`, which older releases and most other tools read.

use serde_json::{Map, Value, json};

use super::{Attention, ModelConfig, ModelType, Moe, RopeStyle, Scoring};

impl ModelConfig {
    /// The object to store as `config.json`. Keys are sorted, so equal configurations give equal
    /// bytes. The tensors' `dtype` is added by whoever writes the tensors.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("architectures", json!([self.model_type.architecture()]));
        put("model_type", json!(self.model_type.name()));
        put("vocab_size", json!(self.vocab_size));
        put("hidden_size", json!(self.hidden_size));
        put("intermediate_size", json!(self.intermediate_size));
        put("num_hidden_layers", json!(self.num_hidden_layers));
        put("num_attention_heads", json!(self.num_attention_heads));
        put("hidden_act", json!("silu"));
        put("rms_norm_eps", json!(self.rms_norm_eps));
        put("tie_word_embeddings", json!(self.tie_word_embeddings));
        put("max_position_embeddings", json!(self.max_position_embeddings));
        put("initializer_range", json!(self.initializer_range));
        put("bos_token_id", json!(self.bos_token_id));
        put("eos_token_id", self.eos_json());
        self.put_attention(&mut put);
        if let Some(moe) = &self.moe {
            self.put_moe(moe, &mut put);
        }
        self.put_rope(&mut put);
        Value::Object(map)
    }

    /// One end token is written as a number, several as a list, none as null.
    fn eos_json(&self) -> Value {
        match self.eos_token_ids.as_slice() {
            [] => Value::Null,
            [id] => json!(id),
            ids => json!(ids),
        }
    }

    fn put_attention(&self, put: &mut impl FnMut(&str, Value)) {
        match &self.attention {
            Attention::Gqa { num_key_value_heads, head_dim, o_bias, .. } => {
                put("num_key_value_heads", json!(num_key_value_heads));
                put("head_dim", json!(head_dim));
                // Qwen2's biases are fixed by its family; it has no such key.
                if self.model_type != ModelType::Qwen2 {
                    put("attention_bias", json!(o_bias));
                }
            }
            Attention::Mla { q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim } => {
                put("num_key_value_heads", json!(self.num_attention_heads));
                put("q_lora_rank", json!(q_lora_rank));
                put("kv_lora_rank", json!(kv_lora_rank));
                put("qk_nope_head_dim", json!(qk_nope_head_dim));
                put("qk_rope_head_dim", json!(qk_rope_head_dim));
                put("v_head_dim", json!(v_head_dim));
                put("attention_bias", json!(false));
            }
        }
    }

    fn put_moe(&self, moe: &Moe, put: &mut impl FnMut(&str, Value)) {
        put("n_routed_experts", json!(moe.n_routed_experts));
        put("n_shared_experts", json!(moe.n_shared_experts));
        put("num_experts_per_tok", json!(moe.num_experts_per_tok));
        put("moe_intermediate_size", json!(moe.moe_intermediate_size));
        put("first_k_dense_replace", json!(moe.first_k_dense_replace));
        put("moe_layer_freq", json!(moe.moe_layer_freq));
        put("n_group", json!(moe.n_group));
        put("topk_group", json!(moe.topk_group));
        put("routed_scaling_factor", json!(moe.routed_scaling_factor));
        put("norm_topk_prob", json!(moe.norm_topk_prob));
        let (scoring, method) = match (moe.scoring, moe.n_group) {
            (Scoring::Sigmoid, _) => ("sigmoid", "noaux_tc"),
            (Scoring::Softmax, 1) => ("softmax", "greedy"),
            (Scoring::Softmax, _) => ("softmax", "group_limited_greedy"),
        };
        put("scoring_func", json!(scoring));
        put("topk_method", json!(method));
        if self.model_type == ModelType::DeepseekV3 {
            put("num_nextn_predict_layers", json!(self.num_nextn_predict_layers));
        }
    }

    fn put_rope(&self, put: &mut impl FnMut(&str, Value)) {
        if self.model_type == ModelType::DeepseekV3 {
            let interleave = self.rope.style == RopeStyle::Interleaved;
            put("rope_interleave", json!(interleave));
        }
        let mut parameters = Map::new();
        parameters.insert("rope_type".into(), json!("default"));
        if let Some(yarn) = &self.rope.yarn {
            let original = yarn.original_max_position_embeddings;
            parameters.insert("rope_type".into(), json!("yarn"));
            parameters.insert("factor".into(), json!(yarn.factor));
            parameters.insert("beta_fast".into(), json!(yarn.beta_fast));
            parameters.insert("beta_slow".into(), json!(yarn.beta_slow));
            parameters.insert("original_max_position_embeddings".into(), json!(original));
            for (key, mscale) in [("mscale", yarn.mscale), ("mscale_all_dim", yarn.mscale_all_dim)] {
                if mscale != 0.0 {
                    parameters.insert(key.into(), json!(mscale));
                }
            }
            if let Some(factor) = yarn.attention_factor {
                parameters.insert("attention_factor".into(), json!(factor));
            }
            if !yarn.truncate {
                parameters.insert("truncate".into(), json!(false));
            }
        }
        let mut scaling = parameters.clone();
        scaling.insert("type".into(), parameters["rope_type"].clone());
        let scaling = self.rope.yarn.as_ref().map(|_| scaling);
        put("rope_scaling", json!(scaling));
        put("rope_theta", json!(self.rope.theta));
        parameters.insert("rope_theta".into(), json!(self.rope.theta));
        put("rope_parameters", Value::Object(parameters));
    }
}
