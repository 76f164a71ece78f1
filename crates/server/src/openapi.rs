//! `GET /openapi.json`: what this server takes and answers, as an OpenAPI document.
//!
//! Types of the rooms describe themselves (`derive(ToSchema)`), with the bounds that `hall/ask.rs` checks; what they hold as plain
//! JSON is described in [`by_hand`]. The table of operations is here, and a test holds it to the routes of `lib.rs`. Left out:
//! bodies of events in a stream, which the format cannot tell; their schemas are among the components.

pub(crate) mod by_hand;

use crate::error::ErrorBody;
use crate::rooms::anthropic::MessagesRequest;
use crate::rooms::openai::completions::{Completion, CompletionRequest};
use crate::rooms::openai::embeddings::{EmbeddingList, EmbeddingRequest};
use crate::rooms::openai::models::{ModelCard, ModelList};
use crate::rooms::openai::responses::ResponsesRequest;
use crate::rooms::openai::text::{DetokenizeRequest, InfillRequest, TokenizeRequest};
use crate::rooms::openai::wire::{ChatCompletion, ChatRequest, Chunk};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use utoipa::ToSchema;

/// `GET /openapi.json` and `/v1/openapi.json`.
pub(crate) async fn document() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| whole().to_string());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

/// What one handler does, under all of its paths.
struct Operation {
    tag: &'static str,
    summary: &'static str,
    method: &'static str,
    paths: &'static [&'static str],
    /// The schema of the body that it takes.
    takes: Option<Value>,
    /// The body of status 200 by its media type.
    gives: Vec<(&'static str, Value)>,
    refuses: Refuses,
    /// The body of status 503, where it is not that of an error.
    unready: Option<Value>,
}

/// With which statuses a request may be refused, and in whose words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refuses {
    /// Foreign pages alone.
    Open,
    /// Those without a key too.
    Read,
    /// A name that is not known too.
    Named,
    /// Whatever can be wrong with a request that is generated for, in OpenAI's words.
    OpenAi,
    /// The same in Anthropic's.
    Anthropic,
}

impl Refuses {
    fn statuses(self) -> &'static [u16] {
        match self {
            Refuses::Open => &[403],
            Refuses::Read => &[401, 402, 403, 429, 503],
            Refuses::Named => &[400, 401, 402, 403, 404, 429, 503],
            Refuses::OpenAi => &[400, 401, 402, 403, 404, 408, 413, 422, 429, 503],
            Refuses::Anthropic => &[400, 401, 402, 403, 404, 408, 413, 429, 503],
        }
    }

    fn answer(self) -> Value {
        reference("responses", if self == Refuses::Anthropic { "AnthropicRefusal" } else { "Refusal" })
    }
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Operation {
    /// One that answers whoever asks with an object.
    fn get(tag: &'static str, paths: &'static [&'static str], gives: &str, summary: &'static str) -> Operation {
        let gives = vec![(JSON, reference("schemas", gives))];
        Operation { tag, summary, method: "get", paths, takes: None, gives, refuses: Refuses::Open, unready: None }
    }

    /// One that takes a body.
    fn post(
        tag: &'static str,
        paths: &'static [&'static str],
        [takes, gives]: [&str; 2],
        summary: &'static str,
    ) -> Self {
        let takes = Some(reference("schemas", takes));
        let gives = vec![(JSON, reference("schemas", gives))];
        Operation { tag, summary, method: "post", paths, takes, gives, refuses: Refuses::OpenAi, unready: None }
    }

    fn refusing(self, refuses: Refuses) -> Operation {
        Operation { refuses, ..self }
    }

    /// One that may answer as a stream, whose events have `data`.
    fn streaming(mut self, data: &str) -> Operation {
        let description = format!("With `stream`: server-sent events, whose data is {data}.");
        let fields = json!({"event": {"type": "string"}, "data": {"type": "string"}});
        let event = json!({"type": "object", "required": ["data"], "properties": fields, "description": description});
        self.gives.push((EVENTS, event));
        self
    }

    fn describe(&self, path: &str) -> Value {
        let id = format!("{}{}", self.method, path.replace(['/', '.', '_'], " "));
        let id: String = id.replace(['{', '}'], "").split_whitespace().collect::<Vec<_>>().join("_");
        let content = |bodies: &[(&str, Value)]| -> Value {
            bodies.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({"schema": schema}))).collect()
        };
        let mut responses = json!({"200": {"description": "The answer.", "content": content(&self.gives)}});
        for status in self.refuses.statuses() {
            responses[status.to_string()] = self.refuses.answer();
        }
        if let Some(body) = &self.unready {
            let body = content(&[(JSON, body.clone())]);
            responses["503"] = json!({"description": "Not ready yet.", "headers": retry_after(), "content": body});
        }
        let mut operation =
            json!({"tags": [self.tag], "summary": self.summary, "operationId": id, "responses": responses});
        if let Some(takes) = &self.takes {
            operation["requestBody"] = json!({"required": true, "content": content(&[(JSON, takes.clone())])});
        }
        let text = json!({"type": "string", "minLength": 1});
        let name = json!({"name": "name", "in": "path", "required": true, "schema": text});
        let id = json!({"name": "id", "in": "path", "required": true, "schema": text});
        let version = json!({"name": "api-version", "in": "query", "schema": {"type": "string"}});
        if path.starts_with("/openai/deployments/") {
            operation["parameters"] = json!([name, version]);
        } else if path.contains("{name}") {
            operation["parameters"] = json!([name]);
        } else if path.contains("{id}") {
            operation["parameters"] = json!([id]);
        }
        operation
    }
}

