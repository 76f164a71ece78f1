//! Attention forward: from the rows of a batch, or from pages that a cache holds.
//!
//! A block of rows sees all of its keys at once where pages are exact. Where they round it sees one segment of
//! [`SEGMENT`] positions after another and merges what each gives, as in the online softmax of Milakov and Gimelshein
//! (2018): scores stay in a core's cache however long the context is, and threads share the segments of a single row.

use super::Shape;
use super::pages::{Form, Head, PAGE, append, copy, page_len, room};
use super::rows::{BLOCK, Rows, scaled, share, weights};
use super::segments::{SEGMENT, merge};
use crate::gemm::{Matrix, panel_product};
use crate::simd::{Isa, LANES};
use crate::team::Shared;
use crate::{Cpu, scratch};
use std::ops::Range;

/// Consecutive query rows of one sequence, and the pages with its keys and values.
#[derive(Clone)]
pub struct CachedSpan<'a> {
    /// The query rows.
    pub rows: Range<usize>,
    /// Position of the first row in its sequence.
    pub start: usize,
    /// Pages of the sequence from position 0, with the keys and values of these rows appended.
    pub pages: &'a [&'a [f32]],
}

/// Attention of whole sequences. `q` `[T, H, dk]`, `k` `[T, kv_heads, dk]`, `v` `[T, kv_heads, dv]`; `spans` are the
/// rows of each sequence. Overwrites `out` `[T, H, dv]` and `stats` `[T, H, 2]` (each row's maximum and sum, for
/// [`backward`](super::backward()); see [`forward_cached`] for doing without). Rows in no span are left alone.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    cpu: &Cpu,
    shape: &Shape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    spans: &[Range<usize>],
    out: &mut [f32],
    stats: &mut [f32],
) {
    shape.check();
    let (k_width, v_width, page_len) =
        (shape.kv_heads * shape.dk, shape.kv_heads * shape.dv, page_len(shape, Form::F32));
    let tokens = q.len() / (shape.heads * shape.dk);
    assert_eq!(k.len(), tokens * k_width, "keys of {tokens} rows");
    assert_eq!(v.len(), tokens * v_width, "values of {tokens} rows");
    assert_eq!(stats.len(), tokens * shape.heads * 2, "stats of {tokens} rows");
    let starts: Vec<Range<usize>> =
        spans.iter().flat_map(|span| span.clone().step_by(PAGE).map(|t| t..span.end.min(t + PAGE))).collect();
    scratch::with(starts.len() * page_len, |buffer| {
        pack(cpu, shape, k, v, starts.into_iter(), buffer);
        let pages: Vec<&[f32]> = buffer.chunks_exact(page_len).collect();
        let mut next = 0;
        let cached: Vec<CachedSpan> = spans
            .iter()
            .map(|rows| {
                let from = next;
                next += rows.len().div_ceil(PAGE);
                CachedSpan { rows: rows.clone(), start: 0, pages: &pages[from..next] }
            })
            .collect();
        attend(cpu, shape, Form::F32, q, &cached, out, Some(stats));
    });
}

/// Attention of the rows in `spans`, whose keys and values are in pages of `form`: `q` `[T, H, dk]`, `out` `[T, H, dv]`
/// overwritten. Over exact pages the bits are those of [`forward`].
pub fn forward_cached(cpu: &Cpu, shape: &Shape, form: Form, q: &[f32], spans: &[CachedSpan], out: &mut [f32]) {
    shape.check();
    attend(cpu, shape, form, q, spans, out, None);
}

/// Writes keys and values to pages, those of the tokens in each of `starts` to one.
pub(super) fn pack(
    cpu: &Cpu,
    shape: &Shape,
    k: &[f32],
    v: &[f32],
    starts: impl Iterator<Item = Range<usize>>,
    to: &mut [f32],
) {
    let (k_width, v_width, page_len) =
        (shape.kv_heads * shape.dk, shape.kv_heads * shape.dv, page_len(shape, Form::F32));
    let starts: Vec<Range<usize>> = starts.collect();
    let shared = Shared::new(to);
    // Too few values to copy are not worth another thread.
    cpu.team.split(starts.len(), (1 << 17) / page_len.max(1), |pages| {
        for page in pages {
            // SAFETY: teams get disjoint pages.
            let to = unsafe { shared.part(page * page_len..(page + 1) * page_len) };
            for (slot, t) in starts[page].clone().enumerate() {
                append(shape, Form::F32, &k[t * k_width..][..k_width], &v[t * v_width..][..v_width], to, slot);
            }
        }
    });
}

