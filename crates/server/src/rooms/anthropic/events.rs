//! A message while it is written: its blocks, and the events that tell of them, in Anthropic's order.

use crate::hall::{Answer, Ending, Said, Tokens};
use crate::rooms::openai::unique;
use crate::rooms::stream::{Events, Gone};
use serde_json::{Value, json};

/// A message under way.
pub(super) struct Writing {
    id: String,
    model: String,
    /// Blocks that are complete.
    content: Vec<Value>,
    open: Option<Open>,
    /// Events that have not been sent.
    events: Vec<(&'static str, Value)>,
    has_calls: bool,
    /// Whether the thinking is told, which it is to whoever asks for it.
    tells_thinking: bool,
}

/// The block that is being written.
struct Open {
    kind: Kind,
    text: String,
    /// Of a call: its place among the calls, its id and its name.
    call: Option<(usize, String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thinking,
    Text,
    Call,
}

impl Writing {
    pub(super) fn new(model: String, tells_thinking: bool) -> Writing {
        let id = unique("msg_");
        Writing { id, model, content: Vec::new(), open: None, events: Vec::new(), has_calls: false, tells_thinking }
    }

    /// Sends the events of `answer` until it ends.
    pub(super) async fn write(mut self, mut answer: Answer, events: Events) -> Result<(), Gone> {
        let mut message = self.message(&Ending::Length, answer.tokens());
        message["stop_reason"] = Value::Null;
        self.tell("message_start", json!({"message": message}));
        self.tell("ping", json!({}));
        let mut ending = Ending::Length;
        loop {
            self.send(&events).await?;
            match answer.next().await {
                Ok(Some(said)) => {
                    ending = said.ending.clone().unwrap_or(ending);
                    self.hear(said);
                }
                Ok(None) => break,
                Err(error) => {
                    self.events.push(("error", super::body(&error)));
                    return self.send(&events).await;
                }
            }
        }
        self.end();
        let (reason, sequence) = self.stop(&ending);
        let delta = json!({"stop_reason": reason, "stop_sequence": sequence});
        self.tell("message_delta", json!({"delta": delta, "usage": usage(answer.tokens())}));
        self.tell("message_stop", json!({}));
        self.send(&events).await
    }

    async fn send(&mut self, events: &Events) -> Result<(), Gone> {
        for (name, data) in self.events.drain(..) {
            events.send_named(name, &data).await?;
        }
        Ok(())
    }

    fn tell(&mut self, name: &'static str, mut data: Value) {
        data["type"] = name.into();
        self.events.push((name, data));
    }

    /// Takes what the model says next.
    pub(super) fn hear(&mut self, mut said: Said) {
        let calls = said.take_calls();
        if self.tells_thinking && !said.piece.reasoning.is_empty() {
            self.add(Kind::Thinking, &said.piece.reasoning);
        }
        if !said.piece.content.is_empty() {
            self.add(Kind::Text, &said.piece.content);
        }
        for call in calls {
            let is_new =
                self.open.as_ref().and_then(|open| open.call.as_ref()).is_none_or(|(index, ..)| *index != call.index);
            if is_new {
                self.end();
                let (id, name) = (call.id.unwrap_or_else(|| unique("toolu_")), call.name.unwrap_or_default());
                self.begin(Kind::Call, Some((call.index, id, name)));
                self.has_calls = true;
            }
            if !call.arguments.is_empty() {
                self.add(Kind::Call, &call.arguments);
            }
        }
    }

    fn add(&mut self, kind: Kind, text: &str) {
        if self.open.as_ref().is_none_or(|open| open.kind != kind) {
            self.end();
            self.begin(kind, None);
        }
        if let Some(open) = &mut self.open {
            open.text += text;
        }
        let delta = match kind {
            Kind::Thinking => json!({"type": "thinking_delta", "thinking": text}),
            Kind::Text => json!({"type": "text_delta", "text": text}),
            Kind::Call => json!({"type": "input_json_delta", "partial_json": text}),
        };
        self.tell("content_block_delta", json!({"index": self.content.len(), "delta": delta}));
    }

    fn begin(&mut self, kind: Kind, call: Option<(usize, String, String)>) {
        let open = Open { kind, text: String::new(), call };
        self.tell("content_block_start", json!({"index": self.content.len(), "content_block": open.block()}));
        self.open = Some(open);
    }

    /// Completes the open block.
    pub(super) fn end(&mut self) {
        let Some(open) = self.open.take() else { return };
        let index = self.content.len();
        if open.kind == Kind::Thinking {
            // Clients keep it and send it back; nothing here reads it.
            let delta = json!({"type": "signature_delta", "signature": ""});
            self.tell("content_block_delta", json!({"index": index, "delta": delta}));
        }
        self.tell("content_block_stop", json!({"index": index}));
        self.content.push(open.block());
    }

    fn stop(&self, ending: &Ending) -> (&'static str, Option<String>) {
        match ending {
            Ending::Length => ("max_tokens", None),
            Ending::String(stop) => ("stop_sequence", Some(stop.clone())),
            Ending::Stop if self.has_calls => ("tool_use", None),
            Ending::Stop => ("end_turn", None),
        }
    }

    /// The message as far as it is written.
    pub(super) fn message(&self, ending: &Ending, tokens: Tokens) -> Value {
        let (reason, sequence) = self.stop(ending);
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": self.content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usage(tokens),
        })
    }
}

impl Open {
    fn block(&self) -> Value {
        match (&self.kind, &self.call) {
            (Kind::Thinking, _) => json!({"type": "thinking", "thinking": self.text, "signature": ""}),
            (Kind::Call, Some((_, id, name))) => {
                // While it is written the input is an empty object; its text comes piece by piece.
                let input = serde_json::from_str(&self.text).unwrap_or_else(|_| json!({}));
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
            (Kind::Text | Kind::Call, _) => json!({"type": "text", "text": self.text}),
        }
    }
}

/// Tokens in Anthropic's words, which count those from the cache apart.
fn usage(tokens: Tokens) -> Value {
    json!({
        "input_tokens": tokens.prompt.saturating_sub(tokens.cached),
        "cache_read_input_tokens": tokens.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": tokens.completion,
    })
}
