//! Thirty-two virtual f32 lanes on every instruction set.
//!
//! A kernel is written once against [`Simd`], whose vector is always 32 lanes wide, whatever the registers behind it:
//! two of AVX-512, four of AVX2, eight of NEON or a plain array. Every operation is IEEE-exact per lane (no reciprocal
//! estimates, no fast-math), and reductions over lanes use one fixed tree, so the instruction set never shows in the
//! bits. [`kernel!`](crate::kernel) turns such a function into one that picks its instruction set at run time.
//!
//! Codes of stored weights are bytes, four for each lane. Left out: anything that only one instruction set can do
//! exactly.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bytes;
mod dot;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub(crate) use dot::{Dot, FourAtOnce, InPairs};
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use scalar::Scalar;

use std::sync::OnceLock;

/// Lanes of every vector: the width in which reductions are defined.
pub const LANES: usize = 32;

/// 32 f32 lanes. A value of an implementing type proves that the processor has the instructions.
pub trait Simd: Copy + Send + Sync + 'static {
    /// 32 f32 values.
    type V: Copy;
    /// 128 bytes, four for each lane: the codes of four inputs.
    type Q: Copy;
    /// Rows of a matrix tile whose accumulators fit the registers.
    const TILE_ROWS: usize;
    /// Columns of a matrix tile; they divide 32.
    const TILE_COLUMNS: usize;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Reads 32 values.
    ///
    /// # Safety
    /// `p` must be readable for 32 values.
    unsafe fn load_ptr(self, p: *const f32) -> Self::V;
    /// Writes 32 values.
    ///
    /// # Safety
    /// `p` must be writable for 32 values.
    unsafe fn store_ptr(self, p: *mut f32, v: Self::V);
    /// Reads `TILE_COLUMNS` values. The lanes behind them are unspecified, and computing them costs nothing as long as
    /// only [`store_tile`](Simd::store_tile) reads the result.
    ///
    /// # Safety
    /// `p` must be readable for `TILE_COLUMNS` values.
    unsafe fn load_tile(self, p: *const f32) -> Self::V;
    /// Writes the first `TILE_COLUMNS` values.
    ///
    /// # Safety
    /// `p` must be writable for `TILE_COLUMNS` values.
    unsafe fn store_tile(self, p: *mut f32, v: Self::V);
    /// Asks for the cache line of `p`, which may point anywhere, before it is needed.
    #[inline(always)]
    fn prefetch(self, _p: *const f32) {}
    /// The same into the second-level cache and those behind it.
    #[inline(always)]
    fn prefetch_far(self, _p: *const f32) {}
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `√a`, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `a · b + c` with one rounding.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a > b ? a : b` in each lane.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a < b ? a : b` in each lane.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `2ⁿ` for whole-numbered lanes −126 ≤ n ≤ 127.
    fn exp2_int(self, n: Self::V) -> Self::V;

    /// `to` = the transpose of the 32 × 32 values `from`.
    #[inline(always)]
    fn transpose(self, from: &[f32; LANES * LANES], to: &mut [f32; LANES * LANES]) {
        for (i, row) in from.as_chunks::<LANES>().0.iter().enumerate() {
            for (j, x) in row.iter().enumerate() {
                to[j * LANES + i] = *x;
            }
        }
    }

    /// The bytes themselves.
    fn quads(self, x: &[u8; 4 * LANES]) -> Self::Q;
    /// 128 codes of 4 bits: byte i is in byte i mod 64, the first 64 in the lower halves.
    fn quads_4(self, x: &[u8; 2 * LANES]) -> Self::Q;
    /// 128 codes of 2 bits: byte i is in byte i mod 32, the first 32 in the lowest bits.
    fn quads_2(self, x: &[u8; LANES]) -> Self::Q;
    /// 128 codes of 1 bit: byte i is in byte i mod 16, the first 16 in the lowest bits.
    fn quads_1(self, x: &[u8; LANES / 2]) -> Self::Q;
    /// `low | high << SHIFT` of bytes, where nothing is shifted out of one.
    fn join<const SHIFT: i32>(self, low: Self::Q, high: Self::Q) -> Self::Q;
    /// `x + offset` of bytes, modulo 256.
    fn add_to_bytes(self, x: Self::Q, offset: i8) -> Self::Q;
    /// The bytes of `table` at `codes`, which are below 16.
    fn pick(self, table: &[i8; 16], codes: Self::Q) -> Self::Q;
    /// The `I`-th byte of each lane as a signed integer, I < 4.
    fn input<const I: usize>(self, x: Self::Q) -> Self::V;
    /// Bytes as signed integers.
    fn signed(self, x: &[u8; LANES]) -> Self::V;
    /// Bytes as 8-bit floats ([`F8_E4M3`](crate::stored::StoredType::F8_E4M3)).
    fn e4m3(self, x: &[u8; LANES]) -> Self::V;
    /// Pairs of bytes as IEEE 16-bit floats.
    fn f16(self, x: &[u8; 2 * LANES]) -> Self::V;
    /// Pairs of bytes as the upper halves of f32.
    fn bf16(self, x: &[u8; 2 * LANES]) -> Self::V;

    /// Reads exactly the 32 values of `x`.
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        // SAFETY: the array holds 32 values.
        unsafe { self.load_ptr(x.as_ptr()) }
    }

    /// Writes exactly the 32 values of `x`.
    #[inline(always)]
    fn store(self, x: &mut [f32; LANES], v: Self::V) {
        // SAFETY: the array holds 32 values.
        unsafe { self.store_ptr(x.as_mut_ptr(), v) }
    }

    /// Reads up to 32 values; the lanes past the slice's end are `fill`.
    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> Self::V {
        if let Some(whole) = x.first_chunk() {
            return self.load(whole);
        }
        let mut lanes = [fill; LANES];
        lanes[..x.len()].copy_from_slice(x);
        self.load(&lanes)
    }

    /// Writes the first `x.len()` lanes, at most 32.
    #[inline(always)]
    fn store_partial(self, x: &mut [f32], v: Self::V) {
        if let Some(whole) = x.first_chunk_mut() {
            return self.store(whole, v);
        }
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes, v);
        let n = x.len();
        x.copy_from_slice(&lanes[..n]);
    }

    /// Lanes `0..n` of `v`, then `fill`.
    #[inline(always)]
    fn keep_first(self, v: Self::V, n: usize, fill: f32) -> Self::V {
        let mut lanes = [fill; LANES];
        let mut all = [0.0; LANES];
        self.store(&mut all, v);
        let n = n.min(LANES);
        lanes[..n].copy_from_slice(&all[..n]);
        self.load(&lanes)
    }

    /// Sum of the lanes by the fixed tree: lane i + lane i+16, then +8, +4, +2, +1.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        self.fold(v, |a, b| a + b)
    }

    /// Largest lane.
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        self.fold(v, |a, b| if a > b { a } else { b })
    }

    /// Folds the lanes by the fixed tree.
    #[inline(always)]
    fn fold(self, v: Self::V, f: impl Fn(f32, f32) -> f32) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes, v);
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] = f(lanes[i], lanes[i + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// An instruction set that this processor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa {
    pub(crate) kind: Kind,
    /// Whether it multiplies bytes and sums four products in one instruction, which integer products alone use.
    pub(crate) four_at_once: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    ScalarFma,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The best instruction set of this processor, or the one that the environment variable `PICNIC_ISA` names
    /// (`scalar`, `avx2`, `avx512`, `neon`) if the processor has it. Looked up once.
    pub fn detect() -> Isa {
        static ISA: OnceLock<Isa> = OnceLock::new();
        *ISA.get_or_init(|| {
            let available = Isa::available();
            let named = std::env::var("PICNIC_ISA").ok().and_then(|name| Isa::named(&name));
            named.unwrap_or(available[available.len() - 1])
        })
    }

    /// The instruction set called `name` (see [`Isa::name`]) if this processor has it.
    pub fn named(name: &str) -> Option<Isa> {
        Isa::available().into_iter().find(|isa| isa.name() == name)
    }

    /// No vector instructions; the same bits.
    pub fn scalar() -> Isa {
        Isa::available()[0]
    }

    /// Every instruction set of this processor, slowest first.
    pub fn available() -> Vec<Isa> {
        #[cfg(target_arch = "x86_64")]
        {
            let fma = is_x86_feature_detected!("avx") && is_x86_feature_detected!("fma");
            let isa = |kind, four_at_once| Isa { kind, four_at_once };
            let mut all = vec![isa(if fma { Kind::ScalarFma } else { Kind::Scalar }, false)];
            if fma && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
                all.push(isa(Kind::Avx2, is_x86_feature_detected!("avxvnni")));
                // Every processor with AVX-512 but the Xeon Phi has the instructions on bytes.
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                    all.push(isa(Kind::Avx512, is_x86_feature_detected!("avx512vnni")));
                }
            }
            all
        }
        #[cfg(target_arch = "aarch64")]
        {
            let four_at_once = std::arch::is_aarch64_feature_detected!("dotprod");
            vec![Isa { kind: Kind::Scalar, four_at_once: false }, Isa { kind: Kind::Neon, four_at_once }]
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            vec![Isa { kind: Kind::Scalar, four_at_once: false }]
        }
    }

    /// The same without the instructions for four products of bytes at once.
    #[cfg(test)]
    pub(crate) fn in_pairs(self) -> Isa {
        Isa { four_at_once: false, ..self }
    }

    /// `scalar`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        match self.kind {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::ScalarFma => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
        }
    }
}