/// Shares the blocks of rows out over the team.
fn attend(
    cpu: &Cpu,
    shape: &Shape,
    form: Form,
    q: &[f32],
    spans: &[CachedSpan],
    out: &mut [f32],
    stats: Option<&mut [f32]>,
) {
    let tokens = q.len() / (shape.heads * shape.dk);
    assert_eq!(q.len(), tokens * shape.heads * shape.dk, "queries are not rows");
    assert_eq!(out.len(), tokens * shape.heads * shape.dv, "out of {tokens} rows");
    let mut blocks = Vec::new();
    let mut multiply_adds = 0;
    for (i, span) in spans.iter().enumerate() {
        let (len, pages) = (span.rows.len(), span.pages);
        assert!(span.rows.end <= tokens, "rows {:?} of {tokens}", span.rows);
        assert!(
            (span.start + len).div_ceil(PAGE) <= pages.len(),
            "{} pages for {} positions",
            pages.len(),
            span.start + len
        );
        assert!(pages.iter().all(|page| page.len() == page_len(shape, form)), "length of a page");
        multiply_adds += len * shape.heads * (span.start + len) * (shape.dk + shape.dv);
        blocks.extend(Rows::blocks(shape, span.rows.clone(), span.start).map(|rows| (i, rows)));
    }
    let layer = Layer { isa: cpu.isa, shape, form, q };
    let (out, stats) = (Shared::new(out), stats.map(Shared::new));
    let len = part_len(shape);
    let segments = |rows: &Rows| layer.segments(rows.keys(shape));
    let pages = |span: usize, positions: &Range<usize>| {
        &spans[span].pages[positions.start / PAGE..positions.end.div_ceil(PAGE)]
    };
    if blocks.len() >= 2 * cpu.team.size() || blocks.iter().all(|(_, rows)| segments(rows).len() == 1) {
        return share(&cpu.team, blocks.len(), multiply_adds, |unit| {
            let (span, rows) = &blocks[unit];
            scratch::with(2 * len, |buffer| {
                let (part, later) = buffer.split_at_mut(len);
                for (i, segment) in segments(rows).enumerate() {
                    let to = if i == 0 { &mut *part } else { &mut *later };
                    layer.attend(pages(*span, &segment), rows, segment, to);
                    if i > 0 {
                        merge(cpu.isa, rows.pairs.len(), part, later);
                    }
                }
                layer.write(rows, part, &out, stats.as_ref());
            });
        });
    }
    // Few rows that see much: threads share their segments, which are merged in the same order.
    let units: Vec<(usize, Range<usize>)> =
        blocks.iter().enumerate().flat_map(|(i, (_, rows))| segments(rows).map(move |segment| (i, segment))).collect();
    scratch::with(units.len() * len, |buffer| {
        let parts = Shared::new(buffer);
        share(&cpu.team, units.len(), multiply_adds, |unit| {
            let (i, segment) = &units[unit];
            let (span, rows) = &blocks[*i];
            // SAFETY: each unit has a part of its own.
            let part = unsafe { parts.part(unit * len..(unit + 1) * len) };
            layer.attend(pages(*span, segment), rows, segment.clone(), part);
        });
        let mut parts = buffer.chunks_exact_mut(len);
        for (_, rows) in &blocks {
            let mut of_rows = parts.by_ref().take(segments(rows).len());
            let first = of_rows.next().expect("a row sees its own position");
            of_rows.for_each(|later| merge(cpu.isa, rows.pairs.len(), first, later));
            layer.write(rows, first, &out, stats.as_ref());
        }
    });
}

/// What a block of rows gets from some of its keys: for each row Σ p·v in whole panels of values, then the maximum of each
/// row, then Σ p of each. Values in it.
pub(super) fn part_len(shape: &Shape) -> usize {
    BLOCK * (shape.dv.next_multiple_of(LANES) + 2)
}

/// What all blocks of a call share.
pub(super) struct Layer<'a> {
    pub isa: Isa,
    pub shape: &'a Shape,
    pub form: Form,
    pub q: &'a [f32],
}

