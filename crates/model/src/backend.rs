//! The one place that says what computes in training, evaluation, chat and server.
//!
//! A device gets its own implementation of [`Ops`](crate::Ops) beside `cpu.rs`, and is chosen here; nobody else names
//! one. A choice at run time would make [`Backend`] an enumeration whose variants are the devices.

use crate::cpu::CpuOps;

/// What computes: this machine's processor. A clone shares its threads and its memory.
pub type Backend = CpuOps;

/// The best instructions of this machine and `threads` threads.
///
/// # Errors
/// If the system refuses to start the threads.
pub fn with_threads(threads: usize) -> Result<Backend, std::io::Error> {
    CpuOps::with_threads(threads)
}
