//! A file mapped into memory, read-only.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::error::{CheckpointError, FETCH_AGAIN};

/// A mapped file that is not empty.
#[derive(Debug)]
pub(super) struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

impl MappedFile {
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io = |action| {
            move |source| CheckpointError::Io {
                file: path.to_owned(),
                action,
                source,
                cure: "check the path and its permissions",
            }
        };
        let file = File::open(path).map_err(io("open it"))?;
        let about = file.metadata().map_err(io("read its size"))?;
        // A pipe or a device has no bytes to map.
        if !about.is_file() || about.len() == 0 {
            return Err(CheckpointError::damaged(path, "is empty", FETCH_AGAIN));
        }
        // SAFETY: the bytes must not change while they are borrowed. No code of ours writes to a
        // checkpoint in place (writers make a new file and rename it), and the content is only
        // read as plain bytes, so another program's writes could garble values and nothing else.
        let map = unsafe { Mmap::map(&file) }.map_err(io("map it into memory"))?;
        let path = path.to_owned();
        Ok(MappedFile { path, map })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }
}
