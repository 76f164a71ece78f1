//! What a run says where there is no terminal: plain lines in a pipe, objects with `--json`, nothing with `--quiet`; the
//! commands to go on with; and the end by a signal. Left out: the full screen, whose picture is tested in
//! `picnic-display`.

use crate::program::{Folder, picnic, recipe, run};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn r1(name: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = picnic(&["r1", &recipe(name), "--out", out.to_str().unwrap()]);
    // Tests are started by cargo too.
    command.args(more).env_remove("CARGO").stdout(Stdio::piped());
    command
}

fn texts(output: Output) -> (String, String) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_pipe_gets_plain_lines_and_the_commands_to_go_on_with() {
    let folder = Folder::new();
    let out = folder.join("run");
    let (results, lines) = texts(run(&mut r1("smoke/r1.toml", &out, &[])));
    assert!(!lines.contains('\u{1b}') && !results.contains('\u{1b}'), "{lines}");
    for said in [
        "pretrain 6/6 · loss ",
        "pretrain took ",
        "base: 0 % is expected here: the base model has never seen the format",
        "control: more SFT for RL's compute 1/",
        "control: RL with a random reward 3/3 · reward ",
        "control_random_reward: 0.0 % right [",
    ] {
        assert!(lines.contains(said), "no {said:?} in {lines}");
    }
    assert!(results.contains("0 %, as expected: it has never seen the format"), "{results}");
    let [program, out] = [env!("CARGO_BIN_EXE_picnic"), out.to_str().unwrap()];
    for command in [format!("{program} chat {out}/rl"), format!("{program} report {out} ")] {
        assert!(results.contains(&command), "no {command:?} in {results}");
    }
    // The same run again, as `cargo run` starts it.
    let mut again = r1("smoke/r1.toml", Path::new(out), &["--resume"]);
    let (results, lines) = texts(run(again.env("CARGO", "cargo")));
    assert!(results.contains(&format!("cargo run --release -- chat {out}/rl")), "{results}");
    assert!(!lines.contains("pretrain") && lines.contains("base: 0 % is expected here"), "{lines}");
}

#[test]
fn json_is_an_object_a_line_and_begins_every_part_of_its_plan() {
    let folder = Folder::new();
    let (objects, lines) = texts(run(&mut r1("smoke/full.toml", &folder.join("run"), &["--json"])));
    assert_eq!(lines, "");
    let rows: Vec<Value> = objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.iter().all(Value::is_object));
    let parts = rows.iter().find_map(|row| row["plan"]["parts"].as_array()).expect("a plan");
    let planned: Vec<&Value> = parts.iter().map(|part| &part["name"]).collect();
    // A part that is only evaluated begins with its evaluation.
    let mut begun: Vec<&Value> = Vec::new();
    for name in rows.iter().flat_map(|row| [&row["begun"], &row["evaluating"]]).filter(|name| name.is_string()) {
        if !begun.contains(&name) {
            begun.push(name);
        }
    }
    assert_eq!(begun, planned);
    // Its steps are those of the plan, but for the control that takes as many as RL's compute allows.
    let opened = rows.iter().filter(|row| row["opened"].is_object()).map(|row| &row["opened"]["total"]);
    let steps = parts.iter().map(|part| &part["steps"]).filter(|steps| **steps != 0);
    let differ = opened.zip(steps).filter(|(opened, steps)| opened != steps).count();
    assert!(differ <= 1, "{objects}");
    assert!(rows.iter().any(|row| row["stage"] == "rl" && row["reward"].is_number()));
    assert!(rows.iter().any(|row| row["note"].as_str().is_some_and(|note| note.starts_with("rl: "))));
    assert!(rows.iter().any(|row| row["answer"]["question"].is_string() && row["answer"]["step"] == 1));
    assert!(rows.last().unwrap()["stages"].is_object(), "the report comes last");
}

#[test]
fn quiet_says_nothing() {
    let folder = Folder::new();
    let said = texts(run(&mut r1("smoke/r1.toml", &folder.join("run"), &["--quiet"])));
    assert_eq!(said, (String::new(), String::new()));
}

/// Signals that end a run: it says which step is safe and how to go on.
#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_says_how_to_go_on() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = Folder::new();
        let out = folder.join("my run");
        let long = ["rl.steps=1000000", "controls=false"];
        let mut child = r1("smoke/r1.toml", &out, &long).stderr(Stdio::piped()).spawn().unwrap();
        // When the second checkpoint is there, the first one has been told of.
        let has_checkpoint = || {
            let found = std::fs::read_dir(out.join("rl/checkpoints"));
            found.is_ok_and(|found| found.flatten().any(|entry| entry.file_name() >= *"step-00000002"))
        };
        while !has_checkpoint() {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        let last: Vec<&str> = said.lines().rev().take(2).collect();
        assert!(last[1].starts_with("Stopped in reinforcement learning after step "), "{said}");
        assert!(last[1].ends_with(" is safe, in its checkpoint."), "{said}");
        let command = format!(
            "To go on:  {} r1 {} --out '{}' rl.steps=1000000 controls=false --resume",
            env!("CARGO_BIN_EXE_picnic"),
            recipe("smoke/r1.toml"),
            out.display()
        );
        assert_eq!(last[0], command);
    }
}
