//! Query rows of one key/value head: which they are, the softmax over their scores, and who computes them.
//!
//! The rows of a span that share a key/value head are the pairs (token, query head of the group), tokens first. They
//! are computed in blocks of [`BLOCK`], because the scores of a block fit the cache and the keys behind its last row
//! are never looked at.

use super::Shape;
use crate::math::exp;
use crate::simd::{LANES, Simd};
use crate::team::Team;
use std::ops::Range;

/// Rows computed together.
pub(super) const BLOCK: usize = 32;

/// Multiply-adds below which another thread takes longer to wake up than to compute.
const SMALL: usize = 1 << 17;

/// Some of the rows that share a key/value head.
#[derive(Clone)]
pub(super) struct Rows {
    /// Pairs (token, head in the group), counted within the span.
    pub pairs: Range<usize>,
    /// The span's first row among all rows.
    pub first: usize,
    /// Position of that row in its sequence.
    pub start: usize,
    /// Key/value head.
    pub head: usize,
}

impl Rows {
    /// The blocks of all heads of the rows `rows`, whose first is at position `start`.
    pub fn blocks(shape: &Shape, rows: Range<usize>, start: usize) -> impl Iterator<Item = Rows> + use<> {
        let (pairs, first) = (rows.len() * shape.group(), rows.start);
        let block = move |head, pair| Rows { pairs: pair..pairs.min(pair + BLOCK), first, start, head };
        (0..shape.kv_heads).flat_map(move |head| (0..pairs).step_by(BLOCK).map(move |pair| block(head, pair)))
    }

    /// Keys that the last row sees.
    pub fn keys(&self, shape: &Shape) -> usize {
        self.start + (self.pairs.end - 1) / shape.group() + 1
    }

    /// Keys that the first row sees; every `group` rows there is one more.
    pub fn limits(&self, shape: &Shape) -> impl Iterator<Item = usize> + Clone {
        let (start, group) = (self.start, shape.group());
        self.pairs.clone().map(move |pair| start + pair / group + 1)
    }

    /// Index of each row in a `[T, H]` array.
    pub fn indices(&self, shape: &Shape) -> impl Iterator<Item = usize> + Clone {
        let (group, heads, first, head) = (shape.group(), shape.heads, self.first, self.head);
        self.pairs.clone().map(move |pair| (first + pair / group) * heads + head * group + pair % group)
    }
}

/// Calls `work` on each of `0..units`, on the calling thread if there is little to do.
pub(super) fn share(team: &Team, units: usize, multiply_adds: usize, work: impl Fn(usize) + Sync) {
    let alone = Team::solo();
    let team = if multiply_adds < SMALL { &alone } else { team };
    team.share(units, work);
}

/// 32 lanes from `WINDOW[32 − n]` are `inside` for the first n, then `outside`.
const fn window(inside: f32, outside: f32) -> [f32; 2 * LANES] {
    let mut lanes = [inside; 2 * LANES];
    let mut i = LANES;
    while i < 2 * LANES {
        lanes[i] = outside;
        i += 1;
    }
    lanes
}

static SEEN: [f32; 2 * LANES] = window(f32::INFINITY, f32::NEG_INFINITY);
static KEEP: [f32; 2 * LANES] = window(1.0, 0.0);

/// The window in which only the lanes of positions below `limit` are inside, for the 32 positions from `position`.
#[inline(always)]
pub(super) fn mask<S: Simd>(s: S, window: &[f32; 2 * LANES], limit: usize, position: usize) -> S::V {
    let n = LANES.min(limit - position);
    // SAFETY: 32 − n ≤ 32, so 32 values lie behind it.
    unsafe { s.load_ptr(window.as_ptr().add(LANES - n)) }
}

/// exp(s·scale − max) of 32 scores from `position`; +0 from position `limit` on.
#[inline(always)]
pub(super) fn weights<S: Simd>(s: S, scores: S::V, max: f32, limit: usize, position: usize) -> S::V {
    let p = exp(s, s.sub(scores, s.splat(max)));
    if limit - position < LANES { s.mul(p, mask(s, &KEEP, limit, position)) } else { p }
}

/// s·scale of 32 scores; −∞ from position `limit` on.
#[inline(always)]
pub(super) fn scaled<S: Simd>(s: S, scores: &[f32; LANES], scale: f32, limit: usize, position: usize) -> S::V {
    let x = s.mul(s.load(scores), s.splat(scale));
    if limit - position < LANES { s.min(x, mask(s, &SEEN, limit, position)) } else { x }
}
