//! From texts and problems to sequences of token ids for training.
//!
//! Everything is a function of (seed, index), so the cursor of a run is the number of its step and a resumed run sees
//! what it would have seen. Left out: real corpora, which no recipe uses yet.

mod order;
mod packed;
mod problems;

pub use order::shuffled;
pub use packed::packed;
pub use problems::{Example, ProblemFormat};
