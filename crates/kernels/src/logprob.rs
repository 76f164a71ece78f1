//! Log-probabilities of target tokens under a softmax of logits, their entropy and their gradient, row by row.
//!
//! Callers pass a few rows at a time, so that `[tokens × vocabulary]` never exists whole; a row's result does not
//! depend on the rows beside it. Left out: temperature and bias of the logits (apply them before).
//!
//! R: rows (tokens), V: vocabulary.

use crate::Cpu;
use crate::math::{exp, ln};
use crate::simd::{LANES, Simd};
use crate::team::Shared;

/// `logprob` `[R]` = (l_target − max) − ln(sum) for `logits` `[R, V]`, and `stats` `[R, 2]` = max and sum = Σ exp(l −
/// max).
pub fn logprobs(cpu: &Cpu, logits: &[f32], targets: &[u32], logprob: &mut [f32], stats: &mut [f32]) {
    let Some(vocabulary) = check(logits, targets.len(), stats) else { return };
    assert_eq!(logprob.len(), targets.len(), "logprob: one value a row");
    check_targets(targets, vocabulary);
    let (logprob, stats) = (Shared::new(logprob), Shared::new(stats));
    cpu.split_rows(targets.len(), vocabulary, |rows| {
        // SAFETY: teams get disjoint rows.
        let (logprob, stats) = unsafe { (logprob.part(rows.clone()), stats.part(2 * rows.start..2 * rows.end)) };
        let logits = &logits[rows.start * vocabulary..rows.end * vocabulary];
        stats_of_rows(cpu.isa, logits, vocabulary, stats);
        for (((logits, &target), stats), logprob) in
            logits.chunks_exact(vocabulary).zip(&targets[rows]).zip(stats.as_chunks::<2>().0).zip(logprob)
        {
            *logprob = (logits[target as usize] - stats[0]) - ln(stats[1]);
        }
    });
}

/// `entropy` `[R]` = −Σ p·ln p in nats = ln(sum) − Σ exp(l − max)·(l − max) / sum, from the `stats` of [`logprobs`].
pub fn entropy(cpu: &Cpu, logits: &[f32], stats: &[f32], entropy: &mut [f32]) {
    let rows = entropy.len();
    let Some(vocabulary) = check(logits, rows, stats) else { return };
    let entropy = Shared::new(entropy);
    cpu.split_rows(rows, vocabulary, |rows| {
        let logits = &logits[rows.start * vocabulary..rows.end * vocabulary];
        let stats = &stats[2 * rows.start..2 * rows.end];
        // SAFETY: teams get disjoint rows.
        entropy_of_rows(cpu.isa, logits, vocabulary, stats, unsafe { entropy.part(rows) });
    });
}

/// Turns `logits` into their gradient: `g`·(one-hot(target) − p) for the upstream gradients `g` `[R]` of the
/// log-probabilities. A row whose `g` is 0 gets zeros.
pub fn backward_in_place(cpu: &Cpu, logits: &mut [f32], targets: &[u32], stats: &[f32], g: &[f32]) {
    let Some(vocabulary) = check(logits, targets.len(), stats) else { return };
    assert_eq!(g.len(), targets.len(), "logprob: one upstream gradient a row");
    check_targets(targets, vocabulary);
    let logits = Shared::new(logits);
    cpu.split_rows(targets.len(), vocabulary, |rows| {
        // SAFETY: teams get disjoint rows.
        let logits = unsafe { logits.part(rows.start * vocabulary..rows.end * vocabulary) };
        let stats = &stats[2 * rows.start..2 * rows.end];
        gradient_of_rows(cpu.isa, logits, vocabulary, &targets[rows.clone()], stats, &g[rows]);
    });
}

crate::kernel! {
    fn stats_of_rows<S>(s, logits: &[f32], vocabulary: usize, stats: &mut [f32]) {
        for (row, stats) in logits.chunks_exact(vocabulary).zip(stats.as_chunks_mut::<2>().0) {
            let mut largest = s.splat(f32::NEG_INFINITY);
            for i in (0..vocabulary).step_by(LANES) {
                largest = s.max(s.load_partial(&row[i..], f32::NEG_INFINITY), largest);
            }
            stats[0] = s.largest(largest);
            let max = s.splat(stats[0]);
            let mut sum = s.splat(0.0);
            let (whole, rest) = row.as_chunks();
            for lanes in whole {
                sum = s.add(sum, exp(s, s.sub(s.load(lanes), max)));
            }
            if !rest.is_empty() {
                sum = s.add(sum, s.keep_first(exp(s, s.sub(s.load_partial(rest, 0.0), max)), rest.len(), 0.0));
            }
            stats[1] = s.sum(sum);
        }
    }
}

crate::kernel! {
    fn entropy_of_rows<S>(s, logits: &[f32], vocabulary: usize, stats: &[f32], entropy: &mut [f32]) {
        let rows = logits.chunks_exact(vocabulary).zip(stats.as_chunks::<2>().0);
        for ((row, stats), entropy) in rows.zip(entropy) {
            let max = s.splat(stats[0]);
            let mut sum = s.splat(0.0);
            let (whole, rest) = row.as_chunks();
            for lanes in whole {
                sum = surprise(s, s.load(lanes), max, sum);
            }
            if !rest.is_empty() {
                // A lane at the maximum adds exp(0)·0.
                sum = surprise(s, s.load_partial(rest, stats[0]), max, sum);
            }
            *entropy = ln(stats[1]) - s.sum(sum) / stats[1];
        }
    }
}

