//! Multi-head latent attention (DeepSeek-V2, section 2.1), unabsorbed: keys and values of all heads are made from one
//! latent of `kv_lora_rank` values, beside one rotated key that all heads share.
//!
//!   c = norm(x·W_DKVᵀ),  [k_nope; v] = c·W_UKVᵀ,  k = [k_nope; rope(x·W_KRᵀ)];   q likewise, perhaps through a latent
//!
//! x `[T, d]`, q and k `[T, heads·(nope + rope)]`, v `[T, heads·v]`. An exact cache holds k and v of every head. One that
//! rounds holds c and the rotated key alone, and W_UKV is absorbed into queries and outputs (docs/mla.md): of a head
//!
//!   q·k = [q_nope·W_UK; q_rope]·[c; k_rope],   Σ p·v = (Σ p·c)·W_UVᵀ
//!
//! That is for the tokens of an answer, which come one at a time. For those of a prompt k and v are made of the latents that
//! the cache holds, some positions at a time: a product of 320 numbers instead of 1,088 for each pair of tokens in V2-Lite.

use super::layer::{At, Pass, Place};
use super::specs::Specs;
use crate::config::{Bounds, ConfigError, Keys, Put, Rope};
use crate::layers::{AbsorbedLayer, Past};
use crate::ops::{AttentionShape, CacheForm, CachedSpan, Dims, MlaDims, Ops, OutOfMemory, Rotation};
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
    /// What it attends with and what an exact cache holds.
    shape: AttentionShape,
    dims: MlaDims,
    /// Width of the latent.
    rank: usize,
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
            shape: AttentionShape { heads, kv_heads: heads, dk, dv: dims.v, scale, latent: false },
            rank: mla.kv_lora_rank,
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
        let [q, joint] = match self.query {
            Query::Full(weight) | Query::Latent { a: weight, .. } => {
                tape.linear_each(&x, [(params.get(weight), None), (params.get(self.kv_a), None)])?
            }
        };
        let (latent, k_rope) = self.latents(tape, pass, joint)?;
        if pass.past.absorbed(pass.layer).is_some() {
            drop(x);
            let q = self.query(tape, params, q)?;
            let q = tape.rope(q, &self.query_rotation, &pass.batch.positions)?;
            return self.attend_to_latents(tape, pass, q, latent, k_rope);
        }
        let kv = tape.linear(&latent, params.get(self.kv_b), None)?;
        let (k, v) = tape.mla_keys(&kv, &k_rope, self.dims)?;
        drop((x, latent, kv, k_rope));
        let q = self.query(tape, params, q)?;
        let q = tape.rope(q, &self.query_rotation, &pass.batch.positions)?;
        let y = tape.attention(self.shape, &q, &k, &v, pass.layer, pass.past)?;
        tape.linear(&y, params.get(self.output), None)
    }

    /// Writes to the cache what it holds of the rows.
    pub(super) fn keep<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        pass: &mut Pass<'a, '_, '_, O>,
        x: &Var<O>,
    ) -> Result<(), OutOfMemory> {
        let params = pass.params;
        let joint = tape.linear(x, params.get(self.kv_a), None)?;
        let (latent, k_rope) = self.latents(tape, pass, joint)?;
        if pass.past.absorbed(pass.layer).is_some() {
            let k = tape.join_columns(&latent, &k_rope)?;
            return tape.keep(self.cache(CacheForm::F16), &k, &latent, pass.layer, pass.past);
        }
        let kv = tape.linear(&latent, params.get(self.kv_b), None)?;
        let (k, v) = tape.mla_keys(&kv, &k_rope, self.dims)?;
        tape.keep(self.shape, &k, &v, pass.layer, pass.past)
    }

    /// The rows' latents, normalised, and the key that all heads share, rotated: of what `kv_a_proj_with_mqa` made of them.
    fn latents<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        pass: &Pass<'a, '_, '_, O>,
        joint: Var<O>,
    ) -> Result<(Var<O>, Var<O>), OutOfMemory> {
        let rope = self.dims.rope;
        let (latent, k_rope) = tape.split_columns(&joint, (joint.width - rope, rope))?;
        drop(joint);
        let latent = tape.rmsnorm(&latent, pass.params.get(self.kv_norm), LATENT_EPS)?;
        let k_rope = tape.rope(k_rope, &self.key_rotation, &pass.batch.positions)?;
        Ok((latent, k_rope))
    }

    /// What its cache holds of a position in this form.
    pub(super) fn cache(&self, form: CacheForm) -> AttentionShape {
        match form {
            CacheForm::Exact => self.shape,
            CacheForm::F16 | CacheForm::Q8 => AttentionShape {
                kv_heads: 1,
                dk: self.rank + self.dims.rope,
                dv: self.rank,
                latent: true,
                ..self.shape
            },
        }
    }

    /// `kv_b_proj` taken apart for [`MlaLayer::attend_to_latents`].
    pub(super) fn absorb<O: Ops>(&self, ops: &O, params: &ParamStore<O>) -> Result<AbsorbedLayer<O>, OutOfMemory> {
        let MlaDims { heads, nope, v, .. } = self.dims;
        let rows = params.get(self.kv_b).to_rows(ops);
        let (mut keys, mut values) = (Vec::with_capacity(heads), Vec::with_capacity(heads));
        for head in rows.chunks_exact((nope + v) * self.rank) {
            let (up_k, up_v) = head.split_at(nope * self.rank);
            let column = |at: usize| up_k.iter().skip(at).step_by(self.rank).copied();
            let turned: Vec<f32> = (0..self.rank).flat_map(column).collect();
            keys.push(ops.freeze_rows(&turned, self.key_dims())?);
            values.push(ops.freeze_rows(up_v, self.value_dims())?);
        }
        Ok(AbsorbedLayer { keys, values })
    }

    fn key_dims(&self) -> Dims {
        Dims { n: self.rank, k: self.dims.nope }
    }

    fn value_dims(&self) -> Dims {
        Dims { n: self.dims.v, k: self.rank }
    }

    /// The layer's output for rotated queries, over a cache of latents that these rows extend: of a prompt's rows by keys
    /// and values of all heads, of an answer's by absorbed weights.
    fn attend_to_latents<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        pass: &mut Pass<'a, '_, '_, O>,
        q: Var<O>,
        latent: Var<O>,
        k_rope: Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let k = tape.join_columns(&latent, &k_rope)?;
        tape.keep(self.cache(CacheForm::F16), &k, &latent, pass.layer, pass.past)?;
        drop((k, latent, k_rope));
        let Past::Cached(cache, spans, absorbed) = &*pass.past else { panic!("latents are in a cache") };
        let (prompts, answers): (Vec<CachedSpan>, Vec<CachedSpan>) =
            spans.iter().map(|span| span.by_kind().into()).unzip();
        let [prompts, answers] = [prompts, answers].map(|mut spans| {
            spans.retain(|span| !span.rows.is_empty());
            spans
        });
        let output = pass.params.get(self.output);
        let weights = || {
            let missing = "whoever gives a layer a cache of latents has its weights absorbed";
            absorbed.0.get(pass.layer).and_then(Option::as_ref).expect(missing)
        };
        if prompts.is_empty() {
            let y = self.absorbed(tape, weights(), q, pass.layer, cache, &answers)?;
            return tape.linear(&y, output, None);
        }
        let width = self.dims.heads * self.dims.v;
        let mut y = tape.scratch("attention", q.rows * width)?;
        let shapes = (self.shape, self.cache(CacheForm::F16));
        let expand = |tape: &mut Tape<'a, O>, held: Var<O>| {
            let (latent, k_rope) = tape.split_columns(&held, (self.rank, self.dims.rope))?;
            let kv = tape.linear(&latent, pass.params.get(self.kv_b), None)?;
            tape.mla_keys(&kv, &k_rope, self.dims)
        };
        tape.attention_to_expanded(shapes, &q, pass.layer, cache, &prompts, expand, &mut y)?;
        if !answers.is_empty() {
            let rows: Vec<u32> = answers.iter().flat_map(|span| span.rows.start as u32..span.rows.end as u32).collect();
            let mut next = 0;
            let moved = answers.iter().map(|span| {
                next += span.rows.len();
                CachedSpan { rows: next - span.rows.len()..next, ..span.clone() }
            });
            let moved: Vec<CachedSpan> = moved.collect();
            let q = tape.take_rows(&q, &rows)?;
            let of_answers = self.absorbed(tape, weights(), q, pass.layer, cache, &moved)?;
            for (from, to) in moved.iter().zip(&answers) {
                let part = tape.ops.slice_rows(of_answers.value(), from.rows.clone(), width)?;
                tape.ops.write_rows(&mut y, to.rows.start, width, &part);
            }
        }
        let y = tape.var(y, q.rows, width, false);
        tape.linear(&y, output, None)
    }

    /// Attention of rotated queries, of which `spans` are all, to latents, by weights that turn queries and sums.
    fn absorbed<'a, O: Ops>(
        &self,
        tape: &mut Tape<'a, O>,
        weights: &AbsorbedLayer<O>,
        q: Var<O>,
        layer: usize,
        cache: &O::Cache,
        spans: &[CachedSpan],
    ) -> Result<Var<O>, OutOfMemory> {
        let (rows, MlaDims { heads, nope, rope, .. }) = (q.rows, self.dims);
        let (q_nope, q_rope) = tape.split_columns(&q.as_rows(rows * heads), (nope, rope))?;
        drop(q);
        let q_nope = tape.heads_linear(&q_nope.as_rows(rows), &weights.keys, self.key_dims())?;
        let q = tape.join_columns(&q_nope.as_rows(rows * heads), &q_rope)?.as_rows(rows);
        drop((q_nope, q_rope));
        let y = tape.attention_to_kept(self.cache(CacheForm::F16), &q, layer, cache, spans)?;
        tape.heads_linear(&y, &weights.values, self.value_dims())
    }

    /// The queries of all heads, of what the first weight made of the row.
    fn query<'a, O: Ops>(
        &self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        first: Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        match self.query {
            Query::Full(_) => Ok(first),
            Query::Latent { norm, b, .. } => {
                let latent = tape.rmsnorm(&first, params.get(norm), LATENT_EPS)?;
                tape.linear(&latent, params.get(b), None)
            }
        }
    }
}
