//! Plain lines, for pipes and for terminals that can do no more: of the steps the first, one every five seconds, and the
//! last; every result and note.

use crate::invocation::Invocation;
use crate::signals::{self, Signals};
use crate::state::State;
use crate::words::{clock, evaluation, short, titles};
use picnic_train::plan::Part;
use picnic_train::progress::{Display, Event, Step};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two lines on steps.
const APART: Duration = Duration::from_secs(5);

/// Writes lines.
pub struct Lines<W> {
    output: W,
    state: Arc<Mutex<State>>,
    started: Instant,
    /// When the last line on a step was written.
    last: Option<Duration>,
    /// A step not shown yet, in case it turns out to be the last.
    pending: Option<String>,
    /// When the steps began of which the end is not shown yet.
    opened: Option<Duration>,
}

impl Lines<io::Stderr> {
    /// Lines on standard error. A signal that ends the run makes a thread say how to go on.
    ///
    /// # Errors
    /// If the system lets nobody listen for signals.
    pub fn start(invocation: Invocation) -> io::Result<Self> {
        let lines = Lines::new(io::stderr());
        let (signals, state) = (Signals::listen()?, lines.state.clone());
        let wait = move || {
            let signal = signals.wait();
            let stopped = signals::stopped(&state.lock().unwrap_or_else(PoisonError::into_inner), &invocation);
            write_line(&mut io::stderr(), &stopped);
            signals::exit(signal);
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(lines)
    }
}

impl<W: Write + Send> Lines<W> {
    /// Lines to wherever.
    pub fn new(output: W) -> Lines<W> {
        let (state, started) = (Arc::default(), Instant::now());
        Lines { output, state, started, last: None, pending: None, opened: None }
    }

    fn step(&mut self, step: &Step, now: Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Two stages of a chain may take the same steps; a control is called one.
        let control = state.rows.get(state.current).filter(|row| row.part.is_control());
        let name = control.map_or(step.stage.as_str(), |row| titles(&row.part.name)[0]);
        let mut line = format!("{name} {}/{} · {}", step.step, step.total, metrics(step));
        if let Some(left) = state.steps_left().filter(|_| step.step < step.total) {
            line.push_str(&format!(" · {} left", clock(left)));
        }
        drop(state);
        if step.step >= step.total || self.last.is_none_or(|last| now.saturating_sub(last) >= APART) {
            write_line(&mut self.output, &line);
            (self.last, self.pending) = (Some(now), None);
        } else {
            self.pending = Some(line);
        }
    }

    /// The end of the steps, at whichever of them they ended.
    fn end(&mut self, part: &str, now: Duration) {
        if let Some(line) = self.pending.take() {
            write_line(&mut self.output, &line);
        }
        let Some(opened) = self.opened.take() else { return };
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = state.training.as_ref().map_or(part, |training| &training.opened.stage);
        let is_control = state.rows.iter().any(|row| row.part.name == part && Part::is_control(&row.part));
        let name = if is_control { titles(part)[0] } else { stage };
        let line = format!("{name} took {}", clock(now.saturating_sub(opened)));
        drop(state);
        write_line(&mut self.output, &line);
    }
}

impl<W: Write + Send> Display for Lines<W> {
    fn show(&mut self, event: &Event) {
        let now = self.started.elapsed();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).update(event, now);
        match event {
            Event::Opened(_) => (self.last, self.opened) = (None, Some(now)),
            Event::Step(step) => self.step(step, now),
            Event::Made(made) => self.end(&made.part, now),
            Event::Evaluated(found) => write_line(&mut self.output, &evaluation(found)),
            Event::Note(text) | Event::Stalled(text) => write_line(&mut self.output, text),
            Event::Plan(_) | Event::Begun(_) | Event::Saved(_) | Event::Evaluating(_) | Event::Answer(_) => {}
        }
    }
}

/// "loss 1.23 · tokens/s 4061".
fn metrics(step: &Step) -> String {
    let parts: Vec<String> = step.metrics.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
    parts.join(" · ")
}

/// One write a line, so that lines of several processes in one pipe stay whole. Errors are dropped: a reader that went
/// away must not end hours of training.
pub(crate) fn write_line(output: &mut impl Write, line: &str) {
    let _ = output.write_all(format!("{line}\n").as_bytes()).and_then(|()| output.flush());
}
