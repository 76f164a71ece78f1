//! Everything that a request can meet, with its status: the one place where HTTP statuses are chosen.
//!
//! Bodies have OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`; statuses are DeepSeek's: 400 for what
//! cannot be read, 422 for a parameter out of range, 503 when all places are taken.

use crate::wire::{ErrorBody, ErrorDetail};
use crate::worker::SubmitError;
use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use picnic_model::OutOfMemory;

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the body is not a chat completion request: {0}; send JSON as the OpenAI API describes it")]
    Malformed(#[from] serde_json::Error),
    #[error("the body cannot be read: {0}")]
    Body(#[from] BytesRejection),
    #[error("`{param}` {problem}")]
    Parameter { param: &'static str, problem: String },
    #[error("there is no model {asked:?} here: ask for {served:?}, or leave `model` out")]
    UnknownModel { asked: String, served: String },
    #[error("the messages cannot be made into a prompt: {0}")]
    Prompt(#[from] picnic_chat::Error),
    #[error("a conversation may have {context} tokens with this model, but {what}")]
    ContextLength { context: usize, what: String },
    #[error("there is nothing at this path: use /v1/chat/completions, /v1/models or /health")]
    NoRoute,
    #[error("this path does not take that method: POST to /v1/chat/completions, GET the others")]
    NoMethod,
    #[error("all places are taken: try again in a moment")]
    Overloaded,
    #[error("{0}")]
    Submit(#[from] SubmitError),
    #[error("{0}; or try again when the server has less to do")]
    OutOfMemory(OutOfMemory),
    #[error("the server failed to generate this answer; other requests are not affected")]
    Panicked,
}

impl ApiError {
    pub(crate) fn parameter(param: &'static str, problem: impl Into<String>) -> ApiError {
        ApiError::Parameter { param, problem: problem.into() }
    }

    fn status(&self) -> StatusCode {
        match self {
            ApiError::Malformed(_) | ApiError::Prompt(_) | ApiError::ContextLength { .. } => StatusCode::BAD_REQUEST,
            ApiError::Body(rejection) => rejection.status(),
            ApiError::Parameter { .. } | ApiError::Submit(SubmitError::Request(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            ApiError::UnknownModel { .. } | ApiError::NoRoute => StatusCode::NOT_FOUND,
            ApiError::NoMethod => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Overloaded | ApiError::OutOfMemory(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Submit(SubmitError::Ended) | ApiError::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn body(&self) -> ErrorBody {
        let (param, code) = match self {
            ApiError::Parameter { param, .. } => (Some(*param), None),
            ApiError::UnknownModel { .. } => (Some("model"), Some("model_not_found")),
            ApiError::ContextLength { .. } => (Some("messages"), Some("context_length_exceeded")),
            _ => (None, None),
        };
        let kind = match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        ErrorBody { error: ErrorDetail { message: self.to_string(), kind, param, code } }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        if matches!(self, ApiError::Overloaded) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}
