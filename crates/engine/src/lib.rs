//! Ids in, ids out: generation for rollouts, chat and serving.
//!
//! [`Engine`] batches the tokens of all its sequences, prompts and continuations alike, into one forward pass a step
//! over a paged cache. Each sequence has its own random stream and every row's bits are its own, so what a request gets
//! depends neither on its neighbours nor on how its prompt was cut: a rollout's logprob is the trainer's, bit for bit.
//! Nor does it show whose pages a request shares, whether they were read from disk, whether it had to give its own back on
//! the way, or what was guessed.
//! Knows nothing of text.

mod control;
mod counters;
mod disk;
mod drafts;
mod engine;
mod generate;
mod limits;
mod mtp;
mod pages;
mod pass;
mod queue;
mod request;
mod sampler;
mod sequence;
mod share;

pub use control::{Constraint, Control, Thinking};
pub use counters::Counters;
pub use disk::{DiskCache, DiskError, DiskSettings, DiskWriter};
pub use engine::{Engine, Step};
pub use generate::{GenerateError, generate, generate_counted};
pub use limits::Limits;
pub use request::{Completion, Dropped, Event, Finish, Reading, Request, RequestError, RequestId, Sampling, Wants};
