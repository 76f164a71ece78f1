//! Calls whose parameters stand between tags, as Qwen3-Coder writes them, made JSON character by character.
//!
//! Such text has no types, so the tool's schema says what a value is. Without a schema, what reads as a JSON number,
//! word, list or object is that, and all the rest is text. A value that can only be text comes as it is written, any other
//! once it is whole.
//!
//! A value may hold any text, tags too. It ends at a `</parameter>` behind which the next parameter or the end of the
//! function comes, and, since models forget it, at a line that begins the next parameter, or ends the function and the
//! call. One line break at either end is not the value's.

use serde_json::Value;

/// What begins a function.
pub(crate) const FUNCTION: &str = "<function=";
const END_FUNCTION: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const END_PARAMETER: &str = "</parameter>";
const END_CALL: &str = "</tool_call>";

/// Bytes of a name, and of white space between two tags, at most.
const NAME: usize = 256;

/// A call while it is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    place: Place,
    /// What may become a tag or a name.
    held: String,
    name: String,
    key: String,
    value: String,
    /// What the value can be.
    kinds: Kinds,
    /// Whether no character of the value has come.
    is_fresh: bool,
    parameters: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    /// Before the name.
    #[default]
    Start,
    Name,
    /// Between parameters.
    Between,
    Key,
    Value,
}

/// What a character did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    More,
    /// The call is whole with this character.
    Done,
    /// No call goes on like this.
    Invalid,
}

/// What `text` is that may stand behind a value.
enum Behind {
    /// It may still become the end of the value.
    Begun,
    /// The next parameter.
    Parameter,
    /// The end of the call.
    End,
    /// A part of the value.
    Text,
}

/// Whether `text`, which has no white space in front, may still become such a call.
fn may_begin(text: &str) -> bool {
    FUNCTION.starts_with(text) || text.starts_with(FUNCTION)
}

impl Scanner {
    /// Reads a character and adds to the JSON of the arguments, `out`, what is certain. `schema` knows the parameters of a
    /// function.
    pub(super) fn push<'s>(&mut self, c: char, schema: impl Fn(&str) -> Option<&'s Value>, out: &mut String) -> Step {
        match self.place {
            Place::Start | Place::Between if self.held.is_empty() && c.is_whitespace() => Step::More,
            Place::Start => {
                self.held.push(c);
                if self.held == FUNCTION {
                    self.go(Place::Name);
                }
                if may_begin(&self.held) { Step::More } else { Step::Invalid }
            }
            Place::Name | Place::Key => self.named(c, schema, out),
            Place::Between => {
                self.held.push(c);
                match self.held.as_str() {
                    PARAMETER => self.go(Place::Key),
                    END_FUNCTION => return self.close(out),
                    held if PARAMETER.starts_with(held) || END_FUNCTION.starts_with(held) => {}
                    _ => return Step::Invalid,
                }
                Step::More
            }
            Place::Value => {
                self.held.push(c);
                self.value(out)
            }
        }
    }

    /// The name of the function, once it is whole.
    pub(super) fn name(&self) -> Option<&str> {
        (!matches!(self.place, Place::Start | Place::Name)).then_some(self.name.as_str())
    }

    /// Whether a parameter has begun.
    pub(super) fn has_parameters(&self) -> bool {
        self.parameters > 0
    }

    /// The model has ended its turn, or a mark has come that is a token. Whether the call is whole but for its last tags.
    pub(super) fn finish(&mut self, out: &mut String) -> bool {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Place::Between if held.is_empty() => {}
            Place::Value if held.trim() == END_PARAMETER => self.end_value(out),
            Place::Value if held.trim() == END_FUNCTION => self.end_value(out),
            _ => return false,
        }
        self.close(out) == Step::Done
    }

    fn go(&mut self, place: Place) {
        self.held.clear();
        self.place = place;
    }

    /// A character of a name, which a line break ends too: models forget the bracket.
    fn named<'s>(&mut self, c: char, schema: impl Fn(&str) -> Option<&'s Value>, out: &mut String) -> Step {
        let is_over = c == '>' || c == '\n' && !self.held.trim().is_empty();
        if !is_over {
            self.held.push(c);
            return if self.held.len() <= NAME { Step::More } else { Step::Invalid };
        }
        let name = self.held.trim().to_owned();
        if name.is_empty() {
            return Step::Invalid;
        }
        if self.place == Place::Name {
            self.name = name;
            self.go(Place::Between);
            return Step::More;
        }
        let property = schema(&self.name).and_then(|schema| schema.get("properties")?.get(&name));
        self.kinds = Kinds::of(property);
        self.key = name;
        self.is_fresh = true;
        out.push(if self.parameters == 0 { '{' } else { ',' });
        out.push_str(&Value::from(self.key.as_str()).to_string());
        out.push(':');
        if self.kinds.are_text() {
            out.push('"');
        }
        self.parameters += 1;
        self.go(Place::Value);
        Step::More
    }

    /// Sorts what is held into the value and what stands behind it.
    fn value(&mut self, out: &mut String) -> Step {
        loop {
            match behind(&self.held) {
                _ if self.held.is_empty() => return Step::More,
                Behind::Begun => return Step::More,
                Behind::Parameter => {
                    self.end_value(out);
                    self.go(Place::Key);
                    return Step::More;
                }
                Behind::End => {
                    self.end_value(out);
                    return self.close(out);
                }
                Behind::Text => {
                    let c = self.held.remove(0);
                    if !(self.is_fresh && c == '\n') {
                        self.say(c, out);
                    }
                    self.is_fresh = false;
                }
            }
        }
    }

    fn say(&mut self, c: char, out: &mut String) {
        if self.kinds.are_text() {
            let quoted = Value::from(c.to_string()).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        } else {
            self.value.push(c);
        }
    }

    fn end_value(&mut self, out: &mut String) {
        match self.kinds.are_text() {
            true => out.push('"'),
            false => out.push_str(&self.kinds.typed(&std::mem::take(&mut self.value)).to_string()),
        }
        self.go(Place::Between);
    }

    fn close(&mut self, out: &mut String) -> Step {
        out.push_str(if self.parameters == 0 { "{}" } else { "}" });
        Step::Done
    }
}

