//! Gradients of a whole tiny DeepSeek-V3 (MLA with q-LoRA, groups of experts, balance loss, multi-token prediction)
//! against finite differences, entry by entry, and with activations computed again. Left out: single operations, which
//! the kernels' tests check, and other implementations, with which `picnic parity` compares.

use picnic_model::config::ModelConfig;
use picnic_model::layers::{Past, Targets, TokenStats};
use picnic_model::ops::Loss;
use picnic_model::{
    Balance, Batch, CpuOps, Grads, Model, Ops, ParamId, ParamStore, Role, Statistics, Tape, initialise, rows_of,
    write_rows,
};
use serde_json::json;
use std::path::Path;

const VOCABULARY: usize = 11;
/// A loss of about 5 from f32 log-probabilities carries errors of some 5e-7, which the difference divides by h = 4e-3.
const TOLERANCE: f64 = 3e-4;

fn tiny() -> Model {
    let config = json!({
        "model_type": "deepseek_v3", "vocab_size": VOCABULARY, "hidden_size": 6, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 5, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "initializer_range": 0.5, "q_lora_rank": 4,
        "kv_lora_rank": 3, "qk_nope_head_dim": 3, "qk_rope_head_dim": 2, "v_head_dim": 3, "first_k_dense_replace": 1,
        "n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 3,
        "n_group": 2, "topk_group": 1, "norm_topk_prob": true, "routed_scaling_factor": 1.5,
        "num_nextn_predict_layers": 1
    });
    Model::new(ModelConfig::from_value(&config, Path::new("tiny")).unwrap())
}

/// Fresh weights, norms off one and biases off zero, from a seed at which every expert is visited and no small step
/// changes a choice (the test checks both): there the loss is smooth.
fn weights(ops: &CpuOps, model: &Model) -> ParamStore<CpuOps> {
    let mut params = initialise(ops, model, 9).unwrap();
    for (_, spec, buffer) in params.learning_mut() {
        let values: Vec<f32> = match spec.role {
            Role::Norm => (0..spec.len()).map(|i| 0.8 + 0.1 * (i % 5) as f32).collect(),
            Role::RouterBias => (0..spec.len()).map(|i| 0.02 * i as f32).collect(),
            _ => continue,
        };
        ops.write(buffer, &values);
    }
    params
}

fn batch() -> Batch {
    let ids = |n: u32, k: u32| (0..n).map(|i| (i * k + i * i) % VOCABULARY as u32).collect::<Vec<_>>();
    Batch::sequences([&ids(7, 3)[..], &ids(1, 1), &ids(9, 5)])
}

fn past(batch: &Batch) -> Past<'static, CpuOps> {
    Past::Within(batch.spans.clone())
}

/// The loss in f64 from f32 log-probabilities, and the experts chosen. Learns if there are `grads`.
fn loss(
    ops: &CpuOps,
    model: &Model,
    params: &ParamStore<CpuOps>,
    grads: Option<&mut Grads<CpuOps>>,
    recompute: bool,
) -> (f64, Statistics) {
    let batch = batch();
    let rows: Vec<u32> = batch.spans.iter().flat_map(|span| span.start as u32..span.end as u32 - 1).collect();
    let ids: Vec<u32> = rows.iter().map(|&row| batch.ids[row as usize + 1]).collect();
    // Every token weighs differently.
    let weight = |t: usize| 0.05 + 0.01 * t as f32;
    let balance = Balance { alpha_per_sequence: 0.3 };
    // A frozen store has no gradients to add to; the balance loss is computed all the same.
    let mut none = Grads::new(ops, params).unwrap();
    let mut tape = Tape::recording(ops, grads.unwrap_or(&mut none), balance);
    let hidden = if recompute {
        model.forward_recomputing(&mut tape, params, &batch).unwrap()
    } else {
        model.forward(&mut tape, params, &batch, &mut past(&batch)).unwrap()
    };
    let targets = Targets { rows: &rows, ids: &ids, entropy: false };
    let derivatives = |factor: f32, n: usize| Loss::PerTarget((0..n).map(|t| -factor * weight(t)).collect());
    let said = tape.token_loss(&hidden, model.head(params), targets, derivatives(1.0, ids.len())).unwrap();
    // The sequence of one token has no row here.
    let (second, next) = model.mtp(&mut tape, params, &hidden, &batch).unwrap().unwrap();
    let last = |span: &std::ops::Range<usize>| span.end.saturating_sub(1);
    let rows: Vec<u32> = next.spans.iter().flat_map(|span| span.start as u32..last(span) as u32).collect();
    let ids: Vec<u32> = rows.iter().map(|&row| next.ids[row as usize + 1]).collect();
    let targets = Targets { rows: &rows, ids: &ids, entropy: false };
    let ahead = tape.token_loss(&second, model.head(params), targets, derivatives(0.3, ids.len())).unwrap();
    drop((hidden, second));
    let statistics = tape.backward().unwrap().read(ops);
    let sum = |said: TokenStats, factor: f32| -> f64 {
        said.logprob.iter().enumerate().map(|(t, &l)| -f64::from(factor * weight(t)) * f64::from(l)).sum()
    };
    (sum(said, 1.0) + sum(ahead, 0.3) + statistics.balance_loss, statistics)
}

