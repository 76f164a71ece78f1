//! One layer of a model: attention and feed-forward, each normalised before and added to the residual stream.
//!
//!   x += attention(norm(x));   x += feed_forward(norm(x))
//!
//! What kinds of either there are stands in their own files; this one says which a layer has and what all share.

use super::Batch;
use super::dense::DenseLayer;
use super::gqa::GqaLayer;
use super::mla::MlaLayer;
use super::moe::MoeLayer;
use super::specs::Specs;
use crate::config::{Attention, FeedForward, LayerConfig, ModelConfig, Rope};
use crate::layers::{AbsorbedLayer, Past};
use crate::ops::{AttentionShape, CacheForm, Ops, OutOfMemory, RotaryTable, Rotation};
use crate::params::{ParamId, ParamStore};
use crate::tape::{Tape, Var};
use std::sync::Arc;

/// Where in upstream's naming a layer stands.
pub(super) struct At(pub(super) usize);

impl At {
    /// A tensor of the layer, without what follows its last dot.
    pub(super) fn name(&self, name: &str) -> String {
        format!("model.layers.{}.{name}", self.0)
    }

    /// The same below `self_attn`.
    pub(super) fn in_attention(&self, name: &str) -> String {
        self.name(&format!("self_attn.{name}"))
    }

    /// The same below `mlp`.
    pub(super) fn in_mlp(&self, name: &str) -> String {
        self.name(&format!("mlp.{name}"))
    }
}

/// What all kinds of layers need to know of the model around them while they are laid out.
pub(super) struct Place<'c> {
    /// Width of the residual stream.
    pub(super) hidden_size: usize,
    /// ε of its norms.
    pub(super) eps: f32,
    /// The layer's rotary embedding.
    pub(super) rope: &'c Rope,
    tables: &'c mut Tables,
}

impl Place<'_> {
    /// The rotation of heads that turn whole, `dim` wide.
    pub(super) fn rotation(&mut self, dim: usize) -> Rotation {
        Rotation { head_dim: dim, offset: 0, dim, style: self.rope.style, table: self.tables.get(self.rope, dim) }
    }
}

/// Tables of cosines and sines, one for each rotary embedding and width; layers that are alike share them.
#[derive(Default)]
pub(super) struct Tables(Vec<(Rope, Arc<RotaryTable>)>);

impl Tables {
    fn get(&mut self, rope: &Rope, dim: usize) -> Arc<RotaryTable> {
        if let Some((_, table)) = self.0.iter().find(|(known, table)| known == rope && 2 * table.inv_freq.len() == dim)
        {
            return Arc::clone(table);
        }
        let table = RotaryTable {
            inv_freq: rope.inv_freq(dim),
            attention_factor: rope.attention_factor() as f32,
            growth: rope.growth(),
        };
        let table = Arc::new(table);
        self.0.push((rope.clone(), Arc::clone(&table)));
        table
    }
}

/// What passes through the layers beside the rows themselves.
pub(super) struct Pass<'a, 'p, 'c, O: Ops> {
    /// The tensors.
    pub(super) params: &'a ParamStore<O>,
    /// Whose rows these are.
    pub(super) batch: &'p Batch,
    /// What they attend to.
    pub(super) past: &'p mut Past<'c, O>,
    /// The layer's place in a cache.
    pub(super) layer: usize,
}

/// A layer: its parts and their norms.
pub(super) struct Layer {
    eps: f32,
    attention_norm: ParamId,
    attention: AttentionLayer,
    ffn_norm: ParamId,
    feed_forward: FeedForwardLayer,
}

enum AttentionLayer {
    Gqa(GqaLayer),
    Mla(MlaLayer),
}

enum FeedForwardLayer {
    Dense(DenseLayer),
    Moe(MoeLayer),
}

