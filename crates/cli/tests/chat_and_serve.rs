//! The binary itself: `picnic chat` and `picnic serve` on a small model with random weights.

use picnic_model::checkpoint::{FloatType, SHARD_BYTES};
use picnic_model::config::ModelConfig;
use picnic_model::{CpuOps, Model, initialise, save};
use picnic_tokenizer::{Tokenizer, TrainConfig};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A Hugging Face folder with a model of a few thousand parameters.
fn model_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::train([""], &TrainConfig { vocab_size: 264, ..TrainConfig::default() }).unwrap();
    tokenizer.save(folder.path()).unwrap();
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 264, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "rope_theta": 10000.0, "initializer_range": 0.1
    });
    let model = Model::new(ModelConfig::from_value(&config, Path::new("test")).unwrap());
    let ops = CpuOps::with_threads(1).unwrap();
    let params = initialise(&ops, &model, 1).unwrap();
    save(&ops, &model, &params, folder.path(), FloatType::Bf16, SHARD_BYTES).unwrap();
    folder
}

fn picnic(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_picnic"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that takes no input may have closed it already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_seed_fixes_the_answer_and_a_pipe_gets_plain_text() {
    let folder = model_folder();
    let folder = folder.path().to_str().unwrap();
    let answer = |seed: &str| {
        let output = picnic(&["chat", folder, "--prompt", "hi", "--max-tokens", "30", "--seed", seed], "");
        assert!(output.status.success(), "{output:?}");
        assert!(!output.stdout.contains(&0x1b), "{output:?}");
        output.stdout
    };
    assert_eq!(answer("1"), answer("1"));
    assert_ne!(answer("1"), answer("2"));
}

#[test]
fn an_export_in_shards_says_the_same() {
    let folder = model_folder();
    let (folder, out) = (folder.path().to_str().unwrap(), tempfile::tempdir().unwrap());
    let shards = out.path().join("shards");
    let shards = shards.to_str().unwrap();
    let args = ["export", folder, shards, "--shard-gb", "0.00002"];
    let output = picnic(&args, "");
    assert!(output.status.success(), "{output:?}");
    assert!(Path::new(shards).join("model.safetensors.index.json").exists());
    assert!(!Path::new(shards).join("model.safetensors").exists());
    let answer = |model| picnic(&["chat", model, "--prompt", "hi", "--max-tokens", "30", "--seed", "1"], "").stdout;
    assert_eq!(answer(shards), answer(folder));
    // Again into the same folder: refused on one line.
    let output = picnic(&args, "");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another folder"), "{output:?}");
    for size in ["0", "-1", "NaN", "much"] {
        let output = picnic(&["export", folder, shards, &format!("--shard-gb={size}")], "");
        assert!(String::from_utf8_lossy(&output.stderr).contains("above 0"), "{output:?}");
    }
}

#[test]
fn a_conversation_outgrows_its_context_and_goes_on() {
    let folder = model_folder();
    let input = "a line of some length, so that a few of them fill the context of this model\n".repeat(6);
    let args = ["chat", folder.path().to_str().unwrap(), "--max-tokens", "20", "--temperature", "0"];
    let output = picnic(&args, &input);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("oldest exchange is forgotten"), "{output:?}");
    let long = picnic(&args, &("x".repeat(300) + "\nhi\n"));
    assert!(long.status.success(), "{long:?}");
    assert!(String::from_utf8_lossy(&long.stderr).contains("say it shorter"), "{long:?}");
}

#[test]
fn errors_are_one_line() {
    let empty = tempfile::tempdir().unwrap();
    for args in [
        &["chat", "/no/such/model", "--prompt", "hi"][..],
        &["serve", empty.path().to_str().unwrap()],
        &["chat", "--prompt", "hi", "--temperature", "NaN"],
    ] {
        let output = picnic(args, "");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.starts_with("error: "), "{message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    }
}

#[test]
fn serve_answers_once_it_says_so() {
    let folder = model_folder();
    let mut server = Command::new(env!("CARGO_BIN_EXE_picnic"))
        .args(["serve", folder.path().to_str().unwrap(), "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().trim_end().trim_end_matches("/v1");
    let body = r#"{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}"#;
    let head = format!("content-length: {}\r\n\r\n", body.len());
    let mut client = TcpStream::connect(address).unwrap();
    let request = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}{body}");
    client.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.contains("chat.completion"), "{response}");
    if cfg!(unix) {
        let interrupted = Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
    } else {
        server.kill().unwrap();
    }
    let ended = server.wait().unwrap();
    assert!(ended.success() || cfg!(not(unix)), "{ended}");
}

/// On a real model, where `PICNIC_SMOLLM2` names its GGUF file.
#[test]
fn smollm2_knows_the_capital_of_kenya() {
    let Ok(file) = std::env::var("PICNIC_SMOLLM2") else {
        eprintln!("skipped: PICNIC_SMOLLM2 names no GGUF file of SmolLM2-135M-Instruct");
        return;
    };
    let question = "What is the capital of Kenya?";
    let output = picnic(&["chat", &file, "--temperature", "0", "--prompt", question], "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "The capital of Kenya is Nairobi.\n", "{output:?}");
}
