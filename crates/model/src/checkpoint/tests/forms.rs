//! Forms in which other tools save: names, fused and stacked tensors, FP8, heads that the configuration denies; and what
//! is refused by name.

use serde_json::{Value, json};

use super::*;

/// A folder with `tensors`, each F32 and counting its own values, and a `config.json`.
fn folder(tensors: &[(&str, &[usize])], config: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        data.extend((0..shape.iter().product::<usize>()).flat_map(|i| (i as f32).to_le_bytes()));
        header.insert((*name).into(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let bytes = safetensors_bytes(&Value::Object(header).to_string(), &data);
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

fn small() -> Value {
    config().to_json()
}

#[test]
fn other_prefixes_are_read_under_our_names() {
    for (prefix, head) in [
        ("", "lm_head.weight"),
        ("language_model.model.", "language_model.lm_head.weight"),
        ("model.language_model.", "lm_head.weight"),
        ("transformer.", "transformer.lm_head.weight"),
        ("_orig_mod.model.", "_orig_mod.lm_head.weight"),
    ] {
        let [embedding, norm] =
            ["embed_tokens.weight", "layers.0.input_layernorm.weight"].map(|n| format!("{prefix}{n}"));
        let dir = folder(&[(&embedding, &[4, 8]), (&norm, &[8]), (head, &[5, 8]), ("visual.x", &[1])], &small());
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let names: Vec<&str> = checkpoint.tensor_names().collect();
        let wanted =
            ["lm_head.weight", "model.embed_tokens.weight", "model.layers.0.input_layernorm.weight", "visual.x"];
        assert_eq!(names, wanted, "{prefix}");
        let notes = checkpoint.notes();
        assert!(notes.len() == 1 && notes[0].contains(&embedding), "{notes:?}");
    }
    // Ours, ambiguous, or without an embedding: left alone, silently.
    let cases: [&[&str]; 3] = [
        &["model.embed_tokens.weight", "model.layers.9.embed_tokens.weight"],
        &["m.model.embed_tokens.weight", "v.model.embed_tokens.weight"],
        &["layers.0.input_layernorm.weight"],
    ];
    for names in cases {
        let tensors: Vec<(&str, &[usize])> = names.iter().map(|&name| (name, &[4, 8][..])).collect();
        let dir = folder(&tensors, &json!({}));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensor_names().collect::<Vec<_>>(), names);
        assert!(!checkpoint.notes().iter().any(|note| note.contains("named otherwise")));
    }
}

#[test]
fn a_tied_head_without_its_embedding_is_both() {
    let mut config = small();
    for (tied, shown) in [(true, "model.embed_tokens.weight"), (false, "lm_head.weight")] {
        config["tie_word_embeddings"] = json!(tied);
        let dir = folder(&[("lm_head.weight", &[4, 8])], &config);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensor_names().collect::<Vec<_>>(), [shown]);
        assert_eq!(checkpoint.notes().len(), usize::from(tied));
        assert_eq!(checkpoint.config().unwrap().tie_word_embeddings, tied);
    }
}

#[test]
fn a_tied_head_alone_is_found_under_any_prefix() {
    let mut config = small();
    config["tie_word_embeddings"] = json!(true);
    let dir = folder(&[("layers.0.input_layernorm.weight", &[8]), ("lm_head.weight", &[4, 8])], &config);
    let names = ["model.embed_tokens.weight", "model.layers.0.input_layernorm.weight"];
    assert_eq!(Checkpoint::open(dir.path()).unwrap().tensor_names().collect::<Vec<_>>(), names);
}

#[test]
fn ends_outside_the_rows_are_left_out_with_a_note() {
    for (ids, kept, listed) in
        [(json!([2, 99]), vec![2], "99"), (json!([-1, 3]), vec![3], "-1"), (json!(1u64 << 40), vec![], "1099511627776")]
    {
        let mut config = small();
        config["eos_token_id"] = ids;
        let dir = folder(&[("model.embed_tokens.weight", &[4, 8]), ("lm_head.weight", &[4, 8])], &config);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.config().unwrap().eos_token_ids, kept);
        assert!(matches!(checkpoint.notes(), [note] if note.ends_with(listed)), "{:?}", checkpoint.notes());
    }
}

