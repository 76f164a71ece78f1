//! Multi-head latent attention (DeepSeek-V2, section 2.1), unabsorbed: keys and values of all heads are made from one
//! latent of `kv_lora_rank` values, beside one rotated key that all heads share.
//!
//!   c = norm(x·W_DKVᵀ),  [k_nope; v] = c·W_UKVᵀ,  k = [k_nope; rope(x·W_KRᵀ)];   q likewise, perhaps through a latent
//!
//! x `[T, d]`, q and k `[T, heads·(nope + rope)]`, v `[T, heads·v]`. The cache holds k and v of every head. Left out: the
//! absorbed form, whose cache holds the latent alone (docs/mla.md).

use super::layer::{At, Pass, Place};
use super::specs::Specs;
use crate::config::{Bounds, ConfigError, Keys, Put, Rope};
use crate::ops::{AttentionShape, MlaDims, Ops, OutOfMemory, Rotation};
use crate::params::{ParamId, ParamStore};
use crate::tape::{Tape, Var};
use serde_json::json;

/// transformers fixes ε of the norms on the latents, whatever `rms_norm_eps` says.
const LATENT_EPS: f32 = 1e-6;

/// Sizes of multi-head latent attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Mla {
    /// Heads, of queries, keys and values alike.
    pub num_attention_heads: usize,
    /// Width of the query latent; `None` for one full `q_proj`.
    pub q_lora_rank: Option<usize>,
    /// Width of the latent that keys and values share.
    pub kv_lora_rank: usize,
    /// Width of a query or key head without rotation.
    pub qk_nope_head_dim: usize,
    /// Width of the rotated part, shared by all heads of the key.
    pub qk_rope_head_dim: usize,
    /// Width of a value head.
    pub v_head_dim: usize,
}

impl Mla {
    pub(crate) fn read(keys: &Keys) -> Result<Mla, ConfigError> {
        if keys.boolean("attention_bias")? == Some(true) {
            let cure = "use a model without it";
            return Err(keys.fail("attention_bias", "true is not supported with MLA", cure));
        }
        let heads = keys.needed_size("num_attention_heads")?;
        if let Some(kv) = keys.size("num_key_value_heads")?.filter(|&kv| kv != heads) {
            return Err(keys.fail(
                "num_key_value_heads",
                format!("{kv} differs from num_attention_heads {heads}"),
                "MLA has as many of either: make them equal",
            ));
        }
        Ok(Mla {
            num_attention_heads: heads,
            q_lora_rank: keys.size("q_lora_rank")?,
            kv_lora_rank: keys.needed_size("kv_lora_rank")?,
            qk_nope_head_dim: keys.needed_size("qk_nope_head_dim")?,
            qk_rope_head_dim: keys.needed_size("qk_rope_head_dim")?,
            v_head_dim: keys.needed_size("v_head_dim")?,
        })
    }

    pub(crate) fn write(&self, put: Put) {
        put("num_attention_heads", json!(self.num_attention_heads));
        put("num_key_value_heads", json!(self.num_attention_heads));
        put("q_lora_rank", json!(self.q_lora_rank));
        put("kv_lora_rank", json!(self.kv_lora_rank));
        put("qk_nope_head_dim", json!(self.qk_nope_head_dim));
        put("qk_rope_head_dim", json!(self.qk_rope_head_dim));
        put("v_head_dim", json!(self.v_head_dim));
        put("attention_bias", json!(false));
    }

    pub(crate) fn bounds(&self, bounds: &mut Bounds) {
        const WIDTH: usize = 1 << 20;
        bounds.size("num_attention_heads", self.num_attention_heads, 1..=1 << 16);
        bounds.size("q_lora_rank", self.q_lora_rank.unwrap_or(1), 1..=WIDTH);
        bounds.size("kv_lora_rank", self.kv_lora_rank, 1..=WIDTH);
        bounds.size("qk_nope_head_dim", self.qk_nope_head_dim, 1..=1 << 16);
        bounds.size("qk_rope_head_dim", self.qk_rope_head_dim, 1..=1 << 16);
        bounds.size("v_head_dim", self.v_head_dim, 1..=1 << 16);
        bounds.even("qk_rope_head_dim", self.qk_rope_head_dim);
    }

