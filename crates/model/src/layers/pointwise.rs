//! What acts on each row alone: residual sums, RMSNorm, SwiGLU, rotary embedding, splitting and joining of columns.

use crate::ops::{Ops, OutOfMemory, Position, Rotation};
use crate::params::Param;
use crate::tape::{Tape, Var};
use std::sync::Arc;

impl<'a, O: Ops> Tape<'a, O> {
    /// x + y.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn add(&mut self, x: &Var<O>, y: &Var<O>) -> Result<Var<O>, OutOfMemory> {
        let mut out = self.scratch("a residual sum", x.rows * x.width)?;
        self.ops.add(x.value(), y.value(), &mut out);
        let out = self.var(out, x.rows, x.width, x.needs_grad || y.needs_grad);
        let (x, y) = (x.slot(), y.slot());
        self.record(&out, move |gradients, d| {
            if x.needs_grad && y.needs_grad {
                let copy = gradients.ops.copy(&d)?;
                gradients.add(x, copy);
                gradients.add(y, d);
            } else {
                gradients.add(if x.needs_grad { x } else { y }, d);
            }
            Ok(())
        });
        Ok(out)
    }

    /// RMSNorm (Zhang & Sennrich 2019) of every stretch of `weight.len()` values: x / √(mean x² + ε) · weight.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn rmsnorm(&mut self, x: &Var<O>, weight: &'a Param<O>, eps: f32) -> Result<Var<O>, OutOfMemory> {
        let mut y = self.scratch("RMSNorm", x.rows * x.width)?;
        let mut inv_rms = self.scratch("RMSNorm", x.rows * x.width / weight.spec.len())?;
        self.ops.rmsnorm(x.value(), weight.value(), eps, &mut y, &mut inv_rms);
        let y = self.var(y, x.rows, x.width, x.needs_grad || self.learns(weight));
        let x = x.clone();
        self.record(&y, move |gradients, dy| {
            let ops = gradients.ops;
            let mut dx = gradients.take(&x)?;
            ops.rmsnorm_backward(x.value(), weight.value(), &inv_rms, &dy, &mut dx, gradients.param(weight));
            gradients.put(&x, dx);
            Ok(())
        });
        Ok(y)
    }

    /// silu(gate)·up (Shazeer 2020).
    ///
    /// # Errors
    /// If memory runs out.
    pub fn swiglu(&mut self, gate: &Var<O>, up: &Var<O>) -> Result<Var<O>, OutOfMemory> {
        let mut y = self.scratch("SwiGLU", gate.rows * gate.width)?;
        self.ops.swiglu(gate.value(), up.value(), &mut y);
        let y = self.var(y, gate.rows, gate.width, gate.needs_grad || up.needs_grad);
        let (gate, up) = (gate.clone(), up.clone());
        self.record(&y, move |gradients, dy| {
            let (mut dgate, mut dup) =
                (gradients.scratch(gate.rows * gate.width)?, gradients.scratch(up.rows * up.width)?);
            gradients.ops.swiglu_backward(gate.value(), up.value(), &dy, &mut dgate, &mut dup);
            gradients.add(&gate, dgate);
            gradients.add(&up, dup);
            Ok(())
        });
        Ok(y)
    }

    /// Rotary embedding (Su et al. 2021) of each head, in place.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn rope(&mut self, x: Var<O>, rotation: &Rotation, positions: &Arc<[Position]>) -> Result<Var<O>, OutOfMemory> {
        let source = x.slot();
        let Var { value, rows, width, needs_grad, .. } = x;
        let mut value = Arc::into_inner(value).expect("no operation keeps what is rotated");
        self.ops.rope(&mut value, rotation, positions, false);
        let y = self.var(value, rows, width, needs_grad);
        let (rotation, positions) = (rotation.clone(), Arc::clone(positions));
        self.record(&y, move |gradients, mut dy| {
            gradients.ops.rope(&mut dy, &rotation, &positions, true);
            gradients.add(source, dy);
            Ok(())
        });
        Ok(y)
    }

    /// x `[T, a + b]` → `[T, a]` and `[T, b]`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn split_columns(&mut self, x: &Var<O>, widths: (usize, usize)) -> Result<(Var<O>, Var<O>), OutOfMemory> {
        assert_eq!(x.width, widths.0 + widths.1);
        let (mut a, mut b) = (
            self.scratch("splitting columns", x.rows * widths.0)?,
            self.scratch("splitting columns", x.rows * widths.1)?,
        );
        self.ops.split_columns(x.value(), &mut a, &mut b, widths);
        let (a, b) = (self.var(a, x.rows, widths.0, x.needs_grad), self.var(b, x.rows, widths.1, x.needs_grad));
        let x = x.slot();
        self.record_pair(&a, &b, move |gradients, da, db| {
            let mut dx = gradients.take(x)?;
            gradients.ops.split_columns_backward(&da, &db, &mut dx, widths);
            gradients.put(x, dx);
            Ok(())
        });
        Ok((a, b))
    }

    /// a `[T, m]` and b `[T, n]` side by side: `[T, m + n]`. Splitting is its gradient, as it is splitting's.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn join_columns(&mut self, a: &Var<O>, b: &Var<O>) -> Result<Var<O>, OutOfMemory> {
        assert_eq!(a.rows, b.rows);
        let widths = (a.width, b.width);
        let mut x = self.scratch("joining columns", a.rows * (a.width + b.width))?;
        self.ops.split_columns_backward(a.value(), b.value(), &mut x, widths);
        let x = self.var(x, a.rows, a.width + b.width, a.needs_grad || b.needs_grad);
        let (rows, a, b) = (a.rows, a.slot(), b.slot());
        self.record(&x, move |gradients, dx| {
            let (mut da, mut db) = (gradients.scratch(rows * widths.0)?, gradients.scratch(rows * widths.1)?);
            gradients.ops.split_columns(&dx, &mut da, &mut db, widths);
            gradients.add(a, da);
            gradients.add(b, db);
            Ok(())
        });
        Ok(x)
    }
}
