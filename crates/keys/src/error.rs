//! Everything that can go wrong with keys: what the person who runs the server has to mend ([`Error`]), and why a
//! request may not pass ([`Refusal`]).
//!
//! Left out: status codes of HTTP, which the server gives to refusals in one place.

use crate::{Scope, Timestamp};
use std::path::PathBuf;
use std::time::Duration;

/// What is wrong with the file of keys or with a command, and what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The file or its folder cannot be made or read.
    #[error("cannot keep keys in {}: {problem}; choose a file that can be written with --file", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The file holds something else than a sound database.
    #[error(
        "{} is damaged ({problem}): put a copy of it back, or save what can be read with `sqlite3 {} .recover`, or move it \
         away and create new keys",
        path.display(),
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// The file is a sound database of another program.
    #[error("{} is a database of another program: choose another file with --file", .0.display())]
    NotOurs(PathBuf),
    /// The file was written by a later version.
    #[error(
        "{} was written by a later version of Picnic (layout {found}, while this one knows up to {known}): use that version",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its layout.
        found: i64,
        /// The last version that this program knows.
        known: i64,
    },
    /// Another process kept the file locked for seconds.
    #[error("{} is locked by another process: try again, or end the program that holds it", .0.display())]
    Locked(PathBuf),
    /// A change could not be written.
    #[error("cannot write to {}: {problem}; make room on its disk and try again", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the database said.
        problem: String,
    },
    /// The system gave no thread.
    #[error("cannot start the thread that records usage: {0}; close other programs and try again")]
    Thread(String),
    /// The system gave no random numbers.
    #[error("the system gives no random numbers to make a key of: {0}")]
    Random(String),
    /// A name that no key can have.
    #[error("a key cannot be named {name:?}: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A key that is in force has this name.
    #[error("there is a key named {0:?} already: choose another name, or revoke that key first")]
    NameTaken(String),
    /// No key has this number or name.
    #[error("no key that is in force has the name or the number {0:?}: `picnic keys list` shows all keys")]
    NoSuchKey(String),
    /// A key that could never be used.
    #[error("a key with {0} could never be used: leave it out, or give a larger one")]
    Useless(&'static str),
}

/// Why a request may not pass. The texts may be shown to the client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// No key has this secret.
    #[error("there is no such API key")]
    Unknown,
    /// The key was revoked.
    #[error("this API key was revoked")]
    Revoked,
    /// The key's time is over.
    #[error("this API key expired at {0}")]
    Expired(Timestamp),
    /// The key is not for such requests.
    #[error("this API key lacks the scope `{0}`")]
    OutOfScope(Scope),
    /// The key is not for this model.
    #[error("this API key is not for the model {0:?}")]
    Model(String),
    /// The key's rate is used up for now.
    #[error("too many {what} a minute for this API key: try again in {} s", .retry_after.as_secs())]
    RateLimited {
        /// `requests` or `tokens`.
        what: &'static str,
        /// Whole seconds, at least one, after which the same request passes if no other came in between.
        retry_after: Duration,
    },
    /// The key has used all the tokens that it has.
    #[error("this API key has used its {0} tokens")]
    UsedUp(u64),
    /// Nobody can tell, because the file of keys cannot be read. The cause is for the log and not for the client.
    #[error("API keys cannot be checked at the moment")]
    Unavailable(#[source] Error),
}
