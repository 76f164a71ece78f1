//! Rotary position embedding: frequencies, and what extensions to a longer context do to them.
//!
//! The figures are those of `transformers` 5: f32 where it uses f32 tensors, f64 where it uses
//! Python floats. Powers and logarithms come from `libm`, so that every platform gets the same
//! bits. Left out: longrope, which reading refuses.

use std::f64::consts::PI;

use serde_json::json;

use super::{Bounds, Put};
use crate::ops::Growth;

/// Rotary position embedding (Su et al. 2021).
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the geometric row of wavelengths.
    pub theta: f64,
    /// Which two values of a head form a pair.
    pub style: RopeStyle,
    /// Extension to a longer context.
    pub scaling: RopeScaling,
}

/// How frequencies were changed so that a model takes longer contexts.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by one factor (Chen et al. 2023).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// A base that grows with the length beyond `max_position_embeddings` ("dynamic NTK"), and with it the context: to
    /// `factor` times as many positions.
    Dynamic {
        /// How fast the base grows.
        factor: f64,
        /// `max_position_embeddings`, up to which it does not.
        max_position_embeddings: usize,
    },
    /// Llama 3.1's: slow pairs are interpolated, fast ones kept, a smooth passage between.
    Llama3 {
        /// By what slow pairs are divided.
        factor: f64,
        /// Pairs that turn less often than this over the original context are slow.
        low_freq_factor: f64,
        /// Pairs that turn more often than this are fast.
        high_freq_factor: f64,
        /// Context before the extension.
        original_max_position_embeddings: usize,
    },
    /// YaRN.
    Yarn(Yarn),
    /// A divisor for each pair, as GGUF files store them (`rope_freqs.weight`).
    Divisors(Vec<f32>),
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

impl RopeScaling {
    /// What a file means that divides the frequencies of base `theta` by `divisors`: Llama 3.1's scaling, where they are
    /// what that gives for some original context, as in the files of Llama 3.1 to 3.3; else the divisors themselves.
    pub(crate) fn of_divisors(divisors: &[f32], theta: f64) -> RopeScaling {
        let dim = 2 * divisors.len();
        let plain = Rope { theta, style: RopeStyle::Half, scaling: RopeScaling::None };
        // The slowest pairs are divided by the factor itself, but for a rounding.
        let factor = (f64::from(divisors.iter().copied().fold(1.0, f32::max)) * 1e4).round() / 1e4;
        let candidates = (10..=17).map(|power| RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 1 << power,
        });
        let is_it = |scaling: &RopeScaling| {
            let scaled = Rope { scaling: scaling.clone(), ..plain.clone() }.inv_freq(dim);
            let mut pairs = plain.inv_freq(dim).into_iter().zip(scaled).zip(divisors);
            pairs.all(|((plain, scaled), divisor)| (plain / scaled / divisor - 1.0).abs() < 1e-5)
        };
        let llama3 = (factor > 1.0 && factor.is_finite()).then(|| candidates.into_iter().find(is_it)).flatten();
        llama3.unwrap_or_else(|| RopeScaling::Divisors(divisors.to_vec()))
    }
}

impl Rope {
    /// Whether how far a token is turned depends on how long the whole is in which it stands.
    pub fn depends_on_length(&self) -> bool {
        matches!(self.scaling, RopeScaling::Dynamic { .. })
    }

