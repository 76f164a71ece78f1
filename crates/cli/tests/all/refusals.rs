//! Input that the program must refuse: one line that says what and where, exit code 1, and nothing lost that was
//! already written.

use crate::program::{Folder, golden, picnic, recipe, refuse, run, succeed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `picnic STAGE recipes/smoke/STAGE.toml …` into `out`.
fn stage(stage: &str, out: &Path, more: &[&str]) -> Command {
    let recipe = recipe(&format!("smoke/{stage}.toml"));
    let mut command = picnic(&[stage, &recipe, "--quiet", "--out", out.to_str().unwrap()]);
    command.args(more);
    command
}

/// A pre-trained model in `folder`.
fn base(folder: &Folder) -> PathBuf {
    let base = folder.join("base");
    succeed(&mut stage("pretrain", &base, &["steps=2"]));
    base
}

#[test]
fn recipes() {
    let folder = Folder::new();
    let out = folder.join("out");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = folder.join("none.toml").to_str().unwrap().to_owned();
    let cases = [
        (missing.as_str(), "none.toml"),
        (folder.join("").to_str().unwrap(), "directory"),
        (&file("bytes.toml", b"\xff\xfe\0"), "UTF-8"),
        (&file("open.toml", b"steps = ["), "line 1"),
        (&file("empty.toml", b""), "missing"),
        (&file("circle.toml", b"extends = \"circle.toml\""), "circle"),
        (&file("lines.toml", b"\"a\\nb\" = 1"), "unknown"),
    ]
    .map(|(path, word)| (path.to_owned(), word));
    for (path, word) in cases {
        for command in ["pretrain", "sft", "rl", "r1", "eval"] {
            let args = [command, path.as_str(), "--quiet", "--out", out.to_str().unwrap()];
            // What is no file is a model to an evaluation, which then looks for the tiny recipe.
            let word = if (command, word) == ("eval", "directory") { "recipes/tiny/eval.toml" } else { word };
            refuse(&mut picnic(&args), &[word]);
        }
    }
    for (text, words) in [
        ("stepps=3", ["stepps", "steps"]),
        ("optimizer.lrr=3", ["optimizer.lrr", "lr"]),
        ("steps=-3", ["steps", "command line"]),
        ("steps=0", ["steps", "command line"]),
        ("steps=many", ["steps", "many"]),
        ("=3", ["command line", "rl.steps=3"]),
        ("optimizer.lr=nan", ["optimizer.lr", "command line"]),
        ("optimizer.lr=1e30", ["optimizer.lr", "out of range"]),
        ("base=/no/such/model", ["base", "/no/such/model"]),
        ("model.hidden_size=0", ["hidden_size", "error"]),
        ("model.n_group=3", ["n_group", "error"]),
    ] {
        refuse(&mut stage("pretrain", &out, &[text]), &words);
    }
    assert!(!out.exists(), "a refused recipe leaves nothing behind");
}

#[test]
fn data() {
    let folder = Folder::new();
    let base = base(&folder);
    let base = format!("base={}", base.display());
    let out = folder.join("out");
    let good = r#"{"question": "How many?", "answer": "Two and two. #### 4"}"#;
    for (name, text, words) in [
        ("empty", String::new(), ["0 rows", "empty"]),
        ("cut", "{\"question\": \"How ma".into(), ["line 1", "cut"]),
        ("number", format!("{good}\n{{\"question\": 3}}\n"), ["line 2", "number"]),
        ("answer", format!("{good}\n\n{{\"question\": \"?\", \"answer\": \"none\"}}\n"), ["line ", "####"]),
        ("one", good.into(), ["split", "rows"]),
    ] {
        let path = folder.join(&format!("{name}.jsonl"));
        fs::write(&path, text).unwrap();
        let tasks = format!("tasks=[{{name=\"gsm8k\", path=\"{}\"}}]", path.display());
        refuse(&mut stage("sft", &out, &[&base, &tasks]), &words);
    }
    let tasks = "tasks=[{name=\"gsm8k\", path=\"/no/such/file.jsonl\"}]";
    refuse(&mut stage("rl", &out, &[&base, tasks]), &["/no/such/file.jsonl"]);
    refuse(&mut stage("sft", &out, &[&base, "max_tokens=3"]), &["max_tokens", "raise"]);
}

#[test]
fn truncated_models() {
    let folder = Folder::new();
    let base = base(&folder);
    let weights = base.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let text = format!("base={}", base.display());
    for cut in [whole.len() - 1, whole.len() / 2, 1000, 7, 0] {
        fs::write(&weights, &whole[..cut]).unwrap();
        refuse(&mut stage("sft", &folder.join("out"), &[&text]), &["model.safetensors"]);
    }
    fs::write(&weights, whole).unwrap();
    for (name, word) in [("config.json", "config.json"), ("tokenizer.json", "tokenizer")] {
        let path = base.join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        refuse(&mut stage("sft", &folder.join("out"), &[&text]), &[word]);
        fs::write(&path, whole).unwrap();
    }
}

/// A run whose weights grow a hundredfold at each step until they overflow.
const EXPLODING: [&str; 5] =
    ["optimizer.lr=10", "optimizer.weight_decay=10", "optimizer.decay=constant", "steps=60", "checkpoint_every=1"];

/// The newest checkpoint of a stage's folder, which must be the only one.
fn checkpoint(out: &Path) -> PathBuf {
    let mut entries = fs::read_dir(out.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let path = entries.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("step-"));
    path.expect("a checkpoint")
}

#[test]
fn a_loss_that_is_no_number() {
    let folder = Folder::new();
    let out = folder.join("out");
    let error = refuse(&mut stage("pretrain", &out, &EXPLODING), &["step", "optimizer.lr"]);
    let last = checkpoint(&out);
    assert!(error.contains(last.to_str().unwrap()), "the way out is named: {error}");
    // The checkpoint is whole: resuming arrives at the same end, and it is a model to start from.
    assert_eq!(refuse(stage("pretrain", &out, &EXPLODING).arg("--resume"), &[]), error);
    let start = format!("base={}", last.display());
    let said = run(&mut stage("sft", &folder.join("sft"), &[&start, "steps=1"]));
    assert!(!String::from_utf8_lossy(&said.stderr).contains("damaged"), "{said:?}");

    for name in ["training/optimizer.safetensors", "training/state.json", "model.safetensors"] {
        let path = last.join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let file = name.rsplit('/').next().unwrap();
        refuse(stage("pretrain", &out, &EXPLODING).arg("--resume"), &[file]);
        fs::write(&path, whole).unwrap();
    }
    refuse(stage("pretrain", &out, &["steps=9", "checkpoint_every=1"]).arg("--resume"), &["recipe"]);
    refuse(&mut stage("pretrain", &out, &EXPLODING), &["--resume"]);
}

#[test]
fn folders_in_use() {
    let folder = Folder::new();
    let base = base(&folder);
    let model = || fs::read(base.join("model.safetensors")).unwrap();
    let before = model();
    refuse(&mut stage("pretrain", &base, &["steps=2"]), &["--resume", "--out"]);
    refuse(stage("pretrain", &base, &["steps=3"]).arg("--resume"), &["recipe"]);
    succeed(stage("pretrain", &base, &["steps=2"]).arg("--resume"));
    assert!(before == model(), "a finished model stays");

    // A model that no run of ours made: nothing beside it says which recipe it is of.
    fs::remove_file(base.join("recipe.toml")).unwrap();
    fs::remove_file(base.join("outcome.json")).unwrap();
    refuse(stage("pretrain", &base, &["steps=2"]).arg("--resume"), &["recipe.toml", "--out"]);
    assert!(before == model(), "somebody else's model stays");

    let chain = folder.join("chain");
    succeed(&mut stage("r1", &chain, &["controls=false"]));
    refuse(&mut stage("r1", &chain, &["controls=false"]), &["--resume", "--out"]);
    refuse(stage("r1", &chain, &["controls=false", "seed=5"]).arg("--resume"), &["recipe"]);

    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    for command in ["pretrain", "r1"] {
        refuse(&mut stage(command, &file, &[]), &["file"]);
        refuse(&mut stage(command, &file.join("below"), &[]), &["below"]);
    }
}

#[test]
fn a_file_of_problems_that_has_changed() {
    let folder = Folder::new();
    let (base, data, out) = (base(&folder), folder.join("problems.jsonl"), folder.join("out"));
    let row = |i: u32| format!("{{\"question\": \"What is {i} and 1?\", \"answer\": \"So\\n#### {}\"}}\n", i + 1);
    let write = |count: u32| fs::write(&data, (0..count).map(row).collect::<String>()).unwrap();
    write(60);
    let task = format!("tasks=[{{name=\"gsm8k\",path={:?}}}]", data.to_str().unwrap());
    let args = [format!("base={}", base.display()), task, "steps=1".to_owned(), "examples=8".to_owned()];
    let sft = || stage("sft", &out, &args.each_ref().map(String::as_str));
    succeed(&mut sft());
    succeed(sft().arg("--resume"));
    write(61);
    refuse(sft().arg("--resume"), &["recipe", "--out"]);

    let chain = folder.join("chain");
    let r1 =
        || stage("r1", &chain, &[&args[0], &args[1], "controls=false", "eval.problems=2", "rl.steps=1", "sft.steps=1"]);
    succeed(&mut r1());
    write(62);
    refuse(r1().arg("--resume"), &["recipe", "--out"]);
}

#[test]
fn answers_longer_than_a_model() {
    let folder = Folder::new();
    let base = format!("base={}", base(&folder).display());
    for command in ["eval", "rl"] {
        let args = [&base[..], "max_tokens=127"];
        refuse(&mut stage(command, &folder.join("out"), &args), &["128 positions", "max_tokens"]);
    }
}

#[test]
fn unknown_instruction_sets() {
    let golden = golden("llama");
    for name in ["avx1024", "AVX2", "", "scalar "] {
        let mut command = picnic(&["parity", golden.to_str().unwrap()]);
        refuse(command.env("PICNIC_ISA", name), &["PICNIC_ISA", "scalar"]);
    }
}

#[test]
fn a_limit_that_is_no_number_of_seconds() {
    let golden = golden("llama");
    for text in ["soon", "-1", "", "1.5"] {
        let mut command = picnic(&["parity", golden.to_str().unwrap()]);
        refuse(command.env("PICNIC_STALL_SECONDS", text), &["PICNIC_STALL_SECONDS", "whole seconds"]);
    }
}

#[test]
fn a_full_standard_output() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: this system has no /dev/full");
        return;
    }
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let folder = Folder::new();
    let base = base(&folder);
    let base = base.to_str().unwrap();
    let text = folder.join("text");
    fs::write(&text, "some words and some more words").unwrap();
    let golden = golden("llama");
    let out = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    for args in [
        &["parity", golden.to_str().unwrap()][..],
        &["export", base, &out("export")],
        &["tokenizer", "train", text.to_str().unwrap(), "--vocab-size", "280", "--out", &out("tokenizer")],
        &["chat", base, "--prompt", "1 + 1", "--max-tokens", "4"],
        &["serve", base, "--port", "0"],
    ] {
        refuse(picnic(args).stdout(full()).env("CLICOLOR", "0"), &["standard output", "No space left"]);
    }
}

