//! Muon (Jordan et al. 2024): the momentum of a weight's gradient made orthogonal, so that a step moves all directions
//! by about the same amount, as used with DeepSeek-V3's architecture by Moonlight (Liu et al. 2025, "Muon is Scalable for
//! LLM Training", equations 1 to 4).
//!
//! The singular values of the momentum are brought near 1 by five steps of a Newton–Schulz iteration, products of
//! matrices alone. Left out: vectors and tables, which AdamW moves, and which weight is which, which the trainer knows.

use crate::Cpu;
use crate::gemm::{Matrix, Product, Right, Shape, Target, gemm};
use crate::panels::{self, Panels};
use crate::simd::LANES;
use crate::team::Shared;
use crate::vector;

/// One step's settings.
#[derive(Clone, Copy, Debug)]
pub struct Muon {
    /// Learning rate, of the size that AdamW's has: see [`SAME_SIZE`].
    pub lr: f64,
    /// Decay of the sum of gradients.
    pub momentum: f64,
    /// Share of `lr` by which a parameter shrinks.
    pub weight_decay: f64,
}

/// Steps of the iteration.
const STEPS: usize = 5;
/// Its polynomial a·x + b·x³ + c·x⁵, steep at 0 (Jordan et al. 2024): after five steps singular values are between about
/// 0.7 and 1.2, but for those below some thousandth of the norm, which stay smaller.
const POLYNOMIAL: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// A step's root mean square over lr: about that of AdamW's steps, so that both go by one learning rate (Liu et al. 2025,
/// equation 4, times √max(n, k)).
const SAME_SIZE: f64 = 0.2;
/// Added to the norm that the momentum is divided by.
const EPS: f64 = 1e-7;

/// One step on the weight `param` `[n, k]` with g = `grad`·`grad_scale` and the momentum `m`, all three in panels:
///
/// m = μ·m + g; U Σ Vᵀ = g + μ·m; p = (1 − lr·wd)·p − lr·0.2·√max(n, k) · U Vᵀ, the last product up to the error of the
/// iteration. `workspace` has at least [`workspace_len`] values, whatever they are.
#[allow(clippy::too_many_arguments)]
pub fn update(
    cpu: &Cpu,
    config: Muon,
    grad_scale: f32,
    grad: &[f32],
    param: &mut [f32],
    m: &mut [f32],
    n: usize,
    k: usize,
    workspace: &mut [f32],
) {
    let len = panels::len(n, k);
    assert!(grad.len() == len && param.len() == len && m.len() == len, "muon: panels of {n} × {k}");
    if n * k == 0 {
        return;
    }
    let (step, workspace) = workspace.split_at_mut(len);
    let (rows, workspace) = workspace.split_at_mut(n * k);
    push(cpu, grad_scale, config.momentum as f32, grad, m, step);
    panels::to_rows(cpu, Panels::new(step, n, k), rows);
    orthogonalise(cpu, rows, n, k, workspace);
    panels::from_rows(rows, n, k, step);
    let keep = (1.0 - config.lr * config.weight_decay) as f32;
    let size = (-config.lr * SAME_SIZE * (n.max(k) as f64).sqrt()) as f32;
    combine_in_place(cpu, keep, param, size, step);
}

/// Values that [`update`] needs to work in for a weight `[n, k]`.
pub fn workspace_len(n: usize, k: usize) -> usize {
    let short = n.min(k);
    panels::len(n, k) + 2 * n * k + 2 * short * short
}

/// Brings the singular values of `x` `[n, k]` near 1.
fn orthogonalise(cpu: &Cpu, x: &mut [f32], n: usize, k: usize, workspace: &mut [f32]) {
    let norm = vector::sum_of_squares(cpu, x).sqrt() + EPS;
    vector::scale_assign(cpu, x, (1.0 / norm) as f32);
    // The products are smallest with the shorter side outside: X·Xᵀ·X, or X·(Xᵀ·X).
    let short = n.min(k);
    let [a, b, c] = POLYNOMIAL;
    let (gram, workspace) = workspace.split_at_mut(short * short);
    let (square, workspace) = workspace.split_at_mut(short * short);
    let product = &mut workspace[..n * k];
    for _ in 0..STEPS {
        let rows = Matrix::rows(x, k);
        let (left, right, chain) = if n <= k { (rows, rows.transposed(), k) } else { (rows.transposed(), rows, n) };
        multiply(cpu, left, right, gram, [short, short, chain]);
        let whole = Matrix::rows(gram, short);
        multiply(cpu, whole, whole, square, [short; 3]);
        combine_in_place(cpu, c, square, b, gram);
        let both = Matrix::rows(square, short);
        match n <= k {
            true => multiply(cpu, both, rows, product, [n, k, n]),
            false => multiply(cpu, rows, both, product, [n, k, k]),
        }
        combine_in_place(cpu, a, x, 1.0, product);
    }
}

/// c = a·b for sizes M, N, K.
fn multiply(cpu: &Cpu, a: Matrix, b: Matrix, c: &mut [f32], [m, n, k]: [usize; 3]) {
    let shape = Shape { m, n, k, accumulate: false };
    gemm(cpu.isa, &cpu.team, Product { shape, a, b: Right::Matrix(b), c: Target::rows(c, n) });
}

/// m = μ·m + g, step = g + μ·m.
fn push(cpu: &Cpu, grad_scale: f32, momentum: f32, grad: &[f32], m: &mut [f32], step: &mut [f32]) {
    let (n, m, step) = (grad.len(), Shared::new(m), Shared::new(step));
    cpu.split_columns(1, n, |part| {
        // SAFETY: teams get disjoint parts.
        let (m, step) = unsafe { (m.part(part.clone()), step.part(part.clone())) };
        push_part(cpu.isa, grad_scale, momentum, &grad[part], m, step);
    });
}

