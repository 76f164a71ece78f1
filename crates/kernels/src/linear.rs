//! The linear layer y = x·Wᵀ (+ b), forward and backward.
//!
//! W is a [`Weight`] `[N, K]`; its gradient is in panels (see [`panels`](crate::panels)). Left out: experts, which are
//! many linear layers in one call (`grouped`).
//!
//! M: rows (tokens), K: inputs, N: outputs.

use crate::Cpu;
use crate::gemm::{Matrix, Product, Right, Shape, Target, gemm};
use crate::simd::LANES;
use crate::team::Shared;
use crate::weight::{Frozen, Weight, integer};

/// Elements below which a pass over memory is not worth a second thread.
const GRAIN: usize = 16 * 1024;

/// One of several linear layers on the same rows.
pub struct Layer<'a> {
    /// The weight `[N, K]`.
    pub weight: Weight<'a>,
    /// What is added to each row, `[N]`.
    pub bias: Option<&'a [f32]>,
    /// Where the outputs `[M, N]` go.
    pub y: &'a mut [f32],
}

/// y = x·Wᵀ + b for `x` `[M, K]`; `y` `[M, N]` is overwritten. See [`forward_each`].
pub fn forward<'a>(cpu: &Cpu, x: &[f32], w: impl Into<Weight<'a>>, bias: Option<&'a [f32]>, y: &'a mut [f32]) {
    forward_each(cpu, x, &mut [Layer { weight: w.into(), bias, y }]);
}

/// y = x·Wᵀ + b of each layer for `x` `[M, K]`; their `y` are overwritten. The bias is added after the chain over k. By a
/// weight that says so, the product is that [in integers](crate::weight::integer); if all of them do, the rows are rounded
/// once, and the team works on all products at once.
pub fn forward_each(cpu: &Cpu, x: &[f32], layers: &mut [Layer]) {
    for Layer { weight, y, .. } in layers.iter() {
        let (k, n) = (weight.k(), weight.n());
        assert_eq!(x.len() * n, y.len() * k, "x {} and y {} for {n} outputs of {k} inputs", x.len(), y.len());
    }
    fn integer<'a>(layer: &Layer<'a>) -> Option<&'a Frozen> {
        if let Weight::Integer(w) = layer.weight { Some(w) } else { None }
    }
    if x.is_empty() {
        layers.iter_mut().for_each(|layer| layer.y.fill(0.0));
    } else if let Some(weights) = layers.iter().map(integer).collect::<Option<Vec<&Frozen>>>() {
        integer::product::forward_each(cpu, x, &weights, layers.iter_mut().map(|layer| &mut *layer.y).collect());
    } else {
        for Layer { weight, y, .. } in layers.iter_mut().filter(|layer| !layer.y.is_empty()) {
            let (k, n) = (weight.k(), weight.n());
            let m = y.len() / n;
            if let Weight::Integer(w) = *weight {
                integer::product::forward(cpu, x, &[0, m], &[w], y);
            } else {
                let shape = Shape { m, n, k, accumulate: false };
                let (a, b, c) = (Matrix::rows(x, k), Right::Weight(*weight), Target::rows(y, n));
                gemm(cpu.isa, &cpu.team, Product { shape, a, b, c });
            }
        }
    }
    for Layer { bias, y, weight } in layers {
        let (Some(bias), n) = (*bias, weight.n()) else { continue };
        assert_eq!(bias.len(), n, "one bias for each output");
        let (m, y) = (y.len() / n.max(1), Shared::new(y));
        cpu.team.split(m, GRAIN.div_ceil(n), |rows| {
            // SAFETY: teams get disjoint rows.
            add_bias(cpu.isa, bias, unsafe { y.part(rows.start * n..rows.end * n) });
        });
    }
}

/// dx (+)= dy·W for `dy` `[M, N]`, `dx` `[M, K]`: each element a chain over the outputs.
pub fn backward_input<'a>(cpu: &Cpu, dy: &[f32], w: impl Into<Weight<'a>>, dx: &mut [f32], accumulate: bool) {
    let w = w.into();
    let (k, n) = (w.k(), w.n());
    if dx.is_empty() {
        return;
    }
    assert_eq!(dx.len() % k, 0, "dx is not rows of {k}");
    let m = dx.len() / k;
    assert_eq!(dy.len(), m * n, "dy for {m} rows of dx and {n} outputs");
    let shape = Shape { m, n: k, k: n, accumulate };
    let (a, b, c) = (Matrix::rows(dy, n), Right::Transposed(w), Target::rows(dx, k));
    gemm(cpu.isa, &cpu.team, Product { shape, a, b, c });
}

