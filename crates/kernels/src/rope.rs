//! Rotary position embedding (Su et al. 2021, "RoFormer", section 3.2), in place; turning back is its backward.
//!
//! The pair number i of a head at position p turns by the angle p·inv_freq[i]. Which two elements make a pair is the
//! [`Style`]. Left out: how frequencies are chosen (theta, YaRN), which is the model's configuration, but for those that
//! grow with a sequence ([`Growth`]).

use crate::Cpu;
use crate::team::Shared;
use std::sync::OnceLock;

/// Which elements of the rotated part, `dim` wide, pair up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// 2i with 2i+1 (DeepSeek). Pairs stay where they are; an implementation that gathers the halves first changes
    /// queries and keys alike, so their products are the same.
    Interleaved,
    /// i with i + dim/2 (Llama, Qwen).
    Half,
}

/// Where a rotary embedding applies.
#[derive(Clone, Copy)]
pub struct Rope<'a> {
    /// Width of a head; a row has a multiple of it.
    pub head_dim: usize,
    /// First rotated element of a head.
    pub offset: usize,
    /// Rotated elements of a head.
    pub dim: usize,
    /// Which elements pair up.
    pub style: Style,
    /// Cosines and sines by position.
    pub table: &'a RopeTable,
    /// Position of each row.
    pub positions: &'a [Position],
}

/// Where a row stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Its place in the sequence.
    pub at: u32,
    /// How long the sequence is for it, which matters to frequencies that grow.
    pub length: u32,
}

/// Rotates `x` `[rows, heads, head_dim]` by each row's position. With `inverse` the angles are negated: the transpose,
/// so the backward, also where the table has an attention factor.
pub fn rotate(cpu: &Cpu, x: &mut [f32], rope: &Rope, inverse: bool) {
    let rows = rope.positions.len();
    if rows == 0 {
        assert!(x.is_empty(), "rope: values without positions");
        return;
    }
    let width = x.len() / rows;
    assert_eq!(x.len(), rows * width, "rope: x is not {rows} rows");
    assert!(rope.head_dim > 0 && width.is_multiple_of(rope.head_dim), "rope: a row is not heads of {}", rope.head_dim);
    assert!(
        rope.offset + rope.dim <= rope.head_dim && rope.dim == rope.table.dim(),
        "rope: {} elements from {} of a head of {}, table for {}",
        rope.dim,
        rope.offset,
        rope.head_dim,
        rope.table.dim()
    );
    if rope.dim == 0 {
        return;
    }
    let x = Shared::new(x);
    cpu.split_rows(rows, width, |rows| {
        // SAFETY: teams get disjoint rows.
        let x = unsafe { x.part(rows.start * width..rows.end * width) };
        let mut grown = Grown::default();
        for (x, &position) in x.chunks_exact_mut(width).zip(&rope.positions[rows]) {
            let (cos, sin) = match &rope.table.growth {
                Some(growth) if position.length > growth.positions => grown.at(position, growth, rope.dim),
                _ => rope.table.at(position.at),
            };
            rotate_row(cpu.isa, x, rope, cos, sin, inverse);
        }
    });
}

/// Cosines and sines of every position, computed when a position is first asked for.
pub struct RopeTable {
    inv_freq: Vec<f32>,
    attention_factor: f32,
    growth: Option<Growth>,
    /// The first page holds positions 0..256, each further one as many as all before it.
    pages: [OnceLock<Vec<f32>>; 25],
}

const FIRST_PAGE: usize = 256;

impl RopeTable {
    /// A table for 2·`inv_freq.len()` elements of a head; cosines and sines are multiplied by `attention_factor`
    /// (1 but for YaRN).
    pub fn new(inv_freq: &[f32], attention_factor: f32) -> RopeTable {
        let pages = [const { OnceLock::new() }; 25];
        RopeTable { inv_freq: inv_freq.to_vec(), attention_factor, growth: None, pages }
    }

    /// The same with other frequencies for the rows of longer sequences.
    pub fn growing(self, growth: Option<Growth>) -> RopeTable {
        RopeTable { growth, ..self }
    }

    /// Elements of a head that rotate.
    pub fn dim(&self) -> usize {
        2 * self.inv_freq.len()
    }

    /// Cosines and sines of `position`, one of each a pair. The angle is an f32 product, as in Hugging Face's code;
    /// its cosine and sine are computed in f64.
    pub fn at(&self, position: u32) -> (&[f32], &[f32]) {
        let position = position as usize;
        let number = (position / FIRST_PAGE).checked_ilog2().map_or(0, |log| 1 + log) as usize;
        let start = if number == 0 { 0 } else { FIRST_PAGE << (number - 1) };
        let page = self.pages[number].get_or_init(|| self.page(start, start.max(FIRST_PAGE)));
        let pairs = self.inv_freq.len();
        let from = 2 * pairs * (position - start);
        page[from..from + 2 * pairs].split_at(pairs)
    }

