//! The plain version: an array of 32 values, one operation at a time.

use super::bytes::{self, QUADS};
use super::{LANES, Simd};
use crate::stored::StoredType;

/// No vector instructions.
#[derive(Clone, Copy)]
pub struct Scalar;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for (i, x) in out.iter_mut().enumerate() {
        *x = f(i);
    }
    out
}

impl Simd for Scalar {
    type V = [f32; LANES];
    type Q = [u8; QUADS];
    const TILE_ROWS: usize = 1;
    const TILE_COLUMNS: usize = LANES;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; LANES]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; LANES]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_tile(self, p: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { self.load_ptr(p) }
    }
    #[inline(always)]
    unsafe fn store_tile(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { self.store_ptr(p, v) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        each(|i| a[i].sqrt())
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        each(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn exp2_int(self, n: Self::V) -> Self::V {
        each(|i| f32::from_bits(((n[i] as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn quads(self, x: &[u8; QUADS]) -> Self::Q {
        *x
    }
    #[inline(always)]
    fn quads_4(self, x: &[u8; 2 * LANES]) -> Self::Q {
        bytes::unpack::<4>(x)
    }
    #[inline(always)]
    fn quads_2(self, x: &[u8; LANES]) -> Self::Q {
        bytes::unpack::<2>(x)
    }
    #[inline(always)]
    fn quads_1(self, x: &[u8; LANES / 2]) -> Self::Q {
        bytes::unpack::<1>(x)
    }
    #[inline(always)]
    fn join<const SHIFT: i32>(self, low: Self::Q, high: Self::Q) -> Self::Q {
        bytes::map(low, |i, low| low | high[i] << SHIFT)
    }
    #[inline(always)]
    fn add_to_bytes(self, x: Self::Q, offset: i8) -> Self::Q {
        bytes::map(x, |_, x| x.wrapping_add_signed(offset))
    }
    #[inline(always)]
    fn pick(self, table: &[i8; 16], codes: Self::Q) -> Self::Q {
        bytes::map(codes, |_, code| table[usize::from(code & 15)] as u8)
    }
    #[inline(always)]
    fn input<const I: usize>(self, x: Self::Q) -> Self::V {
        each(|i| f32::from(x[4 * i + I] as i8))
    }
    #[inline(always)]
    fn signed(self, x: &[u8; LANES]) -> Self::V {
        each(|i| f32::from(x[i] as i8))
    }
    #[inline(always)]
    fn e4m3(self, x: &[u8; LANES]) -> Self::V {
        bytes::decode(StoredType::F8_E4M3, x)
    }
    #[inline(always)]
    fn f16(self, x: &[u8; 2 * LANES]) -> Self::V {
        bytes::decode(StoredType::F16, x)
    }
    #[inline(always)]
    fn bf16(self, x: &[u8; 2 * LANES]) -> Self::V {
        bytes::decode(StoredType::BF16, x)
    }
}
