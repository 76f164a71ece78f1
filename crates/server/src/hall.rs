//! The hall: one inner request behind all contracts, and its answers as they come.
//!
//! The rooms before it ([`rooms`](crate::rooms)) translate between the JSON of their contract and an [`Ask`]; nothing here
//! knows of JSON, and nothing there of tokens.

mod answer;
mod ask;
mod encode;
mod held;

pub(crate) use answer::{Answer, Ending, Said, TokenLogprob, Tokens};
pub(crate) use ask::{Ask, Asked, Conversation, Drawing, Thinking};