    fn page(&self, start: usize, positions: usize) -> Vec<f32> {
        let mut page = Vec::with_capacity(positions * self.dim());
        for position in start..start + positions {
            let angles = self.inv_freq.iter().map(|f| (position as f32 * f) as f64);
            let factor = self.attention_factor;
            page.extend(angles.clone().map(|angle| libm::cos(angle) as f32 * factor));
            page.extend(angles.map(|angle| libm::sin(angle) as f32 * factor));
        }
        page
    }
}

/// Frequencies whose base grows with the sequence beyond the model's positions: `transformers`' "dynamic" scaling.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Growth {
    /// The base of shorter sequences.
    pub theta: f64,
    /// How fast it grows.
    pub factor: f64,
    /// The model's positions, up to which it does not.
    pub positions: u32,
}

impl Growth {
    /// Frequencies of the `dim / 2` pairs in a sequence of `length` tokens; f32 as upstream, where the length is a tensor.
    pub fn inv_freq(&self, length: u32, dim: usize) -> Vec<f32> {
        let stretch = self.factor as f32 * length as f32 / self.positions as f32 - (self.factor - 1.0) as f32;
        let exponent = dim as f64 / (dim as f64 - 2.0);
        let base = self.theta as f32 * libm::pow(f64::from(stretch), exponent) as f32;
        let frequency = |i: usize| 1.0 / libm::pow(f64::from(base), f64::from(i as f32 / dim as f32)) as f32;
        (0..dim).step_by(2).map(frequency).collect()
    }
}

/// The frequencies of the length that was last asked for, and a row of cosines and sines.
#[derive(Default)]
struct Grown {
    length: u32,
    inv_freq: Vec<f32>,
    row: Vec<f32>,
}

impl Grown {
    /// Cosines and sines of a row; no table keeps them, because the next token has others.
    fn at(&mut self, position: Position, growth: &Growth, dim: usize) -> (&[f32], &[f32]) {
        if self.length != position.length {
            self.length = position.length;
            self.inv_freq = growth.inv_freq(position.length, dim);
        }
        let angles = self.inv_freq.iter().map(|f| f64::from(position.at as f32 * f));
        self.row.clear();
        self.row.extend(angles.clone().map(|angle| libm::cos(angle) as f32));
        self.row.extend(angles.map(|angle| libm::sin(angle) as f32));
        self.row.split_at(dim / 2)
    }
}

crate::kernel! {
    /// Plain loops over pairs: the compiler makes vectors of them, and a fused multiply-add is one however it is run.
    fn rotate_row<S>(_s, x: &mut [f32], rope: &Rope, cos: &[f32], sin: &[f32], inverse: bool) {
        let sign = if inverse { -1.0 } else { 1.0 };
        for head in x.chunks_exact_mut(rope.head_dim) {
            let part = &mut head[rope.offset..rope.offset + rope.dim];
            match rope.style {
                Style::Interleaved => {
                    let pairs = part.as_chunks_mut::<2>().0;
                    for (([a, b], &c), &t) in pairs.iter_mut().zip(cos).zip(sin) {
                        (*a, *b) = turn(*a, *b, c, sign * t);
                    }
                }
                Style::Half => {
                    let (first, second) = part.split_at_mut(rope.dim / 2);
                    for (((a, b), &c), &t) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                        (*a, *b) = turn(*a, *b, c, sign * t);
                    }
                }
            }
        }
    }
}

