//! [`Ops`] on this machine's processor, with or without vector instructions: the same bits either way.

mod cache;
mod frozen;
mod translate;

use crate::checkpoint::StoredRows;
use crate::ops::{
    AdamW, AttentionGrads, AttentionSaved, AttentionShape, CacheForm, CachedSpan, Contract, Dims, Draw, Drawn,
    ExpertLoad, Linear, Loss, MlaDims, Muon, Ops, OutOfMemory, Position, Rotation, RouterConfig, Table, Weight,
    WeightForm,
};
use crate::pool::{Buffer, Pool};
pub use cache::CpuCache;
pub use frozen::CpuFrozen;
use picnic_kernels::moe::{self, Dispatch};
use picnic_kernels::panels::{self, Panels};
use picnic_kernels::rope::{self, Rope};
use picnic_kernels::{
    Cpu, Team, adamw, attention, columns, embedding, grouped, linear, logprob, muon, norm, router, sampling, swiglu,
    vector,
};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use translate::Cosines;

/// Computes with the kernels of `picnic-kernels`. A clone shares threads and memory.
#[derive(Clone)]
pub struct CpuOps {
    cpu: Arc<Cpu>,
    /// The same instructions on one thread.
    solo: Arc<Cpu>,
    pool: Pool,
    /// For pieces of work that run at once, one for each thread.
    pools: Arc<[Pool]>,
    cosines: Arc<Cosines>,
}

impl CpuOps {
    /// Computes on `cpu`: with [`Isa::scalar`](picnic_kernels::Isa::scalar) in it, this is the oracle.
    pub fn new(cpu: Cpu) -> CpuOps {
        let solo = Arc::new(Cpu { isa: cpu.isa, team: Team::solo() });
        CpuOps::assemble(Arc::new(cpu), solo, Pool::default(), Arc::default())
    }

    /// The best instructions of this processor and `threads` threads.
    ///
    /// # Errors
    /// If the system refuses to start the threads.
    pub fn with_threads(threads: usize) -> Result<CpuOps, std::io::Error> {
        Ok(CpuOps::new(Cpu::new(threads)?))
    }

    fn assemble(cpu: Arc<Cpu>, solo: Arc<Cpu>, pool: Pool, cosines: Arc<Cosines>) -> CpuOps {
        let pools = (0..cpu.team.size()).map(|_| pool.beside()).collect();
        CpuOps { cpu, solo, pool, pools, cosines }
    }

    /// A team of `threads` of its own with buffers of its own, under the same limit of memory.
    ///
    /// # Errors
    /// If the system refuses to start the threads.
    pub fn with_team(&self, threads: usize) -> Result<CpuOps, std::io::Error> {
        let cpu = match threads {
            0 | 1 => Arc::clone(&self.solo),
            _ => Arc::new(Cpu { isa: self.cpu.isa, team: Team::new(threads)? }),
        };
        Ok(CpuOps::assemble(cpu, Arc::clone(&self.solo), self.pool.beside(), Arc::clone(&self.cosines)))
    }

    /// The same threads with buffers of their own, which together take `bytes` at most.
    pub fn with_memory_limit(&self, bytes: usize) -> CpuOps {
        let [cpu, solo] = [&self.cpu, &self.solo].map(Arc::clone);
        CpuOps::assemble(cpu, solo, Pool::with_limit(bytes), Arc::clone(&self.cosines))
    }
}

/// What a gate chose.
pub struct CpuRouting {
    config: router::Config,
    scores: Buffer,
    /// Chosen experts, `[T · top_k]`, best first.
    ids: Vec<u32>,
    dispatch: Dispatch,
}

/// A loss, and which sample each target is of.
pub struct CpuLoss {
    loss: Loss,
    sample_of: Vec<u32>,
}

impl Ops for CpuOps {
    type Buffer = Buffer;
    type Frozen = CpuFrozen;
    type Cache = CpuCache;
    type Routing = CpuRouting;
    type Load = ExpertLoad;
    type Loss = CpuLoss;