#[test]
fn every_entry_is_the_derivative_of_the_loss() {
    let ops = CpuOps::with_threads(1).unwrap();
    let model = tiny();
    let mut params = weights(&ops, &model);
    let mut grads = Grads::new(&ops, &params).unwrap();
    let (_, chosen) = loss(&ops, &model, &params, Some(&mut grads), false);
    let visited = chosen.expert_counts.iter().flatten().all(|&n| n > 0);
    assert!(visited && chosen.expert_counts.len() == 2, "every expert is visited: {:?}", chosen.expert_counts);

    let tensors: Vec<(ParamId, String, usize)> =
        params.iter().filter(|p| p.trainable).map(|p| (p.id, p.spec.name.clone(), p.spec.len())).collect();
    let (mut worst, mut largest) = (0f64, 0f64);
    for (id, name, len) in &tensors {
        let gradient = rows_of(&ops, &params.get(*id).spec, grads.get(*id).unwrap());
        for i in 0..*len {
            let original = params.get(*id).to_rows(&ops);
            let mut at = |h: f32| {
                let mut moved = original.clone();
                moved[i] += h;
                params.update_one(*id, |spec, buffer| write_rows(&ops, spec, buffer, &moved));
                let (loss, statistics) = loss(&ops, &model, &params, None, false);
                assert_eq!(statistics.expert_counts, chosen.expert_counts, "{name}[{i}]: the step changes a choice");
                loss
            };
            // Fourth order: what is cut off is h⁴ of a fifth derivative.
            let h = 4e-3f32;
            let by_differences = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * f64::from(h));
            at(0.0);
            let difference = (by_differences - f64::from(gradient[i])).abs();
            worst = worst.max(difference);
            largest = largest.max(by_differences.abs());
            assert!(
                difference <= TOLERANCE,
                "{name}[{i}]: {} by backward, {by_differences} by differences",
                gradient[i]
            );
        }
    }
    println!("largest difference {worst:.1e}, largest gradient {largest:.1e}");
}

#[test]
fn activations_computed_again_give_the_same_bits() {
    let model = tiny();
    for threads in [1, 2] {
        let ops = CpuOps::with_threads(threads).unwrap();
        let params = weights(&ops, &model);
        let [mut kept, mut again] = [Grads::new(&ops, &params).unwrap(), Grads::new(&ops, &params).unwrap()];
        let (a, counts_a) = loss(&ops, &model, &params, Some(&mut kept), false);
        let (b, counts_b) = loss(&ops, &model, &params, Some(&mut again), true);
        assert_eq!(a.to_bits(), b.to_bits());
        assert_eq!(counts_a.expert_counts, counts_b.expert_counts);
        for param in params.iter().filter(|p| p.trainable) {
            let [kept, again] = [&kept, &again].map(|grads| ops.download(grads.get(param.id).unwrap()));
            let same = kept.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{}", param.spec.name);
        }
    }
}

/// A frozen model computes the same and learns nothing.
#[test]
fn frozen_weights_get_no_gradient() {
    let ops = CpuOps::with_threads(1).unwrap();
    let model = tiny();
    let params = weights(&ops, &model);
    let frozen = params.frozen_copy(&ops).unwrap();
    let mut grads = Grads::new(&ops, &frozen).unwrap();
    let (a, _) = loss(&ops, &model, &params, None, false);
    let (b, _) = loss(&ops, &model, &frozen, Some(&mut grads), false);
    assert_eq!(a.to_bits(), b.to_bits());
    assert!(frozen.iter().all(|p| grads.get(p.id).is_none()));
    let biases = model.router_biases();
    let learns = |id: &ParamId| params.get(*id).trainable;
    assert!(biases.len() == 2 && !biases.iter().any(learns), "load moves the routers' biases, no gradient does");
}
