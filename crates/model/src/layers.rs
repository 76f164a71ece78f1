//! The operations of a [`Tape`](crate::Tape), each with its backward beside its forward, one file a family.

mod attention;
mod embedding;
mod head;
mod linear;
mod moe;
mod pointwise;

pub(crate) use attention::AbsorbedLayer;
pub use attention::{Absorbed, Past};
pub use head::{Targets, TokenStats};
pub(crate) use moe::Experts;