#[test]
fn what_a_download_left_beside_the_weights_is_named() {
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "chat_template.jinja"] {
        for (start, what) in [
            ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS pointer"),
            ("<!DOCTYPE html><title>404</title>", "web page"),
            ("Entry not found", "error message"),
        ] {
            let dir = folder(&[("model.embed_tokens.weight", &[4, 8])], &small());
            fs::write(dir.path().join(name), start).unwrap();
            let line = Checkpoint::open(dir.path()).unwrap_err().to_string();
            assert!(line.contains(name) && line.contains(what), "{line}");
        }
    }
}

#[test]
fn fused_and_stacked_tensors_are_taken_apart() {
    let mut config = small();
    config["num_key_value_heads"] = json!(1);
    config["num_experts"] = json!(3);
    let dir = folder(
        &[
            ("model.layers.0.self_attn.qkv_proj.weight", &[16, 2]),
            ("model.layers.0.self_attn.qkv_proj.bias", &[16]),
            ("model.layers.0.mlp.gate_up_proj.weight", &[6, 2]),
            ("model.layers.1.mlp.experts.gate_up_proj", &[3, 4, 2]),
            ("model.layers.1.mlp.experts.down_proj", &[3, 2, 2]),
            ("model.layers.2.mlp.experts.7.down_proj.weight", &[2, 2]),
        ],
        &config,
    );
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let starts = |name: &str, shape: &[usize]| checkpoint.read_expected(name, shape).unwrap()[0];
    // Two heads of query, one of either other, four wide.
    assert_eq!(starts("model.layers.0.self_attn.q_proj.weight", &[8, 2]), 0.0);
    assert_eq!(starts("model.layers.0.self_attn.k_proj.weight", &[4, 2]), 16.0);
    assert_eq!(starts("model.layers.0.self_attn.v_proj.weight", &[4, 2]), 24.0);
    assert_eq!(starts("model.layers.0.self_attn.v_proj.bias", &[4]), 12.0);
    assert_eq!(starts("model.layers.0.mlp.gate_proj.weight", &[3, 2]), 0.0);
    assert_eq!(starts("model.layers.0.mlp.up_proj.weight", &[3, 2]), 6.0);
    assert_eq!(starts("model.layers.1.mlp.experts.2.gate_proj.weight", &[2, 2]), 16.0);
    assert_eq!(starts("model.layers.1.mlp.experts.2.up_proj.weight", &[2, 2]), 20.0);
    assert_eq!(starts("model.layers.1.mlp.experts.1.down_proj.weight", &[2, 2]), 4.0);
    assert_eq!(starts("model.layers.2.mlp.experts.7.down_proj.weight", &[2, 2]), 0.0);
    assert_eq!(checkpoint.tensor_names().count(), 4 + 2 + 2 + 9 + 1);

    for (name, shape) in [
        ("model.layers.0.self_attn.qkv_proj.weight", &[15, 2][..]),
        ("model.layers.0.mlp.gate_up_proj.weight", &[5, 2]),
        ("model.layers.1.mlp.experts.down_proj", &[4, 2, 2]),
        ("model.layers.1.mlp.experts.gate_up_proj", &[3, 0, 2]),
        ("model.layers.1.mlp.experts.gate_up_proj", &[6]),
    ] {
        let dir = folder(&[(name, shape)], &config);
        let line = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(line.contains(name) && line.contains("taken apart"), "{line}");
    }
}

#[test]
fn a_head_that_the_configuration_denies_is_kept() {
    let embedding = ("model.embed_tokens.weight", &[4, 8][..]);
    let mut config = small();
    for (tied, head, expected, note) in [
        (true, Some((4, 8)), true, None),
        (true, Some((3, 8)), false, Some("the file's own head")),
        (false, Some((4, 8)), false, None),
        (false, None, true, Some("no `lm_head.weight`")),
        (true, None, true, None),
    ] {
        config["tie_word_embeddings"] = json!(tied);
        let head = head.map(|(n, k)| [n, k]);
        let tensors: Vec<_> =
            [embedding].into_iter().chain(head.as_ref().map(|h| ("lm_head.weight", &h[..]))).collect();
        let dir = folder(&tensors, &config);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.config().unwrap().tie_word_embeddings, expected, "{tied} {head:?}");
        assert_eq!(checkpoint.notes().len(), usize::from(note.is_some()), "{:?}", checkpoint.notes());
        assert!(note.is_none_or(|note| checkpoint.notes()[0].contains(note)));
    }
}

