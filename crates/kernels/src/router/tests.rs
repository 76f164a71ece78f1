//! The gate against its definition by sorting, and its gradients against finite differences.

use super::*;
use crate::testing::*;
use proptest::prelude::*;
use std::ops::Range;

/// The chosen experts of one token, by sorting.
fn slow_choice(scores: &[f32], bias: &[f32], c: &Config) -> Vec<u32> {
    let size = c.experts / c.groups;
    let biased: Vec<f32> = scores.iter().zip(bias).map(|(s, b)| s + b).collect();
    let mut order: Vec<usize> = (0..c.experts).collect();
    order.sort_by(|&a, &b| biased[b].total_cmp(&biased[a]));
    let group_score = |g: &usize| -> f32 {
        let mut best: Vec<f32> = biased[g * size..(g + 1) * size].to_vec();
        best.sort_by(|a, b| b.total_cmp(a));
        best.iter().take(if c.group_score == GroupScore::SumTop2 { 2 } else { 1 }).sum()
    };
    let mut groups: Vec<usize> = (0..c.groups).collect();
    groups.sort_by(|a, b| group_score(b).total_cmp(&group_score(a)));
    let kept = &groups[..c.top_groups];
    order.into_iter().filter(|e| kept.contains(&(e / size))).take(c.top_k).map(|e| e as u32).collect()
}

fn slow_scores(logits: &[f64], c: &Config) -> Vec<f64> {
    match c.scoring {
        Scoring::Sigmoid => logits.iter().map(|l| 1.0 / (1.0 + (-l).exp())).collect(),
        Scoring::Softmax => {
            let sum: f64 = logits.iter().map(|l| l.exp()).sum();
            logits.iter().map(|l| l.exp() / sum).collect()
        }
    }
}

fn slow_weights(scores: &[f64], ids: &[u32], c: &Config) -> Vec<f64> {
    let chosen: Vec<f64> = ids.iter().map(|&id| scores[id as usize]).collect();
    let sum = if c.normalise { chosen.iter().sum() } else { 1.0 };
    chosen.iter().map(|s| s / sum * c.scale as f64).collect()
}

fn slow_balance(logits: &[f64], ids: &[u32], spans: &[Range<usize>], c: &Config, alpha: f64) -> f64 {
    let mut loss = 0.0;
    for span in spans {
        for expert in 0..c.experts {
            let length = span.len() as f64;
            let chosen = &ids[span.start * c.top_k..span.end * c.top_k];
            let count = chosen.iter().filter(|&&id| id as usize == expert).count();
            let f = c.experts as f64 / (c.top_k as f64 * length) * count as f64;
            let share = |t: usize| {
                let scores = slow_scores(&logits[t * c.experts..(t + 1) * c.experts], c);
                scores[expert] / scores.iter().sum::<f64>()
            };
            loss += alpha * f * span.clone().map(share).sum::<f64>() / length;
        }
    }
    loss
}

/// `[scores, weights, ids as f32]`.
fn run(cpu: &Cpu, logits: &[f32], bias: Option<&[f32]>, c: &Config) -> [Vec<f32>; 3] {
    let choices = logits.len() / c.experts * c.top_k;
    let (mut scores, mut ids, mut weights) = (vec![0.0; logits.len()], vec![0; choices], vec![0.0; choices]);
    route(cpu, logits, bias, c, &mut scores, &mut ids, &mut weights);
    [scores, weights, ids.iter().map(|&id| id as f32).collect()]
}

fn as_ids(x: &[f32]) -> Vec<u32> {
    x.iter().map(|&id| id as u32).collect()
}

