//! [`Ops`] on this machine's processor, with or without vector instructions: the same bits either way.

mod translate;

use crate::ops::{
    AdamW, AttentionGrads, AttentionSaved, AttentionShape, CachedSpan, Contract, Dims, MlaDims, Ops, Rotation,
    RouterConfig, Routing,
};
use crate::pool::{Buffer, Pool};
use picnic_kernels::gemm::Packed;
use picnic_kernels::moe::{self, Dispatch};
use picnic_kernels::rope::{self, Rope};
use picnic_kernels::{
    Cpu, adamw, attention, columns, embedding, linear, logprob, norm, router, sampling, swiglu, vector,
};
use std::ops::Range;
use std::sync::Arc;
use translate::Cosines;

/// Computes with the kernels of `picnic-kernels`. A clone shares threads and memory.
#[derive(Clone)]
pub struct CpuOps {
    cpu: Arc<Cpu>,
    pool: Pool,
    cosines: Arc<Cosines>,
}

impl CpuOps {
    /// Computes on `cpu`: with [`Isa::scalar`](picnic_kernels::Isa::scalar) in it, this is the oracle.
    pub fn new(cpu: Cpu) -> CpuOps {
        CpuOps { cpu: Arc::new(cpu), pool: Pool::default(), cosines: Arc::default() }
    }

    /// The best instructions of this processor and `threads` threads.
    ///
    /// # Errors
    /// If the system refuses to start the threads.
    pub fn with_threads(threads: usize) -> Result<CpuOps, std::io::Error> {
        Ok(CpuOps::new(Cpu::new(threads)?))
    }
}

/// Keys and values of every layer.
pub struct CpuCache {
    layers: Vec<LayerCache>,
}

/// Pages of one layer, each allocated when first written.
struct LayerCache {
    /// Values in a page.
    page_len: usize,
    pages: Vec<Vec<f32>>,
}

impl Ops for CpuOps {
    type Buffer = Buffer;
    type Panels = Packed;
    type Cache = CpuCache;

    const CONTRACT: Contract = Contract::Exact;
    const PAGE_TOKENS: usize = attention::PAGE;