/// Defines `fn name(isa: Isa, …)` from a body generic over [`Simd`]: the body is compiled once for each instruction
/// set and the call picks one. Write `fn name<S>(s, …)`; `s` is the proof that `S` is there.
#[macro_export]
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$S:ident>($s:ident $(, $arg:ident : $ty:ty)* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(isa: $crate::simd::Isa, $($arg: $ty),*) $(-> $ret)? {
            use $crate::simd::Kind;
            #[inline(always)]
            fn generic<$S: $crate::simd::Simd>($s: $S, $($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx,fma")]
            fn scalar_fma($($arg: $ty),*) $(-> $ret)? {
                generic($crate::simd::Scalar, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function has the features.
                generic(unsafe { $crate::simd::Avx2::new() }, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function has the features.
                generic(unsafe { $crate::simd::Avx512::new() }, $($arg),*)
            }
            match isa.kind {
                Kind::Scalar => generic($crate::simd::Scalar, $($arg),*),
                // SAFETY: an `Isa` other than plain scalar exists only where detection found its features.
                #[cfg(target_arch = "x86_64")]
                Kind::ScalarFma => unsafe { scalar_fma($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => unsafe { avx512($($arg),*) },
                // NEON belongs to every aarch64 processor.
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => generic($crate::simd::Neon, $($arg),*),
            }
        }
    };
}
