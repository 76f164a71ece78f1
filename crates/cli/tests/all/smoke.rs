//! The program from outside: the whole chain in seconds, the same bits whatever it runs on and however often it is
//! killed. Left out: input that it must refuse (`refusals.rs`) and what it says and serves (`chat_and_serve.rs`).

use crate::program::{Folder, Random, golden, picnic, recipe, run, succeed};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const STAGES: [&str; 5] = ["base", "sft", "rl", "control_sft_more", "control_random_reward"];

fn r1(out: &Path, more: &[&str], isa: Option<&str>) {
    let recipe = recipe("smoke/r1.toml");
    let mut command = picnic(&["r1", &recipe, "--quiet", "--out", out.to_str().unwrap()]);
    command.args(more);
    if let Some(isa) = isa {
        command.env("PICNIC_ISA", isa);
    }
    succeed(&mut command);
}

fn model(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("model.safetensors")).unwrap()
}

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap()
}

/// Every stage's model and results; seconds differ from run to run and are left out.
fn assert_same_run(one: &Path, other: &Path, what: &str) {
    for stage in STAGES {
        assert!(model(&one.join(stage)) == model(&other.join(stage)), "{what}: {stage} has other bits");
    }
    let [one, other] = [one, other].map(report);
    for key in ["stages", "samples", "tokens"] {
        assert_eq!(one[key], other[key], "{what}: {key} of the report");
    }
}

#[test]
fn the_chain_gives_the_same_bits_on_any_threads_and_instructions() {
    let folder = Folder::new();
    let first = folder.join("first");
    r1(&first, &["--threads", "1"], None);
    for (name, threads, isa) in
        [("two", "2", None), ("three", "3", None), ("scalar", "2", Some("scalar")), ("avx2", "1", Some("avx2"))]
    {
        r1(&folder.join(name), &["--threads", threads], isa);
        assert_same_run(&first, &folder.join(name), name);
    }
    assert_ne!(model(&first.join("rl")), model(&first.join("sft")), "RL learns something");
}

/// What readers of `report.json` count on.
#[test]
fn the_report_has_its_keys() {
    let folder = Folder::new();
    r1(&folder.join("run"), &[], None);
    let report = report(&folder.join("run"));
    for key in ["seconds", "core_hours", "tokens", "peak_rss_mb"] {
        assert!(report[key].as_f64().is_some_and(|x| x >= 0.0), "{key}: {}", report[key]);
    }
    assert_eq!(report["stages"].as_object().unwrap().len(), STAGES.len());
    for stage in STAGES {
        let result = &report["stages"][stage];
        let share = |x: &Value| x.as_f64().is_some_and(|x| (0.0..=1.0).contains(&x));
        assert!(share(&result["accuracy"]) && share(&result["well_formed"]), "{stage}: {result}");
        let [low, high] = [0, 1].map(|i| result["ci95"][i].as_f64().unwrap());
        assert!(low <= high && result["ci95"].as_array().unwrap().len() == 2, "{stage}: {result}");
        assert!(result["by_task"].as_object().unwrap().values().all(|task| share(&task["accuracy"])));
        assert!(share(&result["majority"]["value"]) && share(&result["pass_at_k"]["2"]["value"]), "{stage}: {result}");
        assert!(result["scores"].as_object().unwrap().values().all(|task| task.as_array().unwrap().iter().all(share)));
    }
    // The last model judged again by itself, for eyes and for programs.
    let (recipe, base) = (recipe("smoke/eval.toml"), format!("base={}", folder.join("run/rl").display()));
    let said = |more: &[&str]| {
        let mut command = picnic(&["eval", &recipe, &base]);
        String::from_utf8(run(command.args(more).stdout(Stdio::piped())).stdout).unwrap()
    };
    let judged: Value = serde_json::from_str(&said(&["--json"])).unwrap();
    assert_eq!(judged["by_task"], report["stages"]["rl"]["by_task"]);
    let table = said(&[]);
    assert!(table.starts_with("right ") && table.contains("arithmetic") && table.contains("well-formed"), "{table}");
    let html = fs::read_to_string(folder.join("run/report.html")).unwrap();
    assert!(html.contains("<svg") && !html.contains("src=\"http"), "curves are drawn, nothing is fetched");
}

#[test]
fn fine_tuning_the_tiny_model_gives_the_same_bits_on_any_threads() {
    let folder = Folder::new();
    let (pretrain, recipe, base) = (recipe("tiny/pretrain.toml"), recipe("tiny/sft.toml"), folder.join("base"));
    let args = ["pretrain", &pretrain, "--quiet", "--out", base.to_str().unwrap()];
    succeed(picnic(&args).args(["steps=1", "batch_sequences=2", "tokenizer.documents=200"]));
    let base = format!("base={}", base.display());
    let tune = |threads: &str| {
        let out = folder.join(threads);
        let smaller = ["steps=2", "examples=40", "batch_examples=5"];
        let args = ["sft", &recipe, &base, "--quiet", "--threads", threads, "--out", out.to_str().unwrap()];
        succeed(picnic(&args).args(smaller));
        model(&out)
    };
    let one = tune("1");
    assert!(one == tune("2") && one == tune("3"));
}

/// Starts the command again and again, kills it at moments drawn from a fixed seed, and lets the last one finish. Every
/// other time the moment counts from the next checkpoint, so that on any machine some kills strike while it trains.
fn run_killed(args: &[&str], out: &Path, turns: u64) {
    let (mut random, mut struck) = (Random(turns), 0);
    for turn in 0..turns {
        let before = landmarks(out);
        let mut child = picnic(args).arg("--resume").stderr(Stdio::null()).spawn().unwrap();
        while turn % 2 == 1 && child.try_wait().unwrap().is_none() && landmarks(out) == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(random.below(if turn % 2 == 1 { 60 } else { 150 })));
        if child.try_wait().unwrap().is_none() {
            struck += 1;
            child.kill().unwrap();
        }
        child.wait().unwrap();
    }
    println!("{struck} of {turns} runs were killed; left: {:?}", landmarks(out));
    succeed(picnic(args).arg("--resume"));
}

