//! Everything that can go wrong here, in words for the person who has to mend it.

use std::path::{Path, PathBuf};

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// `tokenizer.json`, or what stands for it, is no tokenizer that can be used.
    #[error("not a usable tokenizer: {0}")]
    Vocabulary(String),
    /// `tokenizer_config.json` contradicts itself or the vocabulary.
    #[error("tokenizer_config.json: {0}")]
    Config(String),
    /// The library refused a text.
    #[error("cannot encode the text: {0}")]
    Encode(String),
    /// A training configuration that cannot work.
    #[error("cannot train a tokenizer: {0}")]
    Train(String),
    /// The error lies in this file.
    #[error("{path}: {source}", path = path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { action, path, source }
    }

    pub(crate) fn within(self, path: &Path) -> Self {
        Self::In { path: path.to_owned(), source: Box::new(self) }
    }
}
