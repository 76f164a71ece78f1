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
use std::time::{Duration, Instant};

/// How long a model waits for those in use to become idle before it is refused, and how long one that could not be loaded is
/// not tried again.
const PATIENCE: Duration = Duration::from_secs(30);

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
    slots: Vec<Slot>,
    /// Other names for models.
    aliases: BTreeMap<String, String>,
    budget: u64,
    /// Held by whoever loads.
    loading: tokio::sync::Mutex<()>,
    clock: AtomicU64,
}

struct Slot {
    listed: Listed,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    hosted: Option<Arc<Hosted>>,
    /// By the house's clock, which counts requests.
    used: u64,
    /// What went wrong the last time, and when.
    problem: Option<(String, Instant)>,
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
        let slots = models.into_iter().map(|listed| Slot { listed, loaded: Mutex::default() }).collect();
        Ok(House { slots, aliases, budget, loading: tokio::sync::Mutex::new(()), clock: AtomicU64::new(0) })
    }

    /// A house with one model that is there already.
    pub fn of(hosted: Hosted) -> House {
        let listed =
            Listed { name: hosted.name.clone(), bytes: 0, load: Arc::new(|| Err("it was unloaded".to_owned())) };
        let loaded = Loaded { hosted: Some(Arc::new(hosted)), ..Loaded::default() };
        House {
            slots: vec![Slot { listed, loaded: Mutex::new(loaded) }],
            aliases: BTreeMap::new(),
            budget: u64::MAX,
            loading: tokio::sync::Mutex::new(()),
            clock: AtomicU64::new(0),
        }
    }

    /// The names of all models.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| &*slot.listed.name)
    }

    /// Other names, and which model each stands for.
    pub(crate) fn aliases(&self) -> &BTreeMap<String, String> {
        &self.aliases
    }

    /// The models that are loaded.
    pub(crate) fn loaded(&self) -> Vec<Arc<Hosted>> {
        self.slots.iter().filter_map(|slot| slot.lock().hosted.clone()).collect()
    }

    /// The model of this name if it is loaded.
    pub(crate) fn peek(&self, name: &str) -> Option<Arc<Hosted>> {
        self.slot(Some(name)).ok()?.lock().hosted.clone()
    }

    /// Whether there is a model of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.slot(Some(name)).is_ok()
    }

    /// The name of the model that this is a name of, or of the default one without a name.
    pub(crate) fn name_of(&self, asked: Option<&str>) -> Result<&str, ApiError> {
        Ok(&self.slot(asked)?.listed.name)
    }

    /// The model of this name, or the default one without a name; loaded if it is not yet.
    pub(crate) async fn model(self: &Arc<House>, name: Option<&str>) -> Result<Arc<Hosted>, ApiError> {
        let at = self.place_of(name)?;
        let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(hosted) = self.slots[at].visit(now) {
            return Ok(hosted);
        }
        // Goes on when whoever asked is gone: the next one finds it loaded.
        let house = Arc::clone(self);
        tokio::spawn(async move { house.load(at, now).await }).await.map_err(|_| ApiError::Panicked)?
    }

    async fn load(&self, at: usize, now: u64) -> Result<Arc<Hosted>, ApiError> {
        let slot = &self.slots[at];
        let _turn = self.loading.lock().await;
        // Somebody else may have loaded it meanwhile.
        if let Some(hosted) = slot.visit(now) {
            return Ok(hosted);
        }
        // A model that cannot be loaded does not cost the others their place each time that it is asked for.
        if let Some((problem, _)) = slot.lock().problem.as_ref().filter(|(_, when)| when.elapsed() < PATIENCE) {
            return Err(ApiError::NotLoaded { name: slot.listed.name.clone(), problem: problem.clone() });
        }
        self.make_room(slot).await?;
        let load = Arc::clone(&slot.listed.load);
        let loaded = tokio::task::spawn_blocking(move || load()).await;
        let mut state = slot.lock();
        match loaded.unwrap_or_else(|_| Err("reading it failed in a way that was not foreseen".to_owned())) {
            Ok(hosted) => {
                let hosted = Arc::new(hosted);
                *state = Loaded { hosted: Some(Arc::clone(&hosted)), used: now, problem: None };
                Ok(hosted)
            }
            Err(problem) => {
                state.problem = Some((problem.clone(), Instant::now()));
                Err(ApiError::NotLoaded { name: slot.listed.name.clone(), problem })
            }
        }
    }

    /// Whether the default model is there, or none has to be before it is asked for.
    pub(crate) fn is_ready(&self) -> bool {
        self.slots.len() > 1 || self.slots[0].lock().hosted.is_some()
    }

    /// Why the model of this name could not be loaded, if it could not.
    pub(crate) fn problem(&self, name: Option<&str>) -> Option<String> {
        self.slot(name).ok()?.lock().problem.as_ref().map(|(problem, _)| problem.clone())
    }

    fn slot(&self, name: Option<&str>) -> Result<&Slot, ApiError> {
        Ok(&self.slots[self.place_of(name)?])
    }

    fn place_of(&self, name: Option<&str>) -> Result<usize, ApiError> {
        let Some(asked) = name else { return Ok(0) };
        let name = self.aliases.get(asked).map_or(asked, String::as_str);
        self.slots.iter().position(|slot| slot.listed.name == name).ok_or_else(|| self.unknown(asked))
    }

    /// The error of a name under which there is no model.
    pub(crate) fn unknown(&self, asked: &str) -> ApiError {
        let known: Vec<String> = self.names().take(10).map(|name| format!("{name:?}")).collect();
        ApiError::UnknownModel { asked: asked.chars().take(80).collect(), known: known.join(" or ") }
    }

    /// Unloads models until there is room for that of `slot`.
    async fn make_room(&self, slot: &Slot) -> Result<(), ApiError> {
        let began = Instant::now();
        loop {
            let loaded = self.slots.iter().filter(|slot| slot.lock().hosted.is_some());
            let taken: u64 = loaded.map(|slot| slot.listed.bytes).sum();
            if taken == 0 || taken.saturating_add(slot.listed.bytes) <= self.budget {
                return Ok(());
            }
            let mut by_use: Vec<&Slot> = self.slots.iter().collect();
            by_use.sort_by_key(|slot| slot.lock().used);
            match by_use.into_iter().find_map(Slot::take_idle) {
                Some(hosted) => {
                    let ended = tokio::task::spawn_blocking(|| hosted.worker.end());
                    ended.await.map_err(|_| ApiError::Panicked)?;
                }
                None if began.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
                None => {
                    let problem = "the models that are in use take all memory; try again when they are done".to_owned();
                    return Err(ApiError::NotLoaded { name: slot.listed.name.clone(), problem });
                }
            }
        }
    }
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Slot {
    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        // A panic elsewhere leaves it whole.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit(&self, now: u64) -> Option<Arc<Hosted>> {
        let mut loaded = self.lock();
        loaded.used = now;
        loaded.hosted.clone()
    }

    /// Takes the model out if it is loaded and nobody uses it. Nobody can come in between: whoever wants it needs the lock.
    fn take_idle(&self) -> Option<Hosted> {
        let mut loaded = self.lock();
        match Arc::try_unwrap(loaded.hosted.take()?) {
            Ok(hosted) => Some(hosted),
            Err(used) => {
                loaded.hosted = Some(used);
                None
            }
        }
    }
}
