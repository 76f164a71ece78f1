//! Tests of tokenizers from outside.
//!
//! One program for all of them: each more would be compiled and linked with everything once again.

mod folders;
mod hostile;
mod pieces;
mod published;
