//! A byte-level BPE tokenizer from its parts: what a GGUF file holds as lists of strings, and what training
//! makes. The parts become the JSON of a `tokenizer.json`, so there is one way into a [`Tokenizer`].

use std::collections::HashSet;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::{Error, Result, Tokenizer};

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
    /// Begins every sequence.
    pub bos: Option<u32>,
    /// Ends every sequence or turn.
    pub eos: Option<u32>,
    /// Whether `encode` begins with `bos` when asked for special tokens.
    pub add_bos: bool,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Made by merging.
    Normal,
    /// Found whole in the text, and shown when decoding.
    UserDefined,
    /// Found whole in the text, and left out when decoding without special tokens.
    Control,
}

impl From<i32> for TokenType {
    /// From a number of `tokenizer.ggml.token_type`. Unknown, unused and byte tokens count as normal.
    fn from(number: i32) -> Self {
        match number {
            3 => Self::Control,
            4 => Self::UserDefined,
            _ => Self::Normal,
        }
    }
}

/// How text is cut into words, within which alone tokens are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreTokenizer {
    /// GPT-2: letters, numbers, other, each with a leading space.
    Gpt2,
    /// SmolLM: every digit alone, then as GPT-2.
    SmolLm,
    /// Llama 3: numbers in groups of up to three.
    Llama3,
    /// Qwen2 and Qwen3: every digit alone, text in NFC.
    Qwen2,
    /// DeepSeek-V3 and R1: numbers in groups of up to three, Chinese and Japanese apart.
    DeepSeekV3,
}

impl FromStr for PreTokenizer {
    type Err = Error;

    /// From a name of `tokenizer.ggml.pre`.
    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "gpt-2" | "default" => Self::Gpt2,
            "smollm" => Self::SmolLm,
            "llama-bpe" | "llama3" => Self::Llama3,
            "qwen2" | "deepseek-r1-qwen" => Self::Qwen2,
            "deepseek-v3" => Self::DeepSeekV3,
            _ => {
                return Err(Error::Vocabulary(format!(
                    "the pre-tokenizer `{name}` is not known here (gpt-2, smollm, llama-bpe, qwen2, \
                     deepseek-v3 are): use the model's Hugging Face folder with its tokenizer.json"
                )));
            }
        })
    }
}

impl PreTokenizer {
    /// The `pre_tokenizer` of a `tokenizer.json`.
    fn to_json(self) -> Value {
        let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let byte_level = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex
            })
        };
        let steps = match self {
            Self::Gpt2 => vec![byte_level(true)],
            Self::SmolLm => vec![json!({"type": "Digits", "individual_digits": true}), byte_level(true)],
            Self::Llama3 => vec![split(&contractions_words_numbers("{1,3}")), byte_level(false)],
            Self::Qwen2 => vec![split(&contractions_words_numbers("")), byte_level(false)],
            Self::DeepSeekV3 => vec![
                split(r"\p{N}{1,3}"),
                split(r"[一-龥\u3040-ゟ゠-ヿ]+"),
                split(concat!(
                    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
                    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
                    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                )),
                byte_level(false),
            ],
        };
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}

/// The pattern that Llama 3 and Qwen2 share, but for how many digits stay together.
fn contractions_words_numbers(digits: &str) -> String {
    format!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

impl Tokenizer {
    /// A tokenizer from its parts.
    ///
    /// # Errors
    /// When the parts do not fit together: a token twice, a merge of tokens that do not exist, ids
    /// beyond the vocabulary.
    pub fn from_bpe(parts: BpeParts) -> Result<Self> {
        let mut config = Map::new();
        for (key, id) in [("bos_token", parts.bos), ("eos_token", parts.eos)] {
            let Some(id) = id else { continue };
            let token = parts.tokens.get(id as usize).ok_or_else(|| {
                Error::Vocabulary(format!("the id {id} of the {key} lies beyond the {} tokens", parts.tokens.len()))
            })?;
            config.insert(key.to_owned(), token.as_str().into());
        }
        config.insert("add_bos_token".to_owned(), parts.add_bos.into());
        config.insert("clean_up_tokenization_spaces".to_owned(), false.into());
        config.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
        Self::from_json(parts.to_json()?.to_string().as_bytes(), config)
    }
}

impl BpeParts {
    /// The `tokenizer.json`.
    fn to_json(&self) -> Result<Value> {
        let count = self.tokens.len();
        if !self.token_types.is_empty() && self.token_types.len() != count {
            return Err(Error::Vocabulary(format!("{count} tokens but {} token types", self.token_types.len())));
        }
        let mut seen = HashSet::new();
        if let Some(token) = self.tokens.iter().find(|token| !seen.insert(token.as_str())) {
            return Err(Error::Vocabulary(format!("the token {token:?} occurs twice")));
        }
        let vocab: Map<String, Value> = self.tokens.iter().cloned().zip((0u32..).map(Value::from)).collect();
        let added: Vec<Value> = self
            .token_types
            .iter()
            .enumerate()
            .filter(|(id, kind)| **kind != TokenType::Normal && !self.tokens[*id].is_empty())
            .map(|(id, kind)| {
                json!({
                    "id": id, "content": self.tokens[id], "special": *kind == TokenType::Control,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false
                })
            })
            .collect();
        let normalizer = match self.pre_tokenizer {
            PreTokenizer::Qwen2 => json!({"type": "NFC"}),
            _ => Value::Null,
        };
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": self.pre_tokenizer.to_json(),
            "post_processor": self.post_processor(),
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": self.pre_tokenizer == PreTokenizer::Llama3,
                "vocab": vocab, "merges": self.merges
            }
        }))
    }

    /// What puts `bos` in front, for other tools that read our files.
    fn post_processor(&self) -> Value {
        let bos = self.bos.filter(|_| self.add_bos);
        let Some((id, token)) = bos.and_then(|id| Some((id, self.tokens.get(id as usize)?))) else {
            return Value::Null;
        };
        let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
        let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
        json!({
            "type": "TemplateProcessing",
            "single": [special, sequence("A")],
            "pair": [special, sequence("A"), sequence("B")],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}
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
            bos: Some(0),
            eos: None,
            add_bos: true,
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
        assert!("nonsense".parse::<PreTokenizer>().is_err());
    }
}
