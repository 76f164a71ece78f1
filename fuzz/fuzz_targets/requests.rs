//! Requests: any body is answered as the server's own document says, which is never by a failure of the server.
//!
//! The first byte chooses the path. By the second one the rest is the body, or a body is made of it: JSON by the schema that
//! the document has for this path, with a value of another kind here and there, perhaps damaged in the end. Behind the
//! routes are the real engine and a model of a few hundred weights that knows nothing.

#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use picnic_chat::ChatFormat;
use picnic_model::config::ModelConfig;
use picnic_model::{CacheForm, Model, SharedModel, backend, initialise};
use picnic_server::{Hosted, House, Limits, Served, Server, Settings};
use picnic_tokenizer::{Tokenizer, TrainConfig};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// The name of the model.
const NAME: &str = "tiny";

static SERVED: LazyLock<Fuzzed> = LazyLock::new(Fuzzed::new);

/// The application and what it says of itself.
struct Fuzzed {
    runtime: Runtime,
    router: Router,
    document: Value,
    /// The paths that take a body.
    paths: Vec<String>,
}

impl Fuzzed {
    fn new() -> Fuzzed {
        let mut config = TrainConfig::default();
        config.special_tokens.extend(["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"].map(str::to_owned));
        config.vocab_size = 256 + config.special_tokens.len() + config.added_tokens.len();
        let vocab_size = config.vocab_size;
        let chat = ChatFormat::picnic(Tokenizer::train([""], &config).expect("a vocabulary of bytes"));
        let config = json!({
            "model_type": "llama", "vocab_size": vocab_size, "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "rope_theta": 10000.0, "initializer_range": 0.1
        });
        let config = ModelConfig::from_value(&config, "tiny".as_ref()).expect("a configuration");
        let ops = backend::with_threads(1).expect("one thread");
        let model = Model::new(config);
        let params = initialise(&ops, &model, 1).expect("little memory");
        let limits = Limits { default_max_tokens: 4, ..Limits::new(&ops, &model, CacheForm::Exact, 1 << 20) };
        let (name, model) = (NAME.to_owned(), SharedModel::new(model, params));
        let hosted = Hosted::new(Served { name, model, ops, chat, limits, disk: None }).expect("a thread");
        let settings = Settings { stored_bytes: 1 << 16, ..Settings::default() };
        let router = Server::new(House::of(hosted), settings).router();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let mut fuzzed = Fuzzed { runtime, router, document: Value::Null, paths: Vec::new() };
        let answer = fuzzed.answer(Request::get("/openapi.json").body(Body::empty()).expect("a request"));
        fuzzed.document = serde_json::from_str(&answer.2).expect("a document");
        let paths = fuzzed.document["paths"].as_object().expect("paths");
        fuzzed.paths =
            paths.iter().filter(|(_, item)| item.get("post").is_some()).map(|(path, _)| path.clone()).collect();
        fuzzed
    }

