//! Matrix products: C (+)= A·B, every element one chain of fused multiply-adds in ascending k.
//!
//! SIMD runs across the columns of C and blocking over k reloads the partial result, so neither block sizes, row
//! splits, batch size nor instruction set show in the bits. B comes in panels of 32 columns: a weight's own, or made
//! panel by panel while it is in cache. A may have any strides; where it is read often, a block of it is copied first.
//! Several products can be shared out at once, as experts need it.
//!
//! M, N, K: rows and columns of C and the length of the chain.

mod left;
mod pack;
mod tile;

use crate::scratch;
use crate::simd::{Isa, LANES};
use crate::team::{Shared, Team};
use crate::weight::{Frozen, Weight};
use left::{Copy, Left};
use std::ops::Range;
use tile::{Ahead, Panel, Tile, rows};

/// Steps of k between reloads of C: a panel block of 32 × 256 values (32 KiB) stays in the first-level cache.
const BLOCK_K: usize = 256;

/// Rows of A between reloads of B's panels: a block of 528 × 256 values (528 KiB) stays in the second-level cache.
const BLOCK_M: usize = 528;

/// Rows that are computed without copying anything.
const FEW_ROWS: usize = 12;

/// Steps of k for which a panel is made when it is for a few rows: with what it is made from it stays in the
/// first-level cache.
const FEW_K: usize = 64;

/// Rows that are shared out together: those of a tile, or of two.
const ROW_GRAIN: usize = 12;

/// How much larger the largest share of rows may be than that of columns: rows are shared out before columns, so that
/// each thread copies rows of its own.
const SLACK: f64 = 1.1;

/// Values in a cache line.
const LINE: usize = 16;

/// Multiply-adds below which a product stays on the calling thread.
const SMALL: usize = 1 << 17;

/// Pieces for each thread into which products are cut, so that uneven ones, and threads of uneven speed, even out.
const PIECES: usize = 4;

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
    /// Wᵀ for a weight W `[N, K]`, whose panels are B's.
    Weight(Weight<'a>),
    /// A weight W `[K, N]` itself, whose panels are transposed while computing.
    Transposed(Weight<'a>),
}

impl Right<'_> {
    fn check(&self, k: usize, n: usize) {
        let (rows, columns) = match self {
            Right::Matrix(b) => return b.check(k, n),
            Right::Weight(Weight::Integer(_)) => panic!("products in integers are made by linear and grouped alone"),
            Right::Weight(w) => (w.k(), w.n()),
            Right::Transposed(w) => (w.n(), w.k()),
        };
        assert!(rows == k && columns == n, "a weight for {rows}×{columns}, used as {k}×{n}");
    }

    /// Whether its panels are there as they are multiplied.
    fn is_plain(&self) -> bool {
        matches!(self, Right::Weight(w) if w.as_f32().is_some())
    }

    /// Whether a panel has to be made before it can be read, if the rows it is for are few.
    fn is_made(&self) -> bool {
        match self {
            Right::Matrix(_) => false,
            Right::Weight(w) => w.as_f32().is_none(),
            Right::Transposed(_) => true,
        }
    }
}

/// Where C `[M, N]` is.
pub struct Target<'a> {
    data: &'a mut [f32],
    layout: Layout,
}

#[derive(Clone, Copy)]
enum Layout {
    /// Rows that start so many values apart.
    Rows(usize),
    /// Panels of 32 columns and so many rows.
    Panels(usize),
}

impl<'a> Target<'a> {
    /// Rows that start `stride` values apart.
    pub fn rows(data: &'a mut [f32], stride: usize) -> Self {
        Target { data, layout: Layout::Rows(stride) }
    }

    /// Panels of 32 columns and `m` rows: the layout of a weight `[N, M]` (see [`panels`](crate::panels)).
    pub fn panels(data: &'a mut [f32], m: usize) -> Self {
        Target { data, layout: Layout::Panels(m) }
    }

    fn check(&self, m: usize, n: usize) {
        let fits = match self.layout {
            Layout::Rows(stride) => (m - 1) * stride + n <= self.data.len() && n <= stride,
            Layout::Panels(rows) => rows == m && n.div_ceil(LANES) * m * LANES == self.data.len(),
        };
        assert!(fits, "C of {m} × {n} does not fit its {} values", self.data.len());
    }
}

