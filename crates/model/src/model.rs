//! The transformer: DeepSeek-V2/V3 (MLA, mixture of experts) and Llama, Qwen2, Qwen3 (grouped queries, dense).
//!
//! One forward pass serves training, rollouts and serving; multi-token prediction (`model/mtp.rs`) goes on from its
//! hidden states in training.

mod mtp;

use crate::config::{Attention, ModelConfig};
use crate::layers::Experts;
use crate::layers::Past;
use crate::ops::{AttentionShape, MlaDims, Ops, OutOfMemory, RotaryTable, Rotation, RouterConfig};
use crate::params::{Param, ParamId, ParamSpec, ParamStore, Role};
use crate::tape::{Tape, Var};
pub(crate) use mtp::mark as mtp_mark;
use std::ops::Range;
use std::sync::Arc;

/// transformers fixes ε of the norms on MLA's latents, whatever `rms_norm_eps` says.
const LATENT_EPS: f32 = 1e-6;

/// Tokens of one or more sequences, laid after one another.
#[derive(Clone)]
pub struct Batch {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Position of each in its sequence.
    pub positions: Arc<[u32]>,
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
            positions.extend(0..sequence.len() as u32);
        }
        Batch { ids, positions: positions.into(), spans: spans.into() }
    }
}

/// An architecture with its sizes; the numbers are in a [`ParamStore`] made from [`Model::specs`].
pub struct Model {
    config: ModelConfig,
    specs: Vec<ParamSpec>,
    embedding: ParamId,
    blocks: Vec<Block>,
    norm: ParamId,
    head: ParamId,
    mtp: Option<mtp::Module>,
    attention: AttentionShape,
    rotations: Rotations,
    router: Option<RouterConfig>,
}

/// How queries and keys are rotated.
struct Rotations {
    query: Rotation,
    key: Rotation,
}

struct Block {
    attention_norm: ParamId,
    attention: Projections,
    output: ParamId,
    output_bias: Option<ParamId>,
    ffn_norm: ParamId,
    ffn: Ffn,
}

enum Projections {
    Gqa { q: Projection, k: Projection, v: Projection },
    Mla { query: MlaQuery, kv_a: ParamId, kv_norm: ParamId, kv_b: ParamId },
}

struct Projection {
    weight: ParamId,
    bias: Option<ParamId>,
    norm: Option<ParamId>,
}

enum MlaQuery {
    Full(ParamId),
    Latent { a: ParamId, norm: ParamId, b: ParamId },
}

enum Ffn {
    Dense(SwiGlu),
    Moe { gate: ParamId, bias: Option<ParamId>, routed: [Vec<ParamId>; 3], shared: Option<SwiGlu> },
}

struct SwiGlu {
    gate: ParamId,
    up: ParamId,
    down: ParamId,
}

impl Model {
    /// Lays out the tensors of `config`. Panics if it asks for more than one module of multi-token prediction.
    pub fn new(config: ModelConfig) -> Model {
        let mut specs = Specs(Vec::new());
        let d = config.hidden_size;
        let tied = config.tie_word_embeddings;
        let table_role = if tied { Role::TiedEmbedding } else { Role::Embedding };
        let embedding = specs.add("model.embed_tokens.weight", &[config.vocab_size, d], table_role);
        let blocks = (0..config.num_hidden_layers).map(|layer| specs.block(&config, layer)).collect();
        let norm = specs.add("model.norm.weight", &[d], Role::Norm);
        let head = if tied { embedding } else { specs.linear("lm_head", config.vocab_size, d) };
        let mtp = mtp::Module::new(&mut specs, &config);
        let heads = config.num_attention_heads;
        let scale = config.softmax_scale();
        let attention = match config.attention {
            Attention::Gqa { num_key_value_heads, head_dim, .. } => {
                AttentionShape { heads, kv_heads: num_key_value_heads, dk: head_dim, dv: head_dim, scale }
            }
            Attention::Mla { qk_nope_head_dim, qk_rope_head_dim, v_head_dim, .. } => AttentionShape {
                heads,
                kv_heads: heads,
                dk: qk_nope_head_dim + qk_rope_head_dim,
                dv: v_head_dim,
                scale,
            },
        };
        let rotations = Rotations::new(&config, attention.dk);
        let router = config.moe.as_ref().map(|moe| RouterConfig {
            experts: moe.n_routed_experts,
            top_k: moe.num_experts_per_tok,
            groups: moe.n_group,
            top_groups: moe.topk_group,
            scoring: moe.scoring,
            group_score: moe.group_score,
            normalise: moe.norm_topk_prob,
            scale: moe.routed_scaling_factor as f32,
        });
        Model { config, specs: specs.0, embedding, blocks, norm, head, mtp, attention, rotations, router }
    }

