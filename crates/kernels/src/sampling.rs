//! Drawing a token from each row of logits, by a uniform number that the caller brings.
//!
//! Left out: the random streams, which belong to whoever asks for tokens.
//!
//! R: rows, V: vocabulary.

use crate::Cpu;
use crate::math::exp;
use crate::scratch;
use crate::simd::LANES;
use crate::team::Shared;

/// Colder than this is greedy: a reciprocal may be infinite, and long before that the likeliest token has all the
/// weight.
const COLDEST: f32 = 1e-6;

/// Tokens that are sorted first for a nucleus: as many as a sure model chooses from.
const STRETCH: usize = 32;

/// How the token of a row is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Divides the logits; anything below 1e-6 takes the likeliest token.
    pub temperature: f32,
    /// Draws from the likeliest tokens that together have this probability; 1 for all.
    pub top_p: f32,
    /// Which of them: from 0 (included) to 1 (excluded).
    pub uniform: f64,
}

impl Draw {
    fn is_greedy(&self) -> bool {
        self.temperature < COLDEST
    }

    /// What the logits are multiplied by before exp; for the likeliest token any factor does.
    fn inv_temperature(&self) -> f32 {
        if self.is_greedy() { 1.0 } else { 1.0 / self.temperature }
    }
}

/// `tokens` `[R]`: one of each row of `logits` `[R, V]`. Weights are exp((l − max)·inv_temperature) in f32; their sums
/// run over the tokens in order (with top-p: from the likeliest on) in f64.
pub fn draw(cpu: &Cpu, logits: &[f32], draws: &[Draw], tokens: &mut [u32]) {
    let rows = draws.len();
    if rows == 0 {
        return;
    }
    let vocabulary = logits.len() / rows;
    assert!(logits.len() == rows * vocabulary && tokens.len() == rows, "sampling: {rows} rows of logits");
    let tokens = Shared::new(tokens);
    cpu.split_rows(rows, vocabulary, |rows| {
        // SAFETY: teams get disjoint rows.
        let tokens = unsafe { tokens.part(rows.clone()) };
        scratch::with(vocabulary, |weights| {
            for (row, token) in rows.zip(tokens) {
                let logits = &logits[row * vocabulary..(row + 1) * vocabulary];
                weights_of_row(cpu.isa, logits, draws[row].inv_temperature(), weights);
                *token = pick_token(&draws[row], weights);
            }
        });
    });
}

fn pick_token(draw: &Draw, weights: &[f32]) -> u32 {
    if draw.is_greedy() {
        return likeliest(weights);
    }
    if draw.top_p < 1.0 {
        return from_nucleus(draw, weights);
    }
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    pick(weights.iter().copied().enumerate(), draw.uniform * total)
}

/// From the likeliest tokens that together have probability `top_p`, the one that crosses it included; of equals the
/// lower ids come first. They are sorted a stretch at a time, because most of a vocabulary is never among them.
fn from_nucleus(draw: &Draw, weights: &[f32]) -> u32 {
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let better = |&a: &u32, &b: &u32| weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b));
    let mut order: Vec<u32> = (0..weights.len() as u32).collect();
    let (mut mass, mut kept, mut sorted) = (0.0, 0, 0);
    while kept < order.len() && (kept == 0 || mass < f64::from(draw.top_p) * total) {
        if kept == sorted {
            // Twice as many as so far.
            let stretch = (order.len() - sorted).min(sorted.max(STRETCH));
            let rest = &mut order[sorted..];
            if stretch < rest.len() {
                rest.select_nth_unstable_by(stretch - 1, better);
            }
            rest[..stretch].sort_unstable_by(better);
            sorted += stretch;
        }
        mass += f64::from(weights[order[kept] as usize]);
        kept += 1;
    }
    pick(order[..kept].iter().map(|&i| (i as usize, weights[i as usize])), draw.uniform * mass)
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

