//! The dense feed-forward block (SwiGLU, Shazeer 2020):
//!
//!   y = (silu(x·W_gateᵀ (+ b)) ⊙ (x·W_upᵀ (+ b)))·W_downᵀ (+ b)
//!
//! x and y `[T, d]`, the inner matrices `[T, intermediate_size]`. A mixture's experts are such blocks too.

use super::specs::Specs;
use crate::ops::{Ops, OutOfMemory};
use crate::params::{ParamId, ParamStore};
use crate::tape::{Tape, Var};

/// Sizes of a dense block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dense {
    /// Inner width.
    pub intermediate_size: usize,
    /// Biases on all three projections (Llama's `mlp_bias`).
    pub bias: bool,
}

impl Dense {
    /// Weights of the three projections.
    pub(crate) fn num_parameters(&self, hidden: u128) -> u128 {
        3 * hidden * self.intermediate_size as u128
    }
}

/// The tensors of a block.
pub(super) struct DenseLayer {
    pub(super) gate: Projection,
    pub(super) up: Projection,
    pub(super) down: Projection,
}

/// A weight and perhaps a bias.
#[derive(Clone, Copy)]
pub(super) struct Projection {
    pub(super) weight: ParamId,
    bias: Option<ParamId>,
}

impl DenseLayer {
    /// Lays out the tensors below the name `at`, for rows of `d` values.
    pub(super) fn new(specs: &mut Specs, dense: Dense, d: usize, at: &str) -> DenseLayer {
        let mut project = |name: &str, n: usize, k: usize| {
            let at = format!("{at}.{name}_proj");
            Projection { weight: specs.linear(&at, n, k), bias: specs.bias(dense.bias, &at, n) }
        };
        DenseLayer {
            gate: project("gate", dense.intermediate_size, d),
            up: project("up", dense.intermediate_size, d),
            down: project("down", d, dense.intermediate_size),
        }
    }

    pub(super) fn forward<'a, O: Ops>(
        &self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        x: &Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let weight = |p: Projection| (params.get(p.weight), p.bias.map(|bias| params.get(bias)));
        let [gate, up] = tape.linear_each(x, [weight(self.gate), weight(self.up)])?;
        let hidden = tape.swiglu(&gate, &up)?;
        drop((gate, up));
        let (down, bias) = weight(self.down);
        tape.linear(&hidden, down, bias)
    }
}
