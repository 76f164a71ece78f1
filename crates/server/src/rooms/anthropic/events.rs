//! A message while it is written: its blocks, and the events that tell of them, in Anthropic's order.

use crate::hall::{Answer, Ending, Said, Tokens};
use crate::rooms::blocks::{Block, Blocks, Kind, Teller};
use crate::rooms::stream::{Events, Gone};
use crate::rooms::unique;
use serde_json::{Value, json};

/// A message under way.
pub(super) struct Writing {
    blocks: Blocks,
    told: Told,
    /// Whether the thinking is told, which it is to whoever asks for it.
    tells_thinking: bool,
}

/// What has been told of it.
struct Told {
    id: String,
    model: String,
    /// Blocks that are complete.
    content: Vec<Value>,
    /// Events that have not been sent.
    events: Vec<(&'static str, Value)>,
}

impl Writing {
    pub(super) fn new(model: String, tells_thinking: bool) -> Writing {
        let told = Told { id: unique("msg_"), model, content: Vec::new(), events: Vec::new() };
        Writing { blocks: Blocks::default(), told, tells_thinking }
    }

    /// Sends the events of `answer` until it ends.
    pub(super) async fn write(mut self, mut answer: Answer, events: Events) -> Result<(), Gone> {
        let mut message = self.message(&Ending::Length, answer.tokens());
        message["stop_reason"] = Value::Null;
        self.told.tell("message_start", json!({"message": message}));
        self.told.tell("ping", json!({}));
        let mut ending = Ending::Length;
        loop {
            events.send_all(&mut self.told.events).await?;
            match answer.next().await {
                Ok(Some(said)) => {
                    ending = said.ending.clone().unwrap_or(ending);
                    self.hear(said);
                }
                Ok(None) => break,
                Err(error) => {
                    self.told.events.push(("error", super::body(&error)));
                    return events.send_all(&mut self.told.events).await;
                }
            }
        }
        self.end();
        let (reason, sequence) = stop(&ending);
        let delta = json!({"stop_reason": reason, "stop_sequence": sequence});
        self.told.tell("message_delta", json!({"delta": delta, "usage": usage(answer.tokens())}));
        self.told.tell("message_stop", json!({}));
        events.send_all(&mut self.told.events).await
    }

    /// Takes what the model says next.
    pub(super) fn hear(&mut self, mut said: Said) {
        if !self.tells_thinking {
            said.piece.reasoning.clear();
        }
        self.blocks.hear(said, &mut self.told);
    }

    /// Completes the open block.
    pub(super) fn end(&mut self) {
        self.blocks.end(&mut self.told);
    }

    /// The message as far as it is written.
    pub(super) fn message(&self, ending: &Ending, tokens: Tokens) -> Value {
        let (reason, sequence) = stop(ending);
        json!({
            "id": self.told.id,
            "type": "message",
            "role": "assistant",
            "model": self.told.model,
            "content": self.told.content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usage(tokens),
        })
    }
}

impl Told {
    fn tell(&mut self, name: &'static str, mut data: Value) {
        data["type"] = name.into();
        self.events.push((name, data));
    }
}

impl Teller for Told {
    fn begin(&mut self, block: &Block) {
        self.tell("content_block_start", json!({"index": self.content.len(), "content_block": wire(block)}));
    }

    fn add(&mut self, block: &Block, text: &str) {
        let delta = match block.kind {
            Kind::Thinking => json!({"type": "thinking_delta", "thinking": text}),
            Kind::Text => json!({"type": "text_delta", "text": text}),
            Kind::Call { .. } => json!({"type": "input_json_delta", "partial_json": text}),
        };
        self.tell("content_block_delta", json!({"index": self.content.len(), "delta": delta}));
    }

    fn end(&mut self, block: Block) {
        let index = self.content.len();
        if block.kind == Kind::Thinking {
            // Clients keep it and send it back; nothing here reads it.
            let delta = json!({"type": "signature_delta", "signature": ""});
            self.tell("content_block_delta", json!({"index": index, "delta": delta}));
        }
        self.tell("content_block_stop", json!({"index": index}));
        self.content.push(wire(&block));
    }
}

/// Why a message ended, in Anthropic's words, and the stop string if one did it.
fn stop(ending: &Ending) -> (&'static str, Option<String>) {
    match ending {
        Ending::Length => ("max_tokens", None),
        Ending::String(stop) => ("stop_sequence", Some(stop.clone())),
        Ending::Calls => ("tool_use", None),
        Ending::Stop => ("end_turn", None),
    }
}

/// A block as it is told.
fn wire(Block { kind, text }: &Block) -> Value {
    match kind {
        Kind::Thinking => json!({"type": "thinking", "thinking": text, "signature": ""}),
        Kind::Text => json!({"type": "text", "text": text}),
        Kind::Call { id, name, .. } => {
            // While it is written the input is an empty object; its text comes piece by piece.
            let input = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": id, "name": name, "input": input})
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
