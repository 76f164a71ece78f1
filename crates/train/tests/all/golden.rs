//! Training against implementations that we did not write: AdamW curves and Muon steps of torch, GRPO's loss by torch's autograd, the
//! routers of transformers, multi-token prediction written out in torch. Left out: logits and gradients of whole
//! models, which `picnic parity` compares.
//!
//! Where a larger set of the same fixtures lies beside the repository (`../shared`, or `PICNIC_SHARED`), it is read
//! too.

use picnic_model::checkpoint::Checkpoint;
use picnic_model::kernels::{Cpu, router};
use picnic_model::layers::Past;
use picnic_model::ops::{Dims, Objective, Sample, Side};
use picnic_model::{Batch, CpuOps, Grads, Ops, OutOfMemory, ParamSpec, ParamStore, Role, Source, Tape, load, rows_of};
use picnic_train::grpo::{advantages, token_weights};
use picnic_train::lanes::{BatchLoss, Lanes, Pass, Sequence};
use picnic_train::optimizer::Optimizer;
use picnic_train::recipe::{Advantage, Decay, KlEstimator, LossAverage, Optimizer as Settings, Ratio, Rule, Surrogate};
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Moving the initial weights by some 20 roundings moves torch's own curve by up to 2e-5 (golden/README.md).
const LOSS_TOLERANCE: f64 = 5e-5;
/// The same move changes a sum of weights by up to 4.4e-4.
const SUM_TOLERANCE: f64 = 1e-3;
/// A step moves a weight by up to 6e-3 (golden/README.md).
const MUON_TOLERANCE: f32 = 1e-5;
/// f64 rounding of some hundred terms of size 1 is below 1e-13; anything larger is in the formula.
const GRPO_TOLERANCE: f64 = 1e-9;

/// `golden/`, and its larger sister where there is one.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("PICNIC_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from).join("golden");
    let mut all = vec![root.join("golden")];
    if shared.exists() {
        all.push(shared);
    } else {
        eprintln!("skipped: {} is not there", shared.display());
    }
    all
}

#[test]
fn adamw_curves_of_torch() {
    for folder in folders() {
        for name in ["llama", "deepseek_v3"] {
            reproduce_curve(&folder.join(name));
        }
    }
}

/// Thirty steps on the recorded batches through lanes and optimizer; the router's bias stays, no balance loss.
fn reproduce_curve(folder: &Path) {
    let curve: Value = serde_json::from_str(&fs::read_to_string(folder.join("train_curve.json")).unwrap()).unwrap();
    let number = |key: &str| curve[key].as_f64().unwrap();
    let settings = Settings {
        rule: Rule::AdamW,
        momentum: 0.0,
        lr: number("lr"),
        warmup_steps: 0,
        decay: Decay::Constant,
        final_lr_ratio: 1.0,
        beta1: curve["betas"][0].as_f64().unwrap(),
        beta2: curve["betas"][1].as_f64().unwrap(),
        eps: number("eps"),
        weight_decay: number("weight_decay"),
        // As torch's AdamW does of itself.
        decay_norms_and_biases: true,
        clip: number("clip"),
    };
    let batches = Checkpoint::open(folder.join("train_batches.safetensors")).unwrap();
    let [steps, rows, length] = batches.shape("batches").unwrap()[..] else { panic!("batches have three sizes") };
    let ids: Vec<u32> = batches.read_i64("batches").unwrap().into_iter().map(|id| id as u32).collect();

    let ops = CpuOps::with_threads(1).unwrap();
    let (model, mut params) = load(&ops, &Checkpoint::open(folder).unwrap(), None).unwrap();
    let (mut lanes, mut optimizer) = (
        Lanes::new(&CpuOps::with_threads(2).unwrap(), 2).unwrap(),
        Optimizer::new(&ops, &params, settings.rule).unwrap(),
    );
    let pass = Pass::new(length);
    let loss = BatchLoss::Constant(-1.0 / (rows * (length - 1)) as f32);
    for step in 0..steps {
        let batch = ids[step * rows * length..(step + 1) * rows * length].chunks(length);
        let sequences: Vec<Sequence> = batch.map(|ids| Sequence { ids: ids.to_vec(), first_target: 1 }).collect();
        let (stats, _) = lanes.gradient(&model, &params, &sequences, pass, &loss).unwrap();
        let logprobs: Vec<f64> = stats.iter().flat_map(|s| &s.logprob).map(|&l| f64::from(l)).collect();
        let loss = -logprobs.iter().sum::<f64>() / logprobs.len() as f64;
        let golden = curve["losses"][step].as_f64().unwrap();
        assert!((loss - golden).abs() <= LOSS_TOLERANCE, "{}: step {step}: {loss} {golden}", folder.display());
        let norm = optimizer.step(&ops, &mut params, lanes.grads().unwrap(), &settings, settings.lr);
        let golden = curve["grad_norms"][step].as_f64().unwrap();
        // A norm is a first derivative of the loss: the same move changes it by as much, relatively.
        assert!((norm / golden - 1.0).abs() <= 1e-4, "{}: step {step}: norm {norm} {golden}", folder.display());
    }
    for (name, golden) in curve["param_sums"].as_object().unwrap() {
        let (sum, golden) = (sum_of(&ops, &params, name), golden.as_f64().unwrap());
        let missed = || format!("{}: {name}: {sum:?} {golden}", folder.display());
        assert!(sum.is_some_and(|sum| (sum - golden).abs() <= SUM_TOLERANCE), "{}", missed());
    }
}

