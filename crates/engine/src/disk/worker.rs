//! The thread that reads and writes the files of pages.
//!
//! Reads come first: somebody waits for them. Writes and notes of use are done in the order in which they were handed
//! over, so that a note comes after the page that it is of. No lock is held while a file is read or written.

use super::file::{self, Unread};
use super::folder::Folder;
use super::index::Index;
use super::key::Key;
use super::{Arrival, Content, DiskCache, DiskCounts, Say};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long nothing is written after a write that failed: a full disk may have room again.
const PAUSE: Duration = Duration::from_secs(60);

/// What the thread and whoever hands it work know in common.
pub(super) struct Worker {
    folder: Folder,
    /// Bytes of all files at most.
    budget: u64,
    index: Mutex<Index>,
    jobs: Mutex<Jobs>,
    /// There is something to do.
    woken: Condvar,
    /// There is nothing to do.
    rested: Condvar,
    say: Say,
    written: AtomicU64,
    unwritten: AtomicU64,
    refused: AtomicU64,
}

/// What is to be done.
#[derive(Default)]
struct Jobs {
    reads: VecDeque<Read>,
    deferred: VecDeque<Deferred>,
    /// Bytes of the pages among these, and of the one that is being written.
    bytes: usize,
    is_busy: bool,
    is_closed: bool,
}

/// A page that somebody waits for.
pub(super) struct Read {
    pub(super) ticket: u64,
    pub(super) key: Key,
    pub(super) len: usize,
}

/// What nobody waits for.
pub(super) enum Deferred {
    /// A page to write.
    Write(Key, Vec<u8>),
    /// Pages that were used, the last one last.
    Touch(Vec<Key>),
}

enum Job {
    Read(Read),
    Deferred(Deferred),
}

/// Whether reading and writing work. Trouble is said once, and again only after there was none in between.
#[derive(Default)]
struct Health {
    /// Nothing is written before.
    paused_until: Option<Instant>,
    is_write_said: bool,
    is_read_said: bool,
}

