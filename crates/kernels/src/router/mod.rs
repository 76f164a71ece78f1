//! The gate of a mixture of experts: which experts a token gets and how they mix, forward and backward (DeepSeek-V3,
//! section 2.1.2, equations 13–16; DeepSeek-V2, section 2.2.1), and its balance loss.
//!
//! Left out: the product that makes the logits, and how the bias follows the load (the trainer's, after each step).
//!
//! T: tokens, E: experts, K: experts a token gets.

use crate::Cpu;
use crate::math::{exp, sigmoid};
use crate::simd::{LANES, Simd};
use crate::team::Shared;

mod balance;
#[cfg(test)]
mod tests;

pub use balance::{balance_loss, balance_loss_backward};

/// How logits become scores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scoring {
    /// Each expert on its own (V3).
    Sigmoid,
    /// A distribution over experts (V2).
    Softmax,
}

/// How good a group of experts is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupScore {
    /// Sum of its two best (V3).
    SumTop2,
    /// Its best (V2).
    Max,
}

/// A gate.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Routed experts, `n_routed_experts`.
    pub experts: usize,
    /// Experts of a token, `num_experts_per_tok`.
    pub top_k: usize,
    /// Groups of consecutive experts, `n_group`; 1 for none.
    pub groups: usize,
    /// Groups from which a token may choose, `topk_group`.
    pub top_groups: usize,
    /// Logits to scores, `scoring_func`.
    pub scoring: Scoring,
    /// Scores to a group's score, from `topk_method`.
    pub group_score: GroupScore,
    /// Whether mixing weights are made to sum to 1, `norm_topk_prob`.
    pub normalise: bool,
    /// Factor on the mixing weights, `routed_scaling_factor`.
    pub scale: f32,
}

impl Config {
    fn check(&self, scores: usize, ids: usize) -> usize {
        let fits = (1..=self.experts).contains(&self.groups)
            && self.experts.is_multiple_of(self.groups)
            && (1..=self.groups).contains(&self.top_groups)
            && (1..=self.top_groups * (self.experts / self.groups)).contains(&self.top_k);
        assert!(fits, "router: impossible {self:?}");
        let tokens = scores / self.experts;
        assert_eq!(scores, tokens * self.experts, "router: scores are not rows of {}", self.experts);
        assert_eq!(ids, tokens * self.top_k, "router: not {} ids for each of {tokens} tokens", self.top_k);
        tokens
    }
}

/// Added to the sum of the chosen scores, as Hugging Face does, so that all-zero scores do not divide by 0.
const TINY: f32 = 1e-20;

/// Overwrites `scores` `[T, E]`, `ids` and `weights` `[T, K]` for `logits` `[T, E]`.
///
/// Experts are chosen by score + `bias`, the best first, of equals the lower index, from the `top_groups` best groups;
/// they mix by their unbiased scores: weight = s / (Σ s of the chosen + 10⁻²⁰) · scale, or s · scale.
pub fn route(
    cpu: &Cpu,
    logits: &[f32],
    bias: Option<&[f32]>,
    config: &Config,
    scores: &mut [f32],
    ids: &mut [u32],
    weights: &mut [f32],
) {
    let &Config { experts, top_k, .. } = config;
    let tokens = config.check(scores.len(), ids.len());
    assert!(logits.len() == scores.len() && weights.len() == ids.len(), "router: lengths differ");
    assert!(bias.is_none_or(|bias| bias.len() == experts), "router: bias is not {experts}");
    let (scores, ids, weights) = (Shared::new(scores), Shared::new(ids), Shared::new(weights));
    cpu.split_rows(tokens, 8 * experts, |tokens| {
        let values = tokens.start * experts..tokens.end * experts;
        let choices = tokens.start * top_k..tokens.end * top_k;
        // SAFETY: teams get disjoint tokens.
        let (scores, ids, weights) =
            unsafe { (scores.part(values.clone()), ids.part(choices.clone()), weights.part(choices)) };
        score_rows(cpu.isa, &logits[values], config, scores);
        let mut chooser = Chooser::new(config);
        let rows = scores.chunks_exact(experts).zip(ids.chunks_exact_mut(top_k));
        for ((scores, ids), weights) in rows.zip(weights.chunks_exact_mut(top_k)) {
            chooser.choose(scores, bias, ids);
            for (weight, &id) in weights.iter_mut().zip(&*ids) {
                *weight = scores[id as usize];
            }
            let sum: f32 = if config.normalise { weights.iter().sum::<f32>() + TINY } else { 1.0 };
            weights.iter_mut().for_each(|weight| *weight = *weight / sum * config.scale);
        }
    });
}

