//! Attention that sees its keys in segments and merges what each gives, as the online softmax of Milakov and Gimelshein
//! (2018) does: for pages that round, and for keys and values that are only made when they are needed.

use super::Shape;
use super::forward::{Layer, pack, part_len};
use super::pages::{Form, PAGE, page_len};
use super::rows::{BLOCK, Rows, share};
use crate::math::exp;
use crate::simd::LANES;
use crate::team::Shared;
use crate::{Cpu, scratch};
use std::ops::Range;

/// Positions that are attended to together in pages that round. What a row gets depends on it, so it is fixed.
pub const SEGMENT: usize = 8 * PAGE;

/// Attention of some rows of one sequence whose keys and values come segment by segment, in order.
///
/// For keys that are too many, or too far from what a cache holds, to be there at once. The bits are those of
/// [`forward_cached`](super::forward_cached) over pages of 16-bit floats that have the same keys and values.
pub struct InSegments {
    rows: Range<usize>,
    start: usize,
    /// What each block of rows got so far, one part after the other.
    parts: Vec<f32>,
}

impl InSegments {
    /// Nothing so far, of `rows` whose first is at position `start`.
    pub fn new(shape: &Shape, rows: Range<usize>, start: usize) -> InSegments {
        shape.check();
        let parts = vec![0.0; Rows::blocks(shape, rows.clone(), start).count() * part_len(shape)];
        InSegments { rows, start, parts }
    }

    /// Goes on with the keys `k` `[n, kv_heads, dk]` and values `v` `[n, kv_heads, dv]` of `positions`: a whole segment, or
    /// what there is of the last one. `q` `[T, H, dk]` has the rows.
    pub fn add(&mut self, cpu: &Cpu, shape: &Shape, q: &[f32], (k, v): (&[f32], &[f32]), positions: Range<usize>) {
        assert!(positions.start.is_multiple_of(SEGMENT) && positions.len() <= SEGMENT, "segment {positions:?}");
        let lens = [shape.dk, shape.dv].map(|width| positions.len() * shape.kv_heads * width);
        assert_eq!([k.len(), v.len()], lens, "keys and values of {positions:?}");
        let (page_len, len) = (page_len(shape, Form::F32), part_len(shape));
        let blocks: Vec<Rows> = Rows::blocks(shape, self.rows.clone(), self.start).collect();
        let multiply_adds = self.rows.len() * shape.heads * positions.len() * (shape.dk + shape.dv);
        let layer = Layer { isa: cpu.isa, shape, form: Form::F32, q };
        scratch::with(positions.len().div_ceil(PAGE) * page_len, |buffer| {
            let starts = (0..positions.len()).step_by(PAGE).map(|t| t..positions.len().min(t + PAGE));
            pack(cpu, shape, k, v, starts, buffer);
            let pages: Vec<&[f32]> = buffer.chunks_exact(page_len).collect();
            let parts = Shared::new(&mut self.parts);
            share(&cpu.team, blocks.len(), multiply_adds, |unit| {
                // SAFETY: each unit has a part of its own.
                let part = unsafe { parts.part(unit * len..(unit + 1) * len) };
                let rows = &blocks[unit];
                // Rows before these positions see none of them.
                let seen = positions.start..positions.end.min(rows.keys(shape));
                if positions.start == 0 {
                    layer.attend(&pages[..seen.len().div_ceil(PAGE)], rows, seen, part);
                } else if !seen.is_empty() {
                    scratch::with(len, |later| {
                        layer.attend(&pages[..seen.len().div_ceil(PAGE)], rows, seen, later);
                        merge(cpu.isa, rows.pairs.len(), part, later);
                    });
                }
            });
        });
    }

    /// Overwrites the rows of `out` `[T, H, dv]`.
    pub fn finish(self, cpu: &Cpu, shape: &Shape, out: &mut [f32]) {
        let layer = Layer { isa: cpu.isa, shape, form: Form::F32, q: &[] };
        let out = Shared::new(out);
        let blocks = Rows::blocks(shape, self.rows, self.start);
        for (rows, part) in blocks.zip(self.parts.chunks_exact(part_len(shape))) {
            layer.write(&rows, part, &out, None);
        }
    }
}

crate::kernel! {
    /// Adds what `n` rows got from `later` keys to what they got before. Rows that see none of these stay as they are.
    pub(super) fn merge<S>(s, n: usize, part: &mut [f32], later: &[f32]) {
        let out_width = part.len() / BLOCK - 2;
        let (sums, stats) = part.split_at_mut(BLOCK * out_width);
        let (later_sums, later_stats) = later.split_at(BLOCK * out_width);
        // The rows are lanes here.
        let ([maxima, totals], [later_maxima, later_totals]) =
            (stats.as_chunks_mut::<LANES>().0, later_stats.as_chunks::<LANES>().0)
        else {
            unreachable!("a maximum and a sum for each of {BLOCK} rows");
        };
        let (before, after) = (s.load(maxima), s.load(later_maxima));
        let max = s.max(before, after);
        let (mut kept, mut gained) = ([0.0; LANES], [0.0; LANES]);
        s.store(&mut kept, exp(s, s.sub(before, max)));
        s.store(&mut gained, exp(s, s.sub(after, max)));
        let total = s.mul(s.load(totals), s.load(&kept));
        s.store(totals, s.fma(s.load(later_totals), s.load(&gained), total));
        s.store(maxima, max);
        let rows = sums.chunks_exact_mut(out_width).zip(later_sums.chunks_exact(out_width));
        for ((sums, later), (kept, gained)) in rows.zip(kept.iter().zip(&gained)).take(n) {
            let (kept, gained) = (s.splat(*kept), s.splat(*gained));
            for (sums, later) in sums.as_chunks_mut().0.iter_mut().zip(later.as_chunks().0) {
                s.store(sums, s.fma(s.load(later), gained, s.mul(s.load(sums), kept)));
            }
        }
    }
}
