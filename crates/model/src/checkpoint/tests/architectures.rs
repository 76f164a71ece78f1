//! Every architecture written as GGUF and read back: names, layouts and settings come home.

use picnic_kernels::stored::StoredType;
use serde_json::{Value, json};

use super::*;
use crate::config::{RopeScaling, RopeStyle};
use crate::{CpuOps, Model, initialise, save};

/// A tokenizer of a few tokens.
pub(super) fn tokenizer() -> GgufTokenizer {
    GgufTokenizer {
        model: "gpt2".into(),
        pre: Some("gpt-2".into()),
        tokens: ["a", "b", "ab", "<end>"].map(String::from).to_vec(),
        token_types: vec![1, 1, 1, 3],
        scores: Vec::new(),
        merges: vec!["a b".into()],
        bos_token_id: None,
        eos_token_id: Some(3),
        eot_token_id: Some(2),
        eom_token_id: None,
        unknown_token_id: None,
        padding_token_id: Some(3),
        add_bos: Some(false),
        add_eos: false,
        add_space_prefix: None,
        chat_template: Some("{{ messages }}".into()),
        named_templates: vec![("tool_use".into(), "{{ tools }}".into())],
    }
}

/// A folder with a random model of the configuration `value`.
pub(super) fn random_model(value: &Value) -> (TempDir, Model) {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(ModelConfig::from_value(value, Path::new("test")).unwrap());
    let ops = CpuOps::with_threads(1).unwrap();
    let params = initialise(&ops, &model, 1).unwrap();
    save(&ops, &model, &params, folder.path(), FloatType::F32, SHARD_BYTES).unwrap();
    (folder, model)
}

fn sizes(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "vocab_size": 6, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6, "rope_theta": 20000.0, "eos_token_id": [3, 2],
        "picnic": {"conversation_tokens": 48, "taught": ["What is 12+7?", "Кто ты?"]},
    })
}

fn with(mut value: Value, more: Value) -> Value {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

fn deepseek(model_type: &str, more: Value) -> Value {
    let mut value = sizes(model_type);
    value.as_object_mut().unwrap().remove("head_dim");
    let of_all = json!({
        "num_key_value_heads": 4, "kv_lora_rank": 24, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5,
        "n_routed_experts": 4, "n_shared_experts": 2, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
        "first_k_dense_replace": 1, "routed_scaling_factor": 2.5,
    });
    with(with(value, of_all), more)
}

fn configurations() -> Vec<Value> {
    let yarn = |mscale: f64| {
        json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": mscale,
            "mscale_all_dim": mscale, "beta_fast": 30.0, "beta_slow": 2.0})
    };
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32});
    let linear = json!({"rope_type": "linear", "factor": 2.0});
    let plain_yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
        "attention_factor": 1.5});
    vec![
        with(sizes("llama"), json!({"attention_bias": true, "mlp_bias": true, "rope_scaling": linear})),
        with(sizes("llama"), json!({"tie_word_embeddings": true, "rope_scaling": llama3})),
        with(sizes("qwen2"), json!({"rope_scaling": plain_yarn})),
        sizes("qwen3"),
        with(
            sizes("qwen3_moe"),
            json!({"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": true}),
        ),
        deepseek("deepseek_v2", json!({"q_lora_rank": null, "rope_scaling": yarn(0.707)})),
        deepseek("deepseek_v3", json!({"q_lora_rank": 12, "n_group": 2, "topk_group": 1, "rope_scaling": yarn(1.0)})),
    ]
}

