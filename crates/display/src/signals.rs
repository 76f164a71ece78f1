//! What ends a run from outside: Ctrl-C, or a polite kill; and what suspends it, Ctrl-Z. The run says what is safe and
//! how to go on, and ends as a shell expects of a program that a signal ended. A terminal that is closed ends it as it
//! ends every program, and under `nohup` not at all.

use crate::invocation::Invocation;
use crate::state::{Phase, State};
use crate::words::titles;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Ctrl-C, as a number.
pub const INTERRUPT: i32 = signal_hook::consts::SIGINT;

/// Ctrl-Z, as a number, where there is job control.
#[cfg(unix)]
pub const SUSPEND: Option<i32> = Some(signal_hook::consts::SIGTSTP);
#[cfg(not(unix))]
pub const SUSPEND: Option<i32> = None;

/// How soon a signal is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Signals that have come.
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Listens from now on. Where nobody takes note of a first signal, a second one ends the process at once.
    ///
    /// # Errors
    /// If the system lets nobody listen.
    pub fn listen() -> io::Result<Signals> {
        use signal_hook::{consts, flag};
        let (came, is_second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [consts::SIGINT, consts::SIGTERM] {
            flag::register_conditional_shutdown(signal, 128 + signal, is_second.clone())?;
            flag::register(signal, is_second.clone())?;
            flag::register_usize(signal, came.clone(), signal as usize)?;
        }
        Ok(Signals(came))
    }

    /// The signal that came, if one did.
    pub fn came(&self) -> Option<i32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }

    /// Waits for one.
    pub fn wait(&self) -> i32 {
        loop {
            if let Some(signal) = self.came() {
                return signal;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Suspends the process and those beside it in a pipe, as Ctrl-Z does elsewhere, until the shell lets them go on, by
/// `fg` or `bg`. Where there is no shell nothing happens.
pub fn suspend() {
    #[cfg(unix)]
    let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
}

/// Ends the process as by this signal. Whatever is half written lies beside its place, and the next run clears it away.
pub fn exit(signal: i32) -> ! {
    process::exit(128 + signal)
}

/// What to say when a run is stopped: how far it is, what is safe, and how to go on.
pub fn stopped(state: &State, invocation: &Invocation) -> String {
    let Some(row) = state.rows.get(state.current) else { return "Stopped before the run began.".to_owned() };
    let title = titles(&row.part.name)[0];
    let place = match (row.phase, &state.training) {
        (Phase::Evaluating(_), _) => {
            format!("Stopped in the evaluation after {title}. The model is safe; its evaluation will be made again.")
        }
        (Phase::Done, _) => format!("Stopped after {title}, which is safe."),
        (_, Some(training)) => {
            let (done, total) =
                (training.last.as_ref().map_or(training.opened.done, |s| s.step), training.opened.total);
            let safe = match training.saved {
                Some(step) => format!("Step {step} is safe, in its checkpoint."),
                None => "There is no checkpoint of this stage yet, so it will begin again.".to_owned(),
            };
            format!("Stopped in {title} after step {done} of {total}. {safe}")
        }
        (_, None) => format!("Stopped at the beginning of {title}."),
    };
    format!("{place}\nTo go on:  {}", invocation.resumed())
}
