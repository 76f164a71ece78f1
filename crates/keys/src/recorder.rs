//! The thread that writes usage: whatever waits goes to disk in one transaction, and each is told when it is there.
//!
//! A transaction costs what the disk needs to make it last, whether one record is in it or a hundred. While one is on its
//! way, the records of other answers gather and go with the next.

use crate::Error;
use crate::database::{Database, Record};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Records in one transaction at most, so that none waits for an endless one.
const TOGETHER: usize = 1024;

/// What is called with the outcome, on the recorder's thread.
pub(crate) type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// The thread, which ends with what was handed to it.
pub(crate) struct Recorder {
    /// `None` only while it is dropped.
    sender: Option<Sender<(Record, Done)>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    pub fn start(database: Database) -> Result<Recorder, Error> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("keys".into()).spawn(move || write(database, &receiver));
        let thread = thread.map_err(|error| Error::Thread(error.to_string()))?;
        Ok(Recorder { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands over a record. `done` is called when it is on disk, or cannot be written.
    pub fn record(&self, record: Record, done: Done) {
        let gone = match &self.sender {
            Some(sender) => sender.send((record, done)).err().map(|unsent| unsent.0.1),
            None => Some(done),
        };
        if let Some(done) = gone {
            done(Err(Error::Thread("it has ended".into())));
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

fn write(mut database: Database, receiver: &Receiver<(Record, Done)>) {
    while let Ok(first) = receiver.recv() {
        let more = receiver.try_iter().take(TOGETHER - 1);
        let (records, dones): (Vec<Record>, Vec<Done>) = std::iter::once(first).chain(more).unzip();
        let written = database.add(&records);
        dones.into_iter().for_each(|done| done(written.clone()));
    }
}
