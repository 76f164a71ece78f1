//! The house: models by name, each loaded when it is first asked for, within one budget of memory.
//!
//! A model that nobody has asked for the longest makes room for one that is asked for now, if nothing of it is under way.
//! Loads happen one at a time, so that the budget is counted once.

use crate::ServeError;
use crate::error::ApiError;
use crate::hosted::Hosted;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A model that can be loaded.
pub struct Listed {
    /// What clients call it.
    pub name: String,
    /// Bytes that it takes with its cache, as far as its files tell.
    pub bytes: u64,
    /// Loads it.
    pub load: Load,
}

/// Loads a model, or says why it cannot.
pub type Load = Arc<dyn Fn() -> Result<Hosted, String> + Send + Sync>;

/// All models of a server.
pub struct House {
    rooms: Vec<Room>,
    /// Other names for models.
    aliases: BTreeMap<String, String>,
    budget: u64,
    /// Held by whoever loads.
    loading: tokio::sync::Mutex<()>,
    clock: AtomicU64,
}

struct Room {
    listed: Listed,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    hosted: Option<Arc<Hosted>>,
    /// By the house's clock, which counts requests.
    used: u64,
    /// What went wrong the last time.
    problem: Option<String>,
}

impl House {
    /// A house whose models take `budget` bytes together at most; one alone may take more. The first is the default.
    ///
    /// # Errors
    /// Without a model, with two of one name, or with an alias for none.
    pub fn new(models: Vec<Listed>, aliases: BTreeMap<String, String>, budget: u64) -> Result<House, ServeError> {
        let names: Vec<&str> = models.iter().map(|listed| &*listed.name).collect();
        if names.is_empty() {
            return Err(ServeError::Models("there is no model to serve".to_owned()));
        }
        if let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            return Err(ServeError::Models(format!("two models are called {:?}: rename one of them", twice.1)));
        }
        for (alias, name) in &aliases {
            if !names.contains(&&**name) {
                let known = names.join(", ");
                return Err(ServeError::Models(format!(
                    "{alias:?} is to stand for {name:?}, but there are only: {known}"
                )));
            }
        }
        let rooms = models.into_iter().map(|listed| Room { listed, loaded: Mutex::default() }).collect();
        Ok(House { rooms, aliases, budget, loading: tokio::sync::Mutex::new(()), clock: AtomicU64::new(0) })
    }

    /// A house with one model that is there already.
    pub fn of(hosted: Hosted) -> House {
        let listed =
            Listed { name: hosted.name.clone(), bytes: 0, load: Arc::new(|| Err("it was unloaded".to_owned())) };
        let loaded = Loaded { hosted: Some(Arc::new(hosted)), ..Loaded::default() };
        House {
            rooms: vec![Room { listed, loaded: Mutex::new(loaded) }],
            aliases: BTreeMap::new(),
            budget: u64::MAX,
            loading: tokio::sync::Mutex::new(()),
            clock: AtomicU64::new(0),
        }
    }

    /// The names of all models.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rooms.iter().map(|room| &*room.listed.name)
    }

    /// Other names, and which model each stands for.
    pub(crate) fn aliases(&self) -> &BTreeMap<String, String> {
        &self.aliases
    }

    /// The models that are loaded.
    pub(crate) fn loaded(&self) -> Vec<Arc<Hosted>> {
        self.rooms.iter().filter_map(|room| room.lock().hosted.clone()).collect()
    }

    /// The model of this name if it is loaded.
    pub(crate) fn peek(&self, name: &str) -> Option<Arc<Hosted>> {
        self.room(Some(name)).ok()?.lock().hosted.clone()
    }

    /// Whether there is a model of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.room(Some(name)).is_ok()
    }

    /// The name of the model that this is a name of, or of the default one without a name.
    pub(crate) fn name_of(&self, asked: Option<&str>) -> Result<&str, ApiError> {
        Ok(&self.room(asked)?.listed.name)
    }

    /// The model of this name, or the default one without a name; loaded if it is not yet.
    pub(crate) async fn model(&self, name: Option<&str>) -> Result<Arc<Hosted>, ApiError> {
        let room = self.room(name)?;
        let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(hosted) = room.visit(now) {
            return Ok(hosted);
        }
        let _turn = self.loading.lock().await;
        // Somebody else may have loaded it meanwhile.
        if let Some(hosted) = room.visit(now) {
            return Ok(hosted);
        }
        self.make_room(room.listed.bytes).await?;
        let load = Arc::clone(&room.listed.load);
        let loaded = tokio::task::spawn_blocking(move || load()).await;
        let mut state = room.lock();
        match loaded.unwrap_or_else(|_| Err("reading it failed in a way that was not foreseen".to_owned())) {
            Ok(hosted) => {
                let hosted = Arc::new(hosted);
                *state = Loaded { hosted: Some(Arc::clone(&hosted)), used: now, problem: None };
                Ok(hosted)
            }
            Err(problem) => {
                state.problem = Some(problem.clone());
                Err(ApiError::NotLoaded { name: room.listed.name.clone(), problem })
            }
        }
    }

    /// Whether the default model is there, or none has to be before it is asked for.
    pub(crate) fn is_ready(&self) -> bool {
        self.rooms.len() > 1 || self.rooms[0].lock().hosted.is_some()
    }

    /// Why the model of this name could not be loaded, if it could not.
    pub(crate) fn problem(&self, name: Option<&str>) -> Option<String> {
        self.room(name).ok()?.lock().problem.clone()
    }

    fn room(&self, name: Option<&str>) -> Result<&Room, ApiError> {
        let Some(asked) = name else { return Ok(&self.rooms[0]) };
        let name = self.aliases.get(asked).map_or(asked, String::as_str);
        self.rooms.iter().find(|room| room.listed.name == name).ok_or_else(|| self.unknown(asked))
    }

    /// The error of a name under which there is no model.
    pub(crate) fn unknown(&self, asked: &str) -> ApiError {
        let known: Vec<String> = self.names().take(10).map(|name| format!("{name:?}")).collect();
        ApiError::UnknownModel { asked: asked.chars().take(80).collect(), known: known.join(" or ") }
    }

    /// Unloads models until there is room for `bytes` more.
    async fn make_room(&self, bytes: u64) -> Result<(), ApiError> {
        loop {
            let taken: u64 =
                self.rooms.iter().filter(|room| room.lock().hosted.is_some()).map(|room| room.listed.bytes).sum();
            if taken == 0 || taken.saturating_add(bytes) <= self.budget {
                return Ok(());
            }
            let idle = self.rooms.iter().filter(|room| room.is_idle()).min_by_key(|room| room.lock().used);
            match idle.and_then(|room| room.lock().hosted.take()).map(Arc::try_unwrap) {
                Some(Ok(hosted)) => {
                    let ended = tokio::task::spawn_blocking(|| hosted.worker.end());
                    ended.await.map_err(|_| ApiError::Panicked)?;
                }
                // Somebody has come in between: their requests go on, and the memory goes with the last of them.
                Some(Err(_)) => {}
                None => return Err(ApiError::Overloaded),
            }
        }
    }
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Room {
    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        // A panic elsewhere leaves it whole.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit(&self, now: u64) -> Option<Arc<Hosted>> {
        let mut loaded = self.lock();
        loaded.used = now;
        loaded.hosted.clone()
    }

    /// Whether it is loaded and nobody uses it.
    fn is_idle(&self) -> bool {
        self.lock().hosted.as_ref().is_some_and(|hosted| Arc::strong_count(hosted) == 1)
    }
}
