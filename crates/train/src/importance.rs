//! Truncated importance sampling: learning from answers that a rounded copy of the policy drew.
//!
//! With `rollout = "q8"` the tokens o_t come from μ, a copy of the policy whose weights are in 8 bits. What is learned
//! from them is multiplied, token by token, by
//!
//! w_t = min(π_old(o_t) / μ(o_t), C)
//!
//! (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training"; the ρ of IMPALA is a
//! weight truncated in this way: Espeholt et al. 2018, section 4.1). π_old is the exact policy before the step's updates
//! and w_t a constant of the loss. Both probabilities are those of temperature 1 over the whole vocabulary. Left out:
//! the ratio π/π_old of later minibatches and its clip (`model/src/ops/loss.rs`), and who draws
//! ([`Training::drawer`](crate::training::Training::drawer)).

/// How far the policy that drew a sample is from the one that learns from it, token by token.
#[derive(Clone, Debug, PartialEq)]
pub struct Importance {
    /// w_t.
    pub weights: Vec<f64>,
    /// ln(π_old/μ), in nats.
    log_ratios: Vec<f64>,
    /// Tokens whose weight would be above C without it.
    cut: usize,
}

impl Importance {
    /// The weights of tokens that have the log-probabilities `old` under π_old and `drawn` under μ; `cap` is C. A
    /// log-probability that is no number makes a weight that is none, which ends the step with an error.
    pub fn new(old: &[f32], drawn: &[f32], cap: f64) -> Importance {
        assert_eq!(old.len(), drawn.len(), "log-probabilities of the same tokens");
        let log_ratios: Vec<f64> =
            old.iter().zip(drawn).map(|(&old, &drawn)| f64::from(old) - f64::from(drawn)).collect();
        let ratios = || log_ratios.iter().map(|&log_ratio| libm::exp(log_ratio));
        // A comparison with NaN is false, so that it stays, where `min` would take the cap.
        let weights = ratios().map(|ratio| if ratio > cap { cap } else { ratio }).collect();
        let cut = ratios().filter(|&ratio| ratio > cap).count();
        Importance { weights, log_ratios, cut }
    }
}

/// The curves of a step whose samples have these weights: their mean over all tokens, the share of tokens that C cut,
/// and the mean of |ln(π_old/μ)|.
pub fn curves<'i>(samples: impl Iterator<Item = &'i Importance>) -> [(&'static str, f64); 3] {
    let (mut weight, mut cut, mut gap, mut tokens) = (0.0, 0, 0.0, 0);
    for sample in samples {
        weight += sample.weights.iter().sum::<f64>();
        cut += sample.cut;
        gap += sample.log_ratios.iter().map(|log_ratio| log_ratio.abs()).sum::<f64>();
        tokens += sample.weights.len();
    }
    let tokens = tokens.max(1) as f64;
    [("importance weight", weight / tokens), ("importance cut", cut as f64 / tokens), ("rollout gap", gap / tokens)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_ratios_up_to_the_cap() {
        // Twice as likely, as likely, half as likely, eight times as likely.
        let [two, eight] = [2f32.ln(), 8f32.ln()];
        let importance = Importance::new(&[-1.0, -1.0, -1.0 - two, -1.0], &[-1.0 - two, -1.0, -1.0, -1.0 - eight], 3.0);
        for (weight, expected) in importance.weights.iter().zip([2.0, 1.0, 0.5, 3.0]) {
            // The logarithms are rounded to f32.
            assert!((weight - expected).abs() < 1e-6, "{weight} {expected}");
        }
        let [(_, weight), (_, cut), (_, gap)] = curves([&importance, &Importance::new(&[], &[], 3.0)].into_iter());
        assert!((weight - 6.5 / 4.0).abs() < 1e-6 && cut == 0.25);
        assert!((gap - f64::from(two + two + eight) / 4.0).abs() < 1e-6);
    }

    #[test]
    fn the_same_policy_weighs_exactly_one() {
        let logprobs = [-0.1, -7.25, 0.0];
        let importance = Importance::new(&logprobs, &logprobs, 2.0);
        assert_eq!(importance.weights, [1.0; 3]);
        assert_eq!(curves(std::iter::once(&importance)).map(|(_, value)| value), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_no_number_is_not_hidden_by_the_cap() {
        let weights = Importance::new(&[f32::NAN, -1.0, -1.0], &[-1.0, f32::NAN, f32::NEG_INFINITY], 2.0).weights;
        assert!(weights[0].is_nan() && weights[1].is_nan() && weights[2] == 2.0);
    }
}
