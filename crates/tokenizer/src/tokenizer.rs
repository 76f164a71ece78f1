//! [`Tokenizer`]: a vocabulary with its settings.
//!
//! Encoding is the `tokenizers` crate's. Decoding is ours ([`crate::decoder`]), because tokens join as bytes, and the
//! same bytes serve streaming and constraints. Reading and saving folders is in [`crate::folder`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::breaks::AddedPatterns;
use crate::decoder::{Decoder, Position};
use crate::library::{self, contained};
use crate::{Error, Result, added_tokens};

/// Text ↔ ids of one model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(crate) library: tokenizers::Tokenizer,
    decoder: Decoder,
    /// `tokenizer_config.json` as it was read, so that saving loses nothing.
    pub(crate) config: Map<String, Value>,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    vocab_size: usize,
    notes: Vec<String>,
    /// What the added tokens look like, once somebody had to know.
    pub(crate) patterns: OnceLock<AddedPatterns>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json` alone, from its bytes: no named special tokens.
    pub fn from_bytes(tokenizer_json: impl AsRef<[u8]>) -> Result<Self> {
        Self::from_json(tokenizer_json.as_ref(), Map::new())
    }

    pub(crate) fn from_json(tokenizer_json: &[u8], config: Map<String, Value>) -> Result<Self> {
        let (mut library, decoder) = library::load(tokenizer_json)?;
        let mut notes = Vec::new();
        added_tokens::add(&mut library, tokenizer_json, &config, &mut notes)?;
        let special_tokens = added_tokens::named(&config);
        let id = |key: &str| match special_tokens.get(key) {
            None => Ok(None),
            Some(token) => library.token_to_id(token).map(Some).ok_or_else(|| {
                Error::Config(format!(
                    "`{key}` names {token:?}, which the vocabulary does not have: add it or correct the name"
                ))
            }),
        };
        let (bos, eos) = (id("bos_token")?, id("eos_token")?);
        let largest = library.get_vocab(true).into_values().max();
        Ok(Self {
            add_bos: config.get("add_bos_token") == Some(&Value::Bool(true)),
            add_eos: config.get("add_eos_token") == Some(&Value::Bool(true)),
            vocab_size: largest.map_or(0, |id| id as usize + 1),
            library,
            decoder,
            config,
            bos,
            eos,
            notes,
            patterns: OnceLock::new(),
        })
    }

    /// What was guessed, repaired or left out when this tokenizer was read, a line each, for standard error.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same without added tokens whose id is `rows` or more, for a model that has no more rows: some folders add a
    /// token that their weights never got. Their text is cut like any other.
    ///
    /// # Errors
    /// A vocabulary that does not work without them.
    pub fn without_tokens_from(mut self, rows: usize) -> Result<Self> {
        let added = self.library.get_added_vocabulary().get_added_tokens_decoder();
        let beyond = added.iter().filter(|(id, _)| **id as usize >= rows);
        let beyond: BTreeSet<String> = beyond.map(|(_, token)| token.content.clone()).collect();
        if beyond.is_empty() {
            return Ok(self);
        }
        let broken = |error: serde_json::Error| Error::Vocabulary(error.to_string());
        let mut json: Value = serde_json::from_str(&self.to_json()?).map_err(broken)?;
        let is_beyond = |token: &str| beyond.contains(token);
        if let Some(tokens) = json["added_tokens"].as_array_mut() {
            tokens.retain(|token| !token["content"].as_str().is_some_and(is_beyond));
        }
        if let Some(vocab) = json["model"]["vocab"].as_object_mut() {
            vocab.retain(|token, _| !is_beyond(token));
        }
        let mut config = self.config.clone();
        if let Some(tokens) = config.get_mut("added_tokens_decoder").and_then(Value::as_object_mut) {
            tokens.retain(|_, token| !token["content"].as_str().is_some_and(is_beyond));
        }
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            if let Some(Value::Array(tokens)) = config.get_mut(key) {
                tokens.retain(|token| !added_tokens::content(token).is_some_and(is_beyond));
            }
        }
        config.retain(|key, token| !(key.ends_with("_token") && added_tokens::content(token).is_some_and(is_beyond)));
        let names: Vec<String> = beyond.iter().map(|token| format!("{token:?}")).collect();
        self.notes.push(format!("the model has {rows} rows, so these tokens are left out: {}", names.join(", ")));
        Ok(Self::from_json(json.to_string().as_bytes(), config)?.with_notes(self.notes))
    }

    /// The same, with what was noted before.
    pub(crate) fn with_notes(mut self, mut notes: Vec<String>) -> Self {
        notes.append(&mut self.notes);
        Self { notes, ..self }
    }

    /// The ids of `text`. Special tokens written out in the text are recognised. With `add_special`, what
    /// the model expects around a plain text is added, usually `bos`; a rendered chat has it already.
    ///
    /// # Errors
    /// When the vocabulary is broken; never because of the text alone.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = contained(|| self.library.encode_fast(text, add_special));
        let encoding = encoding.map_err(Error::Encode)?;
        let mut ids = encoding.get_ids().to_vec();
        // `add_bos_token` counts even where tokenizer.json does not say so (Llama's and DeepSeek's do not).
        if let Some(bos) = self.bos.filter(|_| add_special && self.add_bos)
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        if let Some(eos) = self.eos.filter(|_| add_special && self.add_eos)
            && ids.last() != Some(&eos)
        {
            ids.push(eos);
        }
        Ok(ids)
    }

    /// The ids of `text` where it goes on from another text: without the space that SentencePiece vocabularies put
    /// before a whole one.
    ///
    /// # Errors
    /// When the vocabulary is broken; never because of the text alone.
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<u32>> {
        if self.decoder.drops_a_beginning() {
            // A line break, with which no piece of these vocabularies goes on.
            let (before, whole) = (self.encode("\n", false)?, self.encode(&format!("\n{text}"), false)?);
            if let Some(rest) = whole.strip_prefix(before.as_slice()) {
                return Ok(rest.to_vec());
            }
        }
        self.encode(text, false)
    }

    /// The text of any ids. Ids that do not exist give nothing, bytes that are no UTF-8 give U+FFFD. A space that
    /// the vocabulary puts before every text does not show.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let ids = ids.iter().copied();
        let shown = ids.filter(|id| !(skip_special && self.is_special(*id)));
        let mut position = Position::default();
        let bytes: Vec<u8> = shown.flat_map(|id| self.next_bytes(&mut position, id)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What `id` adds to the text of which `position` tells how much there is.
    pub(crate) fn next_bytes(&self, position: &mut Position, id: u32) -> Vec<u8> {
        self.library.id_to_token(id).map(|token| self.decoder.next(position, &token)).unwrap_or_default()
    }

    /// The bytes that `id` stands for in the middle of a text: a piece of UTF-8, perhaps half of a character.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        self.library.id_to_token(id).map(|token| self.decoder.token_bytes(&token))
    }

    /// A key of `tokenizer_config.json`.
    pub fn setting(&self, key: &str) -> Option<&Value> {
        self.config.get(key)
    }

    /// Sets a key of `tokenizer_config.json` that means nothing to the vocabulary, such as `chat_template`;
    /// [`Self::save`] writes it.
    pub fn set(&mut self, key: &str, value: Value) {
        self.config.insert(key.to_owned(), value);
    }

    /// The named special tokens as text: `bos_token`, `eos_token`, ….
    pub fn special_tokens(&self) -> BTreeMap<String, String> {
        added_tokens::named(&self.config)
    }

    /// One more than the largest id: the least number of rows that an embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id of a token as written in `tokenizer.json`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.library.token_to_id(token)
    }

    /// The token as written in `tokenizer.json`, in the vocabulary's own alphabet.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.library.id_to_token(id)
    }

    /// The token that begins every sequence.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends every sequence or turn. Some models end turns with others too; their
    /// `generation_config.json` lists them.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether `id` is found whole in a text and never made by merging: special tokens and such as `<think>`.
    pub fn is_added(&self, id: u32) -> bool {
        self.library.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id)
    }

    /// Whether `id` is a special token: one that is not part of the text.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.library.get_added_vocabulary();
        let token = added.get_added_tokens_decoder().get(&id);
        token.is_some_and(|token| token.special)
    }
}
