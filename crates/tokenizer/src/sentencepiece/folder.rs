//! A folder with a `tokenizer.model` and no `tokenizer.json`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::proto::ModelProto;
use super::{Prefix, SentencePiece};
use crate::bpe::{Ends, added_tokens, vocab};
use crate::{Error, Result, TokenType};

/// The `tokenizer.json` of a `tokenizer.model`. `config` is the folder's `tokenizer_config.json`, in which what it
/// leaves open is filled in.
///
/// # Errors
/// A file that is no SentencePiece model, or one of a kind that is not supported.
pub(crate) fn to_json(model: &[u8], config: &mut Map<String, Value>, notes: &mut Vec<String>) -> Result<Value> {
    let refuse = |reason: &str| Err(Error::Vocabulary(reason.to_owned()));
    if looks_like_tiktoken(model) {
        return refuse("tokenizer.model is a list of tiktoken ranks, not SentencePiece: convert it to tokenizer.json");
    }
    let ModelProto { pieces, scores, types, trainer, normalizer } = ModelProto::parse(model)?;
    let unigram = match trainer.model_type {
        1 => true,
        2 => false,
        3 => return refuse("tokenizer.model is a SentencePiece model of words; BPE and Unigram are supported"),
        4 => return refuse("tokenizer.model is a SentencePiece model of characters; BPE and Unigram are supported"),
        _ => return refuse("tokenizer.model is of a kind that SentencePiece does not have"),
    };
    if trainer.treat_whitespace_as_suffix || !normalizer.escape_whitespaces {
        return refuse("tokenizer.model does not write spaces as ▁ before a word, which is not supported");
    }
    let flag = |key: &str| config.get(key).and_then(Value::as_bool);
    let prefix = match (normalizer.add_dummy_prefix && flag("add_prefix_space") != Some(false), flag("legacy")) {
        (false, _) => Prefix::None,
        (true, Some(false)) => Prefix::First,
        (true, _) => Prefix::EveryChunk,
    };
    let id = |id: i64| usize::try_from(id).ok().filter(|id| *id < pieces.len());
    let (bos, eos, unknown) = (id(trainer.bos_id), id(trainer.eos_id), id(trainer.unk_id));
    // Llama's kind begins a text with `bos` unless told otherwise, T5's ends it with `eos`.
    let add = [flag("add_bos_token").unwrap_or(!unigram), flag("add_eos_token").unwrap_or(unigram)];
    let pieces = renamed(pieces, config, notes);
    let named = |key: &str, id: Option<usize>| match config.get(key) {
        None => id.and_then(|id| u32::try_from(id).ok()),
        Some(token) => {
            let token = token.get("content").unwrap_or(token).as_str();
            (0u32..).zip(&pieces).find(|(_, piece)| Some(piece.as_str()) == token).map(|(id, _)| id)
        }
    };
    let ends = Ends::new(&pieces, [named("bos_token", bos), named("eos_token", eos)], add)?;
    for (key, value) in ends.config() {
        config.entry(key).or_insert(value);
    }
    if let Some(piece) = unknown.and_then(|id| pieces.get(id)) {
        config.entry("unk_token").or_insert_with(|| piece.as_str().into());
    }
    // The class of the folder would make other tools read tokenizer.json by rules of its own.
    config.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
    if prefix != Prefix::None {
        match_before_the_prefix(config);
    }
    let pieces = SentencePiece {
        unknown,
        byte_fallback: trainer.byte_fallback,
        charsmap: normalizer.charsmap,
        remove_extra_whitespaces: normalizer.remove_extra_whitespaces,
        prefix,
        cut_out: SentencePiece::user_defined(&pieces, &types, |_| true),
        ..SentencePiece::bpe(pieces, scores, types)
    };
    let vocab = vocab(&pieces.pieces, &pieces.types)?;
    let mut json = pieces.to_json(match unigram {
        true => pieces.unigram_model(),
        false => pieces.bpe_model(vocab.into())?,
    });
    // User-defined pieces are cut out of the text by the rule, not as added tokens, after which a space would follow.
    let types: Vec<TokenType> = pieces
        .types
        .iter()
        .map(|kind| if *kind == TokenType::UserDefined { TokenType::Normal } else { *kind })
        .collect();
    json["added_tokens"] = added_tokens(&pieces.pieces, &types).into();
    json["post_processor"] = ends.post_processor();
    Ok(json)
}

/// Whether the file begins as a tiktoken list does: a token in base64, a space, its rank.
fn looks_like_tiktoken(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (token, rank) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    !token.is_empty()
        && token.iter().all(base64)
        && !rank.is_empty()
        && rank.trim_ascii().iter().all(u8::is_ascii_digit)
}

/// Pieces that are placeholders in the model and have their name in `added_tokens_decoder`.
fn renamed(mut pieces: Vec<String>, config: &Map<String, Value>, notes: &mut Vec<String>) -> Vec<String> {
    let Some(entries) = config.get("added_tokens_decoder").and_then(Value::as_object) else {
        return pieces;
    };
    let taken: HashSet<String> = pieces.iter().cloned().collect();
    for (id, entry) in entries {
        let piece = id.parse().ok().and_then(|id: usize| pieces.get_mut(id));
        if let (Some(piece), Some(name)) = (piece, entry["content"].as_str())
            && piece != name
            && !name.is_empty()
            && !taken.contains(name)
        {
            notes.push(format!("added_tokens_decoder gives the piece {piece:?} the name {name:?}, which holds"));
            *piece = name.to_owned();
        }
    }
    pieces
}

/// Added tokens are looked for in the text as written: the normalised one has a space before each chunk.
fn match_before_the_prefix(config: &mut Map<String, Value>) {
    let entries = config.get_mut("added_tokens_decoder").and_then(Value::as_object_mut);
    for entry in entries.into_iter().flat_map(|entries| entries.values_mut()) {
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("normalized".to_owned(), false.into());
        }
    }
}