/// What `held` is behind a value.
fn behind(held: &str) -> Behind {
    let after_break = held.strip_prefix('\n').unwrap_or(held);
    // `</parameter>`, and then what tells that it is one.
    if END_PARAMETER.starts_with(after_break) {
        return Behind::Begun;
    }
    if let Some(after) = after_break.strip_prefix(END_PARAMETER) {
        let tag = after.trim_start();
        return match tag {
            PARAMETER => Behind::Parameter,
            END_FUNCTION | END_CALL => Behind::End,
            _ if after.len() > NAME => Behind::Text,
            _ if [PARAMETER, END_FUNCTION, END_CALL].iter().any(|known| known.starts_with(tag)) => Behind::Begun,
            _ => Behind::Text,
        };
    }
    // Where it was forgotten.
    let Some(tag) = held.strip_prefix('\n') else { return Behind::Text };
    let end = |between: &str| format!("{END_FUNCTION}{between}{END_CALL}");
    let ends = [end(""), end("\n")];
    match tag {
        PARAMETER => Behind::Parameter,
        _ if ends.iter().any(|end| end == tag) => Behind::End,
        _ if PARAMETER.starts_with(tag) || ends.iter().any(|end| end.starts_with(tag)) => Behind::Begun,
        _ => Behind::Text,
    }
}

/// What a schema lets a value be, by JSON's names of types; `None` if it does not say.
#[derive(Clone, Debug, Default)]
struct Kinds(Option<Vec<String>>);

impl Kinds {
    fn of(schema: Option<&Value>) -> Kinds {
        Kinds(schema.and_then(kinds))
    }

    fn are_text(&self) -> bool {
        self.0.as_ref().is_some_and(|kinds| !kinds.is_empty() && kinds.iter().all(|kind| kind == "string"))
    }

    fn may_be(&self, kind: &str) -> bool {
        self.0.as_ref().is_some_and(|kinds| kinds.iter().any(|known| known == kind))
    }

    /// The value that `text` is. A text that no type fits is what it reads as: whoever called may know better.
    fn typed(&self, text: &str) -> Value {
        let word = text.trim();
        // Templates write Python's words where they write no JSON.
        match word {
            "True" | "true" if self.may_be("boolean") => return true.into(),
            "False" | "false" if self.may_be("boolean") => return false.into(),
            "None" | "null" if self.may_be("null") => return Value::Null,
            _ => {}
        }
        let parsed = serde_json::from_str::<Value>(word).ok();
        let Some(kinds) = &self.0 else {
            return parsed.filter(|value| !value.is_string()).unwrap_or_else(|| text.into());
        };
        let fits = |value: &Value| {
            let kind = kind_of(value);
            kinds.iter().any(|known| known == kind || known == "integer" && kind == "number")
        };
        match parsed {
            Some(value) if fits(&value) && !value.is_string() => value,
            Some(value) if !self.may_be("string") => value,
            _ => text.into(),
        }
    }
}