/// Five steps on each weight alone.
#[test]
fn muon_steps_of_torch() {
    let golden = Checkpoint::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/muon.safetensors")).unwrap();
    let settings: Settings =
        serde_json::from_value(serde_json::json!({"rule": "muon", "lr": 1e-2, "clip": 1e9})).unwrap();
    let ops = CpuOps::with_threads(1).unwrap();
    for (n, k) in [(12, 40), (40, 12), (24, 24), (1, 9)] {
        let read = |what: &str, sizes: &[usize]| golden.read_expected(&format!("{n}x{k}.{what}"), sizes).unwrap();
        let spec = ParamSpec { name: "weight".into(), shape: vec![n, k], role: Role::Linear };
        let start = |_: &ParamSpec| Ok::<_, OutOfMemory>(Source::Values(read("start", &[n, k])));
        let mut params = ParamStore::new(&ops, vec![spec], true, start).unwrap();
        let mut optimizer = Optimizer::new(&ops, &params, settings.rule).unwrap();
        let (gradients, after) = (read("gradients", &[5, n, k]), read("after", &[5, n, k]));
        for (step, (gradient, after)) in gradients.chunks(n * k).zip(after.chunks(n * k)).enumerate() {
            let mut grads = Grads::new(&ops, &params).unwrap();
            let id = params.iter().next().unwrap().id;
            ops.write_weight(grads.get_mut(id).unwrap(), gradient, Dims { n, k });
            optimizer.step(&ops, &mut params, &grads, &settings, settings.lr);
            let moved = params.by_name("weight").unwrap().to_rows(&ops);
            for (ours, torch) in moved.iter().zip(after) {
                assert!((ours - torch).abs() <= MUON_TOLERANCE, "{n}×{k}, step {step}: {ours} {torch}");
            }
        }
    }
}

/// Sum of a tensor, experts under the fused names of transformers 5.
fn sum_of(ops: &CpuOps, params: &ParamStore<CpuOps>, name: &str) -> Option<f64> {
    let part = |fused: &str| -> Option<(String, &[&str])> {
        match fused.rsplit_once(".experts.")? {
            (at, "gate_up_proj") => Some((format!("{at}.experts."), &["gate_proj", "up_proj"])),
            (at, "down_proj") => Some((format!("{at}.experts."), &["down_proj"])),
            _ => None,
        }
    };
    let sum = |values: Vec<f32>| values.into_iter().map(f64::from).sum::<f64>();
    let Some((at, parts)) = part(name) else {
        return params.by_name(name).map(|p| sum(p.to_rows(ops)));
    };
    let experts = params.iter().filter(|p| {
        let projection = p.spec.name.strip_prefix(&at).and_then(|rest| rest.split('.').nth(1));
        projection.is_some_and(|projection| parts.contains(&projection))
    });
    experts.map(|p| sum(p.to_rows(ops))).reduce(|a, b| a + b)
}

/// An f64 tensor, which no checkpoint holds and [`Checkpoint`] does not read.
fn read_f64(bytes: &[u8], name: &str) -> Option<Vec<f64>> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let values = file.tensor(name).ok()?.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()));
    Some(values.collect())
}

