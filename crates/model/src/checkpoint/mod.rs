//! Checkpoints on disk: Hugging Face folders and GGUF files, read and written.
//!
//! A header is read and checked whole when a checkpoint is opened: after that every tensor's bytes are known to lie inside
//! its file, and nothing is allocated that the file's own size does not warrant. Tensors come one at a time, on demand,
//! from mapped memory: as f32, or as rows in the type in which they are stored. Left out: tokenizer files but for GGUF's,
//! optimizer state, and products.

mod encoding;
mod error;
mod folder;
mod gguf;
mod mapped;
mod refused;
mod safetensors;
mod scales;
mod tensor;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::ModelConfig;
use encoding::Encoding;
use gguf::GgufModel;
use mapped::MappedFile;
use tensor::{Entry, Source};

pub use error::CheckpointError;
pub use gguf::{GgufTokenizer, write_gguf};
pub use scales::Scales;
pub use tensor::StoredRows;
pub use write::{FloatType, SHARD_BYTES, TensorView, Values, write_folder};

/// An opened checkpoint: tensors by their Hugging Face names, and the model's configuration.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, Entry>,
    gguf: Option<GgufModel>,
    /// Whether the head is the embedding, where `config.json` is wrong about it.
    tied: Option<bool>,
    notes: Vec<String>,
}

impl Checkpoint {
    fn new(path: &Path, files: Vec<MappedFile>, tensors: BTreeMap<String, Entry>) -> Self {
        Checkpoint { path: path.to_owned(), files, tensors, gguf: None, tied: None, notes: Vec::new() }
    }

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
            gguf::open(path)
        } else if extension.eq_ignore_ascii_case("safetensors") || !path.exists() {
            folder::open_file(path)
        } else {
            let file = MappedFile::open(path)?;
            Err(refused::by_bytes(path, file.bytes()).unwrap_or_else(|| {
                let cure = "give a Hugging Face folder or a file of one of these kinds";
                CheckpointError::refused(path, "is neither a folder nor a .safetensors or .gguf file", cure)
            }))
        }
    }

    /// What was guessed or repaired in reading, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
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
    /// No such tensor, or a stored type that we do not decode (integers, rare GGUF types).
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let entry = self.locate(name)?;
        entry.values(&self.files).ok_or_else(|| self.unsupported(name, entry, self.usual_types()))
    }

    /// A matrix of a certain shape as it is stored, for products that decode it themselves.
    ///
    /// # Errors
    /// No such tensor, another shape than the `expected` one, or a stored type that we do not decode.
    pub fn stored_rows(&self, name: &str, expected: [usize; 2]) -> Result<StoredRows, CheckpointError> {
        let entry = self.expected(name, &expected)?;
        entry.stored(&self.files).ok_or_else(|| self.unsupported(name, entry, self.usual_types()))
    }

    /// Gives back the memory in which a tensor of the file lies mapped, once its values are kept elsewhere. It can
    /// still be read, from the file anew.
    pub fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name) {
            entry.slices().for_each(|slice| self.files[slice.file].release(slice.bytes.clone()));
        }
    }

    /// An I64 tensor's values, such as the token ids beside a golden output.
    ///
    /// # Errors
    /// No such tensor, or another stored type.
    pub fn read_i64(&self, name: &str) -> Result<Vec<i64>, CheckpointError> {
        let entry = self.locate(name)?;
        match &entry.source {
            Source::Slice(slice) if slice.encoding == Encoding::I64 => {
                let words = slice.bytes(&self.files).as_chunks().0.iter();
                Ok(words.map(|word| i64::from_le_bytes(*word)).collect())
            }
            _ => Err(self.unsupported(name, entry, "I64")),
        }
    }

    /// [`Checkpoint::read_f32`] of a tensor that the model's code needs in a certain shape.
    ///
    /// # Errors
    /// Also another shape than the `expected` one; then nothing is decoded.
    pub fn read_expected(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        self.expected(name, expected)?;
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
        let mut config = ModelConfig::from_file(&folder.join("config.json"))?;
        config.tie_word_embeddings = self.tied.unwrap_or(config.tie_word_embeddings);
        Ok(config)
    }

    /// A hash (BLAKE3) of every byte of the files of weights. Nothing is sampled, so checkpoints that differ in one weight
    /// differ in it; and it is read from the mapped files that the weights were read from, so a file that was replaced
    /// meanwhile does not lend its hash to the one that was loaded. `config.json` is no part of it: a loaded model knows
    /// its configuration.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for file in &self.files {
            // With its length ahead, no file can be taken for the end of another.
            hasher.update(&(file.bytes().len() as u64).to_le_bytes()).update(file.bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// A GGUF file's tokenizer; `None` for other checkpoints, whose tokenizer is in its own files.
    pub fn gguf_tokenizer(&self) -> Option<&GgufTokenizer> {
        self.gguf.as_ref().map(|gguf| &gguf.tokenizer)
    }

    fn locate(&self, name: &str) -> Result<&Entry, CheckpointError> {
        self.tensors
            .get(name)
            .ok_or_else(|| CheckpointError::MissingTensor { file: self.path.clone(), tensor: name.to_owned() })
    }

    fn expected(&self, name: &str, expected: &[usize]) -> Result<&Entry, CheckpointError> {
        let entry = self.locate(name)?;
        if entry.shape == expected {
            return Ok(entry);
        }
        Err(CheckpointError::WrongShape {
            file: self.file_of(entry).to_owned(),
            tensor: name.to_owned(),
            found: entry.shape.clone(),
            expected: expected.to_vec(),
        })
    }

    fn unsupported(&self, name: &str, entry: &Entry, wanted: &'static str) -> CheckpointError {
        CheckpointError::UnsupportedType {
            file: self.file_of(entry).to_owned(),
            tensor: name.to_owned(),
            found: entry.slices().map(|slice| slice.encoding.to_string()).collect::<Vec<_>>().join(" and "),
            wanted,
        }
    }

    /// What to have instead of a type that is not read.
    fn usual_types(&self) -> &'static str {
        if self.gguf.is_some() { "F16, Q8_0, Q4_K or another usual type" } else { "F32, F16 or BF16" }
    }

    fn file_of(&self, entry: &Entry) -> &Path {
        entry.slices().next().map_or(&self.path, |slice| self.files[slice.file].path())
    }
}

#[cfg(test)]
mod tests;
