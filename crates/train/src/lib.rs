//! The stages of the R1 chain and what a person sees of them.

pub mod progress;
pub mod report;
