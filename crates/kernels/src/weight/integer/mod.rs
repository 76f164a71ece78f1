//! The integer product of a frozen weight: its definition, and code that follows it word by word.
//!
//! It is for serving and for rollouts whose ratio is corrected, because it rounds the inputs: faster than the exact
//! product, and outside of the contract that a rollout has the trainer's bits. It is defined to the bit all the same,
//! so whatever computes it can be held to this file; `product.rs` is the fast version.
//!
//! 1. A row of inputs is cut into groups of 32. A group's scale is amax/127, its codes are x·(127/amax) rounded half to
//!    even. A group whose 127/amax is not finite (zeros, or numbers below 4e-37) has scale and codes 0; one that holds
//!    something that is no finite number has a scale of NaN.
//! 2. A group of weights (16 or 32 inputs that share a scale s and a minimum m) gives two integers: the products of its
//!    codes with the inputs', summed, and the sum of the inputs' codes.
//! 3. An output is a chain over groups of weights in ascending order from 0: c = fma(s·a, products, c), and for types
//!    with a minimum then c = fma(m·a, sum, c), where a is the inputs' scale. s·a and m·a are rounded once, all else
//!    that precedes the chain is exact.
//!
//! Codes of weights are at most 128 in magnitude (127 where they are not signed) and those of inputs 127, so two
//! products together are at most 32,512: pairs of 8-bit multiply-adds never saturate 16 bits, and a group's 32 products
//! fit an f32 exactly. All types of ggml's blocks have this product; plain floats and 8-bit floats have none.

pub(crate) mod product;

use super::Stored;
use super::repack::codes_of;
use crate::simd::LANES;
use crate::stored::StoredType::{self, *};
use crate::stored::{IQ4_VALUES, MXFP4_VALUES, e8m0_half, f16_at, iq4_xs_scale, q3_k_scale, scale_and_min};

/// Inputs that share a scale.
pub const GROUP: usize = LANES;

/// Inputs in 8 bits: row after row of groups.
pub struct Inputs {
    /// −127 to 127, `[M, K]`.
    pub codes: Vec<i8>,
    /// What codes are to be multiplied by, `[M, K/32]`.
    pub scales: Vec<f32>,
}

impl Inputs {
    /// Rounds `x`, rows of a multiple of 32 values.
    pub fn new(x: &[f32]) -> Inputs {
        assert!(x.len().is_multiple_of(GROUP), "{} inputs are no groups of {GROUP}", x.len());
        let (mut codes, mut scales) = (Vec::with_capacity(x.len()), Vec::with_capacity(x.len() / GROUP));
        for group in x.as_chunks::<GROUP>().0 {
            let amax = group.iter().fold(0f32, |amax, x| if x.abs() > amax { x.abs() } else { amax });
            let inverse = 127.0 / amax;
            if !group.iter().all(|x| x.is_finite()) {
                scales.push(f32::NAN);
                codes.extend([0; GROUP]);
            } else if !inverse.is_finite() {
                scales.push(0.0);
                codes.extend([0; GROUP]);
            } else {
                scales.push(amax / 127.0);
                codes.extend(group.iter().map(|x| (x * inverse).round_ties_even() as i8));
            }
        }
        Inputs { codes, scales }
    }
}

/// Whether weights of `ty` have an integer product.
pub fn is_defined(ty: StoredType) -> bool {
    ty.block_len() >= GROUP
}

/// `y` `[M, N]` = the integer product of `x` `[M, K]` with `w` `[N, K]`. Panics if the type has none.
pub fn forward(x: &Inputs, w: &Stored, y: &mut [f32]) {
    assert!(is_defined(w.ty), "{} has no integer product", w.ty);
    for (i, y) in y.chunks_exact_mut(w.n.max(1)).enumerate() {
        let codes = &x.codes[i * w.k..(i + 1) * w.k];
        let scales = &x.scales[i * w.k / GROUP..(i + 1) * w.k / GROUP];
        for (n, y) in y.iter_mut().enumerate() {
            *y = dot(w.ty, w.bytes(n), codes, scales);
        }
    }
}

/// One row of weights with one row of inputs.
fn dot(ty: StoredType, bytes: &[u8], inputs: &[i8], scales: &[f32]) -> f32 {
    let (len, group) = (ty.block_len(), group_len(ty));
    let mut chain = 0f32;
    for (b, block) in bytes.chunks_exact(ty.block_bytes()).enumerate() {
        let mut weights = [0; 256];
        codes_of(ty, block, &mut weights[..len]);
        for (g, weights) in weights[..len].chunks_exact(group).enumerate() {
            let at = b * len + g * group;
            let inputs = &inputs[at..at + group];
            let products: i32 = weights.iter().zip(inputs).map(|(&w, &x)| signed(ty, w) * i32::from(x)).sum();
            let (scale, min) = scale_of(ty, block, g);
            let a = scales[at / GROUP];
            chain = (scale * a).mul_add(products as f32, chain);
            if let Some(min) = min {
                let sum: i32 = inputs.iter().map(|&x| i32::from(x)).sum();
                chain = (min * a).mul_add(sum as f32, chain);
            }
        }
    }
    chain
}

/// Inputs of a group of weights.
fn group_len(ty: StoredType) -> usize {
    if matches!(ty, Q2_K | Q3_K | Q6_K) { 16 } else { 32 }
}

/// What a code stands for, before its scale.
fn signed(ty: StoredType, code: u8) -> i32 {
    match ty {
        Q8_0 => i32::from(code as i8),
        Q4_0 => i32::from(code) - 8,
        Q5_0 => i32::from(code) - 16,
        Q3_K => i32::from(code) - 4,
        Q6_K => i32::from(code) - 32,
        IQ4_NL | IQ4_XS => i32::from(IQ4_VALUES[usize::from(code)]),
        MXFP4 => i32::from(MXFP4_VALUES[usize::from(code)]),
        _ => i32::from(code),
    }
}

