//! A model that is loaded: how it talks, what it may do at once, and the thread that generates for it.

use crate::error::ApiError;
use crate::worker::{Generator, Worker};
use crate::{Limits, ServeError, Served, seconds_since_1970};
use picnic_chat::{ChatFormat, Guidance};
use picnic_engine::Engine;
use picnic_model::Ops;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// A model with its engine.
pub struct Hosted {
    pub(crate) name: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) chat: ChatFormat,
    pub(crate) limits: Limits,
    pub(crate) worker: Worker,
    /// Bytes of the longest token: no text has fewer tokens than its bytes over this.
    pub(crate) longest_token: usize,
    /// Values in a hidden state.
    pub(crate) hidden_size: usize,
    /// Made for the first request that asks for a form.
    guidance: OnceLock<Result<Guidance, String>>,
    /// One for each text that may be tokenized at once.
    encoders: Arc<Semaphore>,
}

impl Hosted {
    /// Starts the thread of a model.
    ///
    /// # Errors
    /// If the system refuses it.
    pub fn new<O: Ops>(served: Served<O>) -> Result<Hosted, ServeError> {
        let Served { name, model, ops, chat, limits, disk } = served;
        let hidden_size = model.model().config().hidden_size;
        let mut engine = Engine::new(ops, model, limits.engine);
        if let Some(disk) = disk {
            engine.attach(disk);
        }
        Hosted::of(name, chat, limits, hidden_size, engine)
    }

    pub(crate) fn of(
        name: String,
        chat: ChatFormat,
        limits: Limits,
        hidden_size: usize,
        generator: impl Generator,
    ) -> Result<Hosted, ServeError> {
        let worker = Worker::start(generator, limits.engine.sequences, limits.places).map_err(ServeError::Thread)?;
        let tokenizer = chat.tokenizer();
        let bytes = |id| tokenizer.token_bytes(id as u32).map_or(0, |bytes| bytes.len());
        let longest_token = (0..tokenizer.vocab_size()).map(bytes).max().unwrap_or(1).max(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Hosted {
            name,
            created: seconds_since_1970(),
            longest_token,
            hidden_size,
            guidance: OnceLock::new(),
            encoders: Arc::new(Semaphore::new(cores)),
            chat,
            limits,
            worker,
        })
    }

    /// What holds answers to forms.
    pub(crate) fn guidance(&self) -> Result<&Guidance, &str> {
        let made = self.guidance.get_or_init(|| Guidance::new(&self.chat).map_err(|error| error.to_string()));
        made.as_ref().map_err(String::as_str)
    }

    /// Runs something that takes a while, such as tokenizing, beside the handlers: as many at once as there are cores.
    pub(crate) async fn in_background<T: Send + 'static>(
        self: &Arc<Hosted>,
        run: impl FnOnce(&Hosted) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.encoders).acquire_owned().await.map_err(|_| ApiError::Panicked)?;
        let hosted = Arc::clone(self);
        // The turn lasts as long as the work does, also when its client is gone.
        let work = move || {
            let _turn = turn;
            run(&hosted)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Panicked)
    }
}
