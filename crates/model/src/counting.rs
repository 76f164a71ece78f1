//! [`Ops`] that compute nothing and add up what computing would cost: the estimate before the first step.
//!
//! Experts are assumed to be chosen evenly. Operations count a fused multiply-add as two and exp as one; bytes count
//! each operand and result once, as if caches kept nothing between operations.

use crate::checkpoint::StoredRows;
use crate::ops::{
    AdamW, AttentionGrads, AttentionSaved, AttentionShape as Shape, CacheForm, CachedSpan, Contract, Dims, Draw, Drawn,
    ExpertLoad, Linear, Loss, MlaDims, Muon, Ops, OutOfMemory, Position, Rotation, RouterConfig, Table, Weight,
    WeightForm,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Costs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Bytes of the buffers alive now.
    pub live: u64,
    /// The most that were alive at once.
    pub peak: u64,
}

/// Counts instead of computing.
#[derive(Clone, Default)]
pub struct Counting(Arc<Meter>);

#[derive(Default)]
struct Meter {
    flops: AtomicU64,
    bytes: AtomicU64,
    live: AtomicU64,
    peak: AtomicU64,
}

/// A length, counted as long as it lives.
pub struct Counted {
    len: usize,
    meter: Arc<Meter>,
}

/// An even choice of experts.
pub struct CountedRouting {
    scores: Counted,
    experts: usize,
    choices: usize,
}

impl CountedRouting {
    /// How many experts get rows.
    fn chosen(&self) -> usize {
        self.experts.min(self.choices)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.meter.live.fetch_sub(4 * self.len as u64, Relaxed);
    }
}

impl Counting {
    /// What was counted.
    pub fn cost(&self) -> Cost {
        let meter = &self.0;
        let of = |x: &AtomicU64| x.load(Relaxed);
        Cost { flops: of(&meter.flops), bytes: of(&meter.bytes), live: of(&meter.live), peak: of(&meter.peak) }
    }

    fn buffer(&self, len: usize) -> Counted {
        let bytes = 4 * len as u64;
        let live = self.0.live.fetch_add(bytes, Relaxed) + bytes;
        self.0.peak.fetch_max(live, Relaxed);
        Counted { len, meter: Arc::clone(&self.0) }
    }

    fn count(&self, flops: usize, values: usize) {
        self.0.flops.fetch_add(flops as u64, Relaxed);
        self.0.bytes.fetch_add(4 * values as u64, Relaxed);
    }

    fn product(&self, m: usize, n: usize, k: usize) {
        self.count(2 * m * n * k, m * k + n * k + m * n);
    }

    /// Pairs of a query row and a key that it sees, over `spans`.
    fn pairs(spans: &[Range<usize>]) -> usize {
        spans.iter().map(|s| s.len() * (s.len() + 1) / 2).sum()
    }
}

impl Ops for Counting {
    type Buffer = Counted;
    type Frozen = Counted;
    type Cache = ();
    type Routing = CountedRouting;
    type Load = ExpertLoad;
    type Loss = ();

    const CONTRACT: Contract = Contract::NoValues;
    const PAGE_TOKENS: usize = 32;

