//! AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2), in the order of operations
//! that torch has, so that its loss curves can be compared.
//!
//! Left out: schedules and which parameters decay, which the trainer knows.

use crate::Cpu;
use crate::simd::LANES;
use crate::team::Shared;

/// One step's settings. In f64, because 1 − β₂ and the bias corrections are; each factor is rounded to f32 once.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root in the denominator.
    pub eps: f64,
    /// Share of `lr` by which a parameter shrinks.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// One step on `param` with g = `grad`·`grad_scale` and the moments `m` and `v`:
///
/// p ·= 1 − lr·wd; m += (1 − β₁)·(g − m); v = β₂·v + (1 − β₂)·g²; p −= lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε).
pub fn update(
    cpu: &Cpu,
    config: AdamW,
    grad_scale: f32,
    grad: &[f32],
    param: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let n = grad.len();
    assert!(param.len() == n && m.len() == n && v.len() == n, "adamw: lengths differ");
    assert!(config.step > 0, "adamw: steps count from 1");
    let factors = Factors::new(config, grad_scale);
    let (param, m, v) = (Shared::new(param), Shared::new(m), Shared::new(v));
    cpu.split_columns(1, n, |part| {
        // SAFETY: teams get disjoint parts.
        let (param, m, v) = unsafe { (param.part(part.clone()), m.part(part.clone()), v.part(part.clone())) };
        update_part(cpu.isa, &factors, &grad[part], param, m, v);
    });
}

/// What the elements need, in f32.
struct Factors {
    grad_scale: f32,
    keep: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    root_correction: f32,
    eps: f32,
    minus_step_size: f32,
}

impl Factors {
    fn new(config: AdamW, grad_scale: f32) -> Factors {
        let correction = |beta: f64| 1.0 - libm::pow(beta, config.step as f64);
        Factors {
            grad_scale,
            keep: (1.0 - config.lr * config.weight_decay) as f32,
            one_minus_beta1: (1.0 - config.beta1) as f32,
            beta2: config.beta2 as f32,
            one_minus_beta2: (1.0 - config.beta2) as f32,
            root_correction: correction(config.beta2).sqrt() as f32,
            eps: config.eps as f32,
            minus_step_size: (-config.lr / correction(config.beta1)) as f32,
        }
    }
}

crate::kernel! {
    fn update_part<S>(s, f: &Factors, grad: &[f32], param: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        for i in (0..grad.len()).step_by(LANES) {
            let g = s.mul(s.load_partial(&grad[i..], 0.0), s.splat(f.grad_scale));
            let m_old = s.load_partial(&m[i..], 0.0);
            let m_new = s.fma(s.splat(f.one_minus_beta1), s.sub(g, m_old), m_old);
            s.store_partial(&mut m[i..], m_new);
            let decayed = s.mul(s.load_partial(&v[i..], 0.0), s.splat(f.beta2));
            let v_new = s.fma(s.mul(s.splat(f.one_minus_beta2), g), g, decayed);
            s.store_partial(&mut v[i..], v_new);
            let root = s.add(s.div(s.sqrt(v_new), s.splat(f.root_correction)), s.splat(f.eps));
            let kept = s.mul(s.load_partial(&param[i..], 0.0), s.splat(f.keep));
            s.store_partial(&mut param[i..], s.fma(s.splat(f.minus_step_size), s.div(m_new, root), kept));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    const CONFIG: AdamW = AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 1 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn same_bits_everywhere_and_in_any_chunks(n in 0usize..50_000, step in 1u64..5000, seed: u32, cut in 0usize..50_000) {
            let (grad, param, m) = (noise(n, seed), noise(n, seed ^ 1), noise(n, seed ^ 2));
            let v: Vec<f32> = noise(n, seed ^ 3).iter().map(|v| v.abs()).collect();
            let run = |cpu: &Cpu, r: std::ops::Range<usize>| {
                let (mut p, mut m, mut v) = (param[r.clone()].to_vec(), m[r.clone()].to_vec(), v[r.clone()].to_vec());
                update(cpu, AdamW { step, ..CONFIG }, 0.7, &grad[r], &mut p, &mut m, &mut v);
                [p, m, v]
            };
            let whole = same_everywhere(|cpu| run(cpu, 0..n));
            let at = cut.min(n);
            for range in [0..at, at..n] {
                for (part, whole) in run(&cpus()[0], range.clone()).iter().zip(&whole) {
                    assert_same_bits("in chunks", part, &whole[range.clone()]);
                }
            }
        }
    }

    #[test]
    fn many_steps_follow_the_paper() {
        let n = 77;
        let (mut p, mut m, mut v) = (noise(n, 1), vec![0.0; n], vec![0.0; n]);
        let (mut p64, mut m64, mut v64) = (to_f64(&p), vec![0.0; n], vec![0.0; n]);
        let c = CONFIG;
        for step in 1..=50 {
            let grad = noise(n, 100 + step as u32);
            update(&plain(), AdamW { step, ..c }, 0.5, &grad, &mut p, &mut m, &mut v);
            for i in 0..n {
                let g = 0.5 * grad[i] as f64;
                m64[i] = c.beta1 * m64[i] + (1.0 - c.beta1) * g;
                v64[i] = c.beta2 * v64[i] + (1.0 - c.beta2) * g * g;
                let m_hat = m64[i] / (1.0 - c.beta1.powi(step as i32));
                let v_hat = v64[i] / (1.0 - c.beta2.powi(step as i32));
                p64[i] -= c.lr * (m_hat / (v_hat.sqrt() + c.eps) + c.weight_decay * p64[i]);
            }
        }
        // 50 steps, each rounding p twice and its update a few times; the update is at most 3e-3 · 3.
        assert_close("param", &p, &p64, 50.0 * 1.2e-7);
        assert_close("m", &m, &m64, 1e-6);
        assert_close("v", &v, &v64, 1e-6);
    }
}
