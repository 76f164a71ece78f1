//! Anthropic's messages, whose contents are blocks, as ours.

use crate::error::ApiError;
use picnic_chat::{FunctionCall, Message, Role, ToolCall};
use serde_json::{Value, json};

/// What Claude Code's line for billing begins with.
const BILLING: &str = "x-anthropic-billing-header:";

/// A system prompt and messages as one conversation.
pub(super) fn messages(system: Option<&Value>, wire: &[Value]) -> Result<Vec<Message>, ApiError> {
    let mut messages = Vec::new();
    if let Some(system) = system.filter(|system| !system.is_null()) {
        let blocks = texts(system).map_err(|problem| ApiError::parameter("system", problem))?;
        let kept: Vec<&str> = blocks.iter().map(|text| without_billing(text)).filter(|text| !text.is_empty()).collect();
        if !kept.is_empty() {
            messages.push(Message::system(kept.join("\n\n")));
        }
    }
    for (at, message) in wire.iter().enumerate() {
        read(message, &mut messages)
            .map_err(|problem| ApiError::parameter("messages", format!("has at {at} a message that {problem}")))?;
    }
    Ok(messages)
}

/// `text` without a first line that differs from request to request.
fn without_billing(text: &str) -> &str {
    match text.starts_with(BILLING) {
        true => text.split_once('\n').map_or("", |(_, rest)| rest.trim_start_matches('\n')),
        false => text,
    }
}

fn read(wire: &Value, messages: &mut Vec<Message>) -> Result<(), String> {
    let role = match wire.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        // In the middle of a conversation too.
        Some("system" | "developer") => Role::System,
        role => return Err(format!("has the role {role:?}: use user or assistant")),
    };
    let blocks = match wire.get("content") {
        Some(Value::String(text)) => {
            messages.push(Message::new(role, text.clone()));
            return Ok(());
        }
        Some(Value::Array(blocks)) => blocks,
        _ => return Err("has no content: give a string or a list of blocks".to_owned()),
    };
    let mut message = Message { role, ..Message::default() };
    for block in blocks {
        let kind = block.get("type").and_then(Value::as_str);
        let text_at = |key: &str| {
            let text = block.get(key).and_then(Value::as_str);
            text.ok_or_else(|| format!("has a block of the type {} without a text `{key}`", kind.unwrap_or_default()))
        };
        match kind {
            Some("text") => append(&mut message.content, text_at("text")?),
            Some("thinking") => append(&mut message.reasoning_content, text_at("thinking")?),
            // Sealed for its maker alone.
            Some("redacted_thinking") => {}
            Some("tool_use") => message.tool_calls.push(ToolCall {
                id: Some(text_at("id")?.to_owned()),
                kind: "function".to_owned(),
                function: FunctionCall {
                    name: text_at("name")?.to_owned(),
                    arguments: block.get("input").cloned().unwrap_or_else(|| json!({})).to_string(),
                },
            }),
            Some("tool_result") => {
                // Before what the person says beside it.
                let mut content = block.get("content").map_or(Ok(Vec::new()), texts)?.join("\n");
                if block.get("is_error").and_then(Value::as_bool) == Some(true) {
                    content.insert_str(0, "Error: ");
                }
                messages.push(Message {
                    role: Role::Tool,
                    content: Some(content),
                    tool_call_id: Some(text_at("tool_use_id")?.to_owned()),
                    ..Message::default()
                });
            }
            Some(kind @ ("image" | "document" | "search_result")) => {
                return Err(format!("has a block of the type {kind}, which no model here can read: send text"));
            }
            Some(_) => {}
            None => return Err("has a block without a type".to_owned()),
        }
    }
    let is_empty = message.content.is_none() && message.reasoning_content.is_none() && message.tool_calls.is_empty();
    if !is_empty || blocks.is_empty() {
        message.content.get_or_insert_default();
        messages.push(message);
    }
    Ok(())
}

fn append(to: &mut Option<String>, text: &str) {
    let to = to.get_or_insert_default();
    if !to.is_empty() && !text.is_empty() {
        to.push('\n');
    }
    to.push_str(text);
}

/// The texts of a string or of blocks.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(blocks) => {
            let text = |block: &Value| match block.get("type").and_then(Value::as_str) {
                Some("text") => match block.get("text").and_then(Value::as_str) {
                    Some(text) => Ok(text.to_owned()),
                    None => Err("has a block of the type text without a text `text`".to_owned()),
                },
                Some(kind) => Err(format!("has a block of the type {kind}, which no model here can read: send text")),
                None => Err("has a block without a type".to_owned()),
            };
            blocks.iter().map(text).collect()
        }
        _ => Err("is neither a string nor a list of blocks".to_owned()),
    }
}

/// Tools in the form of chat completions. Those that Anthropic itself would run have no schema and are left out.
pub(super) fn tools(tools: Vec<Value>) -> Vec<Value> {
    let function = |tool: Value| {
        let mut function = json!({"name": tool.get("name")?, "parameters": tool.get("input_schema")?});
        if let Some(description) = tool.get("description") {
            function["description"] = description.clone();
        }
        Some(json!({"type": "function", "function": function}))
    };
    tools.into_iter().filter_map(function).collect()
}

/// OpenAI's word for a `tool_choice`.
pub(super) fn tool_choice(choice: &Value) -> Result<Value, ApiError> {
    match choice.get("type").and_then(Value::as_str) {
        Some(word @ ("auto" | "any" | "none")) => Ok(word.into()),
        Some("tool") => Ok(json!({"name": choice.get("name")})),
        _ => Err(ApiError::parameter("tool_choice", "must have the type `auto`, `any`, `tool` or `none`")),
    }
}
