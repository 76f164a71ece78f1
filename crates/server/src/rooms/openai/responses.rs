//! `POST /v1/responses`: OpenAI's newer contract, with a memory only where it is asked for ([`stored`]). A response is a list of items: reasoning,
//! messages, calls of functions. As a stream every event has its `type` and a number, and the last one is
//! `response.completed`, `response.incomplete` or `response.failed`.
//!
//! Items and tools of kinds that we do not know are passed over, as clients send many.

mod events;
mod input;
pub(crate) mod stored;

use super::drawing::{DrawingFields, RefusedFields};
use super::logprobs::Logprobs;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::hall::{Answer, Ask, Asked, Conversation, Ending, Said, Thinking, Tools};
use crate::hosted::Hosted;
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
use stored::Keeping;
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
    /// The likeliest tokens beside each token of a text; with none, `include` asks for log-probabilities.
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<i64>,
    /// `message.output_text.logprobs`; others are passed over.
    include: Option<Vec<String>>,
    /// Needs a server that stores responses.
    previous_response_id: Option<String>,
    /// Whether the response is kept, where the server does so, as it does unless this is false.
    store: Option<bool>,
    /// Refused: no conversations are stored here.
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
    /// Who knows the tokens' texts, and how many of the likeliest are told beside each; `None` if they are not asked for.
    logprobs: Option<(Arc<Hosted>, usize)>,
    /// Where it is kept.
    keeping: Option<Keeping>,
}

impl Head {
    fn logprobs(&self, said: &Said) -> Vec<Value> {
        let told = |(hosted, most): &(Arc<Hosted>, usize)| Logprobs::of(hosted, &said.tokens, *most).content;
        let places = self.logprobs.as_ref().map(told).unwrap_or_default();
        places.iter().map(|place| serde_json::to_value(place).unwrap_or_default()).collect()
    }
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(mut request): Taken<ResponsesRequest>,
) -> Result<Response, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let (before, is_kept) = (request.previous_response_id.as_deref(), request.store != Some(false));
    let (input, keeping) = stored::gone_on(&app, &caller, before, request.input.take(), is_kept)?;
    request.input = input;
    let head = Head {
        id: unique("resp_"),
        created: seconds_since_1970(),
        model: request.model.clone().unwrap_or_else(|| model.name.clone()),
        asked: request.repeated(keeping.is_some()),
        custom: input::custom(request.tools.as_deref().unwrap_or_default()),
        logprobs: request.likeliest().map(|most| (Arc::clone(&model), usize::try_from(most).unwrap_or(0))),
        keeping,
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
        Json(writing.complete(&ending, answer.tokens())).into_response()
    };
    Ok(with_note(response, note))
}

/// `POST /v1/responses/input_tokens`: how many tokens the input has.
pub(crate) async fn count_tokens(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(mut request): Taken<ResponsesRequest>,
) -> Result<Json<Value>, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let before = request.previous_response_id.as_deref();
    (request.input, _) = stored::gone_on(&app, &caller, before, request.input.take(), false)?;
    let ask = request.ask()?;
    let tokens = model.in_background(move |model| model.tokens(&ask)).await??;
    Ok(Json(json!({"object": "response.input_tokens", "input_tokens": tokens.len()})))
}

impl ResponsesRequest {
    /// The settings that a response repeats.
    fn repeated(&self, is_kept: bool) -> Value {
        json!({
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata.clone().unwrap_or_else(|| json!({})),
            "parallel_tool_calls": self.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": self.previous_response_id,
            "reasoning": {"effort": self.reasoning.as_ref().and_then(|reasoning| reasoning.effort.clone()), "summary": null},
            "store": is_kept,
            "temperature": self.drawing.temperature.unwrap_or(1.0),
            "text": {"format": self.text.as_ref().and_then(|text| text.format.clone()).unwrap_or_else(|| json!({"type": "text"}))},
            "tool_choice": self.tool_choice.clone().unwrap_or_else(|| "auto".into()),
            "tools": self.tools.clone().unwrap_or_default(),
            "top_logprobs": self.top_logprobs.unwrap_or(0),
            "top_p": self.drawing.top_p.unwrap_or(1.0),
            "truncation": "disabled",
        })
    }

    /// The type of the format that the text is to have; a format without one has the type ``, which there is not.
    fn kind_of_text(&self) -> &str {
        let format = self.text.as_ref().and_then(|text| text.format.as_ref());
        format.map_or("text", |format| format.get("type").and_then(Value::as_str).unwrap_or_default())
    }

    /// How many of the likeliest tokens are told beside each of a text; `None` for not even itself.
    fn likeliest(&self) -> Option<i64> {
        let asks = |name: &String| name == "message.output_text.logprobs";
        let is_asked = self.include.iter().flatten().any(asks);
        self.top_logprobs.filter(|most| is_asked || *most != 0).or(is_asked.then_some(0))
    }

    fn ask(self) -> Result<Ask, ApiError> {
        if self.conversation.as_ref().is_some_and(|it| !it.is_null()) {
            let problem = "cannot be used: no conversations are stored here; send the whole one as `input`, or name the \
                           response before as `previous_response_id` where the server stores them";
            return Err(ApiError::parameter("conversation", problem));
        }
        self.refused.check()?;
        if self.truncation.as_deref().is_some_and(|word| word != "disabled") {
            return Err(ApiError::parameter("truncation", "must be `disabled`: nothing is left out in silence"));
        }
        if self.background == Some(true) {
            return Err(ApiError::parameter("background", "is not supported: leave it out"));
        }
        let likeliest = self.likeliest();
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
            likeliest,
            ..Ask::default()
        })
    }
}
