//! Records a forward pass and plays it backwards.
//!
//! Model code is written once, forward, against [`Tape`]. Each operation (one method each, in `layers/`) computes its
//! output and, when recording, leaves a closure that owns exactly what its backward needs; whatever no closure owns is
//! freed as soon as the model code lets go of it, so inference and training share the code and not the memory.
//! Losses run forward and backward at once (see [`Tape::token_loss`]): their denominators are known beforehand.

use crate::ops::{Ops, OutOfMemory};
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

    /// The same values as `rows` rows.
    pub(crate) fn as_rows(&self, rows: usize) -> Var<O> {
        Var { rows, width: self.rows * self.width / rows.max(1), ..self.clone() }
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

/// What a pass counts beside its output, where it was computed: read once, after all passes of a step.
pub struct Tally<O: Ops> {
    /// The load of the experts of each MoE layer in order.
    pub(crate) loads: Vec<O::Load>,
    /// −Σ ln p over what multi-token prediction had to predict, in nats.
    pub mtp_loss: f64,
}

/// What the passes of a step came to beside their gradients.
#[derive(Clone, Debug, Default)]
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
    pub tally: Tally<O>,
    pub(crate) balance: Balance,
    pub(crate) gradients: GradientStore<'a, O>,
    steps: Vec<Step<'a, O>>,
    recording: bool,
    next_id: u32,
}

type Step<'a, O> = Box<dyn FnOnce(&mut GradientStore<'a, O>) -> Result<(), OutOfMemory> + 'a>;

