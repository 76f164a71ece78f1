//! Rotary position embedding: frequencies, and what YaRN does to them.
//!
//! The figures are those of `transformers` 5: f32 where it uses f32 tensors, f64 where it uses
//! Python floats. Powers and logarithms come from `libm`, so that every platform gets the same
//! bits. Left out: other scalings (linear, dynamic, llama3, longrope), which reading refuses.

use std::f64::consts::PI;

/// Rotary position embedding (Su et al. 2021).
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the geometric row of wavelengths.
    pub theta: f64,
    /// Which two values of a head form a pair.
    pub style: RopeStyle,
    /// Extension to a longer context.
    pub yarn: Option<Yarn>,
}

/// Which two of a head's `dim` values are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// Values 2i and 2i+1 (DeepSeek).
    Interleaved,
    /// Values i and i + dim/2 (Llama and Qwen as Hugging Face stores them).
    Half,
}

/// YaRN (Peng et al. 2023): slow pairs are interpolated, fast ones kept, a ramp between.
#[derive(Debug, Clone, PartialEq)]
pub struct Yarn {
    /// How many times longer the context became.
    pub factor: f64,
    /// Pairs that turn more often than this over the original context are kept.
    pub beta_fast: f64,
    /// Pairs that turn less often than this are interpolated.
    pub beta_slow: f64,
    /// Weight of the logarithm in the factor on the tables; 0 counts as absent.
    pub mscale: f64,
    /// The same for the softmax scale, and the divisor of the former; 0 counts as absent.
    pub mscale_all_dim: f64,
    /// Context before the extension.
    pub original_max_position_embeddings: usize,
    /// Given outright instead of computed from `mscale` and `mscale_all_dim`.
    pub attention_factor: Option<f64>,
    /// Whether the ends of the ramp are rounded outwards to whole pairs.
    pub truncate: bool,
}

impl Rope {
    /// Radians per position of each of the `dim / 2` pairs.
    pub fn inv_freq(&self, dim: usize) -> Vec<f32> {
        let wavelengths = (0..dim).step_by(2).map(|i| {
            let exponent = i as f32 / dim as f32;
            libm::pow(self.theta, f64::from(exponent)) as f32
        });
        let Some(yarn) = &self.yarn else {
            return wavelengths.map(|w| 1.0 / w).collect();
        };
        let (low, high) = yarn.ramp(dim, self.theta);
        wavelengths
            .enumerate()
            .map(|(pair, w)| {
                let ramp = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
                let kept = 1.0 - ramp;
                (1.0 / (yarn.factor as f32 * w)) * (1.0 - kept) + (1.0 / w) * kept
            })
            .collect()
    }

    /// Factor on the sine and cosine tables.
    pub(super) fn attention_factor(&self) -> f64 {
        self.yarn.as_ref().map_or(1.0, |yarn| {
            yarn.attention_factor.unwrap_or_else(|| {
                if yarn.mscale != 0.0 && yarn.mscale_all_dim != 0.0 {
                    mscale(yarn.factor, yarn.mscale) / mscale(yarn.factor, yarn.mscale_all_dim)
                } else {
                    mscale(yarn.factor, 1.0)
                }
            })
        })
    }

    /// Factor whose square goes into MLA's softmax scale.
    pub(super) fn mscale_all_dim(&self) -> f64 {
        match &self.yarn {
            Some(yarn) if yarn.mscale_all_dim != 0.0 => mscale(yarn.factor, yarn.mscale_all_dim),
            _ => 1.0,
        }
    }
}

impl Yarn {
    /// Pairs between which the ramp runs, as positions in `0..dim / 2`.
    fn ramp(&self, dim: usize, theta: f64) -> (f64, f64) {
        // The pair that turns `rotations` times over the original context.
        let pair = |rotations: f64| {
            let wavelength = self.original_max_position_embeddings as f64 / (rotations * 2.0 * PI);
            dim as f64 * libm::log(wavelength) / (2.0 * libm::log(theta))
        };
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        low = low.max(0.0);
        high = high.min(dim as f64 - 1.0);
        if low == high {
            high += 0.001; // upstream's guard against a division by zero
        }
        (low, high)
    }
}

/// YaRN's attention temperature for a context `factor` times longer.
fn mscale(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * libm::log(factor) + 1.0 }
}
