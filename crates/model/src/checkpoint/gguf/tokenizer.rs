//! The tokenizer that stands in a GGUF file, as it stands there.

use super::container::Gguf;
use super::metadata::Metadata;
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
    /// Whether [`GgufTokenizer::bos_token_id`] is put before every text; `None` where the file is silent.
    pub add_bos: Option<bool>,
    /// Whether [`GgufTokenizer::eos_token_id`] is put after every text.
    pub add_eos: bool,
    /// Whether SentencePiece puts a space before every text; `None` where the file is silent.
    pub add_space_prefix: Option<bool>,
    /// Jinja template of a conversation.
    pub chat_template: Option<String>,
    /// More of them, each with its name: `tool_use` is for conversations with tools.
    pub named_templates: Vec<(String, String)>,
}

/// Reads it; the model has `vocab_size` rows for its tokens. What is left out is said in `notes`.
pub(super) fn read(gguf: &Gguf, vocab_size: usize, notes: &mut Vec<String>) -> Result<GgufTokenizer, CheckpointError> {
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
    let mut id = |key: &str| {
        let id = token_id(gguf, &format!("tokenizer.ggml.{key}_token_id"))?;
        if let Some(outside) = id.filter(|&id| id as usize >= vocab_size) {
            notes.push(format!("its {key} token {outside} lies outside its {vocab_size} rows and is left out"));
        }
        Ok::<_, CheckpointError>(id.filter(|&id| (id as usize) < vocab_size))
    };
    let flag = |key: &str| gguf.boolean(&format!("tokenizer.ggml.{key}"));
    let mut named_templates = Vec::new();
    for name in gguf.texts("tokenizer.chat_templates")?.unwrap_or_default() {
        if let Some(template) = owned(&format!("tokenizer.chat_template.{name}"))? {
            named_templates.push((name, template));
        }
    }
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
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?.unwrap_or(false),
        add_space_prefix: flag("add_space_prefix")?,
        chat_template: owned("tokenizer.chat_template")?,
        named_templates,
        tokens,
        model,
    })
}

impl GgufTokenizer {
    /// Puts it down, for a model with `rows` rows for its tokens; rows without a token get one that is unused.
    pub(super) fn write(&self, rows: usize, out: &mut Metadata) {
        const UNUSED: i32 = 5;
        let padding = (self.tokens.len()..rows).map(|id| format!("[PAD{id}]"));
        let tokens: Vec<String> = self.tokens.iter().cloned().chain(padding).collect();
        let mut token_types = self.token_types.clone();
        token_types.resize(tokens.len(), UNUSED);
        out.text("tokenizer.ggml.model", &self.model);
        if let Some(pre) = &self.pre {
            out.text("tokenizer.ggml.pre", pre);
        }
        out.texts("tokenizer.ggml.tokens", &tokens);
        out.ints("tokenizer.ggml.token_type", &token_types);
        if !self.scores.is_empty() {
            let mut scores = self.scores.clone();
            scores.resize(tokens.len(), 0.0);
            out.floats("tokenizer.ggml.scores", &scores);
        }
        if !self.merges.is_empty() {
            out.texts("tokenizer.ggml.merges", &self.merges);
        }
        for (key, id) in [
            ("bos", self.bos_token_id),
            ("eos", self.eos_token_id),
            ("eot", self.eot_token_id),
            ("eom", self.eom_token_id),
            ("unknown", self.unknown_token_id),
            ("padding", self.padding_token_id),
        ] {
            if let Some(id) = id {
                out.number(&format!("tokenizer.ggml.{key}_token_id"), id);
            }
        }
        if let Some(add) = self.add_bos {
            out.boolean("tokenizer.ggml.add_bos_token", add);
        }
        out.boolean("tokenizer.ggml.add_eos_token", self.add_eos);
        if let Some(add) = self.add_space_prefix {
            out.boolean("tokenizer.ggml.add_space_prefix", add);
        }
        if let Some(template) = &self.chat_template {
            out.text("tokenizer.chat_template", template);
        }
        if !self.named_templates.is_empty() {
            let names: Vec<String> = self.named_templates.iter().map(|(name, _)| name.clone()).collect();
            out.texts("tokenizer.chat_templates", &names);
        }
        for (name, template) in &self.named_templates {
            out.text(&format!("tokenizer.chat_template.{name}"), template);
        }
    }
}
