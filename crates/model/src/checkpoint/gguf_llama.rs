//! A GGUF file of `llama` architecture, seen as a Hugging Face checkpoint.
//!
//! Names are mapped, the configuration is gathered from the metadata, and the rows of Q and K are
//! put back: llama.cpp rotates adjacent pairs, so its converter stores row 2i+s of a head where
//! Hugging Face has row s·(head_dim/2)+i. Left out: other architectures, mixtures of experts and
//! scaled rotary frequencies, which are refused.

use std::path::Path;

use super::error::{CheckpointError, FETCH_AGAIN, quoted};
use super::gguf::{Gguf, Tensor};
use super::mapped::MappedFile;
use super::{Checkpoint, Entry};
use crate::config::{Attention, ConfigError, ModelConfig, ModelType, Rope, RopeStyle};

/// What a GGUF file says besides its tensors.
#[derive(Debug)]
pub(super) struct GgufModel {
    pub(super) config: ModelConfig,
    pub(super) tokenizer: GgufTokenizer,
}

/// A GGUF file's tokenizer, as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufTokenizer {
    /// Kind: `gpt2` for byte-level BPE, `llama` for SentencePiece.
    pub model: String,
    /// Name of the rule that splits text before BPE, such as `smollm`.
    pub pre: Option<String>,
    /// Tokens by id.
    pub tokens: Vec<String>,
    /// A type for each token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// Merges in order, each two tokens with a space between.
    pub merges: Vec<String>,
    /// What each token of a SentencePiece vocabulary is worth; empty for others.
    pub scores: Vec<f32>,
    /// Token that opens a text.
    pub bos_token_id: Option<u32>,
    /// Token that ends a text.
    pub eos_token_id: Option<u32>,
    /// Token for what cannot be encoded.
    pub unknown_token_id: Option<u32>,
    /// Whether [`GgufTokenizer::bos_token_id`] is put before every text; `None` where the file is silent.
    pub add_bos: Option<bool>,
    /// Whether [`GgufTokenizer::eos_token_id`] is put after every text.
    pub add_eos: bool,
    /// Whether a space is put before every text; `None` where the file is silent.
    pub add_space_prefix: Option<bool>,
    /// Jinja template of a conversation.
    pub chat_template: Option<String>,
}

/// Opens the file `path`.
pub(super) fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let file = MappedFile::open(path)?;
    let gguf = Gguf::parse(&file)?;
    let config = config(&gguf)?;
    let tokenizer = tokenizer(&gguf, config.vocab_size)?;
    let head_dim = config.rope_dim();
    let mut tensors = std::collections::BTreeMap::new();
    for tensor in &gguf.tensors {
        let (name, paired) = hugging_face_name(tensor.name).ok_or_else(|| {
            let problem = format!("tensor {} has no place in a llama", quoted(tensor.name));
            CheckpointError::damaged(path, problem, "use a plain llama model")
        })?;
        if paired && !tensor.shape[0].is_multiple_of(head_dim) {
            let problem = format!("tensor `{name}` has rows that heads of {head_dim} do not fill");
            return Err(CheckpointError::damaged(path, problem, FETCH_AGAIN));
        }
        let entry = Entry {
            file: 0,
            encoding: tensor.encoding.clone(),
            shape: tensor.shape.clone(),
            bytes: tensor.bytes.clone(),
            paired_rows: paired.then_some(head_dim),
        };
        if tensors.insert(name, entry).is_some() {
            let problem = format!("tensor {} is there twice", quoted(tensor.name));
            return Err(CheckpointError::damaged(path, problem, FETCH_AGAIN));
        }
    }
    Ok(Checkpoint { path: path.to_owned(), files: vec![file], tensors, gguf: Some(GgufModel { config, tokenizer }) })
}