/// x = p·x + q·y.
fn combine_in_place(cpu: &Cpu, p: f32, x: &mut [f32], q: f32, y: &[f32]) {
    let (n, x) = (x.len(), Shared::new(x));
    cpu.split_columns(1, n, |part| {
        // SAFETY: teams get disjoint parts.
        combine_part(cpu.isa, p, unsafe { x.part(part.clone()) }, q, &y[part]);
    });
}

crate::kernel! {
    fn push_part<S>(s, grad_scale: f32, momentum: f32, grad: &[f32], m: &mut [f32], step: &mut [f32]) {
        for i in (0..grad.len()).step_by(LANES) {
            let g = s.mul(s.load_partial(&grad[i..], 0.0), s.splat(grad_scale));
            let m_new = s.fma(s.splat(momentum), s.load_partial(&m[i..], 0.0), g);
            s.store_partial(&mut m[i..], m_new);
            s.store_partial(&mut step[i..], s.fma(s.splat(momentum), m_new, g));
        }
    }
}

crate::kernel! {
    fn combine_part<S>(s, p: f32, x: &mut [f32], q: f32, y: &[f32]) {
        for i in (0..x.len()).step_by(LANES) {
            let kept = s.mul(s.load_partial(&x[i..], 0.0), s.splat(p));
            s.store_partial(&mut x[i..], s.fma(s.splat(q), s.load_partial(&y[i..], 0.0), kept));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    const CONFIG: Muon = Muon { lr: 3e-3, momentum: 0.95, weight_decay: 0.1 };

    fn in_panels(rows: &[f32], n: usize, k: usize) -> Vec<f32> {
        let mut panels = vec![0.0; panels::len(n, k)];
        panels::from_rows(rows, n, k, &mut panels);
        panels
    }

    fn in_rows(panels: &[f32], n: usize, k: usize) -> Vec<f32> {
        let mut rows = vec![0.0; n * k];
        panels::to_rows(&plain(), Panels::new(panels, n, k), &mut rows);
        rows
    }

    /// One step from no momentum.
    fn first_step(cpu: &Cpu, config: Muon, param: &[f32], grad: &[f32], n: usize, k: usize) -> [Vec<f32>; 2] {
        let (mut p, mut m) = (in_panels(param, n, k), vec![0.0; panels::len(n, k)]);
        update(
            cpu,
            config,
            0.5,
            &in_panels(grad, n, k),
            &mut p,
            &mut m,
            n,
            k,
            &mut vec![f32::NAN; workspace_len(n, k)],
        );
        [in_rows(&p, n, k), in_rows(&m, n, k)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn same_bits_everywhere(n in 1usize..90, k in 1usize..90, seed: u32) {
            let (param, grad) = (noise(n * k, seed), noise(n * k, seed ^ 1));
            same_everywhere(|cpu| first_step(cpu, CONFIG, &param, &grad, n, k));
        }

        /// Every direction is moved by about as much: the step is 0.2·√max(n, k)·lr times a matrix whose singular values
        /// are between 0.6 and 1.3, which the norms of what it makes of vectors show.
        #[test]
        fn a_step_is_orthogonal(short in 1usize..24, long in 24usize..70, wide: bool, seed: u32) {
            let (n, k) = if wide { (short, long) } else { (long, short) };
            let config = Muon { weight_decay: 0.0, ..CONFIG };
            let [moved, m] = first_step(&plain(), config, &vec![0.0; n * k], &noise(n * k, seed), n, k);
            for (m, g) in m.iter().zip(noise(n * k, seed)) {
                prop_assert_eq!(*m, 0.5 * g);
            }
            let size = CONFIG.lr * SAME_SIZE * (long as f64).sqrt();
            let at = |i: usize, j: usize| f64::from(if wide { moved[i * k + j] } else { moved[j * k + i] }) / size;
            let vector: Vec<f64> = to_f64(&noise(short, seed ^ 7));
            let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            let image: Vec<f64> = (0..long).map(|j| (0..short).map(|i| vector[i] * at(i, j)).sum()).collect();
            let stretch = length(&image) / length(&vector);
            prop_assert!((0.6..1.3).contains(&stretch), "{stretch}");
        }
    }

    #[test]
    fn momentum_and_decay_as_written() {
        // One value: its orthogonal matrix is its sign, which the iteration brings to p(p(p(p(p(1))))).
        let newton = (0..STEPS).fold(1.0_f64, |x, _| {
            let [a, b, c] = POLYNOMIAL.map(f64::from);
            a * x + b * x.powi(3) + c * x.powi(5)
        });
        let (mut p, mut m) = (in_panels(&[2.0], 1, 1), in_panels(&[0.5], 1, 1));
        update(
            &plain(),
            CONFIG,
            1.0,
            &in_panels(&[-1.0], 1, 1),
            &mut p,
            &mut m,
            1,
            1,
            &mut vec![f32::NAN; workspace_len(1, 1)],
        );
        assert_eq!(m[0], (0.95_f64 * 0.5 - 1.0) as f32);
        // g + μ·m is below zero, so the step goes up.
        let expected = (1.0 - 3e-4) * 2.0 + 3e-3 * 0.2 * newton;
        assert!((f64::from(p[0]) - expected).abs() < 1e-6, "{} {expected}", p[0]);
    }
}
