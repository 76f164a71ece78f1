//! Answers that are held to calls of tools: a grammar of the model's own form around the schemas of the arguments.
//!
//! A mark that the vocabulary has as one token is named as that token, any other is spelled out. The thinking comes
//! before, as with every form; in gpt-oss's format it is a channel and so a part of the grammar. Where a form has no
//! room for schemas (Qwen3-Coder's tags), values are free text.

use super::{MAX_SCHEMA, WHITE_SPACE};
use crate::ToolFormat;
use crate::tools::{self, functions};
use serde_json::{Map, Value, json};

/// A function that an answer may call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// The JSON schema of its arguments; without one, they are any object.
    pub parameters: Option<Value>,
    /// Whether every call of it is held to the schema, also where no call is asked for.
    pub strict: bool,
}

/// Whether an answer calls a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// It does.
    Required,
    /// It calls this one.
    Named(String),
}

impl ToolSpec {
    /// The functions of `tools`, which are in OpenAI's form.
    pub fn of(tools: &[Value]) -> Vec<ToolSpec> {
        let is_strict = |name: &str| {
            tools.iter().map(|tool| tool.get("function").unwrap_or(tool)).any(|function| {
                function.get("name").is_some_and(|known| known == name) && function.get("strict") == Some(&true.into())
            })
        };
        let spec = |(name, schema): (&str, Option<&Value>)| ToolSpec {
            name: name.to_owned(),
            parameters: schema.cloned(),
            strict: is_strict(name),
        };
        functions(tools).map(spec).collect()
    }
}

/// The Lark grammar of an answer that makes one of the calls, or more of them if `parallel`; `None` if `choice` leaves
/// the answer free.
///
/// # Errors
/// What is wrong with the tools.
pub(super) fn grammar<'m>(
    format: ToolFormat,
    marks: &'m [(&'static str, u32)],
    specs: &[ToolSpec],
    choice: &ToolChoice,
    parallel: bool,
) -> Result<Option<Lark<'m>>, String> {
    let chosen: Vec<&ToolSpec> = match choice {
        ToolChoice::Named(name) => specs.iter().filter(|spec| spec.name == *name).collect(),
        _ => specs.iter().collect(),
    };
    if *choice == ToolChoice::Auto && !specs.iter().any(|spec| spec.strict) {
        return Ok(None);
    }
    if chosen.is_empty() {
        return Err(match choice {
            ToolChoice::Named(name) => format!("there is no tool {name:?}: choose one that is listed"),
            _ => "there are no tools: list some".to_owned(),
        });
    }
    let bytes: usize = chosen.iter().filter_map(|spec| Some(spec.parameters.as_ref()?.to_string().len())).sum();
    if bytes > MAX_SCHEMA {
        return Err(format!("the schemas have {bytes} bytes, of {MAX_SCHEMA} at most"));
    }
    let mut lark = Lark { marks, rules: String::new(), tokens: Vec::new() };
    let mut calls = Vec::new();
    for (i, spec) in chosen.iter().enumerate() {
        // Where a call is asked for, its schema counts in any case.
        let schema = spec.parameters.clone().filter(|_| spec.strict || *choice != ToolChoice::Auto);
        let rule = lark.call(format, spec, schema);
        lark.rules += &format!("call{i}: {rule}\n");
        calls.push(format!("call{i}"));
    }
    lark.rules += &format!("call: {}\n", calls.join(" | "));
    if format == ToolFormat::Xml {
        // Up to the first end of a parameter, whatever stands before it.
        lark.rules += "value[suffix=\"\\n</parameter>\\n\"]: /(?s:.*)/\n";
    }
    let answer = lark.answer(format, parallel);
    let start = match choice {
        ToolChoice::Auto => lark.free(format, &answer),
        // The channels of gpt-oss follow right on the prompt.
        _ if format == ToolFormat::Harmony => format!("start: {answer}\n"),
        // Templates write white space between the thinking, or the role, and a call.
        _ => format!("start: lead? {answer}\nlead: /[ \\n]{{1,2}}/\n"),
    };
    lark.rules += &start;
    Ok(Some(lark))
}

/// A grammar while it is being written.
pub(super) struct Lark<'m> {
    marks: &'m [(&'static str, u32)],
    pub(super) rules: String,
    /// The tokens that it names.
    pub(super) tokens: Vec<u32>,
}

