//! What a loss is made of, as data: a device computes its derivative where the log-probabilities are.
//!
//! Every loss that Picnic knows is a sum over target tokens of a function of their log-probabilities. The objective of
//! RL is here because it is such a function; where advantages and weights come from is the trainer's
//! (`train/src/grpo.rs`).
//!
//! J = mean over samples of 1/|o| Σ_t min(ρ_t·A, clip(ρ_t, 1 − ε, 1 + ε)·A) − β·KL_t, where ρ = π/π_old and
//! KL = π_ref/π − ln(π_ref/π) − 1 (DeepSeekMath, section 4.1; DeepSeek-R1, section 2.2.1), and what its successors put
//! in the place of its parts. Everything in f64: it is a few numbers a token.

use serde::{Deserialize, Serialize};

/// The loss of a batch, target by target.
#[derive(Clone, Debug)]
pub enum Loss {
    /// The same derivative by every target's log-probability: −1/N of cross-entropy.
    Constant(f32),
    /// A derivative for each target, known beforehand.
    PerTarget(Vec<f32>),
    /// The objective of RL.
    Policy(PolicyLoss),
}

/// The objective of RL on a batch of samples whose targets lie after one another.
#[derive(Clone, Debug)]
pub struct PolicyLoss {
    /// Its parts and constants.
    pub objective: Objective,
    /// Each sample with the number of its targets.
    pub samples: Vec<(Sample, usize)>,
    /// Log-probability of each target under π_old, the policy as it was when the samples were drawn.
    pub old: Vec<f32>,
    /// Log-probability of each target under the reference policy.
    pub reference: Vec<f32>,
    /// What each target's loss is multiplied by where another policy than π_old drew it: a constant, such as
    /// min(π_old/μ, C) of tokens that μ drew. `None` where π_old drew them all, so that it would be 1.
    pub importance: Option<Vec<f64>>,
}

impl PolicyLoss {
    /// The derivative of the loss by the logprob of target number `target`, which is of sample number `sample`.
    pub fn dloss_dlogprob(&self, target: usize, sample: usize, logprob: f32) -> f32 {
        let (mut sample, _) = self.samples[sample];
        if let Some(importance) = &self.importance {
            sample.weight *= importance[target];
        }
        self.objective.dloss_dlogprob(sample, logprob, self.old[target], self.reference[target])
    }
}

/// What all tokens of a sample share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// What each of its tokens weighs in the loss; 0 for a sample that could not be judged.
    pub weight: f64,
    /// A.
    pub advantage: f64,
    /// Mean of ln(π/π_old) over the sample's tokens; only read if [`Objective::needs_log_ratios`].
    pub log_ratio: f64,
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

/// Whose ratio π/π_old the surrogate takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ratio {
    /// Each token's (GRPO).
    #[default]
    Token,
    /// The geometric mean over the sample's tokens (Zheng et al. 2025, GSPO).
    Sequence,
}

/// What is made of ratio ρ and advantage A.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Surrogate {
    /// min(ρ·A, clip(ρ)·A): beyond the clip there is no gradient (GRPO).
    #[default]
    Ppo,
    /// clip(ρ)·A·ln π with the clipped ratio held constant: beyond the clip the gradient is bounded (MiniMax-M1 §3.1).
    Cispo,
}

/// How the divergence from the reference is estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KlEstimator {
    /// π_ref/π − ln(π_ref/π) − 1 (GRPO).
    #[default]
    K3,
    /// The same times π/π_old, whose gradient is unbiased for samples of π_old (DeepSeek-V3.2 §3.1).
    Unbiased,
}

impl Objective {
    /// Whether a token's derivative depends on the logprobs of its whole sample, so that they have to be known before.
    pub fn needs_log_ratios(&self) -> bool {
        self.ratio == Ratio::Sequence || self.off_policy_delta.is_some()
    }

    /// Whether the sample lies too far from the policy that drew it to be learned from.
    pub fn is_masked(&self, sample: Sample) -> bool {
        self.off_policy_delta.is_some_and(|delta| sample.advantage < 0.0 && -sample.log_ratio > delta)
    }

