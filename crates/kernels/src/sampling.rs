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
use std::cmp::Ordering;
use std::sync::Arc;

/// Colder than this is greedy: a reciprocal may be infinite, and long before that the likeliest token has all the
/// weight.
const COLDEST: f32 = 1e-6;

/// Tokens that are sorted first for a nucleus: as many as a sure model chooses from.
const STRETCH: usize = 32;

/// How the token of a row is drawn: the logits are changed, what is not allowed falls away, the temperature makes weights
/// of them, the limits keep the likelier ones, and the uniform number picks one of those.
#[derive(Clone, Debug)]
pub struct Draw {
    /// What is done to the logits of some tokens first.
    pub changes: Vec<Change>,
    /// The tokens that may be drawn.
    pub allowed: Allowed,
    /// Divides the logits; anything below 1e-6 takes the likeliest token.
    pub temperature: f32,
    /// Which of the likeliest tokens are drawn from.
    pub limits: Limits,
    /// Which of them: from 0 (included) to 1 (excluded).
    pub uniform: f64,
    /// How many of the likeliest tokens are wanted, with their log-probabilities.
    pub likeliest: usize,
}

/// What is done to the logit of a token: one above 0 is divided by `repetition`, one below multiplied (Keskar et al. 2019),
/// and `add` is added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The token.
    pub token: u32,
    /// Above 0; 1 for nothing.
    pub repetition: f32,
    /// May be −∞.
    pub add: f32,
}

/// The tokens that may be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Allowed {
    /// All.
    #[default]
    All,
    /// This one.
    One(u32),
    /// Those whose bits are set: token i has bit i mod 32 of word i / 32. Tokens past the end are not among them.
    Of(Arc<[u32]>),
}

impl Allowed {
    fn has(&self, token: usize) -> bool {
        match self {
            Allowed::All => true,
            Allowed::One(one) => *one as usize == token,
            Allowed::Of(words) => words.get(token / 32).is_some_and(|word| word >> (token % 32) & 1 == 1),
        }
    }
}

/// Limits to the tokens that are drawn from, applied in this order, each to the probabilities that those before it left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// So many of the likeliest; 0 for all.
    pub top_k: usize,
    /// The likeliest that together have this probability, the one that crosses it included (Holtzman et al. 2020); 1 for
    /// all.
    pub top_p: f32,
    /// Those that have at least this share of the likeliest one's probability (Nguyen et al. 2024); 0 for all.
    pub min_p: f32,
    /// Those whose surprise is closest to the entropy and which together have this probability (Meister et al. 2023); 1
    /// for all.
    pub typical_p: f32,
}

impl Limits {
    /// None.
    pub const NONE: Limits = Limits { top_k: 0, top_p: 1.0, min_p: 0.0, typical_p: 1.0 };
}

impl Draw {
    fn is_greedy(&self) -> bool {
        self.temperature < COLDEST
    }

    /// What the logits are multiplied by before exp; for the likeliest token any factor does.
    fn inv_temperature(&self) -> f32 {
        if self.is_greedy() { 1.0 } else { 1.0 / self.temperature }
    }

    fn changes_logits(&self) -> bool {
        !self.changes.is_empty() || self.allowed != Allowed::All
    }

    /// Changes the logits of a row.
    fn change(&self, logits: &mut [f32]) {
        for &Change { token, repetition, add } in &self.changes {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit > 0.0 { *logit / repetition } else { *logit * repetition } + add;
            }
        }
        if self.allowed != Allowed::All {
            let denied = logits.iter_mut().enumerate().filter(|(token, _)| !self.allowed.has(*token));
            denied.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
        }
    }
}

/// What was drawn from a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picked {
    /// The token.
    pub token: u32,
    /// If any were wanted: the token drawn and then the likeliest ones, as far as they can be drawn at all, with their
    /// log-probabilities in nats under the distribution that was drawn from; a greedy draw tells those at temperature 1.
    pub likeliest: Vec<(u32, f32)>,
}

