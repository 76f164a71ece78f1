//! Text ↔ token ids, messages ↔ prompts.
//!
//! * [`Tokenizer`]: a byte-level BPE vocabulary, read from a Hugging Face folder ([`Tokenizer::from_dir`]),
//!   from a GGUF file's strings ([`Tokenizer::from_bpe`]) or trained here ([`Tokenizer::train`]).
//! * [`DecodeStream`]: ids to text one id at a time, cut only between characters.
//! * [`Message`] and [`ChatTemplate`]: a conversation in the wire names of OpenAI and DeepSeek, and the
//!   model's own Jinja template that makes one prompt of it.
//!
//! Strings and ids only. Nothing here knows of models, files of weights or HTTP. SentencePiece,
//! WordPiece and Unigram vocabularies are refused with an error.

mod bpe;
mod byte_level;
mod error;
mod message;
mod picnic;
mod plain;
mod python;
mod stream;
mod template;
mod tokenizer;
mod train;

pub use bpe::{BpeParts, PreTokenizer, TokenType};
pub use error::Error;
pub use message::{FunctionCall, Message, Role, ToolCall};
pub use picnic::{ASSISTANT, BOS, CHAT_TEMPLATE, EOS, MARKS, USER};
pub use plain::{R1_ZERO, page_template};
pub use stream::DecodeStream;
pub use template::{ChatOptions, ChatTemplate};
pub use tokenizer::Tokenizer;
pub use train::TrainConfig;

/// What the fallible functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
