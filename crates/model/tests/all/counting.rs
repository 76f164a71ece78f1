//! The counting operations against closed formulas: what a pass over a dense model costs, how much memory it holds, and
//! what multi-token prediction adds.

use picnic_model::config::ModelConfig;
use picnic_model::layers::{Past, Targets};
use picnic_model::ops::Loss;
use picnic_model::{Balance, Batch, Cost, Counting, Grads, Model, ParamStore, Tape, initialise};
use serde_json::json;
use std::path::Path;

/// Sizes of a Llama: V vocabulary, d width, L layers, H heads, G key/value heads, h head size, f feed-forward width.
const V: u64 = 50;
const D: u64 = 24;
const H: u64 = 4;
const G: u64 = 2;
const HEAD: u64 = 8;
const F: u64 = 40;

fn llama(layers: u64) -> (Counting, Model, ParamStore<Counting>) {
    let config = json!({
        "model_type": "llama", "vocab_size": V, "hidden_size": D, "num_hidden_layers": layers,
        "num_attention_heads": H, "num_key_value_heads": G, "head_dim": HEAD, "intermediate_size": F,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false,
        "initializer_range": 0.02
    });
    let model = Model::new(ModelConfig::from_value(&config, Path::new("llama")).unwrap());
    let ops = Counting::default();
    let params = initialise(&ops, &model, 0).unwrap();
    (ops, model, params)
}

/// Two sequences of unequal length.
const LENGTHS: [usize; 2] = [30, 17];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Inference,
    Training,
    Recomputing,
}

/// What one pass adds, predicting at every position. The peak counts from what was alive before.
fn pass(ops: &Counting, model: &Model, params: &ParamStore<Counting>, kind: Kind) -> Cost {
    let mut grads = Grads::new(ops, params).unwrap();
    let before = ops.cost();
    let ids: Vec<u32> = (0..LENGTHS.iter().sum::<usize>() as u32).map(|i| i % V as u32).collect();
    let (first, second) = ids.split_at(LENGTHS[0]);
    let batch = Batch::sequences([first, second]);
    let rows: Vec<u32> = (0..ids.len() as u32).collect();
    let mut tape = match kind {
        Kind::Inference => Tape::inference(ops),
        Kind::Training | Kind::Recomputing => Tape::recording(ops, &mut grads, Balance::default()),
    };
    let hidden = match kind {
        Kind::Recomputing => model.forward_recomputing(&mut tape, params, &batch).unwrap(),
        _ => model.forward(&mut tape, params, &batch, &mut Past::Within(batch.spans.clone())).unwrap(),
    };
    let targets = Targets { rows: &rows, ids: &ids, entropy: false };
    tape.token_loss(&hidden, model.head(params), targets, Loss::Constant(1.0)).unwrap();
    drop(hidden);
    tape.backward().unwrap();
    let after = ops.cost();
    assert_eq!(after.live, before.live, "a pass gives everything back");
    Cost {
        flops: after.flops - before.flops,
        peak: after.peak - before.live,
        bytes: after.bytes - before.bytes,
        live: 0,
    }
}

/// Products alone: 2 operations forward and 4 backward for each weight and token, head included.
fn matmul_weights(layers: u64) -> u64 {
    layers * (D * HEAD * (H + 2 * G) + H * HEAD * D + 3 * D * F) + V * D
}

#[test]
fn operations_of_a_dense_model() {
    for layers in [1, 3] {
        let (ops, model, params) = llama(layers);
        assert_eq!(model.matmul_params(), matmul_weights(layers) as f64);
        let t = LENGTHS.iter().sum::<usize>() as u64;
        let pairs: u64 = H * LENGTHS.iter().map(|&n| (n * (n + 1) / 2) as u64).sum::<u64>();
        let rope = 3 * t * (H + G) * HEAD;

        let block = pairs * (4 * HEAD + 4) + rope + 2 * 4 * t * D + 2 * t * D + 5 * t * F;
        let forward = 2 * t * matmul_weights(layers) + layers * block + 4 * t * D + 3 * t * V;
        assert_eq!(pass(&ops, &model, &params, Kind::Inference).flops, forward);

        // Gradients meet at the inputs of both sublayers: a sum for each residual.
        let block = pairs * (10 * HEAD + 8) + rope + 2 * 8 * t * D + 10 * t * F;
        let backward = 4 * t * matmul_weights(layers) + layers * block + 8 * t * D + 4 * t * V + t * D;
        let training = pass(&ops, &model, &params, Kind::Training).flops;
        assert_eq!(training, forward + backward);

        // Activations computed again cost the blocks' forward pass once more.
        let again = pass(&ops, &model, &params, Kind::Recomputing).flops - training;
        assert_eq!(again, forward - (2 * t * V * D + 4 * t * D + 3 * t * V));
    }
}

