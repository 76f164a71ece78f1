//! Attention forward: from the rows of a batch, or from pages that a cache holds.

use super::Shape;
use super::pages::{Form, Head, PAGE, append, copy, page_len, room};
use super::rows::{BLOCK, Rows, scaled, share, weights};
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
        let shared = Shared::new(buffer);
        cpu.team.split(starts.len(), 16, |pages| {
            for page in pages {
                // SAFETY: teams get disjoint pages.
                let to = unsafe { shared.part(page * page_len..(page + 1) * page_len) };
                for (slot, t) in starts[page].clone().enumerate() {
                    append(shape, Form::F32, &k[t * k_width..][..k_width], &v[t * v_width..][..v_width], to, slot);
                }
            }
        });
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
/// overwritten. The bits are those of [`forward`] with keys and values as the pages have them.
pub fn forward_cached(cpu: &Cpu, shape: &Shape, form: Form, q: &[f32], spans: &[CachedSpan], out: &mut [f32]) {
    shape.check();
    attend(cpu, shape, form, q, spans, out, None);
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
        let pairs = len * shape.group();
        for head in 0..shape.kv_heads {
            for pair in (0..pairs).step_by(BLOCK) {
                let pairs = pair..pairs.min(pair + BLOCK);
                blocks.push((i, Rows { pairs, first: span.rows.start, start: span.start, head }));
            }
        }
    }
    let (out, stats) = (Shared::new(out), stats.map(Shared::new));
    share(&cpu.team, blocks.len(), multiply_adds, |unit| {
        let (span, rows) = &blocks[unit];
        block(cpu.isa, (shape, form), q, spans[*span].pages, rows, &out, stats.as_ref());
    });
}

/// One block of rows of one head. Each row of `out` and `stats` belongs to one block.
fn block(
    isa: Isa,
    (shape, form): (&Shape, Form),
    q: &[f32],
    pages: &[&[f32]],
    rows: &Rows,
    out: &Shared<f32>,
    stats: Option<&Shared<f32>>,
) {
    let Shape { dk, dv, .. } = *shape;
    let (n, end) = (rows.pairs.len(), rows.keys(shape));
    let pages = &pages[..end.div_ceil(PAGE)];
    // Not a power of two, or the rows of a tile would share one cache set.
    let (width, out_width) = (pages.len() * PAGE + LANES / 2, dv.next_multiple_of(LANES));
    scratch::with(n * (width + dk + out_width) + room(shape, form), |buffer| {
        let (scores, rest) = buffer.split_at_mut(n * width);
        let (queries, rest) = rest.split_at_mut(n * dk);
        let (sums, room) = rest.split_at_mut(n * out_width);
        for (query, i) in queries.chunks_exact_mut(dk).zip(rows.indices(shape)) {
            copy(&q[i * dk..][..dk], query);
        }
        for (i, page) in pages.iter().enumerate() {
            let to = &mut scores[i * PAGE..];
            let keys = Head::of(isa, shape, form, page, rows.head).keys(room);
            panel_product(isa, Matrix::rows(queries, dk), n, dk, keys, to, width, PAGE, false);
        }
        let mut row_stats = [[0.0; 2]; BLOCK];
        softmax(isa, shape, rows, scores, width, &mut row_stats);
        for (i, page) in pages.iter().enumerate() {
            let p = Matrix { data: &scores[i * PAGE..], row_stride: width, column_stride: 1 };
            for (c, panel) in Head::of(isa, shape, form, page, rows.head).values(room).enumerate() {
                let to = &mut sums[c * LANES..];
                panel_product(isa, p, n, PAGE.min(end - i * PAGE), panel, to, out_width, LANES, i > 0);
            }
        }
        for ((sums, index), row_stats) in sums.chunks_exact(out_width).zip(rows.indices(shape)).zip(row_stats) {
            // SAFETY: this row is this block's own.
            divide(isa, sums, row_stats[1], unsafe { out.part(index * dv..(index + 1) * dv) });
            if let Some(stats) = stats {
                // SAFETY: as above.
                unsafe { stats.part(2 * index..2 * index + 2) }.copy_from_slice(&row_stats);
            }
        }
    });
}

crate::kernel! {
    /// Turns rows of `width` scores into exp(s·scale − max), +0 where masked; `stats` are each row's maximum and sum.
    fn softmax<S>(s, shape: &Shape, rows: &Rows, scores: &mut [f32], width: usize, stats: &mut [[f32; 2]; BLOCK]) {
        for ((row, limit), stats) in scores.chunks_exact_mut(width).zip(rows.limits(shape)).zip(stats) {
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
            *stats = [max, s.sum(sum)];
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
