//! The stages of the R1 chain and what a person sees of them.

pub mod parity;
pub mod progress;
pub mod report;