crate::kernel! {
    fn weights_of_row<S>(s, row: &[f32], inv_temperature: f32, weights: &mut [f32]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::testing::{cpus, noise};
    use proptest::prelude::*;

    #[test]
    fn weights_follow_the_definition_on_every_instruction_set() {
        let logits: Vec<f32> = (0..71).map(|i| ((i * 37) % 101) as f32 / 10.0 - 5.0).collect();
        for factor in [1.0, 0.5, 2.0] {
            let mut first: Option<Vec<u32>> = None;
            for isa in Isa::available() {
                let mut w = vec![0.0; logits.len()];
                weights_of_row(isa, &logits, factor, &mut w);
                let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for (l, w) in logits.iter().zip(&w) {
                    let exact = f64::from((l - max) * factor).exp();
                    // exp is good to 2 units in the last place.
                    assert!((f64::from(*w) - exact).abs() <= 3e-7 * exact, "{w} {exact}");
                }
                let bits: Vec<u32> = w.iter().map(|w| w.to_bits()).collect();
                assert_eq!(*first.get_or_insert(bits.clone()), bits, "{}", isa.name());
            }
        }
    }

    #[test]
    fn rows_are_drawn_alike_on_any_team_and_alone() {
        let logits: Vec<f32> = (0..50 * 900).map(|i| ((i * 37) % 1013) as f32 / 100.0).collect();
        let draw_of =
            |i: usize| Draw { temperature: [0.0, 0.7, 1.0][i % 3], top_p: [1.0, 0.9][i % 2], uniform: i as f64 / 50.0 };
        let draws: Vec<Draw> = (0..50).map(draw_of).collect();
        let run = |cpu: &Cpu, logits: &[f32], draws: &[Draw]| {
            let mut tokens = vec![0; draws.len()];
            draw(cpu, logits, draws, &mut tokens);
            tokens
        };
        let mut first: Option<Vec<u32>> = None;
        for cpu in cpus() {
            let tokens = run(cpu, &logits, &draws);
            assert_eq!(*first.get_or_insert(tokens.clone()), tokens);
            let alone: Vec<u32> =
                (0..50).flat_map(|i| run(cpu, &logits[i * 900..(i + 1) * 900], &draws[i..=i])).collect();
            assert_eq!(alone, tokens);
        }
    }

    /// Evenly spread uniform numbers meet each token as often as it is likely.
    fn shares(temperature: f32, top_p: f32, weights: [f32; 4]) -> [f64; 4] {
        let logits = weights.map(|w: f32| if w == 0.0 { -1e30 } else { libm::logf(w) });
        let mut counts = [0.0; 4];
        for i in 0..4000 {
            let one = Draw { temperature, top_p, uniform: i as f64 / 4000.0 };
            let mut token = [0];
            draw(&cpus()[0], &logits, &[one], &mut token);
            counts[token[0] as usize] += 1.0 / 4000.0;
        }
        counts
    }

    #[test]
    fn draws_in_proportion() {
        for (top_p, expected) in
            [(1.0, [0.125, 0.0, 0.375, 0.5]), (0.8, [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]), (0.5, [0.0, 0.0, 0.0, 1.0])]
        {
            for (seen, expected) in shares(1.0, top_p, [1.0, 0.0, 3.0, 4.0]).iter().zip(expected) {
                // A border between two tokens lies between two of 4,000 numbers.
                assert!((seen - expected).abs() < 6e-4, "{seen} {expected}");
            }
        }
    }

    proptest! {
        /// A nucleus by one sort of everything.
        #[test]
        fn a_nucleus_is_that_of_a_whole_sort(
            n in 1usize..300, kinds in 1u32..400, top_p in 0.01f32..1.0, uniform in 0.0f64..1.0, seed: u32
        ) {
            // Few kinds of weights make many equals.
            let weights: Vec<f32> = noise(n, seed).iter().map(|x| (x.abs() * kinds as f32).floor() / 7.0).collect();
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
            let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            let (mut mass, mut kept) = (0.0, 0);
            while kept < n && (kept == 0 || mass < f64::from(top_p) * total) {
                mass += f64::from(weights[order[kept]]);
                kept += 1;
            }
            let slow = pick(order[..kept].iter().map(|&i| (i, weights[i])), uniform * mass);
            prop_assert_eq!(from_nucleus(&Draw { temperature: 1.0, top_p, uniform }, &weights), slow);
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        // 1e-45 is the smallest f32 above 0; its reciprocal is infinite.
        for temperature in [0.0, 1e-45, 1e-39, 9e-7] {
            let greedy = Draw { temperature, top_p: 1.0, uniform: 0.9 };
            assert_eq!((greedy.inv_temperature(), pick_token(&greedy, &[0.1, 0.9, 0.9])), (1.0, 1), "{temperature}");
        }
        assert!(Draw { temperature: COLDEST, top_p: 1.0, uniform: 0.0 }.inv_temperature().is_finite());
    }
}
