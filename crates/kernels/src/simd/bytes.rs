//! Codes of stored weights without vector instructions: 128 bytes, one at a time.

use super::LANES;
use crate::stored::StoredType;

/// Four bytes for each lane.
pub(super) const QUADS: usize = 4 * LANES;

/// Codes of `BITS` bits: byte i is at bit BITS·⌊i/P⌋ of byte i mod P, for P = 16·BITS bytes.
#[inline(always)]
pub(super) fn unpack<const BITS: usize>(bytes: &[u8]) -> [u8; QUADS] {
    let mut codes = [0; QUADS];
    for (i, code) in codes.iter_mut().enumerate() {
        *code = bytes[i % (16 * BITS)] >> (i / (16 * BITS) * BITS) & ((1 << BITS) - 1);
    }
    codes
}

#[inline(always)]
pub(super) fn map(codes: [u8; QUADS], f: impl Fn(usize, u8) -> u8) -> [u8; QUADS] {
    let mut out = [0; QUADS];
    for (i, (out, code)) in out.iter_mut().zip(codes).enumerate() {
        *out = f(i, code);
    }
    out
}

/// The values that `ty` gives for bytes that hold 32 of them.
#[inline(always)]
pub(super) fn decode(ty: StoredType, bytes: &[u8]) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    ty.decode(bytes, &mut out);
    out
}
