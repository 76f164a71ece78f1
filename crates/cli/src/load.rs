//! MODEL on the command line: a Hugging Face folder, a GGUF file, or `nano`, the built-in model.

use anyhow::{Context, Result, bail};
use picnic_model::checkpoint::Checkpoint;
use picnic_model::{Backend, Model, SharedModel, backend};
use picnic_tokenizer::Tokenizer;
use picnic_train::tokenizer::{check_vocabulary, load_tokenizer};
use serde_json::Value;
use std::path::Path;

/// What MODEL is when nothing is said.
pub const NANO: &str = "nano";

/// A model ready to run on this machine's processor.
pub struct Loaded {
    /// What to call it: the name of its folder or file.
    pub name: String,
    /// The architecture with its parameters, frozen.
    pub model: SharedModel<Backend>,
    /// What computes them, on all cores.
    pub ops: Backend,
    /// Its tokenizer and chat template.
    pub tokenizer: Tokenizer,
    /// Tokens that end a turn.
    pub eos: Vec<u32>,
}

/// Loads `model` from where it is.
pub fn load(model: &str) -> Result<Loaded> {
    if model != NANO {
        let path = Path::new(model);
        let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let name = name.map_or_else(|| model.to_owned(), |name| name.to_string_lossy().into_owned());
        return load_from(path, name);
    }
    let Some(files) = BUILT_IN else {
        bail!("this build has no built-in model: name a Hugging Face folder or a GGUF file");
    };
    // One way of reading a model: from its folder.
    let folder = tempfile::tempdir().context("cannot unpack the built-in model: make room for temporary files")?;
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)
            .with_context(|| format!("cannot unpack the built-in model to {}", path.display()))?;
    }
    load_from(folder.path(), NANO.to_owned())
}

/// The files of the built-in model's folder.
type Files = [(&'static str, &'static [u8]); 4];

#[cfg(nano)]
const BUILT_IN: Option<Files> = {
    macro_rules! file {
        ($name:literal) => {
            ($name, include_bytes!(concat!("../../../models/nano/", $name)))
        };
    }
    Some([file!("config.json"), file!("model.safetensors"), file!("tokenizer.json"), file!("tokenizer_config.json")])
};
#[cfg(not(nano))]
const BUILT_IN: Option<Files> = None;

fn load_from(path: &Path, name: String) -> Result<Loaded> {
    let checkpoint = Checkpoint::open(path)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let ops = backend::with_threads(threads)?;
    let tokenizer = load_tokenizer(path)?;
    let (model, params) = picnic_model::load(&ops, &checkpoint, false)?;
    check_vocabulary(&tokenizer, model.config(), path)?;
    report_unused(&checkpoint, &model);
    let mut eos = model.config().eos_token_ids.clone();
    eos.extend(tokenizer.eos());
    eos.extend(generation_eos(path)?);
    eos.sort_unstable();
    eos.dedup();
    Ok(Loaded { name, model: SharedModel::new(model, params), ops, tokenizer, eos })
}

/// Tokens that end a turn according to `generation_config.json`: some models have more than their tokenizer names.
fn generation_eos(folder: &Path) -> Result<Vec<u32>> {
    let file = folder.join("generation_config.json");
    if !file.is_file() {
        return Ok(Vec::new());
    }
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let config: Value = serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let ids = match &config["eos_token_id"] {
        Value::Array(ids) => ids.iter().collect(),
        one => vec![one],
    };
    Ok(ids.into_iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect())
}

/// Says which tensors of the checkpoint the architecture has no place for. Copies of embedding and head beside the
/// module of multi-token prediction, a tied head and stored rotary frequencies are expected.
fn report_unused(checkpoint: &Checkpoint, model: &Model) {
    let config = model.config();
    let copies = model.mtp_copies();
    let expected = |name: &str| {
        copies.iter().any(|(copy, _)| copy == name)
            || name.ends_with("rotary_emb.inv_freq")
            || (config.tie_word_embeddings && name == "lm_head.weight")
    };
    let used: std::collections::HashSet<&str> = model.specs().iter().map(|spec| spec.name.as_str()).collect();
    let unused: Vec<&str> = checkpoint.tensor_names().filter(|name| !used.contains(name) && !expected(name)).collect();
    if let Some(first) = unused.first() {
        eprintln!("note: {} tensors of {} are not used, {first:?} first", unused.len(), checkpoint.path().display());
    }
}