impl Layer {
    /// Lays out the tensors of layer `index`.
    pub(super) fn new(
        specs: &mut Specs,
        config: &ModelConfig,
        layer: LayerConfig,
        index: usize,
        tables: &mut Tables,
    ) -> Layer {
        let (d, eps, at) = (config.hidden_size, config.rms_norm_eps as f32, At(index));
        let mut place = Place { hidden_size: d, eps, rope: layer.rope, tables };
        Layer {
            eps,
            attention_norm: specs.norm(at.name("input_layernorm"), d),
            attention: match layer.attention {
                Attention::Gqa(gqa) => AttentionLayer::Gqa(GqaLayer::new(specs, gqa, &mut place, &at)),
                Attention::Mla(mla) => AttentionLayer::Mla(MlaLayer::new(specs, mla, &mut place, &at)),
            },
            ffn_norm: specs.norm(at.name("post_attention_layernorm"), d),
            feed_forward: match layer.feed_forward {
                FeedForward::Dense(dense) => FeedForwardLayer::Dense(DenseLayer::new(specs, dense, d, &at.name("mlp"))),
                FeedForward::Moe(moe) => FeedForwardLayer::Moe(MoeLayer::new(specs, moe, &place, &at)),
            },
        }
    }

    /// What its cache holds of a position in this form.
    pub(super) fn cache(&self, form: CacheForm) -> AttentionShape {
        match &self.attention {
            AttentionLayer::Gqa(gqa) => gqa.shape,
            AttentionLayer::Mla(mla) => mla.cache(form),
        }
    }

    /// What it multiplies by where its cache has latents; `None` for a layer that makes none.
    pub(super) fn absorb<O: Ops>(
        &self,
        ops: &O,
        params: &ParamStore<O>,
    ) -> Result<Option<AbsorbedLayer<O>>, OutOfMemory> {
        match &self.attention {
            AttentionLayer::Gqa(_) => Ok(None),
            AttentionLayer::Mla(mla) => mla.absorb(ops, params).map(Some),
        }
    }

    /// The selection bias of its gate, if it is a mixture that has one.
    pub(super) fn router_bias(&self) -> Option<ParamId> {
        match &self.feed_forward {
            FeedForwardLayer::Moe(moe) => moe.bias,
            FeedForwardLayer::Dense(_) => None,
        }
    }

    /// Share of its routed experts that a token visits; 1 for a dense layer.
    pub(super) fn visited_share(&self) -> f64 {
        match &self.feed_forward {
            FeedForwardLayer::Moe(moe) => moe.visited_share(),
            FeedForwardLayer::Dense(_) => 1.0,
        }
    }

    /// Writes to the cache what later rows read of these.
    pub(super) fn keep<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        mut pass: Pass<'a, '_, '_, O>,
        x: &Var<O>,
    ) -> Result<(), OutOfMemory> {
        let h = tape.rmsnorm(x, pass.params.get(self.attention_norm), self.eps)?;
        match &self.attention {
            AttentionLayer::Gqa(gqa) => gqa.keep(tape, &mut pass, &h),
            AttentionLayer::Mla(mla) => mla.keep(tape, &mut pass, &h),
        }
    }

    pub(super) fn forward<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        mut pass: Pass<'a, '_, '_, O>,
        x: &Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let params = pass.params;
        let h = tape.rmsnorm(x, params.get(self.attention_norm), self.eps)?;
        let h = match &self.attention {
            AttentionLayer::Gqa(gqa) => gqa.forward(tape, &mut pass, h)?,
            AttentionLayer::Mla(mla) => mla.forward(tape, &mut pass, h)?,
        };
        let x = tape.add(x, &h)?;
        let h = tape.rmsnorm(&x, params.get(self.ffn_norm), self.eps)?;
        let h = match &self.feed_forward {
            FeedForwardLayer::Dense(dense) => dense.forward(tape, params, &h)?,
            FeedForwardLayer::Moe(moe) => moe.forward(tape, &pass, &h)?,
        };
        tape.add(&x, &h)
    }
}