    /// Status, media type and body.
    fn answer(&self, request: Request<Body>) -> (u16, String, String) {
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("an answer");
            let kind =
                response.headers().get("content-type").map(|kind| kind.to_str().expect("a media type").to_owned());
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a whole body").to_bytes();
            (status, kind.unwrap_or_default(), String::from_utf8(body.into()).expect("a text"))
        })
    }

    /// What the document says of a schema that may be a reference.
    fn resolved<'d>(&'d self, schema: &'d Value) -> &'d Value {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| self.document.pointer(&target[1..]));
        target.map_or(schema, |target| self.resolved(target))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let &[path, how, ref bytes @ ..] = bytes else { return };
    let path = &SERVED.paths[usize::from(path) % SERVED.paths.len()];
    let operation = &SERVED.document["paths"][path]["post"];
    let body = match how & 1 {
        0 => bytes.to_vec(),
        _ => {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let mut maker = Maker(Unstructured::new(bytes));
            let body = maker.value(schema, 0).unwrap_or_default().to_string().into_bytes();
            if how & 2 == 0 { body } else { maker.damaged(body).unwrap_or_default() }
        }
    };
    let told = String::from_utf8_lossy(&body).into_owned();
    let request = Request::post(path.replace("{name}", NAME)).body(Body::from(body)).expect("a request");
    let (status, kind, text) = SERVED.answer(request);
    let is_told = operation["responses"].get(status.to_string()).is_some();
    assert!(is_told && status < 500, "{path}: {status} for {told}\n{text}");
    if kind == "text/event-stream" {
        // Events are named where the contract has names; comments keep the line open.
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with([':', 'e'])) {
            let data = line.strip_prefix("data: ").unwrap_or_else(|| panic!("{path}: {line:?} for {told}"));
            let is_json = serde_json::from_str::<Value>(data).is_ok_and(|data| data.is_object());
            assert!(is_json || data == "[DONE]", "{path}: {line:?} for {told}");
        }
        return;
    }
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text:?} for {told}"));
    let error = &answer["error"];
    let is_error = error["message"].as_str().is_some_and(|message| !message.is_empty()) && error["type"].is_string();
    assert!(answer.is_object() && is_error == (status != 200), "{path}: {status} {text} for {told}");
    let is_anthropic = path.contains("/messages") && status != 200;
    assert!(!is_anthropic || answer["type"] == "error", "{path}: {status} {text} for {told}");
});

/// Makes JSON of bytes.
struct Maker<'b>(Unstructured<'b>);

/// Values that strings of requests have, and some that they do not.
const WORDS: [&str; 32] = [
    "hi", "", NAME, "user", "assistant", "system", "tool", "text", "function", "f", "<think>", "</think>", "<|eos|>",
    "é🤖\0", "auto", "required", "none", "json_schema", "json_object", "enabled", "disabled", "deepseek-reasoner",
    "claude-x", "tool_use", "tool_result", "input_text", "function_call", "start: \"a\" | start", "[a-z]+(b|c){2,5}",
    "{\"a\": 1}", "7", "\u{2028}\\\"",
];

/// Keys that are in no schema of the document, or that stand in what it calls any object.
const KEYS: [&str; 32] = [
    "type", "properties", "required", "items", "enum", "const", "anyOf", "allOf", "$ref", "$defs",
    "additionalProperties", "pattern", "minLength", "maxItems", "minimum", "multipleOf", "format", "prefixItems", "a",
    "name", "content", "functions", "function_call", "best_of", "min_tokens", "grammar", "prompt_logprobs",
    "enable_thinking", "reasoning_effort", "source", "cache_control", "is_error",
];

/// Types of a schema.
const KINDS: [&str; 7] = ["object", "string", "integer", "number", "array", "boolean", "null"];

const NUMBERS: [i64; 16] = [1, 0, 2, -1, 3, 4, 16, 20, 70, 128, 129, 300, 5000, i64::MAX, i64::MIN, 4_294_967_296];

const FRACTIONS: [f64; 8] = [0.5, 0.0, 1.0, -0.5, 2.0, 1.000_1, 1e-300, 1e300];

/// Nesting that is made at most.
const DEPTH: usize = 12;

