//! The sequence-wise balance loss (DeepSeek-V3, section 2.1.2, equations 17–20).
//!
//! Left out: V2's losses that balance devices and communication, which one machine does not have.

use super::{Config, product, score_backward, total};
use crate::Cpu;
use crate::simd::LANES;
use crate::team::Shared;
use std::ops::Range;

/// Σ over `spans` (sequences) of `alpha`·Σᵢ fᵢ·Pᵢ, with fᵢ = E/(K·length) · (tokens that chose i) and Pᵢ the mean over
/// the sequence of expert i's share of a token's scores. Summed in f64.
pub fn balance_loss(
    cpu: &Cpu,
    scores: &[f32],
    ids: &[u32],
    spans: &[Range<usize>],
    config: &Config,
    alpha: f32,
) -> f64 {
    config.check(scores.len(), ids.len());
    let experts = config.experts;
    let mut shares = vec![0.0; experts];
    let mut loss = 0.0;
    for span in spans.iter().filter(|span| !span.is_empty()) {
        shares.fill(0.0);
        add_shares(cpu.isa, &scores[span.start * experts..span.end * experts], &mut shares);
        let load = load(ids, span, config);
        let sum: f64 = load.iter().zip(&shares).map(|(f, p)| f * p).sum();
        loss += alpha as f64 * sum / span.len() as f64;
    }
    loss
}

/// Adds the gradient of [`balance_loss`] to `dlogits` `[T, E]`; fᵢ is a constant.
pub fn balance_loss_backward(
    cpu: &Cpu,
    scores: &[f32],
    ids: &[u32],
    spans: &[Range<usize>],
    config: &Config,
    alpha: f32,
    dlogits: &mut [f32],
) {
    config.check(scores.len(), ids.len());
    assert_eq!(dlogits.len(), scores.len(), "router: lengths differ");
    let experts = config.experts;
    for span in spans.iter().filter(|span| !span.is_empty()) {
        let each = alpha as f64 / span.len() as f64;
        let dshares: Vec<f32> = load(ids, span, config).iter().map(|f| (f * each) as f32).collect();
        let values = span.start * experts..span.end * experts;
        let (scores, dlogits) = (&scores[values.clone()], Shared::new(&mut dlogits[values]));
        cpu.split_rows(span.len(), 8 * experts, |rows| {
            let values = rows.start * experts..rows.end * experts;
            // SAFETY: teams get disjoint rows.
            let dlogits = unsafe { dlogits.part(values.clone()) };
            let mut dscores = vec![0.0; experts];
            for (scores, dlogits) in scores[values].chunks_exact(experts).zip(dlogits.chunks_exact_mut(experts)) {
                share_backward(cpu.isa, scores, &dshares, &mut dscores);
                score_backward(cpu.isa, scores, &dscores, config, dlogits);
            }
        });
    }
}

/// fᵢ of one sequence: 1 for every expert when all are chosen equally often.
fn load(ids: &[u32], span: &Range<usize>, config: &Config) -> Vec<f64> {
    let Config { experts, top_k, .. } = *config;
    let mut counts = vec![0u32; experts];
    for &id in &ids[span.start * top_k..span.end * top_k] {
        counts[id as usize] += 1;
    }
    let even = (top_k * span.len()) as f64 / experts as f64;
    counts.into_iter().map(|count| count as f64 / even).collect()
}

crate::kernel! {
    /// Adds each token's shares s / Σ s.
    fn add_shares<S>(s, scores: &[f32], shares: &mut [f64]) {
        for scores in scores.chunks_exact(shares.len()) {
            let sum = total(s, scores);
            for (share, score) in shares.iter_mut().zip(scores) {
                *share += (score / sum) as f64;
            }
        }
    }
}

crate::kernel! {
    /// `dscores` of one token from the gradient of its shares: (d − Σ d·share) / Σ s.
    fn share_backward<S>(s, scores: &[f32], dshares: &[f32], dscores: &mut [f32]) {
        let sum = total(s, scores);
        let mean = s.splat(product(s, scores, dshares) / sum);
        for i in (0..scores.len()).step_by(LANES) {
            let d = s.sub(s.load_partial(&dshares[i..], 0.0), mean);
            s.store_partial(&mut dscores[i..], s.div(d, s.splat(sum)));
        }
    }
}
