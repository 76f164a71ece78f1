//! Causal attention, within sequences or over a cache, and the keys and values of multi-head latent attention.

use crate::ops::{AttentionGrads, AttentionSaved, AttentionShape, CachedSpan, MlaDims, Ops, OutOfMemory};
use crate::tape::{Tape, Var};
use std::ops::Range;
use std::sync::Arc;

/// What the rows of a batch attend to.
pub enum Past<'c, O: Ops> {
    /// Whole sequences after one another: each row sees the earlier rows of its own sequence.
    Within(Arc<[Range<usize>]>),
    /// Each sequence goes on from its pages in a cache. Not for training.
    Cached(&'c mut O::Cache, &'c [CachedSpan], &'c Absorbed<O>),
}

/// What layers multiply by whose cache has latents: their `kv_b_proj` by heads, as [`Model::absorb`](crate::Model::absorb)
/// takes it apart. By default no layer does.
pub struct Absorbed<O: Ops>(pub(crate) Vec<Option<AbsorbedLayer<O>>>);

impl<O: Ops> Default for Absorbed<O> {
    fn default() -> Absorbed<O> {
        Absorbed(Vec::new())
    }
}

/// A layer's two weights of each head.
pub(crate) struct AbsorbedLayer<O: Ops> {
    /// From queries to what meets latents, `[rank, nope]`.
    pub(crate) keys: Vec<O::Frozen>,
    /// From sums of latents to values, `[v, rank]`.
    pub(crate) values: Vec<O::Frozen>,
}

impl<O: Ops> Past<'_, O> {
    /// What layer `layer` multiplies by, if its cache has latents.
    pub(crate) fn absorbed(&self, layer: usize) -> Option<&AbsorbedLayer<O>> {
        match self {
            Past::Within(_) => None,
            Past::Cached(_, _, absorbed) => absorbed.0.get(layer)?.as_ref(),
        }
    }
}

