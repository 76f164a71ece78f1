//! y = x·Wᵀ + b, on all rows, or on each expert's rows by its own weight.

use crate::ops::{Dims, Linear, Ops, OutOfMemory, Weight};
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
        let [y] = self.linear_each(x, [(weight, bias)])?;
        Ok(y)
    }

    /// x `[T, k]` by several weights with their biases, as [`linear`](Tape::linear) by each of them. Where that is faster,
    /// they are multiplied at once.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn linear_each<const N: usize>(
        &mut self,
        x: &Var<O>,
        weights: [(&'a Param<O>, Option<&'a Param<O>>); N],
    ) -> Result<[Var<O>; N], OutOfMemory> {
        let mut ys = Vec::with_capacity(N);
        for (weight, _) in weights {
            let dims = weight.spec.dims();
            assert_eq!(x.width, dims.k, "{} gets rows of {}", weight.spec.name, x.width);
            ys.push(self.scratch("a linear layer", x.rows * dims.n)?);
        }
        let mut layers = Vec::with_capacity(N);
        for ((weight, bias), y) in weights.into_iter().zip(&mut ys) {
            let (bias, dims) = (bias.map(Param::value), weight.spec.dims());
            layers.push(Linear { weight: weight.weight(), bias, y, dims });
        }
        self.ops.linear(0..x.rows, x.value(), &mut layers);
        drop(layers);
        let mut ys = ys.into_iter();
        Ok(weights.map(|(weight, bias)| {
            let y = ys.next().expect("an output for each weight");
            self.linear_output(x, weight, bias, y)
        }))
    }

    /// `y` = x·weightᵀ + bias with its gradient.
    fn linear_output(&mut self, x: &Var<O>, weight: &'a Param<O>, bias: Option<&'a Param<O>>, y: O::Buffer) -> Var<O> {
        let dims = weight.spec.dims();
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
        y
    }

    /// x `[T, heads·k]` → `[T, heads·n]`, each head by its own of `weights` `[n, k]`. Not for training.
    ///
    /// # Errors
    /// If memory runs out.
    pub(crate) fn heads_linear(
        &mut self,
        x: &Var<O>,
        weights: &[O::Frozen],
        dims: Dims,
    ) -> Result<Var<O>, OutOfMemory> {
        assert!(!self.is_recording(), "training does not go through a cache");
        assert_eq!(x.width, weights.len() * dims.k, "rows of {} heads of {}", weights.len(), dims.k);
        let width = weights.len() * dims.n;
        let mut y = self.scratch("a linear layer", x.rows * width)?;
        self.ops.heads_linear(x.value(), weights, &mut y, dims)?;
        Ok(self.var(y, x.rows, width, false))
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
