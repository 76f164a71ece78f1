//! SentencePiece vocabularies (Kudo and Richardson 2018) as a `tokenizer.json`.
//!
//! A piece is plain text in which `▁` stands for a space, and has a score. BPE joins, again and again, the two
//! neighbours that make the piece of the highest score; that is merging by rank when every way to split a piece is a
//! merge, ranked by the score of the piece. Unigram takes the pieces whose scores add up to most. What no piece covers
//! is written in bytes (`<0xE4>`) or is unknown.
//!
//! Checked against SentencePiece itself (`golden/sentencepiece.py`). Known to differ: two ways to make one piece that
//! overlap in the text, where SentencePiece takes the left one; and a Unigram text that spells out a byte (`<0x41>`),
//! which is taken for the byte.

mod folder;
mod proto;

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{Error, Result, TokenType};

pub(crate) use folder::to_json;

/// Pieces longer than this are refused: the time to split a piece grows with the square of its length.
const MAX_PIECE_BYTES: usize = 1024;

/// A vocabulary of pieces, and what happens to a text before it is cut into them.
pub(crate) struct SentencePiece {
    /// The piece of each id.
    pub(crate) pieces: Vec<String>,
    /// One for each piece.
    pub(crate) scores: Vec<f32>,
    /// One for each piece.
    pub(crate) types: Vec<TokenType>,
    /// The id of what cannot be encoded.
    pub(crate) unknown: Option<usize>,
    pub(crate) byte_fallback: bool,
    /// SentencePiece's compiled table of characters to replace; empty for none.
    pub(crate) charsmap: Vec<u8>,
    /// Whether spaces at the ends go, and several in a row become one.
    pub(crate) remove_extra_whitespaces: bool,
    pub(crate) prefix: Prefix,
    /// Pieces that are cut out of the text before anything is joined, the longest first.
    pub(crate) cut_out: Vec<String>,
}

/// Where a space is put that the text does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    None,
    /// Before the text, unless it begins with one.
    First,
    /// Before the text and after each special token in it.
    EveryChunk,
}

impl SentencePiece {
    /// A BPE vocabulary with what most have.
    pub(crate) fn bpe(pieces: Vec<String>, scores: Vec<f32>, types: Vec<TokenType>) -> Self {
        Self {
            pieces,
            scores,
            types,
            unknown: None,
            byte_fallback: true,
            charsmap: Vec::new(),
            remove_extra_whitespaces: false,
            prefix: Prefix::EveryChunk,
            cut_out: Vec::new(),
        }
    }

    /// The `tokenizer.json` around its `model`, without added tokens and post-processor.
    pub(crate) fn to_json(&self, model: Value) -> Value {
        let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let mut normalizers = Vec::new();
        if !self.charsmap.is_empty() {
            let table = base64::encode(&self.charsmap);
            normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": table}));
        }
        if self.remove_extra_whitespaces {
            for (regex, content) in [(r"\A +| +\z", ""), (" {2,}", " ")] {
                normalizers.push(json!({"type": "Replace", "pattern": {"Regex": regex}, "content": content}));
            }
        }
        if self.prefix == Prefix::EveryChunk {
            normalizers.push(json!({"type": "Prepend", "prepend": "▁"}));
        }
        normalizers.push(space);

        let mut cuts = Vec::new();
        if self.prefix == Prefix::First {
            cuts.push(json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}));
        }
        if !self.cut_out.is_empty() {
            let pieces: Vec<String> = self.cut_out.iter().map(|piece| escape(piece)).collect();
            let pattern = json!({"Regex": pieces.join("|")});
            cuts.push(json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false}));
        }
        let pre_tokenizer =
            if cuts.is_empty() { Value::Null } else { json!({"type": "Sequence", "pretokenizers": cuts}) };

        let mut decoders = vec![json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "})];
        decoders.extend(self.byte_fallback.then(|| json!({"type": "ByteFallback"})));
        decoders.push(json!({"type": "Fuse"}));
        if self.prefix != Prefix::None {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": model
        })
    }

    /// The `model` of a BPE vocabulary.
    ///
    /// # Errors
    /// A piece that is too long.
    pub(crate) fn bpe_model(&self, vocab: Value) -> Result<Value> {
        let pieces = self.pieces.iter().zip(&self.scores).zip(&self.types);
        let normal = pieces.filter(|(_, kind)| **kind == TokenType::Normal);
        let merges = merges(normal.map(|((piece, score), _)| (piece.as_str(), *score)))?;
        let unknown = self.unknown.and_then(|id| self.pieces.get(id));
        Ok(json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": self.byte_fallback,
            // What was cut out is taken whole.
            "ignore_merges": !self.cut_out.is_empty(), "vocab": vocab, "merges": merges
        }))
    }

    /// The `model` of a Unigram vocabulary.
    pub(crate) fn unigram_model(&self) -> Value {
        let vocab: Vec<(&String, f64)> =
            self.pieces.iter().zip(self.scores.iter().map(|&score| score.into())).collect();
        json!({"type": "Unigram", "unk_id": self.unknown, "vocab": vocab, "byte_fallback": self.byte_fallback})
    }

    /// The user-defined pieces for which `which` holds, the longest first.
    pub(crate) fn user_defined(pieces: &[String], types: &[TokenType], which: impl Fn(&str) -> bool) -> Vec<String> {
        let pieces = pieces.iter().zip(types);
        let mut pieces: Vec<String> = pieces
            .filter(|(piece, kind)| **kind == TokenType::UserDefined && !piece.is_empty() && which(piece))
            .map(|(piece, _)| piece.clone())
            .collect();
        pieces.sort_by_key(|piece| Reverse(piece.len()));
        pieces
    }
}

/// Text as a regular expression that both engines of the library understand.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if r"\.+*?()|[]{}^$".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

/// Every way to split a piece into two others, the piece of the highest score first.
fn merges<'a>(pieces: impl Iterator<Item = (&'a str, f32)>) -> Result<Vec<[&'a str; 2]>> {
    let known: HashMap<&str, (usize, f32)> =
        pieces.enumerate().map(|(rank, (piece, score))| (piece, (rank, score))).collect();
    let mut merges = Vec::new();
    for (piece, &(rank, score)) in &known {
        if piece.len() > MAX_PIECE_BYTES {
            return Err(Error::Vocabulary(format!("it has a piece of {} bytes", piece.len())));
        }
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if known.contains_key(left) && known.contains_key(right) {
                merges.push((score, rank, [left, right]));
            }
        }
    }
    // The last key settles what is left, so that the order is one whatever the map's.
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    Ok(merges.into_iter().map(|(_, _, pair)| pair).collect())
}
