//! Tests of tasks from outside.
//!
//! One program for all of them: each more would be compiled and linked with everything once again.

mod exploits;
mod properties;