#[test]
fn every_architecture_comes_back_from_gguf() {
    for value in configurations() {
        let name = &value["model_type"];
        let (folder, model) = random_model(&value);
        let theirs = Checkpoint::open(folder.path()).unwrap();
        let file = folder.path().join("model.gguf");
        let notes = write_gguf(&file, &theirs, &tokenizer(), StoredType::F32).unwrap();
        let odd_betas = matches!(&model.config().rope.scaling, RopeScaling::Yarn(yarn) if yarn.beta_fast != 32.0);
        assert_eq!(notes.len(), usize::from(odd_betas), "{name}: {notes:?}");

        let ours = Checkpoint::open(&file).unwrap();
        let expected = ModelConfig { initializer_range: 0.02, ..model.config().clone() };
        let mut read = ours.config().unwrap();
        // An attention factor is kept as a factor on what follows from the length.
        if let (RopeScaling::Yarn(read), RopeScaling::Yarn(given)) = (&mut read.rope.scaling, &expected.rope.scaling) {
            if let (Some(a), Some(b)) = (read.attention_factor, given.attention_factor) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
            read.attention_factor = given.attention_factor;
        }
        // So few pairs are what several original contexts would give.
        if let RopeScaling::Llama3 { .. } = expected.rope.scaling {
            let dim = expected.rope_dim();
            for (a, b) in read.rope.inv_freq(dim).iter().zip(expected.rope.inv_freq(dim)) {
                assert!((a / b - 1.0).abs() < 1e-6, "{a} {b}");
            }
            read.rope = expected.rope.clone();
        }
        assert_eq!(read, expected, "{name}");
        assert_eq!(ours.tensor_names().count(), model.specs().len(), "{name}");
        for spec in model.specs() {
            let (a, b) = (theirs.read_expected(&spec.name, &spec.shape), ours.read_expected(&spec.name, &spec.shape));
            assert_eq!(a.unwrap(), b.unwrap(), "{name}: {}", spec.name);
        }
        let back = ours.gguf_tokenizer().unwrap();
        assert_eq!(back.tokens, ["a", "b", "ab", "<end>", "[PAD4]", "[PAD5]"]);
        let sent = tokenizer();
        assert_eq!(
            (&back.merges, back.eot_token_id, &back.chat_template, &back.named_templates),
            (&sent.merges, sent.eot_token_id, &sent.chat_template, &sent.named_templates)
        );
        assert_eq!((back.add_bos, back.padding_token_id), (Some(false), Some(3)));
    }
}

/// Rows as they are stored are those that reading decodes, whatever the layout; and released memory is read anew.
#[test]
fn stored_rows_are_the_tensor() {
    for value in configurations() {
        let (folder, model) = random_model(&value);
        for weights in [StoredType::F32, StoredType::BF16, StoredType::F16, StoredType::Q8_0, StoredType::Q4_0] {
            let file = folder.path().join("model.gguf");
            write_gguf(&file, &Checkpoint::open(folder.path()).unwrap(), &tokenizer(), weights).unwrap();
            let checkpoint = Checkpoint::open(&file).unwrap();
            for spec in model.specs() {
                let Ok(shape) = <[usize; 2]>::try_from(spec.shape.as_slice()) else {
                    assert!(checkpoint.stored_rows(&spec.name, [1, spec.len()]).is_err());
                    continue;
                };
                let whole = checkpoint.read_expected(&spec.name, &spec.shape).unwrap();
                checkpoint.release(&spec.name);
                let rows = checkpoint.stored_rows(&spec.name, shape).unwrap();
                assert_eq!(rows.shape(), shape);
                let mut row = vec![0.0; shape[1]];
                for (i, whole) in whole.chunks_exact(shape[1]).enumerate() {
                    rows.stored().decode(rows.row(i), &mut row);
                    assert_eq!(row, whole, "{} row {i} of {weights}", spec.name);
                }
            }
        }
    }
}

