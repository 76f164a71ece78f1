//! What is asked of the engine and what it answers.

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0, or anything below 1e-6, takes the likeliest token.
    pub temperature: f32,
    /// Draws from the likeliest tokens that together have this probability (Holtzman et al. 2020); 1 for all.
    pub top_p: f32,
    /// Start of the request's own random stream.
    pub seed: u64,
}

impl Sampling {
    /// The likeliest token at every step.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_p: 1.0, seed: 0 };
}

/// A prompt to go on from.
#[derive(Clone, Debug)]
pub struct Request {
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// Tokens that end the answer; the one that did is part of it.
    pub stop: Vec<u32>,
    /// How tokens are drawn.
    pub sampling: Sampling,
}

/// Names a request within its engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// Why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// A stop token came.
    Stop,
    /// `max_tokens` were generated.
    Length,
}

/// One step of one request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event {
    /// Which request.
    pub id: RequestId,
    /// The token drawn.
    pub token: u32,
    /// Its log-probability under the model at temperature 1, in nats.
    pub logprob: f32,
    /// Set with the last token.
    pub finish: Option<Finish>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The tokens drawn, a stop token included.
    pub tokens: Vec<u32>,
    /// Log-probability of each at temperature 1, in nats.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// A request that cannot be served.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RequestError {
    /// Nothing to go on from.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// An id past the vocabulary.
    #[error(
        "prompt token {index} has id {id}, but the vocabulary has {vocabulary} entries: encode the prompt with the model's own tokenizer"
    )]
    UnknownToken {
        /// Place in the prompt.
        index: usize,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// More tokens than the cache could ever hold.
    #[error("prompt and answer need {needed} tokens of cache, of {limit}: shorten the prompt or ask for fewer tokens")]
    TooLong {
        /// Tokens of prompt and answer.
        needed: usize,
        /// Tokens that the cache holds.
        limit: usize,
    },
    /// Not a number, or out of range.
    #[error("{name} is {value}: it must be {range}")]
    Sampling {
        /// Which setting.
        name: &'static str,
        /// Its value.
        value: f32,
        /// What it may be.
        range: &'static str,
    },
    /// No answer asked for.
    #[error("max_tokens is 0: ask for at least one token")]
    NoTokens,
}
