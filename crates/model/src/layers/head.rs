//! The head and every loss on top of it: log-probabilities of targets, in chunks of rows.
//!
//! `[tokens × vocabulary]` never exists whole. Every loss that Picnic knows is a function of the log-probabilities of
//! the target tokens with denominators known beforehand, so a chunk's logits become their gradient as soon as they are
//! there and are never computed twice.

use crate::ops::{Linear, Loss, Ops, OutOfMemory};
use crate::params::Param;
use crate::tape::{Tape, Var};

/// Values of logits in a chunk: 4 MiB of them, small enough for the outer caches.
const CHUNK: usize = 1 << 20;

/// What its memory is for.
const HEAD: &str = "the head";

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
    /// Log-probability (and entropy) of every target under softmax(h·headᵀ), and, when recording, the backward of
    /// `loss`, whose targets these are.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn token_loss(
        &mut self,
        h: &Var<O>,
        head: &'a Param<O>,
        targets: Targets,
        loss: Loss,
    ) -> Result<TokenStats, OutOfMemory> {
        let dims = head.spec.dims();
        let whole = targets.rows.len() == h.rows;
        let rows = if whole { h.clone() } else { self.take_rows(h, targets.rows)? };
        let ops = self.ops;
        let count = rows.rows;
        let mut logprobs = self.scratch(HEAD, count)?;
        let mut entropies = if targets.entropy { Some(self.scratch(HEAD, count)?) } else { None };
        let learns = self.is_recording() && (rows.needs_grad || self.learns(head));
        let mut back = match learns {
            true => Some((ops.upload_loss(loss)?, self.scratch(HEAD, count * rows.width)?)),
            false => None,
        };
        let step = (CHUNK / dims.n).clamp(1, count.max(1));
        for start in (0..count).step_by(step) {
            let end = (start + step).min(count);
            let (len, ids) = (end - start, &targets.ids[start..end]);
            let chunk = ops.slice_rows(rows.value(), start..end, dims.k)?;
            let mut logits = self.scratch(HEAD, len * dims.n)?;
            let layer = Linear { weight: head.weight(), bias: None, y: &mut logits, dims };
            ops.linear(0..len, &chunk, &mut [layer]);
            let (mut said, mut stats) = (self.scratch(HEAD, len)?, self.scratch(HEAD, 2 * len)?);
            ops.logprobs(&logits, ids, &mut said, &mut stats);
            ops.write_rows(&mut logprobs, start, 1, &said);
            if let Some(entropies) = &mut entropies {
                let mut entropy = self.scratch(HEAD, len)?;
                ops.entropy(&logits, &stats, &mut entropy);
                ops.write_rows(entropies, start, 1, &entropy);
            }
            if let Some((loss, drows)) = &mut back {
                let mut derivative = self.scratch(HEAD, len)?;
                ops.dloss_dlogprob(loss, start, &said, &mut derivative);
                ops.logprobs_backward(&mut logits, ids, &stats, &derivative);
                if let Some(dw) = self.gradients.param(head) {
                    ops.linear_dw(0..len, &chunk, &logits, dw, dims);
                }
                let mut dchunk = self.scratch(HEAD, len * dims.k)?;
                ops.linear_dx(0..len, &logits, head.weight(), &mut dchunk, dims, true);
                ops.write_rows(drows, start, dims.k, &dchunk);
            }
        }
        if let Some((_, drows)) = back {
            self.gradients.add(&rows, drows);
        }
        let entropy = entropies.map_or_else(Vec::new, |entropies| ops.download(&entropies));
        Ok(TokenStats { logprob: ops.download(&logprobs), entropy })
    }

    /// Logits `[rows, V]` of some rows, for sampling.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn logits(&mut self, h: &Var<O>, head: &'a Param<O>, rows: &[u32]) -> Result<Var<O>, OutOfMemory> {
        let picked = if rows.len() == h.rows { h.clone() } else { self.take_rows(h, rows)? };
        self.linear(&picked, head, None)
    }

    /// Rows of x, each at most once.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn take_rows(&mut self, x: &Var<O>, rows: &[u32]) -> Result<Var<O>, OutOfMemory> {
        let mut out = self.scratch("a choice of rows", rows.len() * x.width)?;
        self.ops.take_rows(x.value(), rows, x.width, &mut out);
        let out = self.var(out, rows.len(), x.width, x.needs_grad);
        let (x, rows) = (x.slot(), rows.to_vec());
        self.record(&out, move |gradients, d| {
            let mut dx = gradients.take(x)?;
            gradients.ops.embedding_backward(&d, &rows, &mut dx);
            gradients.put(x, dx);
            Ok(())
        });
        Ok(out)
    }
}
