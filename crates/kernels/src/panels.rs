//! The layout in which a learning weight lives: `[⌈N/32⌉][K][32]`, zeros past N.
//!
//! It is what products read: for each input, the weights of 32 outputs stand side by side. Gradient and moments have
//! the same layout, so that whatever works element by element need not know of it. Rows `[N, K]` exist in checkpoints
//! only. Left out: weights that do not learn (`weight`).
//!
//! N: outputs, K: inputs.

use crate::Cpu;
use crate::simd::{Isa, LANES};
use crate::team::Shared;
use std::ops::Range;

/// A weight `[N, K]` in panels.
#[derive(Clone, Copy)]
pub struct Panels<'a> {
    values: &'a [f32],
    n: usize,
    k: usize,
}

impl<'a> Panels<'a> {
    /// Panics if `values` are not [`len`]`(n, k)` many. They should start on a cache line.
    pub fn new(values: &'a [f32], n: usize, k: usize) -> Self {
        assert_eq!(values.len(), len(n, k), "panels of {n} × {k}");
        Panels { values, n, k }
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Copies row `n`, the weights of one output.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        assert!(n < self.n && out.len() == self.k, "row {n} of {} × {}", self.n, self.k);
        let panel = self.panel(n, 0..self.k).as_chunks::<LANES>().0;
        for (out, lanes) in out.iter_mut().zip(panel) {
            *out = lanes[n % LANES];
        }
    }

    /// The weights of inputs `ks` in the panel of output `n`, `[ks][32]`.
    #[inline(always)]
    pub(crate) fn panel(&self, n: usize, ks: Range<usize>) -> &'a [f32] {
        let start = n / LANES * self.k;
        &self.values[(start + ks.start) * LANES..(start + ks.end) * LANES]
    }
}

/// Values in the panels of a weight of `n` outputs and `k` inputs.
pub fn len(n: usize, k: usize) -> usize {
    n.div_ceil(LANES) * LANES * k
}

/// Lays `rows` `[n, k]` out in `panels`.
pub fn from_rows(rows: &[f32], n: usize, k: usize, panels: &mut [f32]) {
    assert!(rows.len() == n * k && panels.len() == len(n, k), "rows and panels of {n} × {k}");
    if k == 0 {
        return;
    }
    for (rows, panel) in rows.chunks(LANES * k).zip(panels.chunks_exact_mut(LANES * k)) {
        // A few inputs at a time, so that a line of each row is used up while it is near.
        for (block, lines) in panel.chunks_mut(8 * LANES).enumerate() {
            for (i, lanes) in lines.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                *lanes = [0.0; LANES];
                for (lane, row) in lanes.iter_mut().zip(rows.chunks_exact(k)) {
                    *lane = row[8 * block + i];
                }
            }
        }
    }
}

/// Copies `panels` into `rows` `[n, k]`.
pub fn to_rows(cpu: &Cpu, panels: Panels, rows: &mut [f32]) {
    let Panels { n, k, .. } = panels;
    assert_eq!(rows.len(), n * k, "rows of {n} × {k}");
    let rows = Shared::new(rows);
    cpu.split_rows(n.div_ceil(LANES), LANES * k, |parts| {
        let outputs = parts.start * LANES..n.min(parts.end * LANES);
        // SAFETY: teams get disjoint panels.
        copy_rows(cpu.isa, panels, outputs.clone(), unsafe { rows.part(outputs.start * k..outputs.end * k) });
    });
}

/// Copies the rows of `outputs`, which start at a multiple of 32, into `rows`. Tile by tile, so that lines are used up
/// while they are near.
fn copy_rows(isa: Isa, panels: Panels, outputs: Range<usize>, rows: &mut [f32]) {
    let k = panels.k;
    let mut tile = [0.0; LANES * LANES];
    for first in outputs.clone().step_by(LANES) {
        let rows = &mut rows[(first - outputs.start) * k..(outputs.end.min(first + LANES) - outputs.start) * k];
        for at in (0..k).step_by(LANES) {
            let ks = at..k.min(at + LANES);
            transpose(isa, panels.panel(first, ks.clone()), &mut tile);
            for (row, lanes) in rows.chunks_exact_mut(k).zip(tile.as_chunks::<LANES>().0) {
                row[ks.clone()].copy_from_slice(&lanes[..ks.len()]);
            }
        }
    }
}

crate::kernel! {
    /// `to` `[32][32]` = the transpose of `from` `[up to 32][32]`, zeros past its end.
    pub(crate) fn transpose<S>(s, from: &[f32], to: &mut [f32; LANES * LANES]) {
        if let Some(from) = from.as_array() {
            return s.transpose(from, to);
        }
        let mut whole = [0.0; LANES * LANES];
        whole[..from.len()].copy_from_slice(from);
        s.transpose(&whole, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn rows_survive_both_ways(n in 0usize..150, k in 0usize..150, seed: u32) {
            let rows = noise(n * k, seed);
            let mut values = vec![9.0; len(n, k)];
            from_rows(&rows, n, k, &mut values);
            for (at, &value) in values.iter().enumerate() {
                let (row, i) = (at / (LANES * k) * LANES + at % LANES, at / LANES % k);
                let expected = if row < n { rows[row * k + i] } else { 0.0 };
                prop_assert_eq!(value.to_bits(), expected.to_bits());
            }
            let panels = Panels::new(&values, n, k);
            let mut back = vec![9.0; n * k];
            to_rows(&plain(), panels, &mut back);
            assert_same_bits("rows", &back, &rows);
        }
    }
}
