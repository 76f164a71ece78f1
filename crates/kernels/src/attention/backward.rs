//! The gradient of attention, with the probabilities computed again block by block.
//!
//! For each row: p = exp(s − max) · (1 / sum), δ = Σ dout·out by 32 lanes, dp = chain dout·v, ds = p·(dp − δ)·scale.
//! Then dq += ds·K (chain over keys), dk += dsᵀ·Q and dv += pᵀ·dout (chains over rows: tokens, then heads of the
//! group).

use super::Shape;
use super::pages::{PAGE, copy, write_column};
use super::rows::{BLOCK, Rows, scaled, share, weights};
use crate::gemm::{Matrix, panel_product};
use crate::simd::{Isa, LANES};
use crate::team::Shared;
use crate::{Cpu, scratch};
use std::ops::Range;

/// The gradients `dq` `[T, H, dk]`, `dk` `[T, kv_heads, dk]` and `dv` `[T, kv_heads, dv]`, given what
/// [`forward`](super::forward()) read (`q`, `k`, `v`, `spans`) and wrote (`out`, `stats`) and the gradient `dout` of
/// its output.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    cpu: &Cpu,
    shape: &Shape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &[f32],
    stats: &[f32],
    dout: &[f32],
    spans: &[Range<usize>],
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    shape.check();
    let (heads, kv_heads) = (shape.heads, shape.kv_heads);
    let tokens = q.len() / (heads * shape.dk);
    for (name, len, width) in [
        ("q", q.len(), heads * shape.dk),
        ("dq", dq.len(), heads * shape.dk),
        ("k", k.len(), kv_heads * shape.dk),
        ("dk", dk.len(), kv_heads * shape.dk),
        ("v", v.len(), kv_heads * shape.dv),
        ("dv", dv.len(), kv_heads * shape.dv),
        ("out", out.len(), heads * shape.dv),
        ("dout", dout.len(), heads * shape.dv),
        ("stats", stats.len(), heads * 2),
    ] {
        assert_eq!(len, tokens * width, "{name} of {tokens} rows of {width}");
    }
    let multiply_adds = spans.iter().map(|span| span.len().pow(2) * heads * (shape.dk + shape.dv)).sum();
    let (dq, dk, dv) = (&Shared::new(dq), &Shared::new(dk), &Shared::new(dv));
    let pass = Pass { isa: cpu.isa, shape, q, k, v, out, stats, dout, dq, dk, dv };
    share(&cpu.team, spans.len() * kv_heads, multiply_adds, |unit| {
        let span = &spans[unit / kv_heads];
        assert!(span.end <= tokens, "rows {span:?} of {tokens}");
        pass.head(span, unit % kv_heads);
    });
}

/// The arguments of [`backward`].
struct Pass<'a> {
    isa: Isa,
    shape: &'a Shape,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: &'a [f32],
    stats: &'a [f32],
    dout: &'a [f32],
    dq: &'a Shared<'a, f32>,
    dk: &'a Shared<'a, f32>,
    dv: &'a Shared<'a, f32>,
}

impl Pass<'_> {
    /// One key/value head of one sequence, block of query rows by block.
    fn head(&self, span: &Range<usize>, head: usize) {
        let Shape { kv_heads, dk, dv, .. } = *self.shape;
        let (n, pages) = (span.len(), span.len().div_ceil(PAGE));
        let (dk_wide, dv_wide) = (dk.next_multiple_of(LANES), dv.next_multiple_of(LANES));
        // Not a power of two, or the columns that dk and dv read down would share a few cache sets.
        let width = pages * PAGE + LANES / 2;
        let keys = span.clone().map(|t| t * kv_heads + head);
        let sizes = [
            pages * PAGE * dk,
            pages * PAGE * dv,
            n * dk_wide,
            n * dk_wide,
            n * dv_wide,
            BLOCK * width,
            BLOCK * width,
            BLOCK * (2 * dk_wide + dk),
            BLOCK * (dv_wide + dv),
        ];
        scratch::with(sizes.iter().sum(), |mut free| {
            let [k_columns, v_columns, k_panels, dk_rows, dv_rows, p, ds, block_q, block_out] = sizes.map(|len| {
                let (part, rest) = std::mem::take(&mut free).split_at_mut(len);
                free = rest;
                part
            });
            to_columns(self.k, dk, keys.clone(), k_columns);
            to_columns(self.v, dv, keys.clone(), v_columns);
            to_panels(self.k, dk, keys.clone(), k_panels);
            dk_rows.fill(0.0);
            dv_rows.fill(0.0);
            let pairs = n * self.shape.group();
            for pair in (0..pairs).step_by(BLOCK) {
                let pairs = pair..pairs.min(pair + BLOCK);
                let rows = Rows { pairs, first: span.start, start: 0, head };
                let (m, n) = (rows.pairs.len(), rows.keys(self.shape));
                let (q, rest) = block_q.split_at_mut(m * dk);
                let (q_panels, dq) = rest.split_at_mut(m * dk_wide);
                let (dout, dout_panels) = block_out.split_at_mut(m * dv);
                let (dq, dout_panels) = (&mut dq[..m * dk_wide], &mut dout_panels[..m * dv_wide]);
                let indices = rows.indices(self.shape);
                to_rows(self.q, dk, indices.clone(), q);
                to_rows(self.dout, dv, indices.clone(), dout);
                to_panels(self.q, dk, indices.clone(), q_panels);
                to_panels(self.dout, dv, indices.clone(), dout_panels);
                dq.fill(0.0);

                let used = n.next_multiple_of(PAGE);
                product(self.isa, Matrix::rows(q, dk), m, dk, &k_columns[..used * dk], p, width);
                product(self.isa, Matrix::rows(dout, dv), m, dv, &v_columns[..used * dv], ds, width);
                probabilities(self.isa, self.shape, &rows, self.out, self.dout, self.stats, p, ds, width);
                accumulate(self.isa, Matrix::rows(ds, width), m, n, k_panels, dq, dk_wide);
                accumulate(self.isa, Matrix::rows(ds, width).transposed(), n, m, q_panels, dk_rows, dk_wide);
                accumulate(self.isa, Matrix::rows(p, width).transposed(), n, m, dout_panels, dv_rows, dv_wide);
                store_rows(dq, self.dq, dk, indices);
            }
            store_rows(dk_rows, self.dk, dk, keys.clone());
            store_rows(dv_rows, self.dv, dv, keys);
        });
    }
}

