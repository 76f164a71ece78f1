//! Checkpoints on disk: Hugging Face folders (read and written) and GGUF files (read).
//!
//! A header is read and checked whole when a checkpoint is opened: after that every tensor's bytes
//! are known to lie inside its file, and nothing is allocated that the file's own size does not
//! warrant. Tensors are decoded to f32 one at a time, on demand, from mapped memory. Left out:
//! tokenizer files, optimizer state, and weights kept in their stored form.

mod encoding;
mod error;
mod folder;
mod gguf;
mod gguf_llama;
mod mapped;
mod safetensors;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::ModelConfig;
use encoding::Encoding;
use gguf_llama::GgufModel;
use mapped::MappedFile;

pub use error::CheckpointError;
pub use gguf_llama::GgufTokenizer;
pub use write::{FloatType, SHARD_BYTES, TensorView, write_folder};

/// An opened checkpoint: tensors by their Hugging Face names, and the model's configuration.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, Entry>,
    gguf: Option<GgufModel>,
}

/// Where a tensor lies and how it is stored. Its range has been checked against its file.
#[derive(Debug)]
struct Entry {
    /// Index of the file.
    file: usize,
    encoding: Encoding,
    /// Sizes, the fastest-running last.
    shape: Vec<usize>,
    bytes: Range<usize>,
    /// Set where rows of a head are stored in rotary pairs: the width of a head.
    paired_rows: Option<usize>,
}

impl Checkpoint {
    /// Opens a folder with `model.safetensors` or `model.safetensors.index.json`, a single
    /// `.safetensors` file, or a `.gguf` file.
    ///
    /// # Errors
    /// Nothing there, a file that cannot be read, or a header that lies.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if path.is_dir() {
            folder::open(path)
        } else if extension.eq_ignore_ascii_case("gguf") {
            gguf_llama::open(path)
        } else if extension.eq_ignore_ascii_case("safetensors") || !path.exists() {
            folder::open_files(path, vec![MappedFile::open(path)?])
        } else {
            Err(CheckpointError::damaged(
                path,
                "is neither a folder nor a .safetensors or .gguf file",
                "give a Hugging Face folder or a file of one of these kinds",
            ))
        }
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Sizes of a tensor, the fastest-running last; `None` if there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// A tensor's values in row-major order, whatever floating-point or block type stores them.
    ///
    /// # Errors
    /// No such tensor, or a stored type that we do not decode (FP8, integers, rare GGUF types).
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let (entry, bytes) = self.locate(name)?;
        let mut values =
            entry.encoding.decode(bytes).ok_or_else(|| self.unsupported(name, entry, "F32, F16 or BF16"))?;
        if let Some(head_dim) = entry.paired_rows {
            values = gguf_llama::unpair_rows(&values, entry.shape[0], head_dim);
        }
        Ok(values)
    }

    /// An I64 tensor's values, such as the token ids beside a golden output.
    ///
    /// # Errors
    /// No such tensor, or another stored type.
    pub fn read_i64(&self, name: &str) -> Result<Vec<i64>, CheckpointError> {
        let (entry, bytes) = self.locate(name)?;
        if entry.encoding != Encoding::I64 {
            return Err(self.unsupported(name, entry, "I64"));
        }
        let words = bytes.as_chunks().0.iter();
        Ok(words.map(|word| i64::from_le_bytes(*word)).collect())
    }

    /// [`Checkpoint::read_f32`] of a tensor that the model's code needs in a certain shape.
    ///
    /// # Errors
    /// Also another shape than the `expected` one; then nothing is decoded.
    pub fn read_expected(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let (entry, _) = self.locate(name)?;
        if entry.shape != expected {
            return Err(CheckpointError::WrongShape {
                file: self.files[entry.file].path().to_owned(),
                tensor: name.to_owned(),
                found: entry.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        self.read_f32(name)
    }

    /// The model's configuration: a folder's `config.json`, or a GGUF file's own metadata.
    ///
    /// # Errors
    /// It is missing, or describes a model that we cannot run.
    pub fn config(&self) -> Result<ModelConfig, CheckpointError> {
        if let Some(gguf) = &self.gguf {
            return Ok(gguf.config.clone());
        }
        let folder = if self.path.is_dir() { &self.path } else { self.path.parent().unwrap_or(Path::new("")) };
        Ok(ModelConfig::from_file(&folder.join("config.json"))?)
    }

    /// A GGUF file's tokenizer; `None` for other checkpoints, whose tokenizer is in its own files.
    pub fn gguf_tokenizer(&self) -> Option<&GgufTokenizer> {
        self.gguf.as_ref().map(|gguf| &gguf.tokenizer)
    }

    fn locate(&self, name: &str) -> Result<(&Entry, &[u8]), CheckpointError> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| CheckpointError::MissingTensor { file: self.path.clone(), tensor: name.to_owned() })?;
        Ok((entry, &self.files[entry.file].bytes()[entry.bytes.clone()]))
    }

    fn unsupported(&self, name: &str, entry: &Entry, wanted: &'static str) -> CheckpointError {
        CheckpointError::UnsupportedType {
            file: self.files[entry.file].path().to_owned(),
            tensor: name.to_owned(),
            found: entry.encoding.to_string(),
            wanted,
        }
    }
}

#[cfg(test)]
mod tests;
