//! A weight knows its product: what linear layers multiply by, in whatever form it is kept.
//!
//! Left out: the products themselves (`gemm`), and biases.

mod decode;
mod form;
mod frozen;
pub mod integer;
mod memory;
mod repack;
mod stored;
#[cfg(test)]
mod tests;

use crate::panels::{Panels, transpose};
use crate::simd::{Isa, LANES};
use std::ops::Range;

pub use frozen::Frozen;
pub use memory::OutOfMemory;
pub use stored::{RowScales, Stored};

/// A weight W `[N, K]`.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    /// f32 in panels, which an optimizer may change.
    Learning(Panels<'a>),
    /// What a file stores, multiplied exactly.
    Frozen(&'a Frozen),
    /// The same, multiplied in [integers](integer) where inputs go forward through it. All else is exact.
    Integer(&'a Frozen),
}

impl<'a> Weight<'a> {
    /// Outputs.
    pub fn n(&self) -> usize {
        match self {
            Weight::Learning(panels) => panels.n(),
            Weight::Frozen(frozen) | Weight::Integer(frozen) => frozen.n(),
        }
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        match self {
            Weight::Learning(panels) => panels.k(),
            Weight::Frozen(frozen) | Weight::Integer(frozen) => frozen.k(),
        }
    }

    /// Row `n`, the weights of one output, as f32.
    pub fn row(&self, isa: Isa, n: usize, out: &mut [f32]) {
        match self {
            Weight::Learning(panels) => panels.row(n, out),
            Weight::Frozen(frozen) | Weight::Integer(frozen) => frozen.row(isa, n, out),
        }
    }

    /// The weight, if it is multiplied in integers.
    pub(crate) fn as_integer(&self) -> Option<&'a Frozen> {
        if let Weight::Integer(frozen) = self { Some(frozen) } else { None }
    }

    /// The same weight as f32 panels, if there is nothing to decode.
    #[inline(always)]
    pub(crate) fn as_f32(&self) -> Option<Panels<'a>> {
        match self {
            Weight::Learning(panels) => Some(*panels),
            Weight::Frozen(frozen) | Weight::Integer(frozen) => frozen.as_f32(),
        }
    }

    /// The weights of outputs `ns` by the 32 inputs from `k` on, `[ns][32]`, zeros past K: a panel of the transpose.
    /// `ns` starts at a multiple of 32, and `out` has room for whole 32s of outputs.
    pub(crate) fn transposed_panel(&self, isa: Isa, k: usize, ns: Range<usize>, out: &mut [f32]) {
        let ks = k..self.k().min(k + LANES);
        assert!(ns.start.is_multiple_of(LANES), "a panel starts at a multiple of 32, not at {}", ns.start);
        for (start, out) in ns.step_by(LANES).zip(out.as_chunks_mut::<{ LANES * LANES }>().0) {
            if let Some(panels) = self.as_f32() {
                transpose(isa, panels.panel(start, ks.clone()), out);
            } else if let Weight::Frozen(frozen) | Weight::Integer(frozen) = self {
                let mut lines = [0.0; LANES * LANES];
                frozen.decode(isa, start, ks.clone(), &mut lines[..ks.len() * LANES]);
                transpose(isa, &lines[..ks.len() * LANES], out);
            }
        }
    }
}

impl<'a> From<Panels<'a>> for Weight<'a> {
    fn from(panels: Panels<'a>) -> Self {
        Weight::Learning(panels)
    }
}

impl<'a> From<&'a Frozen> for Weight<'a> {
    fn from(frozen: &'a Frozen) -> Self {
        Weight::Frozen(frozen)
    }
}