    /// The loss of one token (−J's summand), its derivative by the token's logprob, and what is worth plotting, all
    /// before the sample's weight.
    ///
    /// With a ratio of the sequence, s = exp(mean ln(π/π_old)), each token of the sample has the loss −min(s·A, …), and
    /// the derivative of all of them together by one logprob is |o|·A·∂s/∂logprob = A·s (GSPO, section 4.2).
    pub fn token(&self, sample: Sample, logprob: f64, old: f64, reference: f64) -> Token {
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
        let (kl, dkl_dlogprob) = match self.kl_estimator {
            KlEstimator::K3 => (k3, 1.0 - odds),
            // d/dlogprob ρ·k3 = ρ·k3 + ρ·(1 − odds) = ρ·ln(π/π_ref).
            KlEstimator::Unbiased => (token_ratio * k3, token_ratio * (logprob - reference)),
        };
        let dgain_dlogprob = pull - self.kl_beta * dkl_dlogprob;
        let clipped = is_clipped.then_some(if clipped > ratio { Side::Low } else { Side::High });
        Token { loss: self.kl_beta * kl - gain, dloss_dlogprob: -dgain_dlogprob, kl, clipped }
    }

    /// The derivative of the loss by one token's logprob, its sample's weight included.
    pub fn dloss_dlogprob(&self, sample: Sample, logprob: f32, old: f32, reference: f32) -> f32 {
        if sample.weight == 0.0 {
            return 0.0;
        }
        let token = self.token(sample, f64::from(logprob), f64::from(old), f64::from(reference));
        (sample.weight * token.dloss_dlogprob) as f32
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
    pub dloss_dlogprob: f64,
    /// The estimate of the distance from the reference.
    pub kl: f64,
    /// Where the clip bound: with [`Surrogate::Ppo`] it took the gradient away, with [`Surrogate::Cispo`] it bounded
    /// it.
    pub clipped: Option<Side>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CpuOps, Ops};
    use proptest::prelude::*;

    /// One token of a sample: log-probabilities now, under π_old, under the reference and under μ, which drew it.
    type Logprobs = (f32, f32, f32, f32);

