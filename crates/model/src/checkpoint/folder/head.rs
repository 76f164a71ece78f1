//! Whether the head is the embedding: the file is asked where it and `config.json` disagree, and either name will do for
//! both.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::checkpoint::mapped::MappedFile;
use crate::checkpoint::tensor::Entry;

const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// `tie_word_embeddings` as the tensors have it, where that is not what `config` says; then there is a note. A tied matrix
/// that is there as the head alone becomes the embedding.
pub(super) fn tied(
    tensors: &mut BTreeMap<String, Entry>,
    files: &[MappedFile],
    config: &Value,
    notes: &mut Vec<String>,
) -> Option<bool> {
    let said = config.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false);
    if said && !tensors.contains_key(EMBEDDING) {
        let head = tensors.remove(HEAD)?;
        notes.push(format!("there is no `{EMBEDDING}`: `{HEAD}`, which config.json ties to it, is used as both"));
        tensors.insert(EMBEDDING.to_owned(), head);
    }
    let embedding = tensors.get(EMBEDDING)?;
    match tensors.get(HEAD) {
        Some(head) if said && !equal(head, embedding, files) => {
            notes.push(format!(
                "config.json says tie_word_embeddings, but `{HEAD}` is not the embedding: the file's own head is used"
            ));
            Some(false)
        }
        None if !said => {
            notes.push(format!("there is no `{HEAD}`: the embedding is used as the head"));
            Some(true)
        }
        _ => None,
    }
}

/// Whether two tensors hold the same values, compared a row at a time.
fn equal(a: &Entry, b: &Entry, files: &[MappedFile]) -> bool {
    let row = |entry: &Entry, row: usize| entry.slice(row..row + 1)?.values(files);
    a.shape == b.shape && (0..a.shape.first().copied().unwrap_or(0)).all(|i| row(a, i) == row(b, i))
}
