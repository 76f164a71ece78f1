//! Tests of models from outside.
//!
//! One program for all of them: each more would be compiled and linked with everything once again.

mod counting;
mod frozen;
mod gradients;
mod mtp;
