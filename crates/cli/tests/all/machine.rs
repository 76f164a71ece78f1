//! What the program says of itself and of the machine: `doctor`, `completions` and `man`.

use crate::program::{Folder, picnic, refuse};
use serde_json::Value;
use std::fs;
use std::process::Stdio;

/// Standard output of a command that must succeed.
fn said(args: &[&str], isa: Option<&str>) -> String {
    let mut command = picnic(args);
    if let Some(isa) = isa {
        command.env("PICNIC_ISA", isa);
    }
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_doctor_looks_at_this_machine() {
    let text = said(&["doctor"], None);
    for word in ["processor", "threads", "GFLOP/s", "memory", "bandwidth", "free", env!("CARGO_PKG_VERSION")] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    let found: Value = serde_json::from_str(&said(&["doctor", "--json"], Some("scalar"))).unwrap();
    assert_eq!(found["instruction_set"], "scalar");
    let at_least = |key: &str, least: f64| assert!(found[key].as_f64().unwrap() >= least, "{key}: {found}");
    at_least("threads", 1.0);
    at_least("hardware_threads", found["threads"].as_f64().unwrap());
    at_least("memory_bytes", found["memory_available_bytes"].as_f64().unwrap());
    at_least("gflops", f64::MIN_POSITIVE);
    let rates = found["gflops_of_one_thread"].as_object().unwrap();
    let advice = found["advice"].to_string();
    assert_eq!(advice.contains("PICNIC_ISA chooses scalar"), rates.len() > 1, "{advice}");
    refuse(picnic(&["doctor"]).env("PICNIC_ISA", "sse"), &["PICNIC_ISA", "scalar"]);
}

#[test]
fn shells_and_manual() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = said(&["completions", shell], None);
        assert!(script.contains("pretrain") && script.contains("resume"), "{shell}");
    }
    let folder = Folder::new();
    let pages = folder.join("man1");
    said(&["man", pages.to_str().unwrap()], None);
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("picnic.1").contains("pretrain") && page("picnic-r1.1").contains("resume"));
    assert!(page("picnic-bench-train.1").contains("steps"));
    refuse(&mut picnic(&["man", pages.join("picnic.1").to_str().unwrap()]), &["picnic.1"]);
}
