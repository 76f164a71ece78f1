//! A byte-level BPE tokenizer from its parts: what a GGUF file holds as lists of strings, and what training
//! makes. The parts become the JSON of a `tokenizer.json`, so there is one way into a [`Tokenizer`].

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::{Error, PreTokenizer, Result, Tokenizer};

/// A vocabulary and what belongs to it. Tokens and merges are in the alphabet of byte-level BPE.
#[derive(Clone, Debug)]
pub struct BpeParts {
    /// The token of each id.
    pub tokens: Vec<String>,
    /// Pairs to merge, best first, each as `left right`.
    pub merges: Vec<String>,
    /// The type of each token, or nothing when all are normal.
    pub token_types: Vec<TokenType>,
    /// How text is cut before merging.
    pub pre_tokenizer: PreTokenizer,
    /// Whether a word that is a token whole is taken without merging.
    pub ignore_merges: bool,
    /// Begins every sequence.
    pub bos: Option<u32>,
    /// Ends every sequence or turn.
    pub eos: Option<u32>,
    /// Whether `encode` begins with `bos` when asked for special tokens.
    pub add_bos: bool,
    /// Whether `encode` ends with `eos` when asked for special tokens.
    pub add_eos: bool,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Made by merging.
    Normal,
    /// Stands for what cannot be encoded.
    Unknown,
    /// Found whole in the text, and left out when decoding without special tokens.
    Control,
    /// Found whole in the text, and shown when decoding.
    UserDefined,
    /// Never made.
    Unused,
    /// One byte, for what no other token covers.
    Byte,
}

impl From<i32> for TokenType {
    /// From a number of `tokenizer.ggml.token_type`, which is SentencePiece's. Unknown numbers count as normal.
    fn from(number: i32) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }
}

impl TokenType {
    /// Whether the token is found whole in the text, and whether it is no part of it.
    fn added(self) -> Option<bool> {
        match self {
            Self::Control | Self::Unknown => Some(true),
            Self::UserDefined => Some(false),
            Self::Normal | Self::Unused | Self::Byte => None,
        }
    }
}

impl Tokenizer {
    /// A tokenizer from its parts.
    ///
    /// # Errors
    /// When the parts do not fit together: a token twice, a merge of tokens that do not exist, ids
    /// beyond the vocabulary.
    pub fn from_bpe(parts: BpeParts) -> Result<Self> {
        let ends = Ends::new(&parts.tokens, [parts.bos, parts.eos], [parts.add_bos, parts.add_eos])?;
        let json = ByteLevelBpe {
            vocab: vocab(&parts.tokens, &parts.token_types)?,
            merges: &parts.merges,
            added: added_tokens(&parts.tokens, &parts.token_types),
            pre_tokenizer: parts.pre_tokenizer.to_json(false),
            normalizer: parts.pre_tokenizer.normalizer(),
            post_processor: ends.post_processor(),
            ignore_merges: parts.ignore_merges,
        };
        Self::from_json(json.to_json().to_string().as_bytes(), ends.config())
    }
}

/// The `tokenizer.json` of a byte-level BPE vocabulary.
pub(crate) struct ByteLevelBpe<'a> {
    pub(crate) vocab: Map<String, Value>,
    pub(crate) merges: &'a [String],
    pub(crate) added: Vec<Value>,
    pub(crate) pre_tokenizer: Value,
    pub(crate) normalizer: Value,
    pub(crate) post_processor: Value,
    pub(crate) ignore_merges: bool,
}

impl ByteLevelBpe<'_> {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": self.added,
            "normalizer": self.normalizer,
            "pre_tokenizer": self.pre_tokenizer,
            "post_processor": self.post_processor,
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": self.ignore_merges, "vocab": self.vocab, "merges": self.merges
            }
        })
    }
}

/// The vocabulary of a `tokenizer.json`.
///
/// # Errors
/// A token twice, or another number of types.
pub(crate) fn vocab(tokens: &[String], types: &[TokenType]) -> Result<Map<String, Value>> {
    if !types.is_empty() && types.len() != tokens.len() {
        return Err(Error::Vocabulary(format!("{} tokens but {} token types", tokens.len(), types.len())));
    }
    let mut seen = HashSet::new();
    if let Some(token) = tokens.iter().find(|token| !seen.insert(token.as_str())) {
        return Err(Error::Vocabulary(format!("the token {token:?} occurs twice")));
    }
    Ok(tokens.iter().cloned().zip((0u32..).map(Value::from)).collect())
}

/// The `added_tokens` of a `tokenizer.json`: what is found whole in the text.
pub(crate) fn added_tokens(tokens: &[String], types: &[TokenType]) -> Vec<Value> {
    let added = (0u32..).zip(tokens).zip(types).filter(|((_, token), _)| !token.is_empty());
    let added = added.filter_map(|((id, token), kind)| Some((id, token, kind.added()?)));
    added
        .map(|(id, token, special)| {
            json!({
                "id": id, "content": token, "special": special,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false
            })
        })
        .collect()
}