    /// The architecture.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Every tensor with its upstream name and shape.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    /// Sizes of the attention, which a cache is made for.
    pub fn attention(&self) -> &AttentionShape {
        &self.attention
    }

    /// The head's weight, `[V, d]`.
    pub fn head<'a, O: Ops>(&self, params: &'a ParamStore<O>) -> &'a Param<O> {
        params.get(self.head)
    }

    /// The selection biases of the MoE layers, in order; that of multi-token prediction comes last.
    pub fn router_biases(&self) -> Vec<ParamId> {
        let blocks = self.blocks.iter().chain(self.mtp.as_ref().map(mtp::Module::block));
        let biases = blocks.map(|block| match block.ffn {
            Ffn::Moe { bias, .. } => bias,
            Ffn::Dense(_) => None,
        });
        biases.flatten().collect()
    }

    /// Parameters that take part in a matrix product for one token (the 6·N of a training step): routed experts count
    /// by the share that a token visits, a table that is only looked up not at all. Without multi-token prediction.
    pub fn matmul_params(&self) -> f64 {
        let share = self.router.as_ref().map_or(1.0, |r| r.top_k as f64 / r.experts as f64);
        let of = |spec: &ParamSpec| match spec.role {
            Role::Linear if spec.name.contains(".experts.") => spec.len() as f64 * share,
            Role::Linear | Role::TiedEmbedding => spec.len() as f64,
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
        for layer in 0..self.blocks.len() {
            x = self.block(tape, params, (&self.blocks[layer], layer), &x, batch, past)?;
        }
        tape.rmsnorm(&x, params.get(self.norm), self.config.rms_norm_eps as f32)
    }

    /// The same hidden states and gradients, keeping only each block's input and computing the rest again.
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
        for layer in 0..self.blocks.len() {
            let batch = batch.clone();
            x = tape.recompute(&x, move |tape, x| {
                let mut past = Past::Within(Arc::clone(&batch.spans));
                self.block(tape, params, (&self.blocks[layer], layer), x, &batch, &mut past)
            })?;
        }
        tape.rmsnorm(&x, params.get(self.norm), self.config.rms_norm_eps as f32)
    }

    /// One transformer block, with its place in a cache: attention and feed-forward, each normalised before and added
    /// to the residual stream.
    fn block<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        (block, layer): (&'a Block, usize),
        x: &Var<O>,
        batch: &Batch,
        past: &mut Past<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let eps = self.config.rms_norm_eps as f32;
        let h = tape.rmsnorm(x, params.get(block.attention_norm), eps)?;
        let h = self.attend(tape, params, (block, layer), h, batch, past)?;
        let x = tape.add(x, &h)?;
        let h = tape.rmsnorm(&x, params.get(block.ffn_norm), eps)?;
        let h = self.feed_forward(tape, params, &block.ffn, &h, batch)?;
        tape.add(&x, &h)
    }

    fn attend<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        (block, layer): (&'a Block, usize),
        x: Var<O>,
        batch: &Batch,
        past: &mut Past<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let eps = self.config.rms_norm_eps as f32;
        let get = |id: &ParamId| params.get(*id);
        let (q, k, v) = match &block.attention {
            Projections::Gqa { q, k, v } => {
                let mut project = |p: &Projection| {
                    let y = tape.linear(&x, get(&p.weight), p.bias.as_ref().map(get))?;
                    match &p.norm {
                        Some(norm) => tape.rmsnorm(&y, get(norm), eps),
                        None => Ok(y),
                    }
                };
                let (q, k, v) = (project(q)?, project(k)?, project(v)?);
                (q, tape.rope(k, &self.rotations.key, &batch.positions)?, v)
            }
            Projections::Mla { query, kv_a, kv_norm, kv_b } => {
                let q = match query {
                    MlaQuery::Full(weight) => tape.linear(&x, get(weight), None)?,
                    MlaQuery::Latent { a, norm, b } => {
                        let latent = tape.linear(&x, get(a), None)?;
                        let latent = tape.rmsnorm(&latent, get(norm), LATENT_EPS)?;
                        tape.linear(&latent, get(b), None)?
                    }
                };
                let rope = self.rotations.key.dim;
                let joint = tape.linear(&x, get(kv_a), None)?;
                let (latent, k_rope) = tape.split_columns(&joint, (joint.width - rope, rope))?;
                drop(joint);
                let latent = tape.rmsnorm(&latent, get(kv_norm), LATENT_EPS)?;
                let kv = tape.linear(&latent, get(kv_b), None)?;
                let k_rope = tape.rope(k_rope, &self.rotations.key, &batch.positions)?;
                let AttentionShape { heads, dk, dv, .. } = self.attention;
                let (k, v) = tape.mla_keys(&kv, &k_rope, MlaDims { heads, nope: dk - rope, rope, v: dv })?;
                (q, k, v)
            }
        };
        drop(x);
        let q = tape.rope(q, &self.rotations.query, &batch.positions)?;
        let y = tape.attention(self.attention, &q, &k, &v, layer, past)?;
        tape.linear(&y, get(&block.output), block.output_bias.as_ref().map(get))
    }

    fn feed_forward<'a, O: Ops>(
        &'a self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        ffn: &Ffn,
        x: &Var<O>,
        batch: &Batch,
    ) -> Result<Var<O>, OutOfMemory> {
        match ffn {
            Ffn::Dense(swiglu) => swiglu.forward(tape, params, x),
            Ffn::Moe { gate, bias, routed, shared } => {
                let experts = Experts {
                    gate: params.get(*gate),
                    bias: bias.map(|b| params.get(b)),
                    routed: routed.each_ref().map(|ids| ids.iter().map(|id| params.get(*id)).collect()),
                };
                let config = self.router.as_ref().expect("a MoE layer comes from a MoE config");
                let y = tape.routed_experts(x, experts, config, &batch.spans)?;
                match shared {
                    Some(shared) => {
                        let always = shared.forward(tape, params, x)?;
                        tape.add(&y, &always)
                    }
                    None => Ok(y),
                }
            }
        }
    }
}

