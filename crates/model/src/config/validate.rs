//! Bounds on a configuration, so that no size in it divides by zero, overflows or asks for a
//! memory that nobody can have.

use std::path::Path;

use super::{Attention, ConfigError, GroupScore, ModelConfig, ModelType, Moe};

/// Four times the largest models made so far; 16 TiB in f32.
const MAX_PARAMETERS: u128 = 1 << 42;

/// A key, its value, and the range that the value must lie in.
type Size<'a> = (&'a str, usize, std::ops::RangeInclusive<usize>);

impl ModelConfig {
    /// Checks every size and how they fit together; `file` is named in errors.
    ///
    /// # Errors
    /// The first key whose value is zero where it may not be, absurdly large, or at odds with
    /// another key.
    pub fn validate(&self, file: &Path) -> Result<(), ConfigError> {
        let fail = |key: &str, problem: String, cure: &str| {
            Err(ConfigError { file: file.to_owned(), key: key.to_owned(), problem, cure: cure.to_owned() })
        };
        for (key, value, range) in self.sizes() {
            if !range.contains(&value) {
                let cure = "give the model's own value";
                let (low, high) = range.into_inner();
                return fail(key, format!("{value} is not between {low} and {high}"), cure);
            }
        }
        for (key, value, low, high) in self.floats() {
            if !(low..=high).contains(&value) {
                let cure = "give the model's own value";
                return fail(key, format!("{value} is not between {low} and {high}"), cure);
            }
        }
        if !self.rope_dim().is_multiple_of(2) {
            let key = match self.attention {
                Attention::Gqa { .. } => "head_dim",
                Attention::Mla { .. } => "qk_rope_head_dim",
            };
            let problem = format!("{} is odd", self.rope_dim());
            return fail(key, problem, "rotation pairs values: give an even width");
        }
        if let Some((key, problem, cure)) = self.contradiction() {
            return fail(key, problem, cure);
        }
        let ids = self.bos_token_id.iter().map(|id| ("bos_token_id", id));
        for (key, &id) in ids.chain(self.eos_token_ids.iter().map(|id| ("eos_token_id", id))) {
            if id as usize >= self.vocab_size {
                let problem = format!("{id} lies outside vocab_size {}", self.vocab_size);
                return fail(key, problem, "correct one of the two");
            }
        }
        match self.num_parameters() {
            0..=MAX_PARAMETERS => Ok(()),
            n => fail(
                "hidden_size",
                format!("the sizes together make {n} parameters"),
                "check the sizes: no known model is a quarter as large as the limit of 2^42",
            ),
        }
    }

    /// Weights in the model, embedding and head included; router biases, norms on latents and multi-token prediction
    /// not.
    pub fn num_parameters(&self) -> u128 {
        let [hidden, vocab, layers, heads] =
            [self.hidden_size, self.vocab_size, self.num_hidden_layers, self.num_attention_heads].map(|n| n as u128);
        let attention = match self.attention {
            Attention::Gqa { num_key_value_heads, head_dim, .. } => {
                2 * hidden * head_dim as u128 * (heads + num_key_value_heads as u128)
            }
            Attention::Mla { q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim } => {
                let [kv, nope, rope, v] =
                    [kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim].map(|n| n as u128);
                let query = heads * (nope + rope);
                let q = match q_lora_rank {
                    Some(rank) => rank as u128 * (hidden + query),
                    None => hidden * query,
                };
                q + hidden * (kv + rope) + kv * heads * (nope + v) + heads * v * hidden
            }
        };
        let swiglu = |width: usize| 3 * hidden * width as u128;
        let dense = swiglu(self.intermediate_size);
        let sparse = self.moe.as_ref().map_or(0, |moe| {
            let experts = (moe.n_routed_experts + moe.n_shared_experts) as u128;
            experts * swiglu(moe.moe_intermediate_size) + moe.n_routed_experts as u128 * hidden
        });
        let n_sparse = (0..self.num_hidden_layers).filter(|&layer| self.is_moe_layer(layer)).count() as u128;
        let embeddings = vocab * hidden * if self.tie_word_embeddings { 1 } else { 2 };
        let blocks = layers * (attention + 2 * hidden);
        embeddings + hidden + blocks + n_sparse * sparse + (layers - n_sparse) * dense
    }

