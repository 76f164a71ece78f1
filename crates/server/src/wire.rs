//! JSON as it travels: the chat completions of OpenAI with DeepSeek's `reasoning_content`.
//!
//! Fields that we do not know are ignored, as clients send many. Those that we know, do not offer and that would change
//! the answer are read so that they can be refused.

use picnic_chat::Message;
use picnic_engine::Finish;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Body of `POST /v1/chat/completions`.
#[derive(Deserialize)]
pub(crate) struct ChatRequest {
    pub model: Option<String>,
    pub messages: Vec<Message>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    /// OpenAI's older name, which DeepSeek uses.
    pub max_tokens: Option<i64>,
    pub max_completion_tokens: Option<i64>,
    pub seed: Option<i64>,
    pub stop: Option<Stop>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub n: Option<i64>,
    pub frequency_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    /// By token id, in digits.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// The rest of how tokens are drawn, by the names of vLLM and llama.cpp; of `top_k`, 0 and −1 are all.
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub typical_p: Option<f32>,
    #[serde(alias = "repeat_penalty")]
    pub repetition_penalty: Option<f32>,
    /// Tokens after which the model has to answer instead of thinking on, by the name of Qwen's API.
    pub thinking_budget: Option<i64>,
    pub logprobs: Option<bool>,
    pub tools: Option<Vec<Value>>,
    pub response_format: Option<ResponseFormat>,
    /// Variables of the chat template, as vLLM and llama.cpp take them.
    pub chat_template_kwargs: Option<Map<String, Value>>,
}

/// One stop string or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`stop` must be a string or a list of strings")]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
pub(crate) struct StreamOptions {
    pub include_usage: Option<bool>,
}

/// What an answer has to be. Whether it is to be `strict` is not asked: it always is.
#[derive(Deserialize)]
pub(crate) struct ResponseFormat {
    #[serde(rename = "type")]
    pub kind: String,
    pub json_schema: Option<NamedSchema>,
    /// Beside `json_object`, where llama.cpp takes it.
    pub schema: Option<Value>,
}

#[derive(Deserialize)]
pub(crate) struct NamedSchema {
    pub schema: Option<Value>,
}

/// A whole answer.
#[derive(Serialize)]
pub(crate) struct ChatCompletion<'a> {
    #[serde(flatten)]
    pub head: Head<'a>,
    pub choices: [Choice; 1],
    pub usage: Usage,
}

/// What a whole answer and each chunk begin with.
#[derive(Clone, Serialize)]
pub(crate) struct Head<'a> {
    pub id: &'a str,
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    pub model: &'a str,
    pub system_fingerprint: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Choice {
    pub index: u32,
    pub message: AssistantMessage,
    pub logprobs: Option<()>,
    pub finish_reason: FinishReason,
}

#[derive(Serialize)]
pub(crate) struct AssistantMessage {
    pub role: &'static str,
    /// Left out by a model that did not think.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning_content: String,
    pub content: String,
}

/// One event of a stream.
#[derive(Serialize)]
pub(crate) struct Chunk<'a> {
    #[serde(flatten)]
    pub head: Head<'a>,
    /// One, or none in the chunk that brings the usage.
    pub choices: Vec<ChunkChoice>,
    /// Left out unless asked for; then null in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
pub(crate) struct ChunkChoice {
    pub index: u32,
    pub delta: Delta,
    pub logprobs: Option<()>,
    pub finish_reason: Option<FinishReason>,
}

/// What a chunk adds to the message.
#[derive(Default, Serialize)]
pub(crate) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FinishReason {
    Stop,
    Length,
}

impl From<Finish> for FinishReason {
    fn from(finish: Finish) -> Self {
        match finish {
            Finish::Stop => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
        }
    }
}

/// Tokens read and written.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub total_tokens: usize,
    /// DeepSeek's words for what OpenAI's say in `prompt_tokens_details`.
    pub prompt_cache_hit_tokens: usize,
    pub prompt_cache_miss_tokens: usize,
    pub prompt_tokens_details: PromptTokensDetails,
    pub completion_tokens_details: CompletionTokensDetails,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct PromptTokensDetails {
    pub cached_tokens: usize,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct CompletionTokensDetails {
    pub reasoning_tokens: usize,
}

/// Body of `GET /v1/models`.
#[derive(Serialize)]
pub(crate) struct ModelList<'a> {
    pub object: &'static str,
    pub data: [ModelCard<'a>; 1],
}

#[derive(Serialize)]
pub(crate) struct ModelCard<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub owned_by: &'static str,
}

/// Body of every error.
#[derive(Serialize)]
pub(crate) struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Serialize)]
pub(crate) struct ErrorDetail {
    pub message: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub param: Option<&'static str>,
    pub code: Option<&'static str>,
}
