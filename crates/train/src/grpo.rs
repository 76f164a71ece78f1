//! Group relative policy optimization (DeepSeekMath, section 4.1; DeepSeek-R1, section 2.2.1): what a sample is worth.
//!
//! A = (r − mean)/std over the group, and what successors put in its place; each token's weight in the loss; the
//! objective of a recipe (docs/grpo.md has them all beside each other). What a token's loss is and its derivative by the
//! token's logprob is [`Objective`], which runs where the logprobs are (`model/src/ops/loss.rs`). Everything in f64: it
//! is a few numbers a sample. Left out: which values belong together, which are the presets (`recipes/presets`).

use crate::recipe::{Advantage, LossAverage, Rl};
use picnic_model::ops::Objective;

/// torch's fixtures add the same to the standard deviation.
const STD_EPS: f64 = 1e-8;

/// The advantage of each sample of one group. A sample without a reward (it could not be judged) has none and takes no
/// part in mean and deviation (the population's).
pub fn advantages(rewards: &[Option<f64>], kind: Advantage) -> Vec<Option<f64>> {
    let judged: Vec<f64> = rewards.iter().flatten().copied().collect();
    let n = judged.len() as f64;
    let mean = judged.iter().sum::<f64>() / n;
    let std = libm::sqrt(judged.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / n);
    let scale = match kind {
        Advantage::Std => 1.0 / (std + STD_EPS),
        Advantage::Mean => 1.0,
    };
    // A mean of equal numbers may miss them by a rounding, which the scale would blow up.
    let flat = no_variance(rewards);
    rewards.iter().map(|reward| reward.map(|r| if flat { 0.0 } else { (r - mean) * scale })).collect()
}

/// Whether all judged samples of a group got the same reward, so that it teaches nothing.
pub fn no_variance(rewards: &[Option<f64>]) -> bool {
    let mut judged = rewards.iter().flatten();
    judged.next().is_none_or(|first| judged.all(|r| r == first))
}

/// What a sample of `length` tokens loses for its length: nothing up to the last `share` of `max_tokens`, from there
/// linearly down to −1 (DAPO, section 3.4, equation 13, where the share is 4,096 of 20,480).
pub fn overlong_punishment(length: usize, max_tokens: usize, share: f64) -> f64 {
    let cache = share * max_tokens as f64;
    let over = length as f64 - (max_tokens as f64 - cache);
    if over <= 0.0 { 0.0 } else { -(over / cache).min(1.0) }
}

/// The objective that a recipe asks for.
pub fn objective(rl: &Rl) -> Objective {
    Objective {
        clip_low: rl.clip_epsilon,
        clip_high: rl.clip_epsilon_high.unwrap_or(rl.clip_epsilon),
        kl_beta: rl.kl_beta,
        ratio: rl.ratio,
        surrogate: rl.surrogate,
        kl_estimator: rl.kl_estimator,
        off_policy_delta: rl.off_policy_delta,
    }
}

/// Mean of ln(π/π_old) over a sample's tokens, of which [`Sample::log_ratio`](picnic_model::ops::Sample::log_ratio) and GSPO's ratio are made.
pub fn mean_log_ratio(logprobs: &[f32], old: &[f32]) -> f64 {
    let sum: f64 = logprobs.iter().zip(old).map(|(&now, &old)| f64::from(now) - f64::from(old)).sum();
    sum / logprobs.len().max(1) as f64
}

/// The weight of each token of each sample, given the samples' lengths and the most tokens that one may have; a sample
/// without an advantage weighs nothing.
pub fn token_weights(
    lengths: &[usize],
    advantages: &[Option<f64>],
    average: LossAverage,
    max_tokens: usize,
) -> Vec<f64> {
    let counted = || lengths.iter().zip(advantages).filter(|(_, a)| a.is_some()).map(|(&n, _)| n);
    let (samples, tokens) = (counted().count().max(1) as f64, counted().sum::<usize>().max(1) as f64);
    let weight = |(&length, advantage): (&usize, &Option<f64>)| match (advantage, average) {
        (None, _) => 0.0,
        (Some(_), LossAverage::Sequence) => 1.0 / (samples * length.max(1) as f64),
        (Some(_), LossAverage::Token) => 1.0 / tokens,
        (Some(_), LossAverage::Constant) => 1.0 / (samples * max_tokens as f64),
    };
    lengths.iter().zip(advantages).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_punishment_is_linear_over_the_last_share() {
        // DAPO's own numbers: nothing up to 16,384, then 1/4,096 a token.
        let punished = |length| overlong_punishment(length, 20_480, 0.2);
        assert_eq!([0, 1, 16_384].map(punished), [0.0; 3]);
        for (length, expected) in [(16_385, -1.0 / 4096.0), (18_432, -0.5), (20_480, -1.0), (30_000, -1.0)] {
            assert!((punished(length) - expected).abs() < 1e-12, "{length}: {}", punished(length));
        }
        assert_eq!(overlong_punishment(200, 200, 0.0), 0.0, "no share, no punishment");
    }

    #[test]
    fn what_could_not_be_judged_takes_no_part() {
        // As a wrong answer the middle one would pull the mean to a third.
        let judged = advantages(&[Some(1.0), None, Some(0.0)], Advantage::Mean);
        assert_eq!(judged, [Some(0.5), None, Some(-0.5)]);
        let scaled = advantages(&[Some(1.0), None, Some(0.0)], Advantage::Std);
        assert_eq!(scaled[1], None);
        assert!((scaled[0].unwrap() - 1.0).abs() < 1e-6 && (scaled[2].unwrap() + 1.0).abs() < 1e-6);
        // Nor is it among the samples and tokens that are shared out: of lengths 2, 9 and 4.
        let weights = |average| token_weights(&[2, 9, 4], &judged, average, 10);
        assert_eq!(weights(LossAverage::Sequence), [1.0 / 4.0, 0.0, 1.0 / 8.0]);
        assert_eq!(weights(LossAverage::Token), [1.0 / 6.0, 0.0, 1.0 / 6.0]);
        assert_eq!(weights(LossAverage::Constant), [1.0 / 20.0, 0.0, 1.0 / 20.0]);
    }

    /// The numbers that docs/grpo.md works out by hand.
    #[test]
    fn one_question_and_four_answers() {
        let rewards = [2.0, 1.0, 0.0, 1.0].map(Some);
        let advantages = advantages(&rewards, Advantage::Std);
        let weights = token_weights(&[20, 20, 2, 20], &advantages, LossAverage::Sequence, 200);
        for (i, (advantage, per_token)) in
            [(1.41, 0.018), (0.0, 0.0), (-1.41, -0.177), (0.0, 0.0)].into_iter().enumerate()
        {
            let found = advantages[i].unwrap();
            assert!((found - advantage).abs() < 0.005 && (found * weights[i] - per_token).abs() < 0.0005, "answer {i}");
        }
    }

    #[test]
    fn a_group_of_one_reward_has_no_variance() {
        assert!(no_variance(&[]) && no_variance(&[None, None]) && no_variance(&[Some(1.0), None, Some(1.0)]));
        assert!(!no_variance(&[Some(1.0), None, Some(0.0)]));
    }
}
