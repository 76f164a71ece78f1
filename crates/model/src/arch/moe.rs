//! Mixture of experts (DeepSeekMoE, section 3; DeepSeek-V3, section 2.1.2): a gate sends each token to a few of many
//! small SwiGLU blocks; shared ones see every token.
//!
//!   y = Σ over the chosen experts e of w_e·expert_e(x) + shared(x),   w from the gate's scores of x
//!
//! x and y `[T, d]`. No token is dropped. `layers/moe.rs` has the routing as the tape sees it, docs/moe.md the rest.

use super::dense::{Dense, DenseLayer};
use super::layer::{At, Pass, Place};
use super::specs::Specs;
use crate::config::{Bounds, Contradiction};
use crate::layers::Experts;
use crate::ops::{Ops, OutOfMemory, RouterConfig};
use crate::params::{ParamId, Role};
use crate::tape::{Tape, Var};

/// Sizes and routing of a mixture of experts.
#[derive(Debug, Clone, PartialEq)]
pub struct Moe {
    /// Routed experts in a layer.
    pub n_routed_experts: usize,
    /// Shared experts in a layer, stored as one SwiGLU block of that many times the width.
    pub n_shared_experts: usize,
    /// Routed experts that a token visits.
    pub num_experts_per_tok: usize,
    /// Inner width of one expert.
    pub moe_intermediate_size: usize,
    /// Which layers are mixtures.
    pub sparse: SparseLayers,
    /// Groups of consecutive experts; 1 for routing without groups.
    pub n_group: usize,
    /// Groups that a token may visit.
    pub topk_group: usize,
    /// Factor on the mixing weights.
    pub routed_scaling_factor: f64,
    /// Whether the chosen weights are divided by their sum.
    pub norm_topk_prob: bool,
    /// From router logits to scores.
    pub scoring: Scoring,
    /// From the scores of a group's experts to the group's own.
    pub group_score: GroupScore,
    /// Whether `gate.e_score_correction_bias` is added for the selection.
    pub has_correction_bias: bool,
}

/// Which layers of a model are mixtures; the others are dense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SparseLayers {
    /// From `first_k_dense_replace` on, those whose number `moe_layer_freq` divides (DeepSeek).
    From {
        /// Leading layers that stay dense.
        first_k_dense_replace: usize,
        /// Of the others, those whose number this divides are sparse.
        moe_layer_freq: usize,
    },
    /// Every `decoder_sparse_step`-th, but for those in `mlp_only_layers` (Qwen).
    Every {
        /// Layer i is sparse where this divides i + 1; 0 for none.
        decoder_sparse_step: usize,
        /// Layers that stay dense.
        mlp_only_layers: Vec<usize>,
    },
}

/// How router logits become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// Each expert on its own (V3).
    Sigmoid,
    /// Over all experts (V2, Qwen3).
    Softmax,
}

/// How a group of experts is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupScore {
    /// The sum of the two best (V3).
    SumTop2,
    /// The best (V2).
    Max,
}

impl SparseLayers {
    /// Whether layer `layer` is a mixture.
    pub fn contains(&self, layer: usize) -> bool {
        match self {
            SparseLayers::From { first_k_dense_replace, moe_layer_freq } => {
                layer >= *first_k_dense_replace && layer.is_multiple_of(*moe_layer_freq)
            }
            SparseLayers::Every { decoder_sparse_step, mlp_only_layers } => {
                *decoder_sparse_step > 0
                    && (layer + 1).is_multiple_of(*decoder_sparse_step)
                    && !mlp_only_layers.contains(&layer)
            }
        }
    }
}

impl Moe {
    pub(crate) fn bounds(&self, bounds: &mut Bounds) {
        bounds.size("n_routed_experts", self.n_routed_experts, 1..=1 << 16);
        bounds.size("n_shared_experts", self.n_shared_experts, 0..=1 << 10);
        bounds.size("num_experts_per_tok", self.num_experts_per_tok, 1..=1 << 16);
        bounds.size("moe_intermediate_size", self.moe_intermediate_size, 1..=1 << 24);
        if let SparseLayers::From { first_k_dense_replace, moe_layer_freq } = self.sparse {
            bounds.size("first_k_dense_replace", first_k_dense_replace, 0..=10_000);
            bounds.size("moe_layer_freq", moe_layer_freq, 1..=10_000);
        }
        bounds.size("n_group", self.n_group, 1..=1 << 16);
        bounds.size("topk_group", self.topk_group, 1..=1 << 16);
        bounds.float("routed_scaling_factor", self.routed_scaling_factor, 1e-6..=1e6);
    }

