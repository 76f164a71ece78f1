//! Unnormalised probabilities for a sampler, row by row.
//!
//! Left out: the drawing itself, which needs a random stream and is done on a few numbers, not here.

use crate::Cpu;
use crate::math::exp;
use crate::simd::LANES;
use crate::team::Shared;

/// `weights` `[R, V]` = exp((l − max)·inv_temperature) for `logits` `[R, V]` and one factor a row.
pub fn weights(cpu: &Cpu, logits: &[f32], inv_temperatures: &[f32], weights: &mut [f32]) {
    let rows = inv_temperatures.len();
    if rows == 0 {
        return;
    }
    let vocabulary = logits.len() / rows;
    assert!(logits.len() == rows * vocabulary && weights.len() == logits.len(), "sampling: {rows} rows of logits");
    let weights = Shared::new(weights);
    cpu.split_rows(rows, vocabulary, |rows| {
        let values = rows.start * vocabulary..rows.end * vocabulary;
        // SAFETY: teams get disjoint rows.
        let weights = unsafe { weights.part(values.clone()) };
        weights_of_rows(cpu.isa, &logits[values], vocabulary, &inv_temperatures[rows], weights);
    });
}

crate::kernel! {
    fn weights_of_rows<S>(s, logits: &[f32], vocabulary: usize, inv_temperatures: &[f32], weights: &mut [f32]) {
        let rows = logits.chunks_exact(vocabulary).zip(weights.chunks_exact_mut(vocabulary));
        for ((row, weights), &inv_temperature) in rows.zip(inv_temperatures) {
            let mut largest = s.splat(f32::NEG_INFINITY);
            for chunk in row.chunks(LANES) {
                largest = s.max(s.load_partial(chunk, f32::NEG_INFINITY), largest);
            }
            let (max, factor) = (s.splat(s.largest(largest)), s.splat(inv_temperature));
            for (chunk, weights) in row.chunks(LANES).zip(weights.chunks_mut(LANES)) {
                let l = s.sub(s.load_partial(chunk, 0.0), max);
                s.store_partial(weights, exp(s, s.mul(l, factor)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Team};

    #[test]
    fn follows_the_definition_on_every_instruction_set() {
        let logits: Vec<f32> = (0..3 * 71).map(|i| ((i * 37) % 101) as f32 / 10.0 - 5.0).collect();
        let factors = [1.0, 0.5, 2.0];
        let mut first: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let mut w = vec![0.0; logits.len()];
            weights(&Cpu { isa, team: Team::solo() }, &logits, &factors, &mut w);
            for ((row, w), factor) in logits.chunks(71).zip(w.chunks(71)).zip(factors) {
                let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for (l, w) in row.iter().zip(w) {
                    let exact = f64::from((l - max) * factor).exp();
                    // exp is good to 2 units in the last place.
                    assert!((f64::from(*w) - exact).abs() <= 3e-7 * exact, "{w} {exact}");
                }
            }
            let bits: Vec<u32> = w.iter().map(|w| w.to_bits()).collect();
            assert_eq!(*first.get_or_insert(bits.clone()), bits, "{}", isa.name());
        }
    }
}
