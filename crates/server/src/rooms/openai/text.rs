//! `POST /tokenize`, `/detokenize` and `/infill`, by the names and fields of vLLM and llama.cpp.

use super::drawing::{DrawingFields, Stop};
use super::wire::WireMessage;
use crate::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::hall::{Answer, Ask, Asked, Conversation, Ending, Tools};
use crate::hosted::Hosted;
use crate::openapi::by_hand;
use crate::rooms::take::Taken;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Body of `POST /tokenize`: a text or a conversation. llama.cpp calls the text `content`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct TokenizeRequest {
    model: Option<String>,
    prompt: Option<String>,
    /// llama.cpp's name for `prompt`, which goes before it where both are sent.
    content: Option<String>,
    messages: Option<Vec<WireMessage>>,
    #[schema(value_type = Option<Vec<by_hand::Tool>>, max_items = 128)]
    tools: Option<Vec<Value>>,
    #[schema(value_type = Option<by_hand::AnyObject>)]
    chat_template_kwargs: Option<Map<String, Value>>,
    /// Whether a text gets what the model expects around it. Unless it is said, `prompt` does and `content` does not, as with
    /// vLLM and llama.cpp.
    add_special_tokens: Option<bool>,
    /// llama.cpp's name for `add_special_tokens`, which goes before it where both are sent.
    add_special: Option<bool>,
    /// Each token with its text, in llama.cpp's form: where that is no text by itself, with its bytes.
    with_pieces: Option<bool>,
    /// The tokens' texts in a list of their own, vLLM's form.
    return_token_strs: Option<bool>,
}

/// Body of `POST /detokenize`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct DetokenizeRequest {
    model: Option<String>,
    tokens: Vec<u32>,
}

/// Body of `POST /infill`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct InfillRequest {
    model: Option<String>,
    input_prefix: String,
    input_suffix: String,
    n_predict: Option<i64>,
    /// Another name for `n_predict`, which goes before it where both are sent.
    max_tokens: Option<i64>,
    #[schema(value_type = Option<by_hand::Stop>)]
    stop: Option<Stop>,
    #[serde(flatten)]
    drawing: DrawingFields,
}

pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<TokenizeRequest>,
) -> Result<Json<Value>, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let is_whole = request.add_special_tokens.or(request.add_special).unwrap_or(request.prompt.is_some());
    let asked = match (request.prompt.or(request.content), request.messages) {
        (Some(text), None) => Asked::Text(text),
        (None, Some(messages)) => Asked::Conversation(Conversation {
            messages: messages.into_iter().map(|message| message.message).collect(),
            tools: Tools::of(request.tools.unwrap_or_default(), None, None)?,
            variables: request.chat_template_kwargs.unwrap_or_default(),
            goes_on: false,
        }),
        _ => return Err(ApiError::parameter("prompt", "must be there, or `messages`, and not both")),
    };
    let ask = Ask { asked, ..Ask::default() };
    let context = model.limits.context;
    let (with_pieces, with_texts) = (request.with_pieces == Some(true), request.return_token_strs == Some(true));
    let told = move |model: &Hosted| {
        let tokens = match &ask.asked {
            Asked::Text(text) if !is_whole => model.tokens_within(text)?,
            _ => model.tokens(&ask)?,
        };
        let bytes = |id: &u32| model.chat.tokenizer().token_bytes(*id).unwrap_or_default();
        let piece = |id: &u32| {
            let piece = String::from_utf8(bytes(id)).map_or_else(|error| json!(error.as_bytes()), Value::String);
            json!({"id": id, "piece": piece})
        };
        let mut told = json!({"count": tokens.len(), "max_model_len": context});
        if with_texts {
            told["token_strs"] = tokens.iter().map(|id| String::from_utf8_lossy(&bytes(id)).into_owned()).collect();
        }
        told["tokens"] = if with_pieces { tokens.iter().map(piece).collect() } else { tokens.into() };
        Ok::<_, ApiError>(told)
    };
    model.in_background(told).await?.map(Json)
}

pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<DetokenizeRequest>,
) -> Result<Json<Value>, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let vocabulary = model.chat.tokenizer().vocab_size();
    if let Some(id) = request.tokens.iter().find(|id| **id as usize >= vocabulary) {
        let problem = format!("has the token {id}, but this model has {vocabulary} tokens");
        return Err(ApiError::parameter("tokens", problem));
    }
    let text = model.in_background(move |model| model.chat.tokenizer().decode(&request.tokens, false)).await?;
    Ok(Json(json!({"prompt": text, "content": text})))
}

pub(crate) async fn infill(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<InfillRequest>,
) -> Result<Json<Value>, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let ask = Ask {
        asked: Asked::Gap { before: request.input_prefix, after: request.input_suffix },
        max_tokens: request.n_predict.or(request.max_tokens).filter(|tokens| *tokens >= 0),
        stops: Stop::strings(request.stop),
        drawing: request.drawing.drawing()?,
        ..Ask::default()
    };
    let mut answer = Answer::start(&app, &caller, Arc::clone(&model), ask).await?;
    let (mut text, mut ending) = (String::new(), None);
    while let Some(said) = answer.next().await? {
        text += &said.piece.content;
        ending = said.ending;
    }
    let tokens = answer.tokens();
    Ok(Json(json!({
        "content": text,
        "stop": true,
        "stop_type": if ending == Some(Ending::Length) { "limit" } else { "eos" },
        "model": model.name,
        "tokens_evaluated": tokens.prompt,
        "tokens_predicted": tokens.completion,
        "tokens_cached": tokens.cached,
    })))
}