#[test]
fn grpo_of_autograd() {
    for folder in folders() {
        let bytes = fs::read(folder.join("grpo_golden.safetensors")).unwrap();
        let get = |name: &str| read_f64(&bytes, name).unwrap();
        let rewards: Vec<Option<f64>> = get("rewards").into_iter().map(Some).collect();
        let ours = advantages(&rewards, Advantage::Std);
        for (ours, golden) in ours.iter().zip(get("advantages")) {
            assert!((ours.unwrap() - golden).abs() <= GRPO_TOLERANCE, "{ours:?} {golden}");
        }
        let [new, old, reference, mask, kl] = ["logp_new", "logp_old", "logp_ref", "mask", "kl"].map(get);
        let width = mask.len() / rewards.len();
        let lengths: Vec<usize> = mask.chunks(width).map(|row| row.iter().filter(|&&m| m == 1.0).count()).collect();
        let objective = Objective { kl_beta: 0.04, ..GRPO };
        for (average, name) in [(LossAverage::Sequence, "seq_mean"), (LossAverage::Token, "token_mean")] {
            let weights = token_weights(&lengths, &ours, average, width);
            let golden_derivatives = read_f64(&bytes, &format!("grad_{name}"));
            let (mut loss, mut clipped) = (0.0, 0);
            for i in 0..mask.len() {
                let sample = i / width;
                let of = Sample { weight: weights[sample], advantage: ours[sample].unwrap(), log_ratio: 0.0 };
                let token = objective.token(of, new[i], old[i], reference[i]);
                assert!((token.kl - kl[i]).abs() <= GRPO_TOLERANCE, "kl {} {}", token.kl, kl[i]);
                loss += mask[i] * weights[sample] * token.loss;
                clipped += usize::from(token.clipped.is_some() && mask[i] == 1.0);
                if let Some(golden) = &golden_derivatives {
                    let derivative = mask[i] * weights[sample] * token.dloss_dlogprob;
                    assert!((derivative - golden[i]).abs() <= GRPO_TOLERANCE, "{derivative} {}", golden[i]);
                }
            }
            let golden = get(&format!("loss_{name}"))[0];
            assert!((loss - golden).abs() <= GRPO_TOLERANCE, "{name}: {loss} {golden}");
            assert!(clipped > 0, "a fixture that clips nothing shows little");
        }
    }
}

/// GRPO without nearness to a reference.
const GRPO: Objective = Objective {
    clip_low: 0.2,
    clip_high: 0.2,
    kl_beta: 0.0,
    ratio: Ratio::Token,
    surrogate: Surrogate::Ppo,
    kl_estimator: KlEstimator::K3,
    off_policy_delta: None,
};

/// Each objective as its paper writes it for whole samples, differentiated by autograd: the sum of our tokens' losses
/// is its loss and our tokens' derivatives are its gradient, through a sequence's ratio too.
#[test]
fn the_objectives_after_grpo_of_autograd() {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/grpo_variants.safetensors")).unwrap();
    let get = |name: &str| read_f64(&bytes, name).unwrap();
    let [new, old, reference, kept] = ["new", "old", "ref", "kept"].map(get);
    let rewards: Vec<Option<f64>> = get("rewards").into_iter().map(Some).collect();
    let lengths: Vec<usize> = get("lengths").into_iter().map(|n| n as usize).collect();
    let width = new.len() / lengths.len();
    let v3_2 = Objective { kl_beta: 0.04, kl_estimator: KlEstimator::Unbiased, off_policy_delta: Some(0.1), ..GRPO };
    let gspo = Objective { clip_low: 3e-4, clip_high: 4e-4, ratio: Ratio::Sequence, ..GRPO };
    let cispo = Objective { clip_low: 10.0, clip_high: 0.3, surrogate: Surrogate::Cispo, ..GRPO };
    for (name, objective, advantage, average) in [
        ("dapo", Objective { clip_high: 0.28, ..GRPO }, Advantage::Std, LossAverage::Token),
        ("dr-grpo", GRPO, Advantage::Mean, LossAverage::Constant),
        ("gspo", gspo, Advantage::Std, LossAverage::Sequence),
        ("cispo", cispo, Advantage::Std, LossAverage::Token),
        ("v3.2", v3_2, Advantage::Mean, LossAverage::Sequence),
    ] {
        let advantages = advantages(&rewards, advantage);
        let weights = token_weights(&lengths, &advantages, average, 15);
        let (golden_loss, golden_derivatives) = (get(&format!("{name}.loss"))[0], get(&format!("{name}.grad")));
        let (mut loss, mut low, mut high, mut free) = (0.0, 0, 0, 0);
        for (i, &length) in lengths.iter().enumerate() {
            let row = i * width..i * width + length;
            let log_ratio = row.clone().map(|at| new[at] - old[at]).sum::<f64>() / length as f64;
            let sample = Sample { weight: weights[i], advantage: advantages[i].unwrap(), log_ratio };
            if objective.off_policy_delta.is_some() {
                assert_eq!(objective.is_masked(sample), kept[i] == 0.0, "{name}: sample {i}");
            }
            for at in row {
                let token = objective.token(sample, new[at], old[at], reference[at]);
                loss += weights[i] * token.loss;
                let derivative = weights[i] * token.dloss_dlogprob;
                let golden = golden_derivatives[at];
                assert!((derivative - golden).abs() <= GRPO_TOLERANCE, "{name}: {derivative} {golden}");
                match token.clipped {
                    Some(Side::Low) => low += 1,
                    Some(Side::High) => high += 1,
                    None => free += 1,
                }
            }
        }
        assert!((loss - golden_loss).abs() <= GRPO_TOLERANCE, "{name}: {loss} {golden_loss}");
        let one_sided = objective.surrogate == Surrogate::Cispo;
        assert!(high > 0 && free > 0 && (low > 0 || one_sided), "{name}: a fixture that clips nothing shows little");
    }
    assert!(kept.contains(&0.0) && kept.contains(&1.0));
}

