//! The contracts of OpenAI and DeepSeek, whose chat completions are the same but for a few words.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod drawing;
pub(crate) mod embeddings;
pub(crate) mod logprobs;
pub(crate) mod models;
pub(crate) mod responses;
pub(crate) mod text;
pub(crate) mod texts;
pub(crate) mod wire;

use crate::hall::{Answer, Ending, Tokens};
use serde::Serialize;
use utoipa::ToSchema;

/// Says which program answered; its answers are a function of it, the model and the request.
pub(crate) const FINGERPRINT: &str = concat!("picnic-", env!("CARGO_PKG_VERSION"));

/// Tokens read and written.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    pub(crate) total_tokens: usize,
    /// DeepSeek's words for what OpenAI's say in `prompt_tokens_details`.
    prompt_cache_hit_tokens: usize,
    prompt_cache_miss_tokens: usize,
    prompt_tokens_details: PromptTokensDetails,
    completion_tokens_details: CompletionTokensDetails,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct PromptTokensDetails {
    cached_tokens: usize,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct CompletionTokensDetails {
    reasoning_tokens: usize,
}

impl From<Tokens> for Usage {
    fn from(Tokens { prompt, cached, completion, reasoning }: Tokens) -> Usage {
        Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt + completion,
            prompt_cache_hit_tokens: cached,
            prompt_cache_miss_tokens: prompt.saturating_sub(cached),
            prompt_tokens_details: PromptTokensDetails { cached_tokens: cached },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: reasoning },
        }
    }
}

impl From<&Answer> for Usage {
    fn from(answer: &Answer) -> Usage {
        answer.tokens().into()
    }
}

/// Why an answer ended, in OpenAI's words.
pub(crate) fn finish_reason(ending: &Ending) -> &'static str {
    match ending {
        Ending::Length => "length",
        Ending::Calls => "tool_calls",
        Ending::Stop | Ending::String(_) => "stop",
    }
}