impl SwiGlu {
    fn forward<'a, O: Ops>(
        &self,
        tape: &mut Tape<'a, O>,
        params: &'a ParamStore<O>,
        x: &Var<O>,
    ) -> Result<Var<O>, OutOfMemory> {
        let gate = tape.linear(x, params.get(self.gate), None)?;
        let up = tape.linear(x, params.get(self.up), None)?;
        let hidden = tape.swiglu(&gate, &up)?;
        drop((gate, up));
        tape.linear(&hidden, params.get(self.down), None)
    }
}

impl Rotations {
    fn new(config: &ModelConfig, dk: usize) -> Rotations {
        let dim = config.rope_dim();
        let table = RotaryTable { inv_freq: config.inv_freq(), attention_factor: config.attention_factor() };
        let style = config.rope.style;
        let query = Rotation { head_dim: dk, offset: dk - dim, dim, style, table: Arc::new(table) };
        // MLA's shared key is rotated before it joins the heads.
        let key = Rotation { head_dim: dim, offset: 0, ..query.clone() };
        Rotations { query, key }
    }
}

/// The list of tensors while it is written.
struct Specs(Vec<ParamSpec>);

impl Specs {
    fn add(&mut self, name: impl Into<String>, shape: &[usize], role: Role) -> ParamId {
        self.0.push(ParamSpec { name: name.into(), shape: shape.to_vec(), role });
        ParamId(self.0.len() - 1)
    }

    fn linear(&mut self, name: impl AsRef<str>, n: usize, k: usize) -> ParamId {
        self.add(format!("{}.weight", name.as_ref()), &[n, k], Role::Linear)
    }

