//! Draws one token from a row of weights.

use crate::request::Sampling;
use rand_chacha::ChaCha8Rng;

/// Colder than this is greedy: a reciprocal may be infinite, and long before that the likeliest token has all the
/// weight.
const COLDEST: f32 = 1e-6;

/// A request's own random stream.
pub(crate) struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Sampler {
        Sampler { sampling, rng: picnic_random::stream(sampling.seed) }
    }

    /// What the logits are multiplied by before exp; for the likeliest token any factor does.
    pub(crate) fn inv_temperature(&self) -> f32 {
        if self.greedy() { 1.0 } else { 1.0 / self.sampling.temperature }
    }

    fn greedy(&self) -> bool {
        self.sampling.temperature < COLDEST
    }

    /// A token, given unnormalised probabilities of all.
    pub(crate) fn draw(&mut self, weights: &[f32]) -> u32 {
        if self.greedy() {
            return likeliest(weights);
        }
        let uniform = picnic_random::uniform(&mut self.rng);
        if self.sampling.top_p < 1.0 {
            return self.draw_nucleus(weights, uniform);
        }
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        pick(weights.iter().copied().enumerate(), uniform * total)
    }

    /// From the likeliest tokens that together have probability `top_p`, the one that crosses it included.
    fn draw_nucleus(&self, weights: &[f32], uniform: f64) -> u32 {
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
        let mut mass = 0.0;
        let mut kept = 0;
        while kept < order.len() && (kept == 0 || mass < f64::from(self.sampling.top_p) * total) {
            mass += f64::from(weights[order[kept]]);
            kept += 1;
        }
        pick(order[..kept].iter().map(|&i| (i, weights[i])), uniform * mass)
    }
}

/// The first of the largest.
fn likeliest(weights: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &w) in weights.iter().enumerate() {
        if w > weights[best] {
            best = i;
        }
    }
    best as u32
}

/// Where the running sum passes `at`; the last token with any weight if rounding kept it from doing so.
fn pick(weights: impl Iterator<Item = (usize, f32)>, at: f64) -> u32 {
    let (mut sum, mut last) = (0.0, 0);
    for (i, w) in weights {
        if w > 0.0 {
            sum += f64::from(w);
            last = i;
            if sum > at {
                break;
            }
        }
    }
    last as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(sampling: Sampling, weights: &[f32], n: usize) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling);
        let mut counts = vec![0.0; weights.len()];
        (0..n).for_each(|_| counts[sampler.draw(weights) as usize] += 1.0 / n as f64);
        counts
    }

    #[test]
    fn draws_in_proportion() {
        let all = Sampling { temperature: 1.0, top_p: 1.0, seed: 1 };
        let seen = frequencies(all, &[1.0, 0.0, 3.0, 4.0], 40_000);
        // Four standard errors of a frequency near ½ over 40,000 draws are 0.01.
        for (seen, expected) in seen.iter().zip([0.125, 0.0, 0.375, 0.5]) {
            assert!((seen - expected).abs() < 0.01, "{seen} {expected}");
        }
        let nucleus = Sampling { top_p: 0.8, ..all };
        let seen = frequencies(nucleus, &[1.0, 0.0, 3.0, 4.0], 40_000);
        for (seen, expected) in seen.iter().zip([0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]) {
            assert!((seen - expected).abs() < 0.01, "{seen} {expected}");
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        // 1e-45 is the smallest f32 above 0; its reciprocal is infinite.
        for temperature in [0.0, 1e-45, 1e-39, 9e-7] {
            let mut sampler = Sampler::new(Sampling { temperature, ..Sampling::GREEDY });
            assert_eq!((sampler.inv_temperature(), sampler.draw(&[0.1, 0.9, 0.9])), (1.0, 1), "{temperature}");
        }
        assert!(Sampler::new(Sampling { temperature: COLDEST, ..Sampling::GREEDY }).inv_temperature().is_finite());
    }
}
