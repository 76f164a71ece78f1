//! What can be wrong with a checkpoint, each on one line: file, tensor, problem, cure.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::ops::OutOfMemory;

/// A checkpoint that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The parameters do not fit into memory.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}; {cure}", file.display())]
    Io {
        /// The file or folder at fault.
        file: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
        /// What to do.
        cure: &'static str,
    },
    /// The content breaks its format's rules.
    #[error("{}: {problem}; {cure}", file.display())]
    Damaged {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong, with the tensor's name where there is one.
        problem: String,
        /// What to do.
        cure: String,
    },
    /// A known format or setting that is not read here.
    #[error("{}: {what}; {cure}", file.display())]
    Refused {
        /// The file or folder.
        file: PathBuf,
        /// What it is.
        what: String,
        /// What to do.
        cure: String,
    },
    /// The model needs a tensor that is not there.
    #[error(
        "{}: tensor `{tensor}` is missing; \
         check that model_type and the sizes of its configuration are this checkpoint's",
        file.display()
    )]
    MissingTensor {
        /// The checkpoint.
        file: PathBuf,
        /// The tensor's Hugging Face name.
        tensor: String,
    },
    /// A tensor's shape is not what the configuration implies.
    #[error(
        "{}: tensor `{tensor}` has shape {found:?}, but the configuration implies {expected:?}; \
         check that config.json belongs to these weights",
        file.display()
    )]
    WrongShape {
        /// The file that holds the tensor.
        file: PathBuf,
        /// The tensor's Hugging Face name.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the model needs.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a type that we do not decode.
    #[error(
        "{}: tensor `{tensor}` is stored as {found}, which cannot be read here; \
         convert the checkpoint so that it is {wanted}",
        file.display()
    )]
    UnsupportedType {
        /// The file that holds the tensor.
        file: PathBuf,
        /// The tensor's Hugging Face name.
        tensor: String,
        /// The stored type.
        found: String,
        /// Types that would do.
        wanted: &'static str,
    },
    /// A tensor to be written does not fit its shape, its name's uniqueness or the stored type.
    #[error("tensor `{tensor}` cannot be written: {problem}")]
    Unwritable {
        /// The tensor's name.
        tensor: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The configuration is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The cure for content that no correct writer produces.
pub(super) const FETCH_AGAIN: &str = "the file is damaged: fetch or write it again";

impl CheckpointError {
    /// `problem` may repeat words of the file, so it is cut to what fits on a line.
    pub(super) fn damaged(file: &Path, problem: impl Into<String>, cure: impl Into<String>) -> Self {
        let problem = problem.into().chars().take(400).collect();
        CheckpointError::Damaged { file: file.to_owned(), problem, cure: cure.into() }
    }

    /// `what` may repeat words of the file, as above.
    pub(super) fn refused(file: &Path, what: impl Into<String>, cure: impl Into<String>) -> Self {
        let what = what.into().chars().take(400).collect();
        CheckpointError::Refused { file: file.to_owned(), what, cure: cure.into() }
    }
}

/// A name from a file as an error may repeat it: one line, and not longer than that.
pub(super) fn quoted(name: &str) -> String {
    let line: String = name.chars().flat_map(char::escape_debug).take(80).collect();
    format!("`{line}`")
}
