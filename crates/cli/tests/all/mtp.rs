//! Multi-token prediction from outside: a module beside the model changes nothing that does not train it, and stays as
//! it is where nothing does. Left out: its numbers (`golden` in the trainer's tests) and killed runs (`smoke.rs`).

use crate::program::{Folder, picnic, recipe, refuse, succeed};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MODULE: &str = "model.num_nextn_predict_layers=1";
/// Two layers, so the module is the third.
const AT: &str = "model.layers.2.";

/// Runs a stage of the smoke recipe into `out`.
fn stage(stage: &str, out: &Path, more: &[&str]) -> PathBuf {
    let recipe = recipe(&format!("smoke/{stage}.toml"));
    succeed(picnic(&[stage, &recipe, "--quiet", "--out", out.to_str().unwrap()]).args(more));
    out.to_owned()
}

/// The tensors of a finished stage: the main model's and the module's.
fn tensors(folder: &Path) -> [BTreeMap<String, Vec<u8>>; 2] {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let all = all.into_iter().map(|(name, tensor)| (name, tensor.data().to_vec()));
    let (module, main) = all.partition(|(name, _)| name.starts_with(AT));
    [main, module]
}

fn json(folder: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap()
}

fn has_curve(folder: &Path) -> bool {
    let curves = json(folder, "outcome.json")["curves"].clone();
    curves.as_array().unwrap().iter().any(|curve| curve["name"] == "mtp loss" && curve["unit"] == "nats per token")
}

#[test]
fn only_what_trains_the_module_moves_it_or_anything_by_it() {
    let folder = Folder::new();
    let plain = stage("pretrain", &folder.join("plain"), &[]);
    let idle = stage("pretrain", &folder.join("idle"), &[MODULE]);
    let trained = stage("pretrain", &folder.join("trained"), &[MODULE, "mtp_weight=0.3"]);
    let [[plain_main, none], [idle_main, fresh], [main, module]] = [&plain, &idle, &trained].map(|f| tensors(f));
    assert!(none.is_empty() && plain_main == idle_main, "a module that does not learn changes no bit");
    assert!(main != idle_main && module.keys().eq(fresh.keys()), "one that does changes all");
    let still: Vec<&String> = module.keys().filter(|&name| module[name] == fresh[name]).collect();
    assert!(still.is_empty(), "{still:?} did not learn");
    assert!(has_curve(&trained) && !has_curve(&idle) && !has_curve(&plain));
    let count = |folder: &Path| json(folder, "config.json")["num_nextn_predict_layers"].clone();
    assert_eq!([&plain, &idle, &trained].map(|f| count(f)), [0, 1, 1]);
    for (copy, original) in [("embed_tokens", "model.embed_tokens"), ("shared_head.head", "lm_head")] {
        assert_eq!(module[&format!("{AT}{copy}.weight")], main[&format!("{original}.weight")], "{copy} goes with it");
    }

    // The same model without its module learns the same, and the module stays what it was.
    let base = |folder: &Path| format!("base={}", folder.display());
    for (name, steps) in [("sft", "steps=3"), ("rl", "steps=2")] {
        let with = stage(name, &folder.join(&format!("{name}-with")), &[steps, &base(&idle)]);
        let without = stage(name, &folder.join(&format!("{name}-without")), &[steps, &base(&plain)]);
        let [[with, kept], [without, _]] = [&with, &without].map(|f| tensors(f));
        assert!(with == without && with != plain_main, "{name}");
        let own = |tensors: &BTreeMap<String, Vec<u8>>| {
            let shared = |name: &str| name.contains("embed_tokens") || name.contains("shared_head.head");
            tensors.clone().into_iter().filter(|(name, _)| !shared(name)).collect::<Vec<_>>()
        };
        assert!(own(&kept) == own(&fresh), "{name} leaves the module alone");
    }
    let tuned = stage("sft", &folder.join("tuned"), &["steps=3", "mtp_weight=0.1", &base(&idle)]);
    assert!(has_curve(&tuned) && tensors(&tuned)[1] != fresh);
}

#[test]
fn a_student_without_a_module_takes_the_same_lessons() {
    let folder = Folder::new();
    let (full, out) = (recipe("smoke/full.toml"), folder.join("out"));
    let args = ["r1", &full, "--quiet", "--out", out.to_str().unwrap()];
    succeed(picnic(&args).args([MODULE, "pretrain.mtp_weight=0.3", "sft.mtp_weight=0.3", "controls=false"]));
    let config = |stage: &str| fs::read_to_string(out.join(stage).join("config.json")).unwrap();
    assert!(config("rl2").contains("\"num_nextn_predict_layers\": 1"));
    assert!(config("student_on_policy").contains("qwen2"));
}

#[test]
fn refusals() {
    let folder = Folder::new();
    let out = folder.join("out");
    let refused = |stage: &str, more: &[&str], words: &[&str]| {
        let recipe = recipe(&format!("smoke/{stage}.toml"));
        refuse(picnic(&[stage, &recipe, "--quiet", "--out", out.to_str().unwrap()]).args(more), words);
    };
    refused("pretrain", &["mtp_weight=0.3"], &["mtp_weight", "num_nextn_predict_layers=1"]);
    refused("pretrain", &[MODULE, "mtp_weight=1.1"], &["mtp_weight", "out of range"]);
    refused("pretrain", &["model.num_nextn_predict_layers=2"], &["model.num_nextn_predict_layers", "0 or 1"]);
    refused("r1", &["sft.mtp_weight=0.3"], &["sft.mtp_weight", "num_nextn_predict_layers=1"]);
    let base = format!("base={}", stage("pretrain", &folder.join("base"), &["steps=1"]).display());
    refused("sft", &[&base, "mtp_weight=0.3"], &["sft", "mtp_weight is 0.3"]);
    assert!(!out.join("model.safetensors").exists());
}
