//! `picnic tokenizer train`: a byte-level BPE vocabulary from text files.

use crate::output::line;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use picnic_chat::ChatFormat;
use picnic_tokenizer::{Tokenizer, TrainConfig};
use picnic_train::LockedFolder;
use std::path::PathBuf;

/// Arguments of `picnic tokenizer`.
#[derive(Args)]
pub struct TokenizerArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a vocabulary on text files
    Train {
        /// Plain text, UTF-8
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Tokens at most
        #[arg(long, default_value_t = 4096)]
        vocab_size: usize,
        /// Folder for tokenizer.json and tokenizer_config.json
        #[arg(long)]
        out: PathBuf,
    },
}

/// Runs the subcommand.
pub fn run(args: TokenizerArgs) -> Result<()> {
    let Command::Train { files, vocab_size, out } = args.command;
    let out = LockedFolder::take(&out)?;
    let mut texts = Vec::with_capacity(files.len());
    for file in &files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("{}: cannot be read as UTF-8 text", file.display()))?;
        if text.is_empty() {
            bail!("{}: the file is empty; give one with text", file.display());
        }
        texts.push(text);
    }
    let tokenizer = Tokenizer::train(&texts, &TrainConfig { vocab_size, ..TrainConfig::default() })?;
    let vocab_size = tokenizer.vocab_size();
    ChatFormat::picnic(tokenizer).save(&out)?;
    line(format_args!("{} tokens; {}", vocab_size, out.display()))?;
    Ok(())
}
