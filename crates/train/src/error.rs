//! What can go wrong in a run, said in one line each.

use std::path::{Path, PathBuf};

/// Why a run stopped. What it had written before stays whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A recipe that cannot be used.
    #[error(transparent)]
    Recipe(#[from] crate::recipe::RecipeError),
    /// A configuration that cannot be used.
    #[error(transparent)]
    Config(#[from] picnic_model::config::ConfigError),
    /// A checkpoint that cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] picnic_model::checkpoint::CheckpointError),
    /// A tokenizer that cannot be made or used.
    #[error(transparent)]
    Tokenizer(#[from] picnic_tokenizer::Error),
    /// A model whose way of talking cannot be read or used.
    #[error(transparent)]
    Chat(#[from] picnic_chat::Error),
    /// A task that cannot be set up.
    #[error(transparent)]
    Task(#[from] picnic_tasks::TaskError),
    /// A prompt that the engine refuses.
    #[error(transparent)]
    Request(#[from] picnic_engine::RequestError),
    /// Memory that is not there.
    #[error(transparent)]
    Memory(#[from] picnic_model::OutOfMemory),
    /// A report that cannot be written.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// The system's refusal.
    #[error("{}: {source}; {cure}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        cure: &'static str,
    },
    /// Nothing to compute with.
    #[error(transparent)]
    Backend(#[from] picnic_model::backend::BackendError),
    /// A loss or gradient that is no number.
    #[error(
        "{stage}, step {step}: the {what} is {value}; lower optimizer.lr or optimizer.clip and start again{}",
        .checkpoint.as_ref().map_or(String::new(), |c| format!(", from the last good weights by base={}", c.display()))
    )]
    NotFinite {
        /// Which stage.
        stage: &'static str,
        /// At which step, from 1.
        step: u64,
        /// What is no number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The last checkpoint, which is a model like any other.
        checkpoint: Option<PathBuf>,
    },
    /// Multi-token prediction without a module for it.
    #[error(
        "{stage}: mtp_weight is {mtp_weight}, but the model has no module for multi-token prediction; \
         give mtp_weight=0 or another model"
    )]
    NoMtp {
        /// Which stage.
        stage: &'static str,
        /// What it asks for.
        mtp_weight: f64,
    },
    /// A sequence that the model has no positions for.
    #[error("{what} has {tokens} tokens, the model {positions} positions; lower max_tokens or choose another model")]
    TooLong {
        /// Which sequence.
        what: &'static str,
        /// Its length.
        tokens: usize,
        /// What there is room for.
        positions: usize,
    },
    /// A folder that a run would write over.
    #[error("{}: holds a model or an earlier run; continue a run with --resume, or choose another --out", .0.display())]
    Occupied(PathBuf),
    /// A folder that another process writes.
    #[error("{}: {holder}; wait for it, stop it, or choose another --out", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// Who writes there.
        holder: String,
    },
    /// A checkpoint of another run.
    #[error("{}: {problem}; resume with the recipe that made it, or choose another --out", path.display())]
    Resume {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A name under which there is no model.
    #[error("{problem}; {known}")]
    NoModel {
        /// What was asked for, and why it is no model.
        problem: String,
        /// Which models there are.
        known: String,
    },
    /// Nothing to learn from.
    #[error("{what}: {cure}")]
    Empty {
        /// What there is none of.
        what: String,
        /// What to do.
        cure: &'static str,
    },
    /// A broken line in a file of problems.
    #[error("{}:{line}: {problem}", path.display())]
    Problems {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl From<picnic_engine::GenerateError> for Error {
    fn from(error: picnic_engine::GenerateError) -> Error {
        match error {
            picnic_engine::GenerateError::Request(error) => Error::Request(error),
            picnic_engine::GenerateError::Memory(error) => Error::Memory(error),
        }
    }
}

impl Error {
    /// Names the file in a system error while writing.
    pub(crate) fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source, cure: "make room or choose another --out" }
    }

    /// Names the file in a system error while reading.
    pub(crate) fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source, cure: "give the path of a file that can be read" }
    }
}
