//! Confidence intervals by resampling problems.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const RESAMPLES: usize = 2000;

/// 95 % percentile bootstrap interval of the mean over problems (Efron 1979).
///
/// `per_problem[i]` in 0..=1 is problem i's mean over its samples. Problems are resampled, not
/// samples: k samples of one problem are no k independent observations. The same values and seed
/// give the same bits. Fewer than two problems say nothing about the spread, so the answer is
/// then `[0, 1]`. Where every problem scores alike the interval has no width, as any bootstrap's.
pub fn bootstrap_ci(per_problem: &[f64], seed: u64) -> [f64; 2] {
    let alike: Vec<(f64, f64)> = per_problem.iter().map(|&score| (score, 1.0)).collect();
    bootstrap_ratio_ci(&alike, seed).unwrap_or([0.0, 1.0])
}

/// 95 % percentile bootstrap interval of a mean over all tokens: Σ sum / Σ count over problems,
/// of which each has its own `(sum, count)`. Problems are resampled, as in [`bootstrap_ci`];
/// `None` if there are fewer than two.
pub fn bootstrap_ratio_ci(per_problem: &[(f64, f64)], seed: u64) -> Option<[f64; 2]> {
    let n = per_problem.len();
    if n < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
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
        assert_eq!(bootstrap_ci(&[1.0, 1.0], 1), [1.0, 1.0]);
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
