//! Writes a configuration in upstream's form.
//!
//! Rotary settings appear twice: as `rope_parameters`, which `transformers` 5 writes, and as
//! `rope_theta` with `rope_scaling`, which older releases and most other tools read.

use serde_json::{Map, Value, json};

use super::families::{AttentionKind, Biases, Interleaved};
use super::{Attention, ModelConfig, RopeScaling, RopeStyle, Training};

/// Where keys are written to.
pub(crate) type Put<'p> = &'p mut dyn FnMut(&str, Value);

impl ModelConfig {
    /// The object to store as `config.json`. Keys are sorted, so equal configurations give equal
    /// bytes. The tensors' `dtype` is added by whoever writes the tensors.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("architectures", json!([self.family.architecture]));
        put("model_type", json!(self.family.model_type));
        put("vocab_size", json!(self.vocab_size));
        put("hidden_size", json!(self.hidden_size));
        put("intermediate_size", json!(self.intermediate_size));
        put("num_hidden_layers", json!(self.num_hidden_layers));
        put("hidden_act", json!("silu"));
        put("rms_norm_eps", json!(self.rms_norm_eps));
        put("tie_word_embeddings", json!(self.tie_word_embeddings));
        put("max_position_embeddings", json!(self.max_position_embeddings));
        put("initializer_range", json!(self.initializer_range));
        put("bos_token_id", json!(self.bos_token_id));
        put("eos_token_id", self.eos_json());
        if self.mlp_bias {
            put("mlp_bias", json!(true));
        }
        match (&self.attention, &self.family.attention) {
            (Attention::Gqa(gqa), AttentionKind::Gqa { biases, .. }) => gqa.write(*biases, &mut put),
            (Attention::Gqa(gqa), AttentionKind::Mla) => gqa.write(Biases::ByKey, &mut put),
            (Attention::Mla(mla), _) => mla.write(&mut put),
        }
        if let (Some(moe), Some(keys)) = (&self.moe, &self.family.moe) {
            (keys.write)(moe, &mut put);
        }
        if self.family.multi_token_prediction {
            put("num_nextn_predict_layers", json!(self.num_nextn_predict_layers));
        }
        self.put_rope(&mut put);
        if let Some(picnic) = self.training.to_json() {
            put(Training::SECTION, picnic);
        }
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

    fn put_rope(&self, put: Put) {
        if self.family.interleaved == Interleaved::ByKey {
            put("rope_interleave", json!(self.rope.style == RopeStyle::Interleaved));
        }
        let mut parameters = Map::new();
        self.rope.scaling.write(&mut |key, value| {
            parameters.insert(key.to_owned(), value);
        });
        let mut scaling = parameters.clone();
        scaling.insert("type".into(), parameters["rope_type"].clone());
        let is_scaled = self.rope.scaling != RopeScaling::None;
        put("rope_scaling", json!(is_scaled.then_some(scaling)));
        put("rope_theta", json!(self.rope.theta));
        parameters.insert("rope_theta".into(), json!(self.rope.theta));
        put("rope_parameters", Value::Object(parameters));
    }
}
