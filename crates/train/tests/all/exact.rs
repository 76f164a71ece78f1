//! The arithmetic contract on whole models: what may not change a bit, and what may change only the rounding.
//!
//! A rollout's log-probability is the trainer's; lanes' threads, batches, chunks, recomputation and instruction sets do
//! not show. Left out: single kernels (their own tests) and whole runs of the program (the command line's tests).

use crate::models::{Noise, models, weights};
use picnic_model::kernels::{Cpu, Isa, Team};
use picnic_model::layers::{Past, Targets, TokenStats};
use picnic_model::ops::{KlEstimator, Loss, Objective, Ratio, Sample, Surrogate};
use picnic_model::{
    Balance, Batch, CacheForm, CpuOps, Grads, Model, ParamStore, SharedModel, Statistics, Tape, WeightForm,
};
use picnic_train::lanes::{BatchLoss, Lanes, Pass, PolicySequence, Sequence};
use picnic_train::optimizer::Optimizer;
use picnic_train::recipe::{Optimizer as Settings, Rule};
use picnic_train::rollout::{Draw, roll_out};

/// With multi-token prediction where the model has it.
fn pass(model: &Model, micro_batch_tokens: usize) -> Pass {
    let mtp_weight = if model.mtp_params().next().is_some() { 0.005 } else { 0.0 };
    let balance = Balance { alpha_per_sequence: 0.01 };
    Pass { balance, entropy: true, mtp_weight, ..Pass::new(micro_batch_tokens) }
}

/// Sequences of unequal lengths, one of them with a single target.
fn batch() -> Vec<Sequence> {
    let mut noise = Noise(3);
    let sequence = |(length, first_target)| Sequence { ids: noise.ids(length), first_target };
    [(70, 1), (33, 12), (64, 20), (2, 1), (90, 89), (47, 5), (100, 40)].map(sequence).into()
}

/// A loss that treats every token differently and depends on its logprob, with what belongs to each sequence.
fn policy(sequences: &[Sequence]) -> Vec<(Sample, Vec<f32>, Vec<f32>)> {
    let of = |(i, sequence): (usize, &Sequence)| {
        let sample = Sample { weight: 0.05 + 0.01 * i as f64, advantage: 1.0 - 0.7 * i as f64, log_ratio: 0.0 };
        let logprobs = |k: usize| (0..sequence.targets()).map(move |t| -3.0 - 0.02 * ((t * k) % 17) as f32);
        (sample, logprobs(3).collect(), logprobs(5).collect())
    };
    sequences.iter().enumerate().map(of).collect()
}

const OBJECTIVE: Objective = Objective {
    clip_low: 10.0,
    clip_high: 10.0,
    kl_beta: 0.1,
    ratio: Ratio::Token,
    surrogate: Surrogate::Ppo,
    kl_estimator: KlEstimator::K3,
    off_policy_delta: None,
};

fn gradient(
    lanes: &mut Lanes,
    model: &Model,
    params: &ParamStore<CpuOps>,
    sequences: &[Sequence],
    pass: Pass,
) -> (Vec<TokenStats>, Statistics) {
    let all = policy(sequences);
    let parts: Vec<PolicySequence> = all
        .iter()
        .map(|(sample, old, reference)| PolicySequence { sample: *sample, old, reference, importance: None })
        .collect();
    lanes.gradient(model, params, sequences, pass, &BatchLoss::Policy(OBJECTIVE, &parts)).unwrap()
}

