//! Mixture of experts (DeepSeek-V3, section 2.1.2): the gate, and the way of the rows to their experts and back.
//!
//! No token is dropped: an expert takes as many rows as chose it.

use crate::ops::{Ops, RouterConfig};
use crate::params::Param;
use crate::tape::{Tape, Var};
use picnic_kernels::moe::Dispatch;
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
    pub(crate) fn routed_experts(
        &mut self,
        x: &Var<O>,
        experts: Experts<'a, O>,
        config: &RouterConfig,
        spans: &[Range<usize>],
    ) -> Var<O> {
        let logits = self.linear(x, experts.gate, None);
        let (weights, dispatch) = self.route(&logits, experts.bias, config, spans);
        let [gate, up, down] = experts.routed;
        let rows = self.dispatch(x, &dispatch);
        let gate = self.grouped_linear(&rows, gate, &dispatch.offsets);
        let up = self.grouped_linear(&rows, up, &dispatch.offsets);
        drop(rows);
        let hidden = self.swiglu(&gate, &up);
        drop((gate, up));
        let y = self.grouped_linear(&hidden, down, &dispatch.offsets);
        self.combine(&y, &weights, &dispatch)
    }

    /// Mixing weights `[T, top_k]` and who goes where; counts the load of each expert.
    fn route(
        &mut self,
        logits: &Var<O>,
        bias: Option<&'a Param<O>>,
        config: &RouterConfig,
        spans: &[Range<usize>],
    ) -> (Var<O>, Arc<Dispatch>) {
        let mut routing = self.ops.route(logits.value(), bias.map(Param::value), config);
        let dispatch = Arc::new(Dispatch::new(&routing.ids, logits.rows, config.top_k, config.experts));
        self.statistics.expert_counts.push(dispatch.offsets.windows(2).map(|w| (w[1] - w[0]) as u64).collect());
        let alpha = self.balance.alpha_per_sequence;
        if alpha > 0.0 {
            self.statistics.balance_loss += self.ops.balance_loss(&routing, spans, config, alpha);
        }
        let weights = std::mem::replace(&mut routing.weights, self.ops.scratch(0));
        let weights = self.var(weights, logits.rows, config.top_k, logits.needs_grad);
        let (logits, config, spans) = (logits.slot(), *config, spans.to_vec());
        self.record(&weights, move |flow, dweights| {
            let mut dlogits = flow.take(logits);
            flow.ops.route_backward(&routing, &dweights, &config, &mut dlogits);
            if alpha > 0.0 {
                flow.ops.balance_loss_backward(&routing, &spans, &config, alpha, &mut dlogits);
            }
            flow.put(logits, dlogits);
        });
        (weights, dispatch)
    }

    /// Each token's row to the slots of its experts: `[T, d]` → `[T·k, d]`.
    fn dispatch(&mut self, x: &Var<O>, dispatch: &Arc<Dispatch>) -> Var<O> {
        let slots = dispatch.token_of_slot.len();
        let mut out = self.ops.scratch(slots * x.width);
        self.ops.dispatch(x.value(), dispatch, &mut out);
        let out = self.var(out, slots, x.width, x.needs_grad);
        let (x, dispatch) = (x.slot(), Arc::clone(dispatch));
        self.record(&out, move |flow, dout| {
            let mut dx = flow.take(x);
            flow.ops.dispatch_backward(&dout, &dispatch, &mut dx);
            flow.put(x, dx);
        });
        out
    }

    /// Weighted sum of each token's slots: `[T·k, d]` → `[T, d]`.
    fn combine(&mut self, y: &Var<O>, weights: &Var<O>, dispatch: &Arc<Dispatch>) -> Var<O> {
        let mut out = self.ops.scratch(weights.rows * y.width);
        self.ops.combine(y.value(), weights.value(), dispatch, &mut out);
        let out = self.var(out, weights.rows, y.width, y.needs_grad || weights.needs_grad);
        let (y, weights, dispatch) = (y.clone(), weights.clone(), Arc::clone(dispatch));
        self.record(&out, move |flow, dout| {
            let mut dy = flow.ops.scratch(y.rows * y.width);
            let mut dweights = flow.ops.scratch(weights.rows * weights.width);
            flow.ops.combine_backward(&dout, y.value(), weights.value(), &dispatch, &mut dy, &mut dweights);
            flow.add(&y, dy);
            flow.add(&weights, dweights);
        });
        out
    }
}
