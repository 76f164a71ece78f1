//! All keys: creating and revoking them, letting requests pass, and recording what they used.

use crate::database::{Database, Record};
use crate::limiter::Limiter;
use crate::recorder::Recorder;
use crate::secret::hash;
use crate::{DayUsage, Error, Key, Limits, NewKey, Refusal, Scope, Secret, Timestamp, Usage};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The keys of one file. Threads share it by reference, and processes share the file.
pub struct Keys {
    database: Mutex<Database>,
    limiter: Mutex<Limiter>,
    recorder: Recorder,
}

/// A request that may pass, and the key by which it does.
#[derive(Clone, Debug)]
pub struct Grant {
    id: i64,
    tenant: u64,
    name: String,
    limits: Limits,
    models: Option<Vec<String>>,
}

impl Keys {
    /// Opens the file, or makes one that only its owner can read.
    ///
    /// # Errors
    /// If the file cannot be made or read, is damaged, or is another program's.
    pub fn open(path: &Path) -> Result<Keys, Error> {
        let database = Database::open(path)?;
        let recorder = Recorder::start(Database::connect(path)?)?;
        Ok(Keys { database: Mutex::new(database), limiter: Mutex::default(), recorder })
    }

    /// Makes a key. Its secret is known from here alone: the file has no more than a hash of it.
    ///
    /// # Errors
    /// If a key in force has its name, if it could never be used, or if it cannot be written.
    pub fn create(&self, new: &NewKey, now: Timestamp) -> Result<(Key, Secret), Error> {
        new.check(now)?;
        let secret = Secret::draw()?;
        let hash = hash(secret.reveal()).ok_or_else(|| Error::Random("a secret came out wrong".into()))?;
        let key = self.database().insert(new, &hash, secret.ending(), now)?;
        Ok((key, secret))
    }

    /// All keys in the order in which they were created, those that are revoked included.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn list(&self) -> Result<Vec<Key>, Error> {
        self.database().all()
    }

    /// A key by its number or its name, and what it used on each day on which it used anything, the last day first. Of
    /// several with this name it is the one in force, or else the last one.
    ///
    /// # Errors
    /// If there is no such key, or the file cannot be read.
    pub fn usage(&self, id_or_name: &str) -> Result<(Key, Vec<DayUsage>), Error> {
        let database = self.database();
        let key = database.named(id_or_name)?.ok_or_else(|| Error::NoSuchKey(id_or_name.into()))?;
        let days = database.days(key.id)?;
        Ok((key, days))
    }

    /// Takes a key out of force, for this process and for every other one, and for good.
    ///
    /// # Errors
    /// If no key in force has this number or name, or the change cannot be written.
    pub fn revoke(&self, id_or_name: &str, now: Timestamp) -> Result<Key, Error> {
        let database = self.database();
        let no_such_key = || Error::NoSuchKey(id_or_name.into());
        let key = database.named(id_or_name)?.ok_or_else(no_such_key)?;
        if !database.revoke(key.id, now)? {
            return Err(no_such_key());
        }
        Ok(Key { revoked: Some(now), ..key })
    }

    /// Lets a request pass or says why not. It reads the file, in some tens of microseconds, and counts the request
    /// against the key's rate; [`Keys::record`] is to follow for every request that passed.
    ///
    /// # Errors
    /// Why the request may not pass.
    pub fn authorize(&self, secret: &str, scope: Scope, now: Timestamp) -> Result<Grant, Refusal> {
        let hash = hash(secret).ok_or(Refusal::Unknown)?;
        let found = self.database().by_hash(&hash).map_err(Refusal::Unavailable)?;
        let Key { id, name, scopes, expires, revoked, limits, models, used, .. } = found.ok_or(Refusal::Unknown)?;
        if revoked.is_some() {
            return Err(Refusal::Revoked);
        }
        if let Some(end) = expires.filter(|end| *end <= now) {
            return Err(Refusal::Expired(end));
        }
        if !scopes.contains(&scope) {
            return Err(Refusal::OutOfScope(scope));
        }
        // Reading what was used has to stay possible when it is used up, and is no use of the model.
        if scope == Scope::Inference {
            if let Some(tokens) = limits.tokens.filter(|tokens| used.tokens() >= *tokens) {
                return Err(Refusal::UsedUp(tokens));
            }
            lock(&self.limiter).admit(id, &limits, now)?;
        }
        let tenant = hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Grant { id, tenant, name, limits, models })
    }

    /// Writes what a request used, and returns when it is on disk. A server that waits for this before it ends the answer
    /// owes its users no usage that it forgot. Requests that failed are recorded too, with the tokens that they had come to.
    ///
    /// This waits for the disk, so an async handler calls [`Keys::record_then`].
    ///
    /// # Errors
    /// If it cannot be written. The key's rate has counted it all the same.
    pub fn record(&self, grant: &Grant, used: Usage, now: Timestamp) -> Result<(), Error> {
        let (sender, receiver) = sync_channel(1);
        self.record_then(grant, used, now, move |outcome| {
            let _ = sender.send(outcome);
        });
        receiver.recv().unwrap_or_else(|_| Err(Error::Thread("it has ended".into())))
    }

    /// The same without waiting: `done` is called by another thread when the usage is on disk or cannot be written. It
    /// has to return quickly, as a channel's `send` does, since all other records wait for it.
    pub fn record_then(
        &self,
        grant: &Grant,
        used: Usage,
        now: Timestamp,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        lock(&self.limiter).charge(grant.id, &grant.limits, used.tokens(), now);
        self.recorder.record(Record { key: grant.id, used, at: now }, Box::new(done));
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        lock(&self.database)
    }
}

impl Grant {
    /// A number that stands for the key in every file, old and new: a part of its hash. (Its number in this file would
    /// be another key's if the file were made anew.)
    pub fn tenant(&self) -> u64 {
        self.tenant
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the key is for this model.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_model(&self, model: &str) -> Result<(), Refusal> {
        match &self.models {
            Some(models) if models.iter().all(|name| name != model) => Err(Refusal::Model(model.into())),
            _ => Ok(()),
        }
    }
}

/// What is behind the lock is whole after every statement, so a thread that panicked leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