#[test]
fn fp8_is_multiplied_by_the_scales_of_its_blocks() {
    // E4M3: 0x38 is 1, 0x40 is 2, 0x30 is 0.5. Blocks of 2 × 3 in a matrix of 3 × 4: odd shapes.
    let values = [0x38, 0x40, 0x30, 0x38, 0x38, 0x38, 0x38, 0x40, 0x38, 0x40, 0x30, 0x38];
    let expected = [1., 2., 0.5, 2., 1., 1., 1., 4., 4., 8., 2., 8.];
    let dir = |dtype: &str, scales: &[u8], shape: Value, block: Value| {
        let header = json!({
            "w.weight": {"dtype": "F8_E4M3", "shape": [3, 4], "data_offsets": [0, 12]},
            "w.weight_scale_inv": {"dtype": dtype, "shape": shape, "data_offsets": [12, 12 + scales.len()]},
        });
        let dir = tempfile::tempdir().unwrap();
        let bytes = safetensors_bytes(&header.to_string(), &[&values[..], scales].concat());
        fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let quantised = json!({"quant_method": "fp8", "weight_block_size": block});
        fs::write(dir.path().join("config.json"), json!({"quantization_config": quantised}).to_string()).unwrap();
        dir
    };
    let f32s: Vec<u8> = [1f32, 2., 4., 8.].iter().flat_map(|x| x.to_le_bytes()).collect();
    let bf16s: Vec<u8> = [1f32, 2., 4., 8.].iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect();
    for (dtype, scales) in [("F32", &f32s[..]), ("BF16", &bf16s), ("F8_E8M0", &[127, 128, 129, 130])] {
        let dir = dir(dtype, scales, json!([2, 2]), json!([2, 3]));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensor_names().collect::<Vec<_>>(), ["w.weight"]);
        assert_eq!(checkpoint.read_f32("w.weight").unwrap(), expected, "{dtype}");
        let rows = checkpoint.stored_rows("w.weight", [3, 4]).unwrap();
        let scales = rows.scales().unwrap();
        assert_eq!(
            (rows.row(2), scales.row(1), scales.row(2), scales.width()),
            (&values[8..], &[1., 2.][..], &[4., 8.][..], 3)
        );
    }
    // One scale for all; and scales that fit no blocks.
    let checkpoint = Checkpoint::open(dir("F32", &f32s[4..8], json!([]), json!([2, 3])).path()).unwrap();
    assert_eq!(checkpoint.read_f32("w.weight").unwrap()[..4], [2., 4., 1., 2.]);
    for (shape, block) in
        [(json!([2, 2]), json!([128, 128])), (json!([4]), json!([1, 1])), (json!([2, 2]), Value::Null)]
    {
        let dir = dir("F32", &f32s, shape, block);
        let line = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(line.contains("`w.weight`") && line.contains("weight_block_size"), "{line}");
    }
}

/// What vLLM and others write: `NAME_scale`, one for the tensor or one for each row.
#[test]
fn fp8_with_a_scale_for_each_row_or_for_all_is_multiplied_by_it() {
    let values = [0x38, 0x40, 0x38, 0x40];
    for (name, shape, scales, expected) in [
        ("w.weight_scale", json!([2, 1]), &[3f32, 5.][..], [3., 6., 5., 10.]),
        ("w.weight_scale", json!([2]), &[3., 5.], [3., 6., 5., 10.]),
        ("w.weight_scale_inv", json!([2, 1]), &[3., 5.], [3., 6., 5., 10.]),
        ("w.weight_scale", json!([]), &[3.], [3., 6., 3., 6.]),
        ("w.weight_scale", json!([1]), &[3.], [3., 6., 3., 6.]),
    ] {
        let scales: Vec<u8> = scales.iter().flat_map(|x| x.to_le_bytes()).collect();
        let header = json!({
            "w.weight": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]},
            name: {"dtype": "F32", "shape": shape, "data_offsets": [4, 4 + scales.len()]},
        });
        let dir = tempfile::tempdir().unwrap();
        let bytes = safetensors_bytes(&header.to_string(), &[&values[..], &scales].concat());
        fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensor_names().collect::<Vec<_>>(), ["w.weight"]);
        assert_eq!(checkpoint.read_f32("w.weight").unwrap(), expected, "{name} {shape}");
    }
}

