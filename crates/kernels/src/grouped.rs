//! Experts: many linear layers over consecutive rows, in one call.
//!
//! Expert e has rows `offsets[e]..offsets[e + 1]` (see [`Dispatch`](crate::moe::Dispatch)) and a weight `[N, K]` of its
//! own. The team shares out experts and columns together, because an expert alone often has too few rows to share; the
//! bits are those of [`linear`](crate::linear) for each expert.
//!
//! M: rows of all experts, K: inputs, N: outputs.

use crate::Cpu;
use crate::gemm::{Matrix, Product, Right, Shape, Target, gemm_each};
use crate::weight::{Weight, integer};

/// y = x·Wᵀ, each row with its expert's W, for `x` `[M, K]`; `y` `[M, N]` is overwritten.
pub fn forward(cpu: &Cpu, x: &[f32], offsets: &[usize], weights: &[Weight], y: &mut [f32]) {
    let Some((n, k)) = sizes(offsets, weights, y.len(), x.len()) else { return };
    if weights[0].as_integer().is_some() {
        let weights: Option<Vec<_>> = weights.iter().map(Weight::as_integer).collect();
        let weights = weights.expect("grouped: if one expert multiplies in integers, all do");
        return integer::product::forward(cpu, x, offsets, &weights, y);
    }
    let products = parts(y, offsets, n).zip(offsets.windows(2)).zip(weights).map(|((y, rows), &w)| Product {
        shape: Shape { m: rows[1] - rows[0], n, k, accumulate: false },
        a: Matrix::rows(&x[rows[0] * k..rows[1] * k], k),
        b: Right::Weight(w),
        c: Target::rows(y, n),
    });
    gemm_each(cpu.isa, &cpu.team, products.collect());
}

/// dx (+)= dy·W, each row with its expert's W, for `dy` `[M, N]`, `dx` `[M, K]`.
pub fn backward_input(cpu: &Cpu, dy: &[f32], offsets: &[usize], weights: &[Weight], dx: &mut [f32], accumulate: bool) {
    let Some((n, k)) = sizes(offsets, weights, dy.len(), dx.len()) else { return };
    let products = parts(dx, offsets, k).zip(offsets.windows(2)).zip(weights).map(|((dx, rows), &w)| Product {
        shape: Shape { m: rows[1] - rows[0], n: k, k: n, accumulate },
        a: Matrix::rows(&dy[rows[0] * n..rows[1] * n], n),
        b: Right::Transposed(w),
        c: Target::rows(dx, k),
    });
    gemm_each(cpu.isa, &cpu.team, products.collect());
}

/// dW += dyᵀ·x over each expert's rows, for `x` `[M, K]`, `dy` `[M, N]` and each expert's `dw`, the panels of `[n, k]`;
/// `None` for one that does not learn.
pub fn backward_weight(
    cpu: &Cpu,
    x: &[f32],
    dy: &[f32],
    offsets: &[usize],
    dw: Vec<Option<&mut [f32]>>,
    n: usize,
    k: usize,
) {
    assert_eq!(offsets.len(), dw.len() + 1, "grouped: one more offset than experts");
    let m = offsets[dw.len()];
    assert!(x.len() == m * k && dy.len() == m * n, "grouped: x {} and dy {} for {m} rows", x.len(), dy.len());
    let products = offsets.windows(2).zip(dw).filter_map(|(rows, dw)| {
        Some(Product {
            shape: Shape { m: k, n, k: rows[1] - rows[0], accumulate: true },
            a: Matrix::rows(&x[rows[0] * k..rows[1] * k], k).transposed(),
            b: Right::Matrix(Matrix::rows(&dy[rows[0] * n..rows[1] * n], n)),
            c: Target::panels(dw?, k),
        })
    });
    // An expert without rows has nothing to add.
    gemm_each(cpu.isa, &cpu.team, products.filter(|product| product.shape.k > 0).collect());
}

/// N and K; `None` without experts.
fn sizes(offsets: &[usize], weights: &[Weight], mn: usize, mk: usize) -> Option<(usize, usize)> {
    assert_eq!(offsets.len(), weights.len() + 1, "grouped: one more offset than experts");
    let (m, first) = (offsets[weights.len()], weights.first()?);
    let (n, k) = (first.n(), first.k());
    assert!(weights.iter().all(|w| w.n() == n && w.k() == k), "grouped: experts of different sizes");
    assert!(offsets[0] == 0 && mn == m * n && mk == m * k, "grouped: {mn} and {mk} values for {m} rows of {n} × {k}");
    Some((n, k))
}

/// The rows of each expert.
fn parts<'a>(mut rows: &'a mut [f32], offsets: &[usize], width: usize) -> impl Iterator<Item = &'a mut [f32]> {
    offsets.windows(2).map(move |ends| {
        let (part, rest) = std::mem::take(&mut rows).split_at_mut((ends[1] - ends[0]) * width);
        rows = rest;
        part
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear;
    use crate::panels::{self, Panels};
    use crate::testing::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn experts_have_the_bits_of_linear(rows in prop::collection::vec(0usize..40, 0..6), n in 1usize..150, k in 1usize..150, seed: u32) {
            let offsets: Vec<usize> = std::iter::once(0).chain(rows.iter().scan(0, |end, m| { *end += m; Some(*end) })).collect();
            let m = offsets[rows.len()];
            let (x, dy) = (noise(m * k, seed), noise(m * n, seed ^ 1));
            let in_panels = |seed: u32| {
                let mut values = vec![0.0; panels::len(n, k)];
                panels::from_rows(&noise(n * k, seed), n, k, &mut values);
                values
            };
            let weights: Vec<Vec<f32>> = (0..rows.len()).map(|e| in_panels(seed + e as u32)).collect();
            let weights: Vec<Weight> = weights.iter().map(|values| Panels::new(values, n, k).into()).collect();
            let dw0: Vec<Vec<f32>> = (0..rows.len()).map(|e| in_panels(seed ^ e as u32)).collect();
            let (dx0, frozen) = (noise(m * k, seed ^ 3), 1);
            let [y, dx, dw] = same_everywhere(|cpu| {
                let (mut y, mut dx, mut dw) = (vec![9.0; m * n], dx0.clone(), dw0.clone());
                forward(cpu, &x, &offsets, &weights, &mut y);
                backward_input(cpu, &dy, &offsets, &weights, &mut dx, true);
                let learning = dw.iter_mut().enumerate().map(|(e, dw)| (e != frozen).then_some(&mut dw[..]));
                backward_weight(cpu, &x, &dy, &offsets, learning.collect(), n, k);
                [y, dx, dw.concat()]
            });
            let (mut slow_y, mut slow_dx, mut slow_dw) = (vec![9.0; m * n], dx0.clone(), dw0.clone());
            for (e, rows) in offsets.windows(2).enumerate() {
                let (xs, ys) = (rows[0] * k..rows[1] * k, rows[0] * n..rows[1] * n);
                linear::forward(&plain(), &x[xs.clone()], weights[e], None, &mut slow_y[ys.clone()]);
                linear::backward_input(&plain(), &dy[ys.clone()], weights[e], &mut slow_dx[xs.clone()], true);
                if e != frozen {
                    linear::backward_weight(&plain(), &x[xs], &dy[ys], &mut slow_dw[e], n, k);
                }
            }
            assert_same_bits("y", &y, &slow_y);
            assert_same_bits("dx", &dx, &slow_dx);
            assert_same_bits("dw", &dw, &slow_dw.concat());
        }
    }
}
