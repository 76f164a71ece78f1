//! Models that do not learn keep their weights as they are stored: the same bits as the decoded weights give, in the
//! bytes of the file.

use picnic_model::checkpoint::{Checkpoint, FloatType, GgufTokenizer, SHARD_BYTES, write_gguf};
use picnic_model::config::ModelConfig;
use picnic_model::kernels::stored::StoredType;
use picnic_model::kernels::{Cpu, Isa, Team};
use picnic_model::layers::Past;
use picnic_model::{Batch, CpuOps, Model, ParamStore, Tape, WeightForm, initialise, load, save};
use serde_json::json;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name)
}

/// The bits of the logits of two sequences, of 13 and 7 tokens.
fn logits(ops: &CpuOps, checkpoint: &Checkpoint, weights: Option<WeightForm>) -> Vec<u32> {
    values(ops, checkpoint, weights).iter().map(|x| x.to_bits()).collect()
}

fn values(ops: &CpuOps, checkpoint: &Checkpoint, weights: Option<WeightForm>) -> Vec<f32> {
    let (model, params) = load(ops, checkpoint, weights).unwrap();
    forward(ops, &model, &params)
}

fn forward(ops: &CpuOps, model: &Model, params: &ParamStore<CpuOps>) -> Vec<f32> {
    let vocabulary = model.config().vocab_size as u32;
    let ids: Vec<u32> = (0..20).map(|i| (i * 7 + 3) % vocabulary).collect();
    let batch = Batch::sequences([&ids[..13], &ids[13..]]);
    let mut tape = Tape::inference(ops);
    let past = &mut Past::Within(batch.spans.clone());
    let hidden = model.forward(&mut tape, params, &batch, past).unwrap();
    let rows: Vec<u32> = (0..20).collect();
    let logits = tape.logits(&hidden, model.head(params), &rows).unwrap();
    logits.value().to_vec()
}

#[test]
fn stored_weights_give_the_bits_of_decoded_ones() {
    for name in ["llama", "llama31", "qwen3_moe", "deepseek_v3", "deepseek_v3_fp8"] {
        let checkpoint = Checkpoint::open(golden(name)).unwrap();
        let decoded = logits(&CpuOps::with_threads(1).unwrap(), &checkpoint, None);
        for isa in Isa::available() {
            let ops = CpuOps::new(Cpu { isa, team: Team::new(2).unwrap() });
            assert!(logits(&ops, &checkpoint, Some(WeightForm::Exact)) == decoded, "{name} on {}", isa.name());
        }
    }
}

/// A small model of whole blocks, in a folder.
fn small(ops: &CpuOps) -> tempfile::TempDir {
    let config = json!({
        "model_type": "llama", "vocab_size": 48, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
    });
    saved(ops, &config)
}

/// A fresh model in a folder.
fn saved(ops: &CpuOps, config: &serde_json::Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = ModelConfig::from_value(config, Path::new("test")).unwrap();
    let model = Model::new(config);
    let params = initialise(ops, &model, 5).unwrap();
    save(ops, &model, &params, folder.path(), FloatType::F32, SHARD_BYTES).unwrap();
    folder
}

/// Integer products have bits of their own, which neither instruction set nor threads nor neighbours change, and are as
/// near to the exact ones as their rounding.
#[test]
fn integer_products_are_near_and_the_same_everywhere() {
    let ops = CpuOps::with_threads(1).unwrap();
    let folder = small(&ops);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let exact = values(&ops, &checkpoint, None);
    let largest = exact.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let mut sizes = vec![load(&ops, &checkpoint, Some(WeightForm::Exact)).unwrap().1.bytes(&ops)];
    for (form, share) in [(WeightForm::Q8, 0.03), (WeightForm::Q4, 0.4)] {
        let rounded = values(&ops, &checkpoint, Some(form));
        let furthest = exact.iter().zip(&rounded).fold(0f32, |furthest, (a, b)| furthest.max((a - b).abs()));
        assert!(furthest > 0.0 && furthest < share * largest, "{form:?}: off by {furthest} of {largest}");
        let bits: Vec<u32> = rounded.iter().map(|x| x.to_bits()).collect();
        for isa in Isa::available() {
            for threads in [1, 3] {
                let ops = CpuOps::new(Cpu { isa, team: Team::new(threads).unwrap() });
                assert!(logits(&ops, &checkpoint, Some(form)) == bits, "{form:?} on {}", isa.name());
            }
        }
        sizes.push(load(&ops, &checkpoint, Some(form)).unwrap().1.bytes(&ops));
    }
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
}

