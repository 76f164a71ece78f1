//! Text ↔ token ids, messages ↔ prompts.
//!
//! * [`Tokenizer`]: a BPE or Unigram vocabulary, read from a Hugging Face folder ([`Tokenizer::from_dir`]), from
//!   what a GGUF file says ([`Tokenizer::from_gguf`]) or trained here ([`Tokenizer::train`]).
//! * [`DecodeStream`]: ids to text one id at a time, cut only between characters.
//! * [`Message`] and [`ChatTemplate`]: a conversation in the wire names of OpenAI and DeepSeek, and the
//!   model's own Jinja template that makes one prompt of it.
//!
//! Strings and ids only. Nothing here knows of models, files of weights or HTTP. WordPiece
//! vocabularies, tiktoken's and Mistral's own files are refused by name.

mod added_tokens;
mod bpe;
mod byte_level;
mod decoder;
mod error;
mod folder;
mod gguf;
mod library;
mod message;
mod picnic;
mod plain;
mod pre_tokenizer;
mod python;
mod sentencepiece;
mod stream;
mod template;
mod tokenizer;
mod train;
mod vocab_merges;

pub use bpe::{BpeParts, TokenType};
pub use error::Error;
pub use gguf::GgufParts;
pub use message::{FunctionCall, Message, Role, ToolCall};
pub use picnic::{ASSISTANT, BOS, CHAT_TEMPLATE, EOS, MARKS, USER};
pub use plain::{R1_ZERO, page_template};
pub use pre_tokenizer::PreTokenizer;
pub use stream::DecodeStream;
pub use template::{ChatOptions, ChatTemplate};
pub use tokenizer::Tokenizer;
pub use train::TrainConfig;

/// What the fallible functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
