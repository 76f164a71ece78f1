//! The binary itself: `picnic chat` and `picnic serve` on a small model with random weights.

use picnic_chat::ChatFormat;
use picnic_model::checkpoint::{FloatType, SHARD_BYTES};
use picnic_model::config::ModelConfig;
use picnic_model::{CpuOps, Model, initialise, save};
use picnic_tokenizer::{Tokenizer, TrainConfig};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A Hugging Face folder with a model of a few thousand parameters and 256 positions.
fn model_folder() -> tempfile::TempDir {
    model_with(serde_json::Value::Null)
}

/// The same with `picnic` in its config.json.
fn model_with(picnic: serde_json::Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::train([""], &TrainConfig { vocab_size: 264, ..TrainConfig::default() }).unwrap();
    ChatFormat::picnic(tokenizer).save(folder.path()).unwrap();
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 264, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "rope_theta": 10000.0, "initializer_range": 0.1,
        "picnic": picnic,
    });
    let model = Model::new(ModelConfig::from_value(&config, Path::new("test")).unwrap());
    let ops = CpuOps::with_threads(1).unwrap();
    let params = initialise(&ops, &model, 1).unwrap();
    save(&ops, &model, &params, folder.path(), FloatType::Bf16, SHARD_BYTES).unwrap();
    folder
}

fn picnic_with(args: &[&str], input: &str) -> Output {
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
        let output = picnic_with(&["chat", folder, "--prompt", "hi", "--max-tokens", "30", "--seed", seed], "");
        assert!(output.status.success(), "{output:?}");
        assert!(!output.stdout.contains(&0x1b), "{output:?}");
        output.stdout
    };
    assert_eq!(answer("1"), answer("1"));
    assert_ne!(answer("1"), answer("2"));
}

