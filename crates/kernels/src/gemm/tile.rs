//! The microkernel: a tile of C held in registers while its chains run.

use super::left::Left;
use super::{LINE, Matrix};
use crate::simd::{LANES, Simd};

/// 32 columns of B.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) data: &'a [f32],
    pub(super) row_stride: usize,
}

/// What will be read next and is far away: asked for a little at a time, it arrives while tiles are computed. (Asking
/// for what is packed while computing gains nothing.)
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    /// Whether the tiles of A, whole rows, are read for the first time.
    pub(super) a: bool,
    /// The next panel of B.
    pub(super) b: &'a [f32],
}

/// What one tile asks for.
#[derive(Clone, Copy, Default)]
struct Next<'a> {
    /// The rows of A that will be needed after its own.
    a: Option<*const f32>,
    /// Its share of the next panel of B.
    b: &'a [f32],
}

/// Part of C: some rows of up to 32 columns.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) c: *mut f32,
    pub(super) row_stride: usize,
    pub(super) width: usize,
    pub(super) load: bool,
}

/// `m` rows, a tile at a time.
#[inline(always)]
pub(super) fn rows<S: Simd>(s: S, a: Left, m: usize, ks: usize, panel: Panel, ahead: Ahead, t: Tile) {
    assert!(ks == 0 || (ks - 1) * panel.row_stride + LANES <= panel.data.len(), "B is too small");
    // The next panel's lines are shared out among this one's tiles.
    let share = ahead.b.len().div_ceil(LINE).div_ceil(m.div_ceil(S::TILE_ROWS)) * LINE;
    for row in (0..m).step_by(S::TILE_ROWS) {
        // C comes from far away: ask for the next tile's part while this one is computed.
        for next in row + S::TILE_ROWS..m.min(row + 2 * S::TILE_ROWS) {
            let line = t.c.wrapping_add(next * t.row_stride);
            s.prefetch(line);
            s.prefetch(line.wrapping_add(LINE));
        }
        // SAFETY: the caller's tile has `m` rows.
        let c = unsafe { t.c.add(row * t.row_stride) };
        let data = a.rows.data.get(row * a.tile_stride..).unwrap_or_default();
        let next = a.rows.data.as_ptr().wrapping_add((row + S::TILE_ROWS) * a.tile_stride);
        let next = Next {
            a: (ahead.a && row + S::TILE_ROWS < m).then_some(next),
            b: ahead.b.chunks(share.max(1)).nth(row / S::TILE_ROWS).unwrap_or_default(),
        };
        tiles(s, Matrix { data, ..a.rows }, S::TILE_ROWS.min(m - row), ks, panel, next, Tile { c, ..t });
    }
}

/// Picks the tile compiled for this number of rows. Few rows leave registers for all 32 columns at once.
#[inline(always)]
fn tiles<S: Simd>(s: S, a: Matrix, rows: usize, ks: usize, panel: Panel, next: Next, t: Tile) {
    macro_rules! pick {
        ($($rows:literal)*) => {
            match rows {
                $($rows if $rows <= S::TILE_ROWS && $rows * LANES <= S::TILE_ROWS * S::TILE_COLUMNS => {
                    tile::<S, $rows, true>(s, a, ks, panel.data.as_ptr(), panel.row_stride, next, t);
                })*
                $($rows if $rows <= S::TILE_ROWS => {
                    for column in (0..t.width).step_by(S::TILE_COLUMNS) {
                        // SAFETY: a column of the caller's tile, and of the panel's 32.
                        let (c, b) = unsafe { (t.c.add(column), panel.data.as_ptr().wrapping_add(column)) };
                        let width = S::TILE_COLUMNS.min(t.width - column);
                        // Once is enough for both halves.
                        let next = if column == 0 { next } else { Next::default() };
                        tile::<S, $rows, false>(s, a, ks, b, panel.row_stride, next, Tile { c, width, ..t });
                    }
                })*
                _ => unreachable!("tiles have at most {} rows", S::TILE_ROWS),
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// `ROWS` × 32 (`WIDE`) or × `TILE_COLUMNS` accumulators held in registers over `ks` steps of k. `b` are rows of B,
/// `b_stride` apart; `next` is asked for meanwhile, a few lines at a time: more than the processor can have in flight would
/// hold up the loads behind them.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const WIDE: bool>(
    s: S,
    a: Matrix,
    ks: usize,
    b: *const f32,
    b_stride: usize,
    next: Next,
    t: Tile,
) {
    let columns = if WIDE { LANES } else { S::TILE_COLUMNS };
    // SAFETY: the callers checked that C holds `ROWS` rows of `t.width` values from `t.c`, which are this thread's own.
    let row = |i: usize| unsafe { std::slice::from_raw_parts_mut(t.c.add(i * t.row_stride), t.width.min(columns)) };
    let mut acc = [s.splat(0.0); ROWS];
    if t.load {
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = load::<S, WIDE>(s, row(i));
        }
    }
    let pa = a.data.as_ptr();
    // A macro, because a closure would be compiled without the instruction set.
    macro_rules! steps {
        ($ks:expr) => {
            for k in $ks {
                // SAFETY: `rows` checked that B reaches this far; `gemm` and `panel_product` checked A's last element.
                unsafe {
                    let row = b.add(k * b_stride);
                    let b = if WIDE { s.load_ptr(row) } else { s.load_tile(row) };
                    let column = pa.add(k * a.column_stride);
                    for (i, acc) in acc.iter_mut().enumerate() {
                        *acc = s.fma(s.splat(*column.add(i * a.row_stride)), b, *acc);
                    }
                }
            }
        };
    }
    let mut from = 0;
    if next.a.is_some() || !next.b.is_empty() {
        let groups = ks / LINE;
        let mut lines = next.b.chunks(LINE);
        let in_group = lines.len().div_ceil(groups.max(1));
        while from + LINE <= ks {
            for line in lines.by_ref().take(in_group) {
                s.prefetch_far(line.as_ptr());
            }
            if let Some(next) = next.a {
                for row in 0..ROWS {
                    s.prefetch_far(next.wrapping_add(row * a.row_stride + from));
                }
            }
            steps!(from..from + LINE);
            from += LINE;
        }
    }
    steps!(from..ks);
    for (i, acc) in acc.into_iter().enumerate() {
        store::<S, WIDE>(s, row(i), acc);
    }
}

/// A row of a tile.
#[inline(always)]
fn load<S: Simd, const WIDE: bool>(s: S, row: &[f32]) -> S::V {
    if WIDE {
        return s.load_partial(row, 0.0);
    }
    let mut lanes = [0.0; LANES];
    if row.len() < S::TILE_COLUMNS {
        lanes[..row.len()].copy_from_slice(row);
    }
    let whole = row.len() >= S::TILE_COLUMNS;
    // SAFETY: either holds `TILE_COLUMNS` values.
    unsafe { s.load_tile(if whole { row.as_ptr() } else { lanes.as_ptr() }) }
}

/// Writes a row of a tile.
#[inline(always)]
fn store<S: Simd, const WIDE: bool>(s: S, row: &mut [f32], v: S::V) {
    if WIDE {
        return s.store_partial(row, v);
    }
    if row.len() >= S::TILE_COLUMNS {
        // SAFETY: the row holds `TILE_COLUMNS` values.
        return unsafe { s.store_tile(row.as_mut_ptr(), v) };
    }
    let mut lanes = [0.0; LANES];
    // SAFETY: 32 values are at least `TILE_COLUMNS`.
    unsafe { s.store_tile(lanes.as_mut_ptr(), v) };
    let n = row.len();
    row.copy_from_slice(&lanes[..n]);
}