/// The whole checkpoints and finished stages below `folder`, as far as they stay while we look.
fn landmarks(folder: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("step-") || name == "outcome.json" {
            all.insert(path);
        } else {
            all.extend(landmarks(&path));
        }
    }
    all
}

#[test]
fn killed_stages_resume_to_the_same_bits() {
    let folder = Folder::new();
    let base = folder.join("base");
    let pretrain = recipe("smoke/pretrain.toml");
    let module = "model.num_nextn_predict_layers=1";
    succeed(&mut picnic(&["pretrain", &pretrain, module, "--quiet", "--out", base.to_str().unwrap()]));
    let base = format!("base={}", base.display());
    // With multi-token prediction learned, learned again, and left alone.
    let stages = [
        ("pretrain", "checkpoint_every=1", "steps=40", ["seed=1", module, "mtp_weight=0.3"]),
        ("sft", "checkpoint_every=2", "steps=40", [&base, "seed=0", "mtp_weight=0.1"]),
        ("rl", "checkpoint_every=1", "steps=12", [&base, "seed=0", "lanes=2"]),
    ];
    for (stage, every, steps, more) in stages {
        let recipe = recipe(&format!("smoke/{stage}.toml"));
        let [whole, killed] = ["whole", "killed"].map(|name| folder.join(&format!("{stage}-{name}")));
        let args = |out: &Path, threads: &str| {
            let mut args = vec![stage, &recipe, every, steps];
            args.extend(more);
            args.extend(["--quiet", "--threads", threads, "--out", out.to_str().unwrap()]);
            args.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let [one, other] = [args(&whole, "2"), args(&killed, "1")];
        let [one, other] = [&one, &other].map(|args| args.iter().map(String::as_str).collect::<Vec<_>>());
        succeed(&mut picnic(&one));
        run_killed(&other, &killed, 6);
        assert!(model(&whole) == model(&killed), "{stage}");
        assert_eq!(losses(&whole), losses(&killed), "{stage}: no step is lost or counted twice");
    }
}

fn losses(folder: &Path) -> Value {
    let outcome: Value = serde_json::from_slice(&fs::read(folder.join("outcome.json")).unwrap()).unwrap();
    let curve = outcome["curves"].as_array().unwrap().iter().find(|curve| curve["name"] == "loss");
    serde_json::json!([curve.unwrap()["points"], outcome["tokens"], outcome["steps"]])
}

#[test]
fn a_killed_chain_resumes_to_the_same_bits() {
    let folder = Folder::new();
    let recipe = recipe("smoke/r1.toml");
    let args = |name: &str| {
        let more = ["pretrain.checkpoint_every=1", "sft.checkpoint_every=1", "--quiet"];
        let out = folder.join(name).to_str().unwrap().to_owned();
        [&["r1", &recipe, "--out", &out][..], &more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let [whole, killed] = ["whole", "killed"].map(|name| folder.join(name));
    succeed(&mut picnic(&args("whole").iter().map(String::as_str).collect::<Vec<_>>()));
    let again = args("killed");
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    run_killed(&again, &killed, 12);
    assert_same_run(&whole, &killed, "killed");
    // All is done: going on once more only writes the report again.
    succeed(picnic(&again).arg("--resume"));
    assert_same_run(&whole, &killed, "finished and gone on with");
    // A stage whose folder is gone is made again, and so is what was said of it.
    fs::remove_dir_all(killed.join("sft")).unwrap();
    fs::copy(killed.join("evaluations/rl.json"), killed.join("evaluations/sft.json")).unwrap();
    succeed(picnic(&again).arg("--resume"));
    assert_same_run(&whole, &killed, "made again in part");
}

#[test]
fn parity_notices_a_damaged_weight() {
    let folder = Folder::new();
    let copy = folder.join("llama");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(golden("llama")).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let compare = || run(&mut picnic(&["parity", copy.to_str().unwrap()])).status.code();
    assert_eq!(compare(), Some(0));
    let mut bytes = model(&copy);
    let last = bytes.len() - 4;
    let value = f32::from_le_bytes(bytes[last..].try_into().unwrap());
    bytes[last..].copy_from_slice(&(value + 0.01).to_le_bytes());
    fs::write(copy.join("model.safetensors"), bytes).unwrap();
    assert_eq!(compare(), Some(1));
}

#[test]
fn the_task_of_the_page_on_tasks_runs_through_the_chain() {
    let folder = Folder::new();
    let out = folder.join("out");
    let (recipe, out_text) = (recipe("smoke/larger.toml"), out.to_str().unwrap().to_owned());
    succeed(&mut picnic(&["r1", &recipe, "--quiet", "--out", &out_text]));
    let tasks = &report(&out)["stages"]["rl"]["by_task"];
    assert_eq!(tasks.as_object().unwrap().keys().collect::<Vec<_>>(), ["larger"]);

    // The page shows the code as it is.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let (page, source) = (read("docs/adding-a-task.md"), read("crates/tasks/src/larger.rs"));
    let shown = page.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let lines =
        |text: &str| text.lines().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect::<Vec<_>>();
    let source = lines(&source);
    for part in shown.split("\n\n").map(lines) {
        assert!(source.windows(part.len()).any(|window| window == part), "not in larger.rs: {part:#?}");
    }
}