/// Each is refused by what it is, never as a missing tensor.
#[test]
fn foreign_formats_are_refused_by_name() {
    let quantised = |section: Value| json!({"quantization_config": section});
    for (config, word) in [
        (quantised(json!({"quant_method": "gptq", "bits": 4})), "GPTQ"),
        (quantised(json!({"quant_method": "awq"})), "AWQ"),
        (quantised(json!({"quant_method": "bitsandbytes", "load_in_4bit": true})), "bitsandbytes in 4 bits"),
        (quantised(json!({"quant_method": "bitsandbytes", "load_in_8bit": true})), "bitsandbytes in 8 bits"),
        (quantised(json!({"quant_method": "hqq"})), "HQQ"),
        (quantised(json!({"quant_method": "compressed-tensors"})), "compressed-tensors"),
        (quantised(json!({"quant_method": "quip#"})), "`quip#`, which is not known"),
        (quantised(json!({"bits": 3})), "unknown kind"),
        (quantised(json!({"group_size": 64, "bits": 4})), "MLX"),
        (json!({"quantization": {"group_size": 64, "bits": 4}}), "MLX"),
        (json!({"compression_config": {"quant_method": "compressed-tensors"}}), "compressed-tensors"),
    ] {
        let dir = folder(&[("model.embed_tokens.weight", &[4, 8])], &config);
        let line = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(line.contains(word) && line.contains("; use the model"), "{line}");
    }
    for (names, word) in [
        (&["q.qweight", "q.g_idx"][..], "GPTQ"),
        (&["q.qweight", "q.qzeros"], "GPTQ or AWQ"),
        (&["q.weight.absmax"], "bitsandbytes in 4 bits"),
        (&["q.SCB"], "bitsandbytes in 8 bits"),
        (&["q.weight", "q.scales", "q.biases"], "MLX"),
        (&["q.W_q"], "HQQ"),
        (&["q.weight_packed"], "compressed-tensors"),
        (&["base_model.q.lora_A.weight"], "adapter"),
    ] {
        let tensors: Vec<(&str, &[usize])> = names.iter().map(|&name| (name, &[1][..])).collect();
        let dir = folder(&tensors, &json!({}));
        let line = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(line.contains(word), "{line}");
    }
    for (files, words) in [
        (&["adapter_config.json", "adapter_model.safetensors"][..], ["adapter", "merge"]),
        (&["pytorch_model.bin"], ["`pytorch_model.bin`", "save_pretrained"]),
        (&["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], ["pickle", "safetensors"]),
        (&["model.onnx"], ["ONNX", "safetensors"]),
        (&["tf_model.h5"], ["TensorFlow", "safetensors"]),
        (&["flax_model.msgpack"], ["Flax", "safetensors"]),
        (&["consolidated.00.pth"], ["own names", "transformers"]),
        (&["model-00001-of-00002.safetensors"], ["index", "model.safetensors.index.json"]),
        (&["x.Q4_K_M.gguf"], ["`x.Q4_K_M.gguf`", "that file"]),
        (&["README.md"], ["has neither", "safetensors"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|name| fs::write(dir.path().join(name), b"x").unwrap());
        let line = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
}

/// What is saved in place of weights when a download goes wrong.
#[test]
fn files_that_are_no_weights_are_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
    for name in ["model.safetensors", "model.gguf"] {
        for (bytes, word) in [
            (&pointer[..], "Git LFS pointer"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"\n <html lang=\"en\">", "web page"),
            (b"Entry not found", "server's error"),
            (b"{\"error\":\"Repository not found\"}", "server's error"),
            (b"PK\x03\x04rest of a zip", "zip"),
            (b"\x80\x02}q\x00(X\x05\x00\x00", "pickle"),
            (&[0; 64], "zeros"),
        ] {
            let line = open_error(name, bytes);
            assert!(line.contains(word), "{name}: {line}");
        }
    }
    assert!(open_error("model.safetensors", b"GGUF\x03\0\0\0\0\0\0\0").contains("name it *.gguf"));
    assert!(open_error("model.gguf", b"GGUF\0\0\0\x03").contains("big-endian"));
    assert!(open_error("model.gguf", b"FUGG\0\0\0\x03").contains("big-endian"));
    assert!(open_error("model.gguf", b"lmgg").contains("before GGUF"));
    // A download that broke off.
    let header = r#"{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    assert!(open_error("model.safetensors", &safetensors_bytes(header, &[0; 9])).contains("end is missing"));
}
