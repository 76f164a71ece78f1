//! The one place that says what computes in training, evaluation, chat and server.
//!
//! A device gets its own implementation of [`Ops`](crate::Ops) beside `cpu.rs`, and is chosen here; nobody else names
//! one. A choice at run time would make [`Backend`] an enumeration whose variants are the devices.

use crate::cpu::CpuOps;
use std::ffi::OsString;

/// What computes: this machine's processor. A clone shares its threads and its memory.
pub type Backend = CpuOps;

/// The environment's word on how much memory buffers and caches may take together, in MiB; none for as much as there is.
pub const MEMORY_LIMIT: &str = "PICNIC_MEMORY_LIMIT";

/// Why there is nothing to compute with.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Threads that the system does not give.
    #[error("cannot start threads: {0}; ask for fewer by --threads, or close other programs")]
    Threads(#[from] std::io::Error),
    /// A limit that is no number.
    #[error("{MEMORY_LIMIT} is {0:?}: give whole MiB from 1 on, or leave it out")]
    Limit(OsString),
}

/// The best instructions of this machine and `threads` threads.
///
/// # Errors
/// If the system refuses to start the threads, or the environment's limit cannot be read.
pub fn with_threads(threads: usize) -> Result<Backend, BackendError> {
    let backend = CpuOps::with_threads(threads)?;
    let Some(text) = std::env::var_os(MEMORY_LIMIT) else { return Ok(backend) };
    let mib = text.to_str().and_then(|text| text.parse().ok()).filter(|&mib: &usize| mib > 0);
    let mib = mib.ok_or(BackendError::Limit(text))?;
    Ok(backend.with_memory_limit(mib.saturating_mul(1 << 20)))
}
