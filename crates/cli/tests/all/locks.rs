//! One process at a time writes a run's folder, and one that was killed stops nobody.

use crate::program::{Folder, picnic, recipe, refuse, succeed};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

/// A pre-training that does not come to its end by itself.
fn endless(out: &Path) -> Command {
    let recipe = recipe("smoke/pretrain.toml");
    picnic(&["pretrain", &recipe, "steps=100000000", "--resume", "--quiet", "--out", out.to_str().unwrap()])
}

/// Waits until the lock of `out` names `child`.
fn wait_until_locked(child: &mut Child, out: &Path) {
    let process = format!("process {} ", child.id());
    while !fs::read_to_string(out.join("run.lock")).is_ok_and(|text| text.contains(&process)) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended without taking its lock");
        sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
#[test]
fn a_second_process_is_told_of_the_first() {
    let folder = Folder::new();
    let out = folder.join("run");
    let mut first = endless(&out).spawn().unwrap();
    wait_until_locked(&mut first, &out);
    let process = format!("process {}", first.id());
    refuse(&mut endless(&out), &[&process, "since", "picnic pretrain", "steps=100000000", "--out"]);

    // The lock goes with its process, though the file stays.
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(out.join("run.lock").exists());
    let mut next = endless(&out).spawn().unwrap();
    wait_until_locked(&mut next, &out);
    next.kill().unwrap();
    next.wait().unwrap();
}

#[test]
fn every_command_that_writes_a_run() {
    let folder = Folder::new();
    let chain = folder.join("chain");
    let out = |name: &str| chain.join(name).to_str().unwrap().to_owned();
    succeed(&mut picnic(&["r1", &recipe("smoke/r1.toml"), "controls=false", "--quiet", "--out", &out("")]));
    assert!(!chain.join("run.lock").exists() && !chain.join("rl/run.lock").exists(), "a finished run keeps no lock");
    let (model, base) = (out("rl"), format!("base={}", out("rl")));
    let smoke = |stage: &str| recipe(&format!("smoke/{stage}.toml"));
    let text = recipe("smoke/common.toml");
    let teacher = format!("teacher={model}");
    let commands = |out: &str| {
        let stage = |stage: &str, more: &[&str]| {
            let mut command = picnic(&[stage, &smoke(if stage == "distill" { "on_policy" } else { stage }), "--quiet"]);
            command.args(["--out", out, "--resume"]).args(more);
            command
        };
        let mut commands = vec![stage("r1", &["controls=false"]), stage("pretrain", &[])];
        commands.extend(["sft", "rl", "reject", "eval"].map(|name| stage(name, &[&base])));
        commands.push(stage("distill", &[&base, &teacher]));
        commands.push(picnic(&["export", &model, out]));
        commands.push(picnic(&["tokenizer", "train", &text, "--out", out]));
        commands.push(picnic(&["report", out]));
        commands
    };
    // The chain's own folder, one of its stages, and one that it may come to make.
    for (holder, refused) in [("", &["", "rl", "sft2"][..]), ("rl", &["", "rl"]), ("sft2", &["", "sft2"])] {
        fs::create_dir_all(chain.join(holder)).unwrap();
        let lock = File::create(chain.join(holder).join("run.lock")).unwrap();
        lock.lock().unwrap();
        for place in refused {
            let mut commands = commands(&out(place));
            if !place.is_empty() {
                commands.pop(); // a stage has no report
            }
            for command in &mut commands {
                refuse(command, &["is writing here", "--out"]);
            }
        }
    }
    // Reading needs no lock.
    let lock = File::create(chain.join("run.lock")).unwrap();
    lock.lock().unwrap();
    let page = folder.join("page.html");
    succeed(&mut picnic(&["report", &out(""), "--out", page.to_str().unwrap()]));
    succeed(&mut picnic(&["eval", &smoke("eval"), &base, "--quiet"]));
}