/// C = A·B for `a` `[m, k]` and panels `[.., k, 32]` side by side.
fn product(isa: Isa, a: Matrix, m: usize, k: usize, panels: &[f32], c: &mut [f32], row_stride: usize) {
    for (i, panel) in panels.chunks_exact(k * LANES).enumerate() {
        panel_product(isa, a, m, k, panel, &[], &mut c[i * LANES..], row_stride, LANES, false);
    }
}

/// C += A·B for `a` `[m, k]`, `c` `[m, width]` and as many panels, each of at least k rows, as make up `width`.
fn accumulate(isa: Isa, a: Matrix, m: usize, k: usize, panels: &[f32], c: &mut [f32], width: usize) {
    let panel_len = panels.len() / (width / LANES);
    for (i, panel) in panels.chunks_exact(panel_len).enumerate() {
        panel_product(isa, a, m, k, panel, &[], &mut c[i * LANES..], width, LANES, true);
    }
}

crate::kernel! {
    /// Turns `p` from scores into probabilities and `ds` from dout·v into the gradient of q·k, +0 where masked.
    fn probabilities<S>(s, shape: &Shape, rows: &Rows, out: &[f32], dout: &[f32], stats: &[f32], p: &mut [f32], ds: &mut [f32], width: usize) {
        let dv = shape.dv;
        let used = rows.keys(shape).next_multiple_of(LANES);
        let buffers = p.chunks_mut(width).zip(ds.chunks_mut(width));
        for ((limit, index), (p, ds)) in rows.limits(shape).zip(rows.indices(shape)).zip(buffers) {
            let mut delta = s.splat(0.0);
            for (a, b) in out[index * dv..][..dv].chunks(LANES).zip(dout[index * dv..][..dv].chunks(LANES)) {
                delta = s.fma(s.load_partial(a, 0.0), s.load_partial(b, 0.0), delta);
            }
            let delta = s.splat(s.sum(delta));
            let (max, inverse) = (stats[2 * index], s.splat(1.0 / stats[2 * index + 1]));
            let (p, p_masked) = p[..used].as_chunks_mut::<LANES>().0.split_at_mut(limit.div_ceil(LANES));
            let (ds, ds_masked) = ds[..used].as_chunks_mut::<LANES>().0.split_at_mut(limit.div_ceil(LANES));
            for (i, (p, ds)) in p.iter_mut().zip(ds).enumerate() {
                let x = scaled(s, p, shape.scale, limit, i * LANES);
                let y = s.mul(weights(s, x, max, limit, i * LANES), inverse);
                s.store(p, y);
                let d = s.mul(y, s.sub(s.load(ds), delta));
                s.store(ds, s.mul(d, s.splat(shape.scale)));
            }
            p_masked.as_flattened_mut().fill(0.0);
            ds_masked.as_flattened_mut().fill(0.0);
        }
    }
}

/// The rows `indices` of `x`, each of `width` values, one after another.
fn to_rows(x: &[f32], width: usize, indices: impl Iterator<Item = usize>, to: &mut [f32]) {
    for (to, i) in to.chunks_exact_mut(width).zip(indices) {
        copy(&x[i * width..][..width], to);
    }
}

/// The rows `indices` of `x` as the columns of panels `[width, 32]`.
fn to_columns(x: &[f32], width: usize, indices: impl Iterator<Item = usize>, to: &mut [f32]) {
    for (slot, i) in indices.enumerate() {
        let panel = &mut to[slot / LANES * width * LANES..][..width * LANES];
        write_column(&x[i * width..][..width], panel, slot % LANES);
    }
}

/// The rows `indices` of `x` cut into panels `[rows, 32]` that fill `to`, zeros past the width.
fn to_panels(x: &[f32], width: usize, indices: impl Iterator<Item = usize>, to: &mut [f32]) {
    let panel_len = to.len() / width.div_ceil(LANES);
    for (row, i) in indices.enumerate() {
        for (c, from) in x[i * width..][..width].chunks(LANES).enumerate() {
            copy(from, &mut to[c * panel_len + row * LANES..][..LANES]);
        }
    }
}

/// Writes rows padded to a multiple of 32 as the rows `indices` of a gradient. Those rows must be the caller's own.
fn store_rows(from: &[f32], x: &Shared<f32>, width: usize, indices: impl Iterator<Item = usize>) {
    for (from, i) in from.chunks_exact(width.next_multiple_of(LANES)).zip(indices) {
        // SAFETY: no one else uses the rows of this sequence and head.
        copy(&from[..width], unsafe { x.part(i * width..(i + 1) * width) });
    }
}
