//! exp and what is made of it, the same bits on every instruction set.
//!
//! Logarithms, sines and powers are needed once a token or once a program, never in a loop over a matrix: those come
//! from the crate `libm`, which is plain Rust and so the same everywhere.

use crate::simd::Simd;

/// eˣ within 2 units in the last place for −87.3 ≤ x ≤ 88; clamped outside, NaN stays NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, then Taylor to r⁷ (next term < 6·10⁻⁹) times 2ⁿ.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // With NaN in the second place, both comparisons are false and hand it on.
    let x = s.max(s.splat(-87.3), s.min(s.splat(88.0), x));
    let shift = s.splat(12_582_912.0); // 1.5·2²³: adding it rounds to a whole number
    let n = s.sub(s.fma(x, s.splat(std::f32::consts::LOG2_E), shift), shift);
    let r = s.fma(n, s.splat(-0.693_359_4), x); // ln 2 in two parts, the first exact in 9 bits
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = s.fma(p, r, s.splat(c));
    }
    s.mul(p, s.exp2_int(n))
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// Natural logarithm.
pub fn ln(x: f32) -> f32 {
    libm::logf(x)
}

#[cfg(test)]
mod tests {
    use crate::simd::{Isa, LANES};

    crate::kernel! {
        fn exp_all<S>(s, x: &[f32; LANES], y: &mut [f32; LANES]) {
            let v = s.load(x);
            s.store(y, super::exp(s, v));
        }
    }

    #[test]
    fn exp_is_close_and_the_same_everywhere() {
        let mut y = [0.0; LANES];
        for step in 0..6000 {
            let x: [f32; LANES] = std::array::from_fn(|i| -90.0 + 0.03 * step as f32 + 0.001 * i as f32);
            exp_all(Isa::scalar(), &x, &mut y);
            for (x, y) in x.iter().zip(y) {
                if (-87.0..88.0).contains(x) {
                    let exact = (*x as f64).exp();
                    // Two units in the last place of a 24-bit significand.
                    assert!((y as f64 - exact).abs() <= exact * 2.4e-7, "exp({x}) = {y}, not {exact}");
                }
            }
            for isa in Isa::available() {
                let mut other = [0.0; LANES];
                exp_all(isa, &x, &mut other);
                assert_eq!(y.map(f32::to_bits), other.map(f32::to_bits), "{}", isa.name());
            }
        }
        exp_all(Isa::detect(), &[f32::NAN; LANES], &mut y);
        assert!(y[0].is_nan());
    }
}