/// `picked` `[R]`: one of each row of `logits` `[R, V]`. Weights are exp((l − max)·inv_temperature) in f32; their sums
/// run over the tokens in order (within limits: in the order in which they were kept) in f64.
pub fn draw(cpu: &Cpu, logits: &[f32], draws: &[Draw], picked: &mut [Picked]) {
    let rows = draws.len();
    if rows == 0 {
        return;
    }
    let vocabulary = logits.len() / rows;
    assert!(logits.len() == rows * vocabulary && picked.len() == rows, "sampling: {rows} rows of logits");
    let picked = Shared::new(picked);
    cpu.split_rows(rows, vocabulary, |rows| {
        // SAFETY: teams get disjoint rows.
        let picked = unsafe { picked.part(rows.clone()) };
        scratch::with(vocabulary, |weights| {
            for (row, picked) in rows.zip(picked) {
                let (draw, logits) = (&draws[row], &logits[row * vocabulary..(row + 1) * vocabulary]);
                if draw.changes_logits() {
                    scratch::with(vocabulary, |changed| {
                        changed.copy_from_slice(logits);
                        draw.change(changed);
                        weights_of_row(cpu.isa, changed, draw.inv_temperature(), weights);
                        // The exponential of −∞ is not quite nothing here, and a uniform number may be 0.
                        let ruled_out = weights.iter_mut().zip(&*changed).filter(|(_, l)| **l == f32::NEG_INFINITY);
                        ruled_out.for_each(|(weight, _)| *weight = 0.0);
                    });
                } else {
                    weights_of_row(cpu.isa, logits, draw.inv_temperature(), weights);
                }
                *picked = pick_token(draw, weights);
            }
        });
    });
}

fn pick_token(draw: &Draw, weights: &[f32]) -> Picked {
    let weight = |&i: &u32| f64::from(weights[i as usize]);
    // Without limits nothing has to be put in order.
    let kept = (!draw.is_greedy() && draw.limits != Limits::NONE).then(|| kept(draw.limits, weights));
    let token = match &kept {
        _ if draw.is_greedy() => likeliest(weights),
        None => {
            let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            pick(weights.iter().copied().enumerate(), draw.uniform * total)
        }
        Some(kept) => {
            let mass: f64 = kept.iter().map(weight).sum();
            pick(kept.iter().map(|&i| (i as usize, weights[i as usize])), draw.uniform * mass)
        }
    };
    if draw.likeliest == 0 {
        return Picked { token, likeliest: Vec::new() };
    }
    let mut order = kept.unwrap_or_else(|| (0..weights.len() as u32).collect());
    let mass: f64 = order.iter().map(weight).sum();
    let logprob = |i: u32| (i, libm::log(weight(&i) / mass) as f32);
    order.retain(|&i| weights[i as usize] > 0.0);
    keep_first(&mut order, draw.likeliest, weights);
    Picked { token, likeliest: std::iter::once(token).chain(order).map(logprob).collect() }
}

/// The tokens that the limits leave.
fn kept(limits: Limits, weights: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..weights.len() as u32).collect();
    if limits.top_k > 0 {
        keep_first(&mut order, limits.top_k, weights);
    }
    if limits.top_p < 1.0 {
        keep_nucleus(&mut order, limits.top_p, weights);
    }
    if limits.min_p > 0.0 {
        let largest = order.iter().map(|&i| weights[i as usize]).fold(0.0, f32::max);
        order.retain(|&i| f64::from(weights[i as usize]) >= f64::from(limits.min_p) * f64::from(largest));
    }
    if limits.typical_p < 1.0 {
        keep_typical(&mut order, limits.typical_p, weights);
    }
    order
}

/// Puts the likelier token first, and of equals the one with the lower id.
fn by_weight(weights: &[f32]) -> impl Fn(&u32, &u32) -> Ordering + Copy {
    |&a, &b| weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b))
}