    const CONTRACT: Contract = Contract::Exact;
    const PAGE_TOKENS: usize = attention::PAGE;

    fn parallelism(&self) -> usize {
        self.cpu.team.size()
    }
    fn in_parallel<T: Send, U: Send>(&self, parts: Vec<T>, work: impl Fn(T, &Self) -> U + Sync) -> Vec<U> {
        if parts.len() <= 1 {
            return parts.into_iter().map(|part| work(part, self)).collect();
        }
        let alone = |pool: &Pool| CpuOps { cpu: Arc::clone(&self.solo), pool: pool.clone(), ..self.clone() };
        let places: Vec<Mutex<(Option<T>, Option<U>)>> =
            parts.into_iter().map(|part| Mutex::new((Some(part), None))).collect();
        self.cpu.team.split(places.len(), 1, |range| {
            for at in range {
                let mut place = places[at].lock().unwrap_or_else(PoisonError::into_inner);
                let ops = alone(&self.pools[at % self.pools.len()]);
                place.1 = place.0.take().map(|part| work(part, &ops));
            }
        });
        places.into_iter().filter_map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner).1).collect()
    }

    fn zeros(&self, len: usize) -> Result<Buffer, OutOfMemory> {
        let mut buffer = self.pool.take(len)?;
        buffer.fill(0.0);
        Ok(buffer)
    }
    fn scratch(&self, len: usize) -> Result<Buffer, OutOfMemory> {
        self.pool.take(len)
    }
    fn upload(&self, values: &[f32]) -> Result<Buffer, OutOfMemory> {
        let mut buffer = self.pool.take(values.len())?;
        buffer.copy_from_slice(values);
        Ok(buffer)
    }
    fn download(&self, x: &Buffer) -> Vec<f32> {
        x.to_vec()
    }
    fn copy(&self, x: &Buffer) -> Result<Buffer, OutOfMemory> {
        self.upload(x)
    }
    fn clear(&self, x: &mut Buffer) {
        x.fill(0.0);
    }
    fn write(&self, x: &mut Buffer, values: &[f32]) {
        x.copy_from_slice(values);
    }
    fn len(&self, x: &Buffer) -> usize {
        x.len()
    }

    fn weight_len(&self, dims: Dims) -> usize {
        panels::len(dims.n, dims.k)
    }
    fn write_weight(&self, w: &mut Buffer, rows: &[f32], dims: Dims) {
        panels::from_rows(rows, dims.n, dims.k, w);
    }
    fn weight_rows(&self, w: &Buffer, dims: Dims) -> Vec<f32> {
        let mut rows = vec![0.0; dims.n * dims.k];
        panels::to_rows(&self.cpu, Panels::new(w, dims.n, dims.k), &mut rows);
        rows
    }
    fn freeze_weight(&self, stored: &StoredRows, form: WeightForm) -> Result<CpuFrozen, OutOfMemory> {
        CpuFrozen::weight(&self.cpu, stored, form)
    }
    fn freeze_table(&self, stored: StoredRows) -> Result<CpuFrozen, OutOfMemory> {
        Ok(CpuFrozen::Table(stored))
    }
    fn freeze_rows(&self, rows: &[f32], dims: Dims) -> Result<CpuFrozen, OutOfMemory> {
        CpuFrozen::rounded(&self.cpu, rows, dims.n, dims.k)
    }
    fn frozen_rows(&self, frozen: &CpuFrozen) -> Vec<f32> {
        frozen.rows(&self.cpu)
    }
    fn frozen_bytes(&self, frozen: &CpuFrozen) -> usize {
        frozen.bytes()
    }
    fn linear(&self, rows: Range<usize>, x: &Buffer, layers: &mut [Linear<Self>]) {
        fn of_kernels<'b>(layer: &'b mut Linear<'_, CpuOps>, rows: &Range<usize>) -> linear::Layer<'b> {
            let Linear { weight, bias, y, dims } = layer;
            let weight = translate::weight(*weight, *dims);
            linear::Layer { weight, bias: bias.map(|bias| &bias[..]), y: &mut y[scaled(rows, dims.n)] }
        }
        let Some(k) = layers.first().map(|layer| layer.dims.k) else { return };
        let mut layers: Vec<linear::Layer> = layers.iter_mut().map(|layer| of_kernels(layer, &rows)).collect();
        linear::forward_each(&self.cpu, &x[scaled(&rows, k)], &mut layers);
    }
    fn heads_linear(&self, x: &Buffer, weights: &[CpuFrozen], y: &mut Buffer, dims: Dims) -> Result<(), OutOfMemory> {
        let Dims { n, k } = dims;
        let heads = weights.len();
        let rows = x.len() / (heads * k).max(1);
        let weights: Vec<_> = weights.iter().map(|frozen| translate::weight(Weight::Frozen(frozen), dims)).collect();
        let offsets: Vec<usize> = (0..=heads).map(|head| head * rows).collect();
        if rows == 1 {
            grouped::forward(&self.cpu, x, &offsets, &weights, y);
            return Ok(());
        }
        // Head by head and back.
        let (mut by_head, mut out) = (self.pool.take(x.len())?, self.pool.take(y.len())?);
        for (i, from) in x.chunks_exact(k).enumerate() {
            by_head[(i % heads * rows + i / heads) * k..][..k].copy_from_slice(from);
        }
        grouped::forward(&self.cpu, &by_head, &offsets, &weights, &mut out);
        for (i, to) in y.chunks_exact_mut(n).enumerate() {
            to.copy_from_slice(&out[(i % heads * rows + i / heads) * n..][..n]);
        }
        Ok(())
    }
    fn linear_dx(
        &self,
        rows: Range<usize>,
        dy: &Buffer,
        w: Weight<Self>,
        dx: &mut Buffer,
        dims: Dims,
        overwrite: bool,
    ) {
        let (dy, dx) = (&dy[scaled(&rows, dims.n)], &mut dx[scaled(&rows, dims.k)]);
        linear::backward_input(&self.cpu, dy, translate::weight(w, dims), dx, !overwrite);
    }
    fn linear_dw(&self, rows: Range<usize>, x: &Buffer, dy: &Buffer, dw: &mut Buffer, dims: Dims) {
        let (x, dy) = (&x[scaled(&rows, dims.k)], &dy[scaled(&rows, dims.n)]);
        linear::backward_weight(&self.cpu, x, dy, dw, dims.n, dims.k);
    }
    fn linear_db(&self, dy: &Buffer, db: &mut Buffer) {
        linear::backward_bias(&self.cpu, dy, db);
    }

    fn grouped_linear(&self, routing: &CpuRouting, x: &Buffer, weights: &[Weight<Self>], y: &mut Buffer, dims: Dims) {
        grouped::forward(&self.cpu, x, &routing.dispatch.offsets, &translate::weights(weights, dims), y);
    }
    fn grouped_linear_dx(
        &self,
        routing: &CpuRouting,
        dy: &Buffer,
        weights: &[Weight<Self>],
        dx: &mut Buffer,
        dims: Dims,
        overwrite: bool,
    ) {
        let weights = translate::weights(weights, dims);
        grouped::backward_input(&self.cpu, dy, &routing.dispatch.offsets, &weights, dx, !overwrite);
    }
    fn grouped_linear_dw(&self, routing: &CpuRouting, x: &Buffer, dy: &Buffer, dw: &mut [Option<Buffer>], dims: Dims) {
        let dw = dw.iter_mut().map(|dw| dw.as_mut().map(|dw| &mut dw[..])).collect();
        grouped::backward_weight(&self.cpu, x, dy, &routing.dispatch.offsets, dw, dims.n, dims.k);
    }

    fn rmsnorm(&self, x: &Buffer, weight: &Buffer, eps: f32, y: &mut Buffer, inv_rms: &mut Buffer) {
        norm::forward(&self.cpu, x, weight, eps, y, inv_rms);
    }
    fn rmsnorm_backward(
        &self,
        x: &Buffer,
        weight: &Buffer,
        inv_rms: &Buffer,
        dy: &Buffer,
        dx: &mut Buffer,
        dw: Option<&mut Buffer>,
    ) {
        norm::backward(&self.cpu, x, weight, inv_rms, dy, dx, dw.map(|dw| &mut dw[..]));
    }
    fn rope(&self, x: &mut Buffer, rotation: &Rotation, positions: &[Position], inverse: bool) {
        let Rotation { head_dim, offset, dim, style, ref table } = *rotation;
        let table = &self.cosines.of(table);
        let positions = &translate::positions(positions);
        let rope = Rope { head_dim, offset, dim, style: translate::style(style), table, positions };
        rope::rotate(&self.cpu, x, &rope, inverse);
    }
    fn swiglu(&self, gate: &Buffer, up: &Buffer, y: &mut Buffer) {
        swiglu::forward(&self.cpu, gate, up, y);
    }
    fn swiglu_backward(&self, gate: &Buffer, up: &Buffer, dy: &Buffer, dgate: &mut Buffer, dup: &mut Buffer) {
        swiglu::backward(&self.cpu, gate, up, dy, dgate, dup);
    }
    fn add(&self, x: &Buffer, y: &Buffer, out: &mut Buffer) {
        vector::add(&self.cpu, x, y, out);
    }
    fn add_assign(&self, x: &mut Buffer, y: &Buffer) {
        vector::add_assign(&self.cpu, x, y);
    }
    fn scale(&self, x: &mut Buffer, factor: f32) {
        vector::scale_assign(&self.cpu, x, factor);
    }
    fn sum_of_squares(&self, all: &[&Buffer]) -> f64 {
        all.iter().map(|x| vector::sum_of_squares(&self.cpu, x)).sum()
    }

    fn embedding(&self, table: Table<Self>, ids: &[u32], out: &mut Buffer, dims: Dims) {
        match table {
            Table::Rows(rows) => embedding::forward(&self.cpu, rows, ids, out),
            Table::Tied(weight) => {
                embedding::forward_tied(&self.cpu, Panels::new(weight, dims.n, dims.k).into(), ids, out);
            }
            Table::Frozen(frozen) => frozen.look_up(&self.cpu, ids, out),
        }
    }
    fn embedding_backward(&self, dout: &Buffer, ids: &[u32], dtable: &mut Buffer) {
        embedding::backward(&self.cpu, dout, ids, dtable);
    }
    fn tied_embedding_backward(&self, dout: &Buffer, ids: &[u32], dtable: &mut Buffer, dims: Dims) {
        embedding::backward_tied(&self.cpu, dout, ids, dtable, dims.n);
    }

    fn split_columns(&self, x: &Buffer, a: &mut Buffer, b: &mut Buffer, widths: (usize, usize)) {
        columns::split_columns(&self.cpu, x, a, b, widths);
    }
    fn split_columns_backward(&self, da: &Buffer, db: &Buffer, dx: &mut Buffer, widths: (usize, usize)) {
        columns::split_columns_backward(&self.cpu, da, db, dx, widths);
    }
    fn mla_keys(&self, kv: &Buffer, k_rope: &Buffer, k: &mut Buffer, v: &mut Buffer, dims: MlaDims) {
        columns::mla_keys(&self.cpu, kv, k_rope, k, v, translate::mla(dims));
    }
    fn mla_keys_backward(&self, dk: &Buffer, dv: &Buffer, dkv: &mut Buffer, dk_rope: &mut Buffer, dims: MlaDims) {
        columns::mla_keys_backward(&self.cpu, dk, dv, dkv, dk_rope, translate::mla(dims));
    }

    fn attention(
        &self,
        shape: &AttentionShape,
        q: &Buffer,
        k: &Buffer,
        v: &Buffer,
        spans: &[Range<usize>],
        out: &mut Buffer,
        stats: &mut Buffer,
    ) {
        attention::forward(&self.cpu, &translate::attention(shape), q, k, v, spans, out, stats);
    }
    fn attention_backward(
        &self,
        shape: &AttentionShape,
        s: AttentionSaved<'_, Self>,
        dout: &Buffer,
        spans: &[Range<usize>],
        g: AttentionGrads<'_, Self>,
    ) {
        let shape = translate::attention(shape);
        attention::backward(&self.cpu, &shape, s.q, s.k, s.v, s.out, s.stats, dout, spans, g.dq, g.dk, g.dv);
    }
    fn page_bytes(&self, layouts: &[AttentionShape], form: CacheForm) -> usize {
        page_lens(layouts, form).into_iter().map(|len| len * size_of::<f32>()).sum()
    }
    fn cache(&self, layouts: &[AttentionShape], form: CacheForm) -> CpuCache {
        CpuCache::new(page_lens(layouts, form), translate::cache_form(form))
    }
    fn write_cached(
        &self,
        shape: &AttentionShape,
        k: &Buffer,
        v: &Buffer,
        cache: &mut CpuCache,
        layer: usize,
        spans: &[CachedSpan],
    ) -> Result<(), OutOfMemory> {
        let (shape, form) = (&translate::attention(shape), cache.form());
        let (k_width, v_width) = (shape.kv_heads * shape.dk, shape.kv_heads * shape.dv);
        for span in spans {
            for (i, row) in span.rows.clone().enumerate() {
                let position = span.start + i;
                let page = cache.page_mut(span.pages[position / attention::PAGE], layer, &self.pool)?;
                let (k, v) = (&k[row * k_width..][..k_width], &v[row * v_width..][..v_width]);
                attention::append(shape, form, k, v, page, position % attention::PAGE);
            }
        }
        Ok(())
    }
    fn attention_cached(
        &self,
        shape: &AttentionShape,
        q: &Buffer,
        cache: &CpuCache,
        layer: usize,
        spans: &[CachedSpan],
        out: &mut Buffer,
    ) {
        let (shape, form) = (&translate::attention(shape), cache.form());
        let pages_of = |span: &CachedSpan| -> Vec<&[f32]> {
            let used = (span.start + span.rows.len()).div_ceil(attention::PAGE);
            span.pages[..used].iter().map(|&page| cache.page(page, layer)).collect()
        };
        let lists: Vec<Vec<&[f32]>> = spans.iter().map(pages_of).collect();
        let cached: Vec<attention::CachedSpan> = spans
            .iter()
            .zip(&lists)
            .map(|(span, pages)| attention::CachedSpan { rows: span.rows.clone(), start: span.start, pages })
            .collect();
        attention::forward_cached(&self.cpu, shape, form, q, &cached, out);
    }
    fn attention_expanded(
        &self,
        shape: &AttentionShape,
        held: &AttentionShape,
        q: &Buffer,
        cache: &CpuCache,
        layer: usize,
        spans: &[CachedSpan],
        mut expand: impl FnMut(Buffer, &mut dyn FnMut(&Buffer, &Buffer)) -> Result<(), OutOfMemory>,
        out: &mut Buffer,
    ) -> Result<(), OutOfMemory> {
        let (shape, held) = (&translate::attention(shape), &translate::attention(held));
        for span in spans {
            let end = span.start + span.rows.len();
            let mut sums = attention::InSegments::new(shape, span.rows.clone(), span.start);
            for from in (0..end).step_by(attention::SEGMENT) {
                let positions = from..end.min(from + attention::SEGMENT);
                let mut keys = self.scratch(positions.len() * held.kv_heads * held.dk)?;
                let pages = span.pages[from / attention::PAGE..].iter().map(|&page| cache.page(page, layer));
                attention::read_keys(self.cpu.isa, held, cache.form(), pages, &mut keys);
                let mut add = |k: &Buffer, v: &Buffer| sums.add(&self.cpu, shape, q, (k, v), positions.clone());
                expand(keys, &mut add)?;
            }
            sums.finish(&self.cpu, shape, out);
        }
        Ok(())
    }
    fn split_cache(&self, cache: &mut CpuCache, parts: &[Vec<u32>]) -> Vec<CpuCache> {
        cache.split(parts)
    }
    fn join_cache(&self, cache: &mut CpuCache, parts: Vec<CpuCache>) {
        cache.join(parts);
    }
    fn save_page(&self, cache: &CpuCache, page: u32) -> Vec<u8> {
        cache.save(page)
    }
    fn restore_page(&self, cache: &mut CpuCache, page: u32, bytes: &[u8]) -> Result<(), OutOfMemory> {
        cache.restore(page, bytes, &self.pool)
    }

    fn route(
        &self,
        logits: &Buffer,
        bias: Option<&Buffer>,
        config: &RouterConfig,
    ) -> Result<(CpuRouting, Buffer), OutOfMemory> {
        let config = translate::router(config);
        let rows = logits.len() / config.experts;
        let (mut scores, mut weights) = (self.scratch(logits.len())?, self.scratch(rows * config.top_k)?);
        let mut ids = vec![0; rows * config.top_k];
        router::route(&self.cpu, logits, bias.map(|b| &b[..]), &config, &mut scores, &mut ids, &mut weights);
        let dispatch = Dispatch::new(&ids, rows, config.top_k, config.experts);
        Ok((CpuRouting { config, scores, ids, dispatch }, weights))
    }
    fn route_backward(&self, r: &CpuRouting, dweights: &Buffer, dlogits: &mut Buffer) {
        router::backward(&self.cpu, &r.scores, &r.ids, dweights, &r.config, dlogits);
    }
    fn load(&self, r: &CpuRouting, spans: &[Range<usize>], alpha: f32) -> Result<ExpertLoad, OutOfMemory> {
        let counts = (0..r.config.experts).map(|e| r.dispatch.slots(e).len() as u64).collect();
        let balance_loss = match alpha > 0.0 {
            true => router::balance_loss(&self.cpu, &r.scores, &r.ids, spans, &r.config, alpha),
            false => 0.0,
        };
        Ok(ExpertLoad { counts, balance_loss })
    }
    fn add_load(&self, sum: &mut ExpertLoad, more: &ExpertLoad) {
        sum.counts.iter_mut().zip(&more.counts).for_each(|(a, b)| *a += b);
        sum.balance_loss += more.balance_loss;
    }
    fn read_load(&self, load: &ExpertLoad) -> ExpertLoad {
        load.clone()
    }
    fn balance_loss_backward(&self, r: &CpuRouting, spans: &[Range<usize>], alpha: f32, dlogits: &mut Buffer) {
        router::balance_loss_backward(&self.cpu, &r.scores, &r.ids, spans, &r.config, alpha, dlogits);
    }
    fn dispatch(&self, r: &CpuRouting, x: &Buffer, out: &mut Buffer) {
        moe::gather(&self.cpu, x, &r.dispatch.token_of_slot, out);
    }
    fn dispatch_backward(&self, r: &CpuRouting, dout: &Buffer, dx: &mut Buffer) {
        moe::gather_backward(&self.cpu, dout, &r.dispatch.slot_of, dx);
    }
    fn combine(&self, r: &CpuRouting, y: &Buffer, weights: &Buffer, out: &mut Buffer) {
        moe::combine(&self.cpu, y, weights, &r.dispatch.slot_of, out);
    }
    fn combine_backward(
        &self,
        r: &CpuRouting,
        dout: &Buffer,
        y: &Buffer,
        weights: &Buffer,
        dy: &mut Buffer,
        dweights: &mut Buffer,
    ) {
        moe::combine_backward(&self.cpu, dout, y, weights, &r.dispatch, dy, dweights);
    }
    fn slice_rows(&self, x: &Buffer, rows: Range<usize>, width: usize) -> Result<Buffer, OutOfMemory> {
        self.upload(&x[scaled(&rows, width)])
    }
    fn write_rows(&self, x: &mut Buffer, start: usize, width: usize, from: &Buffer) {
        x[start * width..][..from.len()].copy_from_slice(from);
    }
    fn take_rows(&self, x: &Buffer, rows: &[u32], _width: usize, out: &mut Buffer) {
        embedding::forward(&self.cpu, x, rows, out);
    }

    fn logprobs(&self, logits: &Buffer, targets: &[u32], logprobs: &mut Buffer, stats: &mut Buffer) {
        logprob::logprobs(&self.cpu, logits, targets, logprobs, stats);
    }
    fn entropy(&self, logits: &Buffer, stats: &Buffer, entropy: &mut Buffer) {
        logprob::entropy(&self.cpu, logits, stats, entropy);
    }
    fn upload_loss(&self, loss: Loss) -> Result<CpuLoss, OutOfMemory> {
        let sample_of = match &loss {
            Loss::Policy(policy) => {
                let targets = policy.samples.iter().map(|&(_, targets)| targets);
                targets.enumerate().flat_map(|(i, targets)| std::iter::repeat_n(i as u32, targets)).collect()
            }
            _ => Vec::new(),
        };
        Ok(CpuLoss { loss, sample_of })
    }
    fn dloss_dlogprob(&self, loss: &CpuLoss, first: usize, logprobs: &Buffer, d: &mut Buffer) {
        // A few numbers a token, beside a row of the vocabulary: not worth a team.
        match &loss.loss {
            Loss::Constant(derivative) => d.fill(*derivative),
            Loss::PerTarget(derivatives) => d.copy_from_slice(&derivatives[first..first + logprobs.len()]),
            Loss::Policy(policy) => {
                for (i, (d, &logprob)) in d.iter_mut().zip(&logprobs[..]).enumerate() {
                    let target = first + i;
                    *d = policy.dloss_dlogprob(target, loss.sample_of[target] as usize, logprob);
                }
            }
        }
    }
    fn logprobs_backward(&self, logits: &mut Buffer, targets: &[u32], stats: &Buffer, d: &Buffer) {
        logprob::backward_in_place(&self.cpu, logits, targets, stats, d);
    }
    fn sample(&self, logits: &Buffer, draws: &[Draw]) -> Result<Vec<Drawn>, OutOfMemory> {
        let draws: Vec<sampling::Draw> = draws.iter().map(translate::draw).collect();
        let mut picked = vec![sampling::Picked::default(); draws.len()];
        sampling::draw(&self.cpu, logits, &draws, &mut picked);
        let tokens: Vec<u32> = picked.iter().map(|picked| picked.token).collect();
        let (mut logprobs, mut stats) = (self.scratch(draws.len())?, self.scratch(2 * draws.len())?);
        logprob::logprobs(&self.cpu, logits, &tokens, &mut logprobs, &mut stats);
        let drawn = picked.into_iter().zip(&logprobs[..]);
        Ok(drawn.map(|(sampling::Picked { token, likeliest }, &logprob)| Drawn { token, logprob, likeliest }).collect())
    }
    fn adamw(
        &self,
        config: &AdamW,
        grad_scale: f32,
        grad: &Buffer,
        param: &mut Buffer,
        m: &mut Buffer,
        v: &mut Buffer,
    ) {
        adamw::update(&self.cpu, translate::adamw(config), grad_scale, grad, param, m, v);
    }
    fn muon_workspace(&self, dims: Dims) -> usize {
        muon::workspace_len(dims.n, dims.k)
    }
    fn muon(
        &self,
        config: &Muon,
        grad_scale: f32,
        grad: &Buffer,
        param: &mut Buffer,
        m: &mut Buffer,
        dims: Dims,
        workspace: &mut Buffer,
    ) {
        muon::update(&self.cpu, translate::muon(config), grad_scale, grad, param, m, dims.n, dims.k, workspace);
    }
}

/// The values of `rows` rows of `width`.
fn scaled(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

/// Values that a page takes in each layer.
fn page_lens(layouts: &[AttentionShape], form: CacheForm) -> Vec<usize> {
    let form = translate::cache_form(form);
    layouts.iter().map(|layer| attention::page_len(&translate::attention(layer), form)).collect()
}