fn kinds(schema: &Value) -> Option<Vec<String>> {
    if let Some(kind) = schema.get("type") {
        return match kind {
            Value::String(kind) => Some(vec![kind.clone()]),
            Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(values.iter().map(|value| kind_of(value).to_owned()).collect());
    }
    if let Some(value) = schema.get("const") {
        return Some(vec![kind_of(value).to_owned()]);
    }
    let choices = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)?.as_array())?;
    let all: Option<Vec<Vec<String>>> = choices.iter().map(kinds).collect();
    all.map(|kinds| kinds.concat())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The arguments of the call that `text` is.
    fn call(text: &str, schema: &Value) -> Option<String> {
        let (mut scanner, mut out) = (Scanner::default(), String::new());
        for (at, c) in text.char_indices() {
            match scanner.push(c, |name| (name == "f").then_some(schema), &mut out) {
                Step::More => {}
                Step::Done => return (at + c.len_utf8() == text.len()).then_some(out),
                Step::Invalid => return None,
            }
        }
        scanner.finish(&mut out).then_some(out)
    }

    fn value(text: &str, property: Value) -> Value {
        let whole = format!("<function=f>\n<parameter=a>\n{text}\n</parameter>\n</function>");
        let arguments = call(&whole, &json!({"properties": {"a": property}})).unwrap();
        serde_json::from_str::<Value>(&arguments).unwrap()["a"].take()
    }

    #[test]
    fn a_value_is_what_its_schema_says() {
        let optional = json!({"anyOf": [{"type": "string"}, {"type": "null"}]});
        for (text, property, expected) in [
            ("3", json!({"type": "string"}), json!("3")),
            ("3", json!({"type": "integer"}), json!(3)),
            ("3", json!({}), json!(3)),
            ("3", json!({"type": ["string", "null"]}), json!("3")),
            ("3", optional.clone(), json!("3")),
            ("None", optional.clone(), Value::Null),
            ("None", json!({"type": "string"}), json!("None")),
            ("None", json!({}), json!("None")),
            ("True", json!({"type": "boolean"}), json!(true)),
            ("false", json!({"type": ["boolean", "string"]}), json!(false)),
            ("[1, \"b\"]", json!({"type": "array"}), json!([1, "b"])),
            ("{\"b\": null}", json!({"type": "object"}), json!({"b": null})),
            ("{\"b\": null}", json!({"type": "string"}), json!("{\"b\": null}")),
            ("C", json!({"enum": ["C", "F"]}), json!("C")),
            ("2", json!({"enum": [1, 2]}), json!(2)),
            ("a\n\n  b\n", json!({"type": "string"}), json!("a\n\n  b\n")),
            ("far", json!({"type": "number"}), json!("far")),
            ("\"q\"", json!({"type": "string"}), json!("\"q\"")),
            ("", json!({"type": "string"}), json!("")),
        ] {
            assert_eq!(value(text, property.clone()), expected, "{text} {property}");
        }
    }

    #[test]
    fn a_value_may_hold_tags_and_lose_its_own() {
        let schema = json!({"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}});
        for (text, expected) in [
            ("<function=f></function>", json!({})),
            (
                "<function=f>\n<parameter=a>x</parameter><parameter=b>1</parameter></function>",
                json!({"a": "x", "b": 1}),
            ),
            // What it holds.
            ("<function=f><parameter=a>x</parameter> y</parameter></function>", json!({"a": "x</parameter> y"})),
            ("<function=f><parameter=a>a\n</function>\nb\n</parameter></function>", json!({"a": "a\n</function>\nb"})),
            ("<function=f><parameter=a>\n<b>\n</b>\n</parameter></function>", json!({"a": "<b>\n</b>"})),
            // What it lacks.
            ("<function=f>\n<parameter=a>\nx\n<parameter=b>\n1\n</parameter>\n</function>", json!({"a": "x", "b": 1})),
            ("<function=f>\n<parameter=a>\nx\n</function>\n</tool_call>", json!({"a": "x"})),
            ("<function=f>\n<parameter=a>\nx\n</parameter>\n</tool_call>", json!({"a": "x"})),
            ("<function=f\n<parameter=a\nx\n</parameter>\n</function>", json!({"a": "x"})),
            ("<function=f>\n<parameter=a>\nx\n</parameter>\n", json!({"a": "x"})),
        ] {
            let arguments = call(text, &schema).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), expected, "{text}");
        }
        for wrong in ["<function=>", "<function=f>text", "<function=f><parameter=>", "<function=f><parameter=a>x", "<f"]
        {
            assert_eq!(call(wrong, &schema), None, "{wrong}");
        }
    }
}
