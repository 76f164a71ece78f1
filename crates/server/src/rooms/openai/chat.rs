//! `POST /v1/chat/completions`: a conversation goes in, the assistant's next message comes out, whole or as a stream of
//! server-sent events. Thinking is in `reasoning_content`, beside `content`.

use super::logprobs::Logprobs;
use super::wire::{
    AssistantMessage, Call, ChatCompletion, ChatRequest, Choice, Chunk, ChunkChoice, Delta, Head, WireMessage,
};
use super::{FINGERPRINT, Usage, finish_reason};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::hall::{Answer, Ask, Asked, Conversation, Ending, Said, Thinking, TokenLogprob, Tools};
use crate::rooms::openai::drawing::{ResponseFormat, Stop};
use crate::rooms::stream::{Events, Gone, stream};
use crate::rooms::take::Taken;
use crate::rooms::{unique, with_note};
use crate::{App, seconds_since_1970};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use picnic_chat::{Piece, Role};
use std::sync::Arc;

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<ChatRequest>,
) -> Result<Response, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let shape = Shape {
        id: unique("chatcmpl-"),
        created: seconds_since_1970(),
        model: request.model.clone().unwrap_or_else(|| model.name.clone()),
        likeliest: request.top_logprobs.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        tells_tokens: request.logprobs == Some(true),
        tells_usage: request.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true)),
    };
    let is_stream = request.stream == Some(true);
    let mut answer = Answer::start(&app, &caller, model, request.ask()?).await?;
    let note = answer.note.take();
    let response = if is_stream {
        answer.begin().await?;
        stream(|events| shape.write(answer, events))
    } else {
        shape.whole(answer).await?.into_response()
    };
    Ok(with_note(response, note))
}

impl ChatRequest {
    /// What it comes down to.
    fn ask(self) -> Result<Ask, ApiError> {
        self.refused.check()?;
        let thinking = self.thinking()?;
        let tools = self.tools.unwrap_or_default();
        let tools = Tools::of(tools, self.tool_choice.as_ref(), self.parallel_tool_calls)?;
        let (prefixes, messages): (Vec<Option<bool>>, Vec<_>) =
            self.messages.into_iter().map(|WireMessage { message, prefix }| (prefix, message)).unzip();
        let goes_on = self.continue_final_message == Some(true) || prefixes.last() == Some(&Some(true));
        if goes_on && messages.last().is_none_or(|last| last.role != Role::Assistant) {
            return Err(ApiError::parameter("messages", "must end with a message of the assistant to go on with"));
        }
        if self.top_logprobs.is_some_and(|n| n > 0) && self.logprobs != Some(true) {
            return Err(ApiError::parameter("top_logprobs", "needs `logprobs` to be true"));
        }
        let conversation =
            Conversation { messages, tools, variables: self.chat_template_kwargs.unwrap_or_default(), goes_on };
        let form = self.response_format.map_or(Ok(None), ResponseFormat::form)?;
        let likeliest = (self.logprobs == Some(true)).then(|| self.top_logprobs.unwrap_or(0));
        Ok(Ask {
            asked: Asked::Conversation(conversation),
            n: self.n,
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
            stops: Stop::strings(self.stop),
            drawing: self.drawing.drawing()?,
            thinking,
            form: form.or(self.guided.form()),
            likeliest,
            ..Ask::default()
        })
    }

    /// By any of the names that are in use.
    fn thinking(&self) -> Result<Thinking, ApiError> {
        let kind = self.thinking.as_ref().and_then(|thinking| thinking.kind.as_deref());
        let is_on = match kind {
            None => None,
            Some("enabled" | "auto" | "adaptive") => Some(true),
            Some("disabled") => Some(false),
            Some(_) => return Err(ApiError::parameter("thinking", "must have the type `enabled` or `disabled`")),
        };
        let reasoning = self.reasoning.as_ref();
        // DeepSeek has one name for its model that thinks and another for the same that does not.
        let by_name = match self.model.as_deref() {
            Some(DEEPSEEK_CHAT) => Some(false),
            Some(DEEPSEEK_REASONER) => Some(true),
            _ => None,
        };
        let of_template = |name: &str| self.chat_template_kwargs.as_ref()?.get(name)?.as_bool();
        let by_template = of_template("enable_thinking").or(of_template("thinking"));
        let effort = self.reasoning_effort.clone().or_else(|| reasoning?.effort.clone());
        let by_effort = effort.as_deref().filter(|effort| *effort == "none").map(|_| false);
        Ok(Thinking {
            is_on: is_on
                .or(self.enable_thinking)
                .or(reasoning.and_then(|reasoning| reasoning.enabled))
                .or(by_template)
                .or(by_effort)
                .or(by_name),
            budget: self
                .thinking_budget
                .or(self.thinking.as_ref().and_then(|thinking| thinking.budget_tokens))
                .or(reasoning.and_then(|reasoning| reasoning.max_tokens)),
            effort: effort.filter(|effort| effort != "none"),
        })
    }
}

