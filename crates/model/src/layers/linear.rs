//! y = x·Wᵀ + b, on all rows or on groups of rows with a weight each (experts).

use crate::ops::{Dims, Ops};
use crate::params::Param;
use crate::tape::{Tape, Var};
use std::ops::Range;

impl<'a, O: Ops> Tape<'a, O> {
    /// x `[T, k]` → `[T, n]` by a weight `[n, k]` and perhaps a bias `[n]`.
    pub fn linear(&mut self, x: &Var<O>, weight: &'a Param<O>, bias: Option<&'a Param<O>>) -> Var<O> {
        let dims = Dims { n: weight.spec.shape[0], k: weight.spec.shape[1] };
        assert_eq!(x.width, dims.k, "{} gets rows of {}", weight.spec.name, x.width);
        let mut y = self.ops.scratch(x.rows * dims.n);
        self.ops.linear(0..x.rows, x.value(), weight.panels(), bias.map(Param::value), &mut y, dims);
        let learns = self.learns(weight) || bias.is_some_and(|b| self.learns(b));
        let y = self.var(y, x.rows, dims.n, x.needs_grad || learns);
        let x = x.clone();
        self.record(&y, move |flow, dy| {
            let ops = flow.ops;
            if let Some(db) = bias.and_then(|b| flow.param(b)) {
                ops.linear_db(&dy, db);
            }
            if let Some(dw) = flow.param(weight) {
                ops.linear_dw(0..x.rows, x.value(), &dy, dw, dims);
            }
            if x.needs_grad {
                let (mut dx, started) = flow.take_or_scratch(&x);
                ops.linear_dx(0..x.rows, &dy, weight.value(), &mut dx, dims, !started);
                flow.put(&x, dx);
            }
        });
        y
    }

    /// Group g of rows, `offsets[g]..offsets[g + 1]` of x `[T, k]`, by weight g, all of one shape `[n, k]`.
    pub fn grouped_linear(&mut self, x: &Var<O>, weights: Vec<&'a Param<O>>, offsets: &[usize]) -> Var<O> {
        let dims = Dims { n: weights[0].spec.shape[0], k: weights[0].spec.shape[1] };
        let groups: Vec<(Range<usize>, &'a Param<O>)> =
            offsets.windows(2).map(|w| w[0]..w[1]).zip(weights).filter(|(rows, _)| !rows.is_empty()).collect();
        let mut y = self.ops.scratch(x.rows * dims.n);
        for (rows, weight) in &groups {
            self.ops.linear(rows.clone(), x.value(), weight.panels(), None, &mut y, dims);
        }
        let learns = groups.iter().any(|(_, weight)| self.learns(weight));
        let y = self.var(y, x.rows, dims.n, x.needs_grad || learns);
        let x = x.clone();
        self.record(&y, move |flow, dy| {
            let ops = flow.ops;
            // Every row belongs to one group, so the groups together overwrite all of dx.
            let (mut dx, started) = flow.take_or_scratch(&x);
            for (rows, weight) in groups {
                if let Some(dw) = flow.param(weight) {
                    ops.linear_dw(rows.clone(), x.value(), &dy, dw, dims);
                }
                if x.needs_grad {
                    ops.linear_dx(rows, &dy, weight.value(), &mut dx, dims, !started);
                }
            }
            flow.put(&x, dx);
        });
        y
    }
}