impl Worker {
    pub(super) fn new(folder: Folder, index: Index, budget: u64, say: Say) -> Worker {
        Worker {
            folder,
            budget,
            index: Mutex::new(index),
            jobs: Mutex::default(),
            woken: Condvar::new(),
            rested: Condvar::new(),
            say,
            written: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Works until it is closed, then writes what was handed over before.
    pub(super) fn run(&self, arrivals: &Sender<Arrival>) {
        let mut health = Health::default();
        while let Some(job) = self.next() {
            match job {
                Job::Read(Read { ticket, key, len }) => {
                    // Who asked may be gone.
                    let _ = arrivals.send(Arrival { ticket, content: self.fetch(key, len, &mut health) });
                }
                Job::Deferred(Deferred::Write(key, content)) => self.store(key, &content, &mut health),
                Job::Deferred(Deferred::Touch(keys)) => keys.into_iter().for_each(|key| self.touch(key)),
            }
        }
    }

    pub(super) fn read(&self, read: Read) {
        self.jobs().reads.push_back(read);
        self.woken.notify_one();
    }

    pub(super) fn defer(&self, deferred: Deferred) {
        let mut jobs = self.jobs();
        jobs.bytes += deferred.bytes();
        jobs.deferred.push_back(deferred);
        self.woken.notify_one();
    }

    /// Bytes that wait to be written; `None` if no page does.
    pub(super) fn waiting_bytes(&self) -> Option<usize> {
        Some(self.jobs().bytes).filter(|bytes| *bytes > 0)
    }

    /// Has the thread end. Who waits for a page gets none.
    pub(super) fn close(&self) {
        let mut jobs = self.jobs();
        jobs.is_closed = true;
        jobs.reads.clear();
        self.woken.notify_one();
    }

    pub(super) fn wait_until_idle(&self, patience: Duration) {
        let is_busy = |jobs: &mut Jobs| jobs.is_busy || !jobs.reads.is_empty() || !jobs.deferred.is_empty();
        let jobs = self.jobs();
        drop(self.rested.wait_timeout_while(jobs, patience, is_busy));
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        // A panic elsewhere leaves the index whole.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> DiskCounts {
        let [written, unwritten, refused] =
            [&self.written, &self.unwritten, &self.refused].map(|count| count.load(Relaxed));
        DiskCounts { written, unwritten, refused, bytes: self.index().bytes() }
    }

    /// Deletes the least recently used files until `bytes` more are within the budget.
    pub(super) fn make_room(&self, bytes: u64) -> io::Result<()> {
        loop {
            let oldest = {
                let index = self.index();
                if index.bytes().saturating_add(bytes) <= self.budget {
                    return Ok(());
                }
                index.oldest()
            };
            let Some(key) = oldest else { return Ok(()) };
            match fs::remove_file(self.folder.page(key)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => self.index().remove(key),
            }
        }
    }

    /// The next thing to do, once there is one; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        // What was done last is done now.
        jobs.is_busy = false;
        jobs.bytes = jobs.deferred.iter().map(Deferred::bytes).sum();
        loop {
            let job = match jobs.reads.pop_front() {
                Some(read) => Some(Job::Read(read)),
                None => jobs.deferred.pop_front().map(Job::Deferred),
            };
            if job.is_some() {
                jobs.is_busy = true;
                return job;
            }
            self.rested.notify_all();
            if jobs.is_closed {
                return None;
            }
            jobs = self.woken.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The content of a page, if its file is there and right. One that is not right is deleted; one that cannot be read now
    /// stays.
    fn fetch(&self, key: Key, len: usize, health: &mut Health) -> Option<Content> {
        let path = self.folder.page(key);
        match file::read(&path, key, len) {
            Ok(content) => {
                health.is_read_said = false;
                return Some(content);
            }
            Err(Unread::Missing) => self.index().remove(key),
            Err(Unread::Failed(error)) => {
                if !std::mem::replace(&mut health.is_read_said, true) {
                    (self.say)(&format!("cannot read {} ({error}): answers go on without it", path.display()));
                }
            }
            Err(Unread::Unfit(problem)) => {
                self.index().remove(key);
                self.refused.fetch_add(1, Relaxed);
                let fate = match fs::remove_file(&path) {
                    Ok(()) => "it was deleted".to_owned(),
                    Err(error) => format!("it cannot be deleted ({error})"),
                };
                (self.say)(&format!("{} {problem}: it is not used, and {fate}", path.display()));
            }
        }
        None
    }

    /// Writes a page, unless it is there or writing does not work.
    fn store(&self, key: Key, content: &[u8], health: &mut Health) {
        if self.index().has(key) {
            return;
        }
        let bytes = DiskCache::file_bytes(content.len());
        let is_paused = health.paused_until.is_some_and(|until| Instant::now() < until);
        if bytes > self.budget || is_paused {
            self.unwritten.fetch_add(1, Relaxed);
            return;
        }
        let (path, partial) = (self.folder.page(key), self.folder.partial(key));
        match self.make_room(bytes).and_then(|()| file::write(&path, &partial, key, content)) {
            Ok(()) => {
                (health.paused_until, health.is_write_said) = (None, false);
                self.written.fetch_add(1, Relaxed);
                let mut index = self.index();
                let now = index.now();
                index.add(key, bytes, now);
                drop(index);
                file::stamp(&path, now);
            }
            Err(error) => {
                self.unwritten.fetch_add(1, Relaxed);
                health.paused_until = Some(Instant::now() + PAUSE);
                if !std::mem::replace(&mut health.is_write_said, true) {
                    let folder = self.folder.path().display();
                    (self.say)(&format!(
                        "cannot write to the cache in {folder} ({error}): answers go on without it, and writing is tried \
                         again every {} seconds",
                        PAUSE.as_secs()
                    ));
                }
            }
        }
    }

    fn touch(&self, key: Key) {
        let now = self.index().touch(key);
        if let Some(now) = now {
            file::stamp(&self.folder.page(key), now);
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // A panic elsewhere leaves the lists whole.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deferred {
    /// Bytes that wait with it.
    fn bytes(&self) -> usize {
        match self {
            Deferred::Write(_, content) => content.len(),
            Deferred::Touch(_) => 0,
        }
    }
}
