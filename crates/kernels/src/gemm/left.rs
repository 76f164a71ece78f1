//! The left-hand matrix A: read where it lies, or copied a block at a time where its layout would cost cache misses.

use super::{LINE, Matrix};

/// Lines of A that are copied at a time.
const COPY_LINES: usize = 8;

/// How a block of A is copied before its tiles are read again and again.
#[derive(Clone, Copy)]
pub(super) enum Copy {
    /// Rows that share a cache set, being a large power of two apart: the same with another distance.
    Rows,
    /// Columns: one tile after another, so that a tile's values lie together.
    Tiles,
}

impl Copy {
    pub(super) fn of(a: Matrix) -> Option<Copy> {
        if a.column_stride == 1 {
            a.row_stride.is_multiple_of(1024).then_some(Copy::Rows)
        } else {
            (a.row_stride == 1).then_some(Copy::Tiles)
        }
    }
}

/// Rows of A as tiles read them: tile number t starts at `data[t · TILE_ROWS · tile_stride]`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) rows: Matrix<'a>,
    pub(super) tile_stride: usize,
}

impl<'a> Left<'a> {
    pub(super) fn uncopied(rows: Matrix<'a>) -> Self {
        Left { rows, tile_stride: rows.row_stride }
    }

    /// `rows` rows of `ks` values, each a cache line further apart than it is long.
    #[inline(always)]
    pub(super) fn copied_rows(a: Matrix, rows: usize, ks: usize, to: &'a mut [f32]) -> Self {
        let padded = ks + LINE;
        for (row, to) in to.chunks_exact_mut(padded).take(rows).enumerate() {
            to[..ks].copy_from_slice(&a.data[row * a.row_stride..][..ks]);
        }
        Left::uncopied(Matrix::rows(to, padded))
    }

    /// `rows` rows that lie side by side in each of `ks` lines of `a`, tile by tile, `[⌈rows / tile⌉][ks][tile]`.
    #[inline(always)]
    pub(super) fn copied_tiles(a: Matrix, rows: usize, ks: usize, tile: usize, to: &'a mut [f32]) -> Self {
        // A few lines at a time, so that they are read once and the tiles written in stretches.
        for k0 in (0..ks).step_by(COPY_LINES) {
            for (t, to) in to.chunks_exact_mut(ks * tile).take(rows.div_ceil(tile)).enumerate() {
                let width = tile.min(rows - t * tile);
                for (k, to) in to.chunks_exact_mut(tile).enumerate().skip(k0).take(COPY_LINES) {
                    let from = &a.data[k * a.column_stride + t * tile..];
                    if width == tile {
                        to.copy_from_slice(&from[..tile]);
                    } else {
                        to[..width].copy_from_slice(&from[..width]);
                    }
                }
            }
        }
        Left { rows: Matrix { data: to, row_stride: 1, column_stride: tile }, tile_stride: ks }
    }
}
