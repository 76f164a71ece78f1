//! Confidence intervals by resampling problems.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

const RESAMPLES: usize = 2000;

/// So many problems must differ from the most common score before resampling says enough. With fewer unequal pairs a
/// two-sided sign test cannot reach 5 %: 5 of 5 has 2 / 2⁵ = 6.25 %, 6 of 6 has 3.1 %.
const ENOUGH: usize = 6;

/// 95 % percentile bootstrap interval of the mean over problems (Efron 1979).
///
/// `per_problem[i]` in 0..=1 is problem i's mean over its samples. Problems are resampled, not
/// samples: k samples of one problem are no k independent observations. The same values and seed
/// give the same bits. Fewer than two problems say nothing about the spread, so the answer is
/// then `[0, 1]`. A bootstrap knows only scores that it has seen: of 40 alike it makes no width, of 39 alike too
/// little, though 0 of 40 does not prove that nothing can be solved. Where fewer than six problems differ from the most
/// common score the answer is therefore Wilson's interval (1927) of the mean. Scores between 0 and 1 spread less than
/// the p (1 − p) that it reckons with, so for them it is rather too wide.
pub fn bootstrap_ci(per_problem: &[f64], seed: u64) -> [f64; 2] {
    let n = per_problem.len();
    if n >= 2 && beside(per_problem, most_common(per_problem)) < ENOUGH {
        return wilson_ci(per_problem.iter().sum::<f64>() / n as f64, n);
    }
    let weighted: Vec<(f64, f64)> = per_problem.iter().map(|&score| (score, 1.0)).collect();
    bootstrap_ratio_ci(&weighted, seed).unwrap_or([0.0, 1.0])
}

/// The score that most problems have, of several the greatest. `scores` is not empty.
fn most_common(scores: &[f64]) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.chunk_by(|a, b| a == b).max_by_key(|alike| alike.len()).map_or(0.0, |alike| alike[0])
}

/// How many problems score otherwise than `score`.
fn beside(scores: &[f64], score: f64) -> usize {
    scores.iter().filter(|&&other| other != score).count()
}

/// 97.5 % quantile of the normal distribution.
pub(super) const Z: f64 = 1.959_963_985;

/// Wilson's 95 % score interval (Wilson 1927) of a share `p` of `n` problems, at least one. For 0 of n it ends at
/// z² / (n + z²), a little above the rule of three's 3 / n.
fn wilson_ci(p: f64, n: usize) -> [f64; 2] {
    let n = n as f64;
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // Rounding must not push p itself out.
    let [lo, hi] = [centre - half, centre + half].map(|end| end / (1.0 + Z * Z / n));
    [lo.min(p).max(0.0), hi.max(p).min(1.0)]
}

/// 95 % interval of the mean of `a[i] − b[i]` over the same problems i, resampled together: what makes a problem easy
/// for both falls out, so it is narrower than the two intervals by themselves. `None` without two problems.
///
/// Where fewer than six problems differ from the most common difference d, a bootstrap is too narrow, as in
/// [`bootstrap_ci`]. There the interval goes up from d by what the problems above d may amount to, and down by what
/// those below d may: each amount is at most 1 + |d| on every problem, so Wilson's upper bound of its mean as a share
/// of that holds, and the other amount can only take from it. If all are alike this is d ± (1 + |d|) z² / (n + z²).
/// Fewer than six differences other than zero are always taken against d = 0; then zero is in the interval, as a sign
/// test wants.
pub fn paired_ci(a: &[f64], b: &[f64], seed: u64) -> Option<[f64; 2]> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let n = differences.len();
    if n < 2 {
        return None;
    }
    let common = if beside(&differences, 0.0) < ENOUGH { 0.0 } else { most_common(&differences) };
    if beside(&differences, common) < ENOUGH {
        let reach = 1.0 + common.abs();
        let away = |sign: f64| {
            let amount: f64 = differences.iter().map(|d| (sign * (d - common)).max(0.0)).sum();
            reach * wilson_ci(amount / reach / n as f64, n)[1]
        };
        return Some([(common - away(-1.0)).max(-1.0), (common + away(1.0)).min(1.0)]);
    }
    let weighted: Vec<(f64, f64)> = differences.into_iter().map(|d| (d, 1.0)).collect();
    bootstrap_ratio_ci(&weighted, seed)
}

/// 95 % interval of a − b from the intervals of two independent shares: the distances from each share to the ends of
/// its interval, squared and added (Newcombe 1998, method 10).
pub fn unpaired_ci((a, [a_lo, a_hi]): (f64, [f64; 2]), (b, [b_lo, b_hi]): (f64, [f64; 2])) -> [f64; 2] {
    [a - b - (a - a_lo).hypot(b_hi - b), a - b + (a_hi - a).hypot(b - b_lo)]
}

