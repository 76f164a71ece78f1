//! Text ↔ token ids.
//!
//! * [`Tokenizer`]: a BPE or Unigram vocabulary, read from a Hugging Face folder ([`Tokenizer::from_dir`]), from
//!   what a GGUF file says ([`Tokenizer::from_gguf`]) or trained here ([`Tokenizer::train`]).
//! * [`DecodeStream`]: ids to text one id at a time, cut only between characters.
//!
//! Strings and ids only. Nothing here knows of conversations (`picnic-chat`), models or files of weights. WordPiece
//! vocabularies, tiktoken's and Mistral's own files are refused by name.

mod added_tokens;
mod bpe;
mod breaks;
mod byte_level;
mod decoder;
mod error;
mod folder;
mod gguf;
mod library;
mod picnic;
mod pre_tokenizer;
mod sentencepiece;
mod stream;
mod tokenizer;
mod train;
mod vocab_merges;

pub use bpe::{BpeParts, TokenType};
pub use error::Error;
pub use gguf::GgufParts;
pub use picnic::{ASSISTANT, BOS, EOS, MARKS, USER};
pub use pre_tokenizer::PreTokenizer;
pub use stream::DecodeStream;
pub use tokenizer::Tokenizer;
pub use train::TrainConfig;

/// What the fallible functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
