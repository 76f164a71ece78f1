//! RMSNorm (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", section 4), forward and backward.
//!
//! y = x · inv_rms · w with inv_rms = 1 / √(mean(x²) + ε), multiplied in this order as Hugging Face does. Left out:
//! the mean and bias of LayerNorm, which no model here has.
//!
//! R: rows, D: width of a row (the weight's length).

use crate::Cpu;
use crate::simd::LANES;
use crate::team::Shared;

/// `x` `[R, D]` → `y` `[R, D]` and `inv_rms` `[R]`, both overwritten.
pub fn forward(cpu: &Cpu, x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], inv_rms: &mut [f32]) {
    let (rows, dim) = (inv_rms.len(), weight.len());
    assert!(dim > 0, "rmsnorm: empty weight");
    assert_eq!(x.len(), rows * dim, "rmsnorm: x is not {rows} × {dim}");
    assert_eq!(y.len(), rows * dim, "rmsnorm: y is not {rows} × {dim}");
    let (y, inv_rms) = (Shared::new(y), Shared::new(inv_rms));
    cpu.split_rows(rows, dim, |rows| {
        let values = rows.start * dim..rows.end * dim;
        // SAFETY: teams get disjoint rows.
        let (y, inv_rms) = unsafe { (y.part(values.clone()), inv_rms.part(rows)) };
        forward_rows(cpu.isa, &x[values], weight, eps, y, inv_rms);
    });
}

/// dx += inv_rms·(g − x·inv_rms²·mean(g·x)) with g = `dy`·w, and dw += Σ `dy`·(x·inv_rms), a chain over rows in
/// ascending order; `dw` is `None` for a frozen weight.
pub fn backward(
    cpu: &Cpu,
    x: &[f32],
    weight: &[f32],
    inv_rms: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dw: Option<&mut [f32]>,
) {
    let (rows, dim) = (inv_rms.len(), weight.len());
    assert!(dim > 0, "rmsnorm: empty weight");
    for (name, len) in [("x", x.len()), ("dy", dy.len()), ("dx", dx.len())] {
        assert_eq!(len, rows * dim, "rmsnorm: {name} is not {rows} × {dim}");
    }
    let dx = Shared::new(dx);
    cpu.split_rows(rows, dim, |rows| {
        let values = rows.start * dim..rows.end * dim;
        // SAFETY: teams get disjoint rows.
        let dx = unsafe { dx.part(values.clone()) };
        let (x, dy) = (&x[values.clone()], &dy[values]);
        backward_rows(cpu.isa, x, weight, &inv_rms[rows], dy, dx);
    });
    if let Some(dw) = dw {
        assert_eq!(dw.len(), dim, "rmsnorm: dw is not {dim}");
        let dw = Shared::new(dw);
        cpu.split_columns(rows, dim, |columns| {
            // SAFETY: teams get disjoint columns.
            let part = unsafe { dw.part(columns.clone()) };
            backward_weight(cpu.isa, x, inv_rms, dy, dim, columns.start, part);
        });
    }
}

crate::kernel! {
    fn forward_rows<S>(s, x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], inv_rms: &mut [f32]) {
        let dim = weight.len();
        let rows = x.chunks_exact(dim).zip(y.chunks_exact_mut(dim));
        for ((x, y), inv_rms) in rows.zip(inv_rms) {
            let mut squares = s.splat(0.0);
            for i in (0..dim).step_by(LANES) {
                let v = s.load_partial(&x[i..], 0.0);
                squares = s.fma(v, v, squares);
            }
            *inv_rms = 1.0 / (s.sum(squares) / dim as f32 + eps).sqrt();
            let inv = s.splat(*inv_rms);
            for i in (0..dim).step_by(LANES) {
                let (v, w) = (s.load_partial(&x[i..], 0.0), s.load_partial(&weight[i..], 0.0));
                s.store_partial(&mut y[i..], s.mul(s.mul(v, inv), w));
            }
        }
    }
}

crate::kernel! {
    fn backward_rows<S>(s, x: &[f32], weight: &[f32], inv_rms: &[f32], dy: &[f32], dx: &mut [f32]) {
        let dim = weight.len();
        let rows = x.chunks_exact(dim).zip(dy.chunks_exact(dim)).zip(dx.chunks_exact_mut(dim));
        for (((x, dy), dx), &inv) in rows.zip(inv_rms) {
            let mut dot = s.splat(0.0);
            for i in (0..dim).step_by(LANES) {
                let g = s.mul(s.load_partial(&dy[i..], 0.0), s.load_partial(&weight[i..], 0.0));
                dot = s.fma(g, s.load_partial(&x[i..], 0.0), dot);
            }
            let along_x = s.splat(-(inv * inv * inv * (s.sum(dot) / dim as f32)));
            let inv = s.splat(inv);
            for i in (0..dim).step_by(LANES) {
                let g = s.mul(s.load_partial(&dy[i..], 0.0), s.load_partial(&weight[i..], 0.0));
                let d = s.fma(inv, g, s.load_partial(&dx[i..], 0.0));
                s.store_partial(&mut dx[i..], s.fma(along_x, s.load_partial(&x[i..], 0.0), d));
            }
        }
    }
}