impl<'a, O: Ops> Tape<'a, O> {
    /// softmax(q·kᵀ·scale)·v for q `[T, heads·dk]`, k `[T, kv_heads·dk]`, v `[T, kv_heads·dv]` → `[T, heads·dv]`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn attention(
        &mut self,
        shape: AttentionShape,
        q: &Var<O>,
        k: &Var<O>,
        v: &Var<O>,
        layer: usize,
        past: &mut Past<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let (rows, width) = (q.rows, shape.heads * shape.dv);
        let mut out = self.scratch("attention", rows * width)?;
        let spans = match past {
            Past::Cached(cache, spans, _) => {
                assert!(!self.is_recording(), "training does not go through a cache");
                self.ops.write_cached(&shape, k.value(), v.value(), cache, layer, spans)?;
                self.ops.attention_cached(&shape, q.value(), cache, layer, spans, &mut out);
                return Ok(self.var(out, rows, width, false));
            }
            Past::Within(spans) => Arc::clone(spans),
        };
        let mut stats = self.scratch("attention", rows * shape.heads * 2)?;
        self.ops.attention(&shape, q.value(), k.value(), v.value(), &spans, &mut out, &mut stats);
        let out = self.var(out, rows, width, q.needs_grad || k.needs_grad || v.needs_grad);
        let (q, k, v, kept) = (q.clone(), k.clone(), v.clone(), out.clone());
        self.record(&out, move |gradients, dout| {
            // Every row belongs to a sequence, so all of the gradients is overwritten.
            let scratch = |x: &Var<O>| gradients.scratch(x.rows * x.width);
            let (mut dq, mut dk, mut dv) = (scratch(&q)?, scratch(&k)?, scratch(&v)?);
            let saved = AttentionSaved { q: q.value(), k: k.value(), v: v.value(), out: kept.value(), stats: &stats };
            let grads = AttentionGrads { dq: &mut dq, dk: &mut dk, dv: &mut dv };
            gradients.ops.attention_backward(&shape, saved, &dout, &spans, grads);
            gradients.add(&q, dq);
            gradients.add(&k, dk);
            gradients.add(&v, dv);
            Ok(())
        });
        Ok(out)
    }

    /// Attention of rows q `[T, heads·dk]`, of which `spans` are all, over a cache in which their keys and values are already.
    ///
    /// # Errors
    /// If memory runs out.
    pub(crate) fn attention_to_kept(
        &mut self,
        shape: AttentionShape,
        q: &Var<O>,
        layer: usize,
        cache: &O::Cache,
        spans: &[CachedSpan],
    ) -> Result<Var<O>, OutOfMemory> {
        let width = shape.heads * shape.dv;
        let mut out = self.scratch("attention", q.rows * width)?;
        self.ops.attention_cached(&shape, q.value(), cache, layer, spans, &mut out);
        Ok(self.var(out, q.rows, width, false))
    }

    /// The rows `spans` of the attention of q `[T, heads·dk]` to keys `[n, heads·dk]` and values `[n, heads·dv]` that
    /// `expand` makes of what a cache of `held` has, `[n, dk]`, some positions at a time. Writes to `out`.
    ///
    /// # Errors
    /// If memory runs out.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn attention_to_expanded(
        &mut self,
        (shape, held): (AttentionShape, AttentionShape),
        q: &Var<O>,
        layer: usize,
        cache: &O::Cache,
        spans: &[CachedSpan],
        mut expand: impl FnMut(&mut Self, Var<O>) -> Result<(Var<O>, Var<O>), OutOfMemory>,
        out: &mut O::Buffer,
    ) -> Result<(), OutOfMemory> {
        let (ops, width) = (self.ops, held.kv_heads * held.dk);
        let expand = |keys: O::Buffer, add: &mut dyn FnMut(&O::Buffer, &O::Buffer)| {
            let positions = ops.len(&keys) / width;
            let keys = self.var(keys, positions, width, false);
            let (k, v) = expand(self, keys)?;
            add(k.value(), v.value());
            Ok(())
        };
        ops.attention_expanded(&shape, &held, q.value(), cache, layer, spans, expand, out)
    }

    /// Writes keys `[T, kv_heads·dk]` and values `[T, kv_heads·dv]` to the cache of `past` and attends to nothing. Panics if
    /// `past` has none.
    ///
    /// # Errors
    /// If memory runs out.
    pub(crate) fn keep(
        &mut self,
        shape: AttentionShape,
        k: &Var<O>,
        v: &Var<O>,
        layer: usize,
        past: &mut Past<O>,
    ) -> Result<(), OutOfMemory> {
        let Past::Cached(cache, spans, _) = past else { panic!("keys and values are kept in a cache") };
        self.ops.write_cached(&shape, k.value(), v.value(), cache, layer, spans)
    }

    /// Keys and values of MLA (DeepSeek-V2, section 2.1): kv `[T, heads·(nope + v)]` as `kv_b_proj` gives it and the
    /// shared rotated key `[T, rope]` → keys `[T, heads·(nope + rope)]`, values `[T, heads·v]`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn mla_keys(&mut self, kv: &Var<O>, k_rope: &Var<O>, dims: MlaDims) -> Result<(Var<O>, Var<O>), OutOfMemory> {
        let (k_width, v_width) = (dims.heads * (dims.nope + dims.rope), dims.heads * dims.v);
        let (mut k, mut v) =
            (self.scratch("attention", kv.rows * k_width)?, self.scratch("attention", kv.rows * v_width)?);
        self.ops.mla_keys(kv.value(), k_rope.value(), &mut k, &mut v, dims);
        let needs_grad = kv.needs_grad || k_rope.needs_grad;
        let (k, v) = (self.var(k, kv.rows, k_width, needs_grad), self.var(v, kv.rows, v_width, needs_grad));
        let (kv, k_rope) = (kv.slot(), k_rope.slot());
        self.record_pair(&k, &v, move |gradients, dk, dv| {
            let (mut dkv, mut dk_rope) = (gradients.take(kv)?, gradients.take(k_rope)?);
            gradients.ops.mla_keys_backward(&dk, &dv, &mut dkv, &mut dk_rope, dims);
            gradients.put(kv, dkv);
            gradients.put(k_rope, dk_rope);
            Ok(())
        });
        Ok((k, v))
    }
}
