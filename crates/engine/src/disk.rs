//! Pages of the cache in a folder, from which they are read again after they had to leave memory and after a restart.
//!
//! A page is a file, named by a hash of everything that its content follows from (`key.rs`), so that a file is either
//! the page that is looked for or is not found. A file holds its own name and a checksum of all (`file.rs`); what fails
//! either check is never used, is deleted and is said. Files are written to a temporary name and renamed. The folder has
//! a budget in bytes, by which the files least recently used go first, and their times of use outlast the process
//! (`index.rs`, `folder.rs`). A thread of its own reads and writes (`worker.rs`), so that a slow disk holds nobody up who
//! needs nothing of it.
//!
//! One process has a folder at a time, by the operating system's lock. Whatever goes wrong with the disk costs time and no
//! answer: the page is computed instead. Knows nothing of a model: when the engine asks for which page is
//! `engine/paging.rs`. Left out: encryption, compression, and folders that several processes share.

mod file;
mod folder;
mod index;
mod key;
mod worker;

pub(crate) use file::Content;
pub(crate) use key::{Key, Link, Namespace};

use folder::Folder;
use picnic_model::WeightForm;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::{Deferred, Read, Worker};

/// Bytes that wait to be written, or that are being read, at once: what a pause between two passes copies at most.
pub(crate) const IN_FLIGHT: usize = 32 << 20;

/// How a person is told what became of the disk, in one line.
pub(crate) type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Where pages are kept, and of which weights.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// The folder. It is made with access for its owner alone.
    pub folder: PathBuf,
    /// Bytes that all files of pages in it may take, those of other models included.
    pub bytes: u64,
    /// [`Checkpoint::fingerprint`](picnic_model::checkpoint::Checkpoint::fingerprint) of the weights.
    pub weights: [u8; 32],
    /// The form in which they are multiplied.
    pub form: WeightForm,
}

/// Why a folder cannot keep pages.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it.
    #[error("another process keeps its cache in {}: choose another folder with --cache-dir", .0.display())]
    Held(PathBuf),
    /// It cannot be made, read, written or locked.
    #[error("cannot keep a cache in {}: {source}; choose a folder that can be written with --cache-dir", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the thread that reads and writes the cache on disk: {0}; close other programs and try again")]
    Thread(#[source] std::io::Error),
}

/// A folder of pages, to be handed to an [`Engine`](crate::Engine).
///
/// When it is dropped, it waits until what was handed over is written.
pub struct DiskCache {
    settings: DiskSettings,
    say: Say,
    worker: Arc<Worker>,
    /// `None` only while it is dropped.
    arrivals: Option<Receiver<Arrival>>,
    thread: Option<JoinHandle<()>>,
}

/// What a file that was asked for came to.
pub(crate) struct Arrival {
    /// Under which number it was asked for.
    pub(crate) ticket: u64,
    /// `None` if it is not there or not to be used.
    pub(crate) content: Option<Content>,
}

/// The thread that reads and writes has ended.
pub(crate) struct Ended;

/// Waits for what an engine has handed over to its disk, when it is out of reach.
pub struct DiskWriter(Arc<Worker>);

/// Counts since the folder was opened, and the bytes of all files now.
#[derive(Clone, Copy, Default)]
pub(crate) struct DiskCounts {
    pub(crate) written: u64,
    pub(crate) unwritten: u64,
    pub(crate) refused: u64,
    pub(crate) bytes: u64,
}

impl DiskCache {
    /// Makes the folder if need be, locks it, finds the pages that are there, and deletes the least recently used ones
    /// until the rest is within the budget. `say` gets what a person should know, a line each.
    ///
    /// # Errors
    /// A folder that another process has or that cannot be used.
    pub fn open(settings: DiskSettings, say: impl Fn(&str) + Send + Sync + 'static) -> Result<DiskCache, DiskError> {
        let say: Say = Arc::new(say);
        let (folder, index) = Folder::open(&settings.folder)?;
        let (sender, arrivals) = channel();
        let worker = Arc::new(Worker::new(folder, index, settings.bytes, Arc::clone(&say)));
        worker.make_room(0).map_err(DiskError::folder(&settings.folder))?;
        let thread = std::thread::Builder::new().name("disk".to_owned()).spawn({
            let worker = Arc::clone(&worker);
            move || worker.run(&sender)
        });
        let thread = Some(thread.map_err(DiskError::Thread)?);
        Ok(DiskCache { settings, say, worker, arrivals: Some(arrivals), thread })
    }

    /// A handle that can wait for its writes. As long as it lives, so does the lock on the folder.
    pub fn writer(&self) -> DiskWriter {
        DiskWriter(Arc::clone(&self.worker))
    }

    pub(crate) fn settings(&self) -> &DiskSettings {
        &self.settings
    }

    pub(crate) fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// Bytes that a file with so much content takes.
    pub(crate) fn file_bytes(content: usize) -> u64 {
        file::OVERHEAD + content as u64
    }

    /// Whether there is such a page.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.worker.index().has(key)
    }

    /// Asks for the page `key` of `len` bytes; it arrives under the number `ticket`.
    pub(crate) fn read(&self, ticket: u64, key: Key, len: usize) {
        self.worker.read(Read { ticket, key, len });
    }

    /// Whether `len` bytes more may be handed over now. At least one page always may.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.worker.waiting_bytes().is_none_or(|waiting| waiting + len <= IN_FLIGHT)
    }

    /// Hands a page over to be written.
    pub(crate) fn write(&self, key: Key, content: Vec<u8>) {
        self.worker.defer(Deferred::Write(key, content));
    }

    /// Says that these pages were used just now, the last one of them last.
    pub(crate) fn touch(&self, keys: Vec<Key>) {
        if !keys.is_empty() {
            self.worker.defer(Deferred::Touch(keys));
        }
    }

    /// A page that was read meanwhile, if there is one.
    pub(crate) fn arrival(&self) -> Result<Option<Arrival>, Ended> {
        match self.arrivals.as_ref().map(Receiver::try_recv) {
            Some(Ok(arrival)) => Ok(Some(arrival)),
            Some(Err(TryRecvError::Empty)) => Ok(None),
            Some(Err(TryRecvError::Disconnected)) | None => Err(Ended),
        }
    }

    /// The next page that is read, if it comes within `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Result<Option<Arrival>, Ended> {
        match self.arrivals.as_ref().map(|arrivals| arrivals.recv_timeout(patience)) {
            Some(Ok(arrival)) => Ok(Some(arrival)),
            Some(Err(RecvTimeoutError::Timeout)) => Ok(None),
            Some(Err(RecvTimeoutError::Disconnected)) | None => Err(Ended),
        }
    }

    pub(crate) fn counts(&self) -> DiskCounts {
        self.worker.counts()
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.worker.close();
        // Nobody takes what is still read.
        self.arrivals = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl DiskWriter {
    /// Returns once everything that was handed over is written, or after `patience`.
    pub fn wait(&self, patience: Duration) {
        self.0.wait_until_idle(patience);
    }
}

impl DiskError {
    fn folder(folder: &Path) -> impl FnOnce(std::io::Error) -> DiskError {
        let folder = folder.to_owned();
        move |source| DiskError::Folder { folder, source }
    }
}

#[cfg(test)]
mod tests;