    fn sample_of_tokens() -> impl Strategy<Value = (Sample, Vec<Logprobs>)> {
        let near = |to: f32| (to - 1.5..to + 1.5).prop_map(|logprob| logprob.min(-1e-3));
        let token = (-6f32..-0.01).prop_flat_map(move |now| (Just(now), near(now), near(now), near(now)));
        let shared =
            (0.01..1f64, -2.0..2f64).prop_map(|(weight, advantage)| Sample { weight, advantage, log_ratio: 0.0 });
        (shared, prop::collection::vec(token, 0..6))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Target by target, and in whatever pieces the head asks: the derivative of w·min(π_old/μ, C)·(β·k3 −
        /// min(ρ·A, clip(ρ)·A)), in which min(π_old/μ, C) does not move with π, by central differences.
        #[test]
        fn importance_weighs_each_token(
            samples in prop::collection::vec(sample_of_tokens(), 1..4),
            (epsilon, kl_beta, cap) in (0.1..0.9f64, 0.0..0.5f64, 0.3..3f64),
            first in 0..6usize,
        ) {
            let objective = Objective {
                clip_low: epsilon,
                clip_high: epsilon,
                kl_beta,
                ratio: Ratio::Token,
                surrogate: Surrogate::Ppo,
                kl_estimator: KlEstimator::K3,
                off_policy_delta: None,
            };
            let tokens: Vec<(Sample, Logprobs)> =
                samples.iter().flat_map(|(sample, tokens)| tokens.iter().map(|token| (*sample, *token))).collect();
            let importance = |old: f32, drawn: f32| (f64::from(old) - f64::from(drawn)).exp().min(cap);
            let loss = |importance| Loss::Policy(PolicyLoss {
                objective,
                samples: samples.iter().map(|(sample, tokens)| (*sample, tokens.len())).collect(),
                old: tokens.iter().map(|(_, token)| token.1).collect(),
                reference: tokens.iter().map(|(_, token)| token.2).collect(),
                importance,
            });
            let weights: Vec<f64> = tokens.iter().map(|(_, (_, old, _, drawn))| importance(*old, *drawn)).collect();
            let ones = vec![1.0; tokens.len()];
            let first = first.min(tokens.len());
            let ops = CpuOps::with_threads(1).unwrap();
            let logprobs: Vec<f32> = tokens[first..].iter().map(|(_, token)| token.0).collect();
            let derivatives = |importance| {
                let loss = ops.upload_loss(loss(importance)).unwrap();
                let (logprobs, mut d) = (ops.upload(&logprobs).unwrap(), ops.zeros(logprobs.len()).unwrap());
                ops.dloss_dlogprob(&loss, first, &logprobs, &mut d);
                ops.download(&d)
            };
            let found = derivatives(Some(weights));
            for ((sample, (now, old, reference, drawn)), found) in tokens[first..].iter().zip(&found) {
                let [now, old, reference, drawn] = [*now, *old, *reference, *drawn].map(f64::from);
                let weight = sample.weight * (old - drawn).exp().min(cap);
                let slow = |logprob: f64| {
                    let (ratio, odds) = ((logprob - old).exp(), (reference - logprob).exp());
                    let clipped = ratio.max(1.0 - epsilon).min(1.0 + epsilon);
                    let gain = (ratio * sample.advantage).min(clipped * sample.advantage);
                    weight * (kl_beta * (odds - odds.ln() - 1.0) - gain)
                };
                let (ratio, step) = ((now - old).exp(), 1e-5);
                // There is no derivative where the clip begins.
                if [1.0 - epsilon, 1.0 + epsilon].iter().any(|end| (ratio - end).abs() < 1e-3) {
                    continue;
                }
                let expected = (slow(now + step) - slow(now - step)) / (2.0 * step);
                // Central differences miss by step²/6 times a third derivative below 40, and by some roundings (1e-16)
                // of a loss below 40 over 2·step; the derivative itself is rounded to f32.
                let tolerance = 1e-8 + 1e-7 * expected.abs();
                prop_assert!((f64::from(*found) - expected).abs() <= tolerance, "{} for {}", found, expected);
            }
            // What weighs 1 changes no bit.
            prop_assert_eq!(derivatives(Some(ones)), derivatives(None));
        }
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
        let sample = |advantage, log_ratio| Sample { weight: 1.0, advantage, log_ratio };
        let masked = |advantage, log_ratio| objective.is_masked(sample(advantage, log_ratio));
        assert!(masked(-1.0, -0.2) && !masked(1.0, -0.2) && !masked(-1.0, 0.2) && !masked(-1.0, -0.05));
        // Without the surrogate the pull towards the reference is left.
        let far = objective.token(sample(-1.0, -0.2), -1.0, -0.8, -0.9);
        let none = objective.token(Sample::default(), -1.0, -0.8, -0.9);
        assert_eq!((far.loss, far.dloss_dlogprob, far.clipped), (none.loss, none.dloss_dlogprob, None));
        assert!(far.dloss_dlogprob != 0.0);
    }

    #[test]
    fn a_sample_without_weight_has_no_derivative() {
        let objective = Objective {
            clip_low: f64::INFINITY,
            clip_high: f64::INFINITY,
            kl_beta: 1.0,
            ratio: Ratio::Token,
            surrogate: Surrogate::Ppo,
            kl_estimator: KlEstimator::K3,
            off_policy_delta: None,
        };
        // However impossible the token was: 0 · ∞ is no number.
        let derivative = |weight| objective.dloss_dlogprob(Sample { weight, ..Sample::default() }, -2.0, -1.0, 1e9);
        assert!(derivative(0.0) == 0.0 && !derivative(1.0).is_finite());
    }
}
