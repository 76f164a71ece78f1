//! The folder of a run: what it holds, whose it is, and how it is written so that a kill or a power cut leaves each file
//! whole or not there. Left out: what is in a checkpoint (`training/checkpoint.rs`), and that only one process writes
//! there at a time (`locked_folder.rs`).

use crate::error::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a stage keeps its checkpoints until it is done.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// What a finished stage records.
pub(crate) const OUTCOME: &str = "outcome.json";
/// The resolved recipe of a run, in its folder.
pub(crate) const RECIPE: &str = "recipe.toml";

/// Begins a run in a locked folder that holds none, or goes on with one of the same recipe.
///
/// # Errors
/// [`Error::Occupied`] if nobody asked to resume; another recipe's run.
pub(crate) fn claim(out: &Path, resume: bool, resolved_toml: &str) -> Result<(), Error> {
    let path = out.join(RECIPE);
    if path.exists() {
        return if resume { same_recipe(&path, resolved_toml) } else { Err(Error::Occupied(out.to_owned())) };
    }
    write_file(&path, resolved_toml)
}

/// Refuses to go on with a run that another recipe began.
pub(crate) fn same_recipe(path: &Path, resolved_toml: &str) -> Result<(), Error> {
    let earlier = fs::read_to_string(path).map_err(Error::reading(path))?;
    if earlier == resolved_toml {
        return Ok(());
    }
    Err(Error::Resume { path: path.to_owned(), problem: "is another recipe".into() })
}

/// The whole checkpoints in a stage's folder, by step.
pub(crate) fn list(out: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let folder = out.join(CHECKPOINTS);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).map_err(Error::reading(&folder))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::reading(&folder))?.path();
        let step = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix("step-")?.parse().ok());
        found.extend(step.map(|step| (step, path)));
    }
    found.sort();
    Ok(found)
}

/// The newest of them.
pub(crate) fn latest(out: &Path) -> Result<Option<(u64, PathBuf)>, Error> {
    Ok(list(out)?.pop())
}

/// Takes away what a run left that was killed while it wrote its finished model: temporary files, which nothing reads
/// but which are as large as the model, and an index of shards, beside which no others may be written.
pub(crate) fn remove_halves(out: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(out).map_err(Error::reading(out))? {
        let path = entry.map_err(Error::reading(out))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(".writing-") && name.ends_with(".tmp") || name == "model.safetensors.index.json" {
            fs::remove_file(&path).map_err(Error::writing(&path))?;
        }
    }
    Ok(())
}

/// A hash of contents, in hexadecimal: tells apart what nobody made to collide.
pub(crate) fn hash_of(bytes: impl IntoIterator<Item = u8>) -> String {
    format!("{:016x}", picnic_random::fnv1a(bytes))
}

/// What a run recorded in `path`, if it did.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(Error::reading(path))?;
    let value = serde_json::from_str(&text)
        .map_err(|e| Error::Resume { path: path.to_owned(), problem: format!("is no record of a run ({e})") })?;
    Ok(Some(value))
}

/// Writes beside and renames.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::writing(path)(e.into()))?;
    write_file(path, &text)
}

/// Writes beside and renames.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text).map_err(Error::writing(&partial))?;
    sync_file(&partial)?;
    fs::rename(&partial, path).map_err(Error::writing(path))
}

/// Waits until a file is on the disk, so that a rename cannot get there before what it names.
pub(crate) fn sync_file(path: &Path) -> Result<(), Error> {
    let file = fs::OpenOptions::new().append(true).open(path);
    file.and_then(|file| file.sync_all()).map_err(Error::writing(path))
}

/// The same for the renames in a folder; only Unix can open one.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::writing(path))?;
    }
    Ok(())
}