#[test]
fn what_was_read_outlasts_the_program() {
    let (folder, cache) = (model_folder(), tempfile::tempdir().unwrap());
    let (model, cache) = (folder.path().to_str().unwrap(), cache.path().join("cache"));
    let question = "hello ".repeat(20);
    let pages = || -> Vec<_> {
        let files = std::fs::read_dir(&cache).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "page")).collect()
    };
    let ask = |more: &[&str]| {
        let asked = ["chat", model, "--prompt", &question, "--max-tokens", "30", "--seed", "1"];
        let output = picnic_with(&[&asked[..], more].concat(), "");
        assert!(output.status.success(), "{output:?}");
        (output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (plain, _) = ask(&[]);
    let kept = ["--cache-dir", cache.to_str().unwrap(), "--cache-disk", "100MB"];
    let (first, said) = ask(&kept);
    assert!(first == plain && !said.contains("cache"), "{said}");
    let written = pages();
    assert!(written.len() >= 3, "{written:?}: {said}");
    assert!(ask(&kept).0 == plain && pages().len() == written.len());
    // Other weights have other files.
    assert_ne!(ask(&[&kept[..], &["--weights", "q8"]].concat()).0, b"");
    assert!(pages().len() > written.len(), "{written:?}");
    // Pages of the answer are not read for this question, those of the question are.
    written.iter().for_each(|page| std::fs::write(page, "torn").unwrap());
    let (third, said) = ask(&kept);
    assert!(third == plain && said.lines().any(|line| line.contains("it was deleted")), "{said}");
    // Where it cannot be kept, the answer comes all the same.
    let nowhere = folder.path().join("config.json").join("inside");
    let (fourth, said) = ask(&["--cache-dir", nowhere.to_str().unwrap()]);
    assert!(fourth == plain && said.lines().filter(|line| line.contains("no cache on disk")).count() == 1, "{said}");
    for wrong in [&["--cache-disk", "8GiB"][..], &["--cache-dir", "x", "--cache-disk", "8 apples"]] {
        let output = picnic_with(&[&["chat", model, "--prompt", "hi"], wrong].concat(), "");
        assert!(!output.status.success() && !Path::new("x").exists(), "{output:?}");
    }
}

#[test]
fn an_export_in_shards_says_the_same() {
    let folder = model_folder();
    let (folder, out) = (folder.path().to_str().unwrap(), tempfile::tempdir().unwrap());
    let shards = out.path().join("shards");
    let shards = shards.to_str().unwrap();
    let args = ["export", folder, shards, "--shard-gb", "0.00002"];
    let output = picnic_with(&args, "");
    assert!(output.status.success(), "{output:?}");
    assert!(Path::new(shards).join("model.safetensors.index.json").exists());
    assert!(!Path::new(shards).join("model.safetensors").exists());
    let answer =
        |model| picnic_with(&["chat", model, "--prompt", "hi", "--max-tokens", "30", "--seed", "1"], "").stdout;
    assert_eq!(answer(shards), answer(folder));
    // Again into the same folder: refused on one line.
    let output = picnic_with(&args, "");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another folder"), "{output:?}");
    for size in ["0", "-1", "NaN", "much"] {
        let output = picnic_with(&["export", folder, shards, &format!("--shard-gb={size}")], "");
        assert!(String::from_utf8_lossy(&output.stderr).contains("above 0"), "{output:?}");
    }
}

#[test]
fn a_conversation_outgrows_its_bound_and_goes_on() {
    // The bound is what the model was trained for, or else its positions.
    for (picnic, bound) in [(json!(null), "256 tokens"), (json!({"conversation_tokens": 200}), "200 tokens")] {
        let folder = model_with(picnic);
        let input = "a line of some length, so that a few of them fill the context of this model\n".repeat(6);
        let args = ["chat", folder.path().to_str().unwrap(), "--max-tokens", "20", "--temperature", "0"];
        let output = picnic_with(&args, &input);
        assert!(output.status.success(), "{output:?}");
        let notes = String::from_utf8(output.stderr).unwrap();
        assert_eq!(notes.matches("oldest exchanges are forgotten").count(), 1, "it is said once: {notes}");
        assert!(notes.contains(bound) && notes.lines().count() == 1, "{notes}");
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_and_forgotten() {
    let folder = model_with(json!({"conversation_tokens": 100}));
    let args = ["chat", folder.path().to_str().unwrap(), "--max-tokens", "5", "--temperature", "0"];
    let answers = |input: &str| picnic_with(&args, input);
    let long = "x".repeat(120);
    let output = answers(&format!("hello\n{long}\nhi\n"));
    let error = String::from_utf8(output.stderr).unwrap();
    // A token a byte, and three marks around it.
    assert!(output.status.success() && error.lines().count() == 1, "{error}");
    assert!(error.contains("123 tokens") && error.contains("100") && error.contains("say it shorter"), "{error}");
    assert_eq!(output.stdout, answers("hello\nhi\n").stdout, "the conversation is as if it had not been said");
}

#[test]
fn an_answer_that_reaches_the_bound_is_said_to_be_cut_off() {
    let folder = model_with(json!({"conversation_tokens": 40}));
    let chat = |more: &[&str]| {
        let args = [&["chat", folder.path().to_str().unwrap(), "--prompt", "hi", "--seed", "3"][..], more].concat();
        String::from_utf8(picnic_with(&args, "").stderr).unwrap()
    };
    assert!(chat(&[]).contains("cut off") && chat(&[]).contains("40 tokens"), "{}", chat(&[]));
    assert_eq!(chat(&["--max-tokens", "8"]), "", "as many tokens as were asked for");
}

#[test]
fn in_a_pipe_every_line_is_a_message_and_only_answers_are_printed() {
    let folder = model_with(json!({"taught": ["What is 12+7?"]}));
    let args = ["chat", folder.path().to_str().unwrap(), "--max-tokens", "9", "--seed", "5"];
    let say = |input: &str, more: &[&str]| {
        let output = picnic_with(&[&args, more].concat(), input);
        assert!(output.status.success() && !output.stdout.contains(&0x1b), "{output:?}");
        (output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (first, said) = say("/exit\n", &[]);
    let (both, said_too) = say("/exit\n\nhi\n", &[]);
    assert!(both.starts_with(&first) && both.len() > first.len() && first.ends_with(b"\n"));
    assert_eq!((&said[..], &said_too[..]), ("", ""), "no banner, no prompt");
    let (measured, stats) = say("/exit\n\nhi\n", &["--stats"]);
    assert_eq!(measured, both);
    assert_eq!(stats.matches("tokens/s").count(), 2, "{stats}");
}

#[test]
fn errors_are_one_line() {
    let empty = tempfile::tempdir().unwrap();
    for args in [
        &["chat", "/no/such/model", "--prompt", "hi"][..],
        &["serve", empty.path().to_str().unwrap()],
        &["chat", "--prompt", "hi", "--temperature", "NaN"],
    ] {
        let output = picnic_with(args, "");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.starts_with("error: "), "{message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    }
}

#[test]
fn serve_answers_once_it_says_so() {
    let folder = model_with(json!({"conversation_tokens": 60}));
    let mut server = Command::new(env!("CARGO_BIN_EXE_picnic"))
        .args(["serve", folder.path().to_str().unwrap(), "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().trim_end().trim_end_matches("/v1");
    let post = |message: &str, max_tokens: usize| {
        let body = json!({"messages": [{"role": "user", "content": message}], "max_tokens": max_tokens}).to_string();
        let head = format!("content-length: {}\r\n\r\n", body.len());
        let mut client = TcpStream::connect(address).unwrap();
        let request =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{head}{body}");
        client.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        response
    };
    let response = post("hi", 5);
    assert!(response.starts_with("HTTP/1.1 200") && response.contains("chat.completion"), "{response}");
    // The bound is what the model was trained for. A token a byte, and three marks around it.
    let response = post(&"x".repeat(70), 5);
    assert!(response.starts_with("HTTP/1.1 400") && response.contains("context_length_exceeded"), "{response}");
    assert!(response.contains("60 tokens") && response.contains("has 73"), "{response}");
    let response = post("hi", 56);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("max_tokens was lowered from 56 to 55"), "{response}");
    if cfg!(unix) {
        // As a service manager ends a program; a terminal's Ctrl-C takes the same way.
        let interrupted = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
    } else {
        server.kill().unwrap();
    }
    let ended = server.wait().unwrap();
    assert!(ended.success() || cfg!(not(unix)), "{ended}");
}

#[test]
fn thinking_ends_with_its_budget() {
    let thought = |more: &[&str]| {
        let output = picnic_with(&[&["chat", "--prompt", "What is 347+289?"], more].concat(), "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).split("\n\n").next().unwrap_or_default().to_owned()
    };
    // Every digit is a token of nano's, and the mark that opens the thinking is one too.
    let whole = thought(&[]);
    assert!(whole.starts_with("347+289:\n"), "{whole}");
    assert_eq!(thought(&["--thinking-budget", "4"]), "347");
    assert_eq!(thought(&["--thinking-budget", "4000"]), whole);
}

/// On a real model, where `PICNIC_SMOLLM2` names its GGUF file.
#[test]
fn smollm2_knows_the_capital_of_kenya() {
    let Ok(file) = std::env::var("PICNIC_SMOLLM2") else {
        eprintln!("skipped: PICNIC_SMOLLM2 names no GGUF file of SmolLM2-135M-Instruct");
        return;
    };
    let question = "What is the capital of Kenya?";
    let output = picnic_with(&["chat", &file, "--temperature", "0", "--prompt", question], "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "The capital of Kenya is Nairobi.\n", "{output:?}");
}

/// On an address that others reach somebody has to have a key, and a folder of models is served by their names.
#[test]
fn serve_asks_for_keys_where_others_can_reach_it() {
    let folder = model_with(json!({}));
    let models = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        let to = models.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    let keys = models.path().join("keys.sqlite");
    let serve = |host: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_picnic"));
        command.args(["serve", models.path().to_str().unwrap(), "--port", "0", "--host", host]);
        command.args(["--keys", keys.to_str().unwrap()]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let refused = serve("0.0.0.0").output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && message.contains("picnic keys create NAME --file"), "{message}");
    let made = picnic_with(&["keys", "create", "guest", "--file", keys.to_str().unwrap()], "");
    let secret = String::from_utf8(made.stdout).unwrap();
    let mut server = serve("0.0.0.0").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("a folder of 2 models"), "{line}");
    let port = line.trim_end().trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned();
    let post = |header: &str, model: &str| {
        let message = json!({"role": "user", "content": "hi"});
        let body = json!({"model": model, "messages": [message], "max_tokens": 3}).to_string();
        let head = format!("{header}content-length: {}\r\n\r\n", body.len());
        let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let request = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}{body}");
        client.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        response
    };
    assert!(post("", "one").starts_with("HTTP/1.1 401"));
    let key = format!("authorization: Bearer {}\r\n", secret.trim());
    for model in ["one", "two"] {
        let response = post(&key, model);
        assert!(
            response.starts_with("HTTP/1.1 200") && response.contains(&format!("\"model\":\"{model}\"")),
            "{response}"
        );
    }
    assert!(post(&key, "three").starts_with("HTTP/1.1 404"));
    server.kill().unwrap();
    server.wait().unwrap();
}