/// Undoes the converter's order of the rows of Q and K, for matrices and biases alike.
pub(super) fn unpair_rows(values: &[f32], rows: usize, head_dim: usize) -> Vec<f32> {
    let width = values.len() / rows;
    let mut out = Vec::with_capacity(values.len());
    for head in values.chunks_exact(head_dim * width) {
        for side in 0..2 {
            for pair in 0..head_dim / 2 {
                out.extend_from_slice(&head[(2 * pair + side) * width..][..width]);
            }
        }
    }
    out
}

/// The Hugging Face name, and whether the rows are stored in rotary pairs.
fn hugging_face_name(name: &str) -> Option<(String, bool)> {
    match name {
        "token_embd.weight" => return Some(("model.embed_tokens.weight".into(), false)),
        "output_norm.weight" => return Some(("model.norm.weight".into(), false)),
        "output.weight" => return Some(("lm_head.weight".into(), false)),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (part, kind) = rest.split_once('.')?;
    let module = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    let paired = matches!(part, "attn_q" | "attn_k");
    // A llama's attention may have biases; its norms and its feed-forward have none.
    let known = kind == "weight" || kind == "bias" && module.starts_with("self_attn");
    known.then(|| (format!("model.layers.{layer}.{module}.{kind}"), paired))
}

fn config(gguf: &Gguf) -> Result<ModelConfig, CheckpointError> {
    let architecture = gguf.text("general.architecture")?.unwrap_or("");
    if architecture != "llama" {
        let problem = format!("is of architecture {}", quoted(architecture));
        let cure = "only llama can be read from GGUF: use the model's Hugging Face folder";
        return Err(CheckpointError::damaged(gguf.path, problem, cure));
    }
    refuse_unsupported(gguf)?;
    let fail = |key: &str, problem: &str, cure: &str| ConfigError {
        file: gguf.path.to_owned(),
        key: key.to_owned(),
        problem: problem.to_owned(),
        cure: cure.to_owned(),
    };
    let size = |key: &str| -> Result<Option<usize>, CheckpointError> {
        // What does not fit is refused with everything else that is too large.
        let value = gguf.unsigned(key)?;
        Ok(value.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
    };
    let needed =
        |key: &str| size(key)?.ok_or_else(|| CheckpointError::from(fail(key, "is missing", "convert the model again")));
    let tensor = |name: &str| gguf.tensors.iter().find(|tensor| tensor.name == name);
    let embedding = tensor("token_embd.weight").ok_or_else(|| CheckpointError::MissingTensor {
        file: gguf.path.to_owned(),
        tensor: "token_embd.weight".into(),
    })?;

    let num_attention_heads = needed("llama.attention.head_count")?;
    let hidden_size = needed("llama.embedding_length")?;
    let head_dim = match size("llama.attention.key_length")? {
        Some(head_dim) => head_dim,
        None if num_attention_heads > 0 && hidden_size.is_multiple_of(num_attention_heads) => {
            hidden_size / num_attention_heads
        }
        None => {
            let problem = "does not divide llama.embedding_length";
            return Err(fail("llama.attention.head_count", problem, FETCH_AGAIN).into());
        }
    };
    for key in ["llama.rope.dimension_count", "llama.attention.value_length"] {
        if size(key)?.is_some_and(|width| width != head_dim) {
            let cure = "use a model whose heads have one width and rotate whole";
            return Err(fail(key, "differs from the heads' width", cure).into());
        }
    }
    let config = ModelConfig {
        model_type: ModelType::Llama,
        vocab_size: embedding.shape[0],
        hidden_size,
        intermediate_size: needed("llama.feed_forward_length")?,
        num_hidden_layers: needed("llama.block_count")?,
        num_attention_heads,
        rms_norm_eps: gguf.float("llama.attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5),
        tie_word_embeddings: tensor("output.weight").is_none(),
        max_position_embeddings: needed("llama.context_length")?,
        initializer_range: 0.02,
        bos_token_id: token_id(gguf, "tokenizer.ggml.bos_token_id")?,
        eos_token_ids: token_id(gguf, "tokenizer.ggml.eos_token_id")?.into_iter().collect(),
        num_nextn_predict_layers: 0,
        attention: Attention::Gqa {
            num_key_value_heads: size("llama.attention.head_count_kv")?.unwrap_or(num_attention_heads),
            head_dim,
            qkv_bias: tensor("blk.0.attn_q.bias").is_some(),
            o_bias: tensor("blk.0.attn_output.bias").is_some(),
            qk_norm: false,
        },
        moe: None,
        rope: Rope {
            theta: gguf.float("llama.rope.freq_base")?.unwrap_or(10_000.0),
            style: RopeStyle::Half,
            yarn: None,
        },
    };
    config.validate(gguf.path)?;
    Ok(config)
}

/// Settings under which our code would compute something else than llama.cpp.
fn refuse_unsupported(gguf: &Gguf) -> Result<(), CheckpointError> {
    let scaled = gguf.text("llama.rope.scaling.type")?.is_some_and(|kind| kind != "none")
        || gguf.float("llama.rope.scale_linear")?.is_some_and(|s| s != 1.0)
        || gguf.tensors.iter().any(|Tensor { name, .. }| *name == "rope_freqs.weight");
    let experts = gguf.unsigned("llama.expert_count")?.unwrap_or(0) > 0;
    for (refused, problem) in [(scaled, "has scaled rotary frequencies"), (experts, "is a mixture of experts")] {
        if refused {
            let cure = "that is not supported from GGUF: use another model";
            return Err(CheckpointError::damaged(gguf.path, problem, cure));
        }
    }
    Ok(())
}

fn tokenizer(gguf: &Gguf, vocab_size: usize) -> Result<GgufTokenizer, CheckpointError> {
    let damaged = |problem: String| CheckpointError::damaged(gguf.path, problem, FETCH_AGAIN);
    let tokens = gguf.texts("tokenizer.ggml.tokens")?.ok_or_else(|| damaged("has no tokens".into()))?;
    let token_types = gguf.ints("tokenizer.ggml.token_type")?.unwrap_or_else(|| vec![1; tokens.len()]);
    if tokens.len() > vocab_size || token_types.len() != tokens.len() {
        return Err(damaged(format!(
            "has {} tokens with {} types for an embedding of {vocab_size}",
            tokens.len(),
            token_types.len()
        )));
    }
    let model = gguf.text("tokenizer.ggml.model")?.unwrap_or("").to_owned();
    let owned = |key: &str| Ok::<_, CheckpointError>(gguf.text(key)?.map(str::to_owned));
    Ok(GgufTokenizer {
        pre: owned("tokenizer.ggml.pre")?,
        token_types,
        merges: gguf.texts("tokenizer.ggml.merges")?.unwrap_or_default(),
        scores: gguf.floats("tokenizer.ggml.scores")?.unwrap_or_default(),
        bos_token_id: token_id(gguf, "tokenizer.ggml.bos_token_id")?,
        eos_token_id: token_id(gguf, "tokenizer.ggml.eos_token_id")?,
        unknown_token_id: token_id(gguf, "tokenizer.ggml.unknown_token_id")?,
        add_bos: gguf.boolean("tokenizer.ggml.add_bos_token")?,
        add_eos: gguf.boolean("tokenizer.ggml.add_eos_token")?.unwrap_or(false),
        add_space_prefix: gguf.boolean("tokenizer.ggml.add_space_prefix")?,
        chat_template: owned("tokenizer.chat_template")?,
        tokens,
        model,
    })
}

/// A token id; what does not fit 32 bits lies outside every vocabulary.
fn token_id(gguf: &Gguf, key: &str) -> Result<Option<u32>, CheckpointError> {
    let id = gguf.unsigned(key)?;
    Ok(id.map(|id| u32::try_from(id).unwrap_or(u32::MAX)))
}