/// (a, b) turned by the angle of this cosine and sine.
#[inline(always)]
fn turn(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (a.mul_add(cos, -(b * sin)), b.mul_add(cos, a * sin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    fn frequencies(pairs: usize) -> Vec<f32> {
        (0..pairs).map(|i| 10_000f32.powf(-(i as f32) / pairs as f32)).collect()
    }

    /// Positions of sequences that end with them.
    fn places(positions: impl IntoIterator<Item = u32>) -> Vec<Position> {
        positions.into_iter().map(|at| Position { at, length: at + 1 }).collect()
    }

    /// The definition.
    fn slow(x: &[f32], rope: &Rope, width: usize, inv_freq: &[f32], factor: f32, inverse: bool) -> Vec<f64> {
        let mut y = to_f64(x);
        for (row, position) in y.chunks_mut(width).zip(rope.positions) {
            for head in row.chunks_mut(rope.head_dim) {
                for (i, frequency) in inv_freq.iter().enumerate() {
                    let (i, j) = match rope.style {
                        Style::Interleaved => (2 * i, 2 * i + 1),
                        Style::Half => (i, i + inv_freq.len()),
                    };
                    let angle = (position.at as f32 * frequency) as f64;
                    let angle = if inverse { -angle } else { angle };
                    let (a, b) = (head[rope.offset + i], head[rope.offset + j]);
                    head[rope.offset + i] = factor as f64 * (a * angle.cos() - b * angle.sin());
                    head[rope.offset + j] = factor as f64 * (b * angle.cos() + a * angle.sin());
                }
            }
        }
        y
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn equals_the_definition(rows in 0usize..150, heads in 1usize..5, pairs in 0usize..40, before in 0usize..9, after in 0usize..9,
                                 interleaved: bool, inverse: bool, seed: u32, cut in 0usize..150) {
            prop_assume!(before + pairs + after > 0);
            let (inv_freq, factor) = (frequencies(pairs), 0.9);
            let table = RopeTable::new(&inv_freq, factor);
            let positions = places((0..rows as u32).map(|i| (i * 37 + seed % 1000) % 5000));
            let head_dim = before + 2 * pairs + after;
            let width = heads * head_dim;
            let style = if interleaved { Style::Interleaved } else { Style::Half };
            let rope = Rope { head_dim, offset: before, dim: 2 * pairs, style, table: &table, positions: &positions };
            let x = noise(rows * width, seed);
            let [y] = same_everywhere(|cpu| {
                let mut y = x.clone();
                rotate(cpu, &mut y, &rope, inverse);
                [y]
            });
            // Cosine, sine, factor, product and sum each round once.
            assert_close("y", &y, &slow(&x, &rope, width, &inv_freq, factor, inverse), 5.0 * 6e-8);
            let at = cut.min(rows);
            for rows in [0..at, at..rows] {
                let values = rows.start * width..rows.end * width;
                let mut part = x[values.clone()].to_vec();
                rotate(&cpus()[0], &mut part, &Rope { positions: &positions[rows], ..rope }, inverse);
                assert_same_bits("in chunks", &part, &y[values]);
            }
        }
    }

    /// A rotation is linear and orthogonal, so its transpose, the backward, is its inverse.
    #[test]
    fn inverse_undoes_and_is_the_transpose() {
        let table = RopeTable::new(&frequencies(16), 1.0);
        let positions = places([3, 700, 100_000]);
        let rope =
            Rope { head_dim: 40, offset: 8, dim: 32, style: Style::Interleaved, table: &table, positions: &positions };
        let (x, dy) = (noise(240, 1), noise(240, 2));
        let (mut y, mut dx) = (x.clone(), dy.clone());
        rotate(&plain(), &mut y, &rope, false);
        rotate(&plain(), &mut dx, &rope, true);
        // ⟨R·x, dy⟩ = ⟨x, Rᵀ·dy⟩; 240 terms that round at 2⁻²⁴.
        assert!((dot(&to_f64(&y), &dy) - dot(&to_f64(&x), &dx)).abs() < 240.0 * 6e-8);
        rotate(&plain(), &mut y, &rope, true);
        assert_close("back", &y, &to_f64(&x), 1e-6);
    }

    #[test]
    fn every_position_has_its_row() {
        let table = RopeTable::new(&[1.0, 0.01], 1.0);
        for position in [0, 1, 255, 256, 257, 511, 512, 1023, 1024, 65_535, 65_536, 1 << 20] {
            let (cos, sin) = table.at(position);
            assert_eq!(cos[1], libm::cos((position as f32 * 0.01) as f64) as f32);
            assert_eq!(sin[0], libm::sin(position as f64) as f32);
        }
    }

    #[test]
    fn longer_sequences_turn_more_slowly() {
        let growth = Growth { theta: 10_000.0, factor: 2.0, positions: 64 };
        // Upstream's formula in f64: at 96 tokens the base is 10000·2^(8/6).
        let frequencies = growth.inv_freq(96, 8);
        for (i, frequency) in frequencies.iter().enumerate() {
            let base: f64 = 10_000.0 * 2f64.powf(8.0 / 6.0);
            assert!((f64::from(*frequency) / base.powf(-(i as f64) / 4.0) - 1.0).abs() < 1e-6);
        }
        let table = RopeTable::new(&self::frequencies(4), 1.0).growing(Some(growth));
        let turned = |table: &RopeTable, at: u32, length: u32| {
            let positions = [Position { at, length }; 2];
            let rope = Rope { head_dim: 8, offset: 0, dim: 8, style: Style::Half, table, positions: &positions };
            let mut y = noise(16, 1);
            rotate(&plain(), &mut y, &rope, false);
            y
        };
        let plain = RopeTable::new(&self::frequencies(4), 1.0);
        assert_same_bits("within", &turned(&table, 63, 64), &turned(&plain, 63, 64));
        let grown = RopeTable::new(&frequencies, 1.0);
        assert_same_bits("beyond", &turned(&table, 40, 96), &turned(&grown, 40, 96));
        assert_ne!(turned(&table, 40, 96), turned(&table, 40, 97));
    }

    #[test]
    fn the_inverse_is_the_derivative() {
        let positions = places([0, 7, 4000]);
        for style in [Style::Interleaved, Style::Half] {
            let table = RopeTable::new(&frequencies(3), 0.9);
            let rope = Rope { head_dim: 9, offset: 2, dim: 6, style, table: &table, positions: &positions };
            let (x, dout) = (noise(3 * 2 * 9, 1), noise(3 * 2 * 9, 2));
            let turned = |x: &[f32], inverse| {
                let mut y = x.to_vec();
                rotate(&plain(), &mut y, &rope, inverse);
                y
            };
            assert_close("dx", &turned(&dout, true), &linear_gradient(&x, &dout, |x| turned(x, false)), 1e-6);
        }
    }
}
