//! Tokens that stand in `tokenizer_config.json`, and perhaps only there: `added_tokens_decoder`,
//! `additional_special_tokens`, and the named ones (`eos_token`, …).
//!
//! As in `transformers`: a token that the vocabulary has keeps its id and takes the flags of
//! `added_tokens_decoder`; one that it lacks is added; a token with a name is special. Unlike there, an id that is
//! stated is kept, also after a gap, and a token whose id another one has is left out, with a note.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokenizers::{AddedToken, ModelWrapper};

use crate::library::{contained, load};
use crate::{Error, Result};

/// An entry of `added_tokens_decoder`.
#[derive(Deserialize)]
struct Entry {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
    normalized: Option<bool>,
}

impl From<Entry> for AddedToken {
    fn from(entry: Entry) -> Self {
        let Entry { content, single_word, lstrip, rstrip, special, normalized } = entry;
        Self { content, single_word, lstrip, rstrip, special, normalized: normalized.unwrap_or(!special) }
    }
}

/// Brings the tokens of `config` into `library`, which was read from `json`, and says in `notes` what does not fit.
///
/// # Errors
/// An entry that is none, or a `bos_token` or `eos_token` that is nowhere.
pub(crate) fn add(
    library: &mut tokenizers::Tokenizer,
    json: &[u8],
    config: &Map<String, Value>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let broken = |reason: String| Error::Config(reason);
    let (mut known, mut new) = (Vec::new(), Vec::new());
    for (id, token) in decoder(config)? {
        let content = &token.content;
        match (library.token_to_id(content), library.id_to_token(id)) {
            (Some(real), _) if real != id => {
                notes.push(format!(
                    "added_tokens_decoder gives {content:?} the id {id}, but the vocabulary has it as {real}, which holds"
                ));
                known.push(token);
            }
            (Some(_), _) => known.push(token),
            (None, Some(other)) => notes.push(format!(
                "added_tokens_decoder gives {content:?} the id {id}, but that is {other:?} in the vocabulary: left out"
            )),
            (None, None) => new.push((id, token)),
        }
    }
    if new.iter().zip(next_id(library)..).all(|((id, _), next)| *id == next) {
        known.extend(new.into_iter().map(|(_, token)| token));
    } else {
        after_a_gap(library, json, new, notes)?;
    }
    contained(|| library.add_tokens(known)).map_err(broken)?;

    let mut special = Vec::new();
    for token in listed(config) {
        let Some(content) = content(token).filter(|content| !content.is_empty()) else {
            return Err(broken("`additional_special_tokens` has an entry that is no token".to_owned()));
        };
        if library.token_to_id(content).is_none() {
            notes.push(format!("{content:?} has no id in tokenizer_config.json and takes the next one that is free"));
        }
        special.push(content.to_owned());
    }
    special.extend(named(config).into_values().filter(|token| library.token_to_id(token).is_some()));
    let added = library.get_added_vocabulary().get_added_tokens_decoder();
    let added: HashMap<&str, &AddedToken> = added.values().map(|token| (token.content.as_str(), token)).collect();
    let special: Vec<AddedToken> = special
        .into_iter()
        .map(|token| match added.get(token.as_str()) {
            Some(&known) => AddedToken { special: true, ..known.clone() },
            None => AddedToken::from(token, true),
        })
        .collect();
    contained(|| library.add_special_tokens(special)).map_err(broken)?;
    Ok(())
}

/// `bos_token`, `eos_token`, … of a `tokenizer_config.json`, each a string or an object with `content`. Those that are
/// no model's but this one's may stand in `extra_special_tokens`.
pub(crate) fn named(config: &Map<String, Value>) -> BTreeMap<String, String> {
    let extra = config.get("extra_special_tokens").and_then(Value::as_object).into_iter().flatten();
    let tokens = config.iter().filter(|(key, _)| key.ends_with("_token"));
    extra.chain(tokens).filter_map(|(key, value)| Some((key.clone(), content(value)?.to_owned()))).collect()
}

/// The content of every token that has a name or stands in a list of special ones.
pub(crate) fn special(config: &Map<String, Value>) -> BTreeSet<String> {
    let listed = listed(config).filter_map(content).map(str::to_owned);
    named(config).into_values().chain(listed).collect()
}

/// The entries of `additional_special_tokens`, as it was called, and `extra_special_tokens`, as it is.
fn listed(config: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let lists = ["additional_special_tokens", "extra_special_tokens"].map(|key| config.get(key));
    lists.into_iter().flatten().filter_map(Value::as_array).flatten()
}

pub(crate) fn content(token: &Value) -> Option<&str> {
    token.get("content").unwrap_or(token).as_str()
}

/// `added_tokens_decoder`, by id.
fn decoder(config: &Map<String, Value>) -> Result<BTreeMap<u32, AddedToken>> {
    let Some(entries) = config.get("added_tokens_decoder").and_then(Value::as_object) else {
        return Ok(BTreeMap::new());
    };
    let entry = |(id, token): (&String, &Value)| {
        let entry = Entry::deserialize(token).ok().filter(|entry| !entry.content.is_empty());
        Some((id.parse().ok()?, entry?.into()))
    };
    entries
        .iter()
        .map(|pair| {
            entry(pair).ok_or_else(|| Error::Config(format!("`added_tokens_decoder` has no token at {:?}", pair.0)))
        })
        .collect()
}

/// The id that the library gives to the next token that is added.
fn next_id(library: &tokenizers::Tokenizer) -> u32 {
    let words = library.get_vocab_size(false) as u32;
    let added = library.get_added_vocabulary().get_added_tokens_decoder();
    added.keys().max().map_or(words, |last| words.max(last.saturating_add(1)))
}

/// Adds tokens with their own ids, which the library does for none that it adds but for those of the vocabulary.
fn after_a_gap(
    library: &mut tokenizers::Tokenizer,
    json: &[u8],
    new: Vec<(u32, AddedToken)>,
    notes: &mut Vec<String>,
) -> Result<()> {
    if !matches!(library.get_model(), ModelWrapper::BPE(_)) {
        let left_out = |(id, token): (u32, AddedToken)| {
            format!("added_tokens_decoder gives {:?} the id {id}, which leaves a gap: left out", token.content)
        };
        notes.extend(new.into_iter().map(left_out));
        return Ok(());
    }
    let broken = |error: serde_json::Error| Error::Vocabulary(error.to_string());
    let mut json: Value = serde_json::from_slice(json).map_err(broken)?;
    // The library counts the ids of added tokens from the size of the vocabulary, which grows here: so those that it
    // has already go into the vocabulary too.
    let known = library.get_added_vocabulary().get_added_tokens_decoder().clone();
    let known = known.into_iter().map(|(id, token)| (id, token.content));
    let named: Vec<(u32, String)> = known.chain(new.iter().map(|(id, token)| (*id, token.content.clone()))).collect();
    if let Some(vocab) = json["model"]["vocab"].as_object_mut() {
        vocab.extend(named.into_iter().map(|(id, content)| (content, id.into())));
    }
    if json["added_tokens"].is_null() {
        json["added_tokens"] = json!([]);
    }
    for (id, token) in new {
        let flags = serde_json::to_value(&token).map_err(broken)?;
        if let (Some(added), Value::Object(mut entry)) = (json["added_tokens"].as_array_mut(), flags) {
            entry.insert("id".to_owned(), id.into());
            added.push(entry.into());
        }
    }
    (*library, _) = load(json.to_string().as_bytes())?;
    Ok(())
}