/// Keeps the `count` likeliest of `order`, in order.
fn keep_first(order: &mut Vec<u32>, count: usize, weights: &[f32]) {
    if count < order.len() {
        order.select_nth_unstable_by(count, by_weight(weights));
        order.truncate(count);
    }
    order.sort_unstable_by(by_weight(weights));
}

/// Keeps the likeliest of `order` that together have probability `top_p`, the one that crosses it included. They are
/// sorted a stretch at a time, because most of a vocabulary is never among them.
fn keep_nucleus(order: &mut Vec<u32>, top_p: f32, weights: &[f32]) {
    let better = by_weight(weights);
    let total: f64 = order.iter().map(|&i| f64::from(weights[i as usize])).sum();
    let (mut mass, mut kept, mut sorted) = (0.0, 0, 0);
    while kept < order.len() && (kept == 0 || mass < f64::from(top_p) * total) {
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
    order.truncate(kept);
}

/// Keeps those of `order` whose surprise, −ln p, is closest to its mean, the entropy, and which together have probability
/// `typical_p`, the one that crosses it included.
fn keep_typical(order: &mut Vec<u32>, typical_p: f32, weights: &[f32]) {
    let total: f64 = order.iter().map(|&i| f64::from(weights[i as usize])).sum();
    let share = |i: u32| f64::from(weights[i as usize]) / total;
    let surprises: Vec<(u32, f64)> = order.iter().map(|&i| (i, -libm::log(share(i)))).collect();
    let entropy: f64 = surprises.iter().filter(|(_, s)| s.is_finite()).map(|&(i, s)| share(i) * s).sum();
    let mut typical: Vec<(u32, f64)> = surprises.into_iter().map(|(i, s)| (i, (s - entropy).abs())).collect();
    typical.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let (mut mass, mut kept) = (0.0, 0);
    while kept < typical.len() && (kept == 0 || mass < f64::from(typical_p)) {
        mass += share(typical[kept].0);
        kept += 1;
    }
    *order = typical[..kept].iter().map(|&(i, _)| i).collect();
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
            |i: usize| Draw { likeliest: i % 4, ..plain([0.0, 0.7, 1.0][i % 3], [1.0, 0.9][i % 2], i as f64 / 50.0) };
        let draws: Vec<Draw> = (0..50).map(draw_of).collect();
        let run = |cpu: &Cpu, logits: &[f32], draws: &[Draw]| {
            let mut tokens = vec![Picked::default(); draws.len()];
            draw(cpu, logits, draws, &mut tokens);
            tokens
        };
        let mut first: Option<Vec<Picked>> = None;
        for cpu in cpus() {
            let tokens = run(cpu, &logits, &draws);
            assert_eq!(*first.get_or_insert(tokens.clone()), tokens);
            let alone: Vec<Picked> =
                (0..50).flat_map(|i| run(cpu, &logits[i * 900..(i + 1) * 900], &draws[i..=i])).collect();
            assert_eq!(alone, tokens);
        }
    }

    fn plain(temperature: f32, top_p: f32, uniform: f64) -> Draw {
        let limits = Limits { top_p, ..Limits::NONE };
        Draw { changes: Vec::new(), allowed: Allowed::All, temperature, limits, uniform, likeliest: 0 }
    }

    /// Evenly spread uniform numbers meet each token as often as it is likely.
    fn shares(drawn: &Draw, weights: [f32; 4]) -> [f64; 4] {
        let logits = weights.map(|w: f32| if w == 0.0 { -1e30 } else { libm::logf(w) });
        let mut counts = [0.0; 4];
        for i in 0..4000 {
            let mut token = [Picked::default()];
            draw(&cpus()[0], &logits, &[Draw { uniform: i as f64 / 4000.0, ..drawn.clone() }], &mut token);
            counts[token[0].token as usize] += 1.0 / 4000.0;
        }
        counts
    }

    #[test]
    fn draws_in_proportion() {
        for (top_p, expected) in
            [(1.0, [0.125, 0.0, 0.375, 0.5]), (0.8, [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]), (0.5, [0.0, 0.0, 0.0, 1.0])]
        {
            for (seen, expected) in shares(&plain(1.0, top_p, 0.0), [1.0, 0.0, 3.0, 4.0]).iter().zip(expected) {
                // A border between two tokens lies between two of 4,000 numbers.
                assert!((seen - expected).abs() < 6e-4, "{seen} {expected}");
            }
        }
    }

    #[test]
    fn what_is_changed_or_not_allowed_is_drawn_accordingly() {
        let weights = [1.0, 2.0, 3.0, 4.0];
        let change = |token, repetition, add| Change { token, repetition, add };
        for (draw, expected) in [
            // ln 2 more is twice the weight; the token past the vocabulary is nobody's.
            (
                Draw { changes: vec![change(0, 1.0, libm::logf(2.0)), change(9, 2.0, 1.0)], ..plain(1.0, 1.0, 0.0) },
                [2.0, 2.0, 3.0, 4.0],
            ),
            // The logit of 4, ln 4, is halved to ln 2; that of 1 is 0 and stays.
            (
                Draw { changes: vec![change(3, 2.0, 0.0), change(0, 2.0, 0.0)], ..plain(1.0, 1.0, 0.0) },
                [1.0, 2.0, 3.0, 2.0],
            ),
            (Draw { allowed: Allowed::Of(Arc::new([0b0110])), ..plain(1.0, 1.0, 0.0) }, [0.0, 2.0, 3.0, 0.0]),
            (Draw { allowed: Allowed::One(0), ..plain(0.7, 0.9, 0.0) }, [1.0, 0.0, 0.0, 0.0]),
            // However unlikely it is, and at temperature 0 too.
            (Draw { allowed: Allowed::One(0), ..plain(0.0, 1.0, 0.0) }, [1.0, 0.0, 0.0, 0.0]),
            (Draw { limits: Limits { top_k: 2, ..Limits::NONE }, ..plain(1.0, 1.0, 0.0) }, [0.0, 0.0, 3.0, 4.0]),
            (Draw { limits: Limits { min_p: 0.5, ..Limits::NONE }, ..plain(1.0, 1.0, 0.0) }, [0.0, 2.0, 3.0, 4.0]),
            // The entropy of these is 1.28 nats; the surprises are 2.3, 1.61, 1.2 and 0.92.
            (Draw { limits: Limits { typical_p: 0.45, ..Limits::NONE }, ..plain(1.0, 1.0, 0.0) }, [0.0, 2.0, 3.0, 0.0]),
        ] {
            let total: f64 = expected.iter().sum();
            for (seen, expected) in shares(&draw, weights).iter().zip(expected) {
                assert!((seen - expected / total).abs() < 6e-4, "{draw:?}: {seen} {expected}");
            }
        }
    }

    #[test]
    fn the_likeliest_are_told_under_what_was_drawn_from() {
        let logits = [1.0f32, 2.0, 3.0, 4.0].map(libm::logf);
        let told = |one: Draw| {
            let mut picked = [Picked::default()];
            draw(&cpus()[0], &logits, &[Draw { likeliest: 2, ..one }], &mut picked);
            let [Picked { token, likeliest }] = picked;
            (token, likeliest.into_iter().map(|(id, logprob)| (id, libm::expf(logprob))).collect::<Vec<_>>())
        };
        let near = |(token, told): (u32, Vec<(u32, f32)>), expected: (u32, &[(u32, f32)])| {
            assert_eq!((token, told.len()), (expected.0, expected.1.len()));
            for (told, expected) in told.iter().zip(expected.1) {
                assert!(told.0 == expected.0 && (told.1 - expected.1).abs() < 1e-6, "{told:?} {expected:?}");
            }
        };
        near(told(plain(1.0, 1.0, 0.0)), (0, &[(0, 0.1), (3, 0.4), (2, 0.3)]));
        near(told(plain(0.0, 1.0, 0.0)), (3, &[(3, 0.4), (3, 0.4), (2, 0.3)]));
        // 4 and 3 are seven tenths.
        near(told(plain(1.0, 0.65, 0.9)), (2, &[(2, 3.0 / 7.0), (3, 4.0 / 7.0), (2, 3.0 / 7.0)]));
        near(told(Draw { allowed: Allowed::One(1), ..plain(1.0, 1.0, 0.0) }), (1, &[(1, 1.0), (1, 1.0)]));
    }

    proptest! {
        /// The limits by one sort of everything for each.
        #[test]
        fn limits_are_those_of_whole_sorts(
            n in 1usize..300, kinds in 1u32..400, top_k in 0usize..320, top_p in 0.01f32..1.2, min_p in -0.2f32..1.0,
            typical_p in 0.01f32..1.2, uniform in 0.0f64..1.0, seed: u32
        ) {
            // Few kinds of weights make many equals. The likeliest has some.
            let mut weights: Vec<f32> = noise(n, seed).iter().map(|x| (x.abs() * kinds as f32).floor() / 7.0).collect();
            weights[0] = weights[0].max(1.0);
            let mut order: Vec<usize> = (0..n).collect();
            let sum = |order: &[usize]| order.iter().map(|&i| f64::from(weights[i])).sum::<f64>();
            let cut = |order: &mut Vec<usize>, share: f64| {
                let total = sum(order);
                let (mut mass, mut kept) = (0.0, 0);
                while kept < order.len() && (kept == 0 || mass < share * total) {
                    mass += f64::from(weights[order[kept]]);
                    kept += 1;
                }
                order.truncate(kept);
            };
            let limits = Limits { top_k, top_p: top_p.min(1.0), min_p: min_p.max(0.0), typical_p: typical_p.min(1.0) };
            if limits.top_k > 0 {
                order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
                order.truncate(limits.top_k);
            }
            if limits.top_p < 1.0 {
                order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
                cut(&mut order, f64::from(limits.top_p));
            }
            let largest = order.iter().map(|&i| weights[i]).fold(0.0, f32::max);
            order.retain(|&i| limits.min_p == 0.0 || f64::from(weights[i]) >= f64::from(limits.min_p) * f64::from(largest));
            if limits.typical_p < 1.0 {
                let total = sum(&order);
                let surprise = |i: usize| -libm::log(f64::from(weights[i]) / total);
                let entropy: f64 =
                    order.iter().filter(|&&i| weights[i] > 0.0).map(|&i| f64::from(weights[i]) / total * surprise(i)).sum();
                let mut far: Vec<(usize, f64)> = order.iter().map(|&i| (i, (surprise(i) - entropy).abs())).collect();
                far.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                order = far.into_iter().map(|(i, _)| i).collect();
                let (mut mass, mut kept) = (0.0, 0);
                while kept < order.len() && (kept == 0 || mass < f64::from(limits.typical_p)) {
                    mass += f64::from(weights[order[kept]]) / total;
                    kept += 1;
                }
                order.truncate(kept);
            }
            let slow = pick(order.iter().map(|&i| (i, weights[i])), uniform * sum(&order));
            let one = Draw { limits, ..plain(1.0, 1.0, uniform) };
            prop_assert_eq!(pick_token(&one, &weights).token, slow);
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        // 1e-45 is the smallest f32 above 0; its reciprocal is infinite.
        for temperature in [0.0, 1e-45, 1e-39, 9e-7] {
            let greedy = plain(temperature, 1.0, 0.9);
            let token = pick_token(&greedy, &[0.1, 0.9, 0.9]).token;
            assert_eq!((greedy.inv_temperature(), token), (1.0, 1), "{temperature}");
        }
        assert!(plain(COLDEST, 1.0, 0.0).inv_temperature().is_finite());
    }
}
