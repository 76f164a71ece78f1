//! Grouped-query attention (Ainslie et al. 2023), as Llama has it, with biases on Q, K and V as Qwen2 and with a norm on
//! each head of Q and K as Qwen3.
//!
//!   q, k, v = x·W_Qᵀ (+ b), x·W_Kᵀ (+ b), x·W_Vᵀ (+ b);   out = attention(rope(norm(q)), rope(norm(k)), v)·W_Oᵀ (+ b)
//!
//! x `[T, d]`, q `[T, heads·head_dim]`, k and v `[T, kv_heads·head_dim]`. The cache holds k and v of every position.
//! Left out: windows and sinks.

use super::layer::{At, Pass, Place};
use super::specs::Specs;
use crate::config::{Bounds, ConfigError, Contradiction, Keys, Put};
use crate::ops::{AttentionShape, Ops, OutOfMemory, Rotation};
use crate::params::{Param, ParamId, ParamStore};
use crate::tape::{Tape, Var};
use serde_json::json;

/// Sizes and variations of grouped-query attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Gqa {
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides the number of query heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Biases on `q_proj`, `k_proj` and `v_proj`.
    pub qkv_bias: bool,
    /// Bias on `o_proj`.
    pub o_bias: bool,
    /// RMSNorm over each head of Q and K before the rotation.
    pub qk_norm: bool,
}

/// Where a family has biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Biases {
    /// On all four projections, if `attention_bias` says so.
    ByKey,
    /// On Q, K and V always, never on the output.
    Qkv,
}

impl Gqa {
    pub(crate) fn read(
        keys: &Keys,
        biases: Biases,
        qk_norm: bool,
        usual_head_dim: Option<usize>,
    ) -> Result<Gqa, ConfigError> {
        let heads = keys.needed_size("num_attention_heads")?;
        let hidden = keys.needed_size("hidden_size")?;
        let bias = keys.boolean("attention_bias")?.unwrap_or(false);
        let head_dim = match keys.size("head_dim")?.or(usual_head_dim) {
            Some(head_dim) => head_dim,
            None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                return Err(keys.fail(
                    "num_attention_heads",
                    format!("{heads} heads do not divide hidden_size {hidden}"),
                    "correct one of them, or give head_dim",
                ));
            }
        };
        Ok(Gqa {
            num_attention_heads: heads,
            num_key_value_heads: keys.size("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            qkv_bias: bias || biases == Biases::Qkv,
            o_bias: bias && biases == Biases::ByKey,
            qk_norm,
        })
    }

    pub(crate) fn write(&self, biases: Biases, put: Put) {
        put("num_attention_heads", json!(self.num_attention_heads));
        put("num_key_value_heads", json!(self.num_key_value_heads));
        put("head_dim", json!(self.head_dim));
        // Where the family fixes the biases there is no such key.
        if biases == Biases::ByKey {
            put("attention_bias", json!(self.o_bias));
        }
    }

    pub(crate) fn bounds(&self, bounds: &mut Bounds) {
        bounds.size("num_attention_heads", self.num_attention_heads, 1..=1 << 16);
        bounds.size("num_key_value_heads", self.num_key_value_heads, 1..=1 << 16);
        bounds.size("head_dim", self.head_dim, 1..=1 << 16);
        bounds.even("head_dim", self.head_dim);
    }

    pub(crate) fn contradiction(&self, biases: Biases) -> Option<Contradiction> {
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        if !heads.is_multiple_of(kv_heads) {
            let problem = format!("{kv_heads} does not divide num_attention_heads {heads}");
            return Some(("num_key_value_heads", problem, "correct one of the two"));
        }
        let fits = match biases {
            Biases::ByKey => self.qkv_bias == self.o_bias,
            Biases::Qkv => self.qkv_bias && !self.o_bias,
        };
        let problem = "this family cannot have its biases so".to_owned();
        let cure = "have them on Q, K, V and the output alike (Qwen2: all but the output)";
        (!fits).then_some(("attention_bias", problem, cure))
    }

    /// Weights of the four projections.
    pub(crate) fn num_parameters(&self, hidden: u128) -> u128 {
        2 * hidden * self.head_dim as u128 * (self.num_attention_heads + self.num_key_value_heads) as u128
    }

