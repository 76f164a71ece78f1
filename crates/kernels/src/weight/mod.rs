//! A weight knows its product: what linear layers multiply by, in whatever form it is kept.
//!
//! Left out: the products themselves (`gemm`), and biases.

use crate::gemm::Packed;
use crate::panels::Panels;
use crate::simd::{Isa, LANES};
use std::ops::Range;

/// A weight W `[N, K]`.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    /// f32 in panels, which an optimizer may change.
    Learning(Panels<'a>),
}

impl<'a> Weight<'a> {
    /// Outputs.
    pub fn n(&self) -> usize {
        match self {
            Weight::Learning(panels) => panels.n(),
        }
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        match self {
            Weight::Learning(panels) => panels.k(),
        }
    }

    /// Row `n`, the weights of one output, as f32.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        match self {
            Weight::Learning(panels) => panels.row(n, out),
        }
    }

    /// The weights of outputs `ns` by the 32 inputs from `k` on, `[ns][32]`, zeros past K: a panel of the transpose.
    /// `ns` starts at a multiple of 32, and `out` has room for whole 32s of outputs.
    pub(crate) fn transposed_panel(&self, isa: Isa, k: usize, ns: Range<usize>, out: &mut [f32]) {
        let ks = k..self.k().min(k + LANES);
        assert!(ns.start.is_multiple_of(LANES), "a panel starts at a multiple of 32, not at {}", ns.start);
        for (start, out) in ns.step_by(LANES).zip(out.as_chunks_mut::<{ LANES * LANES }>().0) {
            match self {
                Weight::Learning(panels) => transpose(isa, panels.panel(start, ks.clone()), out),
            }
        }
    }
}

impl<'a> From<Panels<'a>> for Weight<'a> {
    fn from(panels: Panels<'a>) -> Self {
        Weight::Learning(panels)
    }
}

impl<'a> From<&'a Packed> for Weight<'a> {
    fn from(packed: &'a Packed) -> Self {
        Weight::Learning(Panels::new(packed.values(), packed.n(), packed.k()))
    }
}

crate::kernel! {
    /// `to` `[32][32]` = the transpose of `from` `[up to 32][32]`, zeros past its end.
    fn transpose<S>(s, from: &[f32], to: &mut [f32; LANES * LANES]) {
        if let Some(from) = from.as_array() {
            return s.transpose(from, to);
        }
        let mut whole = [0.0; LANES * LANES];
        whole[..from.len()].copy_from_slice(from);
        s.transpose(&whole, to);
    }
}