impl Layer<'_> {
    /// The positions before `end` that are attended to together.
    fn segments(&self, end: usize) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let len = if self.form == Form::F32 { end } else { SEGMENT };
        (0..end.div_ceil(len)).map(move |i| i * len..end.min((i + 1) * len))
    }

    /// What a block of rows of one head gets from the keys at `positions`, which are in `pages`.
    pub fn attend(&self, pages: &[&[f32]], rows: &Rows, positions: Range<usize>, part: &mut [f32]) {
        let Layer { isa, shape, form, q } = *self;
        let Shape { dk, dv, .. } = *shape;
        let (n, end) = (rows.pairs.len(), positions.len());
        // Not a power of two, or the rows of a tile would share one cache set.
        let (width, out_width) = (pages.len() * PAGE + LANES / 2, dv.next_multiple_of(LANES));
        let (sums, row_stats) = part.split_at_mut(BLOCK * out_width);
        scratch::with(n * (width + dk) + room(shape, form), |buffer| {
            let (scores, rest) = buffer.split_at_mut(n * width);
            let (queries, room) = rest.split_at_mut(n * dk);
            for (query, i) in queries.chunks_exact_mut(dk).zip(rows.indices(shape)) {
                copy(&q[i * dk..][..dk], query);
            }
            let head = |page| Head::of(isa, shape, form, page, rows.head);
            // Pages lie anywhere in memory, so that only we know which one comes next.
            let next = |i: usize| pages.get(i + 1).map_or((&[][..], &[][..]), |page| head(page).stored());
            for (i, page) in pages.iter().enumerate() {
                let to = &mut scores[i * PAGE..];
                let (keys, next) = (head(page).keys(room), next(i).0);
                panel_product(isa, Matrix::rows(queries, dk), n, dk, keys, next, to, width, PAGE, false);
            }
            softmax(isa, shape, rows, positions, scores, width, row_stats);
            for (i, page) in pages.iter().enumerate() {
                let p = Matrix { data: &scores[i * PAGE..], row_stride: width, column_stride: 1 };
                let mut next = next(i).1.chunks(PAGE * LANES);
                for (c, panel) in head(page).values(room).enumerate() {
                    let (to, next) = (&mut sums[c * LANES..], next.next().unwrap_or_default());
                    panel_product(isa, p, n, PAGE.min(end - i * PAGE), panel, next, to, out_width, LANES, i > 0);
                }
            }
        });
    }

    /// Writes what a block got from all of its keys. Each row of `out` and `stats` belongs to one block.
    pub fn write(&self, rows: &Rows, part: &[f32], out: &Shared<f32>, stats: Option<&Shared<f32>>) {
        let (dv, out_width) = (self.shape.dv, self.shape.dv.next_multiple_of(LANES));
        let (sums, row_stats) = part.split_at(BLOCK * out_width);
        let (maxima, totals) = row_stats.split_at(BLOCK);
        for (i, index) in rows.indices(self.shape).enumerate() {
            // SAFETY: this row is this block's own.
            let out = unsafe { out.part(index * dv..(index + 1) * dv) };
            divide(self.isa, &sums[i * out_width..][..out_width], totals[i], out);
            if let Some(stats) = stats {
                // SAFETY: as above.
                unsafe { stats.part(2 * index..2 * index + 2) }.copy_from_slice(&[maxima[i], totals[i]]);
            }
        }
    }
}

crate::kernel! {
    /// Turns rows of `width` scores, those of the keys at `positions`, into exp(s·scale − max), +0 where masked. `stats`
    /// gets each row's maximum, then each row's sum; −∞ and 0 of rows that see none of these positions.
    fn softmax<S>(
        s, shape: &Shape, rows: &Rows, positions: Range<usize>, scores: &mut [f32], width: usize, stats: &mut [f32],
    ) {
        let (maxima, sums) = stats.split_at_mut(BLOCK);
        let stats = maxima.iter_mut().zip(sums);
        for ((row, limit), (row_max, row_sum)) in scores.chunks_exact_mut(width).zip(rows.limits(shape)).zip(stats) {
            let limit = limit.saturating_sub(positions.start).min(positions.len());
            let (seen, masked) = row.as_chunks_mut::<LANES>().0.split_at_mut(limit.div_ceil(LANES));
            let mut max = s.splat(f32::NEG_INFINITY);
            for (i, chunk) in seen.iter_mut().enumerate() {
                let x = scaled(s, chunk, shape.scale, limit, i * LANES);
                max = s.max(x, max);
                s.store(chunk, x);
            }
            let max = s.largest(max);
            let mut sum = s.splat(0.0);
            for (i, chunk) in seen.iter_mut().enumerate() {
                let p = weights(s, s.load(chunk), max, limit, i * LANES);
                sum = s.add(sum, p);
                s.store(chunk, p);
            }
            masked.as_flattened_mut().fill(0.0);
            (*row_max, *row_sum) = (max, s.sum(sum));
        }
    }
}

crate::kernel! {
    /// out = (sums + 0) / sum. The zero makes −0 into +0: masked keys would, and how many there are must not show.
    fn divide<S>(s, sums: &[f32], sum: f32, out: &mut [f32]) {
        for (out, sums) in out.chunks_mut(LANES).zip(sums.as_chunks().0) {
            let y = s.div(s.add(s.load(sums), s.splat(0.0)), s.splat(sum));
            s.store_partial(out, y);
        }
    }
}
