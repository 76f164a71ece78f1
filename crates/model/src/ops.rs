//! The one seam between what a model computes and what computes it.
//!
//! Models, the tape, optimizers and the engine hold opaque buffers and call these operations; only an implementation
//! sees numbers. [`CpuOps`](crate::CpuOps) computes (with vector instructions, or without as the oracle);
//! [`Counting`](crate::Counting) computes nothing and adds up operations, bytes and peak memory.
//!
//! Its vocabulary is its own: sizes and settings are in `shapes.rs`, what a loss is made of in `loss.rs`. Token ids and
//! positions are plain slices, because whoever schedules reads them. What a device finds out by itself (which experts
//! were chosen and how often, derivatives of a loss) stays in opaque values and is read once a step; of sampling only
//! the tokens come back.
//!
//! Shapes: T rows (tokens), d width, `[n, k]` a weight of n outputs and k inputs. Every operation that produces a
//! gradient adds to what is there, unless it says otherwise. Allocations may fail, and then nothing has changed.

mod loss;
mod memory;
mod shapes;
mod weight;

use crate::checkpoint::StoredRows;
pub use loss::{KlEstimator, Loss, Objective, PolicyLoss, Ratio, Sample, Side, Surrogate, Token};
pub use memory::OutOfMemory;
pub use shapes::{
    AdamW, AllowedTokens, AttentionShape, CacheForm, CachedSpan, Dims, Draw, DrawLimits, Drawn, ExpertLoad, Growth,
    LogitChange, MlaDims, Muon, Position, RotaryTable, Rotation, RouterConfig,
};
use std::ops::Range;
pub use weight::{Linear, Table, Weight, WeightForm};

/// What a backend promises of the bits of its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// docs/numerics.md: every operation is defined down to the order of its roundings, so that neither threads nor
    /// instructions, blocks, neighbours in a batch or the cutting of a sequence show.
    Exact,
    /// There are no values.
    NoValues,
}

