//! Pages: the keys and values of 32 consecutive positions of one sequence, in the layout that the products read.
//!
//! For each key/value head first the keys, a panel `[dk][32 positions]`, then the values, panels
//! `[⌈dv/32⌉][32 positions][32]` with zeros past dv. Slots that were never written are never used: a page needs no
//! clearing before it serves another sequence.
//!
//! A page of fewer bits has the same panels of 16-bit floats or of bytes, before the latter a scale for each position's
//! key and one for its value. They are rounded when they are appended, by nothing but the position's own values, and
//! multiplied as f32: what a row gets does not depend on how its sequence was cut, here either. Where values are the
//! beginnings of keys, pages have keys alone, and in bytes that beginning and the rest of a key have a scale each.

use super::Shape;
use crate::scratch;
use crate::simd::{Isa, LANES};
use half::f16;
use std::slice::ChunksExact;

/// Positions in a page.
pub const PAGE: usize = LANES;

/// How pages keep numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Form {
    /// As they are.
    #[default]
    F32,
    /// Rounded to 16-bit floats; what is larger than they can be becomes the largest one.
    F16,
    /// A byte each, times the 127th part of the largest one of the position's key, or value, in this head.
    Q8,
}

/// Values of f32 that a page takes in memory.
pub fn page_len(shape: &Shape, form: Form) -> usize {
    shape.kv_heads * head_len(shape, form)
}

/// The same for one head.
fn head_len(shape: &Shape, form: Form) -> usize {
    let values = PAGE * if shape.latent { shape.dk } else { shape.dk + shape.dv.next_multiple_of(LANES) };
    match form {
        Form::F32 => values,
        Form::F16 => values / 2,
        Form::Q8 => 2 * PAGE + values / 4,
    }
}

/// Writes the keys `[kv_heads, dk]` and values `[kv_heads, dv]` of one position to `slot` = position mod 32 of its
/// page.
pub fn append(shape: &Shape, form: Form, k_row: &[f32], v_row: &[f32], page: &mut [f32], slot: usize) {
    let Shape { kv_heads, dk, dv, .. } = *shape;
    assert!(slot < PAGE, "slot {slot} of a page of {PAGE}");
    assert_eq!(page.len(), page_len(shape, form), "length of a page");
    assert_eq!(k_row.len(), kv_heads * dk, "keys of one position");
    assert_eq!(v_row.len(), kv_heads * dv, "values of one position");
    let rows = k_row.chunks_exact(dk).zip(v_row.chunks_exact(dv));
    let rows = rows.map(|(k, v)| (k, if shape.latent { &[] } else { v }));
    for (head, (k, v)) in page.chunks_exact_mut(head_len(shape, form)).zip(rows) {
        match form {
            Form::F32 => {
                let (keys, values) = head.split_at_mut(dk * PAGE);
                write_column(k, keys, slot);
                for (v, panel) in v.chunks(LANES).zip(values.chunks_exact_mut(PAGE * LANES)) {
                    copy(v, &mut panel[slot * LANES..][..LANES]);
                }
            }
            Form::F16 => {
                let round = |x: f32| f16::from_f32(x.clamp(-MOST, MOST)).to_le_bytes();
                write_codes(bytes_mut(head), dk, slot, k.iter().map(|x| round(*x)), v.iter().map(|x| round(*x)));
            }
            Form::Q8 => {
                let (scales, codes) = head.split_at_mut(2 * PAGE);
                let scale = |x: &[f32]| x.iter().fold(0_f32, |most, x| most.max(x.abs())) / 127.0;
                let round = |x: f32, scale: f32| {
                    let code = if scale > 0.0 { (x / scale).round_ties_even() } else { 0.0 };
                    [(code as i8).cast_unsigned()]
                };
                // Of a latent key its beginning, which is the value, and the rest.
                let (first, second) = if shape.latent { k.split_at(dv) } else { (k, v) };
                let of = [scale(first), scale(second)];
                [scales[slot], scales[PAGE + slot]] = of;
                let key = k.iter().enumerate().map(|(i, x)| round(*x, of[usize::from(i >= first.len())]));
                write_codes(bytes_mut(codes), dk, slot, key, v.iter().map(|x| round(*x, of[1])));
            }
        }
    }
}

