//! SwiGLU (Shazeer 2020, "GLU Variants Improve Transformer", section 2) without its matrices: silu(gate)·up.
//!
//! silu(g) = g·σ(g). Everything is element by element, so any shape will do.

use crate::Cpu;
use crate::math::sigmoid;
use crate::simd::LANES;
use crate::team::Shared;

/// y = silu(gate)·up, overwritten.
pub fn forward(cpu: &Cpu, gate: &[f32], up: &[f32], y: &mut [f32]) {
    let n = y.len();
    assert!(gate.len() == n && up.len() == n, "swiglu: lengths differ");
    let y = Shared::new(y);
    cpu.split_columns(1, n, |part| {
        // SAFETY: teams get disjoint parts.
        let y = unsafe { y.part(part.clone()) };
        forward_part(cpu.isa, &gate[part.clone()], &up[part], y);
    });
}

/// dup = dy·silu(gate) and dgate = dy·up·silu′(gate) with silu′(g) = σ·(1 + g·(1 − σ)), both overwritten.
pub fn backward(cpu: &Cpu, gate: &[f32], up: &[f32], dy: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    let n = dy.len();
    for len in [gate.len(), up.len(), dgate.len(), dup.len()] {
        assert_eq!(len, n, "swiglu: lengths differ");
    }
    let (dgate, dup) = (Shared::new(dgate), Shared::new(dup));
    cpu.split_columns(1, n, |part| {
        // SAFETY: teams get disjoint parts.
        let (dgate, dup) = unsafe { (dgate.part(part.clone()), dup.part(part.clone())) };
        let (gate, up) = (&gate[part.clone()], &up[part.clone()]);
        backward_part(cpu.isa, gate, up, &dy[part], dgate, dup);
    });
}

crate::kernel! {
    fn forward_part<S>(s, gate: &[f32], up: &[f32], y: &mut [f32]) {
        for i in (0..y.len()).step_by(LANES) {
            let (g, u) = (s.load_partial(&gate[i..], 0.0), s.load_partial(&up[i..], 0.0));
            s.store_partial(&mut y[i..], s.mul(s.mul(g, sigmoid(s, g)), u));
        }
    }
}

crate::kernel! {
    fn backward_part<S>(s, gate: &[f32], up: &[f32], dy: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        let one = s.splat(1.0);
        for i in (0..dy.len()).step_by(LANES) {
            let (g, u) = (s.load_partial(&gate[i..], 0.0), s.load_partial(&up[i..], 0.0));
            let d = s.load_partial(&dy[i..], 0.0);
            let sigma = sigmoid(s, g);
            let slope = s.mul(sigma, s.fma(g, s.sub(one, sigma), one));
            s.store_partial(&mut dup[i..], s.mul(d, s.mul(g, sigma)));
            s.store_partial(&mut dgate[i..], s.mul(s.mul(d, u), slope));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    /// The definition.
    fn slow(gate: &[f64], up: &[f64]) -> Vec<f64> {
        let silu = |g: f64| g / (1.0 + (-g).exp());
        gate.iter().zip(up).map(|(&g, u)| silu(g) * u).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn same_bits_everywhere_and_in_any_chunks(n in 0usize..70_000, cut in 0usize..70_000, seed: u32) {
            let gate: Vec<f32> = noise(n, seed).iter().map(|g| 12.0 * g).collect();
            let (up, dy) = (noise(n, seed ^ 1), noise(n, seed ^ 2));
            let run = |cpu: &Cpu, r: std::ops::Range<usize>| {
                let [mut y, mut dgate, mut dup] = [9.0; 3].map(|x| vec![x; r.len()]);
                forward(cpu, &gate[r.clone()], &up[r.clone()], &mut y);
                backward(cpu, &gate[r.clone()], &up[r.clone()], &dy[r], &mut dgate, &mut dup);
                [y, dgate, dup]
            };
            let whole = same_everywhere(|cpu| run(cpu, 0..n));
            // exp is good to 2.4e-7; a division and two products follow.
            assert_close("y", &whole[0], &slow(&to_f64(&gate), &to_f64(&up)), 5e-7);
            let at = cut.min(n);
            for range in [0..at, at..n] {
                for (part, whole) in run(&cpus()[0], range.clone()).iter().zip(&whole) {
                    assert_same_bits("in chunks", part, &whole[range.clone()]);
                }
            }
        }
    }

    #[test]
    fn backward_is_the_derivative() {
        let gate: Vec<f32> = noise(45, 1).iter().map(|g| 6.0 * g).collect();
        let (up, dy) = (noise(45, 2), noise(45, 3));
        let (mut dgate, mut dup) = (vec![0.0; 45], vec![0.0; 45]);
        backward(&plain(), &gate, &up, &dy, &mut dgate, &mut dup);
        let (gate64, up64) = (to_f64(&gate), to_f64(&up));
        let expected = gradient(&gate, |g| dot(&slow(g, &up64), &dy));
        // exp is good to 2.4e-7; 1 + g·(1 − σ) with |g| ≤ 6 multiplies that by a few.
        assert_close("dgate", &dgate, &expected, 2e-6);
        let expected = gradient(&up, |u| dot(&slow(&gate64, u), &dy));
        assert_close("dup", &dup, &expected, 2e-6);
    }
}
