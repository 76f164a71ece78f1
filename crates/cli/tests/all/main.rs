//! Tests of the program from outside.
//!
//! One program for all of them: each more would be compiled and linked with everything once again.

mod bases;
mod chat_and_serve;
mod connect;
mod conversations;
mod display;
mod files;
mod full;
mod keys;
mod kill;
mod locks;
mod machine;
mod models;
mod mtp;
mod program;
mod refusals;
mod report;
mod smoke;
#[cfg(unix)]
mod terminal;
