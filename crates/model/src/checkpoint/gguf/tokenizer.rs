//! The tokenizer that stands in a GGUF file, as it stands there.

use super::container::Gguf;
use super::settings::token_id;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::error::FETCH_AGAIN;

/// A GGUF file's tokenizer.
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
    /// A score for each token, the higher the earlier it is merged; empty where the file has none, as for BPE.
    pub scores: Vec<f32>,
    /// Merges in order, each two tokens with a space between.
    pub merges: Vec<String>,
    /// Token that opens a text.
    pub bos_token_id: Option<u32>,
    /// Token that ends a text.
    pub eos_token_id: Option<u32>,
    /// Token that ends a turn, where that is another.
    pub eot_token_id: Option<u32>,
    /// Token that ends a message after which the turn goes on, such as a call of a tool.
    pub eom_token_id: Option<u32>,
    /// Token for what cannot be encoded.
    pub unknown_token_id: Option<u32>,
    /// Token that fills up batches.
    pub padding_token_id: Option<u32>,
    /// Whether [`GgufTokenizer::bos_token_id`] is put before every text.
    pub add_bos: bool,
    /// Whether [`GgufTokenizer::eos_token_id`] is put after every text.
    pub add_eos: bool,
    /// Whether SentencePiece puts a space before every text.
    pub add_space_prefix: bool,
    /// Jinja template of a conversation.
    pub chat_template: Option<String>,
}

/// Reads it; the model has `vocab_size` rows for its tokens.
pub(super) fn read(gguf: &Gguf, vocab_size: usize) -> Result<GgufTokenizer, CheckpointError> {
    let damaged = |problem: String| CheckpointError::damaged(gguf.path, problem, FETCH_AGAIN);
    let tokens = gguf.texts("tokenizer.ggml.tokens")?.ok_or_else(|| damaged("has no tokens".into()))?;
    let token_types = gguf.ints("tokenizer.ggml.token_type")?.unwrap_or_else(|| vec![1; tokens.len()]);
    let scores = gguf.floats("tokenizer.ggml.scores")?.unwrap_or_default();
    if tokens.len() > vocab_size || token_types.len() != tokens.len() {
        let (tokens, types) = (tokens.len(), token_types.len());
        return Err(damaged(format!("has {tokens} tokens with {types} types for an embedding of {vocab_size}")));
    }
    if !scores.is_empty() && scores.len() != tokens.len() {
        return Err(damaged(format!("has {} tokens with {} scores", tokens.len(), scores.len())));
    }
    let model = gguf.text("tokenizer.ggml.model")?.unwrap_or("").to_owned();
    let owned = |key: &str| Ok::<_, CheckpointError>(gguf.text(key)?.map(str::to_owned));
    let id = |key: &str| token_id(gguf, &format!("tokenizer.ggml.{key}_token_id"));
    let flag = |key: &str| gguf.boolean(&format!("tokenizer.ggml.{key}"));
    Ok(GgufTokenizer {
        pre: owned("tokenizer.ggml.pre")?,
        token_types,
        scores,
        merges: gguf.texts("tokenizer.ggml.merges")?.unwrap_or_default(),
        bos_token_id: id("bos")?,
        eos_token_id: id("eos")?,
        eot_token_id: id("eot")?,
        eom_token_id: id("eom")?,
        unknown_token_id: id("unknown")?,
        padding_token_id: id("padding")?,
        // Where the file is silent, SentencePiece models have both and BPE models neither.
        add_bos: flag("add_bos_token")?.unwrap_or(model == "llama"),
        add_eos: flag("add_eos_token")?.unwrap_or(false),
        add_space_prefix: flag("add_space_prefix")?.unwrap_or(model == "llama"),
        chat_template: owned("tokenizer.chat_template")?,
        tokens,
        model,
    })
}
