//! MODEL on the command line: a Hugging Face folder, a GGUF file, or `nano`, the built-in model.

use anyhow::{Context, Result, bail};
use picnic_chat::ChatFormat;
use picnic_model::{Backend, SharedModel, backend};
use picnic_train::load::open;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What MODEL is when nothing is said.
pub const NANO: &str = "nano";

/// Variables of the chat template, as typed.
#[derive(clap::Args)]
pub struct TemplateVariables {
    /// Set a variable of the chat template, such as enable_thinking=false; the value is JSON, or else text
    #[arg(long = "template-var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, Value)>,
}

impl TemplateVariables {
    /// Their values by name; of a name given twice, the last.
    pub fn map(&self) -> Map<String, Value> {
        self.variables.iter().cloned().collect()
    }
}

fn variable(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            // Python's spelling too, in which model cards have it.
            let value = match value {
                "True" => Value::Bool(true),
                "False" => Value::Bool(false),
                "None" => Value::Null,
                other => serde_json::from_str(other).unwrap_or_else(|_| other.into()),
            };
            Ok((name.to_owned(), value))
        }
        _ => Err("give a name and a value, as in enable_thinking=false".to_owned()),
    }
}

/// A model ready to run on this machine's processor.
pub struct Loaded {
    /// What to call it: the name of its folder or file.
    pub name: String,
    /// The architecture with its parameters, frozen.
    pub model: SharedModel<Backend>,
    /// What computes them, on all cores.
    pub ops: Backend,
    /// How it talks.
    pub chat: ChatFormat,
}

/// Where a model is.
pub struct Place {
    /// Its folder or file.
    pub path: PathBuf,
    /// What to call it: the name of its folder or file.
    pub name: String,
    /// Keeps the built-in model's files, which go with this.
    _unpacked: Option<TempDir>,
}

/// Loads `model` from where it is.
pub fn load(model: &str) -> Result<Loaded> {
    let place = place(model)?;
    load_from(&place.path, place.name)
}

/// Where `model` is; the built-in one is unpacked.
pub fn place(model: &str) -> Result<Place> {
    if model != NANO {
        let path = PathBuf::from(model);
        let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let name = name.map_or_else(|| model.to_owned(), |name| name.to_string_lossy().into_owned());
        return Ok(Place { path, name, _unpacked: None });
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
    Ok(Place { path: folder.path().to_owned(), name: NANO.to_owned(), _unpacked: Some(folder) })
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
    let source = open(path)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let ops = backend::with_threads(threads)?;
    let read = picnic_train::load::load(&ops, &source.checkpoint, &source.chat, false)?;
    read.notes.iter().for_each(|note| eprintln!("note: {note}"));
    Ok(Loaded { name, model: SharedModel::new(read.model, read.params), ops, chat: source.chat })
}
