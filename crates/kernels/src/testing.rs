//! What the tests of several operations share: noise, every instruction set and team size, finite differences.

use crate::{Cpu, Isa, Team};
use std::sync::OnceLock;

/// Plain scalar code on one thread: what every other [`Cpu`] must equal bit for bit.
pub fn plain() -> Cpu {
    Cpu { isa: Isa::scalar(), team: Team::solo() }
}

/// Every instruction set of this processor with one to three threads.
pub fn cpus() -> &'static [Cpu] {
    static ALL: OnceLock<Vec<Cpu>> = OnceLock::new();
    ALL.get_or_init(|| {
        let with = |isa| (1..4).map(move |n| (isa, Team::new(n).unwrap()));
        let all = Isa::available().into_iter().flat_map(with);
        all.map(|(isa, team)| Cpu { isa, team }).collect()
    })
}

/// `n` values in −1..1.
pub fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut x = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}

/// Runs `outputs` on plain scalar code and returns what it gives, once every other [`Cpu`] gave the same bits.
pub fn same_everywhere<const N: usize>(outputs: impl Fn(&Cpu) -> [Vec<f32>; N]) -> [Vec<f32>; N] {
    let expected = outputs(&plain());
    for cpu in cpus() {
        for (i, (got, expected)) in outputs(cpu).iter().zip(&expected).enumerate() {
            let what = format!("output {i}, {}, {} threads", cpu.isa.name(), cpu.team.size());
            assert_same_bits(&what, got, expected);
        }
    }
    expected
}

/// Panics at the first value whose bits differ.
pub fn assert_same_bits(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert_eq!(g.to_bits(), e.to_bits(), "{what}: [{i}] is {g}, not {e}");
    }
}

/// Panics where `got` is further than `tolerance` · max(1, |expected|) from `expected`.
pub fn assert_close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let near = (g as f64 - e).abs() <= tolerance * e.abs().max(1.0);
        assert!(near, "{what}: [{i}] is {g}, not {e}");
    }
}

/// Central differences of `f` at `x` with steps of 10⁻⁵: for the smooth functions of these tests (third derivatives
/// of a few units) the truncation error is near 10⁻¹⁰ and the rounding error of an f64 sum near 10⁻¹⁰.
pub fn gradient(x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut x = to_f64(x);
    (0..x.len())
        .map(|i| {
            let (at, h) = (x[i], 1e-5);
            x[i] = at + h;
            let above = f(&x);
            x[i] = at - h;
            let below = f(&x);
            x[i] = at;
            (above - below) / (2.0 * h)
        })
        .collect()
}

/// The gradient of Σ dout·f(x) for a linear `f`, by its differences: at any step they are exact up to rounding.
pub fn linear_gradient(x: &[f32], dout: &[f32], f: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f64> {
    let moved = |i: usize, h: f32| {
        let mut x = x.to_vec();
        x[i] += h;
        dot(&to_f64(&f(&x)), dout)
    };
    (0..x.len()).map(|i| moved(i, 0.5) - moved(i, -0.5)).collect()
}

/// The same values in f64.
pub fn to_f64(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x as f64).collect()
}

/// Σ x·y in f64.
pub fn dot(x: &[f64], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, &y)| x * y as f64).sum()
}
