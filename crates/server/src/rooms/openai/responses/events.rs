//! A response while it is written: its items, and the events that tell of them.

use super::Head;
use crate::error::ApiError;
use crate::hall::{Answer, Ending, Said, Tokens};
use crate::rooms::openai::unique;
use crate::rooms::stream::{Events, Gone};
use serde_json::{Value, json};

/// A response under way.
pub(super) struct Writing {
    head: Head,
    /// Items that are complete.
    output: Vec<Value>,
    open: Option<Open>,
    /// Events that have not been sent.
    events: Vec<(&'static str, Value)>,
    sent: u64,
}

/// The item that is being written.
struct Open {
    kind: Kind,
    id: String,
    text: String,
    /// Of a call.
    call: Option<(usize, String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Message,
    Call,
    /// Of a tool that takes free text, which stands in the one argument that the model was told of.
    CustomCall,
}

impl Writing {
    pub(super) fn new(head: Head) -> Writing {
        Writing { head, output: Vec::new(), open: None, events: Vec::new(), sent: 0 }
    }

    /// Sends the events of `answer` until it ends.
    pub(super) async fn write(mut self, mut answer: Answer, events: Events) -> Result<(), Gone> {
        let begun = self.response(None);
        self.tell("response.created", json!({"response": begun}));
        self.tell("response.in_progress", json!({"response": begun}));
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
                    self.fail(&error);
                    return self.send(&events).await;
                }
            }
        }
        self.end();
        let whole = self.response(Some((&ending, answer.tokens())));
        let name = if ending == Ending::Length { "response.incomplete" } else { "response.completed" };
        self.tell(name, json!({"response": whole}));
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
        data["sequence_number"] = self.sent.into();
        self.sent += 1;
        self.events.push((name, data));
    }

    /// Takes what the model says next.
    pub(super) fn hear(&mut self, mut said: Said) {
        let calls = said.take_calls();
        if !said.piece.reasoning.is_empty() {
            self.add(Kind::Reasoning, &said.piece.reasoning);
        }
        if !said.piece.content.is_empty() {
            self.add(Kind::Message, &said.piece.content);
        }
        for call in calls {
            let is_new =
                self.open.as_ref().and_then(|open| open.call.as_ref()).is_none_or(|(index, ..)| *index != call.index);
            if is_new {
                self.end();
                let (id, name) = (call.id.unwrap_or_else(|| unique("call_")), call.name.unwrap_or_default());
                let kind = if self.head.custom.contains(&name) { Kind::CustomCall } else { Kind::Call };
                self.begin(kind, Some((call.index, id, name)));
            }
            let kind = self.open.as_ref().map_or(Kind::Call, |open| open.kind);
            if !call.arguments.is_empty() {
                self.add(kind, &call.arguments);
            }
        }
    }

    fn add(&mut self, kind: Kind, text: &str) {
        if self.open.as_ref().is_none_or(|open| open.kind != kind) {
            self.end();
            self.begin(kind, None);
        }
        let Some(open) = &mut self.open else { return };
        open.text += text;
        if kind == Kind::CustomCall {
            // It can be told once it is whole.
            return;
        }
        let (id, index) = (open.id.clone(), self.output.len());
        let mut data = json!({"item_id": id, "output_index": index, "delta": text});
        let name = match kind {
            Kind::Reasoning => "response.reasoning_text.delta",
            Kind::Message => "response.output_text.delta",
            Kind::Call | Kind::CustomCall => "response.function_call_arguments.delta",
        };
        if kind != Kind::Call {
            data["content_index"] = 0.into();
        }
        if kind == Kind::Message {
            data["logprobs"] = json!([]);
        }
        self.tell(name, data);
    }

    fn begin(&mut self, kind: Kind, call: Option<(usize, String, String)>) {
        let prefix = match kind {
            Kind::Reasoning => "rs_",
            Kind::Message => "msg_",
            Kind::Call => "fc_",
            Kind::CustomCall => "ctc_",
        };
        let open = Open { kind, id: unique(prefix), text: String::new(), call };
        let (id, index, item) = (open.id.clone(), self.output.len(), open.item("in_progress"));
        self.open = Some(open);
        self.tell("response.output_item.added", json!({"output_index": index, "item": item}));
        if let Some(part) = kind.part("") {
            let data = json!({"item_id": id, "output_index": index, "content_index": 0, "part": part});
            self.tell("response.content_part.added", data);
        }
    }

    /// Completes the open item.
    pub(super) fn end(&mut self) {
        let Some(open) = self.open.take() else { return };
        let (id, index, text) = (&open.id, self.output.len(), &open.text);
        let at = json!({"item_id": id, "output_index": index, "content_index": 0});
        let with = |key: &str, value: Value| {
            let mut data = at.clone();
            data[key] = value;
            data
        };
        let item = open.item("completed");
        match open.kind {
            Kind::Reasoning => {
                self.tell("response.reasoning_text.done", with("text", text.as_str().into()));
                self.tell("response.content_part.done", with("part", item["content"][0].clone()));
            }
            Kind::Message => {
                let mut done = with("text", text.as_str().into());
                done["logprobs"] = json!([]);
                self.tell("response.output_text.done", done);
                self.tell("response.content_part.done", with("part", item["content"][0].clone()));
            }
            Kind::Call => {
                let data = json!({"item_id": id, "output_index": index, "arguments": text, "name": item["name"]});
                self.tell("response.function_call_arguments.done", data);
            }
            Kind::CustomCall => {
                let at = json!({"item_id": id, "output_index": index});
                for (name, key) in [
                    ("response.custom_tool_call_input.delta", "delta"),
                    ("response.custom_tool_call_input.done", "input"),
                ] {
                    let mut data = at.clone();
                    data[key] = item["input"].clone();
                    self.tell(name, data);
                }
            }
        }
        self.tell("response.output_item.done", json!({"output_index": index, "item": item}));
        self.output.push(item);
    }

    fn fail(&mut self, error: &ApiError) {
        let mut response = self.response(None);
        let body = error.body().error;
        response["status"] = "failed".into();
        response["error"] = json!({"code": body.code.unwrap_or("server_error"), "message": body.message});
        self.tell("response.failed", json!({"response": response}));
    }

    /// The response as far as it is known; whole with why it ended and its tokens.
    pub(super) fn response(&self, end: Option<(&Ending, Tokens)>) -> Value {
        let is_cut = matches!(end, Some((Ending::Length, _)));
        let status = match &end {
            None => "in_progress",
            Some(_) if is_cut => "incomplete",
            Some(_) => "completed",
        };
        let mut response = self.head.asked.clone();
        let known = json!({
            "id": self.head.id,
            "object": "response",
            "created_at": self.head.created,
            "model": self.head.model,
            "status": status,
            "error": null,
            "incomplete_details": if is_cut { json!({"reason": "max_output_tokens"}) } else { Value::Null },
            "output": self.output,
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

impl Kind {
    /// The one part of an item's content.
    fn part(self, text: &str) -> Option<Value> {
        match self {
            Kind::Reasoning => Some(json!({"type": "reasoning_text", "text": text})),
            Kind::Message => Some(json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})),
            Kind::Call | Kind::CustomCall => None,
        }
    }
}

impl Open {
    fn item(&self, status: &str) -> Value {
        let Open { kind, id, text, call } = self;
        // The parts come by events of their own, and stand in the item once it is complete.
        let content = if status == "completed" { Vec::from_iter(kind.part(text)) } else { Vec::new() };
        match kind {
            Kind::Reasoning => {
                json!({"type": "reasoning", "id": id, "summary": [], "content": content, "status": status})
            }
            Kind::Message => {
                json!({"type": "message", "id": id, "role": "assistant", "status": status, "content": content})
            }
            Kind::CustomCall => {
                let (call_id, name) = call.as_ref().map_or(("", ""), |(_, id, name)| (id, name));
                let input =
                    serde_json::from_str::<Value>(text).ok().and_then(|it| Some(it.get("input")?.as_str()?.to_owned()));
                // What is no such object is given as it is.
                let input = input.unwrap_or_else(|| text.clone());
                json!({"type": "custom_tool_call", "id": id, "call_id": call_id, "name": name, "input": input, "status": status})
            }
            Kind::Call => {
                let (call_id, name) = call.as_ref().map_or(("", ""), |(_, id, name)| (id, name));
                json!({
                    "type": "function_call", "id": id, "call_id": call_id, "name": name, "arguments": text, "status": status
                })
            }
        }
    }
}
