//! A model over HTTP: `/v1/chat/completions`, `/v1/models` and `/health`, in the wire format of OpenAI and DeepSeek.
//!
//! [`serve`] runs until told to stop; [`router`] is the same application for tests in-process. One thread owns the
//! model and generates for everybody at once; handlers hold a channel to it each. How the model talks is
//! [`picnic_chat`]'s to know. Left out: keys and accounts, tools, log-probabilities, and every other path of the two
//! contracts.

mod answer;
mod error;
mod held;
mod routes;
mod wire;
mod worker;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use error::ApiError;
use picnic_chat::{ChatFormat, Guidance};
use picnic_engine::{DiskCache, Engine, Limits as EngineLimits};
use picnic_model::{CacheForm, Model, Ops, SharedModel};
use routes::{chat_completions, health, models};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use worker::{Generator, Worker};

/// A model and all that it takes to serve it.
pub struct Served<O: Ops> {
    /// What clients call the model.
    pub name: String,
    /// The architecture with its parameters.
    pub model: SharedModel<O>,
    /// What computes.
    pub ops: O,
    /// How the model talks.
    pub chat: ChatFormat,
    /// How much is done at once.
    pub limits: Limits,
    /// Where pages of the cache are kept, if on disk too.
    pub disk: Option<DiskCache>,
}

/// Tokens that a request guesses ahead at most.
const DRAFT_TOKENS: usize = 8;

/// How much a server does at once, and for one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Batch and cache.
    pub engine: EngineLimits,
    /// Requests that run or wait; one more is answered 503.
    pub places: usize,
    /// Tokens of prompt and answer together: what the model was trained for.
    pub context: usize,
    /// Tokens of an answer whose request does not say how many.
    pub default_max_tokens: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
}

impl Limits {
    /// Limits for `model` with `cache_bytes` of keys and values, kept in `cache`'s form: as many tokens as they hold, each
    /// request no more than the model was trained for.
    pub fn new<O: Ops>(ops: &O, model: &Model, cache: CacheForm, cache_bytes: usize) -> Limits {
        let engine = EngineLimits { draft_tokens: DRAFT_TOKENS, cache, ..EngineLimits::new(16, 256, 0) };
        let cache_tokens = engine.cache_in(ops, model, cache_bytes);
        // Conversations come back with what was said before, and repeat what they quote.
        let engine = EngineLimits { kept_tokens: cache_tokens, cache_tokens, ..engine };
        Limits {
            engine,
            places: 64,
            context: model.config().conversation_tokens().min(cache_tokens),
            default_max_tokens: 4096,
            body_bytes: 4 << 20,
        }
    }
}

/// Why a server stopped or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The system gave no thread.
    #[error("cannot start the thread that generates: {0}; close other programs and try again")]
    Thread(#[source] std::io::Error),
    /// The listener failed.
    #[error("cannot listen: {0}; try another address or port")]
    Listen(#[source] std::io::Error),
}

/// Answers requests on `listener` until `shutdown` resolves, then finishes those under way.
///
/// # Errors
/// If the system refuses a thread or a socket.
pub async fn serve<O: Ops>(
    served: Served<O>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let router = router(served)?;
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await.map_err(ServeError::Listen)
}

/// The application, with its thread started.
///
/// # Errors
/// If the system refuses a thread.
pub fn router<O: Ops>(served: Served<O>) -> Result<Router, ServeError> {
    let Served { name, model, ops, chat, limits, disk } = served;
    let mut engine = Engine::new(ops, model, limits.engine);
    if let Some(disk) = disk {
        engine.attach(disk);
    }
    application(name, chat, limits, engine)
}

/// What handlers share.
struct App {
    name: String,
    /// Seconds since 1970.
    started: u64,
    chat: ChatFormat,
    /// Made for the first request that asks for a form.
    guidance: OnceLock<Result<Guidance, String>>,
    limits: Limits,
    worker: Worker,
}

fn application(
    name: String,
    chat: ChatFormat,
    limits: Limits,
    generator: impl Generator,
) -> Result<Router, ServeError> {
    let worker = Worker::start(generator, limits.places).map_err(ServeError::Thread)?;
    let app = App { name, started: seconds_since_1970(), chat, guidance: OnceLock::new(), limits, worker };
    // Both of DeepSeek's base paths.
    let api =
        Router::new().route("/chat/completions", post(chat_completions::create)).route("/models", get(models::list));
    Ok(Router::new()
        .nest("/v1", api.clone())
        .merge(api)
        .route("/health", get(health::show))
        .fallback(async || ApiError::NoRoute)
        .method_not_allowed_fallback(async || ApiError::NoMethod)
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(ApiError::Panicked)))
        .with_state(Arc::new(app)))
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
