//! The contract of Anthropic: `POST /v1/messages` and `POST /v1/messages/count_tokens`.
//!
//! Fields that we do not know are ignored, `cache_control` among them: what was read is found again by its tokens alone. Claude
//! Code begins its system prompt with a line for billing that differs from request to request, so that no prefix would ever
//! be found; that line is left out before the prompt is made.

mod events;
mod input;

use super::stream::stream;
use super::take::Taken;
use crate::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::hall::{Answer, Ask, Asked, Conversation, Drawing, Ending, Thinking, Tools};
use crate::hosted::Hosted;
use crate::openapi::by_hand;
use crate::rooms::with_note;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use events::Writing;
use picnic_chat::Form;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Body of `POST /v1/messages`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct MessagesRequest {
    model: Option<String>,
    #[schema(value_type = Vec<by_hand::AnthropicMessage>, min_items = 1, max_items = 4096)]
    messages: Vec<Value>,
    #[schema(value_type = Option<by_hand::AnthropicSystem>)]
    system: Option<Value>,
    /// Asked for by `/v1/messages`, but not for counting tokens.
    max_tokens: Option<i64>,
    #[schema(value_type = Option<by_hand::Stops>)]
    stop_sequences: Option<Vec<String>>,
    stream: Option<bool>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    #[schema(exclusive_minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    #[schema(minimum = -1)]
    top_k: Option<i64>,
    thinking: Option<ThinkingField>,
    #[schema(value_type = Option<Vec<by_hand::AnthropicTool>>)]
    tools: Option<Vec<Value>>,
    #[schema(value_type = Option<by_hand::AnthropicToolChoice>)]
    tool_choice: Option<Value>,
    mcp_servers: Option<Vec<Value>>,
    container: Option<Value>,
    output_config: Option<OutputConfig>,
    /// An older name for `output_config.format`, which goes before it where both are sent.
    #[schema(value_type = Option<by_hand::AnthropicFormat>)]
    output_format: Option<Value>,
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = MessagesOutputConfig)]
struct OutputConfig {
    #[schema(value_type = Option<by_hand::AnthropicFormat>)]
    format: Option<Value>,
    effort: Option<String>,
}

impl OutputConfig {
    /// What an answer has to be.
    fn form(format: Option<Value>) -> Result<Option<Form>, ApiError> {
        let Some(format) = format.filter(|format| !format.is_null()) else { return Ok(None) };
        let is_schema = format.get("type").is_some_and(|kind| kind == "json_schema");
        match format.get("schema").filter(|schema| is_schema && !schema.is_null()) {
            Some(schema) => Ok(Some(Form::JsonSchema(schema.clone()))),
            None => {
                let problem = "must have a format of the type `json_schema` with a `schema`";
                Err(ApiError::parameter("output_config", problem))
            }
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesThinking)]
struct ThinkingField {
    #[serde(rename = "type")]
    #[schema(value_type = by_hand::MessagesThinkingKind)]
    kind: String,
    #[schema(minimum = 0)]
    budget_tokens: Option<i64>,
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<MessagesRequest>,
) -> Result<Response, ApiError> {
    let model = host(&app, &caller, request.model.as_deref()).await?;
    if request.max_tokens.is_none() {
        return Err(ApiError::parameter("max_tokens", "is missing: say how many tokens the answer may have"));
    }
    let name = request.model.clone().unwrap_or_else(|| model.name.clone());
    let is_stream = request.stream == Some(true);
    let tells_thinking = request.thinking.as_ref().is_some_and(|thinking| thinking.kind != "disabled");
    let mut answer = Answer::start(&app, &caller, model, request.ask()?).await?;
    let note = answer.note.take();
    let response = if is_stream {
        answer.begin().await?;
        stream(|events| Writing::new(name, tells_thinking).write(answer, events))
    } else {
        let mut writing = Writing::new(name, tells_thinking);
        let mut ending = Ending::Length;
        while let Some(said) = answer.next().await? {
            ending = said.ending.clone().unwrap_or(ending);
            writing.hear(said);
        }
        writing.end();
        Json(writing.message(&ending, answer.tokens())).into_response()
    };
    Ok(with_note(response, note))
}

pub(crate) async fn count_tokens(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<MessagesRequest>,
) -> Result<Json<Value>, ApiError> {
    let model = host(&app, &caller, request.model.as_deref()).await?;
    let ask = request.ask()?;
    let tokens = model.in_background(move |model| model.tokens(&ask)).await??;
    Ok(Json(json!({"input_tokens": tokens.len()})))
}

/// The model of a name; those of Anthropic's own models stand for the default one.
async fn host(app: &App, caller: &Caller, asked: Option<&str>) -> Result<Arc<Hosted>, ApiError> {
    let is_foreign = |name: &str| name.starts_with("claude-") && !app.house.knows(name);
    let asked = asked.filter(|name| !is_foreign(name));
    app.model(caller, asked).await
}

impl MessagesRequest {
    fn ask(self) -> Result<Ask, ApiError> {
        let is_there = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
        for (param, asks) in [
            ("mcp_servers", self.mcp_servers.as_ref().is_some_and(|servers| !servers.is_empty())),
            ("container", is_there(&self.container)),
        ] {
            if asks {
                return Err(ApiError::parameter(param, "is not supported: leave it out"));
            }
        }
        let OutputConfig { format, effort } = self.output_config.unwrap_or_default();
        let messages = input::messages(self.system.as_ref(), &self.messages)?;
        let choice = self.tool_choice.as_ref().map(input::tool_choice).transpose()?;
        let parallel = self.tool_choice.as_ref().and_then(|choice| choice.get("disable_parallel_tool_use")?.as_bool());
        let tools = Tools::of(input::tools(self.tools.unwrap_or_default()), choice.as_ref(), parallel.map(|off| !off))?;
        let kind = self.thinking.as_ref().map(|thinking| thinking.kind.as_str());
        let is_on = match kind {
            None => None,
            Some("enabled" | "adaptive") => Some(true),
            Some("disabled") => Some(false),
            Some(_) => return Err(ApiError::parameter("thinking", "must have the type `enabled` or `disabled`")),
        };
        Ok(Ask {
            asked: Asked::Conversation(Conversation { messages, tools, ..Conversation::default() }),
            max_tokens: self.max_tokens,
            stops: self.stop_sequences.unwrap_or_default(),
            drawing: Drawing {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                ..Drawing::default()
            },
            thinking: Thinking { is_on, budget: self.thinking.and_then(|thinking| thinking.budget_tokens), effort },
            form: OutputConfig::form(format.or(self.output_format))?,
            ..Ask::default()
        })
    }
}

/// Errors under Anthropic's paths in its shape and words, where another part of the server has made them in OpenAI's.
pub(crate) async fn in_its_words(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_its = path.starts_with("/anthropic/") || path.starts_with("/v1/messages");
    let response = next.run(request).await;
    if !is_its {
        return response;
    }
    let Some(error) = response.extensions().get::<ApiError>().cloned() else { return response };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if parts.status == StatusCode::UNPROCESSABLE_ENTITY {
        parts.status = StatusCode::BAD_REQUEST;
    }
    Response::from_parts(parts, axum::body::Body::from(body(&error).to_string()))
}

fn body(error: &ApiError) -> Value {
    let kind = match error.status() {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        status if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    };
    let message = match error {
        // In the words that clients look for.
        ApiError::TooLong { context, prompt, .. } => {
            format!("prompt is too long: {prompt} tokens > {} maximum", context.saturating_sub(1))
        }
        error => error.to_string(),
    };
    json!({"type": "error", "error": {"type": kind, "message": message}})
}
