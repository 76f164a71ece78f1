//! Text ↔ token ids.
//!
//! * [`Tokenizer`]: a byte-level BPE vocabulary, read from a Hugging Face folder ([`Tokenizer::from_dir`]),
//!   from a GGUF file's strings ([`Tokenizer::from_bpe`]) or trained here ([`Tokenizer::train`]).
//! * [`DecodeStream`]: ids to text one id at a time, cut only between characters.
//!
//! Strings and ids only. Nothing here knows of conversations (`picnic-chat`), models or files of weights. SentencePiece,
//! WordPiece and Unigram vocabularies are refused with an error.

mod bpe;
mod byte_level;
mod error;
mod picnic;
mod stream;
mod tokenizer;
mod train;

pub use bpe::{BpeParts, PreTokenizer, TokenType};
pub use error::Error;
pub use picnic::{ASSISTANT, BOS, EOS, MARKS, USER};
pub use stream::DecodeStream;
pub use tokenizer::Tokenizer;
pub use train::TrainConfig;

/// What the fallible functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
