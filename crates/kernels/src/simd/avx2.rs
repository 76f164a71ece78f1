//! AVX2 and FMA: four registers of eight lanes.

use super::{LANES, Simd};
use std::arch::x86_64::*;

/// AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The proof that the instructions are there.
    ///
    /// # Safety
    /// The processor must have AVX2 and FMA.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY (every block below): a value of this type exists only where the processor has the instructions; loads and
// stores repeat their caller's promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx2 {
    type V = [__m256; 4];
    type Q = [__m256i; 4];
    const TILE_ROWS: usize = 6;
    const TILE_COLUMNS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { [_mm256_set1_ps(x); 4] }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> Self::V {
        unsafe {
            [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8)), _mm256_loadu_ps(p.add(16)), _mm256_loadu_ps(p.add(24))]
        }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: Self::V) {
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
            _mm256_storeu_ps(p.add(16), v[2]);
            _mm256_storeu_ps(p.add(24), v[3]);
        }
    }
    #[inline(always)]
    unsafe fn load_tile(self, p: *const f32) -> Self::V {
        unsafe {
            let zero = _mm256_setzero_ps();
            [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8)), zero, zero]
        }
    }
    #[inline(always)]
    unsafe fn store_tile(self, p: *mut f32, v: Self::V) {
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_far(self, p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn transpose(self, from: &[f32; LANES * LANES], to: &mut [f32; LANES * LANES]) {
        unsafe { transpose(from, to) }
    }
    #[inline(always)]
    fn quads(self, x: &[u8; 4 * LANES]) -> Self::Q {
        let p: *const __m256i = x.as_ptr().cast();
        unsafe {
            [
                _mm256_loadu_si256(p),
                _mm256_loadu_si256(p.add(1)),
                _mm256_loadu_si256(p.add(2)),
                _mm256_loadu_si256(p.add(3)),
            ]
        }
    }
    #[inline(always)]
    fn quads_4(self, x: &[u8; 2 * LANES]) -> Self::Q {
        let p: *const __m256i = x.as_ptr().cast();
        unsafe {
            let (a, b, mask) = (_mm256_loadu_si256(p), _mm256_loadu_si256(p.add(1)), _mm256_set1_epi8(15));
            [
                _mm256_and_si256(a, mask),
                _mm256_and_si256(b, mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(a), mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(b), mask),
            ]
        }
    }
    #[inline(always)]
    fn quads_2(self, x: &[u8; LANES]) -> Self::Q {
        unsafe {
            let (x, mask) = (_mm256_loadu_si256(x.as_ptr().cast()), _mm256_set1_epi8(3));
            [
                _mm256_and_si256(x, mask),
                _mm256_and_si256(_mm256_srli_epi16::<2>(x), mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(x), mask),
                _mm256_and_si256(_mm256_srli_epi16::<6>(x), mask),
            ]
        }
    }
    #[inline(always)]
    fn quads_1(self, x: &[u8; LANES / 2]) -> Self::Q {
        unsafe {
            let (twice, mask) = (_mm256_broadcastsi128_si256(_mm_loadu_si128(x.as_ptr().cast())), _mm256_set1_epi8(1));
            [
                _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 1, 1)), mask),
                _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(2, 2, 3, 3)), mask),
                _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(4, 4, 5, 5)), mask),
                _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(6, 6, 7, 7)), mask),
            ]
        }
    }
    #[inline(always)]
    fn join<const SHIFT: i32>(self, low: Self::Q, high: Self::Q) -> Self::Q {
        unsafe {
            [
                _mm256_or_si256(low[0], _mm256_slli_epi16::<SHIFT>(high[0])),
                _mm256_or_si256(low[1], _mm256_slli_epi16::<SHIFT>(high[1])),
                _mm256_or_si256(low[2], _mm256_slli_epi16::<SHIFT>(high[2])),
                _mm256_or_si256(low[3], _mm256_slli_epi16::<SHIFT>(high[3])),
            ]
        }
    }
    #[inline(always)]
    fn add_to_bytes(self, x: Self::Q, offset: i8) -> Self::Q {
        unsafe {
            let offset = _mm256_set1_epi8(offset);
            [
                _mm256_add_epi8(x[0], offset),
                _mm256_add_epi8(x[1], offset),
                _mm256_add_epi8(x[2], offset),
                _mm256_add_epi8(x[3], offset),
            ]
        }
    }
    #[inline(always)]
    fn pick(self, table: &[i8; 16], codes: Self::Q) -> Self::Q {
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [
                _mm256_shuffle_epi8(table, codes[0]),
                _mm256_shuffle_epi8(table, codes[1]),
                _mm256_shuffle_epi8(table, codes[2]),
                _mm256_shuffle_epi8(table, codes[3]),
            ]
        }
    }
    #[inline(always)]
    fn input<const I: usize>(self, x: Self::Q) -> Self::V {
        unsafe { [input::<I>(x[0]), input::<I>(x[1]), input::<I>(x[2]), input::<I>(x[3])] }
    }
    #[inline(always)]
    fn signed(self, x: &[u8; LANES]) -> Self::V {
        unsafe {
            let p: *const __m128i = x.as_ptr().cast();
            let (low, high) = (_mm_loadu_si128(p), _mm_loadu_si128(p.add(1)));
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(low))),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(high))),
            ]
        }
    }
    #[inline(always)]
    fn e4m3(self, x: &[u8; LANES]) -> Self::V {
        unsafe {
            let [a, b] = e4m3_as_f16(x);
            let scale = _mm256_set1_ps(256.0);
            [
                _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(a)), scale),
                _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256::<1>(a)), scale),
                _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(b)), scale),
                _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256::<1>(b)), scale),
            ]
        }
    }
    #[inline(always)]
    fn f16(self, x: &[u8; 2 * LANES]) -> Self::V {
        unsafe {
            let p: *const __m128i = x.as_ptr().cast();
            [
                _mm256_cvtph_ps(_mm_loadu_si128(p)),
                _mm256_cvtph_ps(_mm_loadu_si128(p.add(1))),
                _mm256_cvtph_ps(_mm_loadu_si128(p.add(2))),
                _mm256_cvtph_ps(_mm_loadu_si128(p.add(3))),
            ]
        }
    }
    #[inline(always)]
    fn bf16(self, x: &[u8; 2 * LANES]) -> Self::V {
        unsafe {
            let p: *const __m128i = x.as_ptr().cast();
            [upper_half(p), upper_half(p.add(1)), upper_half(p.add(2)), upper_half(p.add(3))]
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1]), _mm256_add_ps(a[2], b[2]), _mm256_add_ps(a[3], b[3])]
        }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1]), _mm256_sub_ps(a[2], b[2]), _mm256_sub_ps(a[3], b[3])]
        }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1]), _mm256_mul_ps(a[2], b[2]), _mm256_mul_ps(a[3], b[3])]
        }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1]), _mm256_div_ps(a[2], b[2]), _mm256_div_ps(a[3], b[3])]
        }
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        unsafe { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1]), _mm256_sqrt_ps(a[2]), _mm256_sqrt_ps(a[3])] }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], c[0]),
                _mm256_fmadd_ps(a[1], b[1], c[1]),
                _mm256_fmadd_ps(a[2], b[2], c[2]),
                _mm256_fmadd_ps(a[3], b[3], c[3]),
            ]
        }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1]), _mm256_max_ps(a[2], b[2]), _mm256_max_ps(a[3], b[3])]
        }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1]), _mm256_min_ps(a[2], b[2]), _mm256_min_ps(a[3], b[3])]
        }
    }
    #[inline(always)]
    fn exp2_int(self, n: Self::V) -> Self::V {
        // No closure: the compiler would not inline these instructions into one.
        unsafe { [power_of_two(n[0]), power_of_two(n[1]), power_of_two(n[2]), power_of_two(n[3])] }
    }
}

