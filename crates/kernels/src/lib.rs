//! Slices in, slices out: the arithmetic of Picnic. Knows nothing of models.
//!
//! The contract (docs/numerics.md): each element of a product is one chain of fused multiply-adds in ascending k;
//! other reductions use 32 virtual lanes by absolute index and one fixed tree; exp is ours. So blocking, batch size,
//! row splits, thread count and instruction set do not show in the bits, and the tests compare bits.

pub mod gemm;
pub mod math;
pub mod simd;
pub mod team;

pub use simd::Isa;
pub use team::Team;
