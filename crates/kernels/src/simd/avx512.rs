//! AVX-512: two registers of sixteen lanes.

use super::{LANES, Simd};
use std::arch::x86_64::*;

/// AVX-512F and BW.
#[derive(Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// The proof that the instructions are there.
    ///
    /// # Safety
    /// The processor must have AVX-512F and BW.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY (every block below): a value of this type exists only where the processor has the instructions; loads and
// stores repeat their caller's promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx512 {
    type V = [__m512; 2];
    type Q = [__m512i; 2];
    const TILE_ROWS: usize = 12;
    const TILE_COLUMNS: usize = LANES;

    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> Self::V {
        if let Some(whole) = x.first_chunk() {
            return self.load(whole);
        }
        // Masked lanes are not accessed.
        let (fill, (low, high)) = (unsafe { _mm512_set1_ps(fill) }, first(x.len()));
        let p = x.as_ptr();
        unsafe { [_mm512_mask_loadu_ps(fill, low, p), _mm512_mask_loadu_ps(fill, high, p.wrapping_add(16))] }
    }
    #[inline(always)]
    fn store_partial(self, x: &mut [f32], v: Self::V) {
        if let Some(whole) = x.first_chunk_mut() {
            return self.store(whole, v);
        }
        let ((low, high), p) = (first(x.len()), x.as_mut_ptr());
        unsafe {
            _mm512_mask_storeu_ps(p, low, v[0]);
            _mm512_mask_storeu_ps(p.wrapping_add(16), high, v[1]);
        }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { [_mm512_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> Self::V {
        unsafe { [_mm512_loadu_ps(p), _mm512_loadu_ps(p.add(16))] }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: Self::V) {
        unsafe {
            _mm512_storeu_ps(p, v[0]);
            _mm512_storeu_ps(p.add(16), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_tile(self, p: *const f32) -> Self::V {
        unsafe { self.load_ptr(p) }
    }
    #[inline(always)]
    unsafe fn store_tile(self, p: *mut f32, v: Self::V) {
        unsafe { self.store_ptr(p, v) }
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
        unsafe { super::avx2::transpose(from, to) }
    }
    #[inline(always)]
    fn quads(self, x: &[u8; 4 * LANES]) -> Self::Q {
        let p: *const __m512i = x.as_ptr().cast();
        unsafe { [_mm512_loadu_si512(p), _mm512_loadu_si512(p.add(1))] }
    }
    #[inline(always)]
    fn quads_4(self, x: &[u8; 2 * LANES]) -> Self::Q {
        unsafe {
            let (x, mask) = (_mm512_loadu_si512(x.as_ptr().cast()), _mm512_set1_epi8(15));
            [_mm512_and_si512(x, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(x), mask)]
        }
    }
    #[inline(always)]
    fn quads_2(self, x: &[u8; LANES]) -> Self::Q {
        unsafe {
            let twice = _mm512_broadcast_i64x4(_mm256_loadu_si256(x.as_ptr().cast()));
            let mask = _mm512_set1_epi8(3);
            [
                _mm512_and_si512(_mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2)), mask),
                _mm512_and_si512(_mm512_srlv_epi64(twice, _mm512_setr_epi64(4, 4, 4, 4, 6, 6, 6, 6)), mask),
            ]
        }
    }
    #[inline(always)]
    fn quads_1(self, x: &[u8; LANES / 2]) -> Self::Q {
        unsafe {
            let four_times = _mm512_broadcast_i32x4(_mm_loadu_si128(x.as_ptr().cast()));
            let mask = _mm512_set1_epi8(1);
            [
                _mm512_and_si512(_mm512_srlv_epi64(four_times, _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3)), mask),
                _mm512_and_si512(_mm512_srlv_epi64(four_times, _mm512_setr_epi64(4, 4, 5, 5, 6, 6, 7, 7)), mask),
            ]
        }
    }
    #[inline(always)]
    fn join<const SHIFT: i32>(self, low: Self::Q, high: Self::Q) -> Self::Q {
        unsafe {
            let shift = _mm_cvtsi32_si128(SHIFT);
            [
                _mm512_or_si512(low[0], _mm512_sll_epi16(high[0], shift)),
                _mm512_or_si512(low[1], _mm512_sll_epi16(high[1], shift)),
            ]
        }
    }
    #[inline(always)]
    fn add_to_bytes(self, x: Self::Q, offset: i8) -> Self::Q {
        unsafe {
            let offset = _mm512_set1_epi8(offset);
            [_mm512_add_epi8(x[0], offset), _mm512_add_epi8(x[1], offset)]
        }
    }
    #[inline(always)]
    fn pick(self, table: &[i8; 16], codes: Self::Q) -> Self::Q {
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm512_shuffle_epi8(table, codes[0]), _mm512_shuffle_epi8(table, codes[1])]
        }
    }
    #[inline(always)]
    fn input<const I: usize>(self, x: Self::Q) -> Self::V {
        unsafe { [input::<I>(x[0]), input::<I>(x[1])] }
    }
    #[inline(always)]
    fn signed(self, x: &[u8; LANES]) -> Self::V {
        unsafe {
            let p: *const __m128i = x.as_ptr().cast();
            let (low, high) = (_mm_loadu_si128(p), _mm_loadu_si128(p.add(1)));
            [_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(low)), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(high))]
        }
    }
    #[inline(always)]
    fn e4m3(self, x: &[u8; LANES]) -> Self::V {
        unsafe {
            let [a, b] = super::avx2::e4m3_as_f16(x);
            let scale = _mm512_set1_ps(256.0);
            [_mm512_mul_ps(_mm512_cvtph_ps(a), scale), _mm512_mul_ps(_mm512_cvtph_ps(b), scale)]
        }
    }
    #[inline(always)]
    fn f16(self, x: &[u8; 2 * LANES]) -> Self::V {
        unsafe {
            let p: *const __m256i = x.as_ptr().cast();
            [_mm512_cvtph_ps(_mm256_loadu_si256(p)), _mm512_cvtph_ps(_mm256_loadu_si256(p.add(1)))]
        }
    }
    #[inline(always)]
    fn bf16(self, x: &[u8; 2 * LANES]) -> Self::V {
        unsafe {
            let p: *const __m256i = x.as_ptr().cast();
            [upper_half(p), upper_half(p.add(1))]
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm512_add_ps(a[0], b[0]), _mm512_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm512_sub_ps(a[0], b[0]), _mm512_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm512_mul_ps(a[0], b[0]), _mm512_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm512_div_ps(a[0], b[0]), _mm512_div_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        unsafe { [_mm512_sqrt_ps(a[0]), _mm512_sqrt_ps(a[1])] }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { [_mm512_fmadd_ps(a[0], b[0], c[0]), _mm512_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm512_max_ps(a[0], b[0]), _mm512_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm512_min_ps(a[0], b[0]), _mm512_min_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn exp2_int(self, n: Self::V) -> Self::V {
        // No closure: the compiler might not inline these instructions into one.
        unsafe { [power_of_two(n[0]), power_of_two(n[1])] }
    }
}

/// Masks of the first `n` < 32 lanes.
#[inline(always)]
fn first(n: usize) -> (__mmask16, __mmask16) {
    let lanes = (1u32 << n) - 1;
    (lanes as __mmask16, (lanes >> 16) as __mmask16)
}

/// 2ⁿ, by way of the exponent's bits.
///
/// # Safety
/// The processor must have AVX-512F and BW.
#[inline(always)]
unsafe fn power_of_two(n: __m512) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
        _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
    }
}

/// The `I`-th byte of each four as f32.
///
/// # Safety
/// The processor must have AVX-512F and BW.
#[inline(always)]
unsafe fn input<const I: usize>(x: __m512i) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let at_the_top = match I {
            0 => _mm512_slli_epi32::<24>(x),
            1 => _mm512_slli_epi32::<16>(x),
            2 => _mm512_slli_epi32::<8>(x),
            _ => x,
        };
        _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(at_the_top))
    }
}

/// Sixteen f32 of which `p` has the upper halves.
///
/// # Safety
/// The processor must have AVX-512F and BW, and `p` must be readable.
#[inline(always)]
unsafe fn upper_half(p: *const __m256i) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)))) }
}
