//! Tokenizers in folders: which of the files is the vocabulary, what else says something about it, and how it is saved.
//!
//! `tokenizer.json` holds all; where it is missing, `vocab.json` with `merges.txt` or `tokenizer.model` take its place.
//! `tokenizer_config.json` names special tokens and adds more; older folders have `special_tokens_map.json` and
//! `added_tokens.json` beside it. Saving always writes `tokenizer.json` and `tokenizer_config.json`. Left out, and
//! refused by name: `vocab.txt` (WordPiece), `tekken.json` and tiktoken files.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{Error, Result, Tokenizer, sentencepiece, vocab_merges};

/// The largest file that is read: sixteen times the largest tokenizer.json in use.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Files of vocabularies that are not supported, and what they are.
const REFUSED: [(&str, &str); 4] = [
    ("vocab.txt", "a WordPiece vocabulary"),
    ("tekken.json", "Mistral's own format"),
    ("tiktoken.model", "a tiktoken vocabulary"),
    ("qwen.tiktoken", "a tiktoken vocabulary"),
];

impl Tokenizer {
    /// Reads a Hugging Face folder: `tokenizer.json`, or else `vocab.json` with `merges.txt`, or else
    /// `tokenizer.model`; and where present `tokenizer_config.json`. [`Tokenizer::notes`] says what was guessed or left
    /// out.
    ///
    /// # Errors
    /// Nothing to read, or files that contradict themselves.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let mut config = read_object(dir, "tokenizer_config.json")?.unwrap_or_default();
        old_special_tokens(dir, &mut config)?;
        let mut notes = Vec::new();
        let json = vocabulary(dir, &mut config, &mut notes)?;
        let tokenizer = Self::from_json(&json, config).map_err(|error| error.within(dir))?;
        Ok(tokenizer.with_notes(notes))
    }

    /// Reads a `tokenizer.json` alone: no named special tokens.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(read_required(path)?).map_err(|error| error.within(path))
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into `dir`, which is
    /// made if need be. Each file appears whole or not at all. Equal tokenizers write equal bytes.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
        write_atomically(&dir.join("tokenizer.json"), &self.to_json()?)?;
        let config = serde_json::to_string_pretty(&self.config).map_err(|error| Error::Config(error.to_string()))?;
        write_atomically(&dir.join("tokenizer_config.json"), &config)
    }

    /// The text of `tokenizer.json`.
    pub fn to_json(&self) -> Result<String> {
        let json = self.library.to_string(true);
        json.map_err(|error| Error::Vocabulary(error.to_string()))
    }
}

/// The folder's `tokenizer.json`, or the one that its other files make.
fn vocabulary(dir: &Path, config: &mut Map<String, Value>, notes: &mut Vec<String>) -> Result<Vec<u8>> {
    if let Some(json) = read(&dir.join("tokenizer.json"))? {
        return Ok(json);
    }
    let json = if let Some(vocab) = read(&dir.join("vocab.json"))? {
        let merges = read_required(&dir.join("merges.txt"))?;
        // What the model is says how text is cut where the tokenizer's class does not.
        let model = read_object(dir, "config.json").ok().flatten().unwrap_or_default();
        let model_type = model.get("model_type").and_then(Value::as_str);
        vocab_merges::to_json(&vocab, &merges, config, model_type, notes)
    } else if let Some(model) = read(&dir.join("tokenizer.model"))? {
        sentencepiece::to_json(&model, config, notes)
    } else {
        let refused = REFUSED.iter().find(|(name, _)| dir.join(name).exists());
        return Err(match refused {
            Some((name, what)) => Error::Vocabulary(format!(
                "{name} is {what}; tokenizer.json, vocab.json with merges.txt, and tokenizer.model can be read"
            ))
            .within(dir),
            None => Error::io("read", &dir.join("tokenizer.json"), std::io::ErrorKind::NotFound.into()),
        });
    };
    json.map(|json| json.to_string().into_bytes()).map_err(|error| error.within(dir))
}

/// Brings `special_tokens_map.json` and `added_tokens.json` into `config`, as `transformers` does: they hold where
/// there is no `added_tokens_decoder`, which came after them.
fn old_special_tokens(dir: &Path, config: &mut Map<String, Value>) -> Result<()> {
    let old = !config.contains_key("added_tokens_decoder");
    for (key, token) in read_object(dir, "special_tokens_map.json")?.unwrap_or_default() {
        if old || !config.contains_key(&key) {
            config.insert(key, token);
        }
    }
    let Some(added) = read_object(dir, "added_tokens.json")?.filter(|_| old) else {
        return Ok(());
    };
    let special = crate::added_tokens::special(config);
    let mut decoder = Map::new();
    for (token, id) in added {
        let Some(id) = id.as_u64() else {
            return Err(Error::Config(format!("added_tokens.json gives {token:?} no id")).within(dir));
        };
        let flags = json!({
            "special": special.contains(&token), "normalized": !special.contains(&token), "content": token
        });
        if let Some(other) = decoder.insert(id.to_string(), flags) {
            let other = other["content"].to_string();
            return Err(
                Error::Config(format!("added_tokens.json gives the id {id} twice, once to {other}")).within(dir)
            );
        }
    }
    config.insert("added_tokens_decoder".to_owned(), decoder.into());
    Ok(())
}

/// A file of the folder that holds a JSON object, or `None` when there is no such file.
fn read_object(dir: &Path, name: &str) -> Result<Option<Map<String, Value>>> {
    let Some(bytes) = read(&dir.join(name))? else {
        return Ok(None);
    };
    let object = serde_json::from_slice(&bytes).map_err(|error| match name {
        "tokenizer_config.json" => Error::Config(error.to_string()).within(dir),
        _ => Error::Vocabulary(error.to_string()).within(&dir.join(name)),
    });
    object.map(Some)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let read = || {
        if fs::metadata(path)?.len() > MAX_FILE_BYTES {
            return Err(std::io::Error::other(format!(
                "it is larger than {} MiB, so hardly a tokenizer's",
                MAX_FILE_BYTES >> 20
            )));
        }
        fs::read(path)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

fn read_required(path: &Path) -> Result<Vec<u8>> {
    read(path)?.ok_or_else(|| Error::io("read", path, std::io::ErrorKind::NotFound.into()))
}

/// Writes beside the target and renames over it.
fn write_atomically(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("json.partial");
    let written = fs::File::create(&partial)
        .and_then(|mut file| {
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| {
        // Best effort: the error that matters is the one above.
        let _ = fs::remove_file(&partial);
        Error::io("write", path, error)
    })
}
