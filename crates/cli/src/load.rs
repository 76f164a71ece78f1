//! MODEL on the command line: a Hugging Face folder, a GGUF file, or `nano`, the built-in model.

use crate::disk::DiskOptions;
use anyhow::Result;
use picnic_chat::ChatFormat;
use picnic_engine::DiskCache;
use picnic_model::checkpoint::Checkpoint;
use picnic_model::{Backend, CacheForm, SharedModel, WeightForm, backend};
use picnic_train::eval;
use picnic_train::load::{Source, open};
pub use picnic_train::place::NANO;
use serde_json::{Map, Value};
use std::path::Path;

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
    /// What computes them.
    pub ops: Backend,
    /// How it talks.
    pub chat: ChatFormat,
}

/// How weights and the cache are kept, as typed.
#[derive(clap::Args, Clone, Copy)]
pub struct Forms {
    /// How to keep and multiply weights: exact gives the bits of training, q8 and q4 round to 8 and 4 bits and are
    /// faster
    #[arg(long, value_enum, default_value = "exact")]
    weights: WeightsName,
    /// How to keep the keys and values of what was read: f32 gives the bits of training, f16 and q8 round to 16 and 8
    /// bits, so that a conversation takes a half or about a quarter of the memory
    #[arg(long, value_enum, default_value = "f32")]
    cache: CacheName,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum WeightsName {
    Exact,
    Q8,
    Q4,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum CacheName {
    F32,
    F16,
    Q8,
}

impl Forms {
    /// The form of the weights.
    pub fn weights(self) -> WeightForm {
        match self.weights {
            WeightsName::Exact => WeightForm::Exact,
            WeightsName::Q8 => WeightForm::Q8,
            WeightsName::Q4 => WeightForm::Q4,
        }
    }

    /// The form of the cache.
    pub fn cache(self) -> CacheForm {
        match self.cache {
            CacheName::F32 => CacheForm::Exact,
            CacheName::F16 => CacheForm::F16,
            CacheName::Q8 => CacheForm::Q8,
        }
    }

    /// Both, for a model to be judged.
    pub fn both(self) -> eval::Forms {
        eval::Forms { weights: self.weights(), cache: self.cache() }
    }

    /// Whether either rounds.
    pub fn rounds(self) -> bool {
        self.weights() != WeightForm::Exact || self.cache() != CacheForm::Exact
    }
}

/// Loads the model that `model` names, to run on all cores.
pub fn load(model: &str, weights: WeightForm) -> Result<Loaded> {
    load_on(model, weights, all_cores())
}

/// The same, with the folder for pages of its cache if there is one.
pub fn load_with_disk(model: &str, weights: WeightForm, disk: &DiskOptions) -> Result<(Loaded, Option<DiskCache>)> {
    // All weights are hashed: only if it is for something.
    let hash = |checkpoint: &Checkpoint| disk.is_wanted().then(|| checkpoint.fingerprint());
    let (loaded, fingerprint) = load_and(model, weights, all_cores(), hash)?;
    Ok((loaded, fingerprint.and_then(|fingerprint| disk.open(fingerprint, weights))))
}

/// Loads the model that `model` names, to run on `threads` threads.
pub fn load_on(model: &str, weights: WeightForm, threads: usize) -> Result<Loaded> {
    Ok(load_and(model, weights, threads, |_| ())?.0)
}

/// The same with what `look` makes of the checkpoint that it was read from.
fn load_and<T>(
    model: &str,
    weights: WeightForm,
    threads: usize,
    look: impl FnOnce(&Checkpoint) -> T,
) -> Result<(Loaded, T)> {
    let source = open(Path::new(model))?;
    let ops = backend::with_threads(threads)?;
    let read = picnic_train::load::load(&ops, &source.checkpoint, &source.chat, Some(weights))?;
    read.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let seen = look(&source.checkpoint);
    let Source { chat, place, .. } = source;
    let loaded = Loaded { name: place.name.clone(), model: SharedModel::new(read.model, read.params), ops, chat };
    Ok((loaded, seen))
}

fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
