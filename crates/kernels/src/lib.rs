//! Slices in, slices out: the arithmetic of Picnic. Knows nothing of models.
//!
//! The contract (docs/numerics.md): each element of a product is one chain of fused multiply-adds in ascending k;
//! other reductions use 32 virtual lanes by absolute index and one fixed tree; exp is ours. So blocking, batch size,
//! row splits, thread count and instruction set do not show in the bits, and the tests compare bits.

pub mod adamw;
pub mod attention;
pub mod columns;
pub mod embedding;
pub mod gemm;
pub mod grouped;
pub mod linear;
pub mod logprob;
pub mod math;
pub mod moe;
pub mod muon;
pub mod norm;
pub mod panels;
pub mod rope;
pub mod router;
pub mod sampling;
mod scratch;
pub mod simd;
pub mod stored;
pub mod swiglu;
pub mod team;
#[cfg(test)]
mod testing;
pub mod vector;
pub mod weight;

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

    /// Elements of work below which a second thread costs more than it saves.
    const GRAIN: usize = 16 * 1024;

    /// Shares out `rows` of `width` elements; tiny work stays on the caller's thread.
    pub(crate) fn split_rows(&self, rows: usize, width: usize, work: impl Fn(std::ops::Range<usize>) + Sync) {
        self.team.split(rows, (Self::GRAIN / width.max(1)).max(1), work);
    }

    /// Shares out the columns of `rows` × `columns` elements, 32 at a time; tiny work stays on the caller's thread.
    pub(crate) fn split_columns(&self, rows: usize, columns: usize, work: impl Fn(std::ops::Range<usize>) + Sync) {
        let grain = (Self::GRAIN / rows.max(1)).next_multiple_of(simd::LANES);
        self.team.split(columns, grain.max(simd::LANES), work);
    }
}