impl Layout {
    /// Distance between rows.
    fn row_stride(self) -> usize {
        match self {
            Layout::Rows(stride) => stride,
            Layout::Panels(_) => LANES,
        }
    }

    /// Where row `row` of the panel at `column` starts.
    fn start(self, row: usize, column: usize) -> usize {
        match self {
            Layout::Rows(stride) => row * stride + column,
            Layout::Panels(rows) => column * rows + row * LANES,
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

impl Shape {
    fn multiply_adds(&self) -> usize {
        self.m * self.n * self.k
    }
}

/// C (+)= A·B for A `[M, K]`, B `[K, N]`, C `[M, N]`.
pub struct Product<'a> {
    /// Sizes and manner.
    pub shape: Shape,
    /// A.
    pub a: Matrix<'a>,
    /// B.
    pub b: Right<'a>,
    /// C.
    pub c: Target<'a>,
}

impl<'a> Product<'a> {
    /// Panics if a matrix is too small.
    fn check(&self) {
        let Shape { m, n, k, .. } = self.shape;
        self.a.check(m, k);
        self.b.check(k, n);
        self.c.check(m, n);
    }

    fn is_empty(&self) -> bool {
        self.shape.m == 0 || self.shape.n == 0
    }
}

/// Computes a product. Panics if a matrix is too small.
pub fn gemm(isa: Isa, team: &Team, product: Product) {
    if product.is_empty() {
        return;
    }
    product.check();
    let Product { shape, a, b, c: Target { data, layout } } = product;
    let Shape { m, n, .. } = shape;
    let c = Shared::new(data);
    // Products that are done sooner than another thread wakes up stay on this one.
    let alone = Team::solo();
    let team = if shape.multiply_adds() < SMALL { &alone } else { team };
    let part = |rows, columns| Part { isa, shape, a, b, rows, columns, c: &c, layout };
    // A few rows (decoding) leave only columns to share out, and some (many readers) leave one thread with fewer than
    // another. Either way, no two threads write to one element of C.
    let largest =
        |of: usize, grain: usize| (of.div_ceil(team.size()).next_multiple_of(grain) as f64 / of as f64).min(1.0);
    if m >= 4 * team.size() && largest(m, ROW_GRAIN) <= SLACK * largest(n, LANES) {
        // Each piece reads the panels of B anew, or even makes them.
        let least = if b.is_plain() { 4 * ROW_GRAIN } else { BLOCK_M };
        let pieces = (m / (least * team.size())).clamp(1, PIECES);
        team.split_in(m, ROW_GRAIN, pieces, |rows| part(rows, 0..n).run());
    } else {
        team.split(n, LANES, |columns| part(0..m, columns).run());
    }
}

/// Computes several products, each cut by columns into pieces of about the same work, which the team shares out.
/// Panics if a matrix is too small.
pub fn gemm_each(isa: Isa, team: &Team, products: Vec<Product>) {
    let products: Vec<_> = products.into_iter().filter(|product| !product.is_empty()).collect();
    products.iter().for_each(Product::check);
    let work: usize = products.iter().map(|product| product.shape.multiply_adds()).sum();
    let alone = Team::solo();
    let team = if work < SMALL { &alone } else { team };
    let piece = work.div_ceil(PIECES * team.size());
    let shared: Vec<_> =
        products.into_iter().map(|Product { shape, a, b, c }| (shape, a, b, Shared::new(c.data), c.layout)).collect();
    let mut parts = Vec::new();
    for (shape, a, b, c, layout) in &shared {
        let panels = if team.size() == 1 { usize::MAX } else { piece / (shape.m * shape.k * LANES).max(1) };
        let step = panels.max(1).saturating_mul(LANES);
        for start in (0..shape.n).step_by(step) {
            let columns = start..shape.n.min(start.saturating_add(step));
            parts.push(Part { isa, shape: *shape, a: *a, b: *b, rows: 0..shape.m, columns, c, layout: *layout });
        }
    }
    // No two parts have an element of C in common.
    team.share(parts.len(), |i| parts[i].run());
}

/// Part of a product: rows and columns of C (the first column a multiple of 32).
struct Part<'a> {
    isa: Isa,
    shape: Shape,
    a: Matrix<'a>,
    b: Right<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    c: &'a Shared<'a, f32>,
    layout: Layout,
}

impl Part<'_> {
    fn run(&self) {
        if let Right::Weight(Weight::Frozen(w)) = self.b
            && self.rows.len() == 1
            && self.a.column_stride == 1
            && w.as_f32().is_none()
        {
            return self.run_one_row(w);
        }
        let (m, k) = (self.rows.len(), self.shape.k);
        // With a tile or two of rows nothing is read often, so there is nothing to block for.
        let few = m <= FEW_ROWS;
        let block_m = if few { m } else { BLOCK_M.min(m) };
        let block_k = match self.b.is_made() {
            true if few => FEW_K.min(k),
            false if few => k,
            _ => BLOCK_K.min(k),
        };
        // Copying a block of A pays from a few panels of B on.
        let copy = if few || self.columns.len() < 4 * LANES { None } else { Copy::of(self.a) };
        let copy_len = if copy.is_some() { (block_m + LINE) * (block_k + LINE) } else { 0 };
        let panel_len = block_k.next_multiple_of(LANES) * LANES;
        // A panel that is made for few rows comes a piece at a time, one piece behind the other.
        let block_n = if few && block_k < k { LANES } else { self.columns.len() };
        scratch::with(panel_len + copy_len, |buffer| {
            let (panel, copied) = buffer.split_at_mut(panel_len);
            for column in self.columns.clone().step_by(block_n) {
                let columns = column..self.columns.end.min(column + block_n);
                // One pass even if k = 0: C is still to be overwritten.
                for k0 in (0..k.max(1)).step_by(block_k.max(1)) {
                    let ks = k0..k.min(k0 + block_k);
                    for row in self.rows.clone().step_by(block_m) {
                        let rows = row..self.rows.end.min(row + block_m);
                        block(self.isa, self, rows, columns.clone(), ks.clone(), copy, copied, panel);
                    }
                }
            }
        });
    }
}

