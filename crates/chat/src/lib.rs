//! Conversations ↔ tokens: what stands between a vocabulary and whoever talks.
//!
//! * [`ChatFormat`]: how one model talks. Its tokenizer, its chat template with the template's variables, and the
//!   tokens with which it ends a turn. Chat, server, training and evaluation hold this and no bare tokenizer.
//! * [`Message`]: a turn, in the wire names of OpenAI and DeepSeek.
//! * [`Reply`]: from the tokens of an answer to its thinking, its content and its calls, while they are being drawn.
//! * [`ToolFormat`]: in which form a model calls tools, as [`Reply`] reads it.
//! * [`Guidance`]: answers that are held to a form, such as JSON of a schema or a call of a tool.
//!
//! Nothing here knows of weights, engines or HTTP.

mod adapt;
mod end_tokens;
mod error;
mod folder;
mod format;
mod guard;
mod guidance;
mod message;
mod methods;
mod page;
mod picnic;
mod python;
mod reasoning;
mod recommended;
mod reply;
mod source;
mod stop;
mod template;
mod tools;

pub use end_tokens::{EndTokens, ends_a_turn_by_name};
pub use error::Error;
pub use format::{ChatFormat, Prompt};
pub use guidance::{Form, FormFailure, Guidance, Guide, ToolChoice, ToolSpec};
pub use message::{FunctionCall, Message, Role, ToolCall};
pub use page::{R1_ZERO, page_template};
pub use picnic::CHAT_TEMPLATE;
pub use reasoning::{Piece, Splitter};
pub use recommended::Recommended;
pub use reply::Reply;
pub use template::{ChatOptions, ChatTemplate, with_deep_stack};
pub use tools::{CallDelta, ToolFormat};

/// What the fallible functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
