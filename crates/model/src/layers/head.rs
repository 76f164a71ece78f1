//! The head and every loss on top of it: log-probabilities of targets, in chunks of rows.
//!
//! `[tokens × vocabulary]` never exists whole. Every loss that Picnic knows is a function of the log-probabilities of
//! the target tokens with denominators known beforehand, so a chunk's logits become their gradient as soon as they are
//! there and are never computed twice.

use crate::ops::{Dims, Ops};
use crate::params::Param;
use crate::tape::{Tape, Var};

/// Values of logits in a chunk: 4 MiB of them, small enough for the outer caches.
const CHUNK: usize = 1 << 20;

/// Which rows of the hidden states predict what.
pub struct Targets<'t> {
    /// Rows, ascending, each at most once.
    pub rows: &'t [u32],
    /// The token that each of them should predict.
    pub ids: &'t [u32],
    /// Whether to compute the entropies too.
    pub entropy: bool,
}

/// What the head says of each target.
#[derive(Clone, Debug, Default)]
pub struct TokenStats {
    /// ln p(target).
    pub logprob: Vec<f32>,
    /// −Σ p ln p in nats; empty if not asked for.
    pub entropy: Vec<f32>,
}

impl<'a, O: Ops> Tape<'a, O> {
    /// Log-probability (and entropy) of every target under softmax(h·headᵀ), and, when recording, the backward of a
    /// loss whose derivative by the log-probabilities `slope` gives for a chunk: `slope(first target, logprobs)`.
    pub fn token_loss(
        &mut self,
        h: &Var<O>,
        head: &'a Param<O>,
        targets: Targets,
        mut slope: impl FnMut(usize, &[f32]) -> Vec<f32>,
    ) -> TokenStats {
        let dims = Dims { n: head.spec.shape[0], k: head.spec.shape[1] };
        let whole = targets.rows.len() == h.rows;
        let rows = if whole { h.clone() } else { self.take_rows(h, targets.rows) };
        let ops = self.ops;
        let mut all = TokenStats::default();
        let back = self.is_recording() && (rows.needs_grad || self.learns(head));
        let mut drows = back.then(|| ops.scratch(rows.rows * rows.width));
        let step = (CHUNK / dims.n).clamp(1, rows.rows.max(1));
        for start in (0..rows.rows).step_by(step) {
            let end = (start + step).min(rows.rows);
            let chunk = ops.slice_rows(rows.value(), start..end, dims.k);
            let mut logits = ops.scratch((end - start) * dims.n);
            ops.linear(0..end - start, &chunk, head.panels(), None, &mut logits, dims);
            let ids = &targets.ids[start..end];
            let mut stats = ops.scratch(2 * (end - start));
            let logprob = ops.logprobs(&logits, ids, &mut stats);
            if targets.entropy {
                all.entropy.extend(ops.entropy(&logits, &stats));
            }
            if let Some(drows) = &mut drows {
                let g = slope(start, &logprob);
                ops.logprobs_backward(&mut logits, ids, &stats, &g);
                if let Some(dw) = self.flow.param(head) {
                    ops.linear_dw(0..end - start, &chunk, &logits, dw, dims);
                }
                let mut dchunk = ops.scratch((end - start) * dims.k);
                ops.linear_dx(0..end - start, &logits, head.value(), &mut dchunk, dims, true);
                ops.write_rows(drows, start, dims.k, &dchunk);
            }
            all.logprob.extend(logprob);
        }
        if let Some(drows) = drows {
            self.flow.add(&rows, drows);
        }
        all
    }

    /// Logits `[rows, V]` of some rows, for sampling.
    pub fn logits(&mut self, h: &Var<O>, head: &'a Param<O>, rows: &[u32]) -> Var<O> {
        let picked = if rows.len() == h.rows { h.clone() } else { self.take_rows(h, rows) };
        self.linear(&picked, head, None)
    }

    /// Rows of x, each at most once.
    pub(crate) fn take_rows(&mut self, x: &Var<O>, rows: &[u32]) -> Var<O> {
        let mut out = self.ops.scratch(rows.len() * x.width);
        self.ops.take_rows(x.value(), rows, x.width, &mut out);
        let out = self.var(out, rows.len(), x.width, x.needs_grad);
        let (x, rows) = (x.slot(), rows.to_vec());
        self.record(&out, move |flow, d| {
            let mut dx = flow.take(x);
            flow.ops.embedding_backward(&d, &rows, &mut dx);
            flow.put(x, dx);
        });
        out
    }
}
