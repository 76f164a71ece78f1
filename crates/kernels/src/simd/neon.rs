//! NEON: eight registers of four lanes. Every aarch64 processor has it.

use super::bytes;
use super::{LANES, Simd};
use crate::stored::StoredType;
use std::arch::aarch64::*;

/// NEON.
#[derive(Clone, Copy)]
pub struct Neon;

const REGISTERS: usize = LANES / 4;

#[inline(always)]
fn each<T>(f: impl Fn(usize) -> T) -> [T; REGISTERS] {
    [f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7)]
}

// SAFETY (every block below): NEON belongs to every aarch64 processor; loads and stores repeat their caller's promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Neon {
    type V = [float32x4_t; REGISTERS];
    type Q = [uint8x16_t; REGISTERS];
    const TILE_ROWS: usize = 6;
    const TILE_COLUMNS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { [vdupq_n_f32(x); REGISTERS] }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> Self::V {
        each(|i| unsafe { vld1q_f32(p.add(4 * i)) })
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: Self::V) {
        for (i, register) in v.into_iter().enumerate() {
            unsafe { vst1q_f32(p.add(4 * i), register) }
        }
    }
    #[inline(always)]
    unsafe fn load_tile(self, p: *const f32) -> Self::V {
        each(|i| unsafe { if i < 4 { vld1q_f32(p.add(4 * i)) } else { vdupq_n_f32(0.0) } })
    }
    #[inline(always)]
    unsafe fn store_tile(self, p: *mut f32, v: Self::V) {
        for (i, register) in v.into_iter().take(4).enumerate() {
            unsafe { vst1q_f32(p.add(4 * i), register) }
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| unsafe { vmulq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| unsafe { vdivq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        each(|i| unsafe { vsqrtq_f32(a[i]) })
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        each(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| unsafe { vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]) })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), a[i], b[i]) })
    }
    #[inline(always)]
    fn exp2_int(self, n: Self::V) -> Self::V {
        each(|i| unsafe {
            let biased = vaddq_s32(vcvtnq_s32_f32(n[i]), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        })
    }
    #[inline(always)]
    fn quads(self, x: &[u8; 4 * LANES]) -> Self::Q {
        each(|i| unsafe { vld1q_u8(x.as_ptr().add(16 * i)) })
    }
    #[inline(always)]
    fn quads_4(self, x: &[u8; 2 * LANES]) -> Self::Q {
        each(|i| unsafe {
            let x = vld1q_u8(x.as_ptr().add(i % 4 * 16));
            if i < 4 { vandq_u8(x, vdupq_n_u8(15)) } else { vshrq_n_u8::<4>(x) }
        })
    }
    #[inline(always)]
    fn quads_2(self, x: &[u8; LANES]) -> Self::Q {
        each(|i| unsafe {
            let x = vld1q_u8(x.as_ptr().add(i % 2 * 16));
            vandq_u8(vshlq_u8(x, vdupq_n_s8(-2 * (i / 2) as i8)), vdupq_n_u8(3))
        })
    }
    #[inline(always)]
    fn quads_1(self, x: &[u8; LANES / 2]) -> Self::Q {
        each(|i| unsafe { vandq_u8(vshlq_u8(vld1q_u8(x.as_ptr()), vdupq_n_s8(-(i as i8))), vdupq_n_u8(1)) })
    }
    #[inline(always)]
    fn join<const SHIFT: i32>(self, low: Self::Q, high: Self::Q) -> Self::Q {
        each(|i| unsafe { vorrq_u8(low[i], vshlq_n_u8::<SHIFT>(high[i])) })
    }
    #[inline(always)]
    fn add_to_bytes(self, x: Self::Q, offset: i8) -> Self::Q {
        each(|i| unsafe { vaddq_u8(x[i], vdupq_n_u8(offset as u8)) })
    }
    #[inline(always)]
    fn pick(self, table: &[i8; 16], codes: Self::Q) -> Self::Q {
        each(|i| unsafe { vqtbl1q_u8(vreinterpretq_u8_s8(vld1q_s8(table.as_ptr())), codes[i]) })
    }
    #[inline(always)]
    fn input<const I: usize>(self, x: Self::Q) -> Self::V {
        each(|i| unsafe {
            let x = vreinterpretq_s32_u8(x[i]);
            let at_the_top = match I {
                0 => vshlq_n_s32::<24>(x),
                1 => vshlq_n_s32::<16>(x),
                2 => vshlq_n_s32::<8>(x),
                _ => x,
            };
            vcvtq_f32_s32(vshrq_n_s32::<24>(at_the_top))
        })
    }
    #[inline(always)]
    fn signed(self, x: &[u8; LANES]) -> Self::V {
        let mut lanes = [0.0; LANES];
        for (lane, &byte) in lanes.iter_mut().zip(x) {
            *lane = f32::from(byte as i8);
        }
        self.load(&lanes)
    }
    #[inline(always)]
    fn e4m3(self, x: &[u8; LANES]) -> Self::V {
        self.load(&bytes::decode(StoredType::F8_E4M3, x))
    }
    #[inline(always)]
    fn f16(self, x: &[u8; 2 * LANES]) -> Self::V {
        self.load(&bytes::decode(StoredType::F16, x))
    }
    #[inline(always)]
    fn bf16(self, x: &[u8; 2 * LANES]) -> Self::V {
        self.load(&bytes::decode(StoredType::BF16, x))
    }
}