    pub(crate) fn softmax_scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }
}

/// The layer's attention: sizes, tensors, rotation.
pub(super) struct GqaLayer {
    /// What it attends with and what its cache holds.
    pub(super) shape: AttentionShape,
    eps: f32,
    rotation: Rotation,
    q: Projection,
    k: Projection,
    v: Projection,
    output: ParamId,
    output_bias: Option<ParamId>,
}

struct Projection {
    weight: ParamId,
    bias: Option<ParamId>,
    norm: Option<ParamId>,
}

impl GqaLayer {
    pub(super) fn new(specs: &mut Specs, gqa: &Gqa, place: &mut Place, at: &At) -> GqaLayer {
        let (d, head_dim) = (place.hidden_size, gqa.head_dim);
        let (heads, kv_heads) = (gqa.num_attention_heads, gqa.num_key_value_heads);
        let mut project = |name: &str, heads: usize, norm: bool| Projection {
            weight: specs.linear(at.in_attention(&format!("{name}_proj")), heads * head_dim, d),
            bias: specs.bias(gqa.qkv_bias, at.in_attention(&format!("{name}_proj")), heads * head_dim),
            norm: norm.then(|| specs.norm(at.in_attention(&format!("{name}_norm")), head_dim)),
        };
        let q = project("q", heads, gqa.qk_norm);
        let k = project("k", kv_heads, gqa.qk_norm);
        let v = project("v", kv_heads, false);
        let scale = gqa.softmax_scale() as f32;
        GqaLayer {
            shape: AttentionShape { heads, kv_heads, dk: head_dim, dv: head_dim, scale, latent: false },
            eps: place.eps,
            rotation: place.rotation(head_dim),
            q,
            k,
            v,
            output: specs.linear(at.in_attention("o_proj"), d, heads * head_dim),
            output_bias: specs.bias(gqa.o_bias, at.in_attention("o_proj"), d),
        }
    }

    pub(super) fn forward<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        pass: &mut Pass<'a, '_, '_, O>,
        x: Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let params = pass.params;
        let [q, k, v] = tape.linear_each(&x, [&self.q, &self.k, &self.v].map(|p| p.weight(params)))?;
        let q = self.q.normed(tape, params, q, self.eps)?;
        let k = self.k.normed(tape, params, k, self.eps)?;
        let v = self.v.normed(tape, params, v, self.eps)?;
        let k = tape.rope(k, &self.rotation, &pass.batch.positions)?;
        drop(x);
        let q = tape.rope(q, &self.rotation, &pass.batch.positions)?;
        let y = tape.attention(self.shape, &q, &k, &v, pass.layer, pass.past)?;
        tape.linear(&y, params.get(self.output), self.output_bias.map(|bias| params.get(bias)))
    }

    /// Writes the rows' keys and values to the cache.
    pub(super) fn keep<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        pass: &mut Pass<'a, '_, '_, O>,
        x: &Var<O>,
    ) -> Result<(), OutOfMemory> {
        let params = pass.params;
        let [k, v] = tape.linear_each(x, [&self.k, &self.v].map(|p| p.weight(params)))?;
        let k = self.k.normed(tape, params, k, self.eps)?;
        let v = self.v.normed(tape, params, v, self.eps)?;
        let k = tape.rope(k, &self.rotation, &pass.batch.positions)?;
        tape.keep(self.shape, &k, &v, pass.layer, pass.past)
    }
}

impl Projection {
    /// Its weight and its bias.
    fn weight<'a, O: Ops>(&self, params: &'a ParamStore<O>) -> (&'a Param<O>, Option<&'a Param<O>>) {
        (params.get(self.weight), self.bias.map(|bias| params.get(bias)))
    }

    /// Its output `y`, normalised if the model does so.
    fn normed<'a, O: Ops>(
        &self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        y: Var<O>,
        eps: f32,
    ) -> Result<Var<O>, OutOfMemory> {
        match self.norm {
            Some(norm) => tape.rmsnorm(&y, params.get(norm), eps),
            None => Ok(y),
        }
    }
}
