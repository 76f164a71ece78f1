//! Who sends a request: nobody in particular, or the holder of a key.

use crate::App;
use crate::error::ApiError;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use picnic_keys::{Grant, Keys, Scope, Timestamp, Usage};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::oneshot;

/// Paths that answer whoever asks: whether the program is alive and ready is for those who run it.
const OPEN: [&str; 8] = [
    "/", "/health", "/v1/health/live", "/v1/health/ready", "/v1/version", "/version", "/openapi.json",
    "/v1/openapi.json",
];

/// Who sends a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    grant: Option<Grant>,
    /// Whether the request is counted: one of several prompts is billed in as many parts.
    is_counted: Arc<AtomicBool>,
}

/// The name of a key, beside an answer for the log.
#[derive(Clone)]
pub(crate) struct Name(pub(crate) String);

impl Caller {
    /// Whose pages of the cache it may find.
    pub(crate) fn tenant(&self) -> u64 {
        self.grant.as_ref().map_or(0, Grant::tenant)
    }

    /// Whether it may use this model.
    pub(crate) fn check_model(&self, name: &str) -> Result<(), ApiError> {
        self.grant.as_ref().map_or(Ok(()), |grant| grant.check_model(name).map_err(ApiError::Key))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Lets requests with a key pass, where there have to be keys.
pub(crate) async fn check(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let Some(keys) = &app.settings.keys else { return Ok(next.run(request).await) };
    let path = request.uri().path();
    if OPEN.contains(&path) || request.method() == Method::OPTIONS {
        return Ok(next.run(request).await);
    }
    let scope = match path.ends_with("/metrics") {
        true => Scope::Admin,
        false if request.method() == Method::GET => Scope::Read,
        false => Scope::Inference,
    };
    let secret = secret(request.headers()).ok_or(ApiError::NoKey)?.to_owned();
    let keys = Arc::clone(keys);
    let asked = tokio::task::spawn_blocking(move || keys.authorize(&secret, scope, Timestamp::now()));
    let grant = asked.await.map_err(|_| ApiError::Panicked)?.map_err(ApiError::Key)?;
    let name = Name(grant.name().to_owned());
    request.extensions_mut().insert(Caller { grant: Some(grant), ..Caller::default() });
    let mut response = next.run(request).await;
    response.extensions_mut().insert(name);
    Ok(response)
}

/// The key, where OpenAI's, Anthropic's and Azure's clients put it.
fn secret(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    let named = |name| headers.get(name).and_then(|value| value.to_str().ok());
    bearer.or_else(|| named("x-api-key")).or_else(|| named("api-key")).filter(|secret| !secret.is_empty())
}

/// What a request has used, to be written down once.
pub(crate) struct Bill {
    keys: Arc<Keys>,
    grant: Grant,
    is_counted: Arc<AtomicBool>,
}

impl Bill {
    /// The bill of `caller`, if there are keys.
    pub(crate) fn of(app: &App, caller: &Caller) -> Option<Bill> {
        let (keys, grant) = (Arc::clone(app.settings.keys.as_ref()?), caller.grant.clone()?);
        Some(Bill { keys, grant, is_counted: Arc::clone(&caller.is_counted) })
    }

    fn usage(&self, prompt: usize, completion: usize) -> Usage {
        match self.is_counted.swap(true, Relaxed) {
            false => Usage::of_request(prompt as u64, completion as u64),
            true => Usage::of_part(prompt as u64, completion as u64),
        }
    }

    /// Writes it down and waits until it is on disk.
    pub(crate) async fn settle(self, prompt: usize, completion: usize) -> Result<(), ApiError> {
        let (done, written) = oneshot::channel();
        let used = self.usage(prompt, completion);
        self.keys.record_then(&self.grant, used, Timestamp::now(), move |outcome| {
            let _ = done.send(outcome);
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ApiError::Unrecorded(error.to_string())),
            Err(_) => Err(ApiError::Panicked),
        }
    }

    /// Writes it down without waiting, for a client that is gone.
    pub(crate) fn leave(self, prompt: usize, completion: usize) {
        let used = self.usage(prompt, completion);
        self.keys.record_then(&self.grant, used, Timestamp::now(), |_| {});
    }
}
