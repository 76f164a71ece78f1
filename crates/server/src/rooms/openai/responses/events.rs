//! A response while it is written: its items, and the events that tell of them.

use super::Head;
use crate::error::ApiError;
use crate::hall::{Answer, Ending, Said, Tokens};
use crate::rooms::blocks::{Block, Blocks, Kind, Teller};
use crate::rooms::stream::{Events, Gone};
use crate::rooms::unique;
use serde_json::{Value, json};

/// A response under way.
pub(super) struct Writing {
    blocks: Blocks,
    told: Told,
}

/// What has been told of it.
struct Told {
    head: Head,
    /// Items that are complete.
    output: Vec<Value>,
    /// The id of the item that is being written.
    id: String,
    /// Log-probabilities of its text, and how many of them have been told with a piece of it.
    logprobs: Vec<Value>,
    logprobs_told: usize,
    /// Events that have not been sent, and how many there were.
    events: Vec<(&'static str, Value)>,
    count: u64,
}

impl Writing {
    pub(super) fn new(head: Head) -> Writing {
        let told = Told {
            head,
            output: Vec::new(),
            id: String::new(),
            logprobs: Vec::new(),
            logprobs_told: 0,
            events: Vec::new(),
            count: 0,
        };
        Writing { blocks: Blocks::default(), told }
    }

    /// Sends the events of `answer` until it ends.
    pub(super) async fn write(mut self, mut answer: Answer, events: Events) -> Result<(), Gone> {
        let begun = self.response(None);
        self.told.tell("response.created", json!({"response": begun}));
        self.told.tell("response.in_progress", json!({"response": begun}));
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
                    self.fail(&error);
                    return events.send_all(&mut self.told.events).await;
                }
            }
        }
        let whole = self.complete(&ending, answer.tokens());
        let name = if ending == Ending::Length { "response.incomplete" } else { "response.completed" };
        self.told.tell(name, json!({"response": whole}));
        events.send_all(&mut self.told.events).await
    }

    /// Takes what the model says next.
    pub(super) fn hear(&mut self, said: Said) {
        let logprobs = self.told.head.logprobs(&said);
        self.told.logprobs.extend(logprobs);
        self.blocks.hear(said, &mut self.told);
    }

    /// Completes the open item: the whole response, which is kept if it is to be.
    pub(super) fn complete(&mut self, ending: &Ending, tokens: Tokens) -> Value {
        self.blocks.end(&mut self.told);
        let whole = self.response(Some((ending, tokens)));
        if let Some(keeping) = self.told.head.keeping.take() {
            keeping.keep(&whole);
        }
        whole
    }

    fn fail(&mut self, error: &ApiError) {
        let mut response = self.response(None);
        let body = error.body().error;
        response["status"] = "failed".into();
        response["error"] = json!({"code": body.code.unwrap_or("server_error"), "message": body.message});
        self.told.tell("response.failed", json!({"response": response}));
    }

    /// The response as far as it is known; whole with why it ended and its tokens.
    pub(super) fn response(&self, end: Option<(&Ending, Tokens)>) -> Value {
        let Told { head, output, .. } = &self.told;
        let is_cut = matches!(end, Some((Ending::Length, _)));
        let status = match &end {
            None => "in_progress",
            Some(_) if is_cut => "incomplete",
            Some(_) => "completed",
        };
        let mut response = head.asked.clone();
        let known = json!({
            "id": head.id,
            "object": "response",
            "created_at": head.created,
            "model": head.model,
            "status": status,
            "error": null,
            "incomplete_details": if is_cut { json!({"reason": "max_output_tokens"}) } else { Value::Null },
            "output": output,
            "usage": end.map(|(_, tokens)| json!({
                "input_tokens": tokens.prompt,
                "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
                "output_tokens": tokens.completion,
                "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
                "total_tokens": tokens.prompt + tokens.completion,
            })),
        });
        if let (Value::Object(response), Value::Object(known)) = (&mut response, known) {
            response.extend(known);
        }
        response
    }
}

impl Told {
    fn tell(&mut self, name: &'static str, mut data: Value) {
        data["type"] = name.into();
        data["sequence_number"] = self.count.into();
        self.count += 1;
        self.events.push((name, data));
    }