#[test]
fn memory_of_a_dense_model() {
    let t = LENGTHS.iter().sum::<usize>() as u64;
    let peak = |layers: u64, kind: Kind| {
        let (ops, model, params) = llama(layers);
        // Every tensor once, in whatever layout.
        let norms = (2 * layers + 1) * D;
        let stored = 4 * (matmul_weights(layers) + V * D + norms);
        assert_eq!(ops.cost().live, stored);
        pass(&ops, &model, &params, kind).peak
    };
    let growth = |kind| (peak(6, kind) - peak(3, kind)) / 3;
    // A block keeps for its backward: four vectors of the residual stream's width (two inputs of norms, their outputs),
    // q, k, v, the attention's output, gate, up and their product, one number a row for each norm and two for each
    // head.
    let kept = 4 * t * (4 * D + HEAD * (2 * H + 2 * G) + 3 * F + 2 + 2 * H);
    assert_eq!(growth(Kind::Training), kept);
    assert_eq!(growth(Kind::Recomputing), 4 * t * D, "only its input");
    assert_eq!(growth(Kind::Inference), 0, "inference keeps nothing");
    assert!(peak(6, Kind::Inference) < peak(6, Kind::Recomputing));
    assert!(peak(6, Kind::Recomputing) < peak(6, Kind::Training));
}

/// Operations of a training pass over sequences of `lengths` of a DeepSeek-V3 of dense layers, with or without a module
/// for multi-token prediction, which learns from all of its rows.
fn deepseek(layers: usize, module: usize, lengths: [usize; 2]) -> u64 {
    let config = json!({
        "model_type": "deepseek_v3", "vocab_size": V, "hidden_size": D, "num_hidden_layers": layers,
        "num_attention_heads": H, "intermediate_size": F, "max_position_embeddings": 256, "kv_lora_rank": 10,
        "qk_nope_head_dim": 6, "qk_rope_head_dim": 2, "v_head_dim": 5, "first_k_dense_replace": 9,
        "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 3,
        "num_nextn_predict_layers": module
    });
    let model = Model::new(ModelConfig::from_value(&config, Path::new("deepseek")).unwrap());
    let ops = Counting::default();
    let params = initialise(&ops, &model, 0).unwrap();
    let mut grads = Grads::new(&ops, &params).unwrap();
    let before = ops.cost().flops;
    let ids = vec![0; lengths.iter().sum()];
    let (first, second) = ids.split_at(lengths[0]);
    let batch = Batch::sequences([first, second]);
    let mut tape = Tape::recording(&ops, &mut grads, Balance::default());
    let hidden = model.forward(&mut tape, &params, &batch, &mut Past::Within(batch.spans.clone())).unwrap();
    let second = if module > 0 { model.mtp(&mut tape, &params, &hidden, &batch).unwrap() } else { None };
    for (hidden, batch) in [Some((hidden, batch)), second].into_iter().flatten() {
        let rows: Vec<u32> = (0..batch.ids.len() as u32).collect();
        let targets = Targets { rows: &rows, ids: &batch.ids, entropy: false };
        tape.token_loss(&hidden, model.head(&params), targets, Loss::Constant(1.0)).unwrap();
    }
    tape.backward().unwrap();
    ops.cost().flops - before
}

#[test]
fn operations_of_multi_token_prediction() {
    let [long, short] = [LENGTHS, LENGTHS.map(|n| n - 1)];
    let rows = short.iter().sum::<usize>() as u64;
    let added = deepseek(2, 1, long) - deepseek(2, 0, long);
    // A block like the others, on one row less of each sequence.
    let block = deepseek(3, 0, short) - deepseek(2, 0, short);
    // Forward and backward: M, three norms, the head with its loss, the embedding's gradient, and the rows of the
    // hidden states, whose gradient is added to where it was.
    let products = 6 * rows * (D * 2 * D + V * D);
    let around = rows * (3 * 12 * D + 7 * V + D + D);
    assert_eq!(added, block + products + around);
}