impl Part<'_> {
    /// One row by a frozen weight, decoded on the way: what generates a single text does nothing else.
    fn run_one_row(&self, w: &Frozen) {
        let (row, k) = (self.rows.start, self.shape.k);
        let x = &self.a.from(row, 0).data[..k];
        for column in self.columns.clone().step_by(LANES) {
            let width = LANES.min(self.columns.end - column);
            let start = self.layout.start(row, column);
            // SAFETY: parts have disjoint rows and columns.
            let c = unsafe { self.c.part(start..start + width) };
            let mut sums = [0.0; LANES];
            if self.shape.accumulate {
                sums[..width].copy_from_slice(c);
            }
            w.row_product(self.isa, column, x, &mut sums);
            c.copy_from_slice(&sums[..width]);
        }
    }
}

crate::kernel! {
    /// The chains over `ks` of some rows and columns of C. `copied` is room for that block of A, `made` for a panel of B.
    fn block<S>(s, part: &Part, in_rows: Range<usize>, columns: Range<usize>, ks: Range<usize>, copy: Option<Copy>, copied: &mut [f32], made: &mut [f32]) {
        let Part { shape: Shape { n, accumulate, .. }, layout, .. } = *part;
        let (m, few) = (in_rows.len(), part.rows.len() <= FEW_ROWS);
        let a = part.a.from(in_rows.start, ks.start);
        let a = match copy {
            None => Left::uncopied(a),
            Some(Copy::Rows) => Left::copied_rows(a, m, ks.len(), copied),
            Some(Copy::Tiles) => Left::copied_tiles(a, m, ks.len(), S::TILE_ROWS, copied),
        };
        for column in columns.clone().step_by(LANES) {
            let width = LANES.min(columns.end - column);
            let mut next: &[f32] = &[];
            let panel = match part.b {
                Right::Weight(w) => match (w.as_f32(), w) {
                    (Some(w), _) => {
                        if column + LANES < columns.end {
                            next = w.panel(column + LANES, ks.clone());
                        }
                        Panel { data: w.panel(column, ks.clone()), row_stride: LANES }
                    }
                    (None, Weight::Frozen(w)) => {
                        w.decode(part.isa, column, ks.clone(), &mut made[..ks.len() * LANES]);
                        Panel { data: made, row_stride: LANES }
                    }
                    (None, Weight::Learning(_)) => unreachable!("learning weights are f32"),
                    (None, Weight::Integer(_)) => unreachable!("Right::check refused it"),
                },
                // Read once, whole rows need no packing.
                Right::Matrix(b) if few && width == LANES && b.column_stride == 1 => {
                    Panel { data: b.from(ks.start, column).data, row_stride: b.row_stride }
                }
                Right::Matrix(b) => {
                    pack::pack_panel(b, ks.clone(), column, n, &mut made[..ks.len() * LANES]);
                    Panel { data: made, row_stride: LANES }
                }
                Right::Transposed(w) => {
                    w.transposed_panel(part.isa, column, ks.clone(), made);
                    Panel { data: made, row_stride: LANES }
                }
            };
            let ahead = Ahead {
                a: column == columns.start && copy.is_none() && part.a.column_stride == 1 && !few,
                b: next,
            };
            let from = layout.start(in_rows.start, column);
            let c = part.c.pointer(from..from + (m - 1) * layout.row_stride() + width);
            let load = accumulate || ks.start > 0;
            rows(s, a, m, ks.len(), panel, ahead, Tile { c, row_stride: layout.row_stride(), width, load });
        }
    }
}

