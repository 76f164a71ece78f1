//! Mixture of experts (DeepSeek-V3, section 2.1.2): the gate, and the way of the rows to their experts and back.
//!
//! No token is dropped: an expert takes as many rows as chose it.

use crate::ops::{Ops, OutOfMemory, RouterConfig};
use crate::params::Param;
use crate::tape::{Tape, Var};
use std::ops::Range;
use std::sync::Arc;

/// Weights of one MoE layer.
pub(crate) struct Experts<'a, O: Ops> {
    /// The gate, `[experts, d]`.
    pub gate: &'a Param<O>,
    /// `e_score_correction_bias`, for selection only.
    pub bias: Option<&'a Param<O>>,
    /// `gate_proj`, `up_proj`, `down_proj` of each routed expert.
    pub routed: [Vec<&'a Param<O>>; 3],
}

impl<'a, O: Ops> Tape<'a, O> {
    /// The routed experts' part of the layer: Σ over the chosen experts of weight · expert(x).
    ///
    /// # Errors
    /// If memory runs out.
    pub(crate) fn routed_experts(
        &mut self,
        x: &Var<O>,
        experts: Experts<'a, O>,
        config: &RouterConfig,
        spans: &[Range<usize>],
    ) -> Result<Var<O>, OutOfMemory> {
        let logits = self.linear(x, experts.gate, None)?;
        let (weights, routing) = self.route(&logits, experts.bias, config, spans)?;
        let [gate, up, down] = experts.routed;
        let rows = self.dispatch(&routing, x, config.top_k)?;
        let gate = self.grouped_linear(&routing, &rows, gate)?;
        let up = self.grouped_linear(&routing, &rows, up)?;
        drop(rows);
        let hidden = self.swiglu(&gate, &up)?;
        drop((gate, up));
        let y = self.grouped_linear(&routing, &hidden, down)?;
        self.combine(&routing, &y, &weights)
    }

    /// Mixing weights `[T, top_k]` and who goes where; counts the load of each expert.
    fn route(
        &mut self,
        logits: &Var<O>,
        bias: Option<&'a Param<O>>,
        config: &RouterConfig,
        spans: &[Range<usize>],
    ) -> Result<(Var<O>, Arc<O::Routing>), OutOfMemory> {
        let alpha = self.balance.alpha_per_sequence;
        let (routing, weights) = self.ops.route(logits.value(), bias.map(Param::value), config)?;
        self.tally.loads.push(self.ops.load(&routing, spans, alpha)?);
        let weights = self.var(weights, logits.rows, config.top_k, logits.needs_grad);
        let routing = Arc::new(routing);
        let (logits, chosen, spans) = (logits.slot(), Arc::clone(&routing), spans.to_vec());
        self.record(&weights, move |gradients, dweights| {
            let mut dlogits = gradients.take(logits)?;
            gradients.ops.route_backward(&chosen, &dweights, &mut dlogits);
            if alpha > 0.0 {
                gradients.ops.balance_loss_backward(&chosen, &spans, alpha, &mut dlogits);
            }
            gradients.put(logits, dlogits);
            Ok(())
        });
        Ok((weights, routing))
    }

    /// Each token's row to the slots of its experts: `[T, d]` → `[T·top_k, d]`.
    fn dispatch(&mut self, routing: &Arc<O::Routing>, x: &Var<O>, top_k: usize) -> Result<Var<O>, OutOfMemory> {
        let slots = x.rows * top_k;
        let mut out = self.scratch("experts", slots * x.width)?;
        self.ops.dispatch(routing, x.value(), &mut out);
        let out = self.var(out, slots, x.width, x.needs_grad);
        let (x, routing) = (x.slot(), Arc::clone(routing));
        self.record(&out, move |gradients, dout| {
            let mut dx = gradients.take(x)?;
            gradients.ops.dispatch_backward(&routing, &dout, &mut dx);
            gradients.put(x, dx);
            Ok(())
        });
        Ok(out)
    }

    /// Weighted sum of each token's slots: `[T·top_k, d]` → `[T, d]`.
    fn combine(&mut self, routing: &Arc<O::Routing>, y: &Var<O>, weights: &Var<O>) -> Result<Var<O>, OutOfMemory> {
        let mut out = self.scratch("experts", weights.rows * y.width)?;
        self.ops.combine(routing, y.value(), weights.value(), &mut out);
        let out = self.var(out, weights.rows, y.width, y.needs_grad || weights.needs_grad);
        let (y, weights, routing) = (y.clone(), weights.clone(), Arc::clone(routing));
        self.record(&out, move |gradients, dout| {
            let mut dy = gradients.scratch(y.rows * y.width)?;
            let mut dweights = gradients.scratch(weights.rows * weights.width)?;
            gradients.ops.combine_backward(&routing, &dout, y.value(), weights.value(), &mut dy, &mut dweights);
            gradients.add(&y, dy);
            gradients.add(&weights, dweights);
            Ok(())
        });
        Ok(out)
    }
}
