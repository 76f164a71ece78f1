//! `picnic quantize MODEL OUT.gguf --weights q8`: a model with smaller weights, in a file that llama.cpp reads too.

use crate::export::{gguf, is_gguf};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use picnic_model::kernels::stored::StoredType;
use std::path::PathBuf;

/// Arguments of `picnic quantize`.
#[derive(Args)]
pub struct QuantizeArgs {
    /// A Hugging Face folder, a GGUF file, or `nano`
    model: String,
    /// File to write, which ends in .gguf
    out: PathBuf,
    /// Bits of a weight: q8 is Q8_0 of ggml, q4 is Q4_0
    #[arg(long, value_enum)]
    weights: Weights,
}

#[derive(Clone, Copy, ValueEnum)]
enum Weights {
    Q8,
    Q4,
}

/// Reads, quantises and writes.
pub fn run(args: &QuantizeArgs) -> Result<()> {
    if !is_gguf(&args.out) {
        bail!("{}: quantised weights are written as GGUF: give a name that ends in .gguf", args.out.display());
    }
    let weights = match args.weights {
        Weights::Q8 => StoredType::Q8_0,
        Weights::Q4 => StoredType::Q4_0,
    };
    gguf(&args.model, &args.out, weights)?;
    eprintln!("note: matrices are {weights}, norms, biases and gates F32");
    Ok(())
}
