//! Pages: the keys and values of 32 consecutive positions of one sequence, in the layout that the products read.
//!
//! For each key/value head first the keys, a panel `[dk][32 positions]`, then the values, panels
//! `[⌈dv/32⌉][32 positions][32]` with zeros past dv. Slots that were never written are never used: a page needs no
//! clearing before it serves another sequence.

use super::Shape;
use crate::simd::LANES;

/// Positions in a page.
pub const PAGE: usize = LANES;

/// Values in a page.
pub fn page_len(shape: &Shape) -> usize {
    shape.kv_heads * head_len(shape)
}

/// Values that one head has in a page.
fn head_len(shape: &Shape) -> usize {
    PAGE * (shape.dk + shape.dv.next_multiple_of(LANES))
}

/// Writes the keys `[kv_heads, dk]` and values `[kv_heads, dv]` of one position to `slot` = position mod 32 of its
/// page.
pub fn append(shape: &Shape, k_row: &[f32], v_row: &[f32], page: &mut [f32], slot: usize) {
    let Shape { kv_heads, dk, dv, .. } = *shape;
    assert!(slot < PAGE, "slot {slot} of a page of {PAGE}");
    assert_eq!(page.len(), page_len(shape), "length of a page");
    assert_eq!(k_row.len(), kv_heads * dk, "keys of one position");
    assert_eq!(v_row.len(), kv_heads * dv, "values of one position");
    let rows = k_row.chunks_exact(dk).zip(v_row.chunks_exact(dv));
    for (head, (k, v)) in page.chunks_exact_mut(head_len(shape)).zip(rows) {
        let (keys, values) = head.split_at_mut(dk * PAGE);
        write_column(k, keys, slot);
        for (v, panel) in v.chunks(LANES).zip(values.chunks_exact_mut(PAGE * LANES)) {
            copy(v, &mut panel[slot * LANES..][..LANES]);
        }
    }
}

/// Copies `from` to the start of `to` and fills the rest with zeros. Rows here have a few dozen values, for which
/// calling memcpy takes longer than copying.
#[inline]
pub(super) fn copy(from: &[f32], to: &mut [f32]) {
    let (to, rest) = to.split_at_mut(from.len());
    let (whole, part) = from.as_chunks::<16>();
    let (to_whole, to_part) = to.as_chunks_mut::<16>();
    for (to, from) in to_whole.iter_mut().zip(whole) {
        *to = *from;
    }
    for (to, from) in to_part.iter_mut().zip(part) {
        *to = *from;
    }
    rest.iter_mut().for_each(|x| *x = 0.0);
}

/// Writes `x` down column `slot` of a panel of rows of 32.
#[inline]
pub(super) fn write_column(x: &[f32], panel: &mut [f32], slot: usize) {
    assert!(slot < LANES);
    for (row, x) in panel.as_chunks_mut::<LANES>().0.iter_mut().zip(x) {
        row[slot] = *x;
    }
}

/// The key panel of `head` in a page.
pub(super) fn keys<'a>(shape: &Shape, page: &'a [f32], head: usize) -> &'a [f32] {
    &page[head * head_len(shape)..][..shape.dk * PAGE]
}

/// The value panels of `head` in a page.
pub(super) fn values<'a>(shape: &Shape, page: &'a [f32], head: usize) -> impl Iterator<Item = &'a [f32]> {
    page[head * head_len(shape)..][..head_len(shape)][shape.dk * PAGE..].chunks_exact(PAGE * LANES)
}
