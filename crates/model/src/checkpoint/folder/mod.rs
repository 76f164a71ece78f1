//! Hugging Face folders: one `model.safetensors`, or shards listed by an index.
//!
//! What other tools put there is brought into one form: scales are attached, names unified, fused tensors taken apart,
//! and a head that `config.json` denies is kept. What was guessed or repaired is noted.

mod fp8;
mod head;
mod names;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use super::error::{CheckpointError, FETCH_AGAIN, quoted};
use super::mapped::MappedFile;
use super::tensor::Entry;
use super::{Checkpoint, refused, safetensors};

pub(super) const WHOLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Room for a million tensors.
const MAX_INDEX_BYTES: u64 = 128 << 20;

/// The index of a sharded checkpoint: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// No configuration in use comes near.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Opens the folder `path`.
pub(super) fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    if let Some(error) = refused::by_text_files(path) {
        return Err(error);
    }
    let config = read_config(path);
    if let Some(error) = config.as_ref().and_then(|config| refused::by_config(path, config)) {
        return Err(error);
    }
    if path.join(WHOLE).exists() {
        let files = vec![MappedFile::open(&path.join(WHOLE))?];
        let held = entries(&files)?;
        return unify(path, files, held, config.as_ref());
    }
    let index_path = path.join(INDEX);
    if !index_path.exists() {
        return Err(refused::by_files(path, &models_in(path)));
    }
    let index = read_index(&index_path)?;
    let mut shards: Vec<&str> = index.weight_map.values().map(String::as_str).collect();
    shards.sort_unstable();
    shards.dedup();
    let mut files = Vec::new();
    for shard in &shards {
        // A shard's name must not lead out of the folder.
        let mut parts = Path::new(shard).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            let problem = format!("names the shard {}, which is no file name", quoted(shard));
            return Err(CheckpointError::damaged(&index_path, problem, FETCH_AGAIN));
        }
        files.push(MappedFile::open(&path.join(shard))?);
    }
    let held = entries(&files)?;
    for (tensor, shard) in &index.weight_map {
        let in_shard = |entry: &Entry| entry.slices().all(|slice| shards[slice.file] == shard);
        if !held.get(tensor).is_some_and(in_shard) {
            let problem = format!("tensor {} is not in {}", quoted(tensor), quoted(shard));
            let cure = "fetch the index and all shards of the same model again";
            return Err(CheckpointError::damaged(&index_path, problem, cure));
        }
    }
    unify(path, files, held, config.as_ref())
}

/// Opens one safetensors file, which may be a model beside its `config.json`.
pub(super) fn open_file(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let files = vec![MappedFile::open(path)?];
    let held = entries(&files)?;
    let config = path.parent().and_then(read_config);
    unify(path, files, held, config.as_ref())
}

/// The tensors of safetensors `files`, as they are called there.
fn entries(files: &[MappedFile]) -> Result<BTreeMap<String, Entry>, CheckpointError> {
    let mut tensors = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        for (name, entry) in safetensors::entries(file, index)? {
            if tensors.contains_key(&name) {
                let problem = format!("tensor {} is there twice", quoted(&name));
                return Err(CheckpointError::damaged(file.path(), problem, FETCH_AGAIN));
            }
            tensors.insert(name, entry);
        }
    }
    Ok(tensors)
}

/// One checkpoint, called `path`, of `tensors` in one form.
fn unify(
    path: &Path,
    files: Vec<MappedFile>,
    mut tensors: BTreeMap<String, Entry>,
    config: Option<&Value>,
) -> Result<Checkpoint, CheckpointError> {
    if let Some(error) = refused::by_names(path, tensors.keys().map(String::as_str)) {
        return Err(error);
    }
    let mut notes = Vec::new();
    fp8::attach(path, &mut tensors, config)?;
    let tensors = names::rename(tensors, &mut notes);
    let mut tensors = names::take_apart(path, tensors, config)?;
    notes.extend(config.and_then(ids_outside));
    let tied = config.and_then(|config| head::tied(&mut tensors, &files, config, &mut notes));
    Ok(Checkpoint { tied, notes, ..Checkpoint::new(path, files, tensors) })
}

/// A note where `config` names tokens for which the model has no row.
fn ids_outside(config: &Value) -> Option<String> {
    let rows = config.get("vocab_size")?.as_u64()?;
    let ids = ["bos_token_id", "eos_token_id"].into_iter().flat_map(|key| match config.get(key) {
        Some(Value::Array(ids)) => ids.iter().collect(),
        one => one.into_iter().collect::<Vec<_>>(),
    });
    let outside = |id: &&Value| id.is_number() && id.as_u64().is_none_or(|id| id >= rows);
    let outside: Vec<String> = ids.filter(outside).map(Value::to_string).collect();
    let listed = outside.join(", ");
    (!outside.is_empty())
        .then(|| format!("config.json names tokens outside its {rows} rows, which are left out: {listed}"))
}

/// The content of a folder's `config.json`, as far as this module needs it: whoever needs the model's configuration
/// reads the file again and hears what is wrong with it.
fn read_config(folder: &Path) -> Option<Value> {
    let mut text = Vec::new();
    File::open(folder.join("config.json")).ok()?.take(MAX_CONFIG_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The folders right below `path` that hold a model, as a run's folder has them.
fn models_in(path: &Path) -> Vec<String> {
    let folders = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut models: Vec<String> = folders
        .filter(|folder| folder.path().join(WHOLE).exists())
        .map(|folder| quoted(&folder.file_name().to_string_lossy()))
        .collect();
    models.sort_unstable();
    models
}

fn read_index(path: &Path) -> Result<Index, CheckpointError> {
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_INDEX_BYTES + 1).read_to_end(&mut text)).map_err(|source| {
        CheckpointError::Io { file: path.to_owned(), action: "read it", source, cure: "check its permissions" }
    })?;
    if text.len() as u64 > MAX_INDEX_BYTES {
        let problem = format!("is larger than {MAX_INDEX_BYTES} bytes");
        return Err(CheckpointError::damaged(path, problem, FETCH_AGAIN));
    }
    serde_json::from_slice(&text)
        .map_err(|e| CheckpointError::damaged(path, format!("is unreadable: {e}"), FETCH_AGAIN))
}