#[test]
fn gates_of_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/balance");
    let cases: Value = serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let tensors = Checkpoint::open(folder.join("gate.safetensors")).unwrap();
    let bytes = fs::read(folder.join("gate.safetensors")).unwrap();
    for (name, case) in cases.as_object().unwrap() {
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let v2 = case["scoring_func"] == "softmax";
        let config = router::Config {
            experts: size("n_routed_experts"),
            top_k: size("num_experts_per_tok"),
            groups: size("n_group"),
            top_groups: size("topk_group"),
            scoring: if v2 { router::Scoring::Softmax } else { router::Scoring::Sigmoid },
            group_score: if v2 { router::GroupScore::Max } else { router::GroupScore::SumTop2 },
            normalise: case["norm_topk_prob"].as_bool().unwrap(),
            scale: case["routed_scaling_factor"].as_f64().unwrap() as f32,
        };
        let f32s = |key: &str| tensors.read_f32(&format!("{name}.{key}")).unwrap();
        let f64s = |key: &str| read_f64(&bytes, &format!("{name}.{key}")).unwrap();
        let cpu = Cpu::new(1).unwrap();
        // V2 has no bias.
        let (logits, bias) = (f32s("logits"), (!v2).then(|| f32s("bias")));
        let tokens = logits.len() / config.experts;
        let mut scores = vec![0.0; logits.len()];
        let (mut ids, mut weights) = (vec![0; tokens * config.top_k], vec![0.0; tokens * config.top_k]);
        router::route(&cpu, &logits, bias.as_deref(), &config, &mut scores, &mut ids, &mut weights);

        // The fixture lists a token's experts in ascending order; a place in it for each of ours.
        let golden_ids: Vec<u32> =
            tensors.read_i64(&format!("{name}.ids")).unwrap().into_iter().map(|id| id as u32).collect();
        let place = |i: usize| {
            let row = i / config.top_k * config.top_k;
            row + golden_ids[row..row + config.top_k].iter().position(|&id| id == ids[i]).expect("the same experts")
        };
        let (golden_weights, projection) = (f32s("weights"), f32s("projection"));
        let dweights: Vec<f32> = (0..ids.len()).map(|i| projection[place(i)]).collect();
        // A few f32 roundings of numbers up to 2.5.
        let expected: Vec<f64> = (0..ids.len()).map(|i| f64::from(golden_weights[place(i)])).collect();
        assert_close(name, &weights, &expected, 1e-6);
        let mut dlogits = vec![0.0; logits.len()];
        router::backward(&cpu, &scores, &ids, &dweights, &config, &mut dlogits);
        let expected: Vec<f64> = f32s("weights_grad").into_iter().map(f64::from).collect();
        assert_close(name, &dlogits, &expected, 1e-6);

        // The loss is about 0.01, where an f32 rounding is 1e-9.
        let sequences = tensors.shape(&format!("{name}.logits")).unwrap()[0];
        let length = tokens / sequences;
        let spans: Vec<Range<usize>> = (0..sequences).map(|s| s * length..(s + 1) * length).collect();
        let alpha = (case["alpha"].as_f64().unwrap() / sequences as f64) as f32;
        let loss = router::balance_loss(&cpu, &scores, &ids, &spans, &config, alpha);
        assert_close(name, &[loss as f32], &f64s("balance_loss"), 1e-7);
        let mut dlogits = vec![0.0; logits.len()];
        router::balance_loss_backward(&cpu, &scores, &ids, &spans, &config, alpha, &mut dlogits);
        assert_close(name, &dlogits, &f64s("balance_grad"), 1e-7);
    }
}

