//! Results on standard output, which may be full: then a command fails with one line instead of a panic.

use anyhow::{Context, Result};
use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};

/// Writes a line. A reader that has gone has had enough, and is no error.
///
/// # Errors
/// If the line cannot be written.
pub fn line(text: impl Display) -> Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context(CANNOT_WRITE),
    }
}

/// What is said of output that goes nowhere.
pub const CANNOT_WRITE: &str = "cannot write to standard output: make room where it goes";
