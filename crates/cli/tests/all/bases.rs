//! What a command starts from: none is made up, and a model gets no learning rate that is meant for another.

use crate::program::{Folder, picnic, recipe, refuse, run, succeed};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// `picnic STAGE RECIPE …` into `out`.
fn stage(stage: &str, recipe: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = picnic(&[stage, recipe, "--out", out.to_str().unwrap()]);
    command.args(more);
    command
}

#[test]
fn only_pretraining_starts_from_nothing() {
    let folder = Folder::new();
    let out = folder.join("made/run");
    for (name, file) in [("sft", "sft"), ("rl", "rl"), ("reject", "reject"), ("distill", "on_policy")] {
        let recipe = recipe(&format!("smoke/{file}.toml"));
        refuse(&mut stage(name, &recipe, &out, &[]), &["no model to start from", "base=MODEL", "base=runs/tiny/"]);
        // Without a recipe the tiny one's is meant, which is not everywhere.
        let words = ["no recipe is named", &format!("recipes/tiny/{name}.toml")];
        refuse(picnic(&[name, "base=model"]).current_dir(folder.join("")), &words);
    }
    assert!(!folder.join("made").exists() && !folder.join("runs").exists(), "a refusal leaves no folder");
}

#[test]
fn the_program_brings_its_recipes() {
    let folder = Folder::new();
    let here = |args: &[&str]| {
        let mut command = picnic(args);
        command.current_dir(folder.join(""));
        command
    };
    refuse(&mut here(&["eval", "nano"]), &["recipes/nano/eval.toml", "picnic recipes"]);
    refuse(&mut here(&["r1"]), &["recipes/tiny/r1.toml", "picnic recipes"]);
    succeed(&mut here(&["recipes"]));
    // What somebody changed stays, and what somebody removed comes back.
    fs::write(folder.join("recipes/tiny/r1.toml"), "seed = 1\n").unwrap();
    fs::remove_file(folder.join("recipes/nano/rl.toml")).unwrap();
    let output = run(here(&["recipes"]).stdout(Stdio::piped()));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("recipes/tiny/r1.toml is another than") && said.contains("1 of 26 files written"), "{said}");
    assert_eq!(fs::read_to_string(folder.join("recipes/tiny/r1.toml")).unwrap(), "seed = 1\n");
    succeed(&mut here(&["eval", "nano", "problems=1", "max_tokens=2", "-k", "1", "--quiet"]));
}

#[test]
fn a_far_larger_base_gets_no_learning_rate_by_accident() {
    let folder = Folder::new();
    let (large, out) = (folder.join("large"), folder.join("out"));
    let grow = ["steps=1", "model.hidden_size=256", "model.intermediate_size=1024"];
    succeed(&mut stage("pretrain", &recipe("smoke/pretrain.toml"), &large, &grow));
    let base = format!("base={}", large.display());
    let words = ["optimizer.lr", "million parameters", "recipes/smollm2"];
    for (name, file) in [("sft", "sft"), ("rl", "rl"), ("r1", "r1"), ("pretrain", "pretrain")] {
        let recipe = recipe(&format!("smoke/{file}.toml"));
        let text = refuse(&mut stage(name, &recipe, &out, &[&base]), &words);
        assert!(text.contains("smoke/"), "the file that has the rate is named: {text}");
    }
    refuse(&mut stage("r1", &recipe("smoke/r1.toml"), &out, &[&base, "sft.optimizer.lr=1e-4"]), &["rl.optimizer.lr"]);
    assert!(!out.exists(), "a refusal leaves no folder");

    // Chosen on the command line, or in the file that names the base.
    let output = run(&mut stage("sft", &recipe("smoke/sft.toml"), &out, &[&base, "optimizer.lr=1e-4", "steps=1"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("its tasks (countdown, arithmetic)"), "{said}");
    let own = folder.join("own.toml");
    let text =
        format!("extends = {:?}\nbase = {large:?}\nsteps = 1\n[optimizer]\nlr = 1e-4\n", recipe("smoke/sft.toml"));
    fs::write(&own, text).unwrap();
    succeed(&mut stage("sft", own.to_str().unwrap(), &folder.join("own"), &[]));
}

#[test]
fn a_real_models_recipe_takes_answers_alone() {
    let folder = Folder::new();
    let (base, traces) = (folder.join("base"), folder.join("traces.jsonl"));
    succeed(&mut stage("pretrain", &recipe("smoke/pretrain.toml"), &base, &["steps=1"]));
    fs::write(&traces, "{\"prompt\": \"1+1?\", \"completion\": \"2\"}\n").unwrap();
    let base = format!("base={}", base.display());
    let sft =
        |more: &[&str]| stage("sft", &recipe("smollm2/sft.toml"), &folder.join("sft"), &[&[&base[..]], more].concat());
    refuse(&mut sft(&["steps=1"]), &["data=FILE.jsonl"]);
    succeed(&mut sft(&["steps=1", &format!("traces={}", traces.display())]));
}
