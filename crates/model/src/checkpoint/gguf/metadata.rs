//! Metadata to be written: keys and values as GGUF has them, and a model's configuration under llama.cpp's keys.

use crate::config::{Attention, Gqa, ModelConfig, Rope, RopeScaling, Training, Yarn};

/// Keys of our own, for what [`Training`] says.
pub(super) const CONVERSATION_TOKENS: &str = "picnic.conversation_tokens";
pub(super) const TAUGHT: &str = "picnic.taught";

/// Keys and values, encoded.
pub(super) struct Metadata {
    architecture: &'static str,
    bytes: Vec<u8>,
    count: u64,
}

impl Metadata {
    /// None yet; keys of settings begin with the name of the `architecture`.
    pub(super) fn new(architecture: &'static str) -> Metadata {
        let mut metadata = Metadata { architecture, bytes: Vec::new(), count: 0 };
        metadata.text("general.architecture", architecture);
        metadata
    }

    /// The number of keys, and all of them with their values.
    pub(super) fn finish(self) -> (u64, Vec<u8>) {
        (self.count, self.bytes)
    }

    pub(super) fn number(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn float(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.key(key, 7);
        self.bytes.push(value.into());
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        put_text(&mut self.bytes, value);
    }

    pub(super) fn texts(&mut self, key: &str, values: &[String]) {
        self.list(key, 8, values.len());
        values.iter().for_each(|value| put_text(&mut self.bytes, value));
    }

    pub(super) fn ints(&mut self, key: &str, values: &[i32]) {
        self.list(key, 5, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(super) fn floats(&mut self, key: &str, values: &[f32]) {
        self.list(key, 6, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// A setting of the architecture. Sizes have been bounded by the configuration.
    pub(super) fn size(&mut self, key: &str, value: usize) {
        self.number(&self.setting(key), u32::try_from(value).unwrap_or(u32::MAX));
    }

    /// A setting of the architecture.
    pub(super) fn real(&mut self, key: &str, value: f64) {
        self.float(&self.setting(key), value as f32);
    }

    /// A setting of the architecture.
    pub(super) fn switch(&mut self, key: &str, value: bool) {
        self.boolean(&self.setting(key), value);
    }

    /// A setting of the architecture.
    pub(super) fn word(&mut self, key: &str, value: &str) {
        self.text(&self.setting(key), value);
    }

    /// What all models have.
    pub(super) fn common(&mut self, config: &ModelConfig) {
        self.size("vocab_size", config.vocab_size);
        self.size("context_length", config.max_position_embeddings);
        self.size("embedding_length", config.hidden_size);
        self.size("block_count", config.num_hidden_layers);
        self.size("feed_forward_length", config.intermediate_size);
        self.size("attention.head_count", config.num_attention_heads());
        self.real("attention.layer_norm_rms_epsilon", config.rms_norm_eps);
        self.size("rope.dimension_count", config.rope_dim());
        self.real("rope.freq_base", config.rope.theta);
        match &config.rope.scaling {
            RopeScaling::Linear { factor } => {
                self.word("rope.scaling.type", "linear");
                self.real("rope.scaling.factor", *factor);
            }
            RopeScaling::Yarn(yarn) => {
                self.yarn(yarn);
                // What stands on top of the factor that follows from the length.
                let usual = Yarn { attention_factor: None, mscale: 0.0, mscale_all_dim: 0.0, ..yarn.clone() };
                let usual = Rope { scaling: RopeScaling::Yarn(usual), ..config.rope.clone() }.attention_factor();
                let more = config.rope.attention_factor() / usual;
                if matches!(config.attention, Attention::Gqa(_)) && (more - 1.0).abs() > 1e-9 {
                    self.real("rope.scaling.attn_factor", more);
                }
            }
            // Divisors of the frequencies are a tensor.
            RopeScaling::None | RopeScaling::Dynamic { .. } | RopeScaling::Llama3 { .. } | RopeScaling::Divisors(_) => {
            }
        }
    }

    /// What the model was trained for, under keys of our own that llama.cpp ignores.
    pub(super) fn training(&mut self, training: &Training) {
        if let Some(tokens) = training.conversation_tokens {
            self.number(CONVERSATION_TOKENS, u32::try_from(tokens).unwrap_or(u32::MAX));
        }
        if !training.taught.is_empty() {
            self.texts(TAUGHT, &training.taught);
        }
    }

    /// Sizes of grouped-query attention.
    pub(super) fn grouped(&mut self, config: &ModelConfig) {
        if let Attention::Gqa(Gqa { num_key_value_heads, head_dim, .. }) = config.attention {
            self.size("attention.head_count_kv", num_key_value_heads);
            self.size("attention.key_length", head_dim);
            self.size("attention.value_length", head_dim);
        }
    }

    fn yarn(&mut self, yarn: &Yarn) {
        self.word("rope.scaling.type", "yarn");
        self.real("rope.scaling.factor", yarn.factor);
        self.size("rope.scaling.original_context_length", yarn.original_max_position_embeddings);
        self.real("rope.scaling.yarn_beta_fast", yarn.beta_fast);
        self.real("rope.scaling.yarn_beta_slow", yarn.beta_slow);
    }

    fn setting(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn key(&mut self, key: &str, kind: u32) {
        put_text(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
        self.count += 1;
    }

    fn list(&mut self, key: &str, kind: u32, len: usize) {
        self.key(key, 9);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }
}

/// A text after its length.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
