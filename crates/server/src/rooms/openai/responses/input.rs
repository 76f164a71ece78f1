//! The input of a response: a text or items, made into messages.

use crate::error::ApiError;
use picnic_chat::{FunctionCall, Message, Role, ToolCall};
use serde_json::{Value, json};

/// `instructions` and `input` as a conversation.
pub(super) fn messages(instructions: Option<String>, input: Option<Value>) -> Result<Vec<Message>, ApiError> {
    let mut messages: Vec<Message> = instructions.into_iter().map(Message::system).collect();
    match input {
        Some(Value::String(text)) => messages.push(Message::user(text)),
        Some(Value::Array(items)) => {
            // What was thought before a message or a call belongs to it.
            let mut thought: Option<String> = None;
            for (at, item) in items.iter().enumerate() {
                read(item, &mut messages, &mut thought)
                    .map_err(|problem| ApiError::parameter("input", format!("has at {at} an item that {problem}")))?;
            }
            if let Some(thought) = thought {
                messages.push(Message {
                    role: Role::Assistant,
                    reasoning_content: Some(thought),
                    ..Message::default()
                });
            }
        }
        _ => return Err(ApiError::parameter("input", "must be a string or a list of items")),
    }
    Ok(messages)
}

fn read(item: &Value, messages: &mut Vec<Message>, thought: &mut Option<String>) -> Result<(), String> {
    let text_at = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match item.get("type").and_then(Value::as_str).unwrap_or("message") {
        "message" => {
            let role = match item.get("role").and_then(Value::as_str) {
                Some("user") => Role::User,
                Some("assistant") => Role::Assistant,
                Some("system" | "developer") => Role::System,
                role => return Err(format!("has the role {role:?}: use user, assistant, system or developer")),
            };
            let content = text(item.get("content"))?;
            let reasoning_content = if role == Role::Assistant { thought.take() } else { None };
            messages.push(Message { reasoning_content, ..Message::new(role, content) });
        }
        "reasoning" => {
            let of = |key| item.get(key).map_or(Ok(String::new()), |parts| text(Some(parts)));
            // The thinking itself, or else its summary.
            let own = of("content")?;
            let own = if own.is_empty() { of("summary")? } else { own };
            if !own.is_empty() {
                *thought = Some(own);
            }
        }
        kind @ ("function_call" | "custom_tool_call") => {
            let arguments = match kind {
                "function_call" => text_at("arguments"),
                // A tool of free text is one with a single argument.
                _ => json!({"input": text_at("input")}).to_string(),
            };
            let call = ToolCall {
                id: item.get("call_id").and_then(Value::as_str).map(str::to_owned),
                kind: "function".to_owned(),
                function: FunctionCall { name: text_at("name"), arguments },
            };
            // Calls made together are one message.
            match messages.last_mut().filter(|last| last.role == Role::Assistant && thought.is_none()) {
                Some(last) => last.tool_calls.push(call),
                None => messages.push(Message {
                    role: Role::Assistant,
                    reasoning_content: thought.take(),
                    tool_calls: vec![call],
                    ..Message::default()
                }),
            }
        }
        "function_call_output" | "custom_tool_call_output" => messages.push(Message {
            role: Role::Tool,
            content: Some(text(item.get("output"))?),
            tool_call_id: item.get("call_id").and_then(Value::as_str).map(str::to_owned),
            ..Message::default()
        }),
        // Such as web_search_call: nothing that a model here could read.
        _ => {}
    }
    Ok(())
}

/// A text, or the texts of its parts.
fn text(content: Option<&Value>) -> Result<String, String> {
    match content {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let part = |part: &Value| match part.get("type").and_then(Value::as_str) {
                Some("input_image" | "input_file" | "input_audio") => {
                    Err("has an image, a file or a sound, which no model here can read: send text".to_owned())
                }
                _ => {
                    Ok(part.get("text").or(part.get("refusal")).and_then(Value::as_str).unwrap_or_default().to_owned())
                }
            };
            parts.iter().map(part).collect::<Result<Vec<_>, _>>().map(|parts| parts.concat())
        }
        Some(other) => Ok(other.to_string()),
    }
}

/// The names of the tools of free text among `tools`.
pub(super) fn custom(tools: &[Value]) -> Vec<String> {
    let is_custom = |tool: &&Value| tool.get("type").is_some_and(|kind| kind == "custom");
    tools.iter().filter(is_custom).filter_map(|tool| Some(tool.get("name")?.as_str()?.to_owned())).collect()
}

/// Tools in the form of chat completions. A tool of free text becomes a function with one argument; those of other kinds, which
/// OpenAI itself would run, are left out.
pub(super) fn tools(tools: Vec<Value>) -> Vec<Value> {
    let function = |tool: Value| {
        let parameters = match tool.get("type").and_then(Value::as_str) {
            Some("function") => tool.get("parameters").cloned().unwrap_or_else(|| json!({"type": "object"})),
            Some("custom") => json!({
                "type": "object", "required": ["input"], "properties": {"input": {"type": "string"}},
                "additionalProperties": false
            }),
            _ => return None,
        };
        let mut function = json!({"name": tool.get("name")?, "parameters": parameters});
        for key in ["description", "strict"] {
            if let Some(value) = tool.get(key).filter(|value| !value.is_null()) {
                function[key] = value.clone();
            }
        }
        Some(json!({"type": "function", "function": function}))
    };
    tools.into_iter().filter_map(function).collect()
}
