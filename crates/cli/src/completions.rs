//! `picnic completions SHELL` and `picnic man DIR`: what a shell and `man` know of the commands, made from the same
//! definitions as `--help`.

use crate::output::line;
use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::PathBuf;

/// Arguments of `picnic completions`.
#[derive(Args)]
#[command(after_help = "Examples:
  picnic completions bash > ~/.local/share/bash-completion/completions/picnic
  picnic completions zsh > ~/.zfunc/_picnic     (a folder in fpath)
  picnic completions fish > ~/.config/fish/completions/picnic.fish")]
pub struct CompletionsArgs {
    /// Which shell the script on standard output is for
    shell: Shell,
}

/// Arguments of `picnic man`.
#[derive(Args)]
#[command(after_help = "Example:
  picnic man ~/.local/share/man/man1 && man picnic-r1")]
pub struct ManArgs {
    /// Folder for picnic.1 and a page for each command
    dir: PathBuf,
}

/// Writes the script.
pub fn completions(args: &CompletionsArgs, mut program: Command) -> Result<()> {
    // Generating into a pipe that closes would panic.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "picnic", &mut script);
    line(String::from_utf8_lossy(&script).trim_end())
}

/// Writes the pages.
pub fn man(args: &ManArgs, program: Command) -> Result<()> {
    let cannot = || format!("cannot write the manual to {}", args.dir.display());
    std::fs::create_dir_all(&args.dir).with_context(cannot)?;
    clap_mangen::generate_to(program, &args.dir).with_context(cannot)?;
    line(args.dir.display())
}
