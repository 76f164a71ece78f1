//! A GGUF file in shards: `NAME-00001-of-00003.gguf` and so on, the settings in the first, tensors in all.

use std::path::{Path, PathBuf};

use super::container::Gguf;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::error::{FETCH_AGAIN, quoted};
use crate::checkpoint::mapped::MappedFile;

const CURE: &str = "fetch all shards of one model into one folder, under the names that they were published with";

/// Opens the file `path`, and if it is a shard all that belong to it, in order.
pub(super) fn open(path: &Path) -> Result<Vec<MappedFile>, CheckpointError> {
    let file = MappedFile::open(path)?;
    let (number, count) = place(&Gguf::parse(&file)?)?;
    if count < 2 {
        return Ok(vec![file]);
    }
    let damaged = |problem: String| CheckpointError::damaged(path, problem, CURE);
    let Some(base) = base_of(path, number, count) else {
        let problem = format!("is shard {number} of {count}, but its name does not end in {}", suffix(number, count));
        return Err(damaged(problem));
    };
    let mut opened = Some(file);
    let mut files = Vec::new();
    for shard in 1..=count {
        if shard == number {
            files.extend(opened.take());
            continue;
        }
        let other = shard_of(path, &base, shard, count);
        if !other.exists() {
            let name = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(damaged(format!("is one of {count} shards, and {} is missing", quoted(&name))));
        }
        files.push(MappedFile::open(&other)?);
    }
    Ok(files)
}

/// Checks that `shards`, in the order of their names, are what they are called, and hold what the first announces.
pub(super) fn check(shards: &[Gguf]) -> Result<(), CheckpointError> {
    let [first, ..] = shards else { return Ok(()) };
    if shards.len() < 2 {
        return Ok(());
    }
    for (gguf, expected) in shards.iter().zip(1..) {
        let (number, count) = place(gguf)?;
        if (number, count) != (expected, shards.len()) {
            let problem = format!("is shard {number} of {count}, not {expected} of {} as its name says", shards.len());
            return Err(CheckpointError::damaged(gguf.path, problem, CURE));
        }
    }
    let held: usize = shards.iter().map(|gguf| gguf.tensors.len()).sum();
    if let Some(announced) = first.unsigned("split.tensors.count")?
        && announced != held as u64
    {
        let problem = format!("announces {announced} tensors in all shards, but they hold {held}");
        return Err(CheckpointError::damaged(first.path, problem, CURE));
    }
    Ok(())
}

/// Which shard a file is, from 1, and of how many; 1 of 1 where it says nothing.
fn place(gguf: &Gguf) -> Result<(usize, usize), CheckpointError> {
    let count = gguf.unsigned("split.count")?.unwrap_or(1);
    let number = gguf.unsigned("split.no")?.unwrap_or(0);
    // llama.cpp keeps both in 16 bits.
    if count > u64::from(u16::MAX) || count > 0 && number >= count {
        let problem = format!("says that it is shard {number} (from 0) of {count}");
        return Err(CheckpointError::damaged(gguf.path, problem, FETCH_AGAIN));
    }
    Ok((number as usize + 1, count as usize))
}

fn suffix(number: usize, count: usize) -> String {
    format!("-{number:05}-of-{count:05}.gguf")
}

/// What the names of all shards begin with.
fn base_of(path: &Path, number: usize, count: usize) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(&suffix(number, count)).map(str::to_owned)
}

fn shard_of(path: &Path, base: &str, number: usize, count: usize) -> PathBuf {
    path.with_file_name(format!("{base}{}", suffix(number, count)))
}
