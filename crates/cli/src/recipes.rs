//! `picnic recipes`: the recipes that come with the program, written where it runs, so that a program that was installed
//! without its repository can train, and its recipes can be read and changed.

use crate::output::line;
use anyhow::{Context, Result};
use clap::Args;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

/// Arguments of `picnic recipes`.
#[derive(Args)]
#[command(after_help = "Example:
  picnic recipes && picnic r1")]
pub struct RecipesArgs {
    /// The folder to write to; commands that name no recipe look into `recipes` where they run
    #[arg(default_value = "recipes")]
    dir: PathBuf,
}

macro_rules! shipped {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../recipes/", $name)))),*]
    };
}

/// The recipes by name; those of the tests and the presets of RL, which every recipe can name, are left out.
const SHIPPED: &[(&str, &str)] = shipped![
    "nano/common.toml" "nano/eval.toml" "nano/polish.toml" "nano/pretrain.toml" "nano/questions.jsonl" "nano/r1.toml"
    "nano/rl.toml" "nano/sft.toml" "smollm2/common.toml" "smollm2/eval.toml" "smollm2/r1.toml" "smollm2/rl.toml"
    "smollm2/sft.toml"
    "tiny/common.toml" "tiny/eval.toml" "tiny/full.toml" "tiny/on_policy.toml" "tiny/pretrain.toml" "tiny/r1.toml"
    "tiny/reject.toml" "tiny/rl-preset.toml" "tiny/rl.toml" "tiny/rl2.toml" "tiny/sft.toml" "tiny/sft2.toml"
    "tiny/zero.toml"
];

/// Writes what is not there yet. A file that is there stays as it is, whoever changed it.
pub fn run(args: &RecipesArgs) -> Result<()> {
    let (mut written, mut changed) = (0, Vec::new());
    for (name, text) in SHIPPED {
        let path = args.dir.join(name);
        let cannot = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(cannot)?;
        }
        match File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes()).with_context(cannot)?;
                written += 1;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if fs::read(&path).with_context(|| format!("cannot read {}", path.display()))? != text.as_bytes() {
                    changed.push(path);
                }
            }
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    for path in &changed {
        line(format_args!("{} is another than the program's, and stays as it is", path.display()))?;
    }
    line(format_args!("{written} of {} files written to {}", SHIPPED.len(), args.dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_recipe_is_shipped() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let mut there = Vec::new();
        for folder in ["nano", "smollm2", "tiny"] {
            let files = fs::read_dir(root.join(folder)).unwrap();
            there.extend(files.map(|file| format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap())));
        }
        there.sort();
        let mut shipped: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        shipped.sort_unstable();
        assert_eq!(shipped, there);
    }
}
