//! Matrix products: C (+)= A·B, every element one chain of fused multiply-adds in ascending k.
//!
//! SIMD runs across the columns of C and blocking over k reloads the partial result, so neither block sizes, row
//! splits, batch size nor instruction set show in the bits. B comes in panels of 32 columns, either packed beforehand
//! (weights: [`Packed`]) or packed panel by panel while it is in cache. A may have any strides; where it is read often,
//! a block of it is copied first.
//!
//! M, N, K: rows and columns of C and the length of the chain.

use crate::scratch;
use crate::simd::{Isa, LANES, Simd};
use crate::team::{Shared, Team};
use std::ops::Range;

/// Steps of k between reloads of C: a panel block of 32 × 256 values (32 KiB) stays in the first-level cache.
const BLOCK_K: usize = 256;

/// Rows of A between reloads of B's panels: a block of 528 × 256 values (528 KiB) stays in the second-level cache.
const BLOCK_M: usize = 528;

/// Rows that are computed without copying anything.
const FEW_ROWS: usize = 12;

/// Lines of A that are copied at a time.
const COPY_LINES: usize = 8;

/// Values in a cache line.
const LINE: usize = 16;

/// Multiply-adds below which a product stays on the calling thread.
const SMALL: usize = 1 << 17;

/// A read-only matrix: element (i, j) is at `data[i · row_stride + j · column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The values.
    pub data: &'a [f32],
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` values after one another.
    pub fn rows(data: &'a [f32], columns: usize) -> Self {
        Matrix { data, row_stride: columns, column_stride: 1 }
    }

    /// The transpose.
    pub fn transposed(self) -> Self {
        Matrix { data: self.data, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    /// The matrix that starts at (`row`, `column`); empty if there is nothing there.
    #[inline(always)]
    fn from(self, row: usize, column: usize) -> Self {
        let start = row * self.row_stride + column * self.column_stride;
        Matrix { data: self.data.get(start..).unwrap_or_default(), ..self }
    }

    fn check(&self, rows: usize, columns: usize) {
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
            assert!(last < self.data.len(), "matrix of {rows} × {columns} reaches past its data");
        }
    }
}

/// The right-hand matrix `[K, N]` of a product.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// Any layout; packed while computing.
    Matrix(Matrix<'a>),
    /// Panels made beforehand.
    Packed(&'a Packed),
}

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

    /// The panel of `column` from row `k` on, and the panels behind it.
    #[inline(always)]
    fn panel(&self, column: usize, k: usize) -> &[f32] {
        // SAFETY: a line is 16 values without padding.
        let panels: &[f32] = unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) };
        &panels[(column / LANES * self.k + k) * LANES..]
    }
}

/// A cache line. Panels start on one, because loading a register from two lines takes twice as long.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Packs rows `ks` of the 32 columns from `column` into `panel`, zeros past column `n`.
#[inline(always)]
fn pack_panel(b: Matrix, ks: Range<usize>, column: usize, n: usize, panel: &mut [f32]) {
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

/// Sizes and manner of a product.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Length of each chain.
    pub k: usize,
    /// The chain goes on from what C holds instead of from 0.
    pub accumulate: bool,
}

/// C (+)= A·B for `a` `[M, K]`, `b` `[K, N]`, `c` rows of `row_stride` values. Panics if a matrix is too small.
pub fn gemm(isa: Isa, team: &Team, shape: Shape, a: Matrix, b: Right, c: &mut [f32], row_stride: usize) {
    let Shape { m, n, k, .. } = shape;
    if m == 0 || n == 0 {
        return;
    }
    a.check(m, k);
    match b {
        Right::Matrix(b) => b.check(k, n),
        Right::Packed(p) => assert!(p.k == k && p.n == n, "packed for {}×{}, used as {k}×{n}", p.k, p.n),
    }
    assert!((m - 1) * row_stride + n <= c.len() && n <= row_stride, "C is too small");
    let c = Shared::new(c);
    // Products that are done sooner than another thread wakes up stay on this one.
    let alone = Team::solo();
    let team = if m * n * k < SMALL { &alone } else { team };
    let part = |rows, columns| Part { shape, a, b, rows, columns, c: &c, row_stride };
    // A few rows (decoding) leave only columns to share out. Either way, no two threads write to one element of C.
    if m >= 4 * team.size() {
        team.split(m, 12, |rows| part(rows, 0..n).run(isa));
    } else {
        team.split(n, LANES, |columns| part(0..m, columns).run(isa));
    }
}

/// Part of a product: rows and columns of C (the first column a multiple of 32).
struct Part<'a> {
    shape: Shape,
    a: Matrix<'a>,
    b: Right<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    c: &'a Shared<'a, f32>,
    row_stride: usize,
}

impl Part<'_> {
    fn run(&self, isa: Isa) {
        let (m, k) = (self.rows.len(), self.shape.k);
        // With a tile or two of rows nothing is read often, so there is nothing to block for.
        let once = m <= FEW_ROWS;
        let (block_m, block_k) = if once { (m, k) } else { (BLOCK_M.min(m), BLOCK_K.min(k)) };
        // Copying a block of A pays from a few panels of B on.
        let copy = if once || self.columns.len() < 4 * LANES { None } else { Copy::of(self.a) };
        let copy_len = if copy.is_some() { (block_m + LINE) * (block_k + LINE) } else { 0 };
        scratch::with(block_k * LANES + copy_len, |buffer| {
            let (packed, copied) = buffer.split_at_mut(block_k * LANES);
            // One pass even if k = 0: C is still to be overwritten.
            for k0 in (0..k.max(1)).step_by(block_k.max(1)) {
                let ks = k0..k.min(k0 + block_k);
                for row in self.rows.clone().step_by(block_m) {
                    let rows = row..self.rows.end.min(row + block_m);
                    block(isa, self, rows, ks.clone(), copy, copied, packed);
                }
            }
        });
    }
}

/// How a block of A is copied before its tiles are read again and again.
#[derive(Clone, Copy)]
enum Copy {
    /// Rows that share a cache set, being a large power of two apart: the same with another distance.
    Rows,
    /// Columns: one tile after another, so that a tile's values lie together.
    Tiles,
}

impl Copy {
    fn of(a: Matrix) -> Option<Copy> {
        if a.column_stride == 1 {
            a.row_stride.is_multiple_of(1024).then_some(Copy::Rows)
        } else {
            (a.row_stride == 1).then_some(Copy::Tiles)
        }
    }
}

/// Rows of A as tiles read them: tile number t starts at `data[t · TILE_ROWS · tile_stride]`.
#[derive(Clone, Copy)]
struct Left<'a> {
    rows: Matrix<'a>,
    tile_stride: usize,
}

/// What will be read next and is far away: asked for a little at a time, it arrives while tiles are computed. (Asking
/// for what is packed while computing gains nothing.)
#[derive(Clone, Copy)]
struct Ahead<'a> {
    /// Whether the tiles of A, whole rows, are read for the first time.
    a: bool,
    /// The next panel of B.
    b: &'a [f32],
}

impl<'a> Left<'a> {
    fn uncopied(rows: Matrix<'a>) -> Self {
        Left { rows, tile_stride: rows.row_stride }
    }

    /// `rows` rows of `ks` values, each a cache line further apart than it is long.
    #[inline(always)]
    fn copied_rows(a: Matrix, rows: usize, ks: usize, to: &'a mut [f32]) -> Self {
        let padded = ks + LINE;
        for (row, to) in to.chunks_exact_mut(padded).take(rows).enumerate() {
            to[..ks].copy_from_slice(&a.data[row * a.row_stride..][..ks]);
        }
        Left::uncopied(Matrix::rows(to, padded))
    }

    /// `rows` rows that lie side by side in each of `ks` lines of `a`, tile by tile, `[⌈rows / tile⌉][ks][tile]`.
    #[inline(always)]
    fn copied_tiles(a: Matrix, rows: usize, ks: usize, tile: usize, to: &'a mut [f32]) -> Self {
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

crate::kernel! {
    /// The chains over `ks` of `rows` of C. `copied` is room for that block of A, `packed` for a panel of B.
    fn block<S>(s, part: &Part, in_rows: Range<usize>, ks: Range<usize>, copy: Option<Copy>, copied: &mut [f32], packed: &mut [f32]) {
        let Part { shape: Shape { n, accumulate, .. }, row_stride, .. } = *part;
        let (m, once) = (in_rows.len(), part.rows.len() <= FEW_ROWS);
        let a = part.a.from(in_rows.start, ks.start);
        let a = match copy {
            None => Left::uncopied(a),
            Some(Copy::Rows) => Left::copied_rows(a, m, ks.len(), copied),
            Some(Copy::Tiles) => Left::copied_tiles(a, m, ks.len(), S::TILE_ROWS, copied),
        };
        for column in part.columns.clone().step_by(LANES) {
            let width = LANES.min(part.columns.end - column);
            let panel = match part.b {
                Right::Packed(p) => Panel { data: p.panel(column, ks.start), row_stride: LANES },
                // Read once, whole rows need no packing.
                Right::Matrix(b) if once && width == LANES && b.column_stride == 1 => {
                    Panel { data: b.from(ks.start, column).data, row_stride: b.row_stride }
                }
                Right::Matrix(b) => {
                    pack_panel(b, ks.clone(), column, n, &mut packed[..ks.len() * LANES]);
                    Panel { data: packed, row_stride: LANES }
                }
            };
            let ahead = Ahead {
                a: column == part.columns.start && copy.is_none() && part.a.column_stride == 1 && !once,
                b: match part.b {
                    Right::Packed(p) if column + LANES < part.columns.end && !once => {
                        &p.panel(column + LANES, ks.start)[..ks.len() * LANES]
                    }
                    _ => &[],
                },
            };
            let from = in_rows.start * row_stride + column;
            let c = part.c.pointer(from..from + (m - 1) * row_stride + width);
            let load = accumulate || ks.start > 0;
            rows(s, a, m, ks.len(), panel, ahead, Tile { c, row_stride, width, load });
        }
    }
}

crate::kernel! {
    /// C (+)= A·B on the calling thread for a `b` of one panel: `a` `[m, k]`, `panel` `[k, 32]`, `c` rows of
    /// `row_stride` values, the first `width` of which are computed.
    pub(crate) fn panel_product<S>(s, a: Matrix, m: usize, k: usize, panel: &[f32], c: &mut [f32], row_stride: usize, width: usize, accumulate: bool) {
        a.check(m, k);
        assert!(width <= LANES && m > 0 && (m - 1) * row_stride + width <= c.len(), "C is too small");
        let panel = Panel { data: panel, row_stride: LANES };
        let ahead = Ahead { a: false, b: &[] };
        rows(s, Left::uncopied(a), m, k, panel, ahead, Tile { c: c.as_mut_ptr(), row_stride, width, load: accumulate });
    }
}

/// 32 columns of B.
#[derive(Clone, Copy)]
struct Panel<'a> {
    data: &'a [f32],
    row_stride: usize,
}

/// Part of C: some rows of up to 32 columns.
#[derive(Clone, Copy)]
struct Tile {
    c: *mut f32,
    row_stride: usize,
    width: usize,
    load: bool,
}

/// `m` rows, a tile at a time.
#[inline(always)]
fn rows<S: Simd>(s: S, a: Left, m: usize, ks: usize, panel: Panel, ahead: Ahead, t: Tile) {
    assert!(ks == 0 || (ks - 1) * panel.row_stride + LANES <= panel.data.len(), "B is too small");
    // The next panel's lines are shared out among this one's tiles.
    let mut lines = ahead.b.chunks(LINE);
    let share = lines.len().div_ceil(m.div_ceil(S::TILE_ROWS));
    for row in (0..m).step_by(S::TILE_ROWS) {
        // C comes from far away: ask for the next tile's part while this one is computed.
        for next in row + S::TILE_ROWS..m.min(row + 2 * S::TILE_ROWS) {
            let line = t.c.wrapping_add(next * t.row_stride);
            s.prefetch(line);
            s.prefetch(line.wrapping_add(LINE));
        }
        for line in lines.by_ref().take(share) {
            s.prefetch_far(line.as_ptr());
        }
        // SAFETY: the caller's tile has `m` rows.
        let c = unsafe { t.c.add(row * t.row_stride) };
        let data = a.rows.data.get(row * a.tile_stride..).unwrap_or_default();
        let next = a.rows.data.as_ptr().wrapping_add((row + S::TILE_ROWS) * a.tile_stride);
        let next = (ahead.a && row + S::TILE_ROWS < m).then_some(next);
        tiles(s, Matrix { data, ..a.rows }, S::TILE_ROWS.min(m - row), ks, panel, next, Tile { c, ..t });
    }
}

/// Picks the tile compiled for this number of rows. Few rows leave registers for all 32 columns at once.
#[inline(always)]
fn tiles<S: Simd>(s: S, a: Matrix, rows: usize, ks: usize, panel: Panel, next: Option<*const f32>, t: Tile) {
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
                        let next = next.filter(|_| column == 0);
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
/// `b_stride` apart; `next` are the rows of A that will be needed after these.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const WIDE: bool>(
    s: S,
    a: Matrix,
    ks: usize,
    b: *const f32,
    b_stride: usize,
    next: Option<*const f32>,
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
    if let Some(next) = next {
        while from + LINE <= ks {
            for row in 0..ROWS {
                s.prefetch_far(next.wrapping_add(row * a.row_stride + from));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use proptest::prelude::*;

    /// The definition.
    fn slow(shape: Shape, a: Matrix, b: Matrix, c: &mut [f32], row_stride: usize) {
        for i in 0..shape.m {
            for j in 0..shape.n {
                let c = &mut c[i * row_stride + j];
                let mut chain = if shape.accumulate { *c } else { 0.0 };
                for k in 0..shape.k {
                    let a = a.data[i * a.row_stride + k * a.column_stride];
                    chain = a.mul_add(b.data[k * b.row_stride + j * b.column_stride], chain);
                }
                *c = chain;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn equals_the_definition_bit_for_bit(m in prop_oneof![9 => 0usize..40, 1 => 238usize..260], n in 0usize..200,
                                             k in 0usize..600, accumulate: bool, at: bool, bt: bool, seed: u32,
                                             threads in 1usize..4) {
            let shape = Shape { m, n, k, accumulate };
            let (av, bv, c0) = (noise(m * k, seed), noise(k * n, seed ^ 1), noise(m * (n + 3), seed ^ 2));
            let a = if at { Matrix::rows(&av, m).transposed() } else { Matrix::rows(&av, k) };
            let b = if bt { Matrix::rows(&bv, k).transposed() } else { Matrix::rows(&bv, n) };
            let mut expected = c0.clone();
            slow(shape, a, b, &mut expected, n + 3);
            let team = Team::new(threads).unwrap();
            let packed = Packed::new(b, k, n);
            for isa in Isa::available() {
                for right in [Right::Matrix(b), Right::Packed(&packed)] {
                    let mut c = c0.clone();
                    gemm(isa, &team, shape, a, right, &mut c, n + 3);
                    prop_assert!(c.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits()), "{}", isa.name());
                }
            }
        }
    }
}
