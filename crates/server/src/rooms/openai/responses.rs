//! `POST /v1/responses`: OpenAI's newer contract, without a memory of its own. A response is a list of items: reasoning,
//! messages, calls of functions. As a stream every event has its `type` and a number, and the last one is
//! `response.completed`, `response.incomplete` or `response.failed`.
//!
//! Items and tools of kinds that we do not know are passed over, as clients send many.

mod events;
mod input;

use super::drawing::{DrawingFields, RefusedFields};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::hall::{Answer, Ask, Asked, Conversation, Ending, Thinking, Tools};
use crate::openapi::by_hand;
use crate::rooms::stream::stream;
use crate::rooms::take::Taken;
use crate::rooms::{unique, with_note};
use crate::{App, seconds_since_1970};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use events::Writing;
use picnic_chat::Form;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Body of `POST /v1/responses`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ResponsesRequest {
    model: Option<String>,
    #[schema(value_type = by_hand::ResponsesInput)]
    input: Option<Value>,
    instructions: Option<String>,
    #[schema(minimum = 1)]
    max_output_tokens: Option<i64>,
    stream: Option<bool>,
    #[schema(value_type = Option<Vec<by_hand::ResponsesTool>>)]
    tools: Option<Vec<Value>>,
    #[schema(value_type = Option<by_hand::ToolChoice>)]
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    reasoning: Option<Reasoning>,
    text: Option<TextField>,
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<i64>,
    /// Refused: nothing is stored here.
    #[schema(value_type = Option<by_hand::Never>)]
    previous_response_id: Option<String>,
    /// Refused: nothing is stored here.
    #[schema(value_type = Option<by_hand::Never>)]
    conversation: Option<Value>,
    /// Refused if true.
    #[schema(value_type = Option<by_hand::False>)]
    background: Option<bool>,
    truncation: Option<String>,
    #[schema(value_type = Option<by_hand::Anything>)]
    metadata: Option<Value>,
    #[schema(value_type = Option<by_hand::AnyObject>)]
    chat_template_kwargs: Option<Map<String, Value>>,
    #[serde(flatten)]
    drawing: DrawingFields,
    #[serde(flatten)]
    #[schema(ignore)]
    refused: RefusedFields,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ResponsesReasoning)]
struct Reasoning {
    effort: Option<String>,
}

#[derive(Deserialize, ToSchema)]
struct TextField {
    #[schema(value_type = Option<by_hand::TextFormat>)]
    format: Option<Value>,
}

/// What is told of a response whatever it contains.
struct Head {
    id: String,
    created: u64,
    model: String,
    /// What the request said, which its answer repeats.
    asked: Value,
    /// The names of tools that take free text.
    custom: Vec<String>,
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<ResponsesRequest>,
) -> Result<Response, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let head = Head {
        id: unique("resp_"),
        created: seconds_since_1970(),
        model: request.model.clone().unwrap_or_else(|| model.name.clone()),
        asked: request.repeated(),
        custom: input::custom(request.tools.as_deref().unwrap_or_default()),
    };
    let is_stream = request.stream == Some(true);
    let mut answer = Answer::start(&app, &caller, model, request.ask()?).await?;
    let note = answer.note.take();
    let response = if is_stream {
        answer.begin().await?;
        stream(|events| Writing::new(head).write(answer, events))
    } else {
        let mut writing = Writing::new(head);
        let mut ending = Ending::Length;
        while let Some(said) = answer.next().await? {
            ending = said.ending.clone().unwrap_or(ending);
            // The events of a stream that nobody hears.
            writing.hear(said);
        }
        writing.end();
        Json(writing.response(Some((&ending, answer.tokens())))).into_response()
    };
    Ok(with_note(response, note))
}

/// `POST /v1/responses/input_tokens`: how many tokens the input has.
pub(crate) async fn count_tokens(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<ResponsesRequest>,
) -> Result<Json<Value>, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let ask = request.ask()?;
    let tokens = model.in_background(move |model| model.tokens(&ask)).await??;
    Ok(Json(json!({"object": "response.input_tokens", "input_tokens": tokens.len()})))
}

impl ResponsesRequest {
    /// The settings that a response repeats.
    fn repeated(&self) -> Value {
        json!({
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata.clone().unwrap_or_else(|| json!({})),
            "parallel_tool_calls": self.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": null,
            "reasoning": {"effort": self.reasoning.as_ref().and_then(|reasoning| reasoning.effort.clone()), "summary": null},
            "store": false,
            "temperature": self.drawing.temperature.unwrap_or(1.0),
            "text": {"format": self.text.as_ref().and_then(|text| text.format.clone()).unwrap_or_else(|| json!({"type": "text"}))},
            "tool_choice": self.tool_choice.clone().unwrap_or_else(|| "auto".into()),
            "tools": self.tools.clone().unwrap_or_default(),
            "top_p": self.drawing.top_p.unwrap_or(1.0),
            "truncation": "disabled",
        })
    }

    /// The type of the format that the text is to have; a format without one has the type ``, which there is not.
    fn kind_of_text(&self) -> &str {
        let format = self.text.as_ref().and_then(|text| text.format.as_ref());
        format.map_or("text", |format| format.get("type").and_then(Value::as_str).unwrap_or_default())
    }

    fn ask(self) -> Result<Ask, ApiError> {
        if self.previous_response_id.is_some() || self.conversation.as_ref().is_some_and(|it| !it.is_null()) {
            let problem = "cannot be used: nothing is stored here; send the whole conversation as `input`";
            return Err(ApiError::parameter("previous_response_id", problem));
        }
        self.refused.check()?;
        if self.truncation.as_deref().is_some_and(|word| word != "disabled") {
            return Err(ApiError::parameter("truncation", "must be `disabled`: nothing is left out in silence"));
        }
        if self.top_logprobs.is_some_and(|n| n > 0) {
            return Err(ApiError::parameter("top_logprobs", "is not supported here: use chat completions"));
        }
        if self.background == Some(true) {
            return Err(ApiError::parameter("background", "is not supported: leave it out"));
        }
        let format = self.text.as_ref().and_then(|text| text.format.as_ref());
        let form = match (self.kind_of_text(), format.and_then(|format| format.get("schema"))) {
            ("text", _) => None,
            ("json_object", _) => Some(Form::JsonObject),
            ("json_schema", Some(schema)) => Some(Form::JsonSchema(schema.clone())),
            ("json_schema", _) => return Err(ApiError::parameter("text", "must have the schema as `format.schema`")),
            _ => return Err(ApiError::parameter("text", "must have a format `text`, `json_object` or `json_schema`")),
        };
        let messages = input::messages(self.instructions, self.input)?;
        let effort = self.reasoning.and_then(|reasoning| reasoning.effort);
        let is_on = effort.as_deref().filter(|effort| *effort == "none").map(|_| false);
        let tools = input::tools(self.tools.unwrap_or_default());
        let tools = Tools::of(tools, self.tool_choice.as_ref(), self.parallel_tool_calls)?;
        Ok(Ask {
            asked: Asked::Conversation(Conversation {
                messages,
                tools,
                variables: self.chat_template_kwargs.unwrap_or_default(),
                goes_on: false,
            }),
            max_tokens: self.max_output_tokens,
            drawing: self.drawing.drawing()?,
            thinking: Thinking { is_on, budget: None, effort: effort.filter(|effort| effort != "none") },
            form,
            ..Ask::default()
        })
    }
}