/// Golden logits differ by 2.2e-6 between f32 and f64, gradients by 2.6e-6 of a tensor's largest entry; two f32
/// implementations by up to twice that. What a reader may get wrong moves a logit by 0.28 (golden/README.md).
const MTP_TOLERANCE: f64 = 2e-5;
const MTP_GRAD_TOLERANCE: f64 = 5e-5;

#[test]
fn multi_token_prediction_of_torch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/mtp");
    let golden = Checkpoint::open(folder.join("golden.safetensors")).unwrap();
    let golden_grads = Checkpoint::open(folder.join("golden_grads.safetensors")).unwrap();
    let wide = |name: &str| golden.read_f32(name).unwrap().into_iter().map(f64::from).collect::<Vec<_>>();
    let ids: Vec<u32> = golden.read_i64("input_ids").unwrap().into_iter().map(|id| id as u32).collect();
    let length = golden.shape("input_ids").unwrap()[1];
    let sequences: Vec<Sequence> =
        ids.chunks(length).map(|ids| Sequence { ids: ids.to_vec(), first_target: 1 }).collect();

    let ops = CpuOps::with_threads(2).unwrap();
    let (model, params) = load(&ops, &Checkpoint::open(&folder).unwrap(), None).unwrap();
    let batch = Batch::sequences(ids.chunks(length).map(|ids| &ids[..length - 1]));
    let mut tape = Tape::inference(&ops);
    let hidden = model.forward(&mut tape, &params, &batch, &mut Past::Within(batch.spans.clone())).unwrap();
    let (second, _) = model.mtp(&mut tape, &params, &hidden, &batch).unwrap().unwrap();
    let rows: Vec<u32> = (0..second.rows as u32).collect();
    let logits = tape.logits(&second, model.head(&params), &rows).unwrap();
    assert_close("mtp logits", &ops.download(logits.value()), &wide("mtp_logits"), MTP_TOLERANCE);

    // One lane or two, one micro-batch or several.
    for (lanes, micro_batch_tokens) in [(1, 100), (1, 1), (2, 100)] {
        let mut lanes = Lanes::new(&CpuOps::with_threads(2).unwrap(), lanes).unwrap();
        let mean = |targets: usize| 1.0 / targets as f32;
        let targets = sequences.iter().map(Sequence::targets).sum();
        let seconds = sequences.iter().map(Sequence::mtp_targets).sum();
        let mtp_weight = 0.3 * mean(seconds);
        let pass = Pass { mtp_weight, ..Pass::new(micro_batch_tokens) };
        let (stats, statistics) =
            lanes.gradient(&model, &params, &sequences, pass, &BatchLoss::Constant(-mean(targets))).unwrap();
        let loss = -stats.iter().flat_map(|s| &s.logprob).map(|&l| f64::from(l)).sum::<f64>() / targets as f64;
        let mtp_loss = statistics.mtp_loss / seconds as f64;
        assert_close(
            "losses",
            &[loss as f32, mtp_loss as f32],
            &[wide("loss"), wide("mtp_loss")].concat(),
            MTP_TOLERANCE,
        );

        let mut compared = 0;
        for param in params.iter().filter(|param| param.trainable) {
            let name = &param.spec.name;
            let theirs: Vec<f64> = golden_grads.read_f32(name).unwrap().into_iter().map(f64::from).collect();
            let largest = theirs.iter().fold(0f64, |m, x| m.max(x.abs()));
            assert!(largest > 0.0, "{name}: a fixture that moves nothing shows nothing");
            let ours = rows_of(&ops, &param.spec, lanes.grads().unwrap().get(param.id).unwrap());
            assert_close(name, &ours, &theirs, MTP_GRAD_TOLERANCE * largest);
            compared += 1;
        }
        assert_eq!(compared, golden_grads.tensor_names().count());
        // The router of the module is counted like any other: each row of ten has top-3.
        let visits: Vec<u64> = statistics.expert_counts.iter().map(|counts| counts.iter().sum()).collect();
        assert_eq!(visits, [2 * 11 * 3, 2 * 10 * 3]);
        assert_eq!(model.router_biases().len(), 2);
    }
}

fn assert_close(name: &str, ours: &[f32], golden: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), golden.len(), "{name}");
    for (i, (&ours, golden)) in ours.iter().zip(golden).enumerate() {
        assert!((f64::from(ours) - golden).abs() <= tolerance, "{name}: entry {i}: {ours} {golden}");
    }
}