/// sum + exp(l − max)·(l − max).
#[inline(always)]
fn surprise<S: Simd>(s: S, logits: S::V, max: S::V, sum: S::V) -> S::V {
    // A logit of −∞ (a forbidden token) has p = 0; without the bound it would add 0·∞.
    let below = s.max(s.splat(-1e4), s.sub(logits, max));
    s.fma(exp(s, below), below, sum)
}

crate::kernel! {
    fn gradient_of_rows<S>(s, logits: &mut [f32], vocabulary: usize, targets: &[u32], stats: &[f32], g: &[f32]) {
        let rows = logits.chunks_exact_mut(vocabulary).zip(stats.as_chunks::<2>().0);
        for ((row, stats), (&target, &g)) in rows.zip(targets.iter().zip(g)) {
            if g == 0.0 {
                row.fill(0.0);
                continue;
            }
            let (max, factor) = (s.splat(stats[0]), s.splat(-g / stats[1]));
            for i in (0..vocabulary).step_by(LANES) {
                let p = exp(s, s.sub(s.load_partial(&row[i..], 0.0), max));
                s.store_partial(&mut row[i..], s.mul(p, factor));
            }
            row[target as usize] += g;
        }
    }
}

/// V; `None` where there is nothing to do.
fn check(logits: &[f32], rows: usize, stats: &[f32]) -> Option<usize> {
    assert_eq!(stats.len(), 2 * rows, "logprob: two stats a row");
    if rows == 0 {
        assert!(logits.is_empty(), "logprob: logits without rows");
        return None;
    }
    let vocabulary = logits.len() / rows;
    assert!(vocabulary > 0 && logits.len() == rows * vocabulary, "logprob: logits are not {rows} rows");
    Some(vocabulary)
}

fn check_targets(targets: &[u32], vocabulary: usize) {
    for &target in targets {
        assert!((target as usize) < vocabulary, "logprob: target {target} of {vocabulary}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;

    /// The definitions: log-probability and entropy of one row.
    fn slow(row: &[f64], target: u32) -> (f64, f64) {
        let max = row.iter().copied().fold(f64::MIN, f64::max);
        let ln_sum = max + row.iter().map(|l| (l - max).exp()).sum::<f64>().ln();
        (row[target as usize] - ln_sum, row.iter().map(|l| (l - ln_sum).exp() * (ln_sum - l)).sum())
    }

    fn logits_like(n: usize, seed: u32) -> Vec<f32> {
        noise(n, seed).iter().map(|l| 12.0 * l).collect()
    }

    fn run(cpu: &Cpu, logits: &[f32], targets: &[u32], g: &[f32]) -> [Vec<f32>; 4] {
        let rows = targets.len();
        let (mut logprob, mut stats, mut h) = (vec![0.0; rows], vec![0.0; 2 * rows], vec![0.0; rows]);
        logprobs(cpu, logits, targets, &mut logprob, &mut stats);
        entropy(cpu, logits, &stats, &mut h);
        let mut d = logits.to_vec();
        backward_in_place(cpu, &mut d, targets, &stats, g);
        [logprob, stats, h, d]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn same_bits_everywhere_and_in_any_chunks(rows in 0usize..60, vocabulary in 1usize..900, seed: u32, cut in 0usize..60) {
            let (logits, mut g) = (logits_like(rows * vocabulary, seed), noise(rows, seed ^ 1));
            g.iter_mut().step_by(3).for_each(|g| *g = 0.0);
            let targets: Vec<u32> = (0..rows).map(|i| ((i * 7919 + seed as usize) % vocabulary) as u32).collect();
            let whole = same_everywhere(|cpu| run(cpu, &logits, &targets, &g));
            let (logprob, h): (Vec<f64>, Vec<f64>) =
                to_f64(&logits).chunks(vocabulary).zip(&targets).map(|(row, &t)| slow(row, t)).unzip();
            // exp is good to 2.4e-7, chains of 29 and the tree add 34 roundings; logits differ by up to 24.
            assert_close("logprob", &whole[0], &logprob, 3e-6);
            assert_close("entropy", &whole[2], &h, 1e-5);
            let at = cut.min(rows);
            for rows in [0..at, at..rows] {
                let values = rows.start * vocabulary..rows.end * vocabulary;
                let [logprob, stats, h, d] = run(&cpus()[0], &logits[values.clone()], &targets[rows.clone()], &g[rows.clone()]);
                assert_same_bits("logprob in chunks", &logprob, &whole[0][rows.clone()]);
                assert_same_bits("stats in chunks", &stats, &whole[1][2 * rows.start..2 * rows.end]);
                assert_same_bits("entropy in chunks", &h, &whole[2][rows]);
                assert_same_bits("gradient in chunks", &d, &whole[3][values]);
            }
        }
    }

    #[test]
    fn backward_is_the_derivative() {
        let (logits, g, targets) = (logits_like(2 * 41, 1), noise(2, 2), [40, 3]);
        let [_, _, _, d] = run(&plain(), &logits, &targets, &g);
        let loss = |l: &[f64]| -> f64 {
            l.chunks(41).zip(targets).zip(&g).map(|((row, target), &g)| slow(row, target).0 * g as f64).sum()
        };
        // exp is good to 2.4e-7; a sum, a division and a product follow.
        assert_close("dlogits", &d, &gradient(&logits, loss), 1e-6);
    }

    #[test]
    fn forbidden_tokens_and_nan() {
        let [logprob, _, h, d] = run(&plain(), &[f32::NEG_INFINITY, 1.0, 1.0], &[1], &[1.0]);
        assert_close("half", &[logprob[0], h[0], d[1]], &[-(2f64.ln()), 2f64.ln(), 0.5], 1e-6);
        let [logprob, ..] = run(&plain(), &[0.0, f32::NAN, 1.0], &[0], &[1.0]);
        assert!(logprob[0].is_nan());
    }
}