/// Adds to `dlogits` `[T, E]` the gradient that the mixing weights have, `dweights` `[T, K]`, for [`route`]'s `scores`
/// and `ids`. The choice itself has none.
pub fn backward(cpu: &Cpu, scores: &[f32], ids: &[u32], dweights: &[f32], config: &Config, dlogits: &mut [f32]) {
    let &Config { experts, top_k, scale, .. } = config;
    let tokens = config.check(scores.len(), ids.len());
    assert!(dlogits.len() == scores.len() && dweights.len() == ids.len(), "router: lengths differ");
    let dlogits = Shared::new(dlogits);
    cpu.split_rows(tokens, 8 * experts, |tokens| {
        let mut dscores = vec![0.0; experts];
        for t in tokens {
            // SAFETY: teams get disjoint tokens.
            let dlogits = unsafe { dlogits.part(t * experts..(t + 1) * experts) };
            let scores = &scores[t * experts..(t + 1) * experts];
            let (ids, dweights) = (&ids[t * top_k..(t + 1) * top_k], &dweights[t * top_k..(t + 1) * top_k]);
            let of = |id: &u32| scores[*id as usize];
            let (sum, mean) = if config.normalise {
                let sum = ids.iter().map(of).sum::<f32>() + TINY;
                (sum, ids.iter().zip(dweights).map(|(id, d)| d * of(id)).sum::<f32>() / sum)
            } else {
                (1.0, 0.0)
            };
            dscores.fill(0.0);
            for (&id, d) in ids.iter().zip(dweights) {
                dscores[id as usize] = (d - mean) / sum * scale;
            }
            score_backward(cpu.isa, scores, &dscores, config, dlogits);
        }
    });
}

/// Chooses experts for one token after another; holds the scratch.
struct Chooser {
    config: Config,
    biased: Vec<f32>,
    groups: Best,
    experts: Best,
}

impl Chooser {
    fn new(config: &Config) -> Chooser {
        Chooser {
            config: *config,
            biased: vec![0.0; config.experts],
            groups: Best::new(config.top_groups),
            experts: Best::new(config.top_k),
        }
    }

    fn choose(&mut self, scores: &[f32], bias: Option<&[f32]>, ids: &mut [u32]) {
        let Chooser { config, biased, groups, experts } = self;
        biased.copy_from_slice(scores);
        for (score, bias) in biased.iter_mut().zip(bias.unwrap_or_default()) {
            *score += bias;
        }
        let size = config.experts / config.groups;
        groups.clear();
        for (group, members) in biased.chunks_exact(size).enumerate() {
            groups.offer(group as u32, group_score(members, config.group_score));
        }
        // In ascending order, so that of equal experts the lower one is offered first.
        groups.best.sort_unstable_by_key(|&(group, _)| group);
        experts.clear();
        for &(group, _) in &groups.best {
            let first = group as usize * size;
            for (i, &score) in biased[first..first + size].iter().enumerate() {
                experts.offer((first + i) as u32, score);
            }
        }
        for (id, &(best, _)) in ids.iter_mut().zip(&experts.best) {
            *id = best;
        }
    }
}

fn group_score(members: &[f32], score: GroupScore) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let smaller = |a: f32, b: f32| if a < b { a } else { b };
    let (mut best, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &member in members {
        second = larger(smaller(member, best), second);
        best = larger(member, best);
    }
    match score {
        GroupScore::SumTop2 if members.len() > 1 => best + second,
        _ => best,
    }
}

