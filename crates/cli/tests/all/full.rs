//! The whole recipe from outside: every stage of R1's paper in seconds, the same bits on any threads, and what the
//! single commands make of the models that it leaves.

use crate::program::{Folder, picnic, recipe, run, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;

const MODELS: [&str; 13] = [
    "base", "zero", "sft", "rl", "sft2", "rl2", "student_base", "student_sft", "student_rl", "student_distilled",
    "student_on_policy", "control_sft_more", "control_random_reward",
];

fn full(out: &Path, threads: &str, more: &[&str]) {
    let recipe = recipe("smoke/full.toml");
    let args = ["r1", &recipe, "--quiet", "--threads", threads, "--out", out.to_str().unwrap()];
    succeed(picnic(&args).args(more));
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&bytes(path)).unwrap()
}

fn assert_same(one: &Path, other: &Path) {
    for model in MODELS {
        let file = Path::new(model).join("model.safetensors");
        assert!(bytes(&one.join(&file)) == bytes(&other.join(&file)), "{model} has other bits");
    }
    assert_eq!(bytes(&one.join("traces/traces.jsonl")), bytes(&other.join("traces/traces.jsonl")));
    let [one, other] = [one, other].map(|run| json(&run.join("report.json")));
    for key in ["stages", "samples", "tokens", "notes"] {
        assert_eq!(one[key], other[key], "{key} of the report");
    }
}

#[test]
fn every_stage_gives_the_same_bits_on_any_threads_and_again() {
    let folder = Folder::new();
    let [one, two] = ["one", "two"].map(|name| folder.join(name));
    full(&one, "1", &[]);
    full(&two, "2", &[]);
    assert_same(&one, &two);
    let stages = json(&one.join("report.json"))["stages"].as_object().unwrap().len();
    assert_eq!(stages, MODELS.len() + 1, "and the base model in R1-Zero's template");
    let traces = String::from_utf8(bytes(&one.join("traces/traces.jsonl"))).unwrap();
    assert!(!traces.is_empty(), "something was right, or the rest of this test shows nothing");

    // Stages that are gone are made again from what is there, traces among them.
    for gone in ["traces", "rl2", "student_distilled", "student_on_policy"] {
        fs::remove_dir_all(two.join(gone)).unwrap();
    }
    full(&two, "2", &["--resume"]);
    assert_same(&one, &two);

    // R1-Zero is asked, and talked to, in the template that it learned with.
    let asked = |model: &str| json(&one.join(model).join("tokenizer_config.json"))["chat_template"].to_string();
    assert!(asked("zero").contains("User: ") && !asked("rl").contains("User: "));
    let chat = ["chat", &one.join("zero").display().to_string(), "--prompt", "1 + 1", "--max-tokens", "4"];
    succeed(&mut picnic(&chat));
}

#[test]
fn a_student_comes_nearer_to_its_teacher() {
    let folder = Folder::new();
    let run_folder = folder.join("run");
    full(&run_folder, "2", &["controls=false"]);
    let model = |name: &str| run_folder.join(name).display().to_string();
    let (out, base, teacher) =
        (folder.join("out"), format!("base={}", model("student_distilled")), format!("teacher={}", model("sft")));
    let recipe = recipe("smoke/on_policy.toml");
    let args = ["distill", &recipe, "--quiet", &base, "--out", out.to_str().unwrap()];
    let more = ["steps=100", "questions=16", "samples=4", "max_tokens=20", "optimizer.lr=1e-2"];
    let line = run(picnic(&args).args(more));
    assert!(String::from_utf8_lossy(&line.stderr).contains("teacher=MODEL"), "{line:?}");
    // As many ids, but other words.
    let strange = folder.join("strange");
    fs::create_dir(&strange).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(run_folder.join("sft").join(file), strange.join(file)).unwrap();
    }
    let vocabulary = fs::read_to_string(strange.join("tokenizer.json")).unwrap();
    let swap = [("\"<think>\"", "\"?\""), ("\"</think>\"", "\"<think>\""), ("\"?\"", "\"</think>\"")];
    let swapped = swap.iter().fold(vocabulary, |text, (from, to)| text.replace(from, to));
    fs::write(strange.join("tokenizer.json"), swapped).unwrap();
    let line = run(picnic(&args).args(more).arg(format!("teacher={}", strange.display())));
    assert!(String::from_utf8_lossy(&line.stderr).contains("another vocabulary"), "{line:?}");
    fs::remove_dir_all(&out).ok();
    succeed(picnic(&args).args(more).arg(&teacher));
    let curves = json(&out.join("outcome.json"))["curves"].clone();
    let kl = curves.as_array().unwrap().iter().find(|curve| curve["name"] == "kl").unwrap()["points"].clone();
    let points: Vec<f64> = kl.as_array().unwrap().iter().map(|point| point[1].as_f64().unwrap()).collect();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (before, after) = (mean(&points[..5]), mean(&points[95..]));
    assert!(after < 0.7 * before, "the divergence from the teacher went from {before} to {after}");
}

