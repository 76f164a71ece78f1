//! `picnic report` on one run, on two, on one recipe from several seeds and on two, and the report that every stage
//! leaves.

use crate::program::{Folder, picnic, recipe, refuse, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn said(args: &[&str]) -> String {
    output_of(&mut picnic(args))
}

/// What a command says that must succeed.
fn output_of(command: &mut Command) -> String {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The report in `from` as if its recipe had said `new` for `old`.
fn copy(from: &Path, to: &Path, old: &str, new: &str) {
    let mut report: Value = serde_json::from_slice(&fs::read(from.join("report.json")).unwrap()).unwrap();
    let recipe = report["recipe_toml"].as_str().unwrap().to_owned();
    assert!(recipe.contains(old));
    report["recipe_toml"] = recipe.replacen(old, new, 1).into();
    fs::create_dir(to).unwrap();
    fs::write(to.join("report.json"), report.to_string()).unwrap();
}

#[test]
fn one_two_and_three_runs() {
    let folder = Folder::new();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let [a, b, c, other, out] = ["a", "b", "c", "other", "out.html"].map(path);
    succeed(&mut picnic(&["r1", &recipe("smoke/r1.toml"), "--quiet", "--out", &a]));
    let from = Path::new(&a);
    copy(from, Path::new(&b), "seed = 0", "seed = 1");
    copy(from, Path::new(&c), "seed = 0", "seed = 2");
    copy(from, Path::new(&other), "group_size = 4", "group_size = 8");

    let page = from.join("report.html");
    let before = fs::read(&page).unwrap();
    fs::remove_file(&page).unwrap();
    said(&["report", &a]);
    assert!(before == fs::read(&page).unwrap(), "the page depends on the report alone");

    let text = said(&["report", &a, &other, "--out", &out]);
    assert!(text.contains("rl.group_size: 4 | 8") && text.contains("control_sft_more"), "{text}");
    assert!(!text.contains("not paired"), "{text}");
    assert!(fs::read_to_string(&out).unwrap().contains("<svg"));
    let json: Value = serde_json::from_str(&said(&["report", &a, &b, "--out", &out, "--json"])).unwrap();
    assert_eq!(json["stages"]["rl"]["difference"]["value"], 0.0);
    assert_eq!(json["stages"]["rl"]["by_task"]["countdown"]["difference"]["value"], 0.0);
    assert_eq!(json["recipe"][0]["key"], "seed");

    let text = said(&["report", &a, &b, &c, "--out", &out]);
    assert!(text.contains("median") && text.contains("Is it the reward that helps?"), "{text}");
    let json: Value = serde_json::from_str(&said(&["report", &a, &b, &c, "--out", &out, "--json"])).unwrap();
    let question = &json["questions"][0];
    for answers in [question, &question["by_task"]["arithmetic"]] {
        assert_eq!(answers["runs"].as_array().unwrap().len(), 3, "{answers}");
        assert_eq!(answers["together"]["value"], answers["runs"][0]["value"], "three times the same run");
    }
    refuse(&mut picnic(&["report", &a, &b, &other, "--out", &out]), &["rl.group_size", "two runs"]);

    // Another recipe over the same seeds, and a group of one that says nothing of its recipe.
    let changed: Vec<String> = [0, 1, 2].map(|seed| path(&format!("changed-{seed}"))).into();
    for (seed, folder) in changed.iter().enumerate() {
        copy(Path::new(&other), Path::new(folder), "seed = 0", &format!("seed = {seed}"));
    }
    let against = |folders: &[&str]| {
        let mut command = picnic(&["report", &a, &b, &c, "--out", &out, "--against"]);
        command.args(folders);
        command
    };
    let all: Vec<&str> = changed.iter().map(String::as_str).collect();
    let compared = output_of(&mut against(&all));
    for words in ["over seeds", "rl.group_size: 4 | 8", "the same seeds", "cannot be told"] {
        assert!(compared.contains(words), "{words}: {compared}");
    }
    let page = fs::read_to_string(&out).unwrap();
    assert!(page.contains("class=\"dot run\"") && page.contains("<svg"), "runs and curves are drawn");
    let json: Value = serde_json::from_str(&output_of(against(&all).arg("--json"))).unwrap();
    assert_eq!(json["paired"], true);
    assert_eq!(json["stages"]["rl"]["difference"]["value"], 0.0, "three times the same run");
    refuse(&mut against(&all[..1]), &["two runs or more of each"]);
    refuse(&mut against(&[all[0], &a]), &["two recipes", "rl.group_size", "--against"]);

    refuse(&mut picnic(&["report", &path("none")]), &["none", "report.json", "picnic r1"]);
    fs::write(Path::new(&b).join("report.json"), "{\"stages\": 3").unwrap();
    refuse(&mut picnic(&["report", &a, &b, "--out", &out]), &["report.json", "whole report"]);
    refuse(&mut picnic(&["report", &a, "--out", &path("none/x.html")]), &["x.html", "cannot write"]);
}

/// The first sentence of the page in `folder`, whose JSON says that `kind` ran.
fn story(folder: &Path, kind: &str) -> String {
    let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["kind"], kind);
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.ends_with("</html>") && page.contains("id=\"next\"") && page.contains("id=\"guide\""));
    let (_, story) = page.split_once("class=\"story\"><p>").unwrap();
    story.split("</p>").next().unwrap().replace('\u{a0}', " ")
}

#[test]
fn every_stage_alone_leaves_a_page() {
    let folder = Folder::new();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let run = |command: &str, file: &str, out: &str, more: &[&str]| {
        let args = [command, &recipe(&format!("smoke/{file}.toml")), "--out", &path(out)];
        said(&[&args, more].concat())
    };
    let from = |name: &str| format!("base={}", path(name));
    let said_of_base = run("pretrain", "pretrain", "base", &[]);
    assert!(said_of_base.contains("report: ") && said_of_base.contains("report.html"), "{said_of_base}");
    assert!(story(&folder.join("base"), "pretrain").starts_with("This run pre-trained a fresh model of "));
    run("sft", "sft", "sft", &[&from("base")]);
    assert!(story(&folder.join("sft"), "sft").starts_with("This run fine-tuned the model "));
    run("rl", "rl", "rl", &[&from("sft")]);
    assert!(story(&folder.join("rl"), "rl").contains("3 steps over "));
    run("reject", "reject", "traces", &[&from("rl")]);
    assert!(story(&folder.join("traces"), "reject").starts_with("This run drew 4 answers"));
    run("distill", "on_policy", "student", &[&from("sft"), &format!("teacher={}", path("rl"))]);
    assert!(story(&folder.join("student"), "distill").starts_with("This run distilled a teacher into the model "));
    for judged in ["rl", "student"] {
        let said = run("eval", "eval", &format!("{judged}-judged"), &[&from(judged)]);
        assert!(said.contains("report: "), "{said}");
        assert!(
            story(&folder.join(&format!("{judged}-judged")), "eval").contains("8 held-out problems, 2 samples of each")
        );
    }

    // Two evaluations are two runs to compare, and a stage that is asked to go on writes the same page.
    let text = said(&["report", &path("rl-judged"), &path("student-judged"), "--out", &path("compare.html")]);
    assert!(text.contains("judged") && !text.contains("not paired"), "{text}");
    let page = |name: &str| fs::read(folder.join(name).join("report.html")).unwrap();
    let before = page("rl");
    fs::remove_file(folder.join("rl/report.html")).unwrap();
    run("rl", "rl", "rl", &[&from("sft"), "--resume"]);
    assert!(before == page("rl"), "the page of a finished stage is written again as it was");
}
