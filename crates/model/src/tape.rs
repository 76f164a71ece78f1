//! Records a forward pass and plays it backwards.
//!
//! Model code is written once, forward, against [`Tape`]. Each operation (one method each, in `layers/`) computes its
//! output and, when recording, leaves a closure that owns exactly what its backward needs; whatever no closure owns is
//! freed as soon as the model code lets go of it, so inference and training share the code and not the memory.
//! Losses run forward and backward at once (see [`Tape::token_loss`]): their denominators are known beforehand.

use crate::ops::Ops;
use crate::params::{Grads, Param};
use std::collections::HashMap;
use std::sync::Arc;

/// A matrix `[rows, width]` computed on a tape.
pub struct Var<O: Ops> {
    pub(crate) id: u32,
    pub(crate) value: Arc<O::Buffer>,
    /// Rows: tokens, mostly.
    pub rows: usize,
    /// Values in a row.
    pub width: usize,
    /// Whether anything trainable lies behind it.
    pub(crate) needs_grad: bool,
}

impl<O: Ops> Clone for Var<O> {
    fn clone(&self) -> Self {
        Var { value: Arc::clone(&self.value), ..*self }
    }
}

impl<O: Ops> Var<O> {
    /// The values.
    pub fn value(&self) -> &O::Buffer {
        &self.value
    }

    /// Where its gradient goes; keeping this keeps no values.
    pub(crate) fn slot(&self) -> Slot {
        Slot { id: self.id, len: self.rows * self.width, needs_grad: self.needs_grad }
    }
}

/// The place of a matrix's gradient: all that a backward holds of an input whose values it does not need.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    id: u32,
    len: usize,
    pub(crate) needs_grad: bool,
}

impl<O: Ops> From<&Var<O>> for Slot {
    fn from(x: &Var<O>) -> Slot {
        x.slot()
    }
}

/// What a pass says beside its output.
#[derive(Clone, Default)]
pub struct Statistics {
    /// For each MoE layer in order, how many tokens chose each expert. That of multi-token prediction comes last, and
    /// is missing where it did not run.
    pub expert_counts: Vec<Vec<u64>>,
    /// Sum of the weighted sequence-wise balance losses.
    pub balance_loss: f64,
    /// −Σ ln p over what multi-token prediction had to predict, in nats.
    pub mtp_loss: f64,
}

/// Sequence-wise balance loss of every MoE layer (DeepSeek-V3, section 2.1.2).
#[derive(Clone, Copy, Default)]
pub struct Balance {
    /// α over the number of sequences that the step averages over; 0 for none.
    pub alpha_per_sequence: f32,
}

/// A forward pass under way.
pub struct Tape<'a, O: Ops> {
    /// What computes.
    pub ops: &'a O,
    /// Counts and losses so far.
    pub statistics: Statistics,
    pub(crate) balance: Balance,
    pub(crate) flow: Flow<'a, O>,
    steps: Vec<Step<'a, O>>,
    recording: bool,
    next_id: u32,
}

type Step<'a, O> = Box<dyn FnOnce(&mut Flow<'a, O>) + 'a>;

/// Gradients on their way back.
pub struct Flow<'a, O: Ops> {
    pub(crate) ops: &'a O,
    params: Option<&'a mut Grads<O>>,
    vars: HashMap<u32, O::Buffer>,
}

impl<'a, O: Ops> Tape<'a, O> {
    /// A pass without a backward.
    pub fn inference(ops: &'a O) -> Self {
        Self::new(ops, None, Balance::default())
    }

    /// A pass whose backward adds to `grads`.
    pub fn recording(ops: &'a O, grads: &'a mut Grads<O>, balance: Balance) -> Self {
        Self::new(ops, Some(grads), balance)
    }

    fn new(ops: &'a O, params: Option<&'a mut Grads<O>>, balance: Balance) -> Self {
        Tape {
            ops,
            statistics: Statistics::default(),
            balance,
            recording: params.is_some(),
            flow: Flow { ops, params, vars: HashMap::new() },
            steps: Vec::new(),
            next_id: 0,
        }
    }

    /// Whether a backward will follow.
    pub fn is_recording(&self) -> bool {
        self.recording
    }

    /// Whether `param` gets a gradient on this tape.
    pub(crate) fn learns(&self, param: &Param<O>) -> bool {
        self.recording && param.trainable
    }

    /// A matrix on this tape; `needs_grad` if anything trainable lies behind it.
    pub(crate) fn var(&mut self, value: O::Buffer, rows: usize, width: usize, needs_grad: bool) -> Var<O> {
        debug_assert_eq!(self.ops.len(&value), rows * width);
        self.next_id += 1;
        Var { id: self.next_id, value: Arc::new(value), rows, width, needs_grad: needs_grad && self.recording }
    }

