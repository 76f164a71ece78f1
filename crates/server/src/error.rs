//! Everything that a request can meet, with its status: the one place where HTTP statuses are chosen, and where errors
//! become bodies.
//!
//! Bodies have OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`, or Anthropic's under its paths
//! (`rooms/anthropic.rs`). Statuses are DeepSeek's: 400 for what cannot be read, 422 for a parameter out of range, 429
//! and 503 where trying again helps.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use picnic_engine::RequestError;
use picnic_keys::Refusal;
use picnic_model::OutOfMemory;
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::ToSchema;

/// Why a request gets no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the body is not what this path takes: {problem}; send JSON as the API describes it")]
    Malformed { problem: String, param: Option<String> },
    #[error("the body cannot be read: {1}")]
    Body(StatusCode, String),
    #[error("`{param}` {problem}")]
    Parameter { param: &'static str, problem: String },
    #[error("there is no model {asked:?} here: ask for {known}, or leave `model` out")]
    UnknownModel { asked: String, known: String },
    #[error("the model {name:?} cannot be loaded: {problem}")]
    NotLoaded { name: String, problem: String },
    #[error("the messages cannot be made into a prompt: {0}")]
    Prompt(Arc<picnic_chat::Error>),
    /// In the words that clients look for.
    #[error(
        "This model's maximum context length is {context} tokens. However, the prompt has {}{prompt} tokens, which leaves none \
         for an answer: shorten the messages", if *is_least { "at least " } else { "" }
    )]
    TooLong { context: usize, prompt: usize, is_least: bool },
    #[error("{0}")]
    NoRoute(&'static str),
    #[error("there is no response {0:?} here: the latest are kept, and none once the server was started anew")]
    NoResponse(String),
    #[error("Previous response with id '{0}' not found: send the whole conversation as `input`")]
    NoPrevious(String),
    #[error(
        "requests from other pages are refused: the header {0} names neither this machine nor an origin that was allowed \
         by --allow-origin"
    )]
    Foreign(&'static str),
    #[error(
        "there is no API key: send one as `Authorization: Bearer pk-…`, or as `x-api-key`; whoever runs the server makes keys by \
         `picnic keys create NAME`"
    )]
    NoKey,
    #[error("{0}")]
    Key(picnic_keys::Refusal),
    #[error("what this request used cannot be written down, so it is not answered: {0}")]
    Unrecorded(String),
    #[error("this path does not take that method")]
    NoMethod,
    #[error("the line is full: try again in a moment")]
    Overloaded,
    #[error("{0}")]
    Refused(RequestError),
    #[error("{0}; or try again when the server has less to do")]
    OutOfMemory(OutOfMemory),
    #[error("the server failed to generate this answer; other requests are not affected")]
    Panicked,
}

/// What an error says, whatever the contract.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    pub message: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub param: Option<Cow<'static, str>>,
    pub code: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn parameter(param: &'static str, problem: impl Into<String>) -> ApiError {
        ApiError::Parameter { param, problem: problem.into() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            ApiError::Malformed { .. } | ApiError::Prompt(_) | ApiError::TooLong { .. } | ApiError::NoPrevious(_) => {
                StatusCode::BAD_REQUEST
            }
            ApiError::Body(status, _) => *status,
            ApiError::Parameter { .. } | ApiError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ApiError::UnknownModel { .. } | ApiError::NoRoute(_) | ApiError::NoResponse(_) => StatusCode::NOT_FOUND,
            ApiError::Foreign(_) => StatusCode::FORBIDDEN,
            ApiError::NoKey => StatusCode::UNAUTHORIZED,
            ApiError::Key(refusal) => match refusal {
                Refusal::Unknown | Refusal::Revoked | Refusal::Expired(_) => StatusCode::UNAUTHORIZED,
                Refusal::OutOfScope(_) | Refusal::Model(_) => StatusCode::FORBIDDEN,
                Refusal::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
                // DeepSeek's status for an account without money.
                Refusal::UsedUp(_) => StatusCode::PAYMENT_REQUIRED,
                Refusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            ApiError::Unrecorded(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::NoMethod => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            ApiError::OutOfMemory(_) | ApiError::NotLoaded { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// In OpenAI's words.
    pub(crate) fn body(&self) -> ErrorBody {
        let (param, code) = match self {
            ApiError::Malformed { param, .. } => (param.clone().map(Cow::Owned), None),
            ApiError::Parameter { param, .. } => (Some(Cow::Borrowed(*param)), None),
            ApiError::UnknownModel { .. } => (Some("model".into()), Some("model_not_found")),
            ApiError::NoPrevious(_) => (Some("previous_response_id".into()), Some("previous_response_not_found")),
            ApiError::TooLong { .. } => (Some("messages".into()), Some("context_length_exceeded")),
            ApiError::Overloaded | ApiError::Key(Refusal::RateLimited { .. }) => (None, Some("rate_limit_exceeded")),
            ApiError::NoKey | ApiError::Key(Refusal::Unknown | Refusal::Revoked | Refusal::Expired(_)) => {
                (None, Some("invalid_api_key"))
            }
            ApiError::Key(Refusal::UsedUp(_)) => (None, Some("insufficient_quota")),
            _ => (None, None),
        };
        let kind = match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::PAYMENT_REQUIRED => "insufficient_quota",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        ErrorBody { error: ErrorDetail { message: self.to_string(), kind, param, code } }
    }

    /// Seconds after which trying again may help.
    fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            ApiError::Overloaded => Some(HeaderValue::from_static("1")),
            ApiError::Key(Refusal::RateLimited { retry_after, .. }) => {
                HeaderValue::from_str(&retry_after.as_secs().to_string()).ok()
            }
            error if error.status() == StatusCode::SERVICE_UNAVAILABLE => Some(HeaderValue::from_static("5")),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        // For contracts with another shape.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> ApiError {
        ApiError::Malformed { problem: rejection.body_text(), param: Some("model".to_owned()) }
    }
}

impl From<picnic_chat::Error> for ApiError {
    fn from(error: picnic_chat::Error) -> ApiError {
        ApiError::Prompt(Arc::new(error))
    }
}