/// dW += dyᵀ·x for `x` `[M, K]`, `dy` `[M, N]`, `dw` the panels of `[n, k]`: each element goes on as a chain over the
/// rows. What `dw` holds past N stays.
pub fn backward_weight(cpu: &Cpu, x: &[f32], dy: &[f32], dw: &mut [f32], n: usize, k: usize) {
    let m = x.len() / k.max(1);
    assert!(x.len() == m * k && dy.len() == m * n, "x {} and dy {} for a weight of {n} × {k}", x.len(), dy.len());
    // fma(x, dy, c) has the bits of fma(dy, x, c), so the product may stand as its transpose.
    let shape = Shape { m: k, n, k: m, accumulate: true };
    let (a, b) = (Matrix::rows(x, k).transposed(), Right::Matrix(Matrix::rows(dy, n)));
    gemm(cpu.isa, &cpu.team, Product { shape, a, b, c: Target::panels(dw, k) });
}

/// db += Σ rows of `dy` `[M, N]`, in ascending order.
pub fn backward_bias(cpu: &Cpu, dy: &[f32], db: &mut [f32]) {
    let n = db.len();
    assert!(dy.len().is_multiple_of(n.max(1)), "dy is not rows of {n}");
    if dy.is_empty() {
        return;
    }
    let grain = (GRAIN / (dy.len() / n)).next_multiple_of(LANES).max(LANES);
    let db = Shared::new(db);
    cpu.team.split(n, grain, |columns| {
        // SAFETY: teams get disjoint columns.
        add_rows(cpu.isa, dy, n, columns.start, unsafe { db.part(columns) });
    });
}

crate::kernel! {
    /// Adds `bias` to each row of `y`.
    fn add_bias<S>(s, bias: &[f32], y: &mut [f32]) {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, b) in row.chunks_mut(LANES).zip(bias.chunks(LANES)) {
                let sum = s.add(s.load_partial(y, 0.0), s.load_partial(b, 0.0));
                s.store_partial(y, sum);
            }
        }
    }
}

