//! `picnic export MODEL OUT`: any model that Picnic reads, as a Hugging Face folder or as a GGUF file for llama.cpp.

use crate::load::load;
use crate::output::line;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use picnic_model::WeightForm;
use picnic_model::checkpoint::{FloatType, GgufTokenizer, SHARD_BYTES, write_gguf};
use picnic_model::kernels::stored::StoredType;
use picnic_train::LockedFolder;
use std::path::{Path, PathBuf};

/// Arguments of `picnic export`.
#[derive(Args)]
pub struct ExportArgs {
    /// A Hugging Face folder, a GGUF file, or `nano`
    model: String,
    /// Folder to write, or file if it ends in .gguf
    out: PathBuf,
    /// How weights are stored; the last two in GGUF alone
    #[arg(long, value_enum, default_value_t = Dtype::Bf16)]
    dtype: Dtype,
    /// A larger folder is cut into files with at most this many 10⁹ bytes of tensors [default: 5]
    #[arg(long, value_name = "GB", value_parser = size)]
    shard_gb: Option<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
    F16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_0")]
    Q4_0,
}

/// Reads and writes.
pub fn run(args: &ExportArgs) -> Result<()> {
    if is_gguf(&args.out) {
        if args.shard_gb.is_some() {
            bail!("{}: a GGUF file is written whole: leave out --shard-gb", args.out.display());
        }
        let weights = match args.dtype {
            Dtype::F32 => StoredType::F32,
            Dtype::Bf16 => StoredType::BF16,
            Dtype::F16 => StoredType::F16,
            Dtype::Q8_0 => StoredType::Q8_0,
            Dtype::Q4_0 => StoredType::Q4_0,
        };
        return gguf(&args.model, &args.out, weights);
    }
    let dtype = match args.dtype {
        Dtype::F32 => FloatType::F32,
        Dtype::Bf16 => FloatType::Bf16,
        Dtype::F16 => FloatType::F16,
        Dtype::Q8_0 | Dtype::Q4_0 => bail!("{}: only a file that ends in .gguf is quantised", args.out.display()),
    };
    // A run that is being written must not find another model in its folder.
    let _lock = LockedFolder::take(&args.out)?;
    let loaded = load(&args.model, WeightForm::Exact)?;
    let shard_bytes = args.shard_gb.map_or(SHARD_BYTES, |gb| (gb * 1e9) as u64);
    // The model first: where it is refused, the folder keeps its own tokenizer.
    let (model, params) = (loaded.model.model(), loaded.model.params());
    picnic_model::save(&loaded.ops, model, &params, &args.out, dtype, shard_bytes)?;
    loaded.chat.save(&args.out)?;
    line(args.out.display())
}

/// Writes `model` as the GGUF file `out`, its matrices as `weights`, and says what is stored otherwise.
pub fn gguf(model: &str, out: &Path, weights: StoredType) -> Result<()> {
    let source = picnic_train::load::open(Path::new(model))?;
    let tokenizer = match source.checkpoint.gguf_tokenizer() {
        Some(tokenizer) => tokenizer.clone(),
        None => {
            // A folder says in many ways how a model talks; a save of ours in one.
            let folder = tempfile::tempdir().context("cannot write the tokenizer: make room for temporary files")?;
            source.chat.save(folder.path())?;
            GgufTokenizer::from_folder(folder.path(), source.chat.ends().ids())?
        }
    };
    let notes = write_gguf(out, &source.checkpoint, &tokenizer, weights)?;
    source.checkpoint.notes().iter().chain(&notes).for_each(|note| eprintln!("note: {}: {note}", source.place.name));
    line(out.display())
}

/// Whether a path names a GGUF file.
pub fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

fn size(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(gb) if gb > 0.0 => Ok(gb),
        _ => Err("give a number above 0".into()),
    }
}
