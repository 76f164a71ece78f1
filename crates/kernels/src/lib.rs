//! Slices in, slices out: the arithmetic of Picnic. Knows nothing of models.
//!
//! The contract (docs/numerics.md): each element of a product is one chain of fused multiply-adds in ascending k;
//! other reductions use 32 virtual lanes by absolute index and one fixed tree; exp is ours. So blocking, batch size,
//! row splits, thread count and instruction set do not show in the bits, and the tests compare bits.

pub mod gemm;
pub mod linear;
pub mod math;
pub mod simd;
pub mod team;

pub use simd::Isa;
pub use team::Team;

/// What every kernel runs on: an instruction set and a team of threads.
pub struct Cpu {
    /// The instruction set.
    pub isa: Isa,
    /// The threads that share one operation's outputs.
    pub team: Team,
}

impl Cpu {
    /// The best instruction set (see [`Isa::detect`]) and `threads` threads.
    ///
    /// # Errors
    /// If the system refuses to start the threads.
    pub fn new(threads: usize) -> Result<Cpu, std::io::Error> {
        Ok(Cpu { isa: Isa::detect(), team: Team::new(threads)? })
    }
}
