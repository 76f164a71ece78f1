//! The right-hand matrix B in panels of 32 columns, which is how tiles read it.

use super::{LINE, Matrix};
use crate::simd::LANES;
use std::ops::Range;

/// A `[K, N]` matrix in panels of 32 columns: `[⌈N/32⌉][K][32]`, zeros past N.
#[derive(Clone, Default)]
pub struct Packed {
    lines: Vec<Line>,
    k: usize,
    n: usize,
}

impl Packed {
    /// Packs `b`, `[k, n]`.
    pub fn new(b: Matrix, k: usize, n: usize) -> Packed {
        let mut packed = Packed::default();
        packed.repack(b, k, n);
        packed
    }

    /// Packs again into the same memory.
    pub fn repack(&mut self, b: Matrix, k: usize, n: usize) {
        b.check(k, n);
        (self.k, self.n) = (k, n);
        self.lines.resize(n.div_ceil(LANES) * k * (LANES / LINE), Line([0.0; LINE]));
        // SAFETY: a line is 16 values without padding.
        let panels = unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * LINE) };
        for (j, panel) in panels.chunks_exact_mut((k * LANES).max(1)).enumerate() {
            pack_panel(b, 0..k, j * LANES, n, panel);
        }
    }

    /// Rows: the length of each chain.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes of the panels.
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// The panels as a slice.
    pub(crate) fn values(&self) -> &[f32] {
        // SAFETY: a line is 16 values without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }
}

/// A cache line. Panels start on one, because loading a register from two lines takes twice as long.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Packs rows `ks` of the 32 columns from `column` into `panel`, zeros past column `n`.
#[inline(always)]
pub(super) fn pack_panel(b: Matrix, ks: Range<usize>, column: usize, n: usize, panel: &mut [f32]) {
    let width = LANES.min(n - column);
    let rows = panel.as_chunks_mut::<LANES>().0;
    if b.column_stride == 1 {
        for (row, k) in rows.iter_mut().zip(ks) {
            let from = &b.data[k * b.row_stride + column..];
            match from.first_chunk() {
                Some(whole) if width == LANES => *row = *whole,
                _ => {
                    row[..width].copy_from_slice(&from[..width]);
                    row[width..].fill(0.0);
                }
            }
        }
        return;
    }
    // The transpose: walk eight rows of the panel at a time, so that a line of the source is used up while it is near.
    let start = ks.start;
    for (block, eight) in rows.chunks_mut(8).enumerate() {
        for lane in 0..width {
            let from = (start + 8 * block) * b.row_stride + (column + lane) * b.column_stride;
            for (i, row) in eight.iter_mut().enumerate() {
                row[lane] = b.data[from + i * b.row_stride];
            }
        }
        for row in eight {
            row[width..].fill(0.0);
        }
    }
}
