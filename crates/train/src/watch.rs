//! Where a run is at, and a note when it stays there.
//!
//! Components say what they are doing by a [`Mark`] and how far they are by [`Mark::done`]; a [`Watchdog`] looks now
//! and then whether anything moved, and if nothing did for long, names every mark that stands. Marks are of the
//! process, so that they need not be handed through the arithmetic; they are written by it and never read by it, and
//! change no bit. Nothing here ends a run: whether to wait is the user's to say.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The environment's word on how long is long, in seconds; 0 for no notes.
pub const STALL_SECONDS: &str = "PICNIC_STALL_SECONDS";

const DEFAULT_SECONDS: u64 = 300;

/// What is being done now, outermost first.
static PLACES: Mutex<Vec<Arc<Place>>> = Mutex::new(Vec::new());

/// Grows whenever anything begins, moves or ends.
static MOVES: AtomicU64 = AtomicU64::new(0);

struct Place {
    what: String,
    done: AtomicU64,
    /// Of how many, and of what; `None` if nothing is counted.
    total: Option<(u64, &'static str)>,
}

/// Stands as long as its component works.
pub struct Mark(Arc<Place>);

/// "checkpoint: writing runs/tiny/rl".
pub fn at(what: impl Into<String>) -> Mark {
    mark(what.into(), None)
}

/// "rollout: has generated", 512, "answers", of which [`Mark::done`] says how many.
pub fn counting(what: impl Into<String>, total: usize, of: &'static str) -> Mark {
    mark(what.into(), Some((total as u64, of)))
}

fn mark(what: String, total: Option<(u64, &'static str)>) -> Mark {
    let place = Arc::new(Place { what, done: AtomicU64::new(0), total });
    places().push(place.clone());
    MOVES.fetch_add(1, Relaxed);
    Mark(place)
}

impl Mark {
    /// So many are done.
    pub fn done(&self, count: u64) {
        self.0.done.store(count, Relaxed);
        MOVES.fetch_add(1, Relaxed);
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        places().retain(|place| !Arc::ptr_eq(place, &self.0));
        MOVES.fetch_add(1, Relaxed);
    }
}

fn places() -> MutexGuard<'static, Vec<Arc<Place>>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that looks after the marks until this is dropped.
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// Calls `say` when nothing has moved for `limit`, then after twice that, four times, and so on. Where the system
    /// gives no thread, nothing is ever said.
    pub fn start(limit: Duration, mut say: impl FnMut(&str) + Send + 'static) -> Watchdog {
        let (alive, ended) = channel::<()>();
        let look_every = (limit / 10).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let watch = move || {
            let (mut seen, mut since, mut due) = (MOVES.load(Relaxed), Instant::now(), limit);
            while ended.recv_timeout(look_every) == Err(RecvTimeoutError::Timeout) {
                let now = MOVES.load(Relaxed);
                if now != seen {
                    (seen, since, due) = (now, Instant::now(), limit);
                } else if since.elapsed() >= due {
                    say(&format!("no progress for {} s: {}", since.elapsed().as_secs(), standing()));
                    due = since.elapsed() * 2;
                }
            }
        };
        // A note is not worth an error.
        let _ = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch);
        Watchdog { _alive: alive }
    }
}

/// All marks in a line.
fn standing() -> String {
    let describe = |place: &Arc<Place>| match place.total {
        Some((total, of)) => format!("{} {} of {total} {of}", place.what, place.done.load(Relaxed)),
        None => place.what.clone(),
    };
    let marks: Vec<String> = places().iter().map(describe).collect();
    if marks.is_empty() { "no component has said what it does".to_owned() } else { marks.join("; ") }
}

/// The limit that the environment sets; `None` to watch nothing.
///
/// # Errors
/// A value that is no number of seconds, and what to do.
pub fn limit() -> Result<Option<Duration>, String> {
    let seconds = match std::env::var_os(STALL_SECONDS) {
        None => DEFAULT_SECONDS,
        Some(text) => text
            .to_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("{STALL_SECONDS} is {text:?}: give whole seconds, or 0 for no notes"))?,
    };
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}