    /// Weights of the projections.
    pub(crate) fn num_parameters(&self, hidden: u128) -> u128 {
        let [heads, kv, nope, rope, v] = [
            self.num_attention_heads, self.kv_lora_rank, self.qk_nope_head_dim, self.qk_rope_head_dim, self.v_head_dim,
        ]
        .map(|n| n as u128);
        let query = heads * (nope + rope);
        let q = match self.q_lora_rank {
            Some(rank) => rank as u128 * (hidden + query),
            None => hidden * query,
        };
        q + hidden * (kv + rope) + kv * heads * (nope + v) + heads * v * hidden
    }

    /// Head width^-½, times the square of YaRN's mscale.
    pub(crate) fn softmax_scale(&self, rope: &Rope) -> f64 {
        let mscale = rope.mscale_all_dim();
        mscale * mscale / ((self.qk_nope_head_dim + self.qk_rope_head_dim) as f64).sqrt()
    }
}

/// The layer's attention: sizes, tensors, rotations.
pub(super) struct MlaLayer {
    /// What it attends with and what its cache holds.
    pub(super) shape: AttentionShape,
    dims: MlaDims,
    query_rotation: Rotation,
    key_rotation: Rotation,
    query: Query,
    kv_a: ParamId,
    kv_norm: ParamId,
    kv_b: ParamId,
    output: ParamId,
}

enum Query {
    Full(ParamId),
    Latent { a: ParamId, norm: ParamId, b: ParamId },
}

impl MlaLayer {
    pub(super) fn new(specs: &mut Specs, mla: &Mla, place: &mut Place, at: &At) -> MlaLayer {
        let (d, heads) = (place.hidden_size, mla.num_attention_heads);
        let dims = MlaDims { heads, nope: mla.qk_nope_head_dim, rope: mla.qk_rope_head_dim, v: mla.v_head_dim };
        let dk = dims.nope + dims.rope;
        let query = match mla.q_lora_rank {
            None => Query::Full(specs.linear(at.in_attention("q_proj"), heads * dk, d)),
            Some(rank) => Query::Latent {
                a: specs.linear(at.in_attention("q_a_proj"), rank, d),
                norm: specs.norm(at.in_attention("q_a_layernorm"), rank),
                b: specs.linear(at.in_attention("q_b_proj"), heads * dk, rank),
            },
        };
        // The shared key is rotated before it joins the heads.
        let key_rotation = place.rotation(dims.rope);
        let query_rotation = Rotation { head_dim: dk, offset: dims.nope, ..key_rotation.clone() };
        let scale = mla.softmax_scale(place.rope) as f32;
        MlaLayer {
            shape: AttentionShape { heads, kv_heads: heads, dk, dv: dims.v, scale },
            dims,
            query_rotation,
            key_rotation,
            query,
            kv_a: specs.linear(at.in_attention("kv_a_proj_with_mqa"), mla.kv_lora_rank + dims.rope, d),
            kv_norm: specs.norm(at.in_attention("kv_a_layernorm"), mla.kv_lora_rank),
            kv_b: specs.linear(at.in_attention("kv_b_proj"), heads * (dims.nope + dims.v), mla.kv_lora_rank),
            output: specs.linear(at.in_attention("o_proj"), d, heads * dims.v),
        }
    }

    pub(super) fn forward<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        pass: &mut Pass<'a, '_, '_, O>,
        x: Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let params = pass.params;
        let q = self.query(tape, params, &x)?;
        let joint = tape.linear(&x, params.get(self.kv_a), None)?;
        let rope = self.dims.rope;
        let (latent, k_rope) = tape.split_columns(&joint, (joint.width - rope, rope))?;
        drop(joint);
        let latent = tape.rmsnorm(&latent, params.get(self.kv_norm), LATENT_EPS)?;
        let kv = tape.linear(&latent, params.get(self.kv_b), None)?;
        let k_rope = tape.rope(k_rope, &self.key_rotation, &pass.batch.positions)?;
        let (k, v) = tape.mla_keys(&kv, &k_rope, self.dims)?;
        drop((x, latent, kv, k_rope));
        let q = tape.rope(q, &self.query_rotation, &pass.batch.positions)?;
        let y = tape.attention(self.shape, &q, &k, &v, pass.layer, pass.past)?;
        tape.linear(&y, params.get(self.output), None)
    }

    fn query<'a, O: Ops>(
        &self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        x: &Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        match self.query {
            Query::Full(weight) => tape.linear(x, params.get(weight), None),
            Query::Latent { a, norm, b } => {
                let latent = tape.linear(x, params.get(a), None)?;
                let latent = tape.rmsnorm(&latent, params.get(norm), LATENT_EPS)?;
                tape.linear(&latent, params.get(b), None)
            }
        }
    }
}
