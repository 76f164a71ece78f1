//! Calls whose parameters stand between tags, as Qwen3-Coder writes them.
//!
//! Such text has no types, so the tool's schema says what a value is. Without a schema, what reads as a JSON number,
//! word, list or object is that, and all the rest is text.

use serde_json::{Map, Value};

const FUNCTION: [&str; 2] = ["<function=", "</function>"];
const PARAMETER: [&str; 2] = ["<parameter=", "</parameter>"];

/// Whether `text` has come to the end of its function.
pub(super) fn is_whole(text: &str) -> bool {
    text.ends_with(FUNCTION[1])
}

/// Whether `text`, which has no white space in front, may still become such a call.
pub(super) fn may_begin(text: &str) -> bool {
    FUNCTION[0].starts_with(text) || text.starts_with(FUNCTION[0])
}

/// Name and arguments of a whole call; `None` if it is malformed. `schema` knows the parameters of a function.
pub(super) fn call<'s>(text: &str, schema: impl Fn(&str) -> Option<&'s Value>) -> Option<(String, String)> {
    let (name, mut rest) = text.trim().strip_prefix(FUNCTION[0])?.strip_suffix(FUNCTION[1])?.split_once('>')?;
    let name = name.trim();
    let properties = schema(name).and_then(|schema| schema.get("properties"));
    let mut arguments = Map::new();
    while let Some((before, parameter)) = rest.split_once(PARAMETER[0]) {
        let (key, after) = parameter.split_once('>')?;
        let (value, after) = after.split_once(PARAMETER[1])?;
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        if !before.trim().is_empty() {
            return None;
        }
        let property = properties.and_then(|properties| properties.get(key.trim()));
        arguments.insert(key.trim().to_owned(), typed(value, property));
        rest = after;
    }
    let is_whole = !name.is_empty() && rest.trim().is_empty();
    is_whole.then(|| (name.to_owned(), Value::from(arguments).to_string()))
}

fn typed(text: &str, schema: Option<&Value>) -> Value {
    let kind = schema.and_then(|schema| schema.get("type"));
    let is_text = kind.is_some_and(|kind| kind == "string");
    let parsed = serde_json::from_str::<Value>(text.trim()).ok().filter(|value| kind.is_some() || !value.is_string());
    parsed.filter(|_| !is_text).unwrap_or_else(|| text.into())
}
