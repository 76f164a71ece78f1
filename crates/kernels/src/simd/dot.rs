//! Products of bytes summed four at a time, which is what integer products are made of. Integer sums are exact, so every
//! instruction set gives the same ones.

use super::{LANES, Scalar, Simd};
use std::marker::PhantomData;

/// How an instruction set multiplies bytes. A value of an implementing type proves that the processor has the
/// instructions.
pub(crate) trait Dot<S: Simd>: Copy {
    /// 32 sums.
    type Sums: Copy;
    /// Codes of four inputs and 32 outputs, as the instructions take them.
    type Codes: Copy;
    /// What [`signed`](Dot::signed) adds to codes.
    const BIAS: i32;

    /// 32 sums that are `start` before anything is added.
    fn start(self, start: i32) -> Self::Sums;
    /// Codes of at most 63.
    fn unsigned(self, codes: S::Q) -> Self::Codes;
    /// Codes that are signed bytes, each with the bias added.
    fn signed(self, codes: S::Q) -> Self::Codes;
    /// `sums` + the products of each lane's four codes with the bytes of `x`, which are −127 to 127, from the lowest on.
    /// `SIGNED` says by which method the codes were made.
    fn add<const SIGNED: bool>(self, sums: Self::Sums, codes: Self::Codes, x: i32) -> Self::Sums;
    /// Sums below 2²⁴ as f32.
    fn to_f32(self, s: S, sums: Self::Sums) -> S::V;
    /// The largest magnitude of 32 values; something that is not finite if one of them is not.
    fn magnitude(self, v: S::V) -> f32;
    /// 32 values below 2³¹ rounded to integers, half to even, of which the lowest bytes.
    fn rounded(self, v: S::V) -> [i8; LANES];
}

impl Dot<Scalar> for Scalar {
    type Sums = [i32; LANES];
    type Codes = [u8; 4 * LANES];
    const BIAS: i32 = 0;

    #[inline(always)]
    fn start(self, start: i32) -> Self::Sums {
        [start; LANES]
    }
    #[inline(always)]
    fn unsigned(self, codes: [u8; 4 * LANES]) -> Self::Codes {
        codes
    }
    #[inline(always)]
    fn signed(self, codes: [u8; 4 * LANES]) -> Self::Codes {
        codes
    }
    #[inline(always)]
    fn add<const SIGNED: bool>(self, mut sums: Self::Sums, codes: Self::Codes, x: i32) -> Self::Sums {
        let x = x.to_le_bytes();
        for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<4>().0) {
            for (&code, &x) in codes.iter().zip(&x) {
                *sum += i32::from(code as i8) * i32::from(x as i8);
            }
        }
        sums
    }
    #[inline(always)]
    fn to_f32(self, _: Scalar, sums: Self::Sums) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        for (out, sum) in out.iter_mut().zip(&sums) {
            *out = *sum as f32;
        }
        out
    }
    #[inline(always)]
    fn magnitude(self, v: [f32; LANES]) -> f32 {
        // As integers, what is no number is larger than infinity, and that than all numbers.
        f32::from_bits(v.iter().fold(0, |largest, x| largest.max(x.to_bits() & MAGNITUDE)))
    }
    #[inline(always)]
    fn rounded(self, v: [f32; LANES]) -> [i8; LANES] {
        let mut out = [0; LANES];
        for (out, x) in out.iter_mut().zip(&v) {
            *out = x.round_ties_even() as i8;
        }
        out
    }
}

/// The bits of an f32 but for its sign.
const MAGNITUDE: u32 = 0x7fff_ffff;

/// One instruction for four products and their sum: AVX-VNNI, AVX-512 VNNI, or the dot products of NEON.
#[derive(Clone, Copy)]
pub(crate) struct FourAtOnce<S>(PhantomData<S>);

/// Pairs of products to 16 bits, pairs of these to 32: every AVX2, AVX-512 BW and NEON.
#[derive(Clone, Copy)]
pub(crate) struct InPairs<S>(PhantomData<S>);