/// 95 % percentile bootstrap interval of a mean over all tokens: Σ sum / Σ count over problems,
/// of which each has its own `(sum, count)`. Problems are resampled, as in [`bootstrap_ci`];
/// `None` if there are fewer than two.
pub fn bootstrap_ratio_ci(per_problem: &[(f64, f64)], seed: u64) -> Option<[f64; 2]> {
    let n = per_problem.len();
    if n < 2 {
        return None;
    }
    let mut rng = picnic_random::stream(seed);
    let mut ratio = || {
        let (mut sum, mut count) = (0.0, 0.0);
        for _ in 0..n {
            let (s, c) = per_problem[draw(&mut rng, n)];
            sum += s;
            count += c;
        }
        sum / count
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES).map(|_| ratio()).collect();
    ratios.sort_by(f64::total_cmp);
    Some([quantile(&ratios, 0.025), quantile(&ratios, 0.975)])
}

/// An index in 0..n as the high word of a product: off from uniform by less than n/2⁶⁴, and the
/// same on every machine and with every version of `rand`.
fn draw(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// Linear interpolation between order statistics. `sorted` is not empty.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = sorted[at.floor() as usize];
    let above = sorted[at.ceil() as usize];
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Answer, Difference};
    use proptest::prelude::*;

    #[test]
    fn a_ratio_weighs_problems_by_their_tokens() {
        // Half of the problems have 1 nat on each of 30 tokens, the others 3 nats on each of 10.
        let problems: Vec<(f64, f64)> =
            (0..200).map(|i| if i % 2 == 0 { (30.0, 30.0) } else { (30.0, 10.0) }).collect();
        let [lo, hi] = bootstrap_ratio_ci(&problems, 3).unwrap();
        // The mean over tokens is 1.5, its standard error by the delta method 0.5·1.5/√200 = 0.053.
        assert!((lo - (1.5 - 1.96 * 0.053)).abs() < 0.015, "{lo}");
        assert!((hi - (1.5 + 1.96 * 0.053)).abs() < 0.015, "{hi}");
        assert_eq!(bootstrap_ratio_ci(&problems[..1], 3), None);
    }

    #[test]
    fn agrees_with_the_normal_approximation() {
        let scores: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 5 < 2))).collect();
        let [lo, hi] = bootstrap_ci(&scores, 7);
        let half = 1.96 * (0.4f64 * 0.6 / 400.0).sqrt(); // 0.048
        // Monte Carlo error of a 2.5 % quantile of 2000 draws: about 0.0015 here. The mean
        // moves in steps of 1/400 = 0.0025. Three of the one plus one of the other.
        assert!((lo - (0.4 - half)).abs() < 0.007, "{lo}");
        assert!((hi - (0.4 + half)).abs() < 0.007, "{hi}");
    }

    #[test]
    fn too_few_problems_say_nothing() {
        assert_eq!(bootstrap_ci(&[], 1), [0.0, 1.0]);
        assert_eq!(bootstrap_ci(&[1.0], 1), [0.0, 1.0]);
    }

    #[test]
    fn alike_problems_still_leave_room() {
        let [lo, hi] = bootstrap_ci(&[0.0; 40], 1);
        assert_eq!(lo, 0.0);
        // Clopper and Pearson's exact bound, which Wilson's approximates: 1 − 0.025^(1/40) = 0.0881.
        assert!((hi - (1.0 - 0.025f64.powf(1.0 / 40.0))).abs() < 0.001, "{hi}");
        let [lo, hi] = bootstrap_ci(&[1.0; 40], 1);
        assert!(lo > 0.9 && lo < 0.92 && hi == 1.0, "{lo} {hi}");
        let [lo, hi] = paired_ci(&[0.5; 40], &[0.5; 40], 1).unwrap();
        assert!(lo < 0.0 && lo > -0.1 && hi == -lo, "{lo} {hi}");
        assert_eq!(paired_ci(&[1.0], &[0.0], 1), None);
    }

    /// Ones, then minus ones, then zeros: `n` in all.
    fn differing(ones: usize, minus: usize, n: usize) -> Vec<f64> {
        [vec![1.0; ones], vec![-1.0; minus], vec![0.0; n - ones - minus]].concat()
    }

    #[test]
    fn one_more_right_raises_both_ends() {
        for n in [10, 40, 200] {
            let ends: Vec<[f64; 2]> = (0..ENOUGH).map(|right| bootstrap_ci(&differing(right, 0, n), 1)).collect();
            assert!(ends.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][1] < pair[1][1]), "{n}: {ends:?}");
        }
        // Clopper and Pearson's exact upper bound of 1 of 40 is 0.1316.
        let [_, hi] = bootstrap_ci(&differing(1, 0, 40), 1);
        assert!((hi - 0.1316).abs() < 0.005, "{hi}");
    }

    #[test]
    fn scores_that_spread_are_resampled() {
        let scores: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 5) / 4.0).collect();
        let weighted = |scores: &[f64]| scores.iter().map(|&score| (score, 1.0)).collect::<Vec<_>>();
        assert_eq!(Some(bootstrap_ci(&scores, 3)), bootstrap_ratio_ci(&weighted(&scores), 3));
        let six = differing(6, 0, 40);
        assert_eq!(Some(bootstrap_ci(&six, 3)), bootstrap_ratio_ci(&weighted(&six), 3));
        assert_eq!(paired_ci(&six, &[0.0; 40], 3), bootstrap_ratio_ci(&weighted(&six), 3));
    }

    #[test]
    fn few_unequal_pairs_answer_nothing() {
        let ci = |better, worse, n: usize| paired_ci(&differing(better, worse, n), &vec![0.0; n], 1).unwrap();
        let answer = |better, worse, n| Difference { value: 0.0, ci95: ci(better, worse, n), paired: true }.answer();
        for n in [5, 6, 8, 40, 200] {
            for (better, worse) in (0..ENOUGH).flat_map(|k| (0..=k).map(move |better| (better, k - better))) {
                if better + worse > n {
                    continue;
                }
                assert_eq!(answer(better, worse, n), Answer::Open, "{better}:{worse} of {n}");
                let [[lo, hi], [other_lo, other_hi]] = [ci(better, worse, n), ci(worse, better, n)];
                assert_eq!([lo, hi], [-other_hi, -other_lo], "the other way round");
                let mean = (better as f64 - worse as f64) / n as f64;
                assert!(lo <= mean && mean <= hi);
                if better > 0 {
                    let [less_lo, less_hi] = ci(better - 1, worse, n);
                    assert!(less_lo <= lo && less_hi < hi, "{better}:{worse} of {n}");
                }
            }
        }
        assert_eq!(answer(40, 0, 200), Answer::Yes);
        assert_eq!(answer(0, 40, 200), Answer::No);
        // All but a few better: the sign test has 2 / 2⁶ and 2 · (1 + 6) / 2⁶.
        assert_eq!(answer(6, 0, 6), Answer::Yes);
        assert_eq!(answer(5, 1, 6), Answer::Open);
    }

    #[test]
    fn pairs_know_more_than_two_intervals() {
        // Problem i is solved with chance i / 100 by both, and one in ten by the first alone.
        let b: Vec<f64> = (0..100).map(|i| f64::from(i) / 100.0).collect();
        let a: Vec<f64> = b.iter().enumerate().map(|(i, b)| if i % 10 == 0 { 1.0 } else { *b }).collect();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let difference = mean(&a) - mean(&b);
        let paired = paired_ci(&a, &b, 5).unwrap();
        let unpaired = unpaired_ci((mean(&a), bootstrap_ci(&a, 5)), (mean(&b), bootstrap_ci(&b, 5)));
        for [lo, hi] in [paired, unpaired] {
            assert!(lo < difference && difference < hi);
        }
        assert!(paired[0] > 0.0 && unpaired[0] < 0.0, "{paired:?} {unpaired:?}");
    }

    #[test]
    fn unpaired_agrees_with_the_published_example() {
        // Newcombe 1998, table II, example (a), method 10: 56/70 − 48/80 is 0.2, from 0.0524 to 0.3339.
        let (a, b) = (56.0 / 70.0, 48.0 / 80.0);
        let [lo, hi] = unpaired_ci((a, wilson_ci(a, 70)), (b, wilson_ci(b, 80)));
        assert!((lo - 0.0524).abs() < 5e-5 && (hi - 0.3339).abs() < 5e-5, "{lo} {hi}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn is_ordered_bounded_and_repeatable(
            scores in prop::collection::vec(0.0f64..=1.0, 2..60), seed: u64,
        ) {
            let [lo, hi] = bootstrap_ci(&scores, seed);
            prop_assert!(0.0 <= lo && lo <= hi && hi <= 1.0);
            prop_assert_eq!(bootstrap_ci(&scores, seed), [lo, hi]);
        }
    }
}
