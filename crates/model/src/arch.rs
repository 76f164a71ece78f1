//! Architectures: a [`Model`] is an embedding, a list of layers, a last norm and a head.
//!
//! Each kind of layer is one room: its file in `arch/` has configuration, tensors under upstream's names, forward pass
//! and cache layout together. `gqa.rs` and `mla.rs` attend, `dense.rs` and `moe.rs` act on each row alone, `layer.rs`
//! joins one of each, `mtp.rs` goes on from the hidden states, in training and to guess ahead. One forward pass serves
//! training, rollouts and serving.

mod dense;
mod gqa;
mod layer;
mod mla;
mod moe;
mod mtp;
mod specs;

use crate::config::{ModelConfig, Training};
use crate::layers::{Absorbed, Past};
use crate::ops::{AttentionShape, CacheForm, Ops, OutOfMemory, Position};
use crate::params::{Param, ParamId, ParamSpec, ParamStore, Role};
use crate::tape::{Tape, Var};
pub use dense::Dense;
pub(crate) use gqa::Biases;
pub use gqa::Gqa;
use layer::{Layer, Pass, Tables};
pub use mla::Mla;
pub use moe::{GroupScore, Moe, Scoring, SparseLayers};
pub use mtp::Followed;
pub(crate) use mtp::mark as mtp_mark;
use specs::Specs;
use std::ops::Range;
use std::sync::Arc;

/// Tokens of one or more sequences, laid after one another.
#[derive(Clone)]
pub struct Batch {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Position of each in its sequence.
    pub positions: Arc<[Position]>,
    /// Rows of each sequence.
    pub spans: Arc<[Range<usize>]>,
}

impl Batch {
    /// Whole sequences, each from position 0.
    pub fn sequences<'s>(sequences: impl IntoIterator<Item = &'s [u32]>) -> Batch {
        let (mut ids, mut positions, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in sequences {
            spans.push(ids.len()..ids.len() + sequence.len());
            ids.extend_from_slice(sequence);
            positions.extend(Position::range(0, sequence.len(), sequence.len()));
        }
        Batch { ids, positions: positions.into(), spans: spans.into() }
    }
}

/// An architecture with its sizes; the numbers are in a [`ParamStore`] made from [`Model::specs`].
pub struct Model {
    config: ModelConfig,
    specs: Vec<ParamSpec>,
    embedding: ParamId,
    layers: Vec<Layer>,
    norm: ParamId,
    head: ParamId,
    mtp: Option<mtp::Module>,
}

impl Model {
    /// Lays out the tensors of `config`. Panics if it asks for more than one module of multi-token prediction.
    pub fn new(config: ModelConfig) -> Model {
        let (mut specs, mut tables) = (Specs::default(), Tables::default());
        let d = config.hidden_size;
        let tied = config.tie_word_embeddings;
        let table_role = if tied { Role::TiedEmbedding } else { Role::Embedding };
        let embedding = specs.add("model.embed_tokens.weight", &[config.vocab_size, d], table_role);
        let layers = config
            .layers()
            .enumerate()
            .map(|(index, layer)| Layer::new(&mut specs, &config, layer, index, &mut tables))
            .collect();
        let norm = specs.norm("model.norm", d);
        let head = match tied {
            true => embedding,
            false => specs.add("lm_head.weight", &[config.vocab_size, d], Role::Head),
        };
        let mtp = mtp::Module::new(&mut specs, &config, &mut tables);
        Model { config, specs: specs.into_vec(), embedding, layers, norm, head, mtp }
    }

    /// The architecture.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Says which tokens end a text, for whoever reads the configuration or saves it.
    pub fn set_end_tokens(&mut self, ids: Vec<u32>) {
        self.config.eos_token_ids = ids;
    }

    /// Says what the model was trained for, for whoever reads the configuration or saves it.
    pub fn set_training(&mut self, training: Training) {
        self.config.training = training;
    }

    /// Every tensor with its upstream name and shape.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    /// What a cache of `form` holds of a position, for each layer in order.
    pub fn cache_layout(&self, form: CacheForm) -> Vec<AttentionShape> {
        self.layers.iter().map(|layer| layer.cache(form)).collect()
    }

    /// What layers multiply by where the cache is of `form`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn absorb<O: Ops>(&self, ops: &O, params: &ParamStore<O>, form: CacheForm) -> Result<Absorbed<O>, OutOfMemory> {
        match form {
            CacheForm::Exact => Ok(Absorbed::default()),
            CacheForm::F16 | CacheForm::Q8 => {
                let layers = self.layers.iter().map(|layer| layer.absorb(ops, params));
                layers.collect::<Result<_, _>>().map(Absorbed)
            }
        }
    }

    /// The head's weight, `[V, d]`.
    pub fn head<'a, O: Ops>(&self, params: &'a ParamStore<O>) -> &'a Param<O> {
        params.get(self.head)
    }

    /// The selection biases of the MoE layers, in order; that of multi-token prediction comes last.
    pub fn router_biases(&self) -> Vec<ParamId> {
        let layers = self.layers.iter().chain(self.mtp.as_ref().map(mtp::Module::layer));
        layers.filter_map(Layer::router_bias).collect()
    }

    /// The share of its routed experts that a token visits where it visits the fewest; 1 if there are none.
    pub fn visited_share(&self) -> f64 {
        self.layers.iter().map(Layer::visited_share).fold(1.0, f64::min)
    }

    /// Parameters that take part in a matrix product for one token (the 6·N of a training step): routed experts count
    /// by the share that a token visits, a table that is only looked up not at all. Without multi-token prediction.
    pub fn matmul_params(&self) -> f64 {
        let share = self.visited_share();
        let of = |spec: &ParamSpec| match spec.role {
            Role::Linear if spec.name.contains(".experts.") => spec.len() as f64 * share,
            Role::Linear | Role::Router | Role::Head | Role::TiedEmbedding => spec.len() as f64,
            _ => 0.0,
        };
        self.specs[..self.specs.len() - self.mtp_params().count()].iter().map(of).sum()
    }

    /// Hidden states `[T, d]` after the last norm, ready for the head.
    ///
    /// # Errors
    /// If memory runs out; what was written to a cache by then is written again by the same pass.
    pub fn forward<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        batch: &Batch,
        past: &mut Past<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let mut x = tape.embedding(params.get(self.embedding), &batch.ids)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(tape, Pass { params, batch, past, layer: index }, &x)?;
        }
        tape.rmsnorm(&x, params.get(self.norm), self.config.rms_norm_eps as f32)
    }

    /// The same hidden states and gradients, keeping only each layer's input and computing the rest again.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn forward_recomputing<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        batch: &Batch,
    ) -> Result<Var<O>, OutOfMemory> {
        let mut x = tape.embedding(params.get(self.embedding), &batch.ids)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let batch = batch.clone();
            x = tape.recompute(&x, move |tape, x| {
                let mut past = Past::Within(Arc::clone(&batch.spans));
                layer.forward(tape, Pass { params, batch: &batch, past: &mut past, layer: index }, x)
            })?;
        }
        tape.rmsnorm(&x, params.get(self.norm), self.config.rms_norm_eps as f32)
    }
}