fn lanes(lanes: usize, threads: usize) -> Lanes {
    Lanes::new(&CpuOps::with_threads(threads).unwrap(), lanes).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn logprob_bits(stats: &[TokenStats]) -> Vec<Vec<u32>> {
    stats.iter().map(|s| bits(&s.logprob)).collect()
}

/// All that a gradient computes, as bits: logprobs, entropies, expert counts, gradients by tensor, the loss of
/// multi-token prediction.
type Computed = (Vec<Vec<u32>>, Vec<Vec<u32>>, Vec<Vec<u64>>, Vec<Vec<f32>>, u64);

fn computed(model: &Model, params: &ParamStore<CpuOps>, lanes: usize, threads: usize, tokens: usize) -> Computed {
    let mut lanes = self::lanes(lanes, threads);
    // The first gradient leaves buffers and sums behind that must not show in the second.
    gradient(&mut lanes, model, params, &batch()[..3], pass(model, tokens));
    let (stats, statistics) = gradient(&mut lanes, model, params, &batch(), pass(model, tokens));
    let entropies = stats.iter().map(|s| bits(&s.entropy)).collect();
    let grads = all_of(params, lanes.grads().unwrap());
    (logprob_bits(&stats), entropies, statistics.expert_counts, grads, statistics.mtp_loss.to_bits())
}

fn all_of(params: &ParamStore<CpuOps>, grads: &Grads<CpuOps>) -> Vec<Vec<f32>> {
    params.iter().filter_map(|p| grads.get(p.id)).map(|g| g.to_vec()).collect()
}

#[test]
fn a_rollouts_logprobs_are_the_trainers() {
    let ops = CpuOps::with_threads(1).unwrap();
    let mut noise = Noise(5);
    // One prompt is longer than a page of the cache, one is a single token.
    let prompts: Vec<Vec<u32>> = [40, 1, 9].map(|n| noise.ids(n)).into();
    let draw = Draw { samples: 3, max_tokens: 45, temperature: 1.0, top_p: 1.0, seed: 11 };
    for (name, model) in models() {
        let params = weights(&ops, &model);
        let shared = SharedModel::new(model, params);
        let (model, params) = (shared.model(), shared.params());
        let mut first: Option<Vec<Vec<u32>>> = None;
        for (lanes, threads) in [(1, 1), (1, 3), (2, 2), (3, 2), (3, 3)] {
            let mut lanes = self::lanes(lanes, threads);
            let ops = CpuOps::with_threads(threads).unwrap();
            let samples = roll_out(&ops, &shared, &prompts, &[0, 1, 2, 3], CacheForm::Exact, draw).unwrap();
            assert_eq!(samples.len(), 9);
            let sequences: Vec<Sequence> = samples
                .iter()
                .map(|sample| {
                    let prompt = &prompts[sample.prompt];
                    let ids = [&prompt[..], &sample.completion.tokens].concat();
                    Sequence { ids, first_target: prompt.len() }
                })
                .collect();
            let drawn: Vec<Vec<u32>> = samples.iter().map(|s| bits(&s.completion.logprobs)).collect();
            for tokens in [1, 100, 100_000] {
                let trained = lanes.logprobs(model, &params, &sequences, pass(model, tokens)).unwrap();
                assert_eq!(drawn, logprob_bits(&trained), "{name}, micro-batches of {tokens}");
            }
            let (trained, _) = gradient(&mut lanes, model, &params, &sequences, pass(model, 100));
            assert_eq!(drawn, logprob_bits(&trained), "{name}, learning");
            for (sequence, drawn) in sequences.iter().zip(&drawn) {
                let alone = lanes.logprobs(model, &params, std::slice::from_ref(sequence), pass(model, 1)).unwrap();
                assert_eq!(drawn, &bits(&alone[0].logprob), "{name}, alone");
            }
            assert_eq!(first.get_or_insert_with(|| drawn.clone()), &drawn, "{name}: lanes and threads do not show");
        }
    }
}

/// A copy in 8 bits keeps matrices whose rows are no whole groups of 32 as they are. Where that is all that a rollout
/// multiplies by, it draws like the policy.
#[test]
fn a_copy_that_rounds_nothing_draws_like_the_policy() {
    let ops = CpuOps::with_threads(2).unwrap();
    let prompts: Vec<Vec<u32>> = [9, 1].map(|n| Noise(5).ids(n)).into();
    let draw = Draw { samples: 3, max_tokens: 20, temperature: 1.0, top_p: 1.0, seed: 11 };
    let mut rounded = Vec::new();
    for (name, model) in models() {
        let params = weights(&ops, &model);
        let policy = SharedModel::new(model, params);
        let copy = policy.with_params(policy.params().copy_in_form(&ops, WeightForm::Q8).unwrap());
        let drawn = |by: &SharedModel<CpuOps>| -> Vec<(Vec<u32>, Vec<u32>)> {
            let samples = roll_out(&ops, by, &prompts, &[0], CacheForm::Exact, draw).unwrap();
            samples.into_iter().map(|s| (s.completion.tokens, bits(&s.completion.logprobs))).collect()
        };
        let (params, copied) = (policy.params(), copy.params());
        // No rollout asks the module of multi-token prediction.
        let asked = params.iter().zip(copied.iter()).filter(|(p, _)| policy.model().mtp_params().all(|id| id != p.id));
        let changes = asked.filter(|(p, copied)| p.to_rows(&ops) != copied.to_rows(&ops)).count();
        assert_eq!(drawn(&policy) == drawn(&copy), changes == 0, "{name}: {changes} matrices are rounded");
        assert!(copied.iter().all(|param| !param.trainable), "{name}");
        rounded.push(changes > 0);
    }
    assert_eq!(rounded, [false, false, true], "heads of 24 make rows of 96 in Qwen3");
}

/// Tokens that all weigh c are those of a sample that weighs c, to the bit, through lanes and micro-batches.
#[test]
fn importance_is_a_weight() {
    let ops = CpuOps::with_threads(2).unwrap();
    let sequences = batch();
    let importance = |i: usize| 0.3 + 0.25 * i as f64;
    let all = policy(&sequences);
    let each: Vec<Vec<f64>> = sequences.iter().enumerate().map(|(i, s)| vec![importance(i); s.targets()]).collect();
    let by_token: Vec<PolicySequence> = (all.iter().zip(&each))
        .map(|((sample, old, reference), each)| PolicySequence {
            sample: *sample,
            old,
            reference,
            importance: Some(each),
        })
        .collect();
    let by_sample: Vec<PolicySequence> = (all.iter().enumerate())
        .map(|(i, (sample, old, reference))| {
            let sample = Sample { weight: sample.weight * importance(i), ..*sample };
            PolicySequence { sample, old, reference, importance: None }
        })
        .collect();
    for (name, model) in models() {
        let params = weights(&ops, &model);
        let gradient = |parts: &[PolicySequence]| {
            let mut lanes = lanes(3, 2);
            let loss = BatchLoss::Policy(OBJECTIVE, parts);
            lanes.gradient(&model, &params, &sequences, pass(&model, 150), &loss).unwrap();
            all_of(&params, lanes.grads().unwrap())
        };
        let weighed = gradient(&by_token);
        assert!(weighed == gradient(&by_sample), "{name}");
        let plain: Vec<PolicySequence> =
            by_token.iter().map(|part| PolicySequence { importance: None, ..*part }).collect();
        assert!(weighed != gradient(&plain), "{name}");
    }
}

#[test]
fn threads_change_no_bit() {
    let ops = CpuOps::with_threads(1).unwrap();
    for (name, model) in models() {
        let params = weights(&ops, &model);
        for lanes in [1, 3] {
            let one = computed(&model, &params, lanes, 1, 250);
            for threads in 2..=4 {
                assert!(one == computed(&model, &params, lanes, threads, 250), "{name}: {threads} on {lanes} lanes");
            }
        }
    }
}

/// Micro-batches and lanes decide in which order gradients are summed and nothing else.
#[test]
fn micro_batches_and_lanes_change_only_rounding() {
    let ops = CpuOps::with_threads(2).unwrap();
    for (name, model) in models() {
        let params = weights(&ops, &model);
        let one = computed(&model, &params, 1, 1, 1);
        for (lanes, tokens) in [(1, 150), (1, 100_000), (2, 1), (3, 150)] {
            let other = computed(&model, &params, lanes, 1, tokens);
            assert!(one.0 == other.0 && one.1 == other.1, "{name}: logprobs and entropies keep their bits");
            assert_eq!(one.2, other.2, "{name}: experts");
            for (i, (a, b)) in one.3.iter().zip(&other.3).enumerate() {
                let largest = a.iter().fold(0f32, |m, x| m.max(x.abs()));
                let difference = a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                // Sums of some 400 terms in another order: a few roundings (6e-8) of partial sums, which may be ten
                // times larger than what they come to.
                assert!(difference <= 5e-6 * largest, "{name}: tensor {i}: {difference} of {largest}");
            }
        }
    }
}

/// A gradient that does not fit is an error, after which a smaller one is what it always was.
#[test]
fn memory_that_runs_out_is_an_error() {
    let ops = CpuOps::with_threads(2).unwrap();
    for (name, model) in models() {
        let params = weights(&ops, &model);
        let small = &batch()[..2];
        let expected = gradient(&mut lanes(2, 2), &model, &params, small, pass(&model, 100)).0;
        let fits = 12 << 20;
        let mut tight = Lanes::new(&ops.with_memory_limit(fits), 2).unwrap();
        let long = Sequence { ids: Noise(3).ids(40_000), first_target: 1 };
        let loss = BatchLoss::Constant(1.0);
        let refused = tight.gradient(&model, &params, &[long], pass(&model, 1), &loss).err().unwrap();
        assert!(refused.to_string().starts_with("out of memory: ") && refused.bytes > 0, "{name}: {refused}");
        let after = gradient(&mut tight, &model, &params, small, pass(&model, 100)).0;
        assert_eq!(logprob_bits(&expected), logprob_bits(&after), "{name}");
    }
}

/// A training step (forward, backward, AdamW or Muon) with every instruction set and teams of several sizes.
#[test]
fn instruction_sets_change_no_bit() {
    let adamw: Settings = serde_json::from_value(serde_json::json!({"lr": 1e-2, "decay": "constant"})).unwrap();
    for settings in [Settings { rule: Rule::Muon, ..adamw.clone() }, adamw] {
        for (name, model) in models() {
            let step = |isa: Isa, team: Team, recompute: bool| -> (Vec<u32>, Vec<Vec<u32>>, Vec<Vec<u64>>) {
                let ops = CpuOps::new(Cpu { isa, team });
                let mut params = weights(&ops, &model);
                let mut optimizer = Optimizer::new(&ops, &params, settings.rule).unwrap();
                let (mut logprobs, mut counts) = (Vec::new(), Vec::new());
                // The second step reads panels and moments that the first one wrote.
                for _ in 0..2 {
                    let mut grads = Grads::new(&ops, &params).unwrap();
                    let (said, statistics) = learn(&ops, &model, &params, &mut grads, recompute);
                    logprobs.extend(bits(&said.logprob));
                    counts.extend(statistics.expert_counts);
                    optimizer.step(&ops, &mut params, &grads, &settings, settings.lr);
                }
                (logprobs, params.iter().map(|p| bits(&p.to_rows(&ops))).collect(), counts)
            };
            let scalar = step(Isa::scalar(), Team::solo(), false);
            for isa in Isa::available() {
                for threads in [1, 3] {
                    let other = step(isa, Team::new(threads).unwrap(), false);
                    assert!(scalar == other, "{name}, {:?}: {} with {threads} threads", settings.rule, isa.name());
                }
            }
            let best = *Isa::available().last().unwrap();
            let recomputed = step(best, Team::solo(), true);
            assert!(scalar == recomputed, "{name}, {:?}: activations computed again", settings.rule);
        }
    }
}

/// Forward and backward of the whole batch at once, keeping activations or computing them again.
fn learn(
    ops: &CpuOps,
    model: &Model,
    params: &ParamStore<CpuOps>,
    grads: &mut Grads<CpuOps>,
    recompute: bool,
) -> (TokenStats, Statistics) {
    let sequences = batch();
    let batch = Batch::sequences(sequences.iter().map(|s| &s.ids[..]));
    let rows: Vec<u32> = batch.spans.iter().flat_map(|span| span.start as u32..span.end as u32 - 1).collect();
    let ids: Vec<u32> = rows.iter().map(|&row| batch.ids[row as usize + 1]).collect();
    let mut tape = Tape::recording(ops, grads, pass(model, 1).balance);
    let hidden = if recompute {
        model.forward_recomputing(&mut tape, params, &batch).unwrap()
    } else {
        model.forward(&mut tape, params, &batch, &mut Past::Within(batch.spans.clone())).unwrap()
    };
    let targets = Targets { rows: &rows, ids: &ids, entropy: false };
    let derivatives = (0..ids.len()).map(|t| -1.0 / (20.0 + t as f32)).collect();
    let said = tape.token_loss(&hidden, model.head(params), targets, Loss::PerTarget(derivatives)).unwrap();
    if model.mtp_params().next().is_some()
        && let Some((second, next)) = model.mtp(&mut tape, params, &hidden, &batch).unwrap()
    {
        // Any target will do: each row predicts the token that it has seen.
        let rows: Vec<u32> = (0..next.ids.len() as u32).collect();
        let targets = Targets { rows: &rows, ids: &next.ids, entropy: false };
        tape.token_loss(&second, model.head(params), targets, Loss::Constant(-0.01)).unwrap();
    }
    drop(hidden);
    (said, tape.backward().unwrap().read(ops))
}
