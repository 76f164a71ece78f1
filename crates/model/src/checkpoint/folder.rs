//! Hugging Face folders: one `model.safetensors`, or shards listed by an index.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde::Deserialize;

use super::error::{CheckpointError, FETCH_AGAIN, quoted};
use super::mapped::MappedFile;
use super::{Checkpoint, safetensors};

pub(super) const WHOLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Room for a million tensors.
const MAX_INDEX_BYTES: u64 = 128 << 20;

/// The index of a sharded checkpoint: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens the folder `path`.
pub(super) fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    if path.join(WHOLE).exists() {
        return open_files(path, vec![MappedFile::open(&path.join(WHOLE))?]);
    }
    let index_path = path.join(INDEX);
    if !index_path.exists() {
        let cure = match models_in(path).as_slice() {
            [] => "give a Hugging Face folder with safetensors weights".to_owned(),
            models => format!("give one of the models in it: {}", models.join(", ")),
        };
        return Err(CheckpointError::damaged(path, format!("has neither {WHOLE} nor {INDEX}"), &cure));
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
    let checkpoint = open_files(path, files)?;
    for (tensor, shard) in &index.weight_map {
        let found = checkpoint.tensors.get(tensor);
        if found.is_none_or(|entry| shards[entry.file] != shard) {
            let problem = format!("tensor {} is not in {}", quoted(tensor), quoted(shard));
            return Err(CheckpointError::damaged(
                &index_path,
                problem,
                "fetch the index and all shards of the same model again",
            ));
        }
    }
    Ok(checkpoint)
}

/// Joins the tensors of safetensors `files` into one checkpoint, called `path`.
pub(super) fn open_files(path: &Path, files: Vec<MappedFile>) -> Result<Checkpoint, CheckpointError> {
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
    Ok(Checkpoint { path: path.to_owned(), files, tensors, gguf: None })
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