fn operations() -> Vec<Operation> {
    let messages = json!({
        "allOf": [
            reference("schemas", "MessagesRequest"),
            {"type": "object", "required": ["max_tokens"], "properties": {"max_tokens": {"type": "integer", "minimum": 1}}}
        ]
    });
    let message = Operation::post(
        "Anthropic",
        &["/v1/messages", "/anthropic/v1/messages"],
        ["MessagesRequest", "AnthropicAnswer"],
        "A conversation is answered",
    );
    let metrics = Operation::get("Operators", &["/metrics", "/v1/metrics"], "Anything", "For Prometheus");
    let ready = Operation::get("Operators", &["/v1/health/ready"], "Health", "Whether the default model can answer");
    let health = Operation::get("Operators", &["/health"], "Ok", "Whether the default model is loaded");
    let named = Operation::get(
        "OpenAI",
        &["/v1/models/{name}", "/models/{name}", "/beta/models/{name}", "/openai/v1/models/{name}"],
        "ModelCard",
        "One model",
    );
    const RESPONSE: [&str; 4] =
        ["/v1/responses/{id}", "/responses/{id}", "/beta/responses/{id}", "/openai/v1/responses/{id}"];
    let response = Operation::get("OpenAI", &RESPONSE, "Response", "A response that was stored");
    let deleted = Operation::get("OpenAI", &RESPONSE, "Deleted", "A stored response is forgotten");
    let items = Operation::get(
        "OpenAI",
        &[
            "/v1/responses/{id}/input_items", "/responses/{id}/input_items", "/beta/responses/{id}/input_items",
            "/openai/v1/responses/{id}/input_items",
        ],
        "InputItems",
        "What a stored response answered",
    );
    vec![
        response.refusing(Refuses::Named),
        Operation { method: "delete", ..deleted }.refusing(Refuses::Named),
        items.refusing(Refuses::Named),
        Operation::post(
            "OpenAI",
            &[
                "/v1/chat/completions", "/chat/completions", "/beta/chat/completions", "/openai/v1/chat/completions",
                "/openai/deployments/{name}/chat/completions",
            ],
            ["ChatRequest", "ChatCompletion"],
            "A conversation is answered",
        )
        .streaming("a `Chunk`, an `ErrorBody` or `[DONE]`"),
        Operation::post(
            "OpenAI",
            &[
                "/v1/completions", "/completions", "/beta/completions", "/openai/v1/completions",
                "/openai/deployments/{name}/completions",
            ],
            ["CompletionRequest", "Completion"],
            "A text is gone on with",
        )
        .streaming("a `Completion`, an `ErrorBody` or `[DONE]`"),
        Operation::post(
            "OpenAI",
            &["/v1/responses", "/responses", "/beta/responses", "/openai/v1/responses"],
            ["ResponsesRequest", "Response"],
            "A conversation is answered, item by item",
        )
        .streaming("an object with `type` and `sequence_number`; the last one has the whole `Response`"),
        Operation::post(
            "OpenAI",
            &[
                "/v1/responses/input_tokens", "/responses/input_tokens", "/beta/responses/input_tokens",
                "/openai/v1/responses/input_tokens",
            ],
            ["ResponsesRequest", "CountedTokens"],
            "The tokens of a response's input are counted",
        ),
        Operation::post(
            "OpenAI",
            &[
                "/v1/embeddings", "/embeddings", "/beta/embeddings", "/openai/v1/embeddings",
                "/openai/deployments/{name}/embeddings",
            ],
            ["EmbeddingRequest", "EmbeddingList"],
            "Texts are made into vectors of length 1",
        ),
        Operation::get(
            "OpenAI",
            &["/v1/models", "/models", "/beta/models", "/openai/v1/models"],
            "ModelList",
            "All models",
        )
        .refusing(Refuses::Read),
        named.refusing(Refuses::Named),
        Operation { takes: Some(messages), ..message }
            .refusing(Refuses::Anthropic)
            .streaming("an object with `type`, from `message_start` to `message_stop`, or an `AnthropicError`"),
        Operation::post(
            "Anthropic",
            &["/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens"],
            ["MessagesRequest", "CountedTokens"],
            "The tokens of a conversation are counted",
        )
        .refusing(Refuses::Anthropic),
        Operation::post(
            "Text",
            &["/tokenize", "/v1/tokenize"],
            ["TokenizeRequest", "Tokenized"],
            "A text or a conversation as tokens",
        ),
        Operation::post(
            "Text",
            &["/detokenize", "/v1/detokenize"],
            ["DetokenizeRequest", "Detokenized"],
            "Tokens as text",
        ),
        Operation::post("Text", &["/infill", "/v1/infill"], ["InfillRequest", "Infilled"], "A gap in a text is filled"),
        Operation::get("DeepSeek", &["/user/balance"], "Balance", "What is left on the account")
            .refusing(Refuses::Read),
        Operation { unready: Some(json!({"type": "object", "required": ["error"]})), ..health },
        Operation::get("Operators", &["/v1/health/live"], "Health", "Whether the program runs"),
        Operation { unready: Some(reference("schemas", "Health")), ..ready },
        Operation::get("Operators", &["/version", "/v1/version"], "Version", "Which program this is"),
        Operation::get("Operators", &["/openapi.json", "/v1/openapi.json"], "AnyObject", "This document"),
        Operation::get("Operators", &["/v1/metadata"], "Metadata", "Which models there are").refusing(Refuses::Read),
        Operation { gives: vec![(METRICS, json!({"type": "string"}))], ..metrics }.refusing(Refuses::Read),
    ]
}

