//! A file mapped into memory, read-only.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::error::{CheckpointError, FETCH_AGAIN};

/// Bytes that stay where they are.
#[derive(Debug)]
pub(super) enum SharedBytes {
    /// Part of a mapped file.
    Mapped(Arc<Mmap>, Range<usize>),
    /// Made from several parts.
    Made(Vec<u8>),
}

impl Deref for SharedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            SharedBytes::Mapped(map, range) => &map[range.clone()],
            SharedBytes::Made(bytes) => bytes,
        }
    }
}

/// A mapped file that is not empty.
#[derive(Debug)]
pub(super) struct MappedFile {
    path: PathBuf,
    map: Arc<Mmap>,
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
        Ok(MappedFile { path, map: Arc::new(map) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The bytes at `range`, which keep the mapping as long as they live. Panics if it reaches past the end.
    pub(super) fn shared(&self, range: Range<usize>) -> SharedBytes {
        assert!(range.start <= range.end && range.end <= self.map.len());
        SharedBytes::Mapped(Arc::clone(&self.map), range)
    }

    /// Gives the memory that holds `range` back to the system; it is read from the file again when it is used again.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            let range = range.start.min(self.map.len())..range.end.min(self.map.len());
            // SAFETY: the pages of a read-only mapping of a file are copies of what the file holds, and no code writes
            // to them, so that dropping them changes no byte that anybody sees.
            let released = unsafe {
                self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
            };
            // A refusal costs memory and nothing else.
            drop(released);
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}
