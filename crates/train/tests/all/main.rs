//! Tests of training from outside.
//!
//! One program for all of them: each more would be compiled and linked with everything once again.

mod exact;
mod golden;
mod models;
mod rl;
