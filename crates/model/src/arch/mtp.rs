//! Multi-token prediction of depth 1 (DeepSeek-V3, section 2.2): a module that predicts the token after the next.
//!
//! With h_t the main model's hidden state at token x_t and Emb, OutHead the main model's own:
//!
//!   h'_t = M·[RMSNorm(Emb(x_{t+1})); RMSNorm(h_t)],   p(x_{t+2}) = softmax(OutHead(RMSNorm(Block(h')_t)))
//!
//! h_t is taken after the main model's last norm. The report says only "the representation given by the main model";
//! Megatron-LM, which trains such modules, normalises before it hands them over, and vLLM and SGLang, which run
//! DeepSeek's own weights, feed theirs with normalised states too. M, the tensor `eh_proj`, takes the embedding first,
//! as published files have it; the report writes the two the other way round. The block rotates by the main model's
//! positions t (attention sees differences of positions only, so that t + 1 would be the same but for rounding).
//!
//! Left out: more than one module, and speculation, which would run this one beside a cache.

use super::layer::{At, Layer, Pass, Tables};
use super::specs::Specs;
use super::{Batch, Model};
use crate::config::ModelConfig;
use crate::layers::Past;
use crate::ops::{Ops, OutOfMemory};
use crate::params::{ParamId, ParamStore};
use crate::tape::{Tape, Var};
use std::sync::Arc;

/// The tensors of the module, all of them after the main model's.
pub(super) struct Module {
    first: ParamId,
    embedding_norm: ParamId,
    hidden_norm: ParamId,
    projection: ParamId,
    layer: Layer,
    norm: ParamId,
}

impl Module {
    /// Lays out the module of `config`, which asks for one or none.
    pub(super) fn new(specs: &mut Specs, config: &ModelConfig, tables: &mut Tables) -> Option<Module> {
        if config.num_nextn_predict_layers == 0 {
            return None;
        }
        assert_eq!(config.num_nextn_predict_layers, 1, "one module is all that there is");
        let (index, d) = (config.num_hidden_layers, config.hidden_size);
        let (first, at) = (ParamId(specs.len()), place(config));
        Some(Module {
            first,
            embedding_norm: specs.norm(at.name("enorm"), d),
            hidden_norm: specs.norm(at.name("hnorm"), d),
            projection: specs.linear(at.name("eh_proj"), d, 2 * d),
            layer: Layer::new(specs, config, config.layer(index), index, tables),
            norm: specs.norm(at.name("shared_head.norm"), d),
        })
    }

    /// Its transformer block.
    pub(super) fn layer(&self) -> &Layer {
        &self.layer
    }
}

/// Where upstream keeps the module: as one layer more.
fn place(config: &ModelConfig) -> At {
    At(config.num_hidden_layers)
}

/// The tensor by which a checkpoint shows that it holds the module of `config`.
pub(crate) fn mark(config: &ModelConfig) -> String {
    place(config).name("eh_proj.weight")
}

impl Model {
    /// The tensors of the module for multi-token prediction, none if there is none. The main model's come before.
    pub fn mtp_params(&self) -> impl Iterator<Item = ParamId> + use<> {
        let first = self.mtp.as_ref().map_or(self.specs.len(), |module| module.first.0);
        (first..self.specs.len()).map(ParamId)
    }

    /// Names under which upstream stores tensors of the main model once more, for the module: name and original.
    pub fn mtp_copies(&self) -> Vec<(String, ParamId)> {
        let at = place(&self.config);
        let copies = [("embed_tokens", self.embedding), ("shared_head.head", self.head)];
        let named = copies.into_iter().filter(|_| self.mtp.is_some());
        named.map(|(name, original)| (at.name(&format!("{name}.weight")), original)).collect()
    }

    /// From the `hidden` states of [`Model::forward`] on `batch`, whole sequences, the module's own `[T − sequences,
    /// d]`, ready for the head: each row but a sequence's last, which no token follows, predicts the token after the
    /// next. The batch that comes back has those rows, in order; a sequence of one token has none.
    ///
    /// `None` if no row is left. Panics if the model has no module.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn mtp<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        hidden: &Var<O>,
        batch: &Batch,
    ) -> Result<Option<(Var<O>, Batch)>, OutOfMemory> {
        let module = self.mtp.as_ref().expect("a model with multi-token prediction");
        let eps = self.config.rms_norm_eps as f32;
        let (rows, next) = followed(batch);
        if rows.is_empty() {
            return Ok(None);
        }
        let embedded = tape.embedding(params.get(self.embedding), &next.ids)?;
        let embedded = tape.rmsnorm(&embedded, params.get(module.embedding_norm), eps)?;
        let hidden = tape.take_rows(hidden, &rows)?;
        let hidden = tape.rmsnorm(&hidden, params.get(module.hidden_norm), eps)?;
        let joint = tape.join_columns(&embedded, &hidden)?;
        drop((embedded, hidden));
        let x = tape.linear(&joint, params.get(module.projection), None)?;
        drop(joint);
        let mut past = Past::Within(Arc::clone(&next.spans));
        let pass = Pass { params, batch: &next, past: &mut past, layer: self.layers.len() };
        let x = module.layer.forward(tape, pass, &x)?;
        Ok(Some((tape.rmsnorm(&x, params.get(module.norm), eps)?, next)))
    }
}

/// The rows that another of their sequence follows; and as a batch of their own, those that follow, at the positions of
/// the rows themselves.
fn followed(batch: &Batch) -> (Vec<u32>, Batch) {
    let (mut rows, mut spans) = (Vec::new(), Vec::new());
    for span in batch.spans.iter() {
        let start = rows.len();
        rows.extend(span.start as u32..span.end.saturating_sub(1) as u32);
        spans.push(start..rows.len());
    }
    let ids = rows.iter().map(|&row| batch.ids[row as usize + 1]).collect();
    let positions = rows.iter().map(|&row| batch.positions[row as usize]).collect();
    (rows, Batch { ids, positions, spans: spans.into() })
}
