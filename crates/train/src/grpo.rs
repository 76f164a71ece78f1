//! Group relative policy optimization (DeepSeekMath, section 4.1; DeepSeek-R1, section 2.2.1): the mathematics alone.
//!
//! J = mean over samples of 1/|o| Σ_t min(ρ_t·A, clip(ρ_t, 1 − ε, 1 + ε)·A) − β·KL_t, where ρ = π/π_old,
//! KL = π_ref/π − ln(π_ref/π) − 1 and A = (r − mean)/std over the group; and what its successors put in the place of
//! its parts, each a dial of [`Objective`] (docs/grpo.md has them beside each other). Everything in f64: it is a few
//! numbers a token. Left out: which values belong together, which are the presets (`recipes/presets`).

use crate::recipe::{Advantage, KlEstimator, LossAverage, Ratio, Rl, Surrogate};

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
    rewards.iter().map(|reward| reward.map(|r| (r - mean) * scale)).collect()
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

/// The constants and the parts of the objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// ε below: a ratio under 1 − ε gives no gradient to a negative advantage.
    pub clip_low: f64,
    /// ε above: a ratio over 1 + ε gives no gradient to a positive advantage.
    pub clip_high: f64,
    /// β, the weight of the distance from the reference policy.
    pub kl_beta: f64,
    /// Whose ratio is clipped and weighs the advantage.
    pub ratio: Ratio,
    /// What is made of ratio and advantage.
    pub surrogate: Surrogate,
    /// How the distance from the reference is estimated.
    pub kl_estimator: KlEstimator,
    /// δ: a sample with a negative advantage and a mean ln(π_old/π) above it loses its surrogate (DeepSeek-V3.2,
    /// section 3.1, equations 8 and 9; the distance from the reference stays).
    pub off_policy_delta: Option<f64>,
}

/// What all tokens of a sample share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    /// A.
    pub advantage: f64,
    /// Mean of ln(π/π_old) over the sample's tokens; only read if [`Objective::needs_log_ratios`].
    pub log_ratio: f64,
}

impl Objective {
    /// The objective that a recipe asks for.
    pub fn of(rl: &Rl) -> Objective {
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

    /// Whether a token's derivative depends on the logprobs of its whole sample, so that they have to be known before.
    pub fn needs_log_ratios(&self) -> bool {
        self.ratio == Ratio::Sequence || self.off_policy_delta.is_some()
    }

    /// Whether the sample lies too far from the policy that drew it to be learned from.
    pub fn is_masked(&self, sample: Shared) -> bool {
        self.off_policy_delta.is_some_and(|delta| sample.advantage < 0.0 && -sample.log_ratio > delta)
    }

    /// The loss of one token (−J's summand), its derivative by the token's logprob, and what is worth plotting.
    ///
    /// With a ratio of the sequence, s = exp(mean ln(π/π_old)), each token of the sample has the loss −min(s·A, …), and
    /// the derivative of all of them together by one logprob is |o|·A·∂s/∂logprob = A·s (GSPO, section 4.2).
    pub fn token(&self, sample: Shared, logprob: f64, old: f64, reference: f64) -> Token {
        let advantage = sample.advantage;
        let token_ratio = libm::exp(logprob - old);
        let ratio = match self.ratio {
            Ratio::Token => token_ratio,
            Ratio::Sequence => libm::exp(sample.log_ratio),
        };
        let clipped = ratio.clamp(1.0 - self.clip_low, 1.0 + self.clip_high);
        let (free, bound) = (ratio * advantage, clipped * advantage);
        let (gain, pull, is_clipped) = match self.surrogate {
            _ if self.is_masked(sample) => (0.0, 0.0, false),
            Surrogate::Ppo => {
                let is_clipped = bound < free;
                (free.min(bound), if is_clipped { 0.0 } else { free }, is_clipped)
            }
            // The clipped ratio is a constant weight; the gradient is the logprob's.
            Surrogate::Cispo => (bound * logprob, bound, clipped != ratio),
        };
        let odds = libm::exp(reference - logprob);
        let k3 = odds - (reference - logprob) - 1.0;
        let (kl, kl_slope) = match self.kl_estimator {
            KlEstimator::K3 => (k3, 1.0 - odds),
            // d/dlogprob ρ·k3 = ρ·k3 + ρ·(1 − odds) = ρ·ln(π/π_ref).
            KlEstimator::Unbiased => (token_ratio * k3, token_ratio * (logprob - reference)),
        };
        let slope = pull - self.kl_beta * kl_slope;
        let clipped = is_clipped.then_some(if clipped > ratio { Side::Low } else { Side::High });
        Token { loss: self.kl_beta * kl - gain, slope: -slope, kl, clipped }
    }
}

/// An end of the range that ratios are clipped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// 1 − ε.
    Low,
    /// 1 + ε.
    High,
}

/// One token's part of the loss.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// β·KL − min(…).
    pub loss: f64,
    /// Derivative of `loss` by the logprob.
    pub slope: f64,
    /// The estimate of the distance from the reference.
    pub kl: f64,
    /// Where the clip bound: with [`Surrogate::Ppo`] it took the gradient away, with [`Surrogate::Cispo`] it bounded
    /// it.
    pub clipped: Option<Side>,
}

/// Mean of ln(π/π_old) over a sample's tokens, of which [`Shared::log_ratio`] and GSPO's ratio are made.
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
    fn only_bad_samples_far_away_are_masked() {
        let objective = Objective {
            clip_low: 0.2,
            clip_high: 0.2,
            kl_beta: 0.1,
            ratio: Ratio::Token,
            surrogate: Surrogate::Ppo,
            kl_estimator: KlEstimator::K3,
            off_policy_delta: Some(0.1),
        };
        let masked = |advantage, log_ratio| objective.is_masked(Shared { advantage, log_ratio });
        assert!(masked(-1.0, -0.2) && !masked(1.0, -0.2) && !masked(-1.0, 0.2) && !masked(-1.0, -0.05));
        // Without the surrogate the pull towards the reference is left.
        let far = objective.token(Shared { advantage: -1.0, log_ratio: -0.2 }, -1.0, -0.8, -0.9);
        let none = objective.token(Shared::default(), -1.0, -0.8, -0.9);
        assert_eq!((far.loss, far.slope, far.clipped), (none.loss, none.slope, None));
        assert!(far.slope != 0.0);
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

    #[test]
    fn a_group_of_one_reward_has_no_variance() {
        assert!(no_variance(&[]) && no_variance(&[None, None]) && no_variance(&[Some(1.0), None, Some(1.0)]));
        assert!(!no_variance(&[Some(1.0), None, Some(0.0)]));
    }
}