/// The tokens around a sequence: `[bos, eos]`, and which of them `encode` adds.
pub(crate) struct Ends {
    tokens: [Option<(u32, String)>; 2],
    add: [bool; 2],
}

impl Ends {
    /// # Errors
    /// An id beyond the tokens.
    pub(crate) fn new(tokens: &[String], ids: [Option<u32>; 2], add: [bool; 2]) -> Result<Self> {
        let named = |id: Option<u32>, name: &str| {
            let Some(id) = id else { return Ok::<_, Error>(None) };
            let token = tokens.get(id as usize).ok_or_else(|| {
                Error::Vocabulary(format!("the id {id} of the {name} lies beyond the {} tokens", tokens.len()))
            })?;
            Ok(Some((id, token.clone())))
        };
        let [bos, eos] = ids;
        Ok(Self { tokens: [named(bos, "bos_token")?, named(eos, "eos_token")?], add })
    }

    /// A `tokenizer_config.json` that names them.
    pub(crate) fn config(&self) -> Map<String, Value> {
        let mut config = Map::new();
        for (key, token) in ["bos_token", "eos_token"].iter().zip(&self.tokens) {
            if let Some((_, token)) = token {
                config.insert((*key).to_owned(), token.as_str().into());
            }
        }
        config.insert("add_bos_token".to_owned(), self.add[0].into());
        if self.add[1] {
            config.insert("add_eos_token".to_owned(), true.into());
        }
        config.insert("clean_up_tokenization_spaces".to_owned(), false.into());
        config.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
        config
    }

    /// What puts them around a text, for other tools that read our files.
    pub(crate) fn post_processor(&self) -> Value {
        let [bos, eos] = [0, 1].map(|end| self.tokens[end].as_ref().filter(|_| self.add[end]));
        if bos.is_none() && eos.is_none() {
            return Value::Null;
        }
        let special =
            |end: Option<&(u32, String)>| end.map(|(_, token)| json!({"SpecialToken": {"id": token, "type_id": 0}}));
        let around = |names: &[&str]| {
            let texts = names.iter().map(|name| json!({"Sequence": {"id": name, "type_id": 0}}));
            special(bos).into_iter().chain(texts).chain(special(eos)).collect::<Vec<_>>()
        };
        let ids: Map<String, Value> = [bos, eos]
            .into_iter()
            .flatten()
            .map(|(id, token)| (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]})))
            .collect();
        json!({
            "type": "TemplateProcessing", "single": around(&["A"]), "pair": around(&["A", "B"]),
            "special_tokens": ids
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> BpeParts {
        BpeParts {
            tokens: ["<s>", "a", "b", "ab", "<m>"].map(str::to_owned).to_vec(),
            merges: vec!["a b".to_owned()],
            token_types: [3, 1, 1, 1, 4].map(TokenType::from).to_vec(),
            pre_tokenizer: PreTokenizer::Gpt2,
            ignore_merges: false,
            bos: Some(0),
            eos: None,
            add_bos: true,
            add_eos: false,
        }
    }

    #[test]
    fn parts_make_a_tokenizer() {
        let tokenizer = Tokenizer::from_bpe(parts()).unwrap();
        assert_eq!(tokenizer.encode("aab<m>", true).unwrap(), [0, 1, 3, 4]);
        assert_eq!(tokenizer.encode("aab<s>", false).unwrap(), [1, 3, 0]);
        assert_eq!(tokenizer.decode(&[0, 3, 4], true), "ab<m>");
        assert_eq!(tokenizer.decode(&[0, 3, 4], false), "<s>ab<m>");
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(0), None));
    }

    #[test]
    fn both_ends_are_added() {
        let parts = BpeParts { eos: Some(4), add_eos: true, ..parts() };
        let tokenizer = Tokenizer::from_bpe(parts).unwrap();
        assert_eq!(tokenizer.encode("ab", true).unwrap(), [0, 3, 4]);
        assert_eq!(tokenizer.encode("ab", false).unwrap(), [3]);
    }

    #[test]
    fn parts_that_do_not_fit_are_errors() {
        let refused = |change: fn(&mut BpeParts)| {
            let mut parts = parts();
            change(&mut parts);
            Tokenizer::from_bpe(parts).unwrap_err().to_string()
        };
        assert!(refused(|p| p.tokens[2] = "a".to_owned()).contains("twice"));
        assert!(refused(|p| p.merges = vec!["a c".to_owned()]).contains('c'));
        assert!(refused(|p| p.merges = vec!["ab".to_owned()]).contains("erge"));
        assert!(refused(|p| p.bos = Some(9)).contains("bos_token"));
        assert!(refused(|p| p.token_types = vec![TokenType::Normal]).contains("types"));
    }
}