/// Gradients on their way back.
pub struct GradientStore<'a, O: Ops> {
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
            tally: Tally::default(),
            balance,
            recording: params.is_some(),
            gradients: GradientStore { ops, params, vars: HashMap::new() },
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
    pub(crate) fn record(
        &mut self,
        output: &Var<O>,
        backward: impl FnOnce(&mut GradientStore<'a, O>, O::Buffer) -> Result<(), OutOfMemory> + 'a,
    ) {
        if output.needs_grad {
            let id = output.id;
            self.steps.push(Box::new(move |gradients| match gradients.vars.remove(&id) {
                Some(gradient) => backward(gradients, gradient),
                None => Ok(()),
            }));
        }
    }

    /// Like [`Tape::record`] for an operation with two outputs; a gradient that never came is zero.
    pub(crate) fn record_pair(
        &mut self,
        a: &Var<O>,
        b: &Var<O>,
        backward: impl FnOnce(&mut GradientStore<'a, O>, O::Buffer, O::Buffer) -> Result<(), OutOfMemory> + 'a,
    ) {
        if a.needs_grad || b.needs_grad {
            let (a, a_len, b, b_len) = (a.id, a.rows * a.width, b.id, b.rows * b.width);
            self.steps.push(Box::new(move |gradients| {
                let (da, db) = (gradients.vars.remove(&a), gradients.vars.remove(&b));
                if da.is_none() && db.is_none() {
                    return Ok(());
                }
                let ops = gradients.ops;
                let or_zeros = |d: Option<O::Buffer>, len| d.map_or_else(|| ops.zeros(len), Ok);
                let (da, db) = (or_zeros(da, a_len)?, or_zeros(db, b_len)?);
                backward(gradients, da, db)
            }));
        }
    }

    /// Runs `segment` without keeping its activations and computes them again for the backward.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn recompute(
        &mut self,
        x: &Var<O>,
        segment: impl Fn(&mut Tape<'a, O>, &Var<O>) -> Result<Var<O>, OutOfMemory> + 'a,
    ) -> Result<Var<O>, OutOfMemory> {
        if !self.recording {
            return segment(self, x);
        }
        let mut dry = Tape::new(self.ops, None, self.balance);
        let out = segment(&mut dry, x)?;
        self.tally.append(dry.tally);
        let value = Arc::into_inner(out.value).expect("a segment's output is its own");
        let y = self.var(value, out.rows, out.width, true);
        let (x, balance) = (x.clone(), self.balance);
        self.record(&y, move |gradients, dy| {
            let mut again = Tape::new(gradients.ops, gradients.params.take(), balance);
            let input = Var { id: 0, needs_grad: true, ..x.clone() };
            let out = segment(&mut again, &input)?;
            again.gradients.vars.insert(out.id, dy);
            let mut done = again.play_back()?.0;
            gradients.params = done.params.take();
            match done.vars.remove(&input.id) {
                Some(dx) => {
                    gradients.add(&x, dx);
                    Ok(())
                }
                None => Ok(()),
            }
        });
        Ok(y)
    }

    /// Plays everything backwards, adding to the gradients given to [`Tape::recording`].
    ///
    /// # Errors
    /// If memory runs out; the gradients are then worth nothing.
    pub fn backward(self) -> Result<Tally<O>, OutOfMemory> {
        Ok(self.play_back()?.1)
    }

    fn play_back(mut self) -> Result<(GradientStore<'a, O>, Tally<O>), OutOfMemory> {
        while let Some(step) = self.steps.pop() {
            step(&mut self.gradients)?;
        }
        Ok((self.gradients, self.tally))
    }

    /// `len` unspecified values for the output of `operation`.
    pub(crate) fn scratch(&self, operation: &'static str, len: usize) -> Result<O::Buffer, OutOfMemory> {
        self.ops.scratch(len).map_err(|e| e.during(operation))
    }
}

impl<'a, O: Ops> GradientStore<'a, O> {
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
    /// [`GradientStore::put`].
    pub(crate) fn take(&mut self, x: impl Into<Slot>) -> Result<O::Buffer, OutOfMemory> {
        let x = x.into();
        self.vars.remove(&x.id).map_or_else(|| self.ops.zeros(x.len), Ok).map_err(|e| e.during("a gradient"))
    }

    /// Takes the gradient of `x` so far and whether there is one; if not, its values are unspecified.
    pub(crate) fn take_or_scratch(&mut self, x: impl Into<Slot>) -> Result<(O::Buffer, bool), OutOfMemory> {
        let x = x.into();
        match self.vars.remove(&x.id) {
            Some(sum) => Ok((sum, true)),
            None => Ok((self.scratch(x.len)?, false)),
        }
    }

    /// `len` unspecified values for a gradient.
    pub(crate) fn scratch(&self, len: usize) -> Result<O::Buffer, OutOfMemory> {
        self.ops.scratch(len).map_err(|e| e.during("a gradient"))
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

    /// Lends `work` the gradients of several parameters at once; `None` for those that are frozen.
    pub(crate) fn with_params(&mut self, params: &[&Param<O>], work: impl FnOnce(&mut [Option<O::Buffer>])) {
        let Some(grads) = &mut self.params else { return };
        let mut lent: Vec<Option<O::Buffer>> = params.iter().map(|param| grads.lend(param.id)).collect();
        work(&mut lent);
        params.iter().zip(lent).for_each(|(param, gradient)| grads.give_back(param.id, gradient));
    }
}

impl<O: Ops> Default for Tally<O> {
    fn default() -> Self {
        Tally { loads: Vec::new(), mtp_loss: 0.0 }
    }
}

impl<O: Ops> Tally<O> {
    /// Adds what another pass over the same layers counted; layers that only it has are appended.
    pub fn add(&mut self, ops: &O, other: Tally<O>) {
        let known = self.loads.len();
        for (i, load) in other.loads.into_iter().enumerate() {
            if i < known {
                ops.add_load(&mut self.loads[i], &load);
            } else {
                self.loads.push(load);
            }
        }
        self.mtp_loss += other.mtp_loss;
    }

    /// Appends what the next layers of the same pass counted.
    fn append(&mut self, segment: Tally<O>) {
        self.loads.extend(segment.loads);
        self.mtp_loss += segment.mtp_loss;
    }

    /// Reads everything.
    pub fn read(&self, ops: &O) -> Statistics {
        let loads = self.loads.iter().map(|load| ops.read_load(load));
        let mut statistics = Statistics { mtp_loss: self.mtp_loss, ..Statistics::default() };
        for load in loads {
            statistics.expert_counts.push(load.counts);
            statistics.balance_loss += load.balance_loss;
        }
        statistics
    }
}

impl Statistics {
    /// Adds those of other passes over the same layers.
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