impl<S: Simd> FourAtOnce<S> {
    /// The proof that the instructions are there beside those of `S`.
    ///
    /// # Safety
    /// The processor must have AVX-VNNI beside AVX2, AVX-512 VNNI beside AVX-512, or the dot products of NEON.
    #[inline(always)]
    pub unsafe fn new(_: S) -> Self {
        Self(PhantomData)
    }
}

impl<S: Simd> InPairs<S> {
    /// Whoever has `S` has what this needs.
    #[inline(always)]
    pub fn new(_: S) -> Self {
        Self(PhantomData)
    }
}

// SAFETY (every block below): a value of `FourAtOnce` or `InPairs` exists only where the processor has the instructions.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks)]
mod x86 {
    use super::super::{Avx2, Avx512};
    use super::*;
    use std::arch::x86_64::*;

    impl Dot<Avx512> for FourAtOnce<Avx512> {
        type Sums = [__m512i; 2];
        type Codes = [__m512i; 2];
        const BIAS: i32 = 128;

        #[inline(always)]
        fn start(self, start: i32) -> Self::Sums {
            unsafe { [_mm512_set1_epi32(start); 2] }
        }
        #[inline(always)]
        fn unsigned(self, codes: [__m512i; 2]) -> Self::Codes {
            codes
        }
        #[inline(always)]
        fn signed(self, codes: [__m512i; 2]) -> Self::Codes {
            unsafe {
                let bias = _mm512_set1_epi8(-128);
                [_mm512_xor_si512(codes[0], bias), _mm512_xor_si512(codes[1], bias)]
            }
        }
        #[inline(always)]
        fn add<const SIGNED: bool>(self, sums: Self::Sums, codes: Self::Codes, x: i32) -> Self::Sums {
            unsafe {
                let x = _mm512_set1_epi32(x);
                [_mm512_dpbusd_epi32(sums[0], codes[0], x), _mm512_dpbusd_epi32(sums[1], codes[1], x)]
            }
        }
        #[inline(always)]
        fn to_f32(self, _: Avx512, sums: Self::Sums) -> [__m512; 2] {
            unsafe { [_mm512_cvtepi32_ps(sums[0]), _mm512_cvtepi32_ps(sums[1])] }
        }
        #[inline(always)]
        fn magnitude(self, v: [__m512; 2]) -> f32 {
            unsafe { magnitude_512(v) }
        }
        #[inline(always)]
        fn rounded(self, v: [__m512; 2]) -> [i8; LANES] {
            unsafe { rounded_512(v) }
        }
    }

    impl Dot<Avx512> for InPairs<Avx512> {
        type Sums = [__m512i; 2];
        /// Magnitudes, and which of them are below zero.
        type Codes = [(__m512i, __mmask64); 2];
        const BIAS: i32 = 0;

        #[inline(always)]
        fn start(self, start: i32) -> Self::Sums {
            unsafe { [_mm512_set1_epi32(start); 2] }
        }
        #[inline(always)]
        fn unsigned(self, codes: [__m512i; 2]) -> Self::Codes {
            [(codes[0], 0), (codes[1], 0)]
        }
        #[inline(always)]
        fn signed(self, codes: [__m512i; 2]) -> Self::Codes {
            unsafe {
                [
                    (_mm512_abs_epi8(codes[0]), _mm512_movepi8_mask(codes[0])),
                    (_mm512_abs_epi8(codes[1]), _mm512_movepi8_mask(codes[1])),
                ]
            }
        }
        #[inline(always)]
        fn add<const SIGNED: bool>(self, sums: Self::Sums, codes: Self::Codes, x: i32) -> Self::Sums {
            unsafe {
                let (x, zero, ones) = (_mm512_set1_epi32(x), _mm512_setzero_si512(), _mm512_set1_epi16(1));
                let [(a, below_a), (b, below_b)] = codes;
                let (mut xa, mut xb) = (x, x);
                if SIGNED {
                    xa = _mm512_mask_sub_epi8(x, below_a, zero, x);
                    xb = _mm512_mask_sub_epi8(x, below_b, zero, x);
                }
                let (a, b) = (_mm512_maddubs_epi16(a, xa), _mm512_maddubs_epi16(b, xb));
                [
                    _mm512_add_epi32(sums[0], _mm512_madd_epi16(a, ones)),
                    _mm512_add_epi32(sums[1], _mm512_madd_epi16(b, ones)),
                ]
            }
        }
        #[inline(always)]
        fn to_f32(self, _: Avx512, sums: Self::Sums) -> [__m512; 2] {
            unsafe { [_mm512_cvtepi32_ps(sums[0]), _mm512_cvtepi32_ps(sums[1])] }
        }
        #[inline(always)]
        fn magnitude(self, v: [__m512; 2]) -> f32 {
            unsafe { magnitude_512(v) }
        }
        #[inline(always)]
        fn rounded(self, v: [__m512; 2]) -> [i8; LANES] {
            unsafe { rounded_512(v) }
        }
    }

