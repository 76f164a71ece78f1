//! Everything that can go wrong between a conversation and its tokens, in words for the person who has to mend it.

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vocabulary refused a text or a file.
    #[error(transparent)]
    Tokenizer(#[from] picnic_tokenizer::Error),
    /// A chat template does not compile, or stopped while rendering.
    #[error("chat template: {0}")]
    Template(String),
    /// A file beside the tokenizer's cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no chat template to render with.
    #[error(
        "the model has no chat template: give one as `chat_template` in tokenizer_config.json, \
         or encode plain text"
    )]
    NoTemplate,
    /// A form that no answer can be held to.
    #[error("the {form} cannot be used: {problem}")]
    Form {
        /// What kind of form it is.
        form: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A model whose answers cannot be held to any form.
    #[error("the answers of this model cannot be held to a form: {0}")]
    Unguidable(String),
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