    /// Leaves the backward of the operation that made `output`: it gets the gradient of `output`, if there is one.
    pub(crate) fn record(&mut self, output: &Var<O>, backward: impl FnOnce(&mut Flow<'a, O>, O::Buffer) + 'a) {
        if output.needs_grad {
            let id = output.id;
            self.steps.push(Box::new(move |flow| {
                if let Some(gradient) = flow.vars.remove(&id) {
                    backward(flow, gradient);
                }
            }));
        }
    }

    /// Like [`Tape::record`] for an operation with two outputs; a gradient that never came is zero.
    pub(crate) fn record_pair(
        &mut self,
        a: &Var<O>,
        b: &Var<O>,
        backward: impl FnOnce(&mut Flow<'a, O>, O::Buffer, O::Buffer) + 'a,
    ) {
        if a.needs_grad || b.needs_grad {
            let (a, a_len, b, b_len) = (a.id, a.rows * a.width, b.id, b.rows * b.width);
            self.steps.push(Box::new(move |flow| {
                let (da, db) = (flow.vars.remove(&a), flow.vars.remove(&b));
                if da.is_some() || db.is_some() {
                    let da = da.unwrap_or_else(|| flow.ops.zeros(a_len));
                    let db = db.unwrap_or_else(|| flow.ops.zeros(b_len));
                    backward(flow, da, db);
                }
            }));
        }
    }

    /// Runs `segment` without keeping its activations and computes them again for the backward.
    pub fn recompute(&mut self, x: &Var<O>, segment: impl Fn(&mut Tape<'a, O>, &Var<O>) -> Var<O> + 'a) -> Var<O> {
        if !self.recording {
            return segment(self, x);
        }
        let mut dry = Tape::new(self.ops, None, self.balance);
        let out = segment(&mut dry, x);
        self.statistics.absorb(&dry.statistics);
        let value = Arc::into_inner(out.value).expect("a segment's output is its own");
        let y = self.var(value, out.rows, out.width, true);
        let (x, balance) = (x.clone(), self.balance);
        self.record(&y, move |flow, dy| {
            let mut again = Tape::new(flow.ops, flow.params.take(), balance);
            let input = Var { id: 0, needs_grad: true, ..x.clone() };
            let out = segment(&mut again, &input);
            again.flow.vars.insert(out.id, dy);
            let mut done = again.play_back();
            flow.params = done.params.take();
            if let Some(dx) = done.vars.remove(&input.id) {
                flow.add(&x, dx);
            }
        });
        y
    }

    /// Plays everything backwards, adding to the gradients given to [`Tape::recording`].
    pub fn backward(self) -> Statistics {
        let statistics = self.statistics.clone();
        self.play_back();
        statistics
    }

    fn play_back(mut self) -> Flow<'a, O> {
        while let Some(step) = self.steps.pop() {
            step(&mut self.flow);
        }
        self.flow
    }
}

impl<'a, O: Ops> Flow<'a, O> {
    /// Adds `gradient` to that of `x`.
    pub(crate) fn add(&mut self, x: impl Into<Slot>, gradient: O::Buffer) {
        let x = x.into();
        if !x.needs_grad {
            return;
        }
        match self.vars.entry(x.id) {
            std::collections::hash_map::Entry::Occupied(mut sum) => self.ops.add_assign(sum.get_mut(), &gradient),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(gradient);
            }
        }
    }

    /// Takes the gradient of `x` so far, zeros at first, for an operation that adds to it; give it back by
    /// [`Flow::put`].
    pub(crate) fn take(&mut self, x: impl Into<Slot>) -> O::Buffer {
        let x = x.into();
        self.vars.remove(&x.id).unwrap_or_else(|| self.ops.zeros(x.len))
    }

    /// Takes the gradient of `x` so far and whether there is one; if not, its values are unspecified.
    pub(crate) fn take_or_scratch(&mut self, x: impl Into<Slot>) -> (O::Buffer, bool) {
        let x = x.into();
        match self.vars.remove(&x.id) {
            Some(sum) => (sum, true),
            None => (self.ops.scratch(x.len), false),
        }
    }

    /// Gives back what was taken.
    pub(crate) fn put(&mut self, x: impl Into<Slot>, gradient: O::Buffer) {
        let x = x.into();
        if x.needs_grad {
            self.vars.insert(x.id, gradient);
        }
    }

    /// The gradient of a parameter; `None` if it is frozen.
    pub(crate) fn param(&mut self, param: &Param<O>) -> Option<&mut O::Buffer> {
        self.params.as_mut()?.get_mut(param.id)
    }
}

impl Statistics {
    /// Adds another pass's counts (of the same layers) or appends the next layers' to a pass under way.
    pub fn absorb(&mut self, segment: &Statistics) {
        self.expert_counts.extend(segment.expert_counts.iter().cloned());
        self.balance_loss += segment.balance_loss;
        self.mtp_loss += segment.mtp_loss;
    }

    /// Adds the counts of another pass over the same layers.
    pub fn add(&mut self, other: &Statistics) {
        add_counts(&mut self.expert_counts, &other.expert_counts);
        self.balance_loss += other.balance_loss;
        self.mtp_loss += other.mtp_loss;
    }
}

/// Adds the expert counts of another pass over the same layers; layers that only it has are appended.
pub fn add_counts(sum: &mut Vec<Vec<u64>>, more: &[Vec<u64>]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        sum.iter_mut().zip(more).for_each(|(a, b)| *a += b);
    }
    let known = sum.len().min(more.len());
    sum.extend_from_slice(&more[known..]);
}