/// Reads the keys `[n, kv_heads, dk]` of the first n positions of `pages`, as they were rounded.
pub fn read_keys<'a>(isa: Isa, shape: &Shape, form: Form, pages: impl Iterator<Item = &'a [f32]>, out: &mut [f32]) {
    scratch::with(room(shape, form), |room| {
        for (out, page) in out.chunks_mut(PAGE * shape.kv_heads * shape.dk).zip(pages) {
            for head in 0..shape.kv_heads {
                let keys = Head::of(isa, shape, form, page, head).keys(room);
                let rows = out.chunks_exact_mut(shape.kv_heads * shape.dk).map(|row| &mut row[head * shape.dk..]);
                for (slot, row) in rows.enumerate() {
                    let column = keys.iter().skip(slot).step_by(PAGE);
                    row.iter_mut().zip(column).for_each(|(to, key)| *to = *key);
                }
            }
        }
    });
}

/// The largest 16-bit float.
const MOST: f32 = 65504.0;

/// Writes one position's codes of `N` bytes to the panels of a head.
fn write_codes<const N: usize>(
    head: &mut [u8],
    dk: usize,
    slot: usize,
    k: impl Iterator<Item = [u8; N]>,
    v: impl ExactSizeIterator<Item = [u8; N]>,
) {
    let (keys, values) = head.as_chunks_mut::<N>().0.split_at_mut(dk * PAGE);
    for (row, code) in keys.chunks_exact_mut(PAGE).zip(k) {
        row[slot] = code;
    }
    let zeros = v.len().next_multiple_of(LANES) - v.len();
    for (i, code) in v.chain(std::iter::repeat_n([0; N], zeros)).enumerate() {
        values[(i / LANES * PAGE + slot) * LANES + i % LANES] = code;
    }
}

/// The first 32 of `values`.
fn lanes(values: &[f32]) -> &[f32; LANES] {
    values.first_chunk().expect("a scale for each position")
}

