//! `picnic report` on one run, on two, and on one recipe from several seeds.

mod program;

use program::{Folder, picnic, recipe, refuse, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;

fn said(args: &[&str]) -> String {
    let output = picnic(args).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
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

    refuse(&mut picnic(&["report", &path("none")]), &["none", "report.json", "picnic r1"]);
    fs::write(Path::new(&b).join("report.json"), "{\"stages\": 3").unwrap();
    refuse(&mut picnic(&["report", &a, &b, "--out", &out]), &["report.json", "whole report"]);
    refuse(&mut picnic(&["report", &a, "--out", &path("none/x.html")]), &["x.html", "cannot write"]);
}