#[test]
fn samples_that_have_no_place() {
    let folder = Folder::new();
    let base = base(&folder);
    let (eval, base) = (recipe("smoke/eval.toml"), format!("base={}", base.display()));
    for place in ["none/samples.jsonl", ""] {
        let place = folder.join(place);
        refuse(&mut picnic(&["eval", &eval, &base, "--samples", place.to_str().unwrap()]), &["cannot write"]);
    }
    let samples = folder.join("samples.jsonl");
    let endless = ["eval", &eval, &base, "max_tokens=100000000000000", "--samples", samples.to_str().unwrap()];
    refuse(&mut picnic(&endless), &["max_tokens", "out of range"]);
    assert!(!samples.exists() && !samples.with_extension("partial").exists());
    let of_each = |more: &[&str]| {
        let args = ["eval", &eval, &base, "--quiet", "--samples", samples.to_str().unwrap()];
        succeed(picnic(&args).args(more));
        fs::read_to_string(&samples).unwrap().lines().count()
    };
    assert_eq!(of_each(&["samples=3"]), of_each(&["-k", "3"]));
}

/// A small file system of its own, taken away at the end.
struct Disk(PathBuf);

impl Disk {
    fn new(at: &Path, bytes: u64) -> Option<Disk> {
        fs::create_dir(at).unwrap();
        let options = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Disk(at.to_owned()))
    }

    fn grow(&self, bytes: u64) {
        let options = format!("remount,size={bytes}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk() {
    let folder = Folder::new();
    let steps = ["steps=9", "checkpoint_every=3"];
    let whole = folder.join("whole");
    succeed(&mut stage("pretrain", &whole, &steps));
    let size: u64 = fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    // A checkpoint is the finished folder and two moments beside it: the first fits, the second no more.
    let Some(disk) = Disk::new(&folder.join("disk"), 4 * size) else {
        eprintln!("skipped: making a small disk takes the right to mount one");
        return;
    };
    let out = folder.join("disk/run");
    let error = refuse(&mut stage("pretrain", &out, &steps), &["No space left", "make room"]);
    println!("{error}");
    assert!(checkpoint(&out).ends_with("step-00000003"));
    disk.grow(40 * size);
    succeed(stage("pretrain", &out, &steps).arg("--resume"));
    let [a, b] = [&whole, &out].map(|folder| fs::read(folder.join("model.safetensors")).unwrap());
    assert!(a == b, "what was written before is gone on from");

    drop(disk);
    let Some(_disk) = Disk::new(&folder.join("chain"), 4 * size) else { return };
    refuse(&mut stage("r1", &folder.join("chain/run"), &[]), &["No space left", "make room"]);
}
