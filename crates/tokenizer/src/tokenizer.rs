//! [`Tokenizer`]: a vocabulary with its settings.
//!
//! Encoding is the `tokenizers` crate's. Decoding is ours, because a byte-level vocabulary decodes by
//! joining bytes, and the same bytes serve streaming and constraints.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::ModelWrapper;

use crate::byte_level::token_to_bytes;
use crate::{Error, Result};

/// The largest file that is read: sixteen times the largest tokenizer.json in use.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Text ↔ ids of one model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(crate) library: tokenizers::Tokenizer,
    /// `tokenizer_config.json` as it was read, so that saving loses nothing.
    config: Map<String, Value>,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    vocab_size: usize,
}

impl Tokenizer {
    /// Reads a Hugging Face folder: `tokenizer.json`, and where present `tokenizer_config.json`.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let config_path = dir.join("tokenizer_config.json");
        let config = match read(&config_path)? {
            None => Map::new(),
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| Error::Config(error.to_string()).within(dir))?
            }
        };
        let json = read_required(&dir.join("tokenizer.json"))?;
        Self::from_json(&json, config).map_err(|error| error.within(dir))
    }

    /// Reads a `tokenizer.json` alone: no named special tokens.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(read_required(path)?).map_err(|error| error.within(path))
    }

    /// As [`Self::from_file`], from the file's bytes.
    pub fn from_bytes(tokenizer_json: impl AsRef<[u8]>) -> Result<Self> {
        Self::from_json(tokenizer_json.as_ref(), Map::new())
    }

    pub(crate) fn from_json(tokenizer_json: &[u8], config: Map<String, Value>) -> Result<Self> {
        let library = byte_level_bpe(tokenizer_json)?;
        let special_tokens = special_tokens(&config);
        let id = |key: &str| match special_tokens.get(key) {
            None => Ok(None),
            Some(token) => library.token_to_id(token).map(Some).ok_or_else(|| {
                Error::Config(format!(
                    "`{key}` names {token:?}, which tokenizer.json does not have: add it or correct the name"
                ))
            }),
        };
        let (bos, eos) = (id("bos_token")?, id("eos_token")?);
        let largest = library.get_vocab(true).into_values().max();
        Ok(Self {
            add_bos: config.get("add_bos_token") == Some(&Value::Bool(true)),
            vocab_size: largest.map_or(0, |id| id as usize + 1),
            library,
            config,
            bos,
            eos,
        })
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into `dir`, which is made if need be. Each file appears whole or not at all. Equal tokenizers write equal bytes.
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
        Ok(ids)
    }

    /// The text of any ids. Ids that do not exist give nothing, bytes that are no UTF-8 give U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let ids = ids.iter().copied();
        let shown = ids.filter(|id| !(skip_special && self.is_special(*id)));
        let bytes: Vec<u8> = shown.filter_map(|id| self.token_bytes(id)).flatten().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes that `id` stands for: a piece of UTF-8, perhaps half of a character.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        self.library.id_to_token(id).map(|token| token_to_bytes(&token))
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
        special_tokens(&self.config)
    }

    /// One more than the largest id: the least number of rows that an embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id of a token as written in `tokenizer.json`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.library.token_to_id(token)
    }

    /// The token as written in `tokenizer.json`, in the alphabet of byte-level BPE.
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

    /// Whether `id` is a special token: one that is not part of the text.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.library.get_added_vocabulary();
        let token = added.get_added_tokens_decoder().get(&id);
        token.is_some_and(|token| token.special)
    }
}

/// Parses a `tokenizer.json` and refuses what is no byte-level BPE.
fn byte_level_bpe(json: &[u8]) -> Result<tokenizers::Tokenizer> {
    /// What is checked before the library sees the file, because there it would panic.
    #[derive(serde::Deserialize)]
    struct Skeleton {
        decoder: Option<Value>,
    }
    let refuse = |reason: String| Err(Error::Vocabulary(reason));
    match serde_json::from_slice(json) {
        Ok(Skeleton { decoder: Some(decoder) }) if decoder["type"] == "ByteLevel" => {}
        Ok(_) => return refuse("the decoder is not ByteLevel (a SentencePiece model?)".to_owned()),
        Err(error) => return refuse(error.to_string()),
    }
    let mut library = match contained(|| tokenizers::Tokenizer::from_bytes(json)) {
        Ok(library) => library,
        Err(reason) => return refuse(reason),
    };
    let ModelWrapper::BPE(model) = library.get_model() else {
        return refuse("the model's type is not BPE".to_owned());
    };
    if let Some(unknown) = &model.unk_token
        && library.token_to_id(unknown).is_none()
    {
        return refuse(format!("the unknown token {unknown:?} is not in the vocabulary"));
    }
    // Same text, same ids, all of them: no random merges, no cutting, no filling.
    if model.dropout.is_some() {
        let mut model = model.clone();
        model.dropout = None;
        library.with_model(model);
    }
    library.with_padding(None);
    if let Err(error) = library.with_truncation(None) {
        return refuse(error.to_string());
    }
    // What stands around every text is the same for all texts: one shows whether it works.
    match contained(|| library.encode_fast("a", true)) {
        Ok(_) => Ok(library),
        Err(reason) => refuse(reason),
    }
}

/// Runs the library, which panics on some malformed files (a post-processor that names an unknown token, a
/// subword prefix longer than a token), and makes an error of that.
fn contained<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, String> {
    // Nothing that a panic leaves half-done is used again: the caches inside check themselves.
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the file contradicts itself; compare it with the publisher's".to_owned()),
    }
}

/// `bos_token`, `eos_token`, … of a `tokenizer_config.json`, each a string or an object with `content`.
fn special_tokens(config: &Map<String, Value>) -> BTreeMap<String, String> {
    let tokens = config.iter().filter(|(key, _)| key.ends_with("_token"));
    tokens
        .filter_map(|(key, value)| {
            let token = value.get("content").unwrap_or(value).as_str()?;
            Some((key.clone(), token.to_owned()))
        })
        .collect()
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
