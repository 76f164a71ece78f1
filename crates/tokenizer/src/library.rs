//! The way into the `tokenizers` crate: a `tokenizer.json` is checked before the library sees it, and what the
//! library panics on becomes an error.
//!
//! Left out: WordPiece and WordLevel vocabularies, which no model that we run has.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use serde_json::Value;
use tokenizers::ModelWrapper;

use crate::decoder::Decoder;
use crate::{Error, Result};

/// Parses a `tokenizer.json`, and refuses what we cannot decode by bytes.
pub(crate) fn load(json: &[u8]) -> Result<(tokenizers::Tokenizer, Decoder)> {
    /// What is checked before the library sees the file, because there it would panic.
    #[derive(serde::Deserialize)]
    struct Skeleton {
        decoder: Option<Value>,
        model: Option<Kind>,
    }
    #[derive(serde::Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    let refuse = |reason: String| Err(Error::Vocabulary(reason));
    let skeleton: Skeleton = match serde_json::from_slice(json) {
        Ok(skeleton) => skeleton,
        Err(error) => return refuse(error.to_string()),
    };
    match skeleton.model.and_then(|model| model.kind).as_deref() {
        // Old files do not name the kind; the library tells by the other keys.
        None | Some("BPE" | "Unigram") => {}
        Some(other) => return refuse(not_supported(other)),
    }
    let decoder = Decoder::from_json(&skeleton.decoder.unwrap_or_default())?;
    let mut library = match contained(|| tokenizers::Tokenizer::from_bytes(json)) {
        Ok(library) => library,
        Err(reason) => return refuse(reason),
    };
    match library.get_model() {
        ModelWrapper::BPE(model) => {
            if let Some(unknown) = &model.unk_token
                && library.token_to_id(unknown).is_none()
            {
                return refuse(format!("the unknown token {unknown:?} is not in the vocabulary"));
            }
            // Same text, same ids: no random merges.
            if model.dropout.is_some() {
                let mut model = model.clone();
                model.dropout = None;
                library.with_model(model);
            }
        }
        ModelWrapper::Unigram(_) => {}
        ModelWrapper::WordPiece(_) => return refuse(not_supported("WordPiece")),
        ModelWrapper::WordLevel(_) => return refuse(not_supported("WordLevel")),
    }
    // All of the text and nothing else: no cutting, no filling.
    library.with_padding(None);
    if let Err(error) = library.with_truncation(None) {
        return refuse(error.to_string());
    }
    // What stands around every text is the same for all texts, so one text shows whether it works.
    match contained(|| library.encode_fast("", true)) {
        Ok(_) => Ok((library, decoder)),
        Err(reason) => refuse(reason),
    }
}

fn not_supported(kind: &str) -> String {
    format!("its vocabulary is of the kind {kind}; BPE and Unigram are supported")
}

/// Runs the library, which panics on some malformed files (a post-processor that names an unknown token, a
/// subword prefix longer than a token), and makes an error of that without a word on standard error.
pub(crate) fn contained<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, String> {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    // Nothing that a panic leaves half-done is used again: the caches inside check themselves.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    match result {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the file contradicts itself; compare it with the publisher's".to_owned()),
    }
}
