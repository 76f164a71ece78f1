//! Models that do not learn keep their weights as they are stored: the same bits as the decoded weights give, in the
//! bytes of the file.

use picnic_model::checkpoint::{Checkpoint, FloatType, GgufTokenizer, SHARD_BYTES, write_gguf};
use picnic_model::config::ModelConfig;
use picnic_model::kernels::stored::StoredType;
use picnic_model::kernels::{Cpu, Isa, Team};
use picnic_model::layers::Past;
use picnic_model::{Batch, CpuOps, Model, Tape, initialise, load, save};
use serde_json::json;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name)
}

fn logits(ops: &CpuOps, checkpoint: &Checkpoint, trainable: bool) -> Vec<u32> {
    let (model, params) = load(ops, checkpoint, trainable).unwrap();
    let vocabulary = model.config().vocab_size as u32;
    let ids: Vec<u32> = (0..20).map(|i| (i * 7 + 3) % vocabulary).collect();
    let batch = Batch::sequences([&ids[..13], &ids[13..]]);
    let mut tape = Tape::inference(ops);
    let past = &mut Past::Within(batch.spans.clone());
    let hidden = model.forward(&mut tape, &params, &batch, past).unwrap();
    let rows: Vec<u32> = (0..20).collect();
    let logits = tape.logits(&hidden, model.head(&params), &rows).unwrap();
    logits.value().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn stored_weights_give_the_bits_of_decoded_ones() {
    for name in ["llama", "llama31", "qwen3_moe", "deepseek_v3", "deepseek_v3_fp8"] {
        let checkpoint = Checkpoint::open(golden(name)).unwrap();
        let decoded = logits(&CpuOps::with_threads(1).unwrap(), &checkpoint, true);
        for isa in Isa::available() {
            let ops = CpuOps::new(Cpu { isa, team: Team::new(2).unwrap() });
            assert!(logits(&ops, &checkpoint, false) == decoded, "{name} on {}", isa.name());
        }
    }
}

/// A model of whole blocks in 8 and 4 bits: loaded frozen, its values are those that the file decodes to.
#[test]
fn quantised_files_load_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "llama", "vocab_size": 48, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
    });
    let ops = CpuOps::with_threads(2).unwrap();
    let config = ModelConfig::from_value(&config, Path::new("test")).unwrap();
    let model = Model::new(config);
    let params = initialise(&ops, &model, 5).unwrap();
    save(&ops, &model, &params, folder.path(), FloatType::F32, SHARD_BYTES).unwrap();
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
        let decoded = logits(&ops, &file, true);
        assert!(logits(&ops, &file, false) == decoded, "{weights}");
        let (_, frozen) = load(&ops, &file, false).unwrap();
        let size = std::fs::metadata(&path).unwrap().len() as usize;
        assert!(frozen.bytes(&ops) <= size + size / 10, "{weights}: {} of {size}", frozen.bytes(&ops));
    }
}