impl Lark<'_> {
    /// A mark: as the token that it is, or spelled out.
    fn mark(&mut self, mark: &str) -> String {
        match self.token(mark) {
            Some(id) => {
                self.tokens.push(id);
                format!("<[{id}]>")
            }
            None => literal(mark),
        }
    }

    /// The token that a mark is.
    fn token(&self, mark: &str) -> Option<u32> {
        self.marks.iter().find(|(known, _)| *known == mark).map(|(_, id)| *id)
    }

    /// What stands between the marks around one call.
    fn call(&mut self, format: ToolFormat, spec: &ToolSpec, schema: Option<Value>) -> String {
        let arguments = object_schema(schema);
        let json = |schema: Value| format!("%json {}", with_settings(schema));
        let object = |key: &str, schema: Value, more: &[(&str, Value)]| {
            let mut properties = json!({"name": {"const": spec.name}, key: schema});
            for (key, schema) in more {
                properties[*key] = schema.clone();
            }
            json!({"type": "object", "properties": properties, "required": ["name", key], "additionalProperties": false})
        };
        let named = |key: &str, schema: Value| json(lift_definitions(object(key, schema, &[]), key));
        let sep = tools::DEEPSEEK[4];
        match format {
            ToolFormat::Hermes => format!("\"\\n\"? {} \"\\n\"?", named("arguments", arguments)),
            ToolFormat::Llama => named("parameters", arguments),
            ToolFormat::Mistral => {
                // Templates show calls with the ids that they were given, and so do models.
                let id = json!({"type": "string", "pattern": "^[a-zA-Z0-9]{9}$"});
                json(lift_definitions(object("arguments", arguments, &[("id", id)]), "arguments"))
            }
            ToolFormat::Xml => {
                let keys: Vec<String> =
                    arguments["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
                let required = |key: &String| {
                    arguments["required"].as_array().is_some_and(|all| all.contains(&key.as_str().into()))
                };
                let parameters: String = keys
                    .iter()
                    .map(|key| {
                        let open = literal(&format!("<parameter={key}>\n"));
                        format!("({open} value){} ", if required(key) { "" } else { "?" })
                    })
                    .collect();
                let (open, close) = (literal(&format!("\n<function={}>\n", spec.name)), literal("</function>\n"));
                format!("{open} {parameters}{close}")
            }
            ToolFormat::DeepSeek => {
                let (sep, name) = (self.mark(sep), literal(&format!("{}\n```json\n", spec.name)));
                format!("\"function\" {sep} {name} {} {}", json(arguments), literal("\n```"))
            }
            ToolFormat::DeepSeekV31 => format!("{} {} {}", literal(&spec.name), self.mark(sep), json(arguments)),
            ToolFormat::MistralArgs => {
                let [_, args, id] = tools::MISTRAL.map(|mark| self.mark(mark));
                format!("{} ({id} /[a-zA-Z0-9]{{9}}/)? {args} {}", literal(&spec.name), json(arguments))
            }
            ToolFormat::Harmony => {
                let [channel, message, _, _, constrain, ..] = tools::HARMONY.map(|mark| self.mark(mark));
                let to = format!(" to=functions.{}", spec.name);
                let [first, last] = [literal(&to), literal(&format!("commentary{to}"))];
                // The recipient before the channel, as OpenAI's renderer puts it, or behind it.
                let header = format!("({first} {channel} \"commentary\" | {channel} {last})");
                format!("{header} (\" \" {constrain}? \"json\")? {message} {}", json(arguments))
            }
        }
    }

    /// All calls of an answer.
    fn answer(&mut self, format: ToolFormat, parallel: bool) -> String {
        let [open, close] = tools::CALL.map(|mark| self.mark(mark));
        let several = |open: &str, close: &str| match parallel {
            true => format!(" (\"\\n\"? {open} call {close}){{0,15}}"),
            false => String::new(),
        };
        match format {
            ToolFormat::Hermes | ToolFormat::Xml => format!("{open} call {close}{} \"\\n\"?", several(&open, &close)),
            ToolFormat::DeepSeek | ToolFormat::DeepSeekV31 => {
                let [begin, end, open, close, _] = tools::DEEPSEEK.map(|mark| self.mark(mark));
                format!("{begin} \"\\n\"? {open} call {close}{} (\"\\n\"? {end})?", several(&open, &close))
            }
            ToolFormat::Llama => "call \"\\n\"?".to_owned(),
            ToolFormat::Mistral => {
                let open = self.mark(tools::MISTRAL[0]);
                let more = if parallel { " (\",\" \" \"? call){0,15}" } else { "" };
                format!("{open} \" \"? \"[\" call{more} \"]\"")
            }
            ToolFormat::MistralArgs => {
                let open = self.mark(tools::MISTRAL[0]);
                if parallel { format!("({open} call){{1,16}}") } else { format!("{open} call") }
            }
            ToolFormat::Harmony => {
                let [channel, message, start, end, ..] = tools::HARMONY.map(|mark| self.mark(mark));
                self.rules += "thought: /(?s:.*)/\n";
                format!("({channel} \"analysis\" {message} thought {end} {start} \"assistant\")? call")
            }
        }
    }

    /// An answer in words, with calls after it or without. The first mark ends the words.
    fn free(&mut self, format: ToolFormat, answer: &str) -> String {
        match format {
            // The first character tells a call from words.
            ToolFormat::Llama => format!("start: {answer} | words\nwords: /[^{{](?s:.*)/\n"),
            ToolFormat::Harmony => {
                let [channel, message, ..] = tools::HARMONY.map(|mark| self.mark(mark));
                let [start, end] = [tools::HARMONY[2], tools::HARMONY[3]].map(|mark| self.mark(mark));
                let thinking = format!("({channel} \"analysis\" {message} thought {end} {start} \"assistant\")?");
                format!("start: {answer} | {thinking} {channel} \"final\" {message} thought\n")
            }
            _ => {
                let open = format.marks()[0];
                // Where the mark is spelled out, words must not spell it.
                let words = if self.token(open).is_some() { "/(?s:.*)/" } else { "/[^<\\[]*/" };
                format!("start: words ({answer})?\nwords: {words}\n")
            }
        }
    }
}

/// A string of Lark.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

fn with_settings(mut schema: Value) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.insert("x-guidance".to_owned(), json!({"whitespace_pattern": WHITE_SPACE}));
    }
    schema
}

/// The schema of arguments, which are an object whatever it says.
fn object_schema(schema: Option<Value>) -> Value {
    let mut members = match schema {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.entry("type").or_insert_with(|| "object".into());
    members.into()
}

/// `object` with the definitions of its member `key` at its root, where references look for them.
fn lift_definitions(mut object: Value, key: &str) -> Value {
    for definitions in ["$defs", "definitions"] {
        let found = object["properties"][key].as_object_mut().and_then(|schema| schema.remove(definitions));
        if let Some(found) = found {
            object[definitions] = found;
        }
    }
    object
}