    fn zeros(&self, len: usize) -> Buffer {
        let mut buffer = self.pool.take(len);
        buffer.fill(0.0);
        buffer
    }
    fn scratch(&self, len: usize) -> Buffer {
        self.pool.take(len)
    }
    fn upload(&self, values: &[f32]) -> Buffer {
        let mut buffer = self.pool.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
    fn download(&self, x: &Buffer) -> Vec<f32> {
        x.to_vec()
    }
    fn copy(&self, x: &Buffer) -> Buffer {
        self.upload(x)
    }
    fn write(&self, x: &mut Buffer, values: &[f32]) {
        x.copy_from_slice(values);
    }
    fn len(&self, x: &Buffer) -> usize {
        x.len()
    }

    fn pack(&self, w: &Buffer, k: usize, panels: &mut Packed) {
        linear::repack_weight(w, w.len() / k, k, panels);
    }
    fn empty_panels(&self) -> Packed {
        Packed::default()
    }
    fn linear(&self, rows: Range<usize>, x: &Buffer, w: &Packed, bias: Option<&Buffer>, y: &mut Buffer, dims: Dims) {
        let (x, y) = (&x[scaled(&rows, dims.k)], &mut y[scaled(&rows, dims.n)]);
        linear::forward(&self.cpu, x, w, bias.map(|b| &b[..]), y);
    }
    fn linear_dx(&self, rows: Range<usize>, dy: &Buffer, w: &Buffer, dx: &mut Buffer, dims: Dims, overwrite: bool) {
        let (dy, dx) = (&dy[scaled(&rows, dims.n)], &mut dx[scaled(&rows, dims.k)]);
        linear::backward_input_rows(&self.cpu, dy, w, dx, !overwrite);
    }
    fn linear_dw(&self, rows: Range<usize>, x: &Buffer, dy: &Buffer, dw: &mut Buffer, dims: Dims) {
        let (x, dy) = (&x[scaled(&rows, dims.k)], &dy[scaled(&rows, dims.n)]);
        linear::backward_weight_rows(&self.cpu, x, dy, dw);
    }
    fn linear_db(&self, dy: &Buffer, db: &mut Buffer) {
        linear::backward_bias(&self.cpu, dy, db);
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
    fn rope(&self, x: &mut Buffer, rotation: &Rotation, positions: &[u32], inverse: bool) {
        let Rotation { head_dim, offset, dim, style, ref table } = *rotation;
        let table = &self.cosines.of(table);
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
    fn sum_of_squares(&self, x: &Buffer) -> f64 {
        vector::sum_of_squares(&self.cpu, x)
    }

    fn embedding(&self, table: &Buffer, ids: &[u32], out: &mut Buffer) {
        embedding::forward(&self.cpu, table, ids, out);
    }
    fn embedding_backward(&self, dout: &Buffer, ids: &[u32], dtable: &mut Buffer) {
        embedding::backward(&self.cpu, dout, ids, dtable);
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
    fn page_bytes(&self, layouts: &[AttentionShape]) -> usize {
        layouts.iter().map(|layer| attention::page_len(&translate::attention(layer)) * size_of::<f32>()).sum()
    }
    fn cache(&self, layouts: &[AttentionShape]) -> CpuCache {
        let layer =
            |shape| LayerCache { page_len: attention::page_len(&translate::attention(shape)), pages: Vec::new() };
        CpuCache { layers: layouts.iter().map(layer).collect() }
    }
    fn attention_cached(
        &self,
        shape: &AttentionShape,
        q: &Buffer,
        k: &Buffer,
        v: &Buffer,
        cache: &mut CpuCache,
        layer: usize,
        spans: &[CachedSpan],
        out: &mut Buffer,
    ) {
        let shape = &translate::attention(shape);
        let LayerCache { page_len, pages } = &mut cache.layers[layer];
        let (k_width, v_width) = (shape.kv_heads * shape.dk, shape.kv_heads * shape.dv);
        for span in spans {
            for (i, row) in span.rows.clone().enumerate() {
                let position = span.start + i;
                let page = span.pages[position / attention::PAGE] as usize;
                if pages.len() <= page {
                    pages.resize(page + 1, Vec::new());
                }
                if pages[page].is_empty() {
                    pages[page] = vec![0.0; *page_len];
                }
                let (k, v) = (&k[row * k_width..][..k_width], &v[row * v_width..][..v_width]);
                attention::append(shape, k, v, &mut pages[page], position % attention::PAGE);
            }
        }
        let pages_of = |span: &CachedSpan| -> Vec<&[f32]> {
            let used = (span.start + span.rows.len()).div_ceil(attention::PAGE);
            span.pages[..used].iter().map(|&page| &pages[page as usize][..]).collect()
        };
        let lists: Vec<Vec<&[f32]>> = spans.iter().map(pages_of).collect();
        let cached: Vec<attention::CachedSpan> = spans
            .iter()
            .zip(&lists)
            .map(|(span, pages)| attention::CachedSpan { rows: span.rows.clone(), start: span.start, pages })
            .collect();
        attention::forward_cached(&self.cpu, shape, q, &cached, out);
    }

    fn route(&self, logits: &Buffer, bias: Option<&Buffer>, config: &RouterConfig) -> Routing<Buffer> {
        let rows = logits.len() / config.experts;
        let (mut scores, mut weights) = (self.scratch(logits.len()), self.scratch(rows * config.top_k));
        let mut ids = vec![0; rows * config.top_k];
        router::route(
            &self.cpu,
            logits,
            bias.map(|b| &b[..]),
            &translate::router(config),
            &mut scores,
            &mut ids,
            &mut weights,
        );
        Routing { scores, ids, weights }
    }
    fn route_backward(&self, r: &Routing<Buffer>, dweights: &Buffer, config: &RouterConfig, dlogits: &mut Buffer) {
        router::backward(&self.cpu, &r.scores, &r.ids, dweights, &translate::router(config), dlogits);
    }
    fn balance_loss(&self, r: &Routing<Buffer>, spans: &[Range<usize>], config: &RouterConfig, alpha: f32) -> f64 {
        router::balance_loss(&self.cpu, &r.scores, &r.ids, spans, &translate::router(config), alpha)
    }
    fn balance_loss_backward(
        &self,
        r: &Routing<Buffer>,
        spans: &[Range<usize>],
        config: &RouterConfig,
        alpha: f32,
        dlogits: &mut Buffer,
    ) {
        router::balance_loss_backward(&self.cpu, &r.scores, &r.ids, spans, &translate::router(config), alpha, dlogits);
    }
    fn dispatch(&self, x: &Buffer, dispatch: &Dispatch, out: &mut Buffer) {
        moe::gather(&self.cpu, x, &dispatch.token_of_slot, out);
    }
    fn dispatch_backward(&self, dout: &Buffer, dispatch: &Dispatch, dx: &mut Buffer) {
        moe::gather_backward(&self.cpu, dout, &dispatch.slot_of, dx);
    }
    fn combine(&self, y: &Buffer, weights: &Buffer, dispatch: &Dispatch, out: &mut Buffer) {
        moe::combine(&self.cpu, y, weights, &dispatch.slot_of, out);
    }
    fn combine_backward(
        &self,
        dout: &Buffer,
        y: &Buffer,
        weights: &Buffer,
        dispatch: &Dispatch,
        dy: &mut Buffer,
        dweights: &mut Buffer,
    ) {
        moe::combine_backward(&self.cpu, dout, y, weights, dispatch, dy, dweights);
    }
    fn slice_rows(&self, x: &Buffer, rows: Range<usize>, width: usize) -> Buffer {
        self.upload(&x[scaled(&rows, width)])
    }
    fn write_rows(&self, x: &mut Buffer, start: usize, width: usize, from: &Buffer) {
        x[start * width..][..from.len()].copy_from_slice(from);
    }
    fn take_rows(&self, x: &Buffer, rows: &[u32], _width: usize, out: &mut Buffer) {
        embedding::forward(&self.cpu, x, rows, out);
    }

    fn logprobs(&self, logits: &Buffer, targets: &[u32], stats: &mut Buffer) -> Vec<f32> {
        let mut logprobs = vec![0.0; targets.len()];
        logprob::logprobs(&self.cpu, logits, targets, &mut logprobs, stats);
        logprobs
    }
    fn entropy(&self, logits: &Buffer, stats: &Buffer) -> Vec<f32> {
        let mut entropy = vec![0.0; stats.len() / 2];
        logprob::entropy(&self.cpu, logits, stats, &mut entropy);
        entropy
    }
    fn sampling_weights(&self, logits: &Buffer, inv_temperatures: &[f32]) -> Vec<f32> {
        let mut weights = vec![0.0; logits.len()];
        sampling::weights(&self.cpu, logits, inv_temperatures, &mut weights);
        weights
    }
    fn logprobs_backward(&self, logits: &mut Buffer, targets: &[u32], stats: &Buffer, g: &[f32]) {
        logprob::backward_in_place(&self.cpu, logits, targets, stats, g);
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
}

/// The values of `rows` rows of `width`.
fn scaled(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}