    pub(crate) fn contradiction(&self) -> Option<Contradiction> {
        let (experts, groups) = (self.n_routed_experts, self.n_group);
        if !experts.is_multiple_of(groups) {
            let problem = format!("{groups} does not divide n_routed_experts {experts}");
            return Some(("n_group", problem, "correct one of the two"));
        }
        let group_size = experts / groups;
        if self.group_score == GroupScore::SumTop2 && group_size < 2 {
            let problem = format!("{groups} groups leave one expert to a group");
            return Some(("n_group", problem, "a group's score needs its two best: use fewer groups"));
        }
        if self.topk_group > groups {
            let problem = format!("{} exceeds n_group {groups}", self.topk_group);
            return Some(("topk_group", problem, "correct one of the two"));
        }
        let reachable = self.topk_group * group_size;
        (self.num_experts_per_tok > reachable).then(|| {
            let problem =
                format!("{} exceeds the {reachable} experts that topk_group leaves", self.num_experts_per_tok);
            ("num_experts_per_tok", problem, "choose fewer experts or more groups")
        })
    }

    /// Weights of all experts and the gate.
    pub(crate) fn num_parameters(&self, hidden: u128) -> u128 {
        self.parameters_of(self.n_routed_experts, hidden)
    }

    /// Weights that one token meets: the gate, the shared experts and those that it is routed to.
    pub(crate) fn num_active_parameters(&self, hidden: u128) -> u128 {
        self.parameters_of(self.num_experts_per_tok, hidden)
    }

    fn parameters_of(&self, routed: usize, hidden: u128) -> u128 {
        let experts = (routed + self.n_shared_experts) as u128;
        experts * self.experts_of(1).num_parameters(hidden) + self.n_routed_experts as u128 * hidden
    }

    /// The dense block that `count` experts make together.
    fn experts_of(&self, count: usize) -> Dense {
        Dense { intermediate_size: count * self.moe_intermediate_size, bias: false }
    }

    fn router(&self) -> RouterConfig {
        RouterConfig {
            experts: self.n_routed_experts,
            top_k: self.num_experts_per_tok,
            groups: self.n_group,
            top_groups: self.topk_group,
            scoring: self.scoring,
            group_score: self.group_score,
            normalise: self.norm_topk_prob,
            scale: self.routed_scaling_factor as f32,
        }
    }
}

/// The layer's mixture: routing and tensors.
pub(super) struct MoeLayer {
    router: RouterConfig,
    gate: ParamId,
    /// Moved by expert load, not by a gradient.
    pub(super) bias: Option<ParamId>,
    /// `gate_proj`, `up_proj`, `down_proj` of each routed expert.
    routed: [Vec<ParamId>; 3],
    shared: Option<DenseLayer>,
}

impl MoeLayer {
    pub(super) fn new(specs: &mut Specs, moe: &Moe, place: &Place, at: &At) -> MoeLayer {
        let (d, experts) = (place.hidden_size, moe.n_routed_experts);
        let gate = specs.add(at.in_mlp("gate.weight"), &[experts, d], Role::Router);
        let bias = moe
            .has_correction_bias
            .then(|| specs.add(at.in_mlp("gate.e_score_correction_bias"), &[experts], Role::RouterBias));
        let mut routed = [const { Vec::new() }; 3];
        for expert in 0..experts {
            let one = DenseLayer::new(specs, moe.experts_of(1), d, &at.in_mlp(&format!("experts.{expert}")));
            for (list, projection) in routed.iter_mut().zip([one.gate, one.up, one.down]) {
                list.push(projection.weight);
            }
        }
        let shared = (moe.n_shared_experts > 0)
            .then(|| DenseLayer::new(specs, moe.experts_of(moe.n_shared_experts), d, &at.in_mlp("shared_experts")));
        MoeLayer { router: moe.router(), gate, bias, routed, shared }
    }

    /// Share of the routed experts that a token visits.
    pub(super) fn visited_share(&self) -> f64 {
        self.router.top_k as f64 / self.router.experts as f64
    }

    pub(super) fn forward<'a, O: Ops>(
        &self,
        tape: &mut Tape<'a, O>,
        pass: &Pass<'a, '_, '_, O>,
        x: &Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let params = pass.params;
        let experts = Experts {
            gate: params.get(self.gate),
            bias: self.bias.map(|bias| params.get(bias)),
            routed: self.routed.each_ref().map(|ids| ids.iter().map(|id| params.get(*id)).collect()),
        };
        let y = tape.routed_experts(x, experts, &self.router, &pass.batch.spans)?;
        match &self.shared {
            Some(shared) => {
                let always = shared.forward(tape, params, x)?;
                tape.add(&y, &always)
            }
            None => Ok(y),
        }
    }
}
