//! A folder with `vocab.json` and `merges.txt` and no `tokenizer.json`: GPT-2's files, which Qwen2 has too.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::bpe::ByteLevelBpe;
use crate::{Error, PreTokenizer, Result};

/// The `tokenizer.json` of a `vocab.json` and a `merges.txt`. `config` is the folder's `tokenizer_config.json`, in which
/// what it leaves open is filled in; `model_type` is that of its `config.json`.
///
/// # Errors
/// Files that are not what their names say, or a class of tokenizer that is not byte-level BPE.
pub(crate) fn to_json(
    vocab: &[u8],
    merges: &[u8],
    config: &mut Map<String, Value>,
    model_type: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Value> {
    let broken = |what: &str, reason: String| Error::Vocabulary(format!("{what}: {reason}"));
    let vocab: BTreeMap<String, u32> =
        serde_json::from_slice(vocab).map_err(|error| broken("vocab.json", error.to_string()))?;
    let merges = std::str::from_utf8(merges).map_err(|error| broken("merges.txt", error.to_string()))?;
    let merges: Vec<String> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty()).map(str::to_owned).collect();
    let class = config.get("tokenizer_class").and_then(Value::as_str).map(str::to_owned);
    let (pre_tokenizer, normalizer, defaults) = rule(class.as_deref(), model_type, notes)?;
    for &(key, token) in defaults {
        // A class's own token holds only where the vocabulary has it.
        if !config.contains_key(key) && (vocab.contains_key(token) || is_added(config, token)) {
            config.insert(key.to_owned(), token.into());
        }
    }
    config.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
    let add_prefix_space = config.get("add_prefix_space") == Some(&Value::Bool(true));
    let json = ByteLevelBpe {
        vocab: vocab.into_iter().map(|(token, id)| (token, id.into())).collect(),
        merges: &merges,
        added: Vec::new(),
        pre_tokenizer: pre_tokenizer.to_json(add_prefix_space),
        normalizer,
        post_processor: Value::Null,
        ignore_merges: false,
    };
    Ok(json.to_json())
}

/// How a class cuts text, what it does to it first, and the tokens that it has where the folder names none.
type Rule = (PreTokenizer, Value, &'static [(&'static str, &'static str)]);

fn rule(class: Option<&str>, model_type: Option<&str>, notes: &mut Vec<String>) -> Result<Rule> {
    const GPT2: &[(&str, &str)] = &[("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>")];
    const QWEN2: &[(&str, &str)] = &[("eos_token", "<|endoftext|>")];
    let qwen2 = (PreTokenizer::Qwen2, PreTokenizer::Qwen2.normalizer(), QWEN2);
    let gpt2 = (PreTokenizer::Gpt2, Value::Null, GPT2);
    Ok(match class.map(|class| class.strip_suffix("Fast").unwrap_or(class)) {
        Some("Qwen2Tokenizer") => qwen2,
        Some("GPT2Tokenizer" | "CodeGenTokenizer") => gpt2,
        Some("GPTNeoXTokenizer") => (PreTokenizer::Gpt2, json!({"type": "NFC"}), GPT2),
        Some(other) if ["Bert", "CLIP", "Roberta", "Whisper", "Bart"].iter().any(|kind| other.starts_with(kind)) => {
            return Err(Error::Vocabulary(format!(
                "vocab.json and merges.txt are a {other}'s, of which only a tokenizer.json can be read"
            )));
        }
        _ if model_type.is_some_and(|kind| kind.starts_with("qwen")) => {
            notes.push("vocab.json and merges.txt are read as Qwen2's, by config.json's model_type".to_owned());
            qwen2
        }
        _ => {
            notes.push("tokenizer_config.json names no class that is known here: text is cut as GPT-2 does".to_owned());
            gpt2
        }
    })
}

fn is_added(config: &Map<String, Value>, token: &str) -> bool {
    let added = config.get("added_tokens_decoder").and_then(Value::as_object);
    added.is_some_and(|added| added.values().any(|entry| entry["content"] == token))
}
