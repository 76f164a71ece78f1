//! The paths of Azure's OpenAI service, where the model stands in the path: `/openai/deployments/{name}/…?api-version=…`.

use super::openai::chat;
use super::openai::completions::{self, CompletionRequest};
use super::openai::embeddings::{self, EmbeddingList, EmbeddingRequest};
use super::openai::wire::ChatRequest;
use super::take::Taken;
use crate::App;
use crate::caller::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use std::sync::Arc;

pub(crate) async fn chat(
    app: State<Arc<App>>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    Taken(mut request): Taken<ChatRequest>,
) -> Result<Response, ApiError> {
    request.model = Some(name?.0);
    chat::create(app, caller, Taken(request)).await
}

pub(crate) async fn complete(
    app: State<Arc<App>>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    Taken(mut request): Taken<CompletionRequest>,
) -> Result<Response, ApiError> {
    request.model = Some(name?.0);
    completions::create(app, caller, Taken(request)).await
}

pub(crate) async fn embed(
    app: State<Arc<App>>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    Taken(mut request): Taken<EmbeddingRequest>,
) -> Result<Json<EmbeddingList>, ApiError> {
    request.model = Some(name?.0);
    embeddings::create(app, caller, Taken(request)).await
}
