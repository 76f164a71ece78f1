//! Files as people have them, through the program: what is refused says what it is, what was repaired or guessed is said
//! in a line, and a model written as GGUF answers as the folder does.

use crate::program::{Folder, picnic, refuse};
use picnic_model::checkpoint::{FloatType, SHARD_BYTES};
use picnic_model::config::ModelConfig;
use picnic_model::{CpuOps, Model, initialise, save};
use picnic_tokenizer::{Tokenizer, TrainConfig};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A folder with a random model of a few thousand parameters; `change` is made to its `config.json` afterwards.
fn model(folder: &Folder, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let path = folder.join(name);
    let config = json!({
        "model_type": "llama", "vocab_size": 264, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": false, "rope_theta": 10000.0, "initializer_range": 0.3
    });
    let model = Model::new(ModelConfig::from_value(&config, Path::new("test")).unwrap());
    let ops = CpuOps::with_threads(1).unwrap();
    save(&ops, &model, &initialise(&ops, &model, 1).unwrap(), &path, FloatType::F32, SHARD_BYTES).unwrap();
    let tokenizer = Tokenizer::train([""], &TrainConfig { vocab_size: 264, ..TrainConfig::default() }).unwrap();
    picnic_chat::ChatFormat::picnic(tokenizer).save(&path).unwrap();
    let file = path.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut config);
    fs::write(file, config.to_string()).unwrap();
    path
}

/// What a model answers, and what is said on standard error.
fn answer(model: &Path) -> (String, String) {
    let args = ["chat", model.to_str().unwrap(), "--prompt", "hi", "--max-tokens", "20", "--seed", "1"];
    let output = picnic(&args).stdout(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), stderr)
}

#[test]
fn a_gguf_file_answers_as_the_folder_does() {
    let folder = Folder::new();
    let model = model(&folder, "model", |_| {});
    let (expected, _) = answer(&model);
    let export = |from: &Path, to: &Path, more: &[&str]| {
        let args = [&["export", from.to_str().unwrap(), to.to_str().unwrap()], more].concat();
        let output = picnic(&args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let (file, back) = (folder.join("model.gguf"), folder.join("back"));
    export(&model, &file, &["--dtype", "f32"]);
    assert_eq!(answer(&file).0, expected);
    export(&file, &back, &["--dtype", "f32"]);
    assert_eq!(answer(&back).0, expected);
    let [there, here] = [&model, &back].map(|folder| fs::read(folder.join("model.safetensors")).unwrap());
    assert!(there == here, "the same tensors in the same order");

    for (weights, word) in [("q8", "Q8_0"), ("q4", "Q4_0")] {
        let file = folder.join(&format!("{weights}.gguf"));
        let args = ["quantize", model.to_str().unwrap(), file.to_str().unwrap(), "--weights", weights];
        let output = picnic(&args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(word), "{said}");
        assert!(weights == "q8" || said.contains("the head is stored as Q8_0"), "{said}");
        answer(&file);
    }
    let (from, to) = (model.to_str().unwrap(), folder.join("x"));
    let to = to.to_str().unwrap();
    refuse(&mut picnic(&["quantize", from, to, "--weights", "q4"]), &["ends in .gguf"]);
    refuse(&mut picnic(&["export", from, to, "--dtype", "q8_0"]), &["ends in .gguf"]);
    let gguf = format!("{to}.gguf");
    refuse(&mut picnic(&["export", from, &gguf, "--shard-gb", "1"]), &["--shard-gb"]);
}

#[test]
fn what_is_guessed_is_said() {
    let folder = Folder::new();
    let denied = model(&folder, "denied", |config| config["tie_word_embeddings"] = json!(true));
    let (text, said) = answer(&denied);
    assert!(said.contains("note: ") && said.contains("tie_word_embeddings"), "{said}");
    assert_eq!(text, answer(&model(&folder, "plain", |_| {})).0, "the file's head is used");
    // An export keeps it.
    let out = folder.join("out");
    let exported =
        picnic(&["export", denied.to_str().unwrap(), out.to_str().unwrap(), "--dtype", "f32"]).output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    let (again, said) = answer(&out);
    assert_eq!((again, said.contains("note")), (text, false), "{said}");
}

#[test]
fn foreign_files_are_refused_by_name() {
    let folder = Folder::new();
    let refused = |model: &Path, words: &[&str]| {
        for command in ["chat", "export"] {
            let mut command = picnic(&[command, model.to_str().unwrap()]);
            match command.get_args().next().and_then(|name| name.to_str()) {
                Some("export") => command.arg(folder.join("out")),
                _ => command.args(["--prompt", "hi"]),
            };
            let line = refuse(&mut command, words);
            assert!(!line.contains("` is missing"), "{line}");
        }
    };
    for (method, word) in [("gptq", "GPTQ"), ("awq", "AWQ"), ("bitsandbytes", "bitsandbytes"), ("hqq", "HQQ")] {
        let model = model(&folder, method, |config| config["quantization_config"] = json!({"quant_method": method}));
        refused(&model, &[word, "GGUF"]);
    }
    refused(&model(&folder, "mlx", |config| config["quantization"] = json!({"bits": 4})), &["MLX"]);
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    };
    file("adapter/adapter_config.json", b"{}");
    refused(&file("adapter/adapter_model.safetensors", b"x").with_file_name(""), &["adapter", "merge"]);
    refused(&file("pickle/pytorch_model.bin", b"x").with_file_name(""), &["pytorch_model.bin", "save_pretrained"]);
    refused(&file("onnx/model.onnx", b"x").with_file_name(""), &["ONNX"]);
    refused(&file("big.gguf", b"GGUF\0\0\0\x03"), &["big-endian"]);
    refused(&file("lfs.gguf", b"version https://git-lfs.github.com/spec/v1\n"), &["Git LFS", "git lfs pull"]);
    refused(&file("page.gguf", b"<!DOCTYPE html>"), &["web page"]);
    let whole = model(&folder, "whole", |_| {}).join("model.safetensors");
    let bytes = fs::read(&whole).unwrap();
    let cut = model(&folder, "cut", |_| {});
    fs::write(cut.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    refused(&cut, &["end is missing", "fetch"]);
}
