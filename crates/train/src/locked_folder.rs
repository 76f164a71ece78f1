//! A folder that one process writes at a time.
//!
//! The lock is the operating system's, on the file `run.lock`, so it ends with its process, however that ends. What the
//! file says is who holds the lock; it is read only while somebody does, so a file that a killed process left behind
//! stops nobody.

use crate::error::Error;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The file whose lock stands for the folder.
const LOCK: &str = "run.lock";

/// As much as is repeated of what a lock's file says.
const MAX_HOLDER_BYTES: u64 = 300;

/// A folder that nobody else writes as long as this value lives.
pub struct LockedFolder {
    path: PathBuf,
    /// The folders that were made for it, innermost first. They go again if nothing comes to be in them.
    made: Vec<PathBuf>,
    _lock: File,
}

impl LockedFolder {
    /// Makes the folder if need be and locks it.
    ///
    /// The folder of a chain has those of its stages in it, so a folder is also refused if another process holds the
    /// one around it or one directly inside it.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process is writing there; a folder that cannot be made or locked.
    pub fn take(folder: &Path) -> Result<LockedFolder, Error> {
        let whole = std::path::absolute(folder).map_err(Error::writing(folder))?;
        let inner = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for neighbour in whole.parent().map(Path::to_owned).into_iter().chain(inner) {
            refuse_if_held(&neighbour)?;
        }
        Self::lock(folder.to_owned())
    }

    /// Locks a folder inside this one.
    ///
    /// # Errors
    /// As [`LockedFolder::take`].
    pub(crate) fn inside(&self, name: &str) -> Result<LockedFolder, Error> {
        Self::lock(self.path.join(name))
    }

    fn lock(path: PathBuf) -> Result<LockedFolder, Error> {
        let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let made = path.ancestors().take_while(is_missing).map(Path::to_owned).collect();
        fs::create_dir_all(&path).map_err(Error::writing(&path))?;
        let file = path.join(LOCK);
        let mut lock = loop {
            let lock = File::options().read(true).write(true).create(true).truncate(false).open(&file);
            let lock = lock.map_err(Error::writing(&file))?;
            match lock.try_lock() {
                // Its last holder may have taken the file away between our opening and our locking it.
                Ok(()) if is_at(&lock, &file) => break lock,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(locked(&path)),
                Err(TryLockError::Error(source)) => return Err(unlockable(&file, source)),
            }
        };
        let written = lock.set_len(0).and_then(|()| lock.write_all(holder().as_bytes()));
        written.map_err(Error::writing(&file))?;
        Ok(LockedFolder { path, made, _lock: lock })
    }
}

impl Deref for LockedFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for LockedFolder {
    fn drop(&mut self) {
        // The file goes while it is still locked. Where it cannot go it does no harm.
        let _ = fs::remove_file(self.path.join(LOCK));
        for folder in &self.made {
            // The system removes empty folders only.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Refuses if another process holds the lock of `folder`.
fn refuse_if_held(folder: &Path) -> Result<(), Error> {
    let path = folder.join(LOCK);
    let Ok(file) = File::open(&path) else { return Ok(()) };
    match file.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(locked(folder)),
        Err(TryLockError::Error(source)) => Err(unlockable(&path, source)),
    }
}

/// What a lock's file says of this process.
fn holder() -> String {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().map_or_else(|| program.clone(), |name| name.to_string_lossy().into());
    let command = std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ");
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("process {} has been writing here since {since} ({command})\n", std::process::id())
}

/// The error that names who holds `folder`. Windows lets nobody read a file that another process has locked.
fn locked(folder: &Path) -> Error {
    let mut said = Vec::new();
    let read = File::open(folder.join(LOCK)).and_then(|file| file.take(MAX_HOLDER_BYTES).read_to_end(&mut said));
    let text = String::from_utf8_lossy(&said);
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let holder = match read {
        Ok(_) if !line.is_empty() => line,
        _ => "another process is writing here".to_owned(),
    };
    Error::Locked { folder: folder.to_owned(), holder }
}

fn unlockable(path: &Path, source: std::io::Error) -> Error {
    let cure = "the file cannot be locked against other processes: choose an --out on a file system that has locks";
    Error::Io { path: path.to_owned(), source, cure }
}

/// Whether `path` still names the open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => identity(one) == identity(other),
        _ => false,
    }
}

/// Windows keeps the name of an open file from being used again.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(taken: Result<LockedFolder, Error>) -> String {
        taken.err().expect("a refusal").to_string()
    }

    #[test]
    fn one_holder_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("runs/tiny");
        let held = LockedFolder::take(&folder).unwrap();
        let stage = held.inside("rl").unwrap();
        let process = format!("process {} ", std::process::id());
        for second in [&*folder, &stage, &root.path().join("runs"), &folder.join("sft")] {
            let text = refusal(LockedFolder::take(second));
            assert!(text.contains("--out"), "{text}");
            // Elsewhere a locked file cannot be read.
            assert!(!cfg!(unix) || text.contains(&process), "{text}");
        }
        fs::write(stage.join("model.safetensors"), "").unwrap();
        drop((stage, held));
        assert!(!folder.join(LOCK).exists() && !folder.join("rl").join(LOCK).exists());
        assert!(folder.join("rl/model.safetensors").exists());
        LockedFolder::take(&folder).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let stale = "process 1 has been writing here since the beginning of the world, with a long command line\n";
        fs::write(root.path().join(LOCK), stale.repeat(9)).unwrap();
        let held = LockedFolder::take(root.path()).unwrap();
        let text = fs::read_to_string(held.join(LOCK));
        assert!(!cfg!(unix) || text.is_ok_and(|text| !text.contains("world") && text.lines().count() == 1));
    }

    #[test]
    fn folders_that_stay_empty_go_again() {
        let root = tempfile::tempdir().unwrap();
        drop(LockedFolder::take(&root.path().join("a/b/c")).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