/// The bytes of `values`.
fn bytes(values: &[f32]) -> &[u8] {
    // SAFETY: every f32 is four bytes, each of which may be anything, and bytes may lie anywhere.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of `values`, to be written.
fn bytes_mut(values: &mut [f32]) -> &mut [u8] {
    // SAFETY: as above, and any four bytes are an f32.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

crate::kernel! {
    /// Rows of 32 16-bit floats as f32.
    fn decode_f16<S>(s, codes: &[u8], to: &mut [f32]) {
        for (codes, to) in codes.as_chunks().0.iter().zip(to.as_chunks_mut().0) {
            s.store(to, s.f16(codes));
        }
    }
}

crate::kernel! {
    /// Rows of 32 bytes, lane by lane times `scales`.
    fn decode_columns<S>(s, codes: &[u8], scales: &[f32; LANES], to: &mut [f32]) {
        let scales = s.load(scales);
        for (codes, to) in codes.as_chunks().0.iter().zip(to.as_chunks_mut().0) {
            s.store(to, s.mul(s.signed(codes), scales));
        }
    }
}

crate::kernel! {
    /// Each 32 × 32 values turned: rows become columns.
    fn turn<S>(s, from: &[f32], to: &mut [f32]) {
        for (from, to) in from.as_chunks().0.iter().zip(to.as_chunks_mut().0) {
            s.transpose(from, to);
        }
    }
}

crate::kernel! {
    /// Rows of 32 bytes, row i times `scales[i mod 32]`.
    fn decode_rows<S>(s, codes: &[u8], scales: &[f32; LANES], to: &mut [f32]) {
        let rows = codes.as_chunks().0.iter().zip(to.as_chunks_mut().0);
        for (i, (codes, to)) in rows.enumerate() {
            s.store(to, s.mul(s.signed(codes), s.splat(scales[i % LANES])));
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

/// Values that [`Head::keys`] and [`Head::values`] may need room for.
pub(super) fn room(shape: &Shape, form: Form) -> usize {
    let value = shape.dv.next_multiple_of(LANES);
    match form {
        _ if shape.latent => PAGE * shape.dk.max(2 * value),
        Form::F32 => 0,
        Form::F16 | Form::Q8 => PAGE * shape.dk.max(value),
    }
}

/// What one head has in a page.
pub(super) struct Head<'a> {
    isa: Isa,
    shape: &'a Shape,
    form: Form,
    data: &'a [f32],
}

impl<'a> Head<'a> {
    /// That of `head` in `page`.
    pub(super) fn of(isa: Isa, shape: &'a Shape, form: Form, page: &'a [f32], head: usize) -> Head<'a> {
        let len = head_len(shape, form);
        Head { isa, shape, form, data: &page[head * len..][..len] }
    }

    /// Its key panel, in `room` if it has to be decoded.
    pub(super) fn keys<'r>(&self, room: &'r mut [f32]) -> &'r [f32]
    where
        'a: 'r,
    {
        self.key_rows(self.shape.dk, room)
    }

    /// The first `rows` rows of the key panel.
    fn key_rows<'r>(&self, rows: usize, room: &'r mut [f32]) -> &'r [f32]
    where
        'a: 'r,
    {
        let count = rows * PAGE;
        match self.form {
            Form::F32 => return &self.data[..count],
            Form::F16 => decode_f16(self.isa, &bytes(self.data)[..2 * count], &mut room[..count]),
            Form::Q8 => {
                let (scales, codes) = self.data.split_at(2 * PAGE);
                let split = if self.shape.latent { count.min(self.shape.dv * PAGE) } else { count };
                let codes = &bytes(codes)[..count];
                decode_columns(self.isa, &codes[..split], lanes(scales), &mut room[..split]);
                decode_columns(self.isa, &codes[split..], lanes(&scales[PAGE..]), &mut room[split..count]);
            }
        }
        &room[..count]
    }

    /// What will be read for its keys, and what for its values, in whatever form: about, because it is only asked for.
    pub(super) fn stored(&self) -> (&'a [f32], &'a [f32]) {
        let Shape { dk, dv, latent, .. } = *self.shape;
        match latent {
            true => (self.data, self.data),
            false => self.data.split_at(self.data.len() * dk / (dk + dv.next_multiple_of(LANES))),
        }
    }

    /// Its value panels, in `room` if they have to be decoded.
    pub(super) fn values<'r>(&self, room: &'r mut [f32]) -> ChunksExact<'r, f32>
    where
        'a: 'r,
    {
        let Head { isa, shape, form, data } = *self;
        let (before, count) = (shape.dk * PAGE, shape.dv.next_multiple_of(LANES) * PAGE);
        let panels = match form {
            _ if shape.latent => {
                // Rows of keys are columns of values.
                let (decoded, turned) = room.split_at_mut(count);
                let read = shape.dv * PAGE;
                match form {
                    Form::F32 => decoded[..read].copy_from_slice(&data[..read]),
                    Form::F16 | Form::Q8 => _ = self.key_rows(shape.dv, decoded),
                }
                decoded[read..].fill(0.0);
                turn(isa, decoded, &mut turned[..count]);
                &turned[..count]
            }
            Form::F32 => &data[before..],
            Form::F16 => {
                decode_f16(isa, &bytes(data)[2 * before..], &mut room[..count]);
                &room[..count]
            }
            Form::Q8 => {
                let (scales, codes) = data.split_at(2 * PAGE);
                decode_rows(isa, &bytes(codes)[before..], lanes(&scales[PAGE..]), &mut room[..count]);
                &room[..count]
            }
        };
        panels.chunks_exact(PAGE * LANES)
    }
}
