//! `picnic export MODEL OUT`: any model that Picnic reads, as a Hugging Face folder.

use crate::load::load;
use crate::output::line;
use anyhow::Result;
use clap::{Args, ValueEnum};
use picnic_model::checkpoint::{FloatType, SHARD_BYTES};
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
    /// A larger model is cut into files with at most this many 10⁹ bytes of tensors
    #[arg(long, value_name = "GB", value_parser = size, default_value_t = SHARD_BYTES as f64 / 1e9)]
    shard_gb: f64,
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
    // The model first: where it is refused, the folder keeps its own tokenizer.
    let (model, params) = (loaded.model.model(), loaded.model.params());
    picnic_model::save(&loaded.ops, model, &params, &args.out, dtype, (args.shard_gb * 1e9) as u64)?;
    loaded.chat.save(&args.out)?;
    line(args.out.display())
}

fn size(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(gb) if gb > 0.0 => Ok(gb),
        _ => Err("give a number above 0".into()),
    }
}