/// What routes is exact, and so are rows that are no whole blocks.
#[test]
fn some_weights_are_never_rounded() {
    let ops = CpuOps::with_threads(1).unwrap();
    // Experts; heads of 20 values, so that the rows of what follows attention have 40.
    let config = json!({
        "model_type": "qwen3_moe", "vocab_size": 48, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 20, "num_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "norm_topk_prob": true, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
    });
    let folder = saved(&ops, &config);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let [(_, exact), (_, rounded)] =
        [WeightForm::Exact, WeightForm::Q4].map(|form| load(&ops, &checkpoint, Some(form)).unwrap());
    let mut kept = Vec::new();
    for (a, b) in exact.iter().zip(rounded.iter()).filter(|(a, _)| a.spec.product().is_some()) {
        let same = a.to_rows(&ops) == b.to_rows(&ops);
        kept.extend(same.then_some(a.spec.name.as_str()));
    }
    assert_eq!(kept, ["model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.gate.weight"]);
}

/// A copy of weights that learn is what loading them from a file gives, in every form: logits and bytes, experts, router
/// and tied embeddings included.
#[test]
fn a_copy_in_a_form_is_what_a_file_gives() {
    let ops = CpuOps::with_threads(2).unwrap();
    let experts = json!({
        "model_type": "qwen3_moe", "vocab_size": 48, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 20, "num_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "norm_topk_prob": true, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
    });
    let tied = json!({
        "model_type": "qwen2", "vocab_size": 48, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 1,
    });
    for config in [experts, tied] {
        let folder = saved(&ops, &config);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let (model, learning) = load(&ops, &checkpoint, None).unwrap();
        for form in [WeightForm::Exact, WeightForm::Q8, WeightForm::Q4] {
            let copy = learning.copy_in_form(&ops, form).unwrap();
            let bits: Vec<u32> = forward(&ops, &model, &copy).iter().map(|x| x.to_bits()).collect();
            assert!(bits == logits(&ops, &checkpoint, Some(form)), "{form:?} of {}", config["model_type"]);
            assert_eq!(copy.bytes(&ops), load(&ops, &checkpoint, Some(form)).unwrap().1.bytes(&ops), "{form:?}");
            assert!(copy.iter().all(|param| !param.trainable));
        }
    }
}

/// In 8 and 4 bits: loaded frozen, its values are those that the file decodes to.
#[test]
fn quantised_files_load_as_they_are() {
    let ops = CpuOps::with_threads(2).unwrap();
    let folder = small(&ops);
    let source = Checkpoint::open(folder.path()).unwrap();
    let tokenizer = GgufTokenizer {
        model: "gpt2".into(),
        pre: None,
        tokens: (0..48).map(|i| format!("t{i}")).collect(),
        token_types: vec![1; 48],
        scores: Vec::new(),
        merges: Vec::new(),
        bos_token_id: None,
        eos_token_id: Some(1),
        eot_token_id: None,
        eom_token_id: None,
        unknown_token_id: None,
        padding_token_id: None,
        add_bos: None,
        add_eos: false,
        add_space_prefix: None,
        chat_template: None,
        named_templates: Vec::new(),
    };
    for weights in [StoredType::Q8_0, StoredType::Q4_0, StoredType::F16] {
        let path = folder.path().join(format!("{weights}.gguf"));
        write_gguf(&path, &source, &tokenizer, weights).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        let decoded = logits(&ops, &file, None);
        assert!(logits(&ops, &file, Some(WeightForm::Exact)) == decoded, "{weights}");
        let (_, frozen) = load(&ops, &file, Some(WeightForm::Exact)).unwrap();
        let size = std::fs::metadata(&path).unwrap().len() as usize;
        assert!(frozen.bytes(&ops) <= size + size / 10, "{weights}: {} of {size}", frozen.bytes(&ops));
    }
}