crate::kernel! {
    /// C (+)= A·B on the calling thread for a `b` of one panel: `a` `[m, k]`, `panel` `[k, 32]`, `c` rows of
    /// `row_stride` values, the first `width` of which are computed. `next`, which will be read after `panel`, is asked for
    /// meanwhile.
    pub(crate) fn panel_product<S>(s, a: Matrix, m: usize, k: usize, panel: &[f32], next: &[f32], c: &mut [f32], row_stride: usize, width: usize, accumulate: bool) {
        a.check(m, k);
        assert!(width <= LANES && m > 0 && (m - 1) * row_stride + width <= c.len(), "C is too small");
        let panel = Panel { data: panel, row_stride: LANES };
        let ahead = Ahead { a: false, b: next };
        rows(s, Left::uncopied(a), m, k, panel, ahead, Tile { c: c.as_mut_ptr(), row_stride, width, load: accumulate });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panels::{self, Panels};
    use crate::testing::{assert_same_bits, noise};
    use proptest::prelude::*;

    /// The definition, for rows of C that lie `row_stride` apart.
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

    fn in_panels(rows: &[f32], n: usize, k: usize) -> Vec<f32> {
        let mut values = vec![9.0; panels::len(n, k)];
        panels::from_rows(rows, n, k, &mut values);
        values
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
            // The rows of B as a weight of K outputs, the columns as one of N outputs.
            let by_row: Vec<f32> = (0..k * n).map(|i| b.data[i / n * b.row_stride + i % n * b.column_stride]).collect();
            let by_column: Vec<f32> = (0..k * n).map(|i| b.data[i % k * b.row_stride + i / k * b.column_stride]).collect();
            let (by_row, by_column) = (in_panels(&by_row, k, n), in_panels(&by_column, n, k));
            let weight = Weight::Learning(Panels::new(&by_column, n, k));
            let transposed = Weight::Learning(Panels::new(&by_row, k, n));
            // C of M rows is the transpose of a weight [N, M].
            let by_column = |c: &[f32]| -> Vec<f32> { (0..n * m).map(|i| c[i % m * (n + 3) + i / m]).collect() };
            let (c0_panels, expected_panels) = (in_panels(&by_column(&c0), n, m), in_panels(&by_column(&expected), n, m));
            for isa in Isa::available() {
                for b in [Right::Matrix(b), Right::Weight(weight), Right::Transposed(transposed)] {
                    let mut c = c0.clone();
                    gemm(isa, &team, Product { shape, a, b, c: Target::rows(&mut c, n + 3) });
                    assert_same_bits(isa.name(), &c, &expected);
                    let mut c = c0_panels.clone();
                    gemm(isa, &team, Product { shape, a, b, c: Target::panels(&mut c, m) });
                    assert_same_bits(isa.name(), &c, &expected_panels);
                    let mut cs = vec![c0.clone(); 3];
                    let c = |c| Product { shape, a, b, c: Target::rows(c, n + 3) };
                    gemm_each(isa, &team, cs.iter_mut().map(|values| c(values)).collect());
                    cs.iter().for_each(|c| assert_same_bits(isa.name(), c, &expected));
                }
            }
        }
    }
}