crate::kernel! {
    /// Adds the columns from `column` of the rows of `dy`, `n` values each, to `db`.
    fn add_rows<S>(s, dy: &[f32], n: usize, column: usize, db: &mut [f32]) {
        for row in dy.chunks_exact(n) {
            let row = &row[column..column + db.len()];
            for (db, dy) in db.chunks_mut(LANES).zip(row.chunks(LANES)) {
                let sum = s.add(s.load_partial(db, 0.0), s.load_partial(dy, 0.0));
                s.store_partial(db, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panels::{self, Panels};
    use crate::testing::{assert_close, linear_gradient, noise};
    use crate::{Isa, Team};
    use proptest::prelude::*;

    fn same(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    fn in_panels(w: &[f32], n: usize, k: usize) -> Vec<f32> {
        let mut values = vec![9.0; panels::len(n, k)];
        panels::from_rows(w, n, k, &mut values);
        values
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn equals_the_definition_bit_for_bit(m in 1usize..30, n in 1usize..80, k in 1usize..300, seed: u32, cut: prop::sample::Index) {
            let (x, w, b) = (noise(m * k, seed), noise(n * k, seed ^ 1), noise(n, seed ^ 2));
            let (dy, dx0, dw0) = (noise(m * n, seed ^ 3), noise(m * k, seed ^ 4), noise(n * k, seed ^ 5));
            let (mut y, mut dx, mut dw, mut db) = (vec![0.0; m * n], dx0.clone(), dw0.clone(), b.clone());
            for i in 0..m {
                for j in 0..n {
                    let chain = (0..k).fold(0f32, |c, l| x[i * k + l].mul_add(w[j * k + l], c));
                    y[i * n + j] = chain + b[j];
                    db[j] += dy[i * n + j];
                }
                for l in 0..k {
                    dx[i * k + l] = (0..n).fold(dx[i * k + l], |c, j| dy[i * n + j].mul_add(w[j * k + l], c));
                }
            }
            for j in 0..n {
                for l in 0..k {
                    dw[j * k + l] = (0..m).fold(dw[j * k + l], |c, i| dy[i * n + j].mul_add(x[i * k + l], c));
                }
            }
            let (values, dw, dw0) = (in_panels(&w, n, k), in_panels(&dw, n, k), in_panels(&dw0, n, k));
            let weight = Panels::new(&values, n, k);
            for isa in Isa::available() {
                for threads in 1..4 {
                    let cpu = Cpu { isa, team: Team::new(threads).unwrap() };
                    let (mut y2, mut dx2, mut dw2, mut db2) = (vec![9.0; m * n], dx0.clone(), dw0.clone(), b.clone());
                    let cut = cut.index(m);
                    forward(&cpu, &x[..cut * k], weight, Some(&b), &mut y2[..cut * n]);
                    forward(&cpu, &x[cut * k..], weight, Some(&b), &mut y2[cut * n..]);
                    backward_input(&cpu, &dy, weight, &mut dx2, true);
                    backward_weight(&cpu, &x, &dy, &mut dw2, n, k);
                    backward_bias(&cpu, &dy, &mut db2);
                    prop_assert!(same(&y, &y2) && same(&dx, &dx2) && same(&dw, &dw2) && same(&db, &db2), "{}", isa.name());
                }
            }
        }
    }

    /// y is linear in x and in W, so Σ dy·y(x, W) has exact differences: dx·h and dW·h up to rounding. Each of the at
    /// most 12·7 products rounds to 2⁻²⁴ relative to values below 12: 10⁻⁴ leaves room.
    #[test]
    fn backward_is_the_derivative() {
        let cpu = Cpu { isa: Isa::detect(), team: Team::solo() };
        let (m, n, k) = (4, 7, 12);
        let (x, w, dy) = (noise(m * k, 1), noise(n * k, 2), noise(m * n, 3));
        let loss = |x: &[f32], w: &[f32]| {
            let mut y = vec![0.0; m * n];
            forward(&cpu, x, Panels::new(&in_panels(w, n, k), n, k), None, &mut y);
            y.iter().zip(&dy).map(|(y, dy)| (y * dy) as f64).sum::<f64>()
        };
        let (mut dx, mut dw, mut dw_panels) = (vec![5.0; m * k], vec![0.0; n * k], vec![0.0; panels::len(n, k)]);
        backward_input(&cpu, &dy, Panels::new(&in_panels(&w, n, k), n, k), &mut dx, false);
        backward_weight(&cpu, &x, &dy, &mut dw_panels, n, k);
        panels::to_rows(&Cpu::new(1).unwrap(), Panels::new(&dw_panels, n, k), &mut dw);
        let bumped = |v: &[f32], i: usize, h: f32| {
            let mut v = v.to_vec();
            v[i] += h;
            v
        };
        for (i, dx) in dx.iter().enumerate() {
            let d = (loss(&bumped(&x, i, 0.5), &w) - loss(&bumped(&x, i, -0.5), &w)) as f32;
            assert!((d - dx).abs() < 1e-4, "dx[{i}] = {dx}, not {d}");
        }
        for (i, dw) in dw.iter().enumerate() {
            let d = (loss(&x, &bumped(&w, i, 0.5)) - loss(&x, &bumped(&w, i, -0.5))) as f32;
            assert!((d - dw).abs() < 1e-4, "dw[{i}] = {dw}, not {d}");
        }
    }

    #[test]
    fn backward_bias_is_the_derivative() {
        let cpu = Cpu { isa: Isa::detect(), team: Team::solo() };
        let (m, n, k) = (4, 7, 12);
        let (x, w, bias, dy) = (noise(m * k, 1), noise(n * k, 2), noise(n, 3), noise(m * n, 4));
        let mut db = vec![0.0; n];
        backward_bias(&cpu, &dy, &mut db);
        let expected = linear_gradient(&bias, &dy, |bias| {
            let mut y = vec![0.0; m * n];
            forward(&cpu, &x, Panels::new(&in_panels(&w, n, k), n, k), Some(bias), &mut y);
            y
        });
        // Four sums of values below 12, each rounded to 2⁻²⁴ of that.
        assert_close("db", &db, &expected, 1e-5);
    }
}