    /// Tells something of the item that is being written.
    fn tell_of_item(&mut self, name: &'static str, more: Value) {
        let mut data = json!({"item_id": self.id, "output_index": self.output.len()});
        if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
            data.extend(more);
        }
        self.tell(name, data);
    }

    /// Whether a call is of a tool that takes free text, which stands in the one argument that the model was told of.
    fn is_custom(&self, block: &Block) -> bool {
        matches!(&block.kind, Kind::Call { name, .. } if self.head.custom.contains(name))
    }

    fn item(&self, block: &Block, status: &str) -> Value {
        let (id, text) = (&self.id, &block.text);
        // The parts come by events of their own, and stand in the item once it is complete.
        let content =
            if status == "completed" { Vec::from_iter(part(block, text, &self.logprobs)) } else { Vec::new() };
        match &block.kind {
            Kind::Thinking => {
                json!({"type": "reasoning", "id": id, "summary": [], "content": content, "status": status})
            }
            Kind::Text => {
                json!({"type": "message", "id": id, "role": "assistant", "status": status, "content": content})
            }
            Kind::Call { id: call_id, name, .. } if self.is_custom(block) => {
                let input = serde_json::from_str::<Value>(text).ok();
                let input = input.and_then(|arguments| Some(arguments.get("input")?.as_str()?.to_owned()));
                // What is no such object is given as it is.
                let input = input.unwrap_or_else(|| text.clone());
                json!({
                    "type": "custom_tool_call", "id": id, "call_id": call_id, "name": name, "input": input, "status": status
                })
            }
            Kind::Call { id: call_id, name, .. } => json!({
                "type": "function_call", "id": id, "call_id": call_id, "name": name, "arguments": text, "status": status
            }),
        }
    }
}

impl Teller for Told {
    fn begin(&mut self, block: &Block) {
        self.id = unique(match block.kind {
            Kind::Thinking => "rs_",
            Kind::Text => "msg_",
            Kind::Call { .. } if self.is_custom(block) => "ctc_",
            Kind::Call { .. } => "fc_",
        });
        let item = self.item(block, "in_progress");
        self.tell("response.output_item.added", json!({"output_index": self.output.len(), "item": item}));
        if let Some(part) = part(block, "", &[]) {
            self.tell_of_item("response.content_part.added", json!({"content_index": 0, "part": part}));
        }
    }

    fn add(&mut self, block: &Block, text: &str) {
        match block.kind {
            Kind::Thinking => {
                self.tell_of_item("response.reasoning_text.delta", json!({"content_index": 0, "delta": text}));
            }
            Kind::Text => {
                let more = json!({"content_index": 0, "delta": text, "logprobs": self.logprobs[self.logprobs_told..]});
                self.logprobs_told = self.logprobs.len();
                self.tell_of_item("response.output_text.delta", more);
            }
            // Its text can be told once the arguments that hold it are whole.
            Kind::Call { .. } if self.is_custom(block) => {}
            Kind::Call { .. } => self.tell_of_item("response.function_call_arguments.delta", json!({"delta": text})),
        }
    }

    fn end(&mut self, block: Block) {
        let (item, text) = (self.item(&block, "completed"), &block.text);
        match &block.kind {
            Kind::Thinking => {
                self.tell_of_item("response.reasoning_text.done", json!({"content_index": 0, "text": text}));
            }
            Kind::Text => {
                let more = json!({"content_index": 0, "text": text, "logprobs": self.logprobs});
                self.tell_of_item("response.output_text.done", more);
            }
            Kind::Call { .. } if self.is_custom(&block) => {
                self.tell_of_item("response.custom_tool_call_input.delta", json!({"delta": item["input"]}));
                self.tell_of_item("response.custom_tool_call_input.done", json!({"input": item["input"]}));
            }
            Kind::Call { name, .. } => {
                let more = json!({"arguments": text, "name": name});
                self.tell_of_item("response.function_call_arguments.done", more);
            }
        }
        if let Some(part) = part(&block, text, &self.logprobs) {
            self.tell_of_item("response.content_part.done", json!({"content_index": 0, "part": part}));
        }
        self.tell("response.output_item.done", json!({"output_index": self.output.len(), "item": item}));
        self.output.push(item);
        if block.kind == Kind::Text {
            self.logprobs.clear();
            self.logprobs_told = 0;
        }
    }
}

/// The one part of an item's content; a call has none.
fn part(block: &Block, text: &str, logprobs: &[Value]) -> Option<Value> {
    match block.kind {
        Kind::Thinking => Some(json!({"type": "reasoning_text", "text": text})),
        Kind::Text => Some(json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs})),
        Kind::Call { .. } => None,
    }
}