#[test]
fn kept_answers_are_right_and_can_be_learned_from() {
    let folder = Folder::new();
    let run_folder = folder.join("run");
    full(&run_folder, "2", &["controls=false"]);
    let text = String::from_utf8(bytes(&run_folder.join("traces/traces.jsonl"))).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &rows {
        // `arithmetic/3+4` and the like.
        let (left, right) = row["id"].as_str().unwrap().rsplit_once('/').unwrap().1.split_once('+').unwrap();
        let sum = left.parse::<i32>().unwrap() + right.parse::<i32>().unwrap();
        assert_eq!(row["answer"].as_str().unwrap().parse::<i32>().unwrap(), sum, "{row}");
        assert!(!row["thinking"].as_str().unwrap().is_empty());
    }
    // Up to two of each question, which may come again, but never the same words for one.
    let words = |row: &Value| format!("{} {}", row["prompt"], row["thinking"]);
    for (i, row) in rows.iter().enumerate() {
        let same = rows[..i].iter().rev().take_while(|other| other["id"] == row["id"]);
        assert!(same.clone().count() < 2 && same.clone().all(|other| words(other) != words(row)), "{row}");
    }
    let (sft, reject) = (recipe("smoke/sft.toml"), recipe("smoke/reject.toml"));
    let base = format!("base={}", run_folder.join("sft").display());
    // What is rewarded is the sum of the parts; this model writes in the format, in no words of another language.
    for weight in [0.0, 0.5] {
        let out = folder.join(&format!("language-{weight}"));
        let (rl, weight_key) = (recipe("smoke/rl.toml"), format!("language_weight={weight}"));
        let easy = r#"tasks=[{name="arithmetic",digits=[1,1],operations=["+"]}]"#;
        succeed(&mut picnic(&[
            "rl",
            &rl,
            &base,
            easy,
            &weight_key,
            "overlong_share=0",
            "steps=1",
            "--quiet",
            "--out",
            out.to_str().unwrap(),
        ]));
        let curves = json(&out.join("outcome.json"))["curves"].as_array().unwrap().clone();
        let [reward, accuracy, format, language] = ["reward", "accuracy reward", "format reward", "language reward"]
            .map(|name| {
                let curve = curves.iter().find(|curve| curve["name"] == name).unwrap();
                curve["points"][0][1].as_f64().unwrap()
            });
        assert!(language > 0.0, "nothing well-formed");
        assert!(
            (reward - (accuracy + format + weight * language)).abs() < 1e-6,
            "{reward} {accuracy} {format} {language}"
        );
    }
    let (out, again) = (folder.join("tuned"), folder.join("again"));
    let traces = format!("traces={}", run_folder.join("traces/traces.jsonl").display());
    let args = ["sft", &sft, &base, &traces, "--quiet", "--out", out.to_str().unwrap()];
    succeed(&mut picnic(&args));
    succeed(picnic(&args).arg("--resume"));
    // Other traces under the same name are another recipe.
    let changed = folder.join("traces.jsonl");
    fs::write(&changed, &text).unwrap();
    let (traces, out) = (format!("traces={}", changed.display()), folder.join("changed"));
    let args = ["sft", &sft, &base, &traces, "--quiet", "--out", out.to_str().unwrap()];
    succeed(&mut picnic(&args));
    fs::write(&changed, format!("{text}{text}")).unwrap();
    let line = run(picnic(&args).arg("--resume"));
    assert!(!line.status.success() && String::from_utf8_lossy(&line.stderr).contains("another recipe"), "{line:?}");
    // By itself the command keeps what the chain kept.
    let from = format!("base={}", run_folder.join("rl").display());
    let tasks = "tasks=[{name=\"arithmetic\", digits=[1, 1], operations=[\"+\"]}]";
    succeed(&mut picnic(&["reject", &reject, &from, tasks, "--quiet", "--out", again.to_str().unwrap()]));
    assert_eq!(bytes(&again.join("traces.jsonl")), text.as_bytes());
}
