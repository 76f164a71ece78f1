//! Log-probabilities as chat completions tell them.

use crate::hall::TokenLogprob;
use crate::hosted::Hosted;
use serde::Serialize;
use utoipa::ToSchema;

/// Marks that are tokens in some vocabularies.
const MARKS: [&str; 4] = ["<think>", "</think>", "<answer>", "</answer>"];

/// Those of an answer or of a piece of one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Logprobs {
    pub(crate) content: Vec<Place>,
    /// DeepSeek's: those of the thinking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) reasoning_content: Vec<Place>,
}

/// One token.
#[derive(Serialize, ToSchema)]
pub(crate) struct Place {
    #[serde(flatten)]
    pub(crate) token: Token,
    pub(crate) top_logprobs: Vec<Token>,
}

/// A token with its text. `bytes` tells those that are no whole character.
#[derive(Serialize, ToSchema)]
pub(crate) struct Token {
    pub(crate) token: String,
    pub(crate) logprob: f32,
    pub(crate) bytes: Vec<u8>,
}

/// What OpenAI's API says of a token that was impossible; JSON has no infinity.
const IMPOSSIBLE: f32 = -9999.0;

/// A number that JSON can tell.
pub(crate) fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { IMPOSSIBLE }
}

impl Logprobs {
    /// `tokens` with as many of the likeliest in each place as are there, but `most` at most.
    pub(crate) fn of(hosted: &Hosted, tokens: &[TokenLogprob], most: usize) -> Logprobs {
        let token = |id: u32, logprob: f32| {
            let bytes = bytes_of(hosted, id);
            Token { token: String::from_utf8_lossy(&bytes).into_owned(), logprob: finite(logprob), bytes }
        };
        let place = |at: &TokenLogprob| Place {
            token: token(at.id, at.logprob),
            top_logprobs: at.likeliest.iter().take(most).map(|&(id, logprob)| token(id, logprob)).collect(),
        };
        // Marks are of neither side.
        let tokenizer = hosted.chat.tokenizer();
        let is_mark = |id: u32| tokenizer.id_to_token(id).is_some_and(|name| MARKS.contains(&&*name));
        let is_text = |at: &&TokenLogprob| !tokenizer.is_special(at.id) && !is_mark(at.id);
        let side =
            |thinking: bool| tokens.iter().filter(|at| at.is_thinking == thinking).filter(is_text).map(place).collect();
        Logprobs { content: side(false), reasoning_content: side(true) }
    }
}

/// The bytes of a token; those of its name if it is no text.
pub(crate) fn bytes_of(hosted: &Hosted, id: u32) -> Vec<u8> {
    let tokenizer = hosted.chat.tokenizer();
    tokenizer.token_bytes(id).or_else(|| tokenizer.id_to_token(id).map(String::into_bytes)).unwrap_or_default()
}