/// The document.
fn whole() -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        for path in operation.paths {
            let described = operation.describe(path);
            paths.entry(*path).or_insert_with(|| json!({}))[operation.method] = described;
        }
    }
    let refusal = |schema| {
        let content = json!({JSON: {"schema": reference("schemas", schema)}});
        json!({"description": "Why there is no answer.", "headers": retry_after(), "content": content})
    };
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Picnic",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0"},
            "description": "Models by the contracts of OpenAI, DeepSeek and Anthropic. Fields that are not listed are ignored, \
                            but for some that would change the answer, which are refused by name.",
        },
        // A server on loopback asks for no key unless it was told to.
        "security": [{}, {"bearer": []}, {"x-api-key": []}, {"api-key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": {"Refusal": refusal("ErrorBody"), "AnthropicRefusal": refusal("AnthropicError")},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// The header of statuses 429 and 503.
fn retry_after() -> Value {
    let description = "Seconds after which trying again may help; with 429 and 503.";
    json!({"Retry-After": {"description": description, "schema": {"type": "integer", "minimum": 0}}})
}

/// All schemas by name.
fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    add::<ChatRequest>(&mut schemas);
    add::<ChatCompletion<'_>>(&mut schemas);
    add::<Chunk<'_>>(&mut schemas);
    add::<CompletionRequest>(&mut schemas);
    add::<Completion<'_>>(&mut schemas);
    add::<ResponsesRequest>(&mut schemas);
    add::<EmbeddingRequest>(&mut schemas);
    add::<EmbeddingList>(&mut schemas);
    add::<ModelList>(&mut schemas);
    add::<ModelCard>(&mut schemas);
    add::<MessagesRequest>(&mut schemas);
    add::<TokenizeRequest>(&mut schemas);
    add::<DetokenizeRequest>(&mut schemas);
    add::<InfillRequest>(&mut schemas);
    add::<ErrorBody>(&mut schemas);
    // Last, in place of what stands for them among the others.
    schemas.extend(by_hand::all());
    schemas
}

/// Adds the schema of `T` and all that it refers to.
fn add<T: ToSchema>(schemas: &mut Map<String, Value>) {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    // Strings and numbers under string keys: serialising cannot fail.
    schemas.extend(found.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())));
}
