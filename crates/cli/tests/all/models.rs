//! How a model is named: by its folder or file, or as `nano`, the built-in one; and what a model carries of what it was
//! trained for.

use crate::program::{Folder, picnic, recipe, refuse, run, succeed};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn picnic_of(model: &Path) -> Value {
    let text = fs::read_to_string(model.join("config.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["picnic"].clone()
}

/// A step of a stage of the smoke recipe.
fn stage(folder: &Folder, name: &str, out: &str, more: &[&str]) -> PathBuf {
    let out = folder.join(out);
    let recipe = recipe(&format!("smoke/{name}.toml"));
    succeed(picnic(&[name, &recipe, "steps=1", "--quiet", "--out", out.to_str().unwrap()]).args(more));
    out
}

#[test]
fn a_model_that_does_not_exist_is_answered_with_those_that_do() {
    let folder = Folder::new();
    stage(&folder, "pretrain", "runs/tiny/base", &[]);
    let root = folder.join("");
    let of = |args: &[&str]| {
        let mut command = picnic(args);
        command.current_dir(&root);
        refuse(&mut command, &["there is no model \"runs/tiny/bsae\"; there are runs/tiny/base, nano"])
    };
    let [out, problems, samples] = ["out.gguf", "problems", "samples"].map(|name| folder.join(name));
    fs::write(&problems, "{\"id\": 1, \"prompt\": \"Hi\"}\n").unwrap();
    let [out, problems, samples] = [&out, &problems, &samples].map(|path| path.to_str().unwrap());
    let base = "base=runs/tiny/bsae";
    of(&["chat", "runs/tiny/bsae"]);
    of(&["serve", "runs/tiny/bsae"]);
    of(&["export", "runs/tiny/bsae", out]);
    of(&["quantize", "runs/tiny/bsae", out, "--weights", "q8"]);
    of(&["eval", "runs/tiny/bsae", "--problems", problems, "--samples", samples]);
    of(&["eval", &recipe("smoke/eval.toml"), base]);
    of(&["sft", &recipe("smoke/sft.toml"), base]);
    of(&["distill", &recipe("smoke/on_policy.toml"), "base=nano", "teacher=runs/tiny/bsae"]);
    let mut chat = picnic(&["chat", "runs/tiny"]);
    refuse(chat.current_dir(&root), &["without a model of its own", "runs/tiny/base"]);
}

#[test]
fn the_built_in_model_is_a_base_like_any_other() {
    let folder = Folder::new();
    let few = ["base=nano", "examples=4", "batch_examples=2"];
    let out = stage(&folder, "sft", "sft", &few);
    assert!(fs::read_to_string(out.join("recipe.toml")).unwrap().contains("base = \"nano\""));
    stage(&folder, "sft", "sft", &[&few[..], &["--resume"]].concat());
    // What it was taught before stays, and so does its bound.
    assert_eq!(picnic_of(&out)["conversation_tokens"], 768);
    assert!(picnic_of(&out)["taught"].as_array().unwrap().contains(&json!("Who are you?")));

    let text = folder.join("text");
    fs::write(&text, "What is 3+4? What is 5+6?").unwrap();
    let perplexity = |cache: &str| {
        let args = ["eval", "nano", "--perplexity", text.to_str().unwrap(), "--cache", cache, "--json"];
        let output = run(picnic(&args).stdout(Stdio::piped()));
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["perplexity"].as_f64().unwrap()
    };
    let exact = perplexity("f32");
    for cache in ["f16", "q8"] {
        let rounded = perplexity(cache);
        assert!(rounded != exact && (rounded / exact - 1.0).abs() < 0.1, "{cache}: {rounded}, not {exact}");
    }
    let few = ["problems=1", "samples=1", "max_tokens=8", "--json"];
    let eval = recipe("smoke/eval.toml");
    for args in [&["eval", &eval, "base=nano"][..], &["eval", "nano"]] {
        let mut command = picnic(args);
        command.args(few).stdout(Stdio::piped());
        // Recipes are found where the program runs.
        let root = recipe("");
        command.current_dir(Path::new(&root).parent().unwrap());
        let output = run(&mut command);
        assert!(output.status.success(), "{output:?}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tasks = result["by_task"].as_object().unwrap();
        // The recipe that is named, or else the model's own.
        let own = ["calculations", "questions", "declined_questions"];
        assert_eq!(own.iter().all(|task| tasks.contains_key(*task)), args.len() == 2, "{result}");
    }
}

#[test]
fn a_model_carries_what_it_was_trained_for() {
    let folder = Folder::new();
    let base = stage(&folder, "pretrain", "base", &["conversation_tokens=100"]);
    assert_eq!(picnic_of(&base), Value::Null, "pre-training teaches no conversations");
    let from = |model: &Path| format!("base={}", model.display());
    let sft = stage(&folder, "sft", "sft", &[&from(&base), "conversation_tokens=100"]);
    let taught = json!({"conversation_tokens": 100, "taught": ["Use 25, 3, 19 to make 41.", "What is 347+289?"]});
    assert_eq!(picnic_of(&sft), taught);

    // Own answers teach nobody knows what; what was known of the base stays.
    let traces = folder.join("traces.jsonl");
    fs::write(&traces, "{\"prompt\": \"Hi\", \"completion\": \"Hello!\"}\n").unwrap();
    let traces = format!("traces={}", traces.display());
    let own = ["examples=1", "batch_examples=1", &traces];
    assert_eq!(picnic_of(&stage(&folder, "sft", "own", &[&[&from(&base)[..]], &own[..]].concat())), Value::Null);
    assert_eq!(picnic_of(&stage(&folder, "sft", "more", &[&[&from(&sft)[..]], &own[..]].concat())), taught);
    let rl = stage(&folder, "rl", "rl", &[&from(&sft), "conversation_tokens=90"]);
    assert_eq!(picnic_of(&rl)["conversation_tokens"], 90);

    // Through a GGUF file and back.
    let (gguf, back) = (folder.join("sft.gguf"), folder.join("back"));
    let [from_sft, gguf, to] = [&sft, &gguf, &back].map(|path| path.to_str().unwrap());
    succeed(&mut picnic(&["export", from_sft, gguf, "--dtype", "f32"]));
    succeed(&mut picnic(&["export", gguf, to, "--dtype", "f32"]));
    assert_eq!(picnic_of(&back), taught);

    let mut longer = picnic(&["sft", &recipe("smoke/sft.toml"), &from(&base), "conversation_tokens=129"]);
    refuse(
        longer.args(["--out", folder.join("longer").to_str().unwrap()]),
        &["conversation_tokens", "129 tokens", "128 positions"],
    );
    let mut own_model = picnic(&["sft", &recipe("smoke/sft.toml"), "conversation_tokens=129"]);
    refuse(&mut own_model, &["conversation_tokens: 129 is out of range"]);
    let mut none = picnic(&["sft", &recipe("smoke/sft.toml"), &from(&base), "conversation_tokens=0"]);
    refuse(&mut none, &["conversation_tokens: 0 is out of range"]);
}

/// Rounded weights answer too, and it is said which matrices could not be rounded.
#[test]
fn weights_may_be_kept_in_fewer_bits() {
    for form in ["q8", "q4"] {
        let mut command = picnic(&["chat", "nano", "--weights", form, "--temperature", "0", "--prompt", "12+7"]);
        let output = run(command.stdout(Stdio::piped()));
        let [answer, said] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(answer.trim_end().ends_with("19"), "{form}: {answer} {said}");
        assert!(said.contains("6 of 204 matrices stay exact: their rows are no multiple of 32"), "{said}");
    }
}
