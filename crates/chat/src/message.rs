//! One message of a conversation, in the wire names that OpenAI's and DeepSeek's APIs share.

use crate::python;
use serde::{Deserialize, Deserializer, Serialize};

/// One turn. What is absent is left out when serialised, not written as `null`: chat templates ask
/// whether a key is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "ReadMessage")]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text. Read from a string, `null`, or a list of text parts, which are joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The assistant's thinking, apart from the answer. Two more names for it are in use, and some clients send several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Calls that the assistant makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// In a tool's message: the call that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// A name for the speaker or the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A message as it is read.
#[derive(Deserialize)]
struct ReadMessage {
    role: Role,
    #[serde(default, deserialize_with = "text_or_parts")]
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    thinking: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    tool_calls: Vec<ToolCall>,
    tool_call_id: Option<String>,
    name: Option<String>,
}

impl From<ReadMessage> for Message {
    fn from(read: ReadMessage) -> Message {
        let ReadMessage { role, content, reasoning_content, reasoning, thinking, tool_calls, tool_call_id, name } =
            read;
        let reasoning_content = reasoning_content.or(reasoning).or(thinking);
        Message { role, content, reasoning_content, tool_calls, tool_call_id, name }
    }
}

impl Message {
    /// A message that is only text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: Some(content.into()), ..Self::default() }
    }

    /// Instructions from whoever runs the model.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// A person's turn.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// The model's turn without thinking; set `reasoning_content` to add some.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever runs the model.
    System,
    /// OpenAI's newer name for `system`, which it becomes where the template does not know it.
    Developer,
    /// The person.
    #[default]
    User,
    /// The model.
    Assistant,
    /// A function's result.
    Tool,
}

/// A call that the assistant makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Ties the answer to the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Always `function` today.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// What is called.
    pub function: FunctionCall,
}

/// A function and its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// JSON text as the model wrote it, possibly invalid. Read from a string, as the wire has it, or from any other
    /// JSON, as many data sets do.
    #[serde(default, deserialize_with = "text_or_json")]
    pub arguments: String,
}

fn function() -> String {
    "function".to_owned()
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn text_or_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        json => python::dumps(&json).map_err(serde::de::Error::custom),
    }
}

fn text_or_parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`content` must be a string, null, or a list of parts")]
    enum Content {
        Text(String),
        Parts(Vec<Part>),
    }
    #[derive(Deserialize)]
    struct Part {
        #[serde(rename = "type")]
        kind: String,
        text: Option<String>,
    }
    let parts = match Option::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Content::Text(text)) => return Ok(Some(text)),
        Some(Content::Parts(parts)) => parts,
    };
    parts
        .into_iter()
        .map(|part| match (part.kind.as_str(), part.text) {
            ("text", Some(text)) => Ok(text),
            (kind, _) => Err(serde::de::Error::custom(format!(
                "a content part of type `{kind}` cannot be read: send parts of type `text`"
            ))),
        })
        .collect::<Result<String, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_in_every_shape_of_the_wire() {
        let read =
            |content: &str| serde_json::from_str::<Message>(&format!(r#"{{"role":"user","content":{content}}}"#));
        assert_eq!(read(r#""a""#).unwrap(), Message::user("a"));
        assert_eq!(read("null").unwrap().content, None);
        let parts = r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#;
        assert_eq!(read(parts).unwrap(), Message::user("ab"));
        let image = read(r#"[{"type":"image_url","image_url":{}}]"#).unwrap_err();
        assert!(image.to_string().contains("image_url"), "{image}");
        assert!(read("7").is_err());
    }

    #[test]
    fn a_tool_call_keeps_its_wire_names() {
        let wire = r#"{"role":"assistant","reasoning_content":"hm","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
        let message: Message = serde_json::from_str(wire).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), wire);
        let object = wire.replace(r#""{}""#, r#"{"b": [1, null], "a": "ü"}"#);
        let message: Message = serde_json::from_str(&object).unwrap();
        assert_eq!(message.tool_calls[0].function.arguments, r#"{"b": [1, null], "a": "ü"}"#);
        let null: Message = serde_json::from_str(r#"{"role":"assistant","content":"x","tool_calls":null}"#).unwrap();
        assert_eq!(null, Message::assistant("x"));
    }
}
