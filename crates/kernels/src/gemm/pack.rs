//! The right-hand matrix B in panels of 32 columns, which is how tiles read it.

use super::Matrix;
use crate::simd::LANES;
use std::ops::Range;

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
