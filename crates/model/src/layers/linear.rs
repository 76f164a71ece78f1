//! y = x·Wᵀ + b, on all rows, or on each expert's rows by its own weight.

use crate::ops::{Ops, OutOfMemory, Weight};
use crate::params::Param;
use crate::tape::{Tape, Var};
use std::sync::Arc;

impl<'a, O: Ops> Tape<'a, O> {
    /// x `[T, k]` → `[T, n]` by a weight `[n, k]` and perhaps a bias `[n]`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn linear(
        &mut self,
        x: &Var<O>,
        weight: &'a Param<O>,
        bias: Option<&'a Param<O>>,
    ) -> Result<Var<O>, OutOfMemory> {
        let dims = weight.spec.dims();
        assert_eq!(x.width, dims.k, "{} gets rows of {}", weight.spec.name, x.width);
        let mut y = self.scratch("a linear layer", x.rows * dims.n)?;
        self.ops.linear(0..x.rows, x.value(), weight.weight(), bias.map(Param::value), &mut y, dims);
        let learns = self.learns(weight) || bias.is_some_and(|b| self.learns(b));
        let y = self.var(y, x.rows, dims.n, x.needs_grad || learns);
        let x = x.clone();
        self.record(&y, move |gradients, dy| {
            let ops = gradients.ops;
            if let Some(db) = bias.and_then(|b| gradients.param(b)) {
                ops.linear_db(&dy, db);
            }
            if let Some(dw) = gradients.param(weight) {
                ops.linear_dw(0..x.rows, x.value(), &dy, dw, dims);
            }
            if x.needs_grad {
                let (mut dx, started) = gradients.take_or_scratch(&x)?;
                ops.linear_dx(0..x.rows, &dy, weight.weight(), &mut dx, dims, !started);
                gradients.put(&x, dx);
            }
            Ok(())
        });
        Ok(y)
    }

    /// The rows of each expert in x `[T·top_k, k]` by its weight, all of one shape `[n, k]` → `[T·top_k, n]`.
    ///
    /// # Errors
    /// If memory runs out.
    pub(crate) fn grouped_linear(
        &mut self,
        routing: &Arc<O::Routing>,
        x: &Var<O>,
        weights: Vec<&'a Param<O>>,
    ) -> Result<Var<O>, OutOfMemory> {
        let dims = weights[0].spec.dims();
        let mut y = self.scratch("experts", x.rows * dims.n)?;
        let all: Vec<Weight<O>> = weights.iter().map(|weight| weight.weight()).collect();
        self.ops.grouped_linear(routing, x.value(), &all, &mut y, dims);
        let learns = weights.iter().any(|weight| self.learns(weight));
        let y = self.var(y, x.rows, dims.n, x.needs_grad || learns);
        let (x, routing) = (x.clone(), Arc::clone(routing));
        self.record(&y, move |gradients, dy| {
            let ops = gradients.ops;
            gradients.with_params(&weights, |dw| ops.grouped_linear_dw(&routing, x.value(), &dy, dw, dims));
            if x.needs_grad {
                // Every row belongs to one expert, so the experts together overwrite all of dx.
                let (mut dx, started) = gradients.take_or_scratch(&x)?;
                let all: Vec<Weight<O>> = weights.iter().map(|weight| weight.weight()).collect();
                ops.grouped_linear_dx(&routing, &dy, &all, &mut dx, dims, !started);
                gradients.put(&x, dx);
            }
            Ok(())
        });
        Ok(y)
    }
}