    /// # Safety
    /// The processor must have AVX-512F.
    #[inline(always)]
    unsafe fn magnitude_512(v: [__m512; 2]) -> f32 {
        unsafe {
            let mask = _mm512_set1_epi32(MAGNITUDE as i32);
            let [a, b] = [_mm512_castps_si512(v[0]), _mm512_castps_si512(v[1])];
            let largest = _mm512_max_epu32(_mm512_and_si512(a, mask), _mm512_and_si512(b, mask));
            f32::from_bits(_mm512_reduce_max_epu32(largest))
        }
    }

    /// # Safety
    /// The processor must have AVX-512F.
    #[inline(always)]
    unsafe fn rounded_512(v: [__m512; 2]) -> [i8; LANES] {
        unsafe {
            let mut out = [0; LANES];
            let p: *mut __m128i = out.as_mut_ptr().cast();
            _mm_storeu_si128(p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v[0])));
            _mm_storeu_si128(p.add(1), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v[1])));
            out
        }
    }

    impl Dot<Avx2> for FourAtOnce<Avx2> {
        type Sums = [__m256i; 4];
        type Codes = [__m256i; 4];
        const BIAS: i32 = 128;

        #[inline(always)]
        fn start(self, start: i32) -> Self::Sums {
            unsafe { [_mm256_set1_epi32(start); 4] }
        }
        #[inline(always)]
        fn unsigned(self, codes: [__m256i; 4]) -> Self::Codes {
            codes
        }
        #[inline(always)]
        fn signed(self, codes: [__m256i; 4]) -> Self::Codes {
            unsafe {
                let bias = _mm256_set1_epi8(-128);
                [
                    _mm256_xor_si256(codes[0], bias),
                    _mm256_xor_si256(codes[1], bias),
                    _mm256_xor_si256(codes[2], bias),
                    _mm256_xor_si256(codes[3], bias),
                ]
            }
        }
        #[inline(always)]
        fn add<const SIGNED: bool>(self, sums: Self::Sums, codes: Self::Codes, x: i32) -> Self::Sums {
            unsafe {
                let x = _mm256_set1_epi32(x);
                [
                    _mm256_dpbusd_avx_epi32(sums[0], codes[0], x),
                    _mm256_dpbusd_avx_epi32(sums[1], codes[1], x),
                    _mm256_dpbusd_avx_epi32(sums[2], codes[2], x),
                    _mm256_dpbusd_avx_epi32(sums[3], codes[3], x),
                ]
            }
        }
        #[inline(always)]
        fn to_f32(self, _: Avx2, sums: Self::Sums) -> [__m256; 4] {
            unsafe { to_f32_256(sums) }
        }
        #[inline(always)]
        fn magnitude(self, v: [__m256; 4]) -> f32 {
            unsafe { magnitude_256(v) }
        }
        #[inline(always)]
        fn rounded(self, v: [__m256; 4]) -> [i8; LANES] {
            unsafe { rounded_256(v) }
        }
    }

    impl Dot<Avx2> for InPairs<Avx2> {
        type Sums = [__m256i; 4];
        /// Magnitudes, and the codes themselves for their signs.
        type Codes = [(__m256i, __m256i); 4];
        const BIAS: i32 = 0;

        #[inline(always)]
        fn start(self, start: i32) -> Self::Sums {
            unsafe { [_mm256_set1_epi32(start); 4] }
        }
        #[inline(always)]
        fn unsigned(self, codes: [__m256i; 4]) -> Self::Codes {
            [(codes[0], codes[0]), (codes[1], codes[1]), (codes[2], codes[2]), (codes[3], codes[3])]
        }
        #[inline(always)]
        fn signed(self, codes: [__m256i; 4]) -> Self::Codes {
            unsafe {
                [
                    (_mm256_abs_epi8(codes[0]), codes[0]),
                    (_mm256_abs_epi8(codes[1]), codes[1]),
                    (_mm256_abs_epi8(codes[2]), codes[2]),
                    (_mm256_abs_epi8(codes[3]), codes[3]),
                ]
            }
        }
        #[inline(always)]
        fn add<const SIGNED: bool>(self, sums: Self::Sums, codes: Self::Codes, x: i32) -> Self::Sums {
            unsafe {
                let x = _mm256_set1_epi32(x);
                [
                    pairs::<SIGNED>(sums[0], codes[0], x),
                    pairs::<SIGNED>(sums[1], codes[1], x),
                    pairs::<SIGNED>(sums[2], codes[2], x),
                    pairs::<SIGNED>(sums[3], codes[3], x),
                ]
            }
        }
        #[inline(always)]
        fn to_f32(self, _: Avx2, sums: Self::Sums) -> [__m256; 4] {
            unsafe { to_f32_256(sums) }
        }
        #[inline(always)]
        fn magnitude(self, v: [__m256; 4]) -> f32 {
            unsafe { magnitude_256(v) }
        }
        #[inline(always)]
        fn rounded(self, v: [__m256; 4]) -> [i8; LANES] {
            unsafe { rounded_256(v) }
        }
    }

    /// # Safety
    /// The processor must have AVX2.
    #[inline(always)]
    unsafe fn pairs<const SIGNED: bool>(sums: __m256i, (magnitudes, codes): (__m256i, __m256i), x: __m256i) -> __m256i {
        unsafe {
            let x = if SIGNED { _mm256_sign_epi8(x, codes) } else { x };
            let products = _mm256_maddubs_epi16(magnitudes, x);
            _mm256_add_epi32(sums, _mm256_madd_epi16(products, _mm256_set1_epi16(1)))
        }
    }

    /// # Safety
    /// The processor must have AVX2.
    #[inline(always)]
    unsafe fn to_f32_256(sums: [__m256i; 4]) -> [__m256; 4] {
        unsafe {
            [
                _mm256_cvtepi32_ps(sums[0]),
                _mm256_cvtepi32_ps(sums[1]),
                _mm256_cvtepi32_ps(sums[2]),
                _mm256_cvtepi32_ps(sums[3]),
            ]
        }
    }

    /// # Safety
    /// The processor must have AVX2.
    #[inline(always)]
    unsafe fn magnitude_256(v: [__m256; 4]) -> f32 {
        unsafe {
            let mask = _mm256_set1_ps(f32::from_bits(MAGNITUDE));
            let [a, b] = [_mm256_and_ps(v[0], mask), _mm256_and_ps(v[1], mask)];
            let [c, d] = [_mm256_and_ps(v[2], mask), _mm256_and_ps(v[3], mask)];
            let ab = _mm256_max_epu32(_mm256_castps_si256(a), _mm256_castps_si256(b));
            let cd = _mm256_max_epu32(_mm256_castps_si256(c), _mm256_castps_si256(d));
            let eight = _mm256_max_epu32(ab, cd);
            let four = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
            let two = _mm_max_epu32(four, _mm_shuffle_epi32::<0b_00_00_11_10>(four));
            let one = _mm_max_epu32(two, _mm_shuffle_epi32::<0b_00_00_00_01>(two));
            f32::from_bits(_mm_cvtsi128_si32(one) as u32)
        }
    }

    /// # Safety
    /// The processor must have AVX2.
    #[inline(always)]
    unsafe fn rounded_256(v: [__m256; 4]) -> [i8; LANES] {
        unsafe {
            let low = _mm256_packs_epi32(_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1]));
            let high = _mm256_packs_epi32(_mm256_cvtps_epi32(v[2]), _mm256_cvtps_epi32(v[3]));
            // Both packings go by halves of registers; this puts the groups of four back in order.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
            let mut out = [0; LANES];
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes);
            out
        }
    }
}

