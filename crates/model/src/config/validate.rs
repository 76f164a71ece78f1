//! Bounds on a configuration, so that no size in it divides by zero, overflows or asks for a
//! memory that nobody can have. What belongs to one kind of layer is bounded by its own file in `arch`.

use std::ops::RangeInclusive;
use std::path::Path;

use super::families::AttentionKind;
use super::{Attention, ConfigError, FeedForward, ModelConfig, Moe};

/// Four times the largest models made so far; 16 TiB in f32.
const MAX_PARAMETERS: u128 = 1 << 42;

/// A key at odds with another one: which, the problem and the cure.
pub(crate) type Contradiction = (&'static str, String, &'static str);

/// Checks values against ranges and keeps the first that lies outside.
#[derive(Default)]
pub(crate) struct Bounds {
    fault: Option<Contradiction>,
}

impl Bounds {
    pub(crate) fn size(&mut self, key: &'static str, value: usize, range: RangeInclusive<usize>) {
        self.check(key, value, range);
    }

    pub(crate) fn float(&mut self, key: &'static str, value: f64, range: RangeInclusive<f64>) {
        self.check(key, value, range);
    }

    /// A width whose values are rotated in pairs.
    pub(crate) fn even(&mut self, key: &'static str, value: usize) {
        if !value.is_multiple_of(2) {
            let cure = "rotation pairs values: give an even width";
            self.fault.get_or_insert_with(|| (key, format!("{value} is odd"), cure));
        }
    }

    fn check<T: PartialOrd + std::fmt::Display>(&mut self, key: &'static str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            let (low, high) = range.into_inner();
            let problem = || format!("{value} is not between {low} and {high}");
            self.fault.get_or_insert_with(|| (key, problem(), "give the model's own value"));
        }
    }
}

impl ModelConfig {
    /// Checks every size and how they fit together; `file` is named in errors.
    ///
    /// # Errors
    /// The first key whose value is zero where it may not be, absurdly large, or at odds with
    /// another key.
    pub fn validate(&self, file: &Path) -> Result<(), ConfigError> {
        // The order matters: sizes are known to be sane before they are divided or multiplied.
        let fault = self.out_of_bounds().or_else(|| self.contradiction()).or_else(|| self.too_large());
        let Some((key, problem, cure)) = fault else { return Ok(()) };
        Err(ConfigError { file: file.to_owned(), key: key.to_owned(), problem, cure: cure.to_owned() })
    }

    /// Weights in the model, embedding and head included; router biases, norms on latents and multi-token prediction
    /// not.
    pub fn num_parameters(&self) -> u128 {
        self.count_parameters(Moe::num_parameters)
    }

    /// Those of them that take part in each token: of the routed experts only the chosen. Embedding and head count
    /// whole, as DeepSeek counts them.
    pub fn num_active_parameters(&self) -> u128 {
        self.count_parameters(Moe::num_active_parameters)
    }

    fn count_parameters(&self, of_moe: impl Fn(&Moe, u128) -> u128) -> u128 {
        let [hidden, vocab] = [self.hidden_size, self.vocab_size].map(|n| n as u128);
        let embeddings = vocab * hidden * if self.tie_word_embeddings { 1 } else { 2 };
        let layers = self.layers().map(|layer| {
            let attention = match layer.attention {
                Attention::Gqa(gqa) => gqa.num_parameters(hidden),
                Attention::Mla(mla) => mla.num_parameters(hidden),
            };
            let feed_forward = match layer.feed_forward {
                FeedForward::Dense(dense) => dense.num_parameters(hidden),
                FeedForward::Moe(moe) => of_moe(moe, hidden),
            };
            attention + feed_forward + 2 * hidden
        });
        embeddings + hidden + layers.sum::<u128>()
    }

    fn out_of_bounds(&self) -> Option<Contradiction> {
        let mut bounds = Bounds::default();
        bounds.size("vocab_size", self.vocab_size, 1..=1 << 24);
        bounds.size("hidden_size", self.hidden_size, 1..=1 << 20);
        bounds.size("intermediate_size", self.intermediate_size, 1..=1 << 24);
        bounds.size("num_hidden_layers", self.num_hidden_layers, 1..=10_000);
        bounds.size("max_position_embeddings", self.max_position_embeddings, 1..=1 << 24);
        bounds.size("num_nextn_predict_layers", self.num_nextn_predict_layers, 0..=16);
        bounds.float("rms_norm_eps", self.rms_norm_eps, 1e-20..=1.0);
        bounds.float("initializer_range", self.initializer_range, 0.0..=1.0);
        match &self.attention {
            Attention::Gqa(gqa) => gqa.bounds(&mut bounds),
            Attention::Mla(mla) => mla.bounds(&mut bounds),
        }
        if let Some(moe) = &self.moe {
            moe.bounds(&mut bounds);
        }
        self.rope.bounds(&mut bounds, self.rope_dim());
        bounds.fault
    }

    fn contradiction(&self) -> Option<Contradiction> {
        if let (Attention::Gqa(gqa), AttentionKind::Gqa { biases, .. }) = (&self.attention, &self.family.attention)
            && let Some(contradiction) = gqa.contradiction(*biases)
        {
            return Some(contradiction);
        }
        if let Some(contradiction) = self.moe.as_ref().and_then(|moe| moe.contradiction()) {
            return Some(contradiction);
        }
        if let Some(contradiction) = self.training.contradiction(self.max_position_embeddings) {
            return Some(contradiction);
        }
        let bos = self.bos_token_id.iter().map(|id| ("bos_token_id", id));
        let eos = self.eos_token_ids.iter().map(|id| ("eos_token_id", id));
        let (key, id) = bos.chain(eos).find(|(_, id)| **id as usize >= self.vocab_size)?;
        Some((key, format!("{id} lies outside vocab_size {}", self.vocab_size), "correct one of the two"))
    }

    fn too_large(&self) -> Option<Contradiction> {
        let count = self.num_parameters();
        let cure = "check the sizes: no known model is a quarter as large as the limit of 2^42";
        (count > MAX_PARAMETERS).then(|| ("hidden_size", format!("the sizes together make {count} parameters"), cure))
    }
}