/// Names of DeepSeek's API, which stand for the default model.
pub(crate) const DEEPSEEK_CHAT: &str = "deepseek-chat";
pub(crate) const DEEPSEEK_REASONER: &str = "deepseek-reasoner";

/// What all parts of one response say, and what it was asked to say.
struct Shape {
    id: String,
    created: u64,
    model: String,
    likeliest: usize,
    tells_tokens: bool,
    tells_usage: bool,
}

/// One of the answers, whole.
#[derive(Default)]
struct Written {
    piece: Piece,
    calls: Vec<Call>,
    tokens: Vec<TokenLogprob>,
    ending: Option<Ending>,
}

impl Shape {
    fn head(&self, object: &'static str) -> Head<'_> {
        Head { id: &self.id, object, created: self.created, model: &self.model, system_fingerprint: FINGERPRINT }
    }

    fn logprobs(&self, answer: &Answer, tokens: &[TokenLogprob]) -> Option<Logprobs> {
        self.tells_tokens.then(|| Logprobs::of(&answer.hosted, tokens, self.likeliest))
    }

    async fn whole(self, mut answer: Answer) -> Result<impl IntoResponse, ApiError> {
        let mut written: Vec<Written> = (0..answer.len()).map(|_| Written::default()).collect();
        while let Some(mut said) = answer.next().await? {
            let one = &mut written[said.number];
            one.calls.extend(said.take_calls().into_iter().map(Call::from));
            one.piece += said.piece;
            one.tokens.extend(said.tokens);
            one.ending = said.ending;
        }
        let choice = |(index, Written { piece, calls, tokens, ending }): (usize, Written)| {
            let calls = Call::joined(calls);
            Choice {
                index,
                logprobs: self.logprobs(&answer, &tokens),
                finish_reason: finish_reason(&ending.unwrap_or(Ending::Length)),
                message: AssistantMessage {
                    role: "assistant",
                    reasoning: piece.reasoning.clone(),
                    reasoning_content: piece.reasoning,
                    // Beside calls no content is null.
                    content: (calls.is_empty() || !piece.content.is_empty()).then_some(piece.content),
                    tool_calls: calls,
                },
            }
        };
        let choices = written.into_iter().enumerate().map(choice).collect();
        let completion = ChatCompletion { head: self.head("chat.completion"), choices, usage: Usage::from(&answer) };
        Ok(Json(serde_json::to_value(completion).unwrap_or_default()))
    }

    /// The roles; text until it ends; the reasons why; the usage if asked for; `[DONE]`.
    async fn write(self, mut answer: Answer, events: Events) -> Result<(), Gone> {
        let chunk = |index, delta, logprobs, finish_reason| Chunk {
            head: self.head("chat.completion.chunk"),
            choices: vec![ChunkChoice { index, delta, logprobs, finish_reason }],
            usage: self.tells_usage.then_some(None),
        };
        for number in 0..answer.len() {
            let delta = Delta { role: Some("assistant"), content: Some(String::new()), ..Delta::default() };
            events.send(&chunk(number, delta, None, None)).await?;
        }
        loop {
            match answer.next().await {
                Ok(Some(mut said)) => {
                    let calls: Vec<Call> = said.take_calls().into_iter().map(Call::from).collect();
                    let Said { number, piece, tokens, ending, .. } = said;
                    let some = |text: String| (!text.is_empty()).then_some(text);
                    let (reasoning_content, content) = (some(piece.reasoning), some(piece.content));
                    if reasoning_content.is_some() || content.is_some() || !calls.is_empty() || !tokens.is_empty() {
                        let reasoning = reasoning_content.clone();
                        let delta = Delta { role: None, reasoning_content, reasoning, content, tool_calls: calls };
                        let logprobs = self.logprobs(&answer, &tokens);
                        events.send(&chunk(number, delta, logprobs, None)).await?;
                    }
                    if let Some(ending) = ending {
                        events.send(&chunk(number, Delta::default(), None, Some(finish_reason(&ending)))).await?;
                    }
                }
                Ok(None) => break,
                // The status is sent already: clients look for `error` in the data.
                Err(error) => return events.send(&error.body()).await,
            }
        }
        if self.tells_usage {
            let (head, usage) = (self.head("chat.completion.chunk"), Some(Some(Usage::from(&answer))));
            events.send(&Chunk { head, choices: Vec::new(), usage }).await?;
        }
        events.send_text("[DONE]").await
    }
}
