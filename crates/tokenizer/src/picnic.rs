//! The tokens of the models that Picnic trains from nothing: four that are no text, and four marks of thinking and
//! answer. How a conversation is written with them is the chat template's to say (`picnic-chat`).

/// Begins every sequence.
pub const BOS: &str = "<|bos|>";
/// Ends the assistant's turn.
pub const EOS: &str = "<|eos|>";
/// Begins a person's turn.
pub const USER: &str = "<|user|>";
/// Begins the assistant's turn.
pub const ASSISTANT: &str = "<|assistant|>";
/// What marks the parts of a reply (DeepSeek-R1, section 2.2.3): one token each, yet ordinary text,
/// so that decoding shows them.
pub const MARKS: [&str; 4] = ["<think>", "</think>", "<answer>", "</answer>"];
