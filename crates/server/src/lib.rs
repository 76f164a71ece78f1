//! Models over HTTP, in the wire formats of OpenAI, DeepSeek and Anthropic.
//!
//! [`Server::serve`] runs until told to stop; [`Server::router`] is the same application for tests in-process. A [`House`] holds models by
//! name, each with one thread that owns it and generates for everybody at once; handlers hold a channel to it. Every
//! contract is a thin room (`rooms/`) before the same hall (`hall/`), where all of them come down to one inner request. How a
//! model talks is [`picnic_chat`]'s to know.

mod error;
mod hall;
mod hosted;
mod house;
mod rooms;
mod worker;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use error::ApiError;
pub use hosted::Hosted;
pub use house::{House, Listed, Load};
use picnic_chat::ChatFormat;
use picnic_engine::{DiskCache, Limits as EngineLimits};
use picnic_model::{CacheForm, Model, Ops, SharedModel};
use rooms::openai::{chat, models};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

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

/// How much is done at once with a model, and for one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Batch and cache.
    pub engine: EngineLimits,
    /// Requests that run or wait; one more is answered 429.
    pub places: usize,
    /// Tokens of prompt and answer together: what the model was trained for.
    pub context: usize,
    /// Tokens of an answer whose request does not say how many.
    pub default_max_tokens: usize,
}

impl Limits {
    /// Limits for `model` with `cache_bytes` of keys and values, kept in `cache`'s form: as many tokens as they hold, each
    /// request no more than the model was trained for.
    pub fn new<O: Ops>(ops: &O, model: &Model, cache: CacheForm, cache_bytes: usize) -> Limits {
        let engine = EngineLimits { draft_tokens: DRAFT_TOKENS, cache, ..EngineLimits::new(32, 256, 0) };
        let cache_tokens = engine.cache_in(ops, model, cache_bytes);
        // Conversations come back with what was said before, and repeat what they quote.
        let engine = EngineLimits { kept_tokens: cache_tokens, cache_tokens, ..engine };
        Limits {
            engine,
            places: 1024,
            context: model.config().conversation_tokens().min(cache_tokens),
            default_max_tokens: 4096,
        }
    }
}

/// How a server behaves, whatever its models.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a request's body.
    pub body_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { body_bytes: 4 << 20 }
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
    /// The models cannot be served together.
    #[error("{0}")]
    Models(String),
}

/// A server that can be asked for its state while it runs.
#[derive(Clone)]
pub struct Server(Arc<App>);

impl Server {
    /// A server of the models of `house`.
    pub fn new(house: House, settings: Settings) -> Server {
        Server(Arc::new(App { house, settings, started: seconds_since_1970() }))
    }

    /// Loads the default model, so that the first request does not wait for it.
    ///
    /// # Errors
    /// Why it cannot be loaded, in a line.
    pub async fn load(&self) -> Result<(), String> {
        match self.0.house.model(None).await {
            Ok(_) => Ok(()),
            Err(ApiError::NotLoaded { problem, .. }) => Err(problem),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Answers requests on `listener` until `shutdown` resolves, then finishes those under way.
    ///
    /// # Errors
    /// If the system refuses a socket.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        axum::serve(listener, self.router()).with_graceful_shutdown(shutdown).await.map_err(ServeError::Listen)
    }
}

/// What handlers share.
struct App {
    house: House,
    settings: Settings,
    /// Seconds since 1970.
    started: u64,
}

impl App {
    /// The name to look for when `asked` was asked for.
    fn asked_model<'a>(&self, asked: Option<&'a str>) -> Option<&'a str> {
        asked
    }
}

impl Server {
    /// The application, for tests in-process.
    pub fn router(&self) -> Router {
        // Both of DeepSeek's base paths.
        let api = Router::new()
            .route("/chat/completions", post(chat::create))
            .route("/models", get(models::list))
            .route("/models/{*name}", get(models::retrieve));
        Router::new()
            .nest("/v1", api.clone())
            .merge(api)
            .route("/health", get(async || axum::Json(serde_json::json!({"status": "ok"}))))
            .fallback(async || ApiError::NoRoute("there is nothing at this path: see /v1/models and the documentation"))
            .method_not_allowed_fallback(async || ApiError::NoMethod)
            .layer(DefaultBodyLimit::disable())
            .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(ApiError::Panicked)))
            .with_state(Arc::clone(&self.0))
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