    /// Radians per position of each of the `dim / 2` pairs.
    pub fn inv_freq(&self, dim: usize) -> Vec<f32> {
        let wavelengths = (0..dim).step_by(2).map(|i| {
            let exponent = i as f32 / dim as f32;
            libm::pow(self.theta, f64::from(exponent)) as f32
        });
        let unscaled = wavelengths.clone().map(|w| 1.0 / w);
        match &self.scaling {
            RopeScaling::None | RopeScaling::Dynamic { .. } => unscaled.collect(),
            RopeScaling::Linear { factor } => unscaled.map(|f| f / *factor as f32).collect(),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            } => {
                let original = *original as f64;
                let scaled = |f: f32| {
                    let wavelength = (2.0 * PI) as f32 / f;
                    if wavelength < (original / high) as f32 {
                        return f;
                    }
                    if wavelength > (original / low) as f32 {
                        return f / *factor as f32;
                    }
                    let smooth = (original as f32 / wavelength - *low as f32) / (high - low) as f32;
                    (1.0 - smooth) * f / *factor as f32 + smooth * f
                };
                unscaled.map(scaled).collect()
            }
            RopeScaling::Divisors(divisors) => unscaled.zip(divisors).map(|(f, divisor)| f / divisor).collect(),
            RopeScaling::Yarn(yarn) => {
                let (low, high) = yarn.ramp(dim, self.theta);
                let scaled = |(pair, w): (usize, f32)| {
                    let ramp = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
                    let kept = 1.0 - ramp;
                    (1.0 / (yarn.factor as f32 * w)) * (1.0 - kept) + (1.0 / w) * kept
                };
                wavelengths.enumerate().map(scaled).collect()
            }
        }
    }

    /// How the base grows with the sequence, under dynamic scaling.
    pub(crate) fn growth(&self) -> Option<Growth> {
        match self.scaling {
            RopeScaling::Dynamic { factor, max_position_embeddings: positions } => {
                Some(Growth { theta: self.theta, factor, positions })
            }
            _ => None,
        }
    }

    /// Factor on the sine and cosine tables (YaRN, §3.4); 1 without YaRN.
    pub fn attention_factor(&self) -> f64 {
        let RopeScaling::Yarn(yarn) = &self.scaling else { return 1.0 };
        yarn.attention_factor.unwrap_or_else(|| {
            if yarn.mscale != 0.0 && yarn.mscale_all_dim != 0.0 {
                mscale(yarn.factor, yarn.mscale) / mscale(yarn.factor, yarn.mscale_all_dim)
            } else {
                mscale(yarn.factor, 1.0)
            }
        })
    }

    /// Factor whose square goes into MLA's softmax scale.
    pub(crate) fn mscale_all_dim(&self) -> f64 {
        match &self.scaling {
            RopeScaling::Yarn(yarn) if yarn.mscale_all_dim != 0.0 => mscale(yarn.factor, yarn.mscale_all_dim),
            _ => 1.0,
        }
    }

    /// Bounds every number; `dim` values of a head are rotated.
    pub(super) fn bounds(&self, bounds: &mut Bounds, dim: usize) {
        // A base of 1 would make the logarithm in YaRN's ramp zero.
        bounds.float("rope_theta", self.theta, 1.001..=1e15);
        match &self.scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } => {
                bounds.float("factor", *factor, 1e-3..=1e6);
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                bounds.float("factor", *factor, 1e-3..=1e6);
                bounds.float("low_freq_factor", *low_freq_factor, 1e-6..=1e6);
                // The passage between the two divides by their distance.
                bounds.float("high_freq_factor", *high_freq_factor, low_freq_factor * 1.000_001..=1e7);
                bounds.size("original_max_position_embeddings", *original_max_position_embeddings, 1..=1 << 24);
            }
            RopeScaling::Yarn(yarn) => {
                bounds.float("factor", yarn.factor, 1.0..=1e6);
                bounds.float("beta_fast", yarn.beta_fast, 1e-6..=1e6);
                bounds.float("beta_slow", yarn.beta_slow, 1e-6..=1e6);
                bounds.float("mscale", yarn.mscale, 0.0..=1e3);
                bounds.float("mscale_all_dim", yarn.mscale_all_dim, 0.0..=1e3);
                bounds.float("attention_factor", yarn.attention_factor.unwrap_or(1.0), 1e-3..=1e3);
                bounds.size("original_max_position_embeddings", yarn.original_max_position_embeddings, 1..=1 << 24);
            }
            RopeScaling::Divisors(divisors) => {
                bounds.size("divisors", divisors.len(), dim / 2..=dim / 2);
                for &divisor in divisors {
                    bounds.float("divisors", f64::from(divisor), 1e-6..=1e6);
                }
            }
        }
    }
}

impl RopeScaling {
    /// The `rope_type` of [`RopeScaling::Divisors`]. It is our own: upstream has no name for divisors that no rule gave,
    /// and refuses one that it does not know rather than ignore it.
    pub(super) const DIVISORS: &str = "divisors";

    pub(super) fn write(&self, put: Put) {
        let kind = match self {
            RopeScaling::None => "default",
            RopeScaling::Linear { factor } => {
                put("factor", json!(factor));
                "linear"
            }
            RopeScaling::Dynamic { factor, .. } => {
                put("factor", json!(factor));
                "dynamic"
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                put("factor", json!(factor));
                put("low_freq_factor", json!(low_freq_factor));
                put("high_freq_factor", json!(high_freq_factor));
                put("original_max_position_embeddings", json!(original_max_position_embeddings));
                "llama3"
            }
            RopeScaling::Yarn(yarn) => {
                yarn.write(put);
                "yarn"
            }
            RopeScaling::Divisors(divisors) => {
                put("divisors", json!(divisors));
                RopeScaling::DIVISORS
            }
        };
        put("rope_type", json!(kind));
    }
}

impl Yarn {
    fn write(&self, put: Put) {
        put("factor", json!(self.factor));
        put("beta_fast", json!(self.beta_fast));
        put("beta_slow", json!(self.beta_slow));
        put("original_max_position_embeddings", json!(self.original_max_position_embeddings));
        for (key, mscale) in [("mscale", self.mscale), ("mscale_all_dim", self.mscale_all_dim)] {
            if mscale != 0.0 {
                put(key, json!(mscale));
            }
        }
        if let Some(factor) = self.attention_factor {
            put("attention_factor", json!(factor));
        }
        if !self.truncate {
            put("truncate", json!(false));
        }
    }

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