    fn sizes(&self) -> Vec<Size<'_>> {
        const WIDTH: usize = 1 << 20;
        let mut sizes: Vec<Size> = vec![
            ("vocab_size", self.vocab_size, 1..=1 << 24),
            ("hidden_size", self.hidden_size, 1..=WIDTH),
            ("intermediate_size", self.intermediate_size, 1..=1 << 24),
            ("num_hidden_layers", self.num_hidden_layers, 1..=10_000),
            ("num_attention_heads", self.num_attention_heads, 1..=1 << 16),
            ("max_position_embeddings", self.max_position_embeddings, 1..=1 << 24),
            ("num_nextn_predict_layers", self.num_nextn_predict_layers, 0..=16),
        ];
        match self.attention {
            Attention::Gqa { num_key_value_heads, head_dim, .. } => sizes.extend([
                ("num_key_value_heads", num_key_value_heads, 1..=1 << 16),
                ("head_dim", head_dim, 1..=1 << 16),
            ]),
            Attention::Mla { q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim } => sizes
                .extend([
                    ("q_lora_rank", q_lora_rank.unwrap_or(1), 1..=WIDTH),
                    ("kv_lora_rank", kv_lora_rank, 1..=WIDTH),
                    ("qk_nope_head_dim", qk_nope_head_dim, 1..=1 << 16),
                    ("qk_rope_head_dim", qk_rope_head_dim, 1..=1 << 16),
                    ("v_head_dim", v_head_dim, 1..=1 << 16),
                ]),
        }
        if let Some(moe) = &self.moe {
            sizes.extend([
                ("n_routed_experts", moe.n_routed_experts, 1..=1 << 16),
                ("n_shared_experts", moe.n_shared_experts, 1..=1 << 10),
                ("num_experts_per_tok", moe.num_experts_per_tok, 1..=1 << 16),
                ("moe_intermediate_size", moe.moe_intermediate_size, 1..=1 << 24),
                ("first_k_dense_replace", moe.first_k_dense_replace, 0..=10_000),
                ("moe_layer_freq", moe.moe_layer_freq, 1..=10_000),
                ("n_group", moe.n_group, 1..=1 << 16),
                ("topk_group", moe.topk_group, 1..=1 << 16),
            ]);
        }
        if let Some(yarn) = &self.rope.yarn {
            sizes.push(("original_max_position_embeddings", yarn.original_max_position_embeddings, 1..=1 << 24));
        }
        sizes
    }

    /// Key, value, smallest and largest value.
    fn floats(&self) -> Vec<(&'static str, f64, f64, f64)> {
        let mut floats = vec![
            ("rms_norm_eps", self.rms_norm_eps, 1e-20, 1.0),
            ("initializer_range", self.initializer_range, 0.0, 1.0),
            // A base of 1 would make the logarithm in YaRN's ramp zero.
            ("rope_theta", self.rope.theta, 1.001, 1e15),
        ];
        if let Some(moe) = &self.moe {
            let scale = moe.routed_scaling_factor;
            floats.push(("routed_scaling_factor", scale, 1e-6, 1e6));
        }
        if let Some(yarn) = &self.rope.yarn {
            floats.extend([
                ("factor", yarn.factor, 1.0, 1e6),
                ("beta_fast", yarn.beta_fast, 1e-6, 1e6),
                ("beta_slow", yarn.beta_slow, 1e-6, 1e6),
                ("mscale", yarn.mscale, 0.0, 1e3),
                ("mscale_all_dim", yarn.mscale_all_dim, 0.0, 1e3),
                ("attention_factor", yarn.attention_factor.unwrap_or(1.0), 1e-3, 1e3),
            ]);
        }
        floats
    }

    /// Two keys at odds: the one to name, the problem and the cure.
    fn contradiction(&self) -> Option<(&'static str, String, &'static str)> {
        let heads = self.num_attention_heads;
        if let Attention::Gqa { num_key_value_heads, qkv_bias, o_bias, .. } = self.attention {
            if !heads.is_multiple_of(num_key_value_heads) {
                return Some((
                    "num_key_value_heads",
                    format!("{num_key_value_heads} does not divide num_attention_heads {heads}"),
                    "correct one of the two",
                ));
            }
            if o_bias != (qkv_bias && self.model_type != ModelType::Qwen2) {
                return Some((
                    "attention_bias",
                    format!("{} cannot have biases so", self.model_type.name()),
                    "have them on Q, K, V and the output alike (Qwen2: all but the output)",
                ));
            }
        }
        self.moe.as_ref().and_then(Moe::contradiction)
    }
}

impl Moe {
    fn contradiction(&self) -> Option<(&'static str, String, &'static str)> {
        let (experts, groups) = (self.n_routed_experts, self.n_group);
        if !experts.is_multiple_of(groups) {
            return Some((
                "n_group",
                format!("{groups} does not divide n_routed_experts {experts}"),
                "correct one of the two",
            ));
        }
        let group_size = experts / groups;
        if self.group_score == GroupScore::SumTop2 && group_size < 2 {
            return Some((
                "n_group",
                format!("{groups} groups leave one expert to a group"),
                "a group's score needs its two best: use fewer groups",
            ));
        }
        if self.topk_group > groups {
            return Some((
                "topk_group",
                format!("{} exceeds n_group {groups}", self.topk_group),
                "correct one of the two",
            ));
        }
        let reachable = self.topk_group * group_size;
        (self.num_experts_per_tok > reachable).then(|| {
            (
                "num_experts_per_tok",
                format!("{} exceeds the {reachable} experts that topk_group leaves", self.num_experts_per_tok),
                "choose fewer experts or more groups",
            )
        })
    }
}