/// Rows between two visits to `dw`.
const BLOCK_ROWS: usize = 16;

crate::kernel! {
    /// The columns of `dw` from `first` on.
    fn backward_weight<S>(s, x: &[f32], inv_rms: &[f32], dy: &[f32], dim: usize, first: usize, dw: &mut [f32]) {
        let blocks = x.chunks(BLOCK_ROWS * dim).zip(dy.chunks(BLOCK_ROWS * dim));
        for ((x, dy), inv_rms) in blocks.zip(inv_rms.chunks(BLOCK_ROWS)) {
            for i in (0..dw.len()).step_by(LANES) {
                let columns = first + i..first + dw.len().min(i + LANES);
                let mut sum = s.load_partial(&dw[i..], 0.0);
                let rows = x.chunks_exact(dim).zip(dy.chunks_exact(dim));
                for ((x, dy), &inv) in rows.zip(inv_rms) {
                    let normed = s.mul(s.load_partial(&x[columns.clone()], 0.0), s.splat(inv));
                    sum = s.fma(s.load_partial(&dy[columns.clone()], 0.0), normed, sum);
                }
                s.store_partial(&mut dw[i..], sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    const EPS: f32 = 1e-5;

    /// The definition.
    fn slow(x: &[f64], w: &[f64]) -> Vec<f64> {
        let row = |x: &[f64]| {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
            let inv = 1.0 / (mean + EPS as f64).sqrt();
            x.iter().zip(w).map(|(x, w)| x * inv * w).collect::<Vec<_>>()
        };
        x.chunks(w.len()).flat_map(row).collect()
    }

    fn run(cpu: &Cpu, x: &[f32], w: &[f32]) -> [Vec<f32>; 2] {
        let (mut y, mut inv) = (vec![0.0; x.len()], vec![0.0; x.len() / w.len()]);
        forward(cpu, x, w, EPS, &mut y, &mut inv);
        [y, inv]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn same_bits_everywhere_and_in_any_chunks(rows in 0usize..200, dim in 1usize..300, seed: u32, cut in 0usize..200) {
            let (x, w) = (noise(rows * dim, seed), noise(dim, seed ^ 1));
            let [y, inv] = same_everywhere(|cpu| run(cpu, &x, &w));
            // Sums of at most 10 terms a lane and five levels of tree: 16 roundings.
            assert_close("y", &y, &slow(&to_f64(&x), &to_f64(&w)), 16.0 * 6e-8);

            let dy = noise(rows * dim, seed ^ 2);
            let (dx0, dw0) = (noise(rows * dim, seed ^ 3), noise(dim, seed ^ 4));
            let [dx, dw] = same_everywhere(|cpu| {
                let (mut dx, mut dw) = (dx0.clone(), dw0.clone());
                backward(cpu, &x, &w, &inv, &dy, &mut dx, Some(&mut dw));
                [dx, dw]
            });

            let at = cut.min(rows);
            let cpu = &cpus()[cpus().len() - 1];
            let (mut dx2, mut dw2) = (dx0.clone(), dw0.clone());
            for rows in [0..at, at..rows] {
                let values = rows.start * dim..rows.end * dim;
                let part = run(cpu, &x[values.clone()], &w);
                assert_same_bits("y in chunks", &part[0], &y[values.clone()]);
                let (x, dy, dx) = (&x[values.clone()], &dy[values.clone()], &mut dx2[values]);
                backward(cpu, x, &w, &inv[rows], dy, dx, Some(&mut dw2));
            }
            assert_same_bits("dx in chunks", &dx2, &dx);
            assert_same_bits("dw in chunks", &dw2, &dw);
        }
    }

    #[test]
    fn backward_is_the_derivative() {
        let (rows, dim) = (3, 37);
        let (x, w, dy) = (noise(rows * dim, 1), noise(dim, 2), noise(rows * dim, 3));
        let [_, inv] = run(&plain(), &x, &w);
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; dim]);
        backward(&plain(), &x, &w, &inv, &dy, &mut dx, Some(&mut dw));
        // A few roundings of f32 at gradients of a few units.
        let w64 = to_f64(&w);
        assert_close("dx", &dx, &gradient(&x, |x| dot(&slow(x, &w64), &dy)), 2e-6);
        let x64 = to_f64(&x);
        assert_close("dw", &dw, &gradient(&w, |w| dot(&slow(&x64, w), &dy)), 2e-6);
    }
}
