//! `picnic export MODEL OUT`: any model that Picnic reads, as a Hugging Face folder.

use crate::load::load;
use crate::output::line;
use anyhow::Result;
use clap::{Args, ValueEnum};
use picnic_model::checkpoint::FloatType;
use std::path::PathBuf;

/// Arguments of `picnic export`.
#[derive(Args)]
pub struct ExportArgs {
    /// A Hugging Face folder, a GGUF file, or `nano`
    model: String,
    /// Folder to write
    out: PathBuf,
    /// How weights are stored
    #[arg(long, value_enum, default_value_t = Dtype::Bf16)]
    dtype: Dtype,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
    F16,
}

/// Reads and writes.
pub fn run(args: &ExportArgs) -> Result<()> {
    let loaded = load(&args.model)?;
    let dtype = match args.dtype {
        Dtype::F32 => FloatType::F32,
        Dtype::Bf16 => FloatType::Bf16,
        Dtype::F16 => FloatType::F16,
    };
    loaded.tokenizer.save(&args.out)?;
    picnic_model::save(&loaded.ops, &loaded.model, &loaded.params, &args.out, dtype)?;
    line(args.out.display())
}