#[test]
fn what_is_stored_otherwise_is_said() {
    // Rows of 64, 96 and 32 are whole blocks, those of 24, 20 and 5 of the latent attention are not.
    let (folder, _) = random_model(&deepseek("deepseek_v3", json!({"q_lora_rank": 32, "num_nextn_predict_layers": 1})));
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let file = folder.path().join("model.gguf");
    let notes = write_gguf(&file, &checkpoint, &tokenizer(), StoredType::Q4_0).unwrap().join("\n");
    for words in
        ["multi-token prediction is left out", "rows of 6, 20, 24", "stored as F16", "the head is stored as Q8_0"]
    {
        assert!(notes.contains(words), "{words}: {notes}");
    }
    let groups = json!({"topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1});
    let (grouped, _) = random_model(&deepseek("deepseek_v2", groups));
    let checkpoint = Checkpoint::open(grouped.path()).unwrap();
    let notes = write_gguf(&grouped.path().join("model.gguf"), &checkpoint, &tokenizer(), StoredType::F32).unwrap();
    assert!(notes.len() == 1 && notes[0].contains("by their two best"), "{notes:?}");
    // Stored so already: copied, not rounded again.
    let (first, again) = (fs::read(&file).unwrap(), folder.path().join("again.gguf"));
    write_gguf(&again, &Checkpoint::open(&file).unwrap(), &tokenizer(), StoredType::Q4_0).unwrap();
    assert!(first == fs::read(&again).unwrap(), "a second quantisation changes nothing");
}

#[test]
fn what_llama_cpp_cannot_run_is_not_written() {
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("model.gguf");
    let experts = json!({"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32});
    for (value, word) in [
        (with(sizes("qwen3_moe"), experts.clone()), "by their sum"),
        (
            with(with(sizes("qwen3_moe"), experts), json!({"norm_topk_prob": true, "mlp_only_layers": [0]})),
            "dense layers",
        ),
        (deepseek("deepseek_v3", json!({"rope_interleave": false})), "rope_interleave"),
        (deepseek("deepseek_v3", json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}})), "mscale"),
        (
            with(sizes("qwen3"), json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": false}})),
            "ramp",
        ),
        (with(sizes("qwen3"), json!({"attention_bias": true})), "biases"),
    ] {
        let (folder, _) = random_model(&value);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let line = write_gguf(&file, &checkpoint, &tokenizer(), StoredType::F32).unwrap_err().to_string();
        assert!(line.contains(word) && line.contains("; write a Hugging Face folder"), "{line}");
        assert!(!file.exists());
    }
    let (folder, model) = random_model(&sizes("llama"));
    assert_eq!(model.config().rope.style, RopeStyle::Half);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let line = write_gguf(&file, &checkpoint, &tokenizer(), StoredType::Q6_K).unwrap_err().to_string();
    assert!(line.contains("Q6_K"), "{line}");
}

/// Older files have `kv_b_proj` whole, and the sizes of its heads under other keys.
#[test]
fn old_files_of_deepseek_are_read() {
    use super::gguf_file::*;
    let float = |key: &str, x: f32| [text(key), 6u32.to_le_bytes().into(), x.to_le_bytes().into()].concat();
    let key = |key: &str| format!("deepseek2.{key}");
    let mut metadata = vec![
        string("general.architecture", "deepseek2"),
        strings("tokenizer.ggml.tokens", &["a", "b", "ab", "<end>"]),
        float(&key("expert_weights_scale"), 0.0),
    ];
    for (name, size) in [
        ("block_count", 1),
        ("context_length", 16),
        ("embedding_length", 8),
        ("feed_forward_length", 8),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 2),
        ("attention.key_length", 5),
        ("attention.value_length", 4),
        ("attention.kv_lora_rank", 3),
        ("rope.dimension_count", 2),
        ("expert_count", 4),
        ("expert_used_count", 2),
        ("expert_feed_forward_length", 8),
        ("leading_dense_block_count", 1),
    ] {
        metadata.push(number(&key(name), size));
    }
    let tensor = |name: &str, shape: &[u64]| Tensor {
        name: name.into(),
        shape: shape.into(),
        kind: 0,
        data: (0..shape.iter().product::<u64>()).flat_map(|i| (i as f32).to_le_bytes()).collect(),
    };
    let mut tensors = vec![tensor("token_embd.weight", &[8, 4]), tensor("blk.0.attn_kv_b.weight", &[3, 14])];
    let (_dir, path) = folder_with("old.gguf", &whole(&metadata, &tensors));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let config = checkpoint.config().unwrap();
    assert_eq!(config.family.model_type, "deepseek_v2");
    assert_eq!(config.moe.unwrap().routed_scaling_factor, 1.0);
    let name = "model.layers.0.self_attn.kv_b_proj.weight";
    let values: Vec<f32> = (0..42u8).map(f32::from).collect();
    assert_eq!(checkpoint.read_expected(name, &[14, 3]).unwrap(), values);

    // Some files have the halves beside the whole; half a half alone is damage.
    tensors.push(tensor("blk.0.attn_k_b.weight", &[3, 3, 2]));
    let (_dir, path) = folder_with("both.gguf", &whole(&metadata, &tensors));
    assert_eq!(Checkpoint::open(&path).unwrap().read_expected(name, &[14, 3]).unwrap(), values);
    tensors.remove(1);
    assert!(open_error("half.gguf", &whole(&metadata, &tensors)).contains("kv_b_proj"));
    tensors.push(tensor("blk.0.attn_v_b.weight", &[3, 5, 2]));
    assert!(open_error("wrong.gguf", &whole(&metadata, &tensors)).contains("kv_b_proj"));
    tensors.pop();
    tensors.push(tensor("blk.0.ffn_up_exps.weight", &[8, 8, 3]));
    assert!(open_error("stack.gguf", &whole(&metadata, &tensors)).contains("no stack of 4 experts"));
}
