//! The whole recipe killed again and again, at moments drawn from a fixed seed, until it comes to its end: the models
//! and results are those of a run that nobody touched.
//!
//! Most kills strike a random moment after a run has come one checkpoint or stage further than the one before; the
//! tokenizer and the evaluations, which leave nothing half-way, are also struck a random moment after the start.

use crate::program::{Folder, Random, picnic, recipe, succeed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The models in the order in which the chain makes them. The base model is also asked in a template, and before the
/// second round answers are drawn.
const STAGES: [&str; 13] = [
    "base", "zero", "sft", "rl", "control_sft_more", "control_random_reward", "sft2", "rl2", "student_base",
    "student_sft", "student_rl", "student_distilled", "student_on_policy",
];

/// Kills at least.
const KILLS: u64 = 100;

/// Chains at most, one after the other, until kills have struck everything they should.
const CHAINS: u64 = 6;

/// Of these, the most that strike one part of the chain a moment after the start.
const BLIND: u64 = 5;

/// The smoke recipe's whole chain with checkpoints as often as there is something to kill.
fn chain(out: &Path, threads: &str) -> Command {
    let recipe = recipe("smoke/full.toml");
    let mut command = picnic(&["r1", &recipe, "--out", out.to_str().unwrap(), "--resume", "--quiet"]);
    command.args(["--threads", threads, "tokenizer.documents=400", "sft.checkpoint_every=15"]);
    command.args(["reject.questions=48", "reject.batch_questions=8"]);
    // What has a state of its own, or makes examples of more than problems.
    command
        .args(["rl.curriculum={}", "rl.extra_rollouts=1", "sft.turns=2", "sft.replay=0.1", "sft.optimizer.rule=muon"]);
    command.arg("rl2.rollout=q8");
    for (stage, steps) in [("pretrain", 10), ("zero", 4), ("rl", 5), ("sft2", 6), ("rl2", 4), ("on_policy", 6)] {
        command.args([format!("{stage}.checkpoint_every=1"), format!("{stage}.steps={steps}")]);
    }
    command.arg("distill.checkpoint_every=1");
    command
}

/// The part of the chain that a run in `out` is at.
fn place(out: &Path) -> String {
    let is_done = |stage: &str| out.join(stage).join("outcome.json").exists();
    let is_evaluated = |stage: &str| out.join(format!("evaluations/{stage}.json")).exists();
    for stage in STAGES {
        if stage == "sft2" && !is_done("traces") {
            return "traces".to_owned();
        }
        if stage == "zero" && !is_evaluated("base_template") {
            return "evaluation of base_template".to_owned();
        }
        if !is_done(stage) {
            let is_made = stage != "base" || out.join(stage).exists();
            return if is_made { stage } else { "tokenizer" }.to_owned();
        }
        if !is_evaluated(stage) {
            return format!("evaluation of {stage}");
        }
    }
    "report".to_owned()
}

/// The place, and the newest checkpoint or batch of answers there as far as it stays while we look.
fn at(out: &Path) -> (String, Option<OsString>) {
    let place = place(out);
    let folder = out.join(&place).join(if place == "traces" { "batches" } else { "checkpoints" });
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let whole = entries.filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("step-") || name.ends_with(".json")
    });
    (place, whole.max())
}

/// Where a checkpoint is written before it is renamed.
fn half(out: &Path) -> PathBuf {
    out.join(place(out)).join("checkpoints/partial")
}

/// What kills struck.
#[derive(Default)]
struct Struck {
    kills: u64,
    /// Kills by the part of the chain.
    places: BTreeMap<String, u64>,
    /// Those that left half a checkpoint behind.
    in_checkpoints: u64,
}

impl Struck {
    /// What is still to be struck.
    fn lacks(&self) -> Vec<String> {
        let named = ["tokenizer", "traces"].iter().chain(&STAGES).filter(|place| !self.places.contains_key(**place));
        let mut lacks: Vec<String> = named.map(|place| (*place).to_owned()).collect();
        if !self.places.keys().any(|place| place.starts_with("evaluation")) {
            lacks.push("an evaluation".to_owned());
        }
        if self.in_checkpoints == 0 {
            lacks.push("a checkpoint while it is written".to_owned());
        }
        if self.kills < KILLS {
            lacks.push(format!("{KILLS} kills"));
        }
        lacks
    }
}

/// Starts the chain until it ends by itself, and kills every run before.
fn run_killed(out: &Path, random: &mut Random, struck: &mut Struck) {
    let mut blind: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let start = at(out);
        let mut child = chain(out, "1").stderr(Stdio::piped()).spawn().unwrap();
        let (before, had_half) = (start.0.clone(), half(out).exists());
        let tries = blind.entry(before.clone()).or_default();
        let leaves_nothing = before == "tokenizer" || before.starts_with("evaluation");
        if *tries < BLIND && (leaves_nothing || random.below(8) == 0) {
            *tries += 1;
            sleep(Duration::from_micros(random.below(50_000)));
        } else {
            // Half of them do not wait for a checkpoint to be whole.
            let inside = !had_half && random.below(2) == 0;
            let is_due = || at(out) != start || inside && half(out).exists();
            while child.try_wait().unwrap().is_none() && !is_due() {
                sleep(Duration::from_millis(1));
            }
            sleep(Duration::from_micros(random.below(20_000)));
        }
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_none() && said.is_empty(), "a run failed by itself at {before}: {said}");
        struck.in_checkpoints += u64::from(!had_half && half(out).exists());
        *struck.places.entry(place(out)).or_default() += 1;
        struck.kills += 1;
    }
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap()
}

#[test]
fn a_hundred_kills_change_no_bit() {
    let folder = Folder::new();
    let whole = folder.join("whole");
    succeed(&mut chain(&whole, "2"));
    let (mut random, mut struck) = (Random(20), Struck::default());
    // What a kill strikes is a matter of luck: a chain may end before it was killed so often, or everywhere.
    for turn in 0..CHAINS {
        let killed = folder.join(&format!("killed-{turn}"));
        run_killed(&killed, &mut random, &mut struck);
        for stage in STAGES {
            let [one, other] =
                [&whole, &killed].map(|run| fs::read(run.join(stage).join("model.safetensors")).unwrap());
            assert!(one == other, "{stage} has other bits");
        }
        let traces = |run: &Path| fs::read(run.join("traces/traces.jsonl")).unwrap();
        assert!(!traces(&whole).is_empty() && traces(&whole) == traces(&killed));
        for key in ["stages", "samples", "tokens", "notes"] {
            assert_eq!(report(&whole)[key], report(&killed)[key], "{key} of the report");
        }
        let left: Vec<PathBuf> = files(&killed).into_iter().filter(|path| !is_whole(path)).collect();
        assert!(left.is_empty(), "halves of files stay behind: {left:?}");
        if struck.lacks().is_empty() {
            break;
        }
    }
    println!("{} kills, {} of them inside a checkpoint: {:?}", struck.kills, struck.in_checkpoints, struck.places);
    assert!(struck.lacks().is_empty(), "no kill struck {:?} in {CHAINS} chains", struck.lacks());
}

/// Whether a file is whole and in its place, by its name.
fn is_whole(path: &Path) -> bool {
    !path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.contains("partial") || name.ends_with(".tmp")
    })
}
