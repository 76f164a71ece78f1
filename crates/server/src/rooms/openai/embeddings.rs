//! `POST /v1/embeddings`: the mean of a text's hidden states after the last norm, of length 1.

use super::texts::Texts;
use crate::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::hall::{Answer, Ask, Tokens};
use crate::openapi::by_hand;
use crate::rooms::take::Taken;
use crate::rooms::unique;
use axum::Json;
use axum::extract::State;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Texts in one request at most.
const MAX_INPUTS: usize = 2048;

/// How many of them are read at once; the line takes them in turn with other people's requests.
const AT_ONCE: usize = 8;

/// Body of `POST /v1/embeddings`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct EmbeddingRequest {
    pub(crate) model: Option<String>,
    #[schema(value_type = by_hand::EmbeddingInput)]
    input: Texts,
    #[schema(value_type = Option<by_hand::EncodingFormat>)]
    encoding_format: Option<String>,
    /// As many as the model has, if given.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingList {
    id: String,
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingUsage,
}

#[derive(Serialize, ToSchema)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Values,
}

/// As numbers, or as the base64 of their bytes, which OpenAI's clients ask for by themselves.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EmbeddingValues)]
enum Values {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Serialize, ToSchema)]
struct EmbeddingUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<EmbeddingRequest>,
) -> Result<Json<EmbeddingList>, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    let as_base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(ApiError::parameter("encoding_format", "must be `float` or `base64`")),
    };
    if request.dimensions.is_some_and(|dimensions| dimensions != model.hidden_size) {
        let problem = format!("must be {}, as many as the model has", model.hidden_size);
        return Err(ApiError::parameter("dimensions", problem));
    }
    let inputs = request.input.0;
    if inputs.is_empty() || inputs.len() > MAX_INPUTS {
        return Err(ApiError::parameter("input", format!("must have from 1 to {MAX_INPUTS} texts")));
    }
    let read = |asked| {
        let ask = Ask { asked, max_tokens: Some(1), wants_states: true, ..Ask::default() };
        let (app, caller, model) = (&app, &caller, Arc::clone(&model));
        async move {
            let mut answer = Answer::start(app, caller, model, ask).await?;
            let mut sum = Vec::new();
            while let Some(said) = answer.next().await? {
                sum = said.reading.map_or(sum, |reading| reading.prompt_states);
            }
            Ok::<_, ApiError>((of_length_one(&sum), answer.tokens()))
        }
    };
    let read: Vec<_> = stream::iter(inputs.into_iter().map(read)).buffered(AT_ONCE).try_collect().await?;
    let (mut data, mut tokens) = (Vec::new(), Tokens::default());
    for (index, (embedding, read)) in read.into_iter().enumerate() {
        let embedding = match as_base64 {
            true => Values::Base64(base64(&embedding)),
            false => Values::Numbers(embedding),
        };
        data.push(Embedding { object: "embedding", index, embedding });
        tokens += read;
    }
    let usage = EmbeddingUsage { prompt_tokens: tokens.prompt, total_tokens: tokens.prompt };
    let name = request.model.unwrap_or_else(|| model.name.clone());
    Ok(Json(EmbeddingList { id: unique("embd-"), object: "list", data, model: name, usage }))
}

/// A sum of states divided by its length, as their mean would be.
fn of_length_one(sum: &[f64]) -> Vec<f32> {
    let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    sum.iter().map(|value| if length > 0.0 { (value / length) as f32 } else { 0.0 }).collect()
}

/// The base64 (RFC 4648, section 4) of the little-endian bytes of `values`.
fn base64(values: &[f32]) -> String {
    use base64::Engine;
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
