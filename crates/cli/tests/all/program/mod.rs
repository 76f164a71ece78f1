//! The program `picnic` and its folders, for tests from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder that goes away with the test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The repository's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A shipped recipe.
pub fn recipe(name: &str) -> String {
    root().join("recipes").join(name).to_str().unwrap().to_owned()
}

/// A folder of fixtures.
pub fn golden(name: &str) -> PathBuf {
    root().join("golden").join(name)
}

/// The program with arguments, silent and without the caller's settings.
pub fn picnic(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picnic"));
    command.args(args).env_remove("PICNIC_ISA").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs to the end.
pub fn run(command: &mut Command) -> Output {
    command.stderr(Stdio::piped()).output().unwrap()
}

/// Runs to an end that must be good.
pub fn succeed(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs to a refusal: exit code 1 and one line on standard error, which says `words`. Returns the line.
pub fn refuse(command: &mut Command, words: &[&str]) -> String {
    let output = run(command);
    let text = String::from_utf8(output.stderr).expect("errors are UTF-8");
    assert_eq!(output.status.code(), Some(1), "{command:?}: {text}");
    assert!(text.starts_with("error: ") && text.lines().count() == 1, "{command:?}: {text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{command:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{command:?}: no {word:?} in {text}");
    }
    text
}

/// Numbers by a linear congruential generator: the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