fn any_config() -> impl Strategy<Value = Config> {
    (1usize..6, 1usize..14, any::<(bool, bool, bool)>()).prop_flat_map(|(groups, size, (softmax, max, normalise))| {
        (1..=groups).prop_flat_map(move |top_groups| {
            (1..=(top_groups * size).min(9)).prop_map(move |top_k| Config {
                experts: groups * size,
                top_k,
                groups,
                top_groups,
                scoring: if softmax { Scoring::Softmax } else { Scoring::Sigmoid },
                group_score: if max { GroupScore::Max } else { GroupScore::SumTop2 },
                normalise,
                scale: 2.5,
            })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn equals_the_definition(c in any_config(), tokens in 0usize..120, biased: bool, seed: u32, cut in 0usize..120) {
        let logits: Vec<f32> = noise(tokens * c.experts, seed).iter().map(|l| 4.0 * l).collect();
        let bias = if biased { noise(c.experts, seed ^ 1) } else { vec![0.0; c.experts] };
        let [scores, weights, ids] = same_everywhere(|cpu| run(cpu, &logits, biased.then_some(&bias), &c));
        let logits64 = to_f64(&logits);
        for t in 0..tokens {
            let (row, choices) = (t * c.experts..(t + 1) * c.experts, t * c.top_k..(t + 1) * c.top_k);
            // exp is good to 2.4e-7; a sum of up to 65 and a division follow.
            let expected = slow_scores(&logits64[row.clone()], &c);
            assert_close("scores", &scores[row.clone()], &expected, 1e-6);
            let chosen = as_ids(&ids[choices.clone()]);
            prop_assert_eq!(&chosen, &slow_choice(&scores[row], &bias, &c));
            assert_close("weights", &weights[choices], &slow_weights(&expected, &chosen, &c), 5e-6);
        }

        let ids = as_ids(&ids);
        let (dweights, d0) = (noise(weights.len(), seed ^ 2), noise(logits.len(), seed ^ 3));
        let spans = [0..tokens / 3, tokens / 3..tokens];
        let gradients = |cpu: &Cpu, rows: Range<usize>, spans: &[Range<usize>]| {
            let (values, choices) = (rows.start * c.experts..rows.end * c.experts, rows.start * c.top_k..rows.end * c.top_k);
            let (mut d, scores, ids) = (d0[values.clone()].to_vec(), &scores[values], &ids[choices.clone()]);
            backward(cpu, scores, ids, &dweights[choices], &c, &mut d);
            balance_loss_backward(cpu, scores, ids, spans, &c, 0.5, &mut d);
            let loss = balance_loss(cpu, scores, ids, spans, &c, 0.5);
            [d, vec![loss as f32]]
        };
        let [d, loss] = same_everywhere(|cpu| gradients(cpu, 0..tokens, &spans));
        let nonempty: Vec<_> = spans.iter().filter(|s| !s.is_empty()).cloned().collect();
        assert_close("balance", &loss, &[slow_balance(&logits64, &ids, &nonempty, &c, 0.5)], 2e-6);

        let at = cut.min(tokens);
        for rows in [0..at, at..tokens] {
            let values = rows.start * c.experts..rows.end * c.experts;
            let part = run(&cpus()[0], &logits[values.clone()], biased.then_some(&bias), &c);
            assert_same_bits("scores in chunks", &part[0], &scores[values]);
            assert_same_bits("weights in chunks", &part[1], &weights[rows.start * c.top_k..rows.end * c.top_k]);
        }
        for span in spans {
            let one = 0..span.len();
            let [part, _] = gradients(&cpus()[0], span.clone(), std::slice::from_ref(&one));
            assert_same_bits("gradient by sequence", &part, &d[span.start * c.experts..span.end * c.experts]);
        }
    }

    #[test]
    fn backward_is_the_derivative(c in any_config(), seed: u32) {
        let tokens = 4;
        let logits = noise(tokens * c.experts, seed);
        let [scores, weights, ids] = run(&plain(), &logits, None, &c);
        let (ids, dweights) = (as_ids(&ids), noise(weights.len(), seed ^ 1));
        let spans = [0..1, 1..4];
        let mut dlogits = vec![0.0; logits.len()];
        backward(&plain(), &scores, &ids, &dweights, &c, &mut dlogits);
        balance_loss_backward(&plain(), &scores, &ids, &spans, &c, 0.5, &mut dlogits);
        let loss = |logits: &[f64]| -> f64 {
            let rows = logits.chunks(c.experts).zip(ids.chunks(c.top_k)).zip(dweights.chunks(c.top_k));
            let mixed: f64 = rows.map(|((l, ids), d)| dot(&slow_weights(&slow_scores(l, &c), ids, &c), d)).sum();
            mixed + slow_balance(logits, &ids, &spans, &c, 0.5)
        };
        // exp is good to 2.4e-7; sums over up to 65 experts of gradients of a few units follow.
        assert_close("dlogits", &dlogits, &gradient(&logits, loss), 1e-5);
    }
}

/// DeepSeek-V3's rule by hand: group 1 has the single best expert, group 0 the best pair; the bias chooses and does
/// not mix.
#[test]
fn groups_bias_and_ties_by_hand() {
    let c = Config {
        experts: 6,
        top_k: 2,
        groups: 2,
        top_groups: 1,
        scoring: Scoring::Sigmoid,
        group_score: GroupScore::SumTop2,
        normalise: true,
        scale: 2.0,
    };
    let logits = [2.0, 2.0, -9.0, 3.0, -9.0, -9.0];
    let [_, weights, ids] = run(&plain(), &logits, None, &c);
    assert_eq!((as_ids(&ids), weights), (vec![0, 1], vec![1.0, 1.0]));
    let [_, _, ids] = run(&plain(), &logits, None, &Config { group_score: GroupScore::Max, ..c });
    assert_eq!(as_ids(&ids), [3, 4], "of two equal experts the lower");
    let [scores, weights, ids] = run(&plain(), &logits, Some(&[0.0, 0.0, 5.0, 0.0, 0.0, 0.0]), &c);
    assert_eq!(as_ids(&ids), [2, 0]);
    let sum = scores[2] + scores[0];
    assert_eq!(weights, [2.0 * scores[2] / sum, 2.0 * scores[0] / sum], "the bias does not mix");
    let [_, _, ids] = run(&plain(), &[f32::NAN; 6], None, &c);
    assert_eq!(as_ids(&ids), [0, 1], "NaN still chooses");
}
