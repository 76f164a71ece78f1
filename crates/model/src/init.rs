//! Fresh weights: normal with the configured deviation, norms one, biases zero.

use crate::params::{ParamSpec, Role};
use rand_chacha::rand_core::Rng;

/// Starting values of one tensor. Depends on the seed and the tensor's name alone, so that neither the order of
/// tensors nor another tensor's shape changes them.
pub fn initial_values(spec: &ParamSpec, std: f64, seed: u64) -> Vec<f32> {
    match spec.role {
        Role::Norm => vec![1.0; spec.len()],
        Role::Bias | Role::RouterBias => vec![0.0; spec.len()],
        Role::Linear | Role::Router | Role::Head | Role::Embedding | Role::TiedEmbedding => {
            let mut rng = picnic_random::tensor(seed, &spec.name);
            (0..spec.len()).map(|_| (std * normal(&mut rng)) as f32).collect()
        }
    }
}

/// A standard normal value by Box and Muller, from `libm` so that every machine gets the same.
fn normal(rng: &mut impl Rng) -> f64 {
    let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (u, v) = (uniform(rng.next_u64()), uniform(rng.next_u64()));
    libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_have_the_deviation_asked_for() {
        let spec = ParamSpec { name: "w".into(), shape: vec![100, 100], role: Role::Linear };
        let values = initial_values(&spec, 0.5, 3);
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e4;
        let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 1e4;
        // Four standard errors: 0.5/√10⁴ and 0.25·√(2/10⁴).
        assert!(mean.abs() < 0.02 && (variance - 0.25).abs() < 0.015, "{mean} {variance}");
        assert_eq!(values, initial_values(&spec, 0.5, 3));
        assert_ne!(values, initial_values(&spec, 0.5, 4));
    }
}
