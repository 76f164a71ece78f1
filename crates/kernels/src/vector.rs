//! Operations on whole vectors: sums, scaling, the norm of a gradient.
//!
//! Left out: dot products, which nothing outside the other kernels needs.

use crate::Cpu;
use crate::simd::LANES;
use crate::team::Shared;

/// Elements of one f32 partial sum of [`sum_of_squares`].
const BLOCK: usize = 4096;

/// out = x + y.
pub fn add(cpu: &Cpu, x: &[f32], y: &[f32], out: &mut [f32]) {
    let n = out.len();
    assert!(x.len() == n && y.len() == n, "add: lengths differ");
    let out = Shared::new(out);
    cpu.split_columns(1, n, |part| {
        // SAFETY: teams get disjoint parts.
        let out = unsafe { out.part(part.clone()) };
        add_part(cpu.isa, &x[part.clone()], &y[part], out);
    });
}

/// x += y.
pub fn add_assign(cpu: &Cpu, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "add_assign: lengths differ");
    let (n, x) = (x.len(), Shared::new(x));
    cpu.split_columns(1, n, |part| {
        // SAFETY: teams get disjoint parts.
        let x = unsafe { x.part(part.clone()) };
        add_assign_part(cpu.isa, x, &y[part]);
    });
}

/// x ·= factor.
pub fn scale_assign(cpu: &Cpu, x: &mut [f32], factor: f32) {
    let (n, x) = (x.len(), Shared::new(x));
    cpu.split_columns(1, n, |part| {
        // SAFETY: teams get disjoint parts.
        scale_part(cpu.isa, unsafe { x.part(part) }, factor);
    });
}

/// Σ x²: f32 lane sums over blocks of 4096 elements, added in order in f64.
pub fn sum_of_squares(cpu: &Cpu, x: &[f32]) -> f64 {
    let mut sums = vec![0.0; x.len().div_ceil(BLOCK)];
    let shared = Shared::new(&mut sums);
    cpu.split_rows(x.len().div_ceil(BLOCK), BLOCK, |blocks| {
        // SAFETY: teams get disjoint blocks.
        let sums = unsafe { shared.part(blocks.clone()) };
        let part = &x[blocks.start * BLOCK..x.len().min(blocks.end * BLOCK)];
        square_blocks(cpu.isa, part, sums);
    });
    sums.iter().map(|&sum| sum as f64).sum()
}

crate::kernel! {
    fn add_part<S>(s, x: &[f32], y: &[f32], out: &mut [f32]) {
        for i in (0..out.len()).step_by(LANES) {
            let sum = s.add(s.load_partial(&x[i..], 0.0), s.load_partial(&y[i..], 0.0));
            s.store_partial(&mut out[i..], sum);
        }
    }
}

crate::kernel! {
    fn add_assign_part<S>(s, x: &mut [f32], y: &[f32]) {
        for i in (0..x.len()).step_by(LANES) {
            let sum = s.add(s.load_partial(&x[i..], 0.0), s.load_partial(&y[i..], 0.0));
            s.store_partial(&mut x[i..], sum);
        }
    }
}

crate::kernel! {
    fn scale_part<S>(s, x: &mut [f32], factor: f32) {
        let factor = s.splat(factor);
        for i in (0..x.len()).step_by(LANES) {
            let scaled = s.mul(s.load_partial(&x[i..], 0.0), factor);
            s.store_partial(&mut x[i..], scaled);
        }
    }
}

crate::kernel! {
    fn square_blocks<S>(s, x: &[f32], sums: &mut [f32]) {
        for (block, sum) in x.chunks(BLOCK).zip(sums) {
            let mut lanes = s.splat(0.0);
            for i in (0..block.len()).step_by(LANES) {
                let v = s.load_partial(&block[i..], 0.0);
                lanes = s.fma(v, v, lanes);
            }
            *sum = s.sum(lanes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn equal_the_definitions(n in 0usize..70_000, seed: u32, a in -2f32..2.0) {
            let (x, y) = (noise(n, seed), noise(n, seed ^ 1));
            let [sum, sum2, scaled] = same_everywhere(|cpu| {
                let (mut out, mut sum, mut scaled) = (vec![0.0; n], x.clone(), x.clone());
                add(cpu, &x, &y, &mut out);
                add_assign(cpu, &mut sum, &y);
                scale_assign(cpu, &mut scaled, a);
                [out, sum, scaled]
            });
            let slow = |f: &dyn Fn(f32, f32) -> f32| x.iter().zip(&y).map(|(x, y)| f(*x, *y)).collect::<Vec<_>>();
            assert_same_bits("add", &sum, &slow(&|x, y| x + y));
            assert_same_bits("add_assign", &sum2, &sum);
            assert_same_bits("scale_assign", &scaled, &slow(&|x, _| x * a));
        }

        #[test]
        fn sums_are_the_same_everywhere(n in 1usize..70_000, seed: u32) {
            let x = noise(n, seed);
            let exact: f64 = x.iter().map(|&x| x as f64 * x as f64).sum();
            let expected = sum_of_squares(&plain(), &x);
            // Chains of 128 and five levels of tree, all terms positive.
            prop_assert!((expected - exact).abs() <= 133.0 * 6e-8 * exact);
            for cpu in cpus() {
                prop_assert_eq!(sum_of_squares(cpu, &x).to_bits(), expected.to_bits());
            }
        }
    }
}
