//! Models over HTTP, in the wire formats of OpenAI, DeepSeek and Anthropic.
//!
//! [`Server::serve`] runs until told to stop; [`Server::router`] is the same application for tests in-process. A [`House`]
//! holds models by name, each with one thread that owns it and generates for everybody at once; handlers hold a channel to
//! it. Every contract is a thin room (`rooms/`) before the same hall (`hall/`), where all of them come down to one inner
//! request. How a model talks is [`picnic_chat`]'s to know.

mod caller;
mod error;
mod guard;
mod hall;
mod hosted;
mod house;
mod listen;
mod log;
mod metrics;
mod openapi;
mod rooms;
mod worker;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use caller::Caller;
use error::ApiError;
pub use hosted::Hosted;
pub use house::{House, Listed, Load};
use listen::Bounds;
use metrics::Metrics;
use picnic_chat::ChatFormat;
use picnic_engine::{DiskCache, Limits as EngineLimits};
use picnic_keys::Keys;
use picnic_model::{CacheForm, Model, Ops, SharedModel};
use rooms::openai::responses::stored::{self, Stored};
use rooms::openai::{chat, completions, embeddings, models, responses, text};
use rooms::{anthropic, azure, deepseek, nim};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};

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
#[derive(Clone)]
pub struct Settings {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Connections at once; more wait until one of them ends.
    pub connections: usize,
    /// Whether it listens for programs of this machine alone, so that pages from elsewhere are refused.
    pub is_loopback: bool,
    /// Origins whose pages may use it from a browser; `*` for all.
    pub origins: Vec<String>,
    /// Whether every request is told on standard error.
    pub logs: bool,
    /// Who may use it; whoever reaches it, if `None`.
    pub keys: Option<Arc<Keys>>,
    /// Bytes of responses that are kept in memory, so that later ones can go on from them by name; 0 for none.
    pub stored_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            body_bytes: 8 << 20,
            connections: 1024,
            is_loopback: false,
            origins: Vec::new(),
            logs: false,
            keys: None,
            stored_bytes: 0,
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
        let (house, metrics) = (Arc::new(house), Metrics::default());
        let bodies = Semaphore::new(rooms::take::BODIES_KIB as usize);
        let stored = Stored::with_room(settings.stored_bytes);
        Server(Arc::new(App { house, settings, metrics, bodies, stored, started: seconds_since_1970() }))
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
        let bounds = Bounds::of(self.0.settings.connections);
        listen::listen(self.router(), listener, bounds, shutdown).await.map_err(ServeError::Listen)
    }

    /// The application, for tests in-process.
    pub fn router(&self) -> Router {
        let app = Arc::clone(&self.0);
        let openai = Router::new()
            .route("/chat/completions", post(chat::create))
            .route("/completions", post(completions::create))
            .route("/responses", post(responses::create))
            .route("/responses/input_tokens", post(responses::count_tokens))
            .route("/responses/{id}", get(stored::retrieve).delete(stored::delete))
            .route("/responses/{id}/input_items", get(stored::input_items))
            .route("/embeddings", post(embeddings::create))
            .route("/models", get(models::list))
            .route("/models/{*name}", get(models::retrieve));
        let anthropic = Router::new()
            .route("/v1/messages", post(anthropic::create))
            .route("/v1/messages/count_tokens", post(anthropic::count_tokens));
        let azure = Router::new()
            .route("/chat/completions", post(azure::chat))
            .route("/completions", post(azure::complete))
            .route("/embeddings", post(azure::embed));
        let text = Router::new()
            .route("/tokenize", post(text::tokenize))
            .route("/detokenize", post(text::detokenize))
            .route("/infill", post(text::infill));
        Router::new()
            .nest("/v1", openai.clone().merge(text.clone()))
            .nest("/beta", openai.clone())
            .nest("/openai/v1", openai.clone())
            .nest("/openai/deployments/{name}", azure)
            .merge(openai)
            .merge(text)
            .nest("/anthropic", anthropic.clone())
            .merge(anthropic)
            .route("/user/balance", get(deepseek::balance))
            .route("/", get(nim::root))
            .route("/health", get(nim::health))
            .route("/v1/health/live", get(nim::live))
            .route("/v1/health/ready", get(nim::ready))
            .route("/v1/version", get(nim::version))
            .route("/version", get(nim::version))
            .route("/openapi.json", get(openapi::document))
            .route("/v1/openapi.json", get(openapi::document))
            .route("/v1/metadata", get(nim::metadata))
            .route("/v1/metrics", get(nim::metrics))
            .route("/metrics", get(nim::metrics))
            .fallback(async || ApiError::NoRoute(NO_ROUTE))
            .method_not_allowed_fallback(async || ApiError::NoMethod)
            .layer(from_fn_with_state(Arc::clone(&app), caller::check))
            .layer(from_fn_with_state(Arc::clone(&app), guard::check))
            .layer(guard::cors(&app))
            .layer(DefaultBodyLimit::disable())
            .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(ApiError::Panicked)))
            .layer(from_fn(anthropic::in_its_words))
            .layer(from_fn_with_state(Arc::clone(&app), log::log))
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(SetRequestIdLayer::x_request_id(RequestIds))
            .with_state(app)
    }
}

/// What handlers share.
struct App {
    house: Arc<House>,
    settings: Settings,
    metrics: Metrics,
    /// A permit for each KiB of a body that is being read.
    bodies: Semaphore,
    /// Responses that are kept, if any are.
    stored: Option<Stored>,
    /// Seconds since 1970.
    started: u64,
}

impl App {
    /// The model that was asked for. Names of DeepSeek's own stand for the default one.
    async fn model(&self, caller: &Caller, asked: Option<&str>) -> Result<Arc<Hosted>, ApiError> {
        let is_foreign = |name: &str| [chat::DEEPSEEK_CHAT, chat::DEEPSEEK_REASONER].contains(&name);
        let name = self.house.name_of(asked.filter(|name| !is_foreign(name) || self.house.knows(name)))?;
        caller.check_model(name)?;
        self.house.model(Some(name)).await
    }

    /// Whether a model that has this name, or this other name, may be used by `caller`.
    fn may_use(&self, caller: &Caller, name: &str) -> Result<(), ApiError> {
        caller.check_model(self.house.name_of(Some(name))?)
    }
}

const NO_ROUTE: &str = "there is nothing at this path: use /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages, \
                        /v1/embeddings or /v1/models";

/// Names a request that has no name yet.
#[derive(Clone)]
struct RequestIds;

impl MakeRequestId for RequestIds {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        axum::http::HeaderValue::from_str(&rooms::unique("req_")).ok().map(RequestId::new)
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