    fn parallelism(&self) -> usize {
        1
    }
    fn in_parallel<T: Send, U: Send>(&self, parts: Vec<T>, work: impl Fn(T, &Self) -> U + Sync) -> Vec<U> {
        parts.into_iter().map(|part| work(part, self)).collect()
    }
    fn zeros(&self, len: usize) -> Result<Counted, OutOfMemory> {
        self.count(0, len);
        Ok(self.buffer(len))
    }
    fn scratch(&self, len: usize) -> Result<Counted, OutOfMemory> {
        Ok(self.buffer(len))
    }
    fn upload(&self, values: &[f32]) -> Result<Counted, OutOfMemory> {
        Ok(self.buffer(values.len()))
    }
    fn download(&self, x: &Counted) -> Vec<f32> {
        vec![0.0; x.len]
    }
    fn copy(&self, x: &Counted) -> Result<Counted, OutOfMemory> {
        self.count(0, 2 * x.len);
        Ok(self.buffer(x.len))
    }
    fn clear(&self, x: &mut Counted) {
        self.count(0, x.len);
    }
    fn write(&self, _: &mut Counted, values: &[f32]) {
        self.count(0, values.len());
    }
    fn len(&self, x: &Counted) -> usize {
        x.len
    }
    fn weight_len(&self, dims: Dims) -> usize {
        dims.n * dims.k
    }
    fn write_weight(&self, _: &mut Counted, rows: &[f32], _: Dims) {
        self.count(0, rows.len());
    }
    fn weight_rows(&self, w: &Counted, _: Dims) -> Vec<f32> {
        self.download(w)
    }
    fn freeze_weight(&self, stored: &StoredRows, _: WeightForm) -> Result<Counted, OutOfMemory> {
        Ok(self.buffer(stored.bytes() / 4))
    }
    fn freeze_table(&self, stored: StoredRows) -> Result<Counted, OutOfMemory> {
        self.freeze_weight(&stored, WeightForm::Exact)
    }
    fn freeze_rows(&self, rows: &[f32], _: Dims) -> Result<Counted, OutOfMemory> {
        Ok(self.buffer(rows.len() / 2))
    }
    fn frozen_rows(&self, frozen: &Counted) -> Vec<f32> {
        self.download(frozen)
    }
    fn frozen_bytes(&self, frozen: &Counted) -> usize {
        4 * frozen.len
    }
    fn linear(&self, rows: Range<usize>, _x: &Counted, layers: &mut [Linear<Self>]) {
        for Linear { bias, dims, .. } in layers {
            self.product(rows.len(), dims.n, dims.k);
            self.count(bias.map_or(0, |_| rows.len() * dims.n), 0);
        }
    }
    fn heads_linear(&self, x: &Counted, weights: &[Counted], _: &mut Counted, d: Dims) -> Result<(), OutOfMemory> {
        self.product(x.len / d.k.max(1), d.n, d.k);
        self.count(0, weights.iter().map(|weight| weight.len).sum());
        Ok(())
    }
    fn linear_dx(
        &self,
        rows: Range<usize>,
        _dy: &Counted,
        _w: Weight<Self>,
        _dx: &mut Counted,
        d: Dims,
        _overwrite: bool,
    ) {
        self.product(rows.len(), d.k, d.n);
    }
    fn linear_dw(&self, rows: Range<usize>, _x: &Counted, _dy: &Counted, _dw: &mut Counted, d: Dims) {
        self.product(d.n, d.k, rows.len());
    }
    fn linear_db(&self, dy: &Counted, _: &mut Counted) {
        self.count(dy.len, dy.len);
    }
    fn grouped_linear(&self, r: &CountedRouting, _x: &Counted, _w: &[Weight<Self>], _y: &mut Counted, d: Dims) {
        self.count(2 * r.choices * d.n * d.k, r.choices * (d.n + d.k) + r.chosen() * d.n * d.k);
    }
    fn grouped_linear_dx(
        &self,
        r: &CountedRouting,
        _dy: &Counted,
        _w: &[Weight<Self>],
        _dx: &mut Counted,
        d: Dims,
        _overwrite: bool,
    ) {
        self.count(2 * r.choices * d.n * d.k, r.choices * (d.n + d.k) + r.chosen() * d.n * d.k);
    }
    fn grouped_linear_dw(&self, r: &CountedRouting, _x: &Counted, _dy: &Counted, dw: &mut [Option<Counted>], d: Dims) {
        // An even choice: as many rows for each expert that learns.
        let learning = dw.iter().flatten().count();
        let rows = r.choices * learning / r.experts.max(1);
        self.count(2 * rows * d.n * d.k, rows * (d.n + d.k) + r.chosen().min(learning) * d.n * d.k);
    }
    fn rmsnorm(&self, x: &Counted, _w: &Counted, _eps: f32, _y: &mut Counted, _inv_rms: &mut Counted) {
        self.count(4 * x.len, 2 * x.len);
    }
    fn rmsnorm_backward(
        &self,
        x: &Counted,
        _w: &Counted,
        _i: &Counted,
        _dy: &Counted,
        _dx: &mut Counted,
        _dw: Option<&mut Counted>,
    ) {
        self.count(8 * x.len, 4 * x.len);
    }
    fn rope(&self, x: &mut Counted, rope: &Rotation, _positions: &[Position], _inverse: bool) {
        self.count(3 * (x.len / rope.head_dim) * rope.dim, 2 * x.len);
    }
    fn swiglu(&self, gate: &Counted, _up: &Counted, _y: &mut Counted) {
        self.count(5 * gate.len, 3 * gate.len);
    }
    fn swiglu_backward(&self, gate: &Counted, _up: &Counted, _dy: &Counted, _dg: &mut Counted, _du: &mut Counted) {
        self.count(10 * gate.len, 5 * gate.len);
    }
    fn add(&self, x: &Counted, _y: &Counted, _out: &mut Counted) {
        self.count(x.len, 3 * x.len);
    }
    fn add_assign(&self, x: &mut Counted, _y: &Counted) {
        self.count(x.len, 3 * x.len);
    }
    fn scale(&self, x: &mut Counted, _factor: f32) {
        self.count(x.len, 2 * x.len);
    }
    fn sum_of_squares(&self, all: &[&Counted]) -> f64 {
        all.iter().for_each(|x| self.count(2 * x.len, x.len));
        0.0
    }
    fn embedding(&self, _table: Table<Self>, _ids: &[u32], out: &mut Counted, _: Dims) {
        self.count(0, 2 * out.len);
    }
    fn tied_embedding_backward(&self, dout: &Counted, ids: &[u32], dtable: &mut Counted, _: Dims) {
        self.embedding_backward(dout, ids, dtable);
    }
    fn embedding_backward(&self, dout: &Counted, _ids: &[u32], _dtable: &mut Counted) {
        self.count(dout.len, 3 * dout.len);
    }
    fn split_columns(&self, x: &Counted, _a: &mut Counted, _b: &mut Counted, _widths: (usize, usize)) {
        self.count(0, 2 * x.len);
    }
    fn split_columns_backward(&self, _da: &Counted, _db: &Counted, dx: &mut Counted, _widths: (usize, usize)) {
        self.count(0, 2 * dx.len);
    }
    fn mla_keys(&self, _kv: &Counted, _k_rope: &Counted, k: &mut Counted, v: &mut Counted, _dims: MlaDims) {
        self.count(0, 2 * (k.len + v.len));
    }
    fn mla_keys_backward(&self, dk: &Counted, dv: &Counted, _: &mut Counted, _: &mut Counted, _dims: MlaDims) {
        self.count(dk.len, 2 * (dk.len + dv.len));
    }
    fn attention(
        &self,
        s: &Shape,
        q: &Counted,
        k: &Counted,
        v: &Counted,
        spans: &[Range<usize>],
        out: &mut Counted,
        _stats: &mut Counted,
    ) {
        let pairs = s.heads * Self::pairs(spans);
        self.count(pairs * (2 * s.dk + 2 * s.dv + 4), q.len + k.len + v.len + out.len);
    }
    fn attention_backward(
        &self,
        s: &Shape,
        saved: AttentionSaved<'_, Self>,
        dout: &Counted,
        spans: &[Range<usize>],
        _: AttentionGrads<'_, Self>,
    ) {
        let pairs = s.heads * Self::pairs(spans);
        let values = 2 * (saved.q.len + saved.k.len + saved.v.len + dout.len);
        self.count(pairs * (6 * s.dk + 4 * s.dv + 8), values);
    }
    fn page_bytes(&self, layouts: &[Shape], form: CacheForm) -> usize {
        let layer = |layer: &Shape| {
            let values = layer.dk + if layer.latent { 0 } else { layer.dv };
            layer.kv_heads
                * match form {
                    CacheForm::Exact => 4 * values,
                    CacheForm::F16 => 2 * values,
                    CacheForm::Q8 => values + 8,
                }
        };
        Self::PAGE_TOKENS * layouts.iter().map(layer).sum::<usize>()
    }
    fn cache(&self, _layouts: &[Shape], _: CacheForm) {}
    fn write_cached(
        &self,
        _: &Shape,
        k: &Counted,
        v: &Counted,
        _: &mut (),
        _layer: usize,
        _: &[CachedSpan],
    ) -> Result<(), OutOfMemory> {
        self.count(0, 2 * (k.len + v.len));
        Ok(())
    }
    fn attention_cached(&self, s: &Shape, q: &Counted, _: &(), _layer: usize, spans: &[CachedSpan], out: &mut Counted) {
        let seen = |span: &CachedSpan| span.rows.len() * span.start + span.rows.len() * (span.rows.len() + 1) / 2;
        let pairs = s.heads * spans.iter().map(seen).sum::<usize>();
        let cached: usize = spans.iter().map(|span| (span.start + span.rows.len()) * s.kv_heads * (s.dk + s.dv)).sum();
        self.count(pairs * (2 * s.dk + 2 * s.dv + 4), q.len + cached + out.len);
    }
    fn attention_expanded(
        &self,
        s: &Shape,
        held: &Shape,
        q: &Counted,
        cache: &(),
        layer: usize,
        spans: &[CachedSpan],
        mut expand: impl FnMut(Counted, &mut dyn FnMut(&Counted, &Counted)) -> Result<(), OutOfMemory>,
        out: &mut Counted,
    ) -> Result<(), OutOfMemory> {
        for span in spans {
            let held = self.scratch((span.start + span.rows.len()) * held.kv_heads * held.dk)?;
            expand(held, &mut |_, _| ())?;
        }
        self.attention_cached(s, q, cache, layer, spans, out);
        Ok(())
    }
    fn split_cache(&self, _: &mut (), parts: &[Vec<u32>]) -> Vec<()> {
        parts.iter().map(|_| ()).collect()
    }
    fn join_cache(&self, _: &mut (), _: Vec<()>) {}
    fn save_page(&self, (): &(), _: u32) -> Vec<u8> {
        Vec::new()
    }
    fn restore_page(&self, (): &mut (), _: u32, _: &[u8]) -> Result<(), OutOfMemory> {
        Ok(())
    }
    fn route(
        &self,
        logits: &Counted,
        _bias: Option<&Counted>,
        config: &RouterConfig,
    ) -> Result<(CountedRouting, Counted), OutOfMemory> {
        self.count(4 * logits.len, 2 * logits.len);
        let choices = logits.len / config.experts * config.top_k;
        let routing = CountedRouting { scores: self.buffer(logits.len), experts: config.experts, choices };
        Ok((routing, self.buffer(choices)))
    }
    fn route_backward(&self, _: &CountedRouting, _dweights: &Counted, dlogits: &mut Counted) {
        self.count(6 * dlogits.len, 3 * dlogits.len);
    }
    fn load(&self, r: &CountedRouting, _: &[Range<usize>], alpha: f32) -> Result<ExpertLoad, OutOfMemory> {
        if alpha > 0.0 {
            self.count(3 * r.scores.len, r.scores.len);
        }
        let even = |e| (r.choices / r.experts + usize::from(e < r.choices % r.experts)) as u64;
        Ok(ExpertLoad { counts: (0..r.experts).map(even).collect(), balance_loss: 0.0 })
    }
    fn add_load(&self, sum: &mut ExpertLoad, more: &ExpertLoad) {
        sum.counts.iter_mut().zip(&more.counts).for_each(|(a, b)| *a += b);
    }
    fn read_load(&self, load: &ExpertLoad) -> ExpertLoad {
        load.clone()
    }
    fn balance_loss_backward(&self, r: &CountedRouting, _: &[Range<usize>], _alpha: f32, _dlogits: &mut Counted) {
        self.count(6 * r.scores.len, 3 * r.scores.len);
    }
    fn dispatch(&self, _: &CountedRouting, _x: &Counted, out: &mut Counted) {
        self.count(0, 2 * out.len);
    }
    fn dispatch_backward(&self, _: &CountedRouting, dout: &Counted, _dx: &mut Counted) {
        self.count(dout.len, 2 * dout.len);
    }
    fn combine(&self, _: &CountedRouting, y: &Counted, _weights: &Counted, out: &mut Counted) {
        self.count(2 * y.len, y.len + out.len);
    }
    fn combine_backward(
        &self,
        _: &CountedRouting,
        dout: &Counted,
        y: &Counted,
        _w: &Counted,
        _dy: &mut Counted,
        _dw: &mut Counted,
    ) {
        self.count(3 * y.len, 2 * y.len + dout.len);
    }
    fn slice_rows(&self, _x: &Counted, rows: Range<usize>, width: usize) -> Result<Counted, OutOfMemory> {
        self.count(0, 2 * rows.len() * width);
        Ok(self.buffer(rows.len() * width))
    }
    fn write_rows(&self, _x: &mut Counted, _start: usize, _width: usize, from: &Counted) {
        self.count(0, 2 * from.len);
    }
    fn take_rows(&self, _x: &Counted, _rows: &[u32], _width: usize, out: &mut Counted) {
        self.count(0, 2 * out.len);
    }
    fn logprobs(&self, logits: &Counted, _targets: &[u32], _logprobs: &mut Counted, _stats: &mut Counted) {
        self.count(3 * logits.len, 2 * logits.len);
    }
    fn entropy(&self, logits: &Counted, _stats: &Counted, _entropy: &mut Counted) {
        self.count(5 * logits.len, logits.len);
    }
    fn upload_loss(&self, _: Loss) -> Result<(), OutOfMemory> {
        Ok(())
    }
    fn dloss_dlogprob(&self, _: &(), _first: usize, _logprobs: &Counted, _d: &mut Counted) {}
    fn logprobs_backward(&self, logits: &mut Counted, _targets: &[u32], _stats: &Counted, _d: &Counted) {
        self.count(4 * logits.len, 2 * logits.len);
    }
    fn sample(&self, logits: &Counted, draws: &[Draw]) -> Result<Vec<Drawn>, OutOfMemory> {
        self.count(6 * logits.len, 4 * logits.len);
        Ok(vec![Drawn::default(); draws.len()])
    }
    fn adamw(&self, _: &AdamW, _scale: f32, grad: &Counted, _p: &mut Counted, _m: &mut Counted, _v: &mut Counted) {
        self.count(14 * grad.len, 7 * grad.len);
    }
    fn muon_workspace(&self, dims: Dims) -> usize {
        3 * dims.n * dims.k
    }
    fn muon(
        &self,
        _: &Muon,
        _scale: f32,
        grad: &Counted,
        _p: &mut Counted,
        _m: &mut Counted,
        dims: Dims,
        _: &mut Counted,
    ) {
        let (short, long) = (dims.n.min(dims.k), dims.n.max(dims.k));
        // Five steps of X·Xᵀ, its square, and the product of both with X; each reads X twice and writes it once.
        self.count(5 * (4 * short * short * long + 2 * short * short * short), 7 * grad.len + 15 * short * long);
    }
}
