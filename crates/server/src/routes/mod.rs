//! One route a file.

pub(crate) mod chat_completions;
pub(crate) mod health;
pub(crate) mod models;
