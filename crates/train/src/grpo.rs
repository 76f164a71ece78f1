//! Group relative policy optimization (DeepSeekMath, section 4.1; DeepSeek-R1, section 2.2.1): the mathematics alone.
//!
//! J = mean over samples of 1/|o| Σ_t min(ρ_t·A, clip(ρ_t, 1 − ε, 1 + ε)·A) − β·KL_t, where ρ = π/π_old,
//! KL = π_ref/π − ln(π_ref/π) − 1 and A = (r − mean)/std over the group. Everything in f64: it is a few numbers a token.

use crate::recipe::{Advantage, LossAverage, Rl};

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

/// The constants of the objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// ε below: a ratio under 1 − ε gives no gradient to a negative advantage.
    pub clip_low: f64,
    /// ε above: a ratio over 1 + ε gives no gradient to a positive advantage.
    pub clip_high: f64,
    /// β, the weight of the distance from the reference policy.
    pub kl_beta: f64,
}

impl Objective {
    /// The constants that a recipe asks for.
    pub fn of(rl: &Rl) -> Objective {
        Objective {
            clip_low: rl.clip_epsilon,
            clip_high: rl.clip_epsilon_high.unwrap_or(rl.clip_epsilon),
            kl_beta: rl.kl_beta,
        }
    }

    /// The loss of one token (−J's summand), its derivative by the token's logprob, and what is worth plotting.
    pub fn token(&self, advantage: f64, logprob: f64, old: f64, reference: f64) -> Token {
        let ratio = libm::exp(logprob - old);
        let clipped = ratio.clamp(1.0 - self.clip_low, 1.0 + self.clip_high);
        let (free, bound) = (ratio * advantage, clipped * advantage);
        let is_clipped = bound < free;
        let surrogate = free.min(bound);
        let odds = libm::exp(reference - logprob);
        let kl = odds - (reference - logprob) - 1.0;
        let slope = if is_clipped { 0.0 } else { free } - self.kl_beta * (1.0 - odds);
        Token { loss: self.kl_beta * kl - surrogate, slope: -slope, kl, is_clipped }
    }
}

/// One token's part of the loss.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// β·KL − min(…).
    pub loss: f64,
    /// Derivative of `loss` by the logprob.
    pub slope: f64,
    /// The estimate k3 of the distance from the reference.
    pub kl: f64,
    /// Whether the clip took the gradient away.
    pub is_clipped: bool,
}

/// The weight of each token of each sample, given the samples' lengths; a sample without an advantage weighs nothing.
pub fn token_weights(lengths: &[usize], advantages: &[Option<f64>], average: LossAverage) -> Vec<f64> {
    let counted = || lengths.iter().zip(advantages).filter(|(_, a)| a.is_some()).map(|(&n, _)| n);
    let (samples, tokens) = (counted().count().max(1) as f64, counted().sum::<usize>().max(1) as f64);
    let weight = |(&length, advantage): (&usize, &Option<f64>)| match (advantage, average) {
        (None, _) => 0.0,
        (Some(_), LossAverage::Sequence) => 1.0 / (samples * length.max(1) as f64),
        (Some(_), LossAverage::Token) => 1.0 / tokens,
    };
    lengths.iter().zip(advantages).map(weight).collect()
}
