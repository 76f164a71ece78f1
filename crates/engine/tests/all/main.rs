//! Tests of the engine on models of all kinds.
//!
//! One program for all of them: each more would be compiled and linked with everything once again.

mod common;
mod disk;
mod exact;
mod mtp;
mod sharing;
