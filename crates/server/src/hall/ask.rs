//! What every contract asks for in the end, and what of it can be refused before a tokenizer has seen it.

use super::tools::Tools;
use crate::error::ApiError;
use picnic_chat::{Form, Message};
use serde_json::{Map, Value};

/// Answers to one prompt at most.
const MAX_ANSWERS: usize = 128;
/// Stop strings in a request, and bytes in each: they bound the work per token.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 256;
/// The likeliest tokens that are told at each place.
const MAX_LIKELIEST: usize = 20;
/// Messages of a conversation, and tools: they bound the work of a template.
const MAX_MESSAGES: usize = 4096;
const MAX_TOOLS: usize = 128;

/// A prompt, and how it is answered.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    pub(crate) asked: Asked,
    /// Answers to it; `None` for one.
    pub(crate) n: Option<i64>,
    /// Tokens of an answer at most; more than there is room for is lowered to that, and said. 0 is allowed where only
    /// the prompt is read.
    pub(crate) max_tokens: Option<i64>,
    /// Texts before which an answer ends.
    pub(crate) stops: Vec<String>,
    pub(crate) drawing: Drawing,
    pub(crate) thinking: Thinking,
    /// What an answer has to be.
    pub(crate) form: Option<Form>,
    /// How many of the likeliest tokens are told beside each token of an answer; `None` for not even itself.
    pub(crate) likeliest: Option<i64>,
    /// Whether the same is told of the prompt's tokens.
    pub(crate) reads_prompt: bool,
    /// Whether the hidden states of the prompt are told.
    pub(crate) wants_states: bool,
    /// Whose request it is.
    pub(crate) tenant: u64,
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Asked {
    Conversation(Conversation),
    /// Text to go on with, as it is.
    Text(String),
    /// The same in tokens.
    Tokens(Vec<u32>),
    /// Two texts between which something is missing.
    Gap {
        before: String,
        after: String,
    },
}

impl Default for Asked {
    fn default() -> Asked {
        Asked::Tokens(Vec::new())
    }
}

/// Messages, and what the chat template has to know beside them.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Message>,
    /// Functions that the model may call.
    pub(crate) tools: Tools,
    pub(crate) variables: Map<String, Value>,
    /// Whether the last message, the model's own, is gone on with instead of answered.
    pub(crate) goes_on: bool,
}

/// How tokens are drawn. What is `None` is as the model's makers recommend, or else as the contract says.
#[derive(Debug, Default, Clone)]
pub(crate) struct Drawing {
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    /// 0 and −1 are all.
    pub(crate) top_k: Option<i64>,
    pub(crate) min_p: Option<f32>,
    pub(crate) typical_p: Option<f32>,
    pub(crate) presence_penalty: Option<f32>,
    pub(crate) frequency_penalty: Option<f32>,
    pub(crate) repetition_penalty: Option<f32>,
    pub(crate) seed: Option<i64>,
    /// By token id.
    pub(crate) bias: Vec<(u32, f32)>,
}

/// Whether and how long an answer thinks.
#[derive(Debug, Default, Clone)]
pub(crate) struct Thinking {
    /// `None` for what the model does by itself.
    pub(crate) is_on: Option<bool>,
    /// Tokens after which it has to answer.
    pub(crate) budget: Option<i64>,
    /// As the contract's words have it; the template is told.
    pub(crate) effort: Option<String>,
}

impl Ask {
    /// What can be refused without the tokenizer.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let refuse = |param, problem: &str| Err(ApiError::parameter(param, problem));
        if let Asked::Conversation(Conversation { messages, tools, .. }) = &self.asked {
            if messages.is_empty() {
                return refuse("messages", "is empty: send at least one message");
            }
            if messages.len() > MAX_MESSAGES {
                return refuse("messages", &format!("has {} messages, of at most {MAX_MESSAGES}", messages.len()));
            }
            if tools.functions.len() > MAX_TOOLS {
                return refuse("tools", &format!("has {} tools, of at most {MAX_TOOLS}", tools.functions.len()));
            }
        }
        if self.n.is_some_and(|n| !(1..=MAX_ANSWERS as i64).contains(&n)) {
            return refuse("n", &format!("must be from 1 to {MAX_ANSWERS}"));
        }
        if self.max_tokens.is_some_and(|tokens| tokens < i64::from(!self.reads_prompt)) {
            return refuse("max_tokens", "must be at least 1");
        }
        if self.likeliest.is_some_and(|n| !(0..=MAX_LIKELIEST as i64).contains(&n)) {
            return refuse("top_logprobs", &format!("must be from 0 to {MAX_LIKELIEST}"));
        }
        if self.thinking.budget.is_some_and(|budget| budget < 0) {
            return refuse("thinking_budget", "must be 0 or more");
        }
        if self.stops.len() > MAX_STOPS || self.stops.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
            let problem = format!("must be at most {MAX_STOPS} strings of at most {MAX_STOP_BYTES} bytes");
            return Err(ApiError::parameter("stop", problem));
        }
        self.drawing.check()
    }

    /// Answers that are wanted, once checked.
    pub(crate) fn answers(&self) -> usize {
        self.n.map_or(1, |n| usize::try_from(n).unwrap_or(1))
    }
}

impl Drawing {
    fn check(&self) -> Result<(), ApiError> {
        let refuse = |param, problem: &str| Err(ApiError::parameter(param, problem));
        let share = |p: f32| p > 0.0 && p <= 1.0;
        let penalty = |p: f32| (-2.0..=2.0).contains(&p);
        for (param, value, is_right, range) in [
            ("temperature", self.temperature, (|t| (0.0..=2.0).contains(&t)) as fn(f32) -> bool, "from 0 to 2"),
            ("top_p", self.top_p, share, "above 0 and at most 1"),
            ("min_p", self.min_p, |p| (0.0..=1.0).contains(&p), "from 0 to 1"),
            ("typical_p", self.typical_p, share, "above 0 and at most 1"),
            ("presence_penalty", self.presence_penalty, penalty, "from -2 to 2"),
            ("frequency_penalty", self.frequency_penalty, penalty, "from -2 to 2"),
            ("repetition_penalty", self.repetition_penalty, |p| p > 0.0 && p <= 10.0, "above 0 and at most 10"),
        ] {
            if !value.is_none_or(is_right) {
                return refuse(param, &format!("must be {range}"));
            }
        }
        if self.top_k.is_some_and(|k| k < -1) {
            return refuse("top_k", "must be a number of tokens, or -1 or 0 for all");
        }
        if self.bias.iter().any(|(_, bias)| !(-100.0..=100.0).contains(bias)) {
            return refuse("logit_bias", "must have values from -100 to 100");
        }
        Ok(())
    }
}