/// Operations on opaque buffers of f32. A clone is another handle of the same threads and memory.
///
/// # The contract of a backend
/// Whoever calls takes for granted that the same calls on the same values give the same bits, whichever clone computes
/// them and whatever runs beside it. What more a backend promises it states in [`Ops::CONTRACT`]: with
/// [`Contract::Exact`] a rollout's log-probabilities are the trainer's. A device with other orders of summation gets a
/// variant of its own, with the tolerances that its tests hold, and RL on it corrects for the difference.
pub trait Ops: Clone + Send + Sync + Sized + 'static {
    /// What this backend promises of its bits.
    const CONTRACT: Contract;
    /// A vector of f32 values.
    type Buffer: Send + Sync;
    /// A matrix that does not learn, kept in the type in which it was stored: a weight in the layout of its product, or
    /// the table of an embedding.
    type Frozen: Send + Sync;
    /// Pages of keys and values for every layer.
    type Cache: Send + Sync;
    /// What a gate chose for the tokens of a batch: scores, experts, and which rows go to which expert.
    type Routing: Send + Sync;
    /// How many tokens chose each expert of a layer, with the layer's balance loss: summed over batches.
    type Load: Send + Sync;
    /// A [`Loss`] where the log-probabilities are.
    type Loss: Send + Sync;

    /// Tokens in a page of a cache, which is given out whole.
    const PAGE_TOKENS: usize;

    /// Pieces of work that run at once: threads. 1 for a device that is busy with one.
    fn parallelism(&self) -> usize;
    /// Calls `work` for each of `parts`, at once where there are threads, each with operations of its own.
    fn in_parallel<T: Send, U: Send>(&self, parts: Vec<T>, work: impl Fn(T, &Self) -> U + Sync) -> Vec<U>;

    /// `len` zeros.
    fn zeros(&self, len: usize) -> Result<Self::Buffer, OutOfMemory>;
    /// `len` unspecified values, for an operation that overwrites them all.
    fn scratch(&self, len: usize) -> Result<Self::Buffer, OutOfMemory>;
    /// A copy of `values`.
    fn upload(&self, values: &[f32]) -> Result<Self::Buffer, OutOfMemory>;
    /// The values. An implementation that computes nothing gives zeros.
    fn download(&self, x: &Self::Buffer) -> Vec<f32>;
    /// A copy of `x`.
    fn copy(&self, x: &Self::Buffer) -> Result<Self::Buffer, OutOfMemory>;
    /// Zeros in all of `x`.
    fn clear(&self, x: &mut Self::Buffer);
    /// Overwrites all of `x`.
    fn write(&self, x: &mut Self::Buffer, values: &[f32]);
    /// Number of values.
    fn len(&self, x: &Self::Buffer) -> usize;

    /// Values of a weight `[n, k]` in the layout of its product, in which it learns. Its gradient and moments have the
    /// same layout; what it holds beside the weight is zero and stays so.
    fn weight_len(&self, dims: Dims) -> usize;
    /// Overwrites a weight, its gradient or a moment by `rows` `[n, k]`.
    fn write_weight(&self, w: &mut Self::Buffer, rows: &[f32], dims: Dims);
    /// The rows `[n, k]` of a weight, its gradient or a moment.
    fn weight_rows(&self, w: &Self::Buffer, dims: Dims) -> Vec<f32>;
    /// Takes a stored matrix as a weight in this form, or exact where its rows are no whole blocks.
    fn freeze_weight(&self, stored: &StoredRows, form: WeightForm) -> Result<Self::Frozen, OutOfMemory>;
    /// Takes a stored matrix as a table that only looks rows up.
    fn freeze_table(&self, stored: StoredRows) -> Result<Self::Frozen, OutOfMemory>;
    /// Takes the rows `[n, k]` as a weight of 16-bit floats that is multiplied exactly.
    fn freeze_rows(&self, rows: &[f32], dims: Dims) -> Result<Self::Frozen, OutOfMemory>;
    /// The rows `[n, k]` of a frozen matrix.
    fn frozen_rows(&self, frozen: &Self::Frozen) -> Vec<f32>;
    /// Bytes that a frozen matrix keeps.
    fn frozen_bytes(&self, frozen: &Self::Frozen) -> usize;
    /// y = x·wᵀ + bias of each of `layers`, on `rows` of x `[T, k]` and y `[T, n]`.
    fn linear(&self, rows: Range<usize>, x: &Self::Buffer, layers: &mut [Linear<'_, Self>]);
    /// y `[T, heads, n]` = x·wᵀ for x `[T, heads, k]`, each head by its own of `weights` `[n, k]`.
    fn heads_linear(
        &self,
        x: &Self::Buffer,
        weights: &[Self::Frozen],
        y: &mut Self::Buffer,
        dims: Dims,
    ) -> Result<(), OutOfMemory>;
    /// dx += dy·w on `rows`; with `overwrite`, dx = dy·w.
    fn linear_dx(
        &self,
        rows: Range<usize>,
        dy: &Self::Buffer,
        w: Weight<'_, Self>,
        dx: &mut Self::Buffer,
        dims: Dims,
        overwrite: bool,
    );
    /// dw += dyᵀ·x over `rows`, dw in the layout of a learning weight.
    fn linear_dw(&self, rows: Range<usize>, x: &Self::Buffer, dy: &Self::Buffer, dw: &mut Self::Buffer, dims: Dims);
    /// db += column sums of dy.
    fn linear_db(&self, dy: &Self::Buffer, db: &mut Self::Buffer);

    /// y = x·wᵀ on the rows of each expert by its weight: x `[T·top_k, k]` as [`Ops::dispatch`] orders them, y `[T·top_k,
    /// n]`.
    fn grouped_linear(
        &self,
        routing: &Self::Routing,
        x: &Self::Buffer,
        weights: &[Weight<'_, Self>],
        y: &mut Self::Buffer,
        dims: Dims,
    );
    /// dx += dy·w for each expert; with `overwrite`, dx = dy·w.
    fn grouped_linear_dx(
        &self,
        routing: &Self::Routing,
        dy: &Self::Buffer,
        weights: &[Weight<'_, Self>],
        dx: &mut Self::Buffer,
        dims: Dims,
        overwrite: bool,
    );
    /// dw += dyᵀ·x for each expert whose gradient is there.
    fn grouped_linear_dw(
        &self,
        routing: &Self::Routing,
        x: &Self::Buffer,
        dy: &Self::Buffer,
        dw: &mut [Option<Self::Buffer>],
        dims: Dims,
    );

    /// RMSNorm of rows as wide as `weight`; `inv_rms` gets one value a row.
    fn rmsnorm(
        &self,
        x: &Self::Buffer,
        weight: &Self::Buffer,
        eps: f32,
        y: &mut Self::Buffer,
        inv_rms: &mut Self::Buffer,
    );
    /// Gradients of [`Ops::rmsnorm`]; `dw` is `None` for a frozen weight.
    fn rmsnorm_backward(
        &self,
        x: &Self::Buffer,
        weight: &Self::Buffer,
        inv_rms: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
        dw: Option<&mut Self::Buffer>,
    );
    /// Rotates each row by its position, in place; `inverse` is the backward.
    fn rope(&self, x: &mut Self::Buffer, rotation: &Rotation, positions: &[Position], inverse: bool);
    /// silu(gate)·up.
    fn swiglu(&self, gate: &Self::Buffer, up: &Self::Buffer, y: &mut Self::Buffer);
    /// Gradients of [`Ops::swiglu`], overwritten.
    fn swiglu_backward(
        &self,
        gate: &Self::Buffer,
        up: &Self::Buffer,
        dy: &Self::Buffer,
        dgate: &mut Self::Buffer,
        dup: &mut Self::Buffer,
    );
    /// out = x + y.
    fn add(&self, x: &Self::Buffer, y: &Self::Buffer, out: &mut Self::Buffer);
    /// x += y.
    fn add_assign(&self, x: &mut Self::Buffer, y: &Self::Buffer);
    /// x ·= factor.
    fn scale(&self, x: &mut Self::Buffer, factor: f32);
    /// Σ x² over all of several buffers, one after the other, each in the order of its layout.
    fn sum_of_squares(&self, all: &[&Self::Buffer]) -> f64;

    /// Rows `ids` of a table of `n` rows of `k` values.
    fn embedding(&self, table: Table<'_, Self>, ids: &[u32], out: &mut Self::Buffer, dims: Dims);
    /// Adds each row of `dout` to its row of `dtable`, a table in rows.
    fn embedding_backward(&self, dout: &Self::Buffer, ids: &[u32], dtable: &mut Self::Buffer);
    /// The same where the table is also a weight, and `dtable` in its layout.
    fn tied_embedding_backward(&self, dout: &Self::Buffer, ids: &[u32], dtable: &mut Self::Buffer, dims: Dims);

    /// x `[T, a + b]` → `[T, a]`, `[T, b]`.
    fn split_columns(&self, x: &Self::Buffer, a: &mut Self::Buffer, b: &mut Self::Buffer, widths: (usize, usize));
    /// Gradient of [`Ops::split_columns`], overwritten.
    fn split_columns_backward(
        &self,
        da: &Self::Buffer,
        db: &Self::Buffer,
        dx: &mut Self::Buffer,
        widths: (usize, usize),
    );
    /// kv `[T, H, nope + v]` and the shared k_rope `[T, rope]` → k `[T, H, nope + rope]`, v `[T, H, v]`.
    fn mla_keys(
        &self,
        kv: &Self::Buffer,
        k_rope: &Self::Buffer,
        k: &mut Self::Buffer,
        v: &mut Self::Buffer,
        dims: MlaDims,
    );
    /// Gradients of [`Ops::mla_keys`], overwritten.
    fn mla_keys_backward(
        &self,
        dk: &Self::Buffer,
        dv: &Self::Buffer,
        dkv: &mut Self::Buffer,
        dk_rope: &mut Self::Buffer,
        dims: MlaDims,
    );

    /// Causal attention within each of `spans`; `stats` gets maximum and sum, `[T, heads, 2]`.
    #[allow(clippy::too_many_arguments)]
    fn attention(
        &self,
        shape: &AttentionShape,
        q: &Self::Buffer,
        k: &Self::Buffer,
        v: &Self::Buffer,
        spans: &[Range<usize>],
        out: &mut Self::Buffer,
        stats: &mut Self::Buffer,
    );
    /// Gradients of [`Ops::attention`], overwritten for the rows in `spans`.
    fn attention_backward(
        &self,
        shape: &AttentionShape,
        saved: AttentionSaved<'_, Self>,
        dout: &Self::Buffer,
        spans: &[Range<usize>],
        grads: AttentionGrads<'_, Self>,
    );
    /// Bytes that one page of such a cache takes once all of its layers were written.
    fn page_bytes(&self, layouts: &[AttentionShape], form: CacheForm) -> usize;
    /// An empty cache with a layer for each of `layouts`.
    fn cache(&self, layouts: &[AttentionShape], form: CacheForm) -> Self::Cache;
    /// Writes the rows' keys and values to their pages of `layer`.
    fn write_cached(
        &self,
        shape: &AttentionShape,
        k: &Self::Buffer,
        v: &Self::Buffer,
        cache: &mut Self::Cache,
        layer: usize,
        spans: &[CachedSpan],
    ) -> Result<(), OutOfMemory>;
    /// Attention of the rows in `spans` over each sequence's pages, in which their own keys and values are already. Other rows
    /// of `out` are left alone.
    fn attention_cached(
        &self,
        shape: &AttentionShape,
        q: &Self::Buffer,
        cache: &Self::Cache,
        layer: usize,
        spans: &[CachedSpan],
        out: &mut Self::Buffer,
    );
    /// The same where pages do not hold keys and values of `shape`, but of what `held` says, from which `expand` makes them:
    /// of the keys `[n, kv_heads·dk]` of some positions, for which it calls its second argument with theirs.
    #[allow(clippy::too_many_arguments)]
    fn attention_expanded(
        &self,
        shape: &AttentionShape,
        held: &AttentionShape,
        q: &Self::Buffer,
        cache: &Self::Cache,
        layer: usize,
        spans: &[CachedSpan],
        expand: impl FnMut(Self::Buffer, &mut dyn FnMut(&Self::Buffer, &Self::Buffer)) -> Result<(), OutOfMemory>,
        out: &mut Self::Buffer,
    ) -> Result<(), OutOfMemory>;
    /// Moves the pages of each part into a cache of its own, so that parts can be worked on at once. A page that is in
    /// several is read there and not written.
    fn split_cache(&self, cache: &mut Self::Cache, parts: &[Vec<u32>]) -> Vec<Self::Cache>;
    /// Moves the pages back.
    fn join_cache(&self, cache: &mut Self::Cache, parts: Vec<Self::Cache>);
    /// The bytes of a page that was written in every layer, [`Ops::page_bytes`] of them: what a page is kept as outside of
    /// its cache. Of a page that was never written, none.
    fn save_page(&self, cache: &Self::Cache, page: u32) -> Vec<u8>;
    /// Makes `page` what it was when [`Ops::save_page`] gave these bytes, for a cache of the same layouts and form.
    fn restore_page(&self, cache: &mut Self::Cache, page: u32, bytes: &[u8]) -> Result<(), OutOfMemory>;

    /// Chooses experts from the gate's logits `[T, experts]`: the routing, and the mixing weights `[T, top_k]`.
    fn route(
        &self,
        logits: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        config: &RouterConfig,
    ) -> Result<(Self::Routing, Self::Buffer), OutOfMemory>;
    /// Gradient of the mixing weights into the logits.
    fn route_backward(&self, routing: &Self::Routing, dweights: &Self::Buffer, dlogits: &mut Self::Buffer);
    /// How many tokens chose each expert, and the sequence-wise balance loss (DeepSeek-V3, section 2.1.2) times
    /// `alpha`, summed over `spans`.
    fn load(&self, routing: &Self::Routing, spans: &[Range<usize>], alpha: f32) -> Result<Self::Load, OutOfMemory>;
    /// sum += more.
    fn add_load(&self, sum: &mut Self::Load, more: &Self::Load);
    /// Reads a load.
    fn read_load(&self, load: &Self::Load) -> ExpertLoad;
    /// Gradient of the balance loss into the logits.
    fn balance_loss_backward(
        &self,
        routing: &Self::Routing,
        spans: &[Range<usize>],
        alpha: f32,
        dlogits: &mut Self::Buffer,
    );
    /// Copies each token's row to its experts' slots, which are ordered by expert: `[T, d]` → `[T·top_k, d]`.
    fn dispatch(&self, routing: &Self::Routing, x: &Self::Buffer, out: &mut Self::Buffer);
    /// Gradient of [`Ops::dispatch`].
    fn dispatch_backward(&self, routing: &Self::Routing, dout: &Self::Buffer, dx: &mut Self::Buffer);
    /// Weighted sum of each token's slots: `[T·top_k, d]` → `[T, d]`.
    fn combine(&self, routing: &Self::Routing, y: &Self::Buffer, weights: &Self::Buffer, out: &mut Self::Buffer);
    /// Gradients of [`Ops::combine`]; both are overwritten.
    fn combine_backward(
        &self,
        routing: &Self::Routing,
        dout: &Self::Buffer,
        y: &Self::Buffer,
        weights: &Self::Buffer,
        dy: &mut Self::Buffer,
        dweights: &mut Self::Buffer,
    );
    /// Consecutive rows of x, `[T, width]`.
    fn slice_rows(&self, x: &Self::Buffer, rows: Range<usize>, width: usize) -> Result<Self::Buffer, OutOfMemory>;
    /// Overwrites the rows of x from `start` on by those of `from`.
    fn write_rows(&self, x: &mut Self::Buffer, start: usize, width: usize, from: &Self::Buffer);
    /// Rows `rows` of x, `[T, d]` → `[rows, d]`.
    fn take_rows(&self, x: &Self::Buffer, rows: &[u32], width: usize, out: &mut Self::Buffer);

    /// Log-probability `[T]` of each row's target under softmax of `logits` `[T, V]`; `stats` gets maximum and sum,
    /// `[T, 2]`.
    fn logprobs(&self, logits: &Self::Buffer, targets: &[u32], logprobs: &mut Self::Buffer, stats: &mut Self::Buffer);
    /// −Σ p ln p of each row in nats, `[T]`, from what [`Ops::logprobs`] left in `stats`.
    fn entropy(&self, logits: &Self::Buffer, stats: &Self::Buffer, entropy: &mut Self::Buffer);
    /// Brings a loss to where it is computed.
    fn upload_loss(&self, loss: Loss) -> Result<Self::Loss, OutOfMemory>;
    /// The derivative of the loss by the log-probabilities `[T]` of its targets from number `first` on, overwritten.
    fn dloss_dlogprob(&self, loss: &Self::Loss, first: usize, logprobs: &Self::Buffer, d: &mut Self::Buffer);
    /// Turns logits into their gradient: d·(one-hot − softmax) for upstream gradients `d` `[T]`.
    fn logprobs_backward(&self, logits: &mut Self::Buffer, targets: &[u32], stats: &Self::Buffer, d: &Self::Buffer);
    /// A token for each row of `logits` `[T, V]`, drawn as its [`Draw`] says.
    fn sample(&self, logits: &Self::Buffer, draws: &[Draw]) -> Result<Vec<Drawn>, OutOfMemory>;

    /// One AdamW step on `param` with `grad · grad_scale`.
    fn adamw(
        &self,
        config: &AdamW,
        grad_scale: f32,
        grad: &Self::Buffer,
        param: &mut Self::Buffer,
        m: &mut Self::Buffer,
        v: &mut Self::Buffer,
    );
    /// Values of a buffer that [`Ops::muon`] works in, for a weight of these sizes.
    fn muon_workspace(&self, dims: Dims) -> usize;
    /// One step of Muon on the weight `param` of these sizes with `grad · grad_scale`; `m` is its momentum.
    #[allow(clippy::too_many_arguments)]
    fn muon(
        &self,
        config: &Muon,
        grad_scale: f32,
        grad: &Self::Buffer,
        param: &mut Self::Buffer,
        m: &mut Self::Buffer,
        dims: Dims,
        workspace: &mut Self::Buffer,
    );
}

/// What [`Ops::attention`] read and wrote.
pub struct AttentionSaved<'a, O: Ops> {
    /// Queries `[T, heads, dk]`.
    pub q: &'a O::Buffer,
    /// Keys `[T, kv_heads, dk]`.
    pub k: &'a O::Buffer,
    /// Values `[T, kv_heads, dv]`.
    pub v: &'a O::Buffer,
    /// Output `[T, heads, dv]`.
    pub out: &'a O::Buffer,
    /// Maximum and sum of each row and head.
    pub stats: &'a O::Buffer,
}

/// Where [`Ops::attention_backward`] writes.
pub struct AttentionGrads<'a, O: Ops> {
    /// Gradient of the queries.
    pub dq: &'a mut O::Buffer,
    /// Gradient of the keys.
    pub dk: &'a mut O::Buffer,
    /// Gradient of the values.
    pub dv: &'a mut O::Buffer,
}
