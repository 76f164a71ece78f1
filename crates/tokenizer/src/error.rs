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
    /// A chat template does not compile, or stopped while rendering.
    #[error("chat template: {0}")]
    Template(String),
    /// There is no chat template to render with.
    #[error(
        "the model has no chat template: give one as `chat_template` in tokenizer_config.json, \
         or encode plain text"
    )]
    NoTemplate,
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

impl From<minijinja::Error> for Error {
    /// Keeps the line number and the chain of causes, which `minijinja` reports apart.
    fn from(error: minijinja::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        Self::Template(text)
    }
}