/// Scale and minimum of group `g` of block `b`.
fn scale_of(ty: StoredType, b: &[u8], g: usize) -> (f32, Option<f32>) {
    match ty {
        Q4_1 | Q5_1 => (f16_at(b, 0), Some(f16_at(b, 2))),
        Q2_K => (f16_at(b, 80) * f32::from(b[g] & 15), Some(-(f16_at(b, 82) * f32::from(b[g] >> 4)))),
        Q3_K => (f16_at(b, 108) * f32::from(q3_k_scale(&b[96..108], g)), None),
        Q4_K | Q5_K => {
            let (scale, min) = scale_and_min(&b[4..16], g);
            (f16_at(b, 0) * f32::from(scale), Some(-(f16_at(b, 2) * f32::from(min))))
        }
        Q6_K => (f16_at(b, 208) * f32::from(b[192 + g] as i8), None),
        IQ4_XS => (f16_at(b, 0) * f32::from(iq4_xs_scale(b, g)), None),
        MXFP4 => (e8m0_half(b[0]), None),
        _ => (f16_at(b, 0), None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::bytes;
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    #[test]
    fn inputs_round_half_to_even() {
        let mut x = [0.0; 64];
        x[..5].copy_from_slice(&[127.0, 0.5, 1.5, -2.5, -126.6]);
        x[32] = 1e-38;
        let inputs = Inputs::new(&x);
        assert_eq!(inputs.codes[..5], [127, 0, 2, -2, -127]);
        assert_eq!(inputs.scales, [1.0, 0.0]);
        assert!(inputs.codes[5..].iter().all(|&code| code == 0));
        x[40] = f32::INFINITY;
        assert!(Inputs::new(&x).scales[1].is_nan());
    }

    /// The largest codes of each type with the largest inputs, in every pairing of signs: what 8-bit multiply-adds do,
    /// |w| without a sign by ±x, two products to 16 bits.
    #[test]
    fn pairs_of_products_fit_16_bits() {
        let types = StoredType::ALL.into_iter().filter(|&ty| is_defined(ty));
        let codes = |ty: StoredType| {
            0..=match ty {
                Q8_0 => 255,
                Q2_K => 3,
                Q3_K => 7,
                Q5_0 | Q5_1 | Q5_K => 31,
                Q6_K => 63,
                _ => 15u8,
            }
        };
        for ty in types {
            let values: Vec<i32> = codes(ty).map(|code| signed(ty, code)).collect();
            let (min, max) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
            assert!(min >= -128 && max <= 127, "{ty}: {min} to {max}");
            for (w0, w1) in [(min, min), (min, max), (max, min), (max, max)] {
                for (x0, x1) in [(127, 127), (127, -127), (-127, 127), (-127, -127)] {
                    let pair = w0.abs() * (x0 * w0.signum()) + w1.abs() * (x1 * w1.signum());
                    assert_eq!(pair, w0 * x0 + w1 * x1);
                    assert!(i16::try_from(pair).is_ok(), "{ty}: {pair}");
                }
            }
            assert!(32 * 127 * min.abs().max(max) < 1 << 24);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Each input is off by at most half its group's scale, and by the roundings of x·(127/amax); the chain rounds
        /// each of its terms and sums to 2⁻²⁴.
        #[test]
        fn is_as_near_as_its_rounding(which in 0..13usize, m in 1usize..3, n in 1usize..5, blocks in 1usize..4, seed: u32) {
            let ty = StoredType::ALL.into_iter().filter(|&ty| is_defined(ty)).nth(which).unwrap();
            let k = blocks * ty.block_len();
            let mut bytes = bytes(ty, n, k, seed);
            if ty == MXFP4 {
                bytes.chunks_mut(17).for_each(|block| block[0] = 110 + block[0] % 30);
            }
            let width = bytes.len() / n;
            let row = |row: usize| &bytes[row * width..][..width];
            let source = Stored { ty, n, k, row: &row, scales: None };
            let x = noise(m * k, seed);
            let inputs = Inputs::new(&x);
            let mut y = vec![0.0; m * n];
            forward(&inputs, &source, &mut y);
            let mut w = vec![0.0; k];
            for (j, row) in (0..n).map(|j| (j, row(j))) {
                source.decode_row(j, &mut w);
                for i in 0..m {
                    let (mut exact, mut bound, mut terms) = (0f64, 0f64, 0f64);
                    for l in 0..k {
                        let (x, a) = (f64::from(x[i * k + l]), f64::from(inputs.scales[(i * k + l) / GROUP]));
                        exact += f64::from(w[l]) * x;
                        bound += f64::from(w[l]).abs() * a * 0.50002;
                        let (block, g) = (l / ty.block_len(), l % ty.block_len() / group_len(ty));
                        let (scale, min) = scale_of(ty, &row[block * ty.block_bytes()..][..ty.block_bytes()], g);
                        terms += 127.0 * a * (128.0 * f64::from(scale).abs() + f64::from(min.unwrap_or(0.0)).abs());
                    }
                    // Two roundings for each of at most 2·k/16 terms.
                    let rounding = terms * (k as f64 / 4.0 + 1.0) * 6e-8;
                    let error = (f64::from(y[i * n + j]) - exact).abs();
                    prop_assert!(error <= bound + rounding, "{}: off by {} of {}, bound {} + {}", ty, error, exact, bound, rounding);
                }
            }
        }
    }
}
