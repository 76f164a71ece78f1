//! A tokenizer from what a GGUF file says of it.
//!
//! `tokenizer.ggml.model` names the kind: `gpt2` is byte-level BPE with a rule by name (`tokenizer.ggml.pre`), `llama`
//! is SentencePiece, whose pieces carry scores. Texts become the ids that llama.cpp makes of them, except that text in
//! NFC is what Qwen's models were trained on. Left out, and refused by name: WordPiece (`bert`), Unigram (`t5`), RWKV
//! and others.

use crate::bpe::{Ends, added_tokens, vocab};
use crate::sentencepiece::{Prefix, SentencePiece};
use crate::{BpeParts, Error, PreTokenizer, Result, TokenType, Tokenizer};

/// The keys `tokenizer.*` of a GGUF file.
#[derive(Clone, Debug, Default)]
pub struct GgufParts {
    /// `ggml.model`: `gpt2` or `llama`.
    pub model: String,
    /// `ggml.pre`: the rule that cuts text before merging, for `gpt2`.
    pub pre: Option<String>,
    /// `ggml.tokens`: the token of each id.
    pub tokens: Vec<String>,
    /// `ggml.token_type`: a number of [`TokenType`] for each token, or nothing when all are normal.
    pub token_types: Vec<i32>,
    /// `ggml.merges`: pairs to merge, best first, for `gpt2`.
    pub merges: Vec<String>,
    /// `ggml.scores`: what a token is worth, for `llama`.
    pub scores: Vec<f32>,
    /// `ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `ggml.unknown_token_id`.
    pub unknown: Option<u32>,
    /// `ggml.add_bos_token`; where the file is silent, `llama` and some rules of `gpt2` have it.
    pub add_bos: Option<bool>,
    /// `ggml.add_eos_token`.
    pub add_eos: bool,
    /// `ggml.add_space_prefix`; where the file is silent, `llama` has it.
    pub add_space_prefix: Option<bool>,
}

impl Tokenizer {
    /// A tokenizer from a GGUF file. [`Tokenizer::notes`] says what was guessed.
    ///
    /// # Errors
    /// A kind of tokenizer that is not supported, or parts that do not fit together.
    pub fn from_gguf(mut parts: GgufParts) -> Result<Self> {
        for (id, token) in parts.tokens.iter_mut().enumerate().filter(|(_, token)| token.is_empty()) {
            *token = format!("[EMPTY_{id}]");
        }
        match parts.model.as_str() {
            "gpt2" => Self::from_gguf_bpe(parts),
            "llama" => Self::from_gguf_pieces(parts),
            other => Err(Error::Vocabulary(format!(
                "tokenizer.ggml.model is {other:?}; gpt2 (byte-level BPE) and llama (SentencePiece) are supported"
            ))),
        }
    }

    fn from_gguf_bpe(parts: GgufParts) -> Result<Self> {
        let mut notes = Vec::new();
        let name = parts.pre.as_deref().unwrap_or("");
        let pre_tokenizer = PreTokenizer::from_gguf_name(name).unwrap_or_else(|| {
            let what = match &parts.pre {
                Some(name) => format!("tokenizer.ggml.pre is {name:?}, a rule that is not known here"),
                None => "tokenizer.ggml.pre is missing".to_owned(),
            };
            notes.push(format!("{what}: text is cut by llama.cpp's default rule, and answers may be worse for it"));
            PreTokenizer::Default
        });
        let tokenizer = Self::from_bpe(BpeParts {
            ignore_merges: PreTokenizer::ignores_merges(name),
            tokens: parts.tokens,
            merges: parts.merges,
            token_types: parts.token_types.into_iter().map(TokenType::from).collect(),
            pre_tokenizer,
            bos: parts.bos,
            eos: parts.eos,
            add_bos: parts.add_bos.unwrap_or_else(|| PreTokenizer::begins_with_bos(name)),
            add_eos: parts.add_eos,
        })?;
        Ok(tokenizer.with_notes(notes))
    }

    fn from_gguf_pieces(parts: GgufParts) -> Result<Self> {
        let (tokens, count) = (&parts.tokens, parts.tokens.len());
        let mut notes = Vec::new();
        let mut scores = parts.scores;
        if scores.is_empty() {
            notes.push("tokenizer.ggml.scores is missing: all tokens count as equally good".to_owned());
            scores = vec![0.0; count];
        }
        if scores.len() != count {
            return Err(Error::Vocabulary(format!("{count} tokens but {} scores", scores.len())));
        }
        let mut types: Vec<TokenType> = parts.token_types.iter().map(|&number| number.into()).collect();
        // Where the file is silent, these are SentencePiece's own numbers.
        let or = |id: Option<u32>, usual: u32| id.or((usual < count as u32).then_some(usual));
        let ends =
            Ends::new(tokens, [or(parts.bos, 1), or(parts.eos, 2)], [parts.add_bos.unwrap_or(true), parts.add_eos])?;
        let vocab = vocab(tokens, &types)?;
        types.resize(count, TokenType::Normal);
        let pieces = SentencePiece {
            unknown: or(parts.unknown, 0).and_then(|id| usize::try_from(id).ok()),
            prefix: if parts.add_space_prefix.unwrap_or(true) { Prefix::EveryChunk } else { Prefix::None },
            // Runs of spaces (Gemma's) are written with `▁`, which the text does not have, so they are cut out later.
            cut_out: SentencePiece::user_defined(tokens, &types, |token| token.contains('▁')),
            ..SentencePiece::bpe(tokens.clone(), scores, types.clone())
        };
        let mut json = pieces.to_json(pieces.bpe_model(vocab.into())?);
        json["added_tokens"] = added_tokens(tokens, &types).into();
        json["post_processor"] = ends.post_processor();
        let mut config = ends.config();
        if let Some(unknown) = pieces.unknown.and_then(|id| tokens.get(id)) {
            config.insert("unk_token".to_owned(), unknown.as_str().into());
        }
        Ok(Self::from_json(json.to_string().as_bytes(), config)?.with_notes(notes))
    }
}
