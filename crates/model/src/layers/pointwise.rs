//! What acts on each row alone: residual sums, RMSNorm, SwiGLU, rotary embedding, splitting and joining of columns.

use crate::ops::{Ops, Rotation};
use crate::params::Param;
use crate::tape::{Tape, Var};
use std::sync::Arc;

impl<'a, O: Ops> Tape<'a, O> {
    /// x + y.
    pub fn add(&mut self, x: &Var<O>, y: &Var<O>) -> Var<O> {
        let mut out = self.ops.scratch(x.rows * x.width);
        self.ops.add(x.value(), y.value(), &mut out);
        let out = self.var(out, x.rows, x.width, x.needs_grad || y.needs_grad);
        let (x, y) = (x.slot(), y.slot());
        self.record(&out, move |flow, d| {
            if x.needs_grad && y.needs_grad {
                let copy = flow.ops.copy(&d);
                flow.add(x, copy);
                flow.add(y, d);
            } else {
                flow.add(if x.needs_grad { x } else { y }, d);
            }
        });
        out
    }

    /// RMSNorm (Zhang & Sennrich 2019) of every stretch of `weight.len()` values: x / √(mean x² + ε) · weight.
    pub fn rmsnorm(&mut self, x: &Var<O>, weight: &'a Param<O>, eps: f32) -> Var<O> {
        let mut y = self.ops.scratch(x.rows * x.width);
        let mut inv_rms = self.ops.scratch(x.rows * x.width / weight.spec.len());
        self.ops.rmsnorm(x.value(), weight.value(), eps, &mut y, &mut inv_rms);
        let y = self.var(y, x.rows, x.width, x.needs_grad || self.learns(weight));
        let x = x.clone();
        self.record(&y, move |flow, dy| {
            let ops = flow.ops;
            let mut dx = flow.take(&x);
            ops.rmsnorm_backward(x.value(), weight.value(), &inv_rms, &dy, &mut dx, flow.param(weight));
            flow.put(&x, dx);
        });
        y
    }

    /// silu(gate)·up (Shazeer 2020).
    pub fn swiglu(&mut self, gate: &Var<O>, up: &Var<O>) -> Var<O> {
        let mut y = self.ops.scratch(gate.rows * gate.width);
        self.ops.swiglu(gate.value(), up.value(), &mut y);
        let y = self.var(y, gate.rows, gate.width, gate.needs_grad || up.needs_grad);
        let (gate, up) = (gate.clone(), up.clone());
        self.record(&y, move |flow, dy| {
            let (mut dgate, mut dup) = (flow.ops.scratch(gate.rows * gate.width), flow.ops.scratch(up.rows * up.width));
            flow.ops.swiglu_backward(gate.value(), up.value(), &dy, &mut dgate, &mut dup);
            flow.add(&gate, dgate);
            flow.add(&up, dup);
        });
        y
    }

    /// Rotary embedding (Su et al. 2021) of each head, in place.
    pub fn rope(&mut self, x: Var<O>, rotation: &Rotation, positions: &Arc<[u32]>) -> Var<O> {
        let source = x.slot();
        let Var { value, rows, width, needs_grad, .. } = x;
        let mut value = Arc::into_inner(value).expect("no operation keeps what is rotated");
        self.ops.rope(&mut value, rotation, positions, false);
        let y = self.var(value, rows, width, needs_grad);
        let (rotation, positions) = (rotation.clone(), Arc::clone(positions));
        self.record(&y, move |flow, mut dy| {
            flow.ops.rope(&mut dy, &rotation, &positions, true);
            flow.add(source, dy);
        });
        y
    }

    /// x `[T, a + b]` → `[T, a]` and `[T, b]`.
    pub fn split_columns(&mut self, x: &Var<O>, widths: (usize, usize)) -> (Var<O>, Var<O>) {
        assert_eq!(x.width, widths.0 + widths.1);
        let (mut a, mut b) = (self.ops.scratch(x.rows * widths.0), self.ops.scratch(x.rows * widths.1));
        self.ops.split_columns(x.value(), &mut a, &mut b, widths);
        let (a, b) = (self.var(a, x.rows, widths.0, x.needs_grad), self.var(b, x.rows, widths.1, x.needs_grad));
        let x = x.slot();
        self.record_pair(&a, &b, move |flow, da, db| {
            let mut dx = flow.take(x);
            flow.ops.split_columns_backward(&da, &db, &mut dx, widths);
            flow.put(x, dx);
        });
        (a, b)
    }

    /// a `[T, m]` and b `[T, n]` side by side: `[T, m + n]`. Splitting is its gradient, as it is splitting's.
    pub fn join_columns(&mut self, a: &Var<O>, b: &Var<O>) -> Var<O> {
        assert_eq!(a.rows, b.rows);
        let widths = (a.width, b.width);
        let mut x = self.ops.scratch(a.rows * (a.width + b.width));
        self.ops.split_columns_backward(a.value(), b.value(), &mut x, widths);
        let x = self.var(x, a.rows, a.width + b.width, a.needs_grad || b.needs_grad);
        let (rows, a, b) = (a.rows, a.slot(), b.slot());
        self.record(&x, move |flow, dx| {
            let (mut da, mut db) = (flow.ops.scratch(rows * widths.0), flow.ops.scratch(rows * widths.1));
            flow.ops.split_columns(&dx, &mut da, &mut db, widths);
            flow.add(a, da);
            flow.add(b, db);
        });
        x
    }
}
