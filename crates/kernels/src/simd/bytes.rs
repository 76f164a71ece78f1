//! Codes of stored weights without vector instructions: thirty-two bytes, one at a time.
//!
//! What is not written for an instruction set of its own uses this by `bytes_by_array!`.

use super::LANES;
use crate::stored::StoredType;

/// Codes of `BITS` bits: lane i is at bit BITS·⌊i/P⌋ of byte i mod P, for P = 4·BITS bytes.
#[inline(always)]
pub(super) fn unpack<const BITS: usize>(bytes: &[u8]) -> [u8; LANES] {
    let mut codes = [0; LANES];
    for (i, code) in codes.iter_mut().enumerate() {
        *code = bytes[i % (4 * BITS)] >> (i / (4 * BITS) * BITS) & ((1 << BITS) - 1);
    }
    codes
}

#[inline(always)]
pub(super) fn map(codes: [u8; LANES], f: impl Fn(usize, u8) -> u8) -> [u8; LANES] {
    let mut out = [0; LANES];
    for (i, (out, code)) in out.iter_mut().zip(codes).enumerate() {
        *out = f(i, code);
    }
    out
}

#[inline(always)]
pub(super) fn signed(codes: [u8; LANES]) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for (out, code) in out.iter_mut().zip(codes) {
        *out = f32::from(code as i8);
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

/// The methods of [`Simd`](super::Simd) on bytes, for an implementation without instructions for them.
macro_rules! bytes_by_array {
    () => {
        type B = [u8; $crate::simd::LANES];

        #[inline(always)]
        fn bytes(self, x: &[u8; $crate::simd::LANES]) -> Self::B {
            *x
        }
        #[inline(always)]
        fn unpack_4(self, x: &[u8; 16]) -> Self::B {
            $crate::simd::bytes::unpack::<4>(x)
        }
        #[inline(always)]
        fn unpack_2(self, x: &[u8; 8]) -> Self::B {
            $crate::simd::bytes::unpack::<2>(x)
        }
        #[inline(always)]
        fn unpack_1(self, x: &[u8; 4]) -> Self::B {
            $crate::simd::bytes::unpack::<1>(x)
        }
        #[inline(always)]
        fn join<const SHIFT: i32>(self, low: Self::B, high: Self::B) -> Self::B {
            $crate::simd::bytes::map(low, |i, low| low | high[i] << SHIFT)
        }
        #[inline(always)]
        fn add_to_bytes(self, x: Self::B, offset: i8) -> Self::B {
            $crate::simd::bytes::map(x, |_, x| x.wrapping_add_signed(offset))
        }
        #[inline(always)]
        fn pick(self, table: &[i8; 16], codes: Self::B) -> Self::B {
            $crate::simd::bytes::map(codes, |_, code| table[usize::from(code & 15)] as u8)
        }
        #[inline(always)]
        fn signed(self, x: Self::B) -> Self::V {
            self.load(&$crate::simd::bytes::signed(x))
        }
        #[inline(always)]
        fn e4m3(self, x: &[u8; $crate::simd::LANES]) -> Self::V {
            self.load(&$crate::simd::bytes::decode($crate::stored::StoredType::F8_E4M3, x))
        }
        #[inline(always)]
        fn f16(self, x: &[u8; 2 * $crate::simd::LANES]) -> Self::V {
            self.load(&$crate::simd::bytes::decode($crate::stored::StoredType::F16, x))
        }
        #[inline(always)]
        fn bf16(self, x: &[u8; 2 * $crate::simd::LANES]) -> Self::V {
            self.load(&$crate::simd::bytes::decode($crate::stored::StoredType::BF16, x))
        }
    };
}

pub(super) use bytes_by_array;
