//! The hall: one inner request behind all contracts, and its answers as they come.
//!
//! The rooms before it ([`rooms`](crate::rooms)) translate between the JSON of their contract and an [`Ask`]. No contract's
//! words are known here, and nothing there encodes a prompt or reads an answer's tokens. Tools stay in OpenAI's form, because
//! chat templates expect it.

mod answer;
mod ask;
mod encode;
mod held;
mod tools;

pub(crate) use answer::{Answer, Ending, Said, TokenLogprob, Tokens};
pub(crate) use ask::{Ask, Asked, Conversation, Drawing, Thinking};
pub(crate) use tools::Tools;