// SAFETY (every block below): as above; NEON belongs to every aarch64 processor.
#[cfg(target_arch = "aarch64")]
#[allow(clippy::undocumented_unsafe_blocks)]
mod arm {
    use super::super::Neon;
    use super::*;
    use std::arch::aarch64::*;
    use std::arch::asm;

    const REGISTERS: usize = LANES / 4;

    macro_rules! dot_by {
        ($($proof:ty, $add:ident);*) => {$(
            impl Dot<Neon> for $proof {
                type Sums = [int32x4_t; REGISTERS];
                type Codes = [uint8x16_t; REGISTERS];
                const BIAS: i32 = 0;

                #[inline(always)]
                fn start(self, start: i32) -> Self::Sums {
                    unsafe { [vdupq_n_s32(start); REGISTERS] }
                }
                #[inline(always)]
                fn unsigned(self, codes: Self::Codes) -> Self::Codes {
                    codes
                }
                #[inline(always)]
                fn signed(self, codes: Self::Codes) -> Self::Codes {
                    codes
                }
                #[inline(always)]
                fn add<const SIGNED: bool>(self, mut sums: Self::Sums, codes: Self::Codes, x: i32) -> Self::Sums {
                    unsafe {
                        let x = vreinterpretq_s8_s32(vdupq_n_s32(x));
                        for i in 0..REGISTERS {
                            sums[i] = $add(sums[i], vreinterpretq_s8_u8(codes[i]), x);
                        }
                    }
                    sums
                }
                #[inline(always)]
                fn to_f32(self, s: Neon, sums: Self::Sums) -> <Neon as Simd>::V {
                    let mut out = s.splat(0.0);
                    for i in 0..REGISTERS {
                        out[i] = unsafe { vcvtq_f32_s32(sums[i]) };
                    }
                    out
                }
                #[inline(always)]
                fn magnitude(self, v: <Neon as Simd>::V) -> f32 {
                    unsafe {
                        let bits = |i: usize| vandq_u32(vreinterpretq_u32_f32(v[i]), vdupq_n_u32(MAGNITUDE));
                        let mut largest = bits(0);
                        for i in 1..REGISTERS {
                            largest = vmaxq_u32(largest, bits(i));
                        }
                        f32::from_bits(vmaxvq_u32(largest))
                    }
                }
                #[inline(always)]
                fn rounded(self, v: <Neon as Simd>::V) -> [i8; LANES] {
                    let mut out = [0; LANES];
                    for (out, v) in out.as_chunks_mut::<8>().0.iter_mut().zip(v.as_chunks::<2>().0) {
                        unsafe {
                            let (low, high) = (vcvtnq_s32_f32(v[0]), vcvtnq_s32_f32(v[1]));
                            vst1_s8(out.as_mut_ptr(), vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
                        }
                    }
                    out
                }
            }
        )*};
    }

    dot_by!(FourAtOnce<Neon>, four_at_once; InPairs<Neon>, in_pairs);

    /// # Safety
    /// The processor must have the dot products of NEON.
    #[inline(always)]
    unsafe fn four_at_once(sums: int32x4_t, codes: int8x16_t, x: int8x16_t) -> int32x4_t {
        let mut out = sums;
        // The intrinsic is not stable yet.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {out:v}.4s, {codes:v}.16b, {x:v}.16b",
                out = inout(vreg) out,
                codes = in(vreg) codes,
                x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        out
    }

    /// # Safety
    /// None but NEON.
    #[inline(always)]
    unsafe fn in_pairs(sums: int32x4_t, codes: int8x16_t, x: int8x16_t) -> int32x4_t {
        unsafe {
            let (low, high) = (vmull_s8(vget_low_s8(codes), vget_low_s8(x)), vmull_high_s8(codes, x));
            // Two products of at most 128·127 fit 16 bits.
            vpadalq_s16(sums, vpaddq_s16(low, high))
        }
    }
}
