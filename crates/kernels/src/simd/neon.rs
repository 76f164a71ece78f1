//! NEON: eight registers of four lanes. Every aarch64 processor has it.

use super::bytes::bytes_by_array;
use super::{LANES, Simd};
use std::arch::aarch64::*;

/// NEON.
#[derive(Clone, Copy)]
pub struct Neon;

const REGISTERS: usize = LANES / 4;

#[inline(always)]
fn each(f: impl Fn(usize) -> float32x4_t) -> [float32x4_t; REGISTERS] {
    [f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7)]
}

// SAFETY (every block below): NEON belongs to every aarch64 processor; loads and stores repeat their caller's promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Neon {
    type V = [float32x4_t; REGISTERS];
    const TILE_ROWS: usize = 6;
    const TILE_COLUMNS: usize = 16;

    bytes_by_array!();

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
}