impl Maker<'_> {
    /// A value of `schema`, mostly.
    fn value(&mut self, schema: &Value, depth: usize) -> Result<Value> {
        let schema = SERVED.resolved(schema);
        if depth > DEPTH || self.0.ratio(1, 24)? {
            return self.anything(depth);
        }
        if let Some(schemas) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let schema = self.0.choose(schemas)?;
            return self.value(schema, depth + 1);
        }
        if let Some(values) = schema["enum"].as_array() {
            return self.0.choose(values).cloned();
        }
        if let Some(value) = schema.get("const") {
            return Ok(value.clone());
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => self.0.choose(kinds)?.as_str(),
            Value::String(kind) => Some(kind.as_str()),
            _ if schema.get("properties").is_some() || schema.get("allOf").is_some() => Some("object"),
            _ => None,
        };
        Ok(match kind {
            Some("null") => Value::Null,
            Some("boolean") => self.0.arbitrary::<bool>()?.into(),
            Some("integer") => self.integer()?.into(),
            Some("number") => (*self.0.choose(&FRACTIONS)?).into(),
            Some("string") => self.text()?.into(),
            Some("array") => {
                let mut values = Vec::new();
                for _ in 0..self.0.int_in_range(0..=3)?.max(usize::from(schema.get("minItems").is_some())) {
                    values.push(self.value(&schema["items"], depth + 1)?);
                }
                values.into()
            }
            Some("object") => {
                let mut members = Map::new();
                self.members(schema, &mut members, depth)?;
                members.into()
            }
            _ => self.anything(depth)?,
        })
    }

    /// Adds members by a schema: those that are required, and a few more.
    fn members(&mut self, schema: &Value, members: &mut Map<String, Value>, depth: usize) -> Result<()> {
        let schema = SERVED.resolved(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.members(part, members, depth + 1)?;
        }
        let properties = schema["properties"].as_object();
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some(schema) = properties.and_then(|properties| properties.get(key))
                && !self.0.ratio(1, 24)?
            {
                members.insert(key.to_owned(), self.value(schema, depth + 1)?);
            }
        }
        if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
            for _ in 0..self.0.int_in_range(0..=4)? {
                let at = self.0.choose_index(properties.len())?;
                let Some((key, schema)) = properties.iter().nth(at) else { continue };
                // A model of another name is not here, which is soon told.
                let value = match key.as_str() {
                    "model" => NAME.into(),
                    _ => self.value(schema, depth + 1)?,
                };
                members.insert(key.clone(), value);
            }
        }
        for (_, schema) in schema["patternProperties"].as_object().into_iter().flatten() {
            for _ in 0..self.0.int_in_range(0..=2)? {
                members.insert(self.0.int_in_range(0..=300)?.to_string(), self.value(schema, depth + 1)?);
            }
        }
        let is_open = properties.is_none() && schema.get("allOf").is_none();
        if is_open || self.0.ratio(1, 12)? {
            self.more(members, depth)?;
        }
        Ok(())
    }

    /// Adds members that no schema names.
    fn more(&mut self, members: &mut Map<String, Value>, depth: usize) -> Result<()> {
        for _ in 0..self.0.int_in_range(0..=3)? {
            let key = *self.0.choose(&KEYS)?;
            members.insert(key.to_owned(), self.anything(depth + 1)?);
        }
        Ok(())
    }

    /// A value of any kind. Where schemas are expected it is often one.
    fn anything(&mut self, depth: usize) -> Result<Value> {
        let kinds = if depth > DEPTH { 4 } else { 7 };
        Ok(match self.0.int_in_range(0..=kinds)? {
            0 => Value::Null,
            1 => self.0.arbitrary::<bool>()?.into(),
            2 => self.integer()?.into(),
            3 => (*self.0.choose(&FRACTIONS)?).into(),
            4 => self.text()?.into(),
            5 => (*self.0.choose(&KINDS)?).into(),
            6 => {
                let mut values = Vec::new();
                for _ in 0..self.0.int_in_range(0..=3)? {
                    values.push(self.anything(depth + 1)?);
                }
                values.into()
            }
            _ => {
                let mut members = Map::new();
                self.more(&mut members, depth)?;
                members.into()
            }
        })
    }

    fn integer(&mut self) -> Result<i64> {
        if self.0.ratio(3, 4)? { self.0.choose(&NUMBERS).copied() } else { self.0.arbitrary() }
    }

    fn text(&mut self) -> Result<String> {
        match self.0.int_in_range(0..=15)? {
            0..=12 => Ok((*self.0.choose(&WORDS)?).to_owned()),
            13 => Ok("ab ".repeat(self.0.int_in_range(1..=700)?)),
            _ => Ok(self.0.arbitrary::<&str>()?.to_owned()),
        }
    }

    /// `body` with one byte replaced, or without what comes behind it.
    fn damaged(&mut self, mut body: Vec<u8>) -> Result<Vec<u8>> {
        let at = self.0.choose_index(body.len())?;
        match self.0.arbitrary::<u8>()? {
            0 => body.truncate(at),
            byte => body[at] = byte,
        }
        Ok(body)
    }
}