    fn block(&mut self, config: &ModelConfig, layer: usize) -> Block {
        let (d, heads) = (config.hidden_size, config.num_attention_heads);
        let at = format!("model.layers.{layer}");
        let attn = format!("{at}.self_attn");
        let attention_norm = self.add(format!("{at}.input_layernorm.weight"), &[d], Role::Norm);
        let mut has_output_bias = false;
        let (attention, value_width) = match config.attention {
            Attention::Gqa { num_key_value_heads: kv, head_dim, qkv_bias, o_bias, qk_norm } => {
                has_output_bias = o_bias;
                let mut project = |name: &str, heads: usize, norm: bool| Projection {
                    weight: self.linear(format!("{attn}.{name}_proj"), heads * head_dim, d),
                    bias: qkv_bias
                        .then(|| self.add(format!("{attn}.{name}_proj.bias"), &[heads * head_dim], Role::Bias)),
                    norm: norm.then(|| self.add(format!("{attn}.{name}_norm.weight"), &[head_dim], Role::Norm)),
                };
                let (q, k, v) = (project("q", heads, qk_norm), project("k", kv, qk_norm), project("v", kv, false));
                (Projections::Gqa { q, k, v }, heads * head_dim)
            }
            Attention::Mla { q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim } => {
                let q_width = heads * (qk_nope_head_dim + qk_rope_head_dim);
                let query = match q_lora_rank {
                    None => MlaQuery::Full(self.linear(format!("{attn}.q_proj"), q_width, d)),
                    Some(rank) => MlaQuery::Latent {
                        a: self.linear(format!("{attn}.q_a_proj"), rank, d),
                        norm: self.add(format!("{attn}.q_a_layernorm.weight"), &[rank], Role::Norm),
                        b: self.linear(format!("{attn}.q_b_proj"), q_width, rank),
                    },
                };
                let kv_a = self.linear(format!("{attn}.kv_a_proj_with_mqa"), kv_lora_rank + qk_rope_head_dim, d);
                let kv_norm = self.add(format!("{attn}.kv_a_layernorm.weight"), &[kv_lora_rank], Role::Norm);
                let kv_b =
                    self.linear(format!("{attn}.kv_b_proj"), heads * (qk_nope_head_dim + v_head_dim), kv_lora_rank);
                (Projections::Mla { query, kv_a, kv_norm, kv_b }, heads * v_head_dim)
            }
        };
        let output = self.linear(format!("{attn}.o_proj"), d, value_width);
        let output_bias = has_output_bias.then(|| self.add(format!("{attn}.o_proj.bias"), &[d], Role::Bias));
        let ffn_norm = self.add(format!("{at}.post_attention_layernorm.weight"), &[d], Role::Norm);
        let ffn = match config.moe.as_ref().filter(|_| config.is_moe_layer(layer)) {
            None => Ffn::Dense(self.swiglu(&format!("{at}.mlp"), d, config.intermediate_size)),
            Some(moe) => {
                let gate = self.linear(format!("{at}.mlp.gate"), moe.n_routed_experts, d);
                let bias = moe.has_correction_bias.then(|| {
                    self.add(
                        format!("{at}.mlp.gate.e_score_correction_bias"),
                        &[moe.n_routed_experts],
                        Role::RouterBias,
                    )
                });
                let mut routed = [const { Vec::new() }; 3];
                for expert in 0..moe.n_routed_experts {
                    let one = self.swiglu(&format!("{at}.mlp.experts.{expert}"), d, moe.moe_intermediate_size);
                    for (list, id) in routed.iter_mut().zip([one.gate, one.up, one.down]) {
                        list.push(id);
                    }
                }
                let shared = (moe.n_shared_experts > 0).then(|| {
                    self.swiglu(
                        &format!("{at}.mlp.shared_experts"),
                        d,
                        moe.n_shared_experts * moe.moe_intermediate_size,
                    )
                });
                Ffn::Moe { gate, bias, routed, shared }
            }
        };
        Block { attention_norm, attention, output, output_bias, ffn_norm, ffn }
    }

    fn swiglu(&mut self, at: &str, d: usize, inner: usize) -> SwiGlu {
        SwiGlu {
            gate: self.linear(format!("{at}.gate_proj"), inner, d),
            up: self.linear(format!("{at}.up_proj"), inner, d),
            down: self.linear(format!("{at}.down_proj"), d, inner),
        }
    }
}
