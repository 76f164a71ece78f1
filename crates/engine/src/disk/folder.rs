//! The folder that pages are in, and what was there when it was opened.
//!
//! The lock is the operating system's, on a file of its own, so it ends with its process, however that ends. Files that
//! are not called as ours are never touched: somebody may have named a folder that holds other things.

use super::DiskError;
use super::index::Index;
use super::key::Key;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The file whose lock stands for the folder.
const LOCK: &str = "cache.lock";
/// How the names of pages end, and those of pages that are being written.
const PAGE: &str = ".page";
const PARTIAL: &str = ".partial";

/// What tells programs that make backups to leave the folder out (<https://bford.info/cachedir/>).
const TAG: (&str, &str) = (
    "CACHEDIR.TAG",
    "Signature: 8a477f597d28d172789f06886806bc55\n# Pages of picnic's cache. They can be deleted at any time.\n",
);

/// A folder that nobody else uses as long as this value lives.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, locks it, and says which pages it has. What a process that was killed left
    /// unfinished is deleted.
    pub(super) fn open(path: &Path) -> Result<(Folder, Index), DiskError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        // The pages tell what was said to whoever can read them.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(DiskError::folder(path))?;
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(path.join(LOCK));
        let lock = lock.map_err(DiskError::folder(path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskError::Held(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(DiskError::folder(path)(source)),
        }
        let folder = Folder { path: path.to_owned(), _lock: lock };
        let index = folder.scan()?;
        let (name, text) = TAG;
        if !path.join(name).exists() {
            // Only a courtesy: without it everything works.
            let _ = fs::write(path.join(name), text);
        }
        Ok((folder, index))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a page.
    pub(super) fn page(&self, key: Key) -> PathBuf {
        self.path.join(format!("{key}{PAGE}"))
    }

    /// Where a page is written before it is renamed.
    pub(super) fn partial(&self, key: Key) -> PathBuf {
        self.path.join(format!("{key}{PARTIAL}"))
    }

    fn scan(&self) -> Result<Index, DiskError> {
        let mut index = Index::default();
        for entry in fs::read_dir(&self.path).map_err(DiskError::folder(&self.path))? {
            let entry = entry.map_err(DiskError::folder(&self.path))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // A link is none of our files.
            let Some(about) = entry.metadata().ok().filter(|about| about.is_file()) else { continue };
            if name.strip_suffix(PARTIAL).and_then(Key::parse).is_some() {
                let _ = fs::remove_file(entry.path());
            } else if let Some(key) = name.strip_suffix(PAGE).and_then(Key::parse) {
                index.add(key, about.len(), about.modified().unwrap_or(UNIX_EPOCH));
            }
        }
        Ok(index)
    }
}
