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
//! Training runs it over whole sequences ([`Model::mtp`]), speculation over a cache ([`Model::mtp_keep`],
//! [`Model::mtp_rows`]), in which it has a layer after the main model's. Left out: more than one module.

use super::layer::{At, Layer, Pass, Tables};
use super::specs::Specs;
use super::{Batch, Model};
use crate::config::ModelConfig;
use crate::layers::{Absorbed, Past};
use crate::ops::{AttentionShape, CacheForm, Ops, OutOfMemory};
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

    /// Whether the model has a module.
    pub fn has_mtp(&self) -> bool {
        self.mtp.is_some()
    }

    /// What the module's layer of a cache of `form` holds of a position; it comes after the layers of
    /// [`Model::cache_layout`]. `None` if there is no module.
    pub fn mtp_cache(&self, form: CacheForm) -> Option<AttentionShape> {
        self.mtp.as_ref().map(|module| module.layer.cache(form))
    }

    /// Adds to what [`Model::absorb`] gave what the module's layer multiplies by where the cache is of `form`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn absorb_mtp<O: Ops>(
        &self,
        ops: &O,
        params: &ParamStore<O>,
        form: CacheForm,
        mut absorbed: Absorbed<O>,
    ) -> Result<Absorbed<O>, OutOfMemory> {
        if let Some(module) = &self.mtp
            && form != CacheForm::Exact
        {
            absorbed.0.push(module.layer.absorb(ops, params)?);
        }
        Ok(absorbed)
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
        let followed = followed(batch);
        if followed.rows.is_empty() {
            return Ok(None);
        }
        let mut past = Past::Within(Arc::clone(&followed.next.spans));
        let y = self.mtp_rows(tape, params, hidden, &followed, &mut past)?;
        Ok(Some((y, followed.next)))
    }

    /// The module's own hidden states, ready for the head, for rows of [`Model::forward`]'s `hidden` that are `followed`.
    /// Panics if the model has no module.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn mtp_rows<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        hidden: &Var<O>,
        followed: &Followed,
        past: &mut Past<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let x = self.mtp_input(tape, params, hidden, followed)?;
        let (module, batch) = (self.module(), &followed.next);
        let x = module.layer.forward(tape, Pass { params, batch, past, layer: self.layers.len() }, &x)?;
        tape.rmsnorm(&x, params.get(module.norm), self.config.rms_norm_eps as f32)
    }

    /// Writes to the cache what the module's later rows read of these, which is far less work than
    /// [`Model::mtp_rows`]. Panics if the model has no module, or `past` no cache.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn mtp_keep<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        hidden: &Var<O>,
        followed: &Followed,
        past: &mut Past<O>,
    ) -> Result<(), OutOfMemory> {
        let x = self.mtp_input(tape, params, hidden, followed)?;
        let batch = &followed.next;
        self.module().layer.keep(tape, Pass { params, batch, past, layer: self.layers.len() }, &x)
    }

    /// What goes into the module's block.
    fn mtp_input<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        hidden: &Var<O>,
        followed: &Followed,
    ) -> Result<Var<O>, OutOfMemory> {
        let (module, eps) = (self.module(), self.config.rms_norm_eps as f32);
        let embedded = tape.embedding(params.get(self.embedding), &followed.next.ids)?;
        let embedded = tape.rmsnorm(&embedded, params.get(module.embedding_norm), eps)?;
        let hidden = tape.take_rows(hidden, &followed.rows)?;
        let hidden = tape.rmsnorm(&hidden, params.get(module.hidden_norm), eps)?;
        let joint = tape.join_columns(&embedded, &hidden)?;
        drop((embedded, hidden));
        tape.linear(&joint, params.get(module.projection), None)
    }

    fn module(&self) -> &Module {
        self.mtp.as_ref().expect("a model with multi-token prediction")
    }
}

/// Rows of a pass, each of which another token of its sequence follows.
pub struct Followed {
    /// The rows, in order.
    pub rows: Vec<u32>,
    /// The tokens that follow them, as a batch of their own, at the positions of the rows themselves.
    pub next: Batch,
}

/// All rows of `batch`, whole sequences, but the last of each.
fn followed(batch: &Batch) -> Followed {
    let (mut rows, mut spans) = (Vec::new(), Vec::new());
    for span in batch.spans.iter() {
        let start = rows.len();
        rows.extend(span.start as u32..span.end.saturating_sub(1) as u32);
        spans.push(start..rows.len());
    }
    let ids = rows.iter().map(|&row| batch.ids[row as usize + 1]).collect();
    let positions = rows.iter().map(|&row| batch.positions[row as usize]).collect();
    Followed { rows, next: Batch { ids, positions, spans: spans.into() } }
}