/// The k best of what was offered, best first; of equals the one offered first.
struct Best {
    k: usize,
    best: Vec<(u32, f32)>,
}

impl Best {
    fn new(k: usize) -> Best {
        Best { k, best: Vec::with_capacity(k) }
    }

    fn clear(&mut self) {
        self.best.clear();
    }

    fn offer(&mut self, id: u32, value: f32) {
        // NaN beats nothing, but fills an empty place: there are always k.
        if self.best.len() < self.k {
            self.best.push((id, value));
        } else if value > self.best[self.k - 1].1 {
            self.best[self.k - 1] = (id, value);
        } else {
            return;
        }
        let mut at = self.best.len() - 1;
        while at > 0 && value > self.best[at - 1].1 {
            self.best[at] = self.best[at - 1];
            at -= 1;
        }
        self.best[at] = (id, value);
    }
}

crate::kernel! {
    fn score_rows<S>(s, logits: &[f32], config: &Config, scores: &mut [f32]) {
        let experts = config.experts;
        for (logits, scores) in logits.chunks_exact(experts).zip(scores.chunks_exact_mut(experts)) {
            match config.scoring {
                Scoring::Sigmoid => {
                    for i in (0..experts).step_by(LANES) {
                        s.store_partial(&mut scores[i..], sigmoid(s, s.load_partial(&logits[i..], 0.0)));
                    }
                }
                Scoring::Softmax => {
                    let mut max = s.splat(f32::NEG_INFINITY);
                    for i in (0..experts).step_by(LANES) {
                        max = s.max(s.load_partial(&logits[i..], f32::NEG_INFINITY), max);
                    }
                    let max = s.splat(s.largest(max));
                    for i in (0..experts).step_by(LANES) {
                        s.store_partial(&mut scores[i..], exp(s, s.sub(s.load_partial(&logits[i..], 0.0), max)));
                    }
                    let sum = s.splat(total(s, scores));
                    for i in (0..experts).step_by(LANES) {
                        let share = s.div(s.load_partial(&scores[i..], 0.0), sum);
                        s.store_partial(&mut scores[i..], share);
                    }
                }
            }
        }
    }
}

crate::kernel! {
    /// dlogits += dscores through the scoring function: ds·s·(1 − s), or s·(ds − Σ ds·s).
    fn score_backward<S>(s, scores: &[f32], dscores: &[f32], config: &Config, dlogits: &mut [f32]) {
        let one = s.splat(1.0);
        let mean = match config.scoring {
            Scoring::Sigmoid => s.splat(0.0),
            Scoring::Softmax => s.splat(product(s, scores, dscores)),
        };
        for i in (0..scores.len()).step_by(LANES) {
            let (score, d) = (s.load_partial(&scores[i..], 0.0), s.load_partial(&dscores[i..], 0.0));
            let slope = match config.scoring {
                Scoring::Sigmoid => s.mul(score, s.sub(one, score)),
                Scoring::Softmax => score,
            };
            let sum = s.fma(s.sub(d, mean), slope, s.load_partial(&dlogits[i..], 0.0));
            s.store_partial(&mut dlogits[i..], sum);
        }
    }
}

/// Σ x.
#[inline(always)]
fn total<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut sum = s.splat(0.0);
    for i in (0..x.len()).step_by(LANES) {
        sum = s.add(sum, s.load_partial(&x[i..], 0.0));
    }
    s.sum(sum)
}

/// Σ x·y.
#[inline(always)]
fn product<S: Simd>(s: S, x: &[f32], y: &[f32]) -> f32 {
    let mut sum = s.splat(0.0);
    for i in (0..x.len()).step_by(LANES) {
        sum = s.fma(s.load_partial(&x[i..], 0.0), s.load_partial(&y[i..], 0.0), sum);
    }
    s.sum(sum)
}
