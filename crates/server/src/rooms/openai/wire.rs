//! JSON of chat completions as it travels, with DeepSeek's `reasoning_content`.
//!
//! Fields that we do not know are ignored, as clients send many. Those that we know, do not offer and that would change
//! the answer are in [`RefusedFields`].

use super::Usage;
use super::drawing::{DrawingFields, GuidedFields, RefusedFields, ResponseFormat, Stop};
use super::logprobs::Logprobs;
use crate::openapi::by_hand;
use picnic_chat::{CallDelta, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Body of `POST /v1/chat/completions`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ChatRequest {
    pub(crate) model: Option<String>,
    #[schema(min_items = 1, max_items = 4096)]
    pub(crate) messages: Vec<WireMessage>,
    /// OpenAI's older name, which DeepSeek uses.
    #[schema(minimum = 1)]
    pub(crate) max_tokens: Option<i64>,
    #[schema(minimum = 1)]
    pub(crate) max_completion_tokens: Option<i64>,
    #[schema(value_type = Option<by_hand::Stop>)]
    pub(crate) stop: Option<Stop>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    #[schema(minimum = 1, maximum = 128)]
    pub(crate) n: Option<i64>,
    pub(crate) logprobs: Option<bool>,
    /// Needs `logprobs` to be true where it is more than 0.
    #[schema(minimum = 0, maximum = 20)]
    pub(crate) top_logprobs: Option<i64>,
    #[schema(value_type = Option<Vec<by_hand::Tool>>, max_items = 128)]
    pub(crate) tools: Option<Vec<Value>>,
    #[schema(value_type = Option<by_hand::ToolChoice>)]
    pub(crate) tool_choice: Option<Value>,
    pub(crate) parallel_tool_calls: Option<bool>,
    pub(crate) response_format: Option<ResponseFormat>,
    /// vLLM's word for going on with the last message, which DeepSeek marks with `prefix`.
    pub(crate) continue_final_message: Option<bool>,
    /// Variables of the chat template, as vLLM and llama.cpp take them.
    #[schema(value_type = Option<by_hand::AnyObject>)]
    pub(crate) chat_template_kwargs: Option<Map<String, Value>>,
    /// DeepSeek's.
    pub(crate) thinking: Option<ThinkingField>,
    pub(crate) reasoning_effort: Option<String>,
    /// OpenRouter's.
    pub(crate) reasoning: Option<ReasoningField>,
    /// Qwen's.
    pub(crate) enable_thinking: Option<bool>,
    /// Tokens after which the model has to answer instead of thinking on, by the name of Qwen's API.
    #[schema(minimum = 0)]
    pub(crate) thinking_budget: Option<i64>,
    #[serde(flatten)]
    pub(crate) drawing: DrawingFields,
    #[serde(flatten)]
    pub(crate) guided: GuidedFields,
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) refused: RefusedFields,
}

/// A message, which may be one to go on with (DeepSeek's prefix completion).
#[derive(Deserialize, ToSchema)]
pub(crate) struct WireMessage {
    #[serde(flatten)]
    #[schema(value_type = by_hand::Message)]
    pub(crate) message: Message,
    pub(crate) prefix: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct ThinkingField {
    #[serde(rename = "type")]
    #[schema(value_type = Option<by_hand::ThinkingKind>)]
    pub(crate) kind: Option<String>,
    #[schema(minimum = 0)]
    pub(crate) budget_tokens: Option<i64>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct ReasoningField {
    pub(crate) enabled: Option<bool>,
    pub(crate) effort: Option<String>,
    #[schema(minimum = 0)]
    pub(crate) max_tokens: Option<i64>,
}

/// A whole answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChatCompletion<'a> {
    #[serde(flatten)]
    pub(crate) head: Head<'a>,
    pub(crate) choices: Vec<Choice>,
    pub(crate) usage: Usage,
}

/// What a whole answer and each chunk begin with.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Head<'a> {
    pub(crate) id: &'a str,
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: &'a str,
    pub(crate) system_fingerprint: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Choice {
    pub(crate) index: usize,
    pub(crate) message: AssistantMessage,
    pub(crate) logprobs: Option<Logprobs>,
    pub(crate) finish_reason: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AssistantMessage {
    pub(crate) role: &'static str,
    /// Left out by a model that did not think.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reasoning_content: String,
    /// The same by the name of vLLM and OpenRouter.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reasoning: String,
    pub(crate) content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<Call>,
}

/// A call of a function, or in a stream more of one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Call {
    /// In a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: CalledFunction,
}

#[derive(Serialize, ToSchema)]
struct CalledFunction {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arguments: String,
}

impl From<CallDelta> for Call {
    fn from(CallDelta { index, id, name, arguments }: CallDelta) -> Call {
        let kind = id.is_some().then_some("function");
        Call { index: Some(index), id, kind, function: CalledFunction { name, arguments } }
    }
}

impl Call {
    /// The calls that `pieces` are of.
    pub(crate) fn joined(pieces: Vec<Call>) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        for piece in pieces {
            match calls.last_mut().filter(|last| last.index == piece.index) {
                Some(last) => last.function.arguments += &piece.function.arguments,
                None => calls.push(piece),
            }
        }
        calls.iter_mut().for_each(|call| call.index = None);
        calls
    }
}

/// One event of a stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct Chunk<'a> {
    #[serde(flatten)]
    pub(crate) head: Head<'a>,
    /// One, or none in the chunk that brings the usage.
    pub(crate) choices: Vec<ChunkChoice>,
    /// Left out unless asked for; then null in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub(crate) usage: Option<Option<Usage>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ChunkChoice {
    pub(crate) index: usize,
    pub(crate) delta: Delta,
    pub(crate) logprobs: Option<Logprobs>,
    pub(crate) finish_reason: Option<&'static str>,
}

/// What a chunk adds to the message.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<Call>,
}
