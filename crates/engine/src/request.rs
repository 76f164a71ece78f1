//! What is asked of the engine and what it answers.

use crate::control::Control;
use picnic_model::OutOfMemory;

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0, or anything below 1e-6, takes the likeliest token.
    pub temperature: f32,
    /// Draws from so many of the likeliest tokens; 0 for all.
    pub top_k: usize,
    /// Draws from the likeliest tokens that together have this probability (Holtzman et al. 2020); 1 for all.
    pub top_p: f32,
    /// Draws from tokens with at least this share of the likeliest one's probability (Nguyen et al. 2024); 0 for all.
    pub min_p: f32,
    /// Draws from the tokens whose surprise is closest to the entropy and which together have this probability (Meister et
    /// al. 2023); 1 for all.
    pub typical_p: f32,
    /// Taken from the logits of tokens that the answer has.
    pub presence_penalty: f32,
    /// Taken from the logit of a token for each time that the answer has it.
    pub frequency_penalty: f32,
    /// Divides the logits above 0, and multiplies those below, of tokens that the prompt or the answer has (Keskar et al.
    /// 2019); 1 for nothing.
    pub repetition_penalty: f32,
    /// Start of the request's own random stream.
    pub seed: u64,
    /// How many of the likeliest tokens each event tells.
    pub likeliest: usize,
}

impl Sampling {
    /// The likeliest token at every step.
    pub const GREEDY: Sampling = Sampling {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        typical_p: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        repetition_penalty: 1.0,
        seed: 0,
        likeliest: 0,
    };

    /// # Errors
    /// A setting that is no number or out of range.
    pub(crate) fn check(&self) -> Result<(), RequestError> {
        let not_negative = |value: f32| value.is_finite() && value >= 0.0;
        let share = |value: f32| value > 0.0 && value <= 1.0;
        let settings = [
            ("temperature", self.temperature, not_negative(self.temperature), "0 or more"),
            ("top_p", self.top_p, share(self.top_p), "above 0 and at most 1"),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "from 0 to 1"),
            ("typical_p", self.typical_p, share(self.typical_p), "above 0 and at most 1"),
            ("presence_penalty", self.presence_penalty, self.presence_penalty.is_finite(), "a finite number"),
            ("frequency_penalty", self.frequency_penalty, self.frequency_penalty.is_finite(), "a finite number"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty.is_normal() && self.repetition_penalty > 0.0,
                "above 0",
            ),
        ];
        match settings.into_iter().find(|(_, _, is_right, _)| !is_right) {
            Some((name, value, _, range)) => Err(RequestError::Sampling { name, value, range }),
            None => Ok(()),
        }
    }
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
    /// What else steers the answer; by default nothing.
    pub control: Control,
    /// What else is wanted; by default nothing.
    pub wants: Wants,
    /// Whoever has a higher one goes first, and takes the place and the pages of a lower one if there are no others.
    pub priority: i32,
    /// Whose request it is: what it reads is kept for requests of the same tenant that begin alike, and for no others.
    pub tenant: u64,
}

impl Request {
    /// The `max_tokens` likeliest tokens after `prompt`, one after another.
    pub fn new(prompt: Vec<u32>, max_tokens: usize) -> Request {
        Request {
            prompt,
            max_tokens,
            stop: Vec::new(),
            sampling: Sampling::GREEDY,
            control: Control::default(),
            wants: Wants::default(),
            priority: 0,
            tenant: 0,
        }
    }
}

/// What a request wants to read of the model beside its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wants {
    /// The log-probability of every token of the prompt.
    pub prompt_logprobs: bool,
    /// How many of the likeliest tokens are wanted in the place of every token of the prompt.
    pub prompt_likeliest: usize,
    /// The hidden states of the prompt, added up.
    pub prompt_states: bool,
}

/// What was read for [`Wants`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Log-probability of each token of the prompt but the first, which nothing predicts, in nats.
    pub prompt_logprobs: Vec<f32>,
    /// The likeliest tokens in each of these places, with their log-probabilities; as many as were wanted.
    pub prompt_likeliest: Vec<Vec<(u32, f32)>>,
    /// The sum over the prompt's tokens, in their order, of the hidden states after the last norm, `[hidden_size]`. Their
    /// sum alone is kept: the states of a long prompt are larger than its keys and values.
    pub prompt_states: Vec<f64>,
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
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Which request.
    pub id: RequestId,
    /// The token drawn.
    pub token: u32,
    /// Its log-probability under the model at temperature 1, in nats.
    pub logprob: f32,
    /// If [`Sampling::likeliest`] asked for any: the token and then the likeliest ones, with their log-probabilities in nats
    /// under the distribution that was drawn from; a greedy draw tells those at temperature 1.
    pub likeliest: Vec<(u32, f32)>,
    /// Set with the last token.
    pub finish: Option<Finish>,
    /// What else was asked for; there with the last token.
    pub reading: Option<Box<Reading>>,
    /// Tokens of the prompt that were in the cache when the request started, and were not read for it.
    pub reused: usize,
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
    /// What else was asked for.
    pub reading: Reading,
}

/// A request that ended without an answer because memory ran out; all others go on with the next step.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{source}")]
pub struct Dropped {
    /// Which request.
    pub id: RequestId,
    /// What did not fit.
    pub source: OutOfMemory,
}

/// A request that cannot be served.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
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
    /// A bias that is no number.
    #[error("the bias of token {token} is {value}: it must be a number below infinity")]
    Bias {
        /// The token.
        token: u32,
        /// Its bias.
        value: f32,
    },
}
