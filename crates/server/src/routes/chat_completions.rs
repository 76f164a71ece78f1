//! `POST /v1/chat/completions`: a conversation goes in, the assistant's next message comes out, whole or as a stream of
//! server-sent events. Thinking is in `reasoning_content`, beside `content`.

use crate::answer::Answer;
use crate::error::ApiError;
use crate::wire::{AssistantMessage, ChatCompletion, ChatRequest, Choice, Chunk, ChunkChoice, Delta, Head};
use crate::{App, seconds_since_1970};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use picnic_chat::Piece;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const FINGERPRINT: &str = concat!("picnic-", env!("CARGO_PKG_VERSION"));

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let request: ChatRequest = serde_json::from_slice(&body?)?;
    let stream = request.stream == Some(true);
    let include_usage = request.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true));
    let ticket = Ticket::new(&app);
    let answer = Answer::start(app, request).await?;
    if stream {
        let events = events(Streaming { ticket, answer, include_usage, stage: Stage::Role });
        return Ok(Sse::new(events).keep_alive(KeepAlive::new().text("keep-alive")).into_response());
    }
    whole(ticket, answer).await
}

/// What all parts of one response say.
struct Ticket {
    id: String,
    created: u64,
    model: String,
}

impl Ticket {
    fn new(app: &App) -> Ticket {
        // Unique in this process, and by the clock across restarts.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let created = seconds_since_1970();
        let id = format!("chatcmpl-{created:x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed));
        Ticket { id, created, model: app.name.clone() }
    }

    fn head(&self, object: &'static str) -> Head<'_> {
        Head { id: &self.id, object, created: self.created, model: &self.model, system_fingerprint: FINGERPRINT }
    }
}

async fn whole(ticket: Ticket, mut answer: Answer) -> Result<Response, ApiError> {
    let mut text = Piece::default();
    while let Some(piece) = answer.next().await? {
        text += piece;
    }
    let message = AssistantMessage { role: "assistant", reasoning_content: text.reasoning, content: text.content };
    let choice = Choice { index: 0, message, logprobs: None, finish_reason: answer.finish().into() };
    let completion = ChatCompletion { head: ticket.head("chat.completion"), choices: [choice], usage: answer.usage() };
    Ok(Json(completion).into_response())
}

struct Streaming {
    ticket: Ticket,
    answer: Answer,
    include_usage: bool,
    stage: Stage,
}

/// What the stream sends next.
#[derive(Clone, Copy)]
enum Stage {
    Role,
    Text,
    Usage,
    Done,
    End,
}

fn events(streaming: Streaming) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(streaming, |mut streaming| async move {
        let event = streaming.next().await?;
        Some((Ok(event), streaming))
    })
}

impl Streaming {
    /// The role; text until it ends; the reason why; the usage if asked for; `[DONE]`.
    async fn next(&mut self) -> Option<Event> {
        let event = match self.stage {
            Stage::Role => {
                self.stage = Stage::Text;
                self.chunk(Delta { role: Some("assistant"), content: Some(String::new()), ..Delta::default() }, false)
            }
            Stage::Text => match self.answer.next().await {
                Ok(Some(Piece { reasoning, content, .. })) => {
                    let some = |text: String| (!text.is_empty()).then_some(text);
                    let delta = Delta { role: None, reasoning_content: some(reasoning), content: some(content) };
                    self.chunk(delta, false)
                }
                Ok(None) => {
                    self.stage = if self.include_usage { Stage::Usage } else { Stage::Done };
                    self.chunk(Delta::default(), true)
                }
                // The status is sent already: clients look for `error` in the data.
                Err(error) => {
                    self.stage = Stage::End;
                    json(&error.body())
                }
            },
            Stage::Usage => {
                self.stage = Stage::Done;
                let (head, usage) = (self.ticket.head("chat.completion.chunk"), Some(Some(self.answer.usage())));
                json(&Chunk { head, choices: Vec::new(), usage })
            }
            Stage::Done => {
                self.stage = Stage::End;
                Event::default().data("[DONE]")
            }
            Stage::End => return None,
        };
        Some(event)
    }

    fn chunk(&self, delta: Delta, last: bool) -> Event {
        let finish_reason = last.then(|| self.answer.finish().into());
        let choice = ChunkChoice { index: 0, delta, logprobs: None, finish_reason };
        let head = self.ticket.head("chat.completion.chunk");
        json(&Chunk { head, choices: vec![choice], usage: self.include_usage.then_some(None) })
    }
}

fn json(data: &impl Serialize) -> Event {
    // Strings and numbers under string keys: serialising cannot fail.
    Event::default().json_data(data).unwrap_or_default()
}