/// 2ⁿ, by way of the exponent's bits.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn power_of_two(n: __m256) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
    }
}

/// The transpose of 32 × 32 values, in squares of eight.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
pub(super) unsafe fn transpose(from: &[f32; LANES * LANES], to: &mut [f32; LANES * LANES]) {
    for row in (0..LANES).step_by(8) {
        for column in (0..LANES).step_by(8) {
            // SAFETY: the square lies within both matrices; the instructions are there by the caller's promise.
            unsafe {
                transpose_square(from.as_ptr().add(row * LANES + column), to.as_mut_ptr().add(column * LANES + row))
            }
        }
    }
}

/// The transpose of 8 × 8 values whose rows are 32 values apart.
///
/// # Safety
/// The processor must have AVX2; seven rows of 32 values and another eight must be readable and writable.
#[inline(always)]
unsafe fn transpose_square(from: *const f32, to: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        // Half of the columns at a time: row i and row i + 4 share a register, so that what comes out are whole columns.
        for half in [0, 4] {
            let (top, bottom) = (from.add(half), from.add(4 * LANES + half));
            let (r0, r1) = (_mm256_loadu2_m128(bottom, top), _mm256_loadu2_m128(bottom.add(LANES), top.add(LANES)));
            let (top, bottom) = (top.add(2 * LANES), bottom.add(2 * LANES));
            let (r2, r3) = (_mm256_loadu2_m128(bottom, top), _mm256_loadu2_m128(bottom.add(LANES), top.add(LANES)));
            let (a, b) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
            let (c, d) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
            let to = to.add(half * LANES);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(a, c));
            _mm256_storeu_ps(to.add(LANES), _mm256_shuffle_ps::<0xee>(a, c));
            _mm256_storeu_ps(to.add(2 * LANES), _mm256_shuffle_ps::<0x44>(b, d));
            _mm256_storeu_ps(to.add(3 * LANES), _mm256_shuffle_ps::<0xee>(b, d));
        }
    }
}

/// The `I`-th byte of each four as f32.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn input<const I: usize>(x: __m256i) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let at_the_top = match I {
            0 => _mm256_slli_epi32::<24>(x),
            1 => _mm256_slli_epi32::<16>(x),
            2 => _mm256_slli_epi32::<8>(x),
            _ => x,
        };
        _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(at_the_top))
    }
}

/// 8-bit floats as f16 that are 2⁻⁸ of them: the same bits with one more for the exponent, whose bias is 8 greater.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
pub(super) unsafe fn e4m3_as_f16(x: &[u8; LANES]) -> [__m256i; 2] {
    // SAFETY: the caller's promise, and the array holds what is read.
    unsafe {
        let p: *const __m128i = x.as_ptr().cast();
        [widen_e4m3(_mm_loadu_si128(p)), widen_e4m3(_mm_loadu_si128(p.add(1)))]
    }
}

/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn widen_e4m3(x: __m128i) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let shifted = _mm256_slli_epi16::<7>(_mm256_cvtepi8_epi16(x));
        let magnitude = _mm256_set1_epi16(0x3f80);
        let is_nan = _mm256_cmpeq_epi16(_mm256_and_si256(shifted, magnitude), magnitude);
        let bits = _mm256_and_si256(shifted, _mm256_set1_epi16(0xbf80_u16 as i16));
        // All ones are a NaN.
        _mm256_or_si256(bits, is_nan)
    }
}

/// Eight f32 of which `p` has the upper halves.
///
/// # Safety
/// The processor must have AVX2, and `p` must be readable.
#[inline(always)]
unsafe fn upper_half(p: *const __m128i) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)))) }
}
