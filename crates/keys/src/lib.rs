//! API keys: who may use the server for what and how much, and what was used, in one SQLite file.
//!
//! A key is a random secret that is shown once and kept as a hash (`secret.rs`). [`Keys::authorize`] reads the file at
//! each request, so that a key which another process revokes is refused from the next request on; its rates are counted
//! in memory (`limiter.rs`). [`Keys::record`] returns when the usage of an answer is on disk (`recorder.rs`), and so a
//! server that waits for it before it ends an answer loses no usage to a crash.
//!
//! Left out: HTTP, where a key stands in a request and which route needs which scope (the server's part); rates over
//! several processes, each of which counts its own; and prices.

mod database;
mod error;
mod key;
mod keys;
mod limiter;
mod recorder;
mod schema;
mod secret;

pub use error::{Error, Refusal};
pub use jiff::Timestamp;
pub use key::{DayUsage, Key, Limits, NewKey, Scope, Usage};
pub use keys::{Grant, Keys};
pub use secret::Secret;
