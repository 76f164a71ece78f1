//! What happens in a run, as typed events for whoever shows them.
//!
//! The stages say what they do through a [`Progress`]; a [`Display`] receives every event in order. Nothing here is read
//! back by what computes, so what is shown changes no bit of a result. Left out: every display but the one that shows
//! nothing. They are in the crate `picnic-display`.

use crate::plan::Plan;
use crate::report::Verdict;
use crate::watch::{self, Mark, Watchdog};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// What the run has to do. It comes once and before every other event but notes.
    Plan(Plan),
    /// The part of the plan with this name begins.
    Begun(String),
    /// The steps of the part begin, or go on where an earlier run stopped.
    Opened(Opened),
    /// A step is done.
    Step(Step),
    /// What the part has come to after this many steps is on the disk, and a stopped run goes on from there.
    Saved(u64),
    /// The part has made its model, or whatever else it makes.
    Made(Made),
    /// The evaluation of the part with this name begins.
    Evaluating(String),
    /// An evaluation is done, and with it its part.
    Evaluated(Evaluated),
    /// A question with an answer of the model that is being made.
    Answer(Answer),
    /// A sentence for the user.
    Note(String),
    /// A sentence about a run that has not moved for long.
    Stalled(String),
}

/// Steps that begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// Which stage they are of: "sft", also where it is a control.
    pub stage: String,
    /// Steps that earlier runs have done.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
    /// Mean tokens of a sequence that is learned from, where they are known before the first step.
    pub tokens: Option<f64>,
}

/// A step that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which stage it is of.
    pub stage: String,
    /// Its number, from 1.
    pub step: u64,
    /// Steps in all.
    pub total: u64,
    /// Seconds since the stage was opened in this run.
    pub seconds: f64,
    /// What it measured, in order. A value need not be finite.
    pub metrics: Vec<(String, f64)>,
}

impl Step {
    /// The metric of this name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// A part of the plan that has made its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Its name in the plan.
    pub part: String,
    /// What it took, in earlier runs too.
    pub seconds: f64,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The name of its part in the plan.
    pub part: String,
    /// Share of right answers.
    pub accuracy: f64,
    /// 95 % interval of `accuracy`.
    pub ci95: [f64; 2],
    /// Share of answers in the right format.
    pub well_formed: f64,
    /// Mean length of an answer, in tokens.
    pub mean_length: f64,
    /// Whether the model has never seen the format that it is judged in, so that nothing can be right.
    pub never_saw_the_format: bool,
    /// What it took; `None` if an earlier run did it.
    pub seconds: Option<f64>,
}

/// A question and one answer to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The step of training that learns from it; `None` in an evaluation.
    pub step: Option<u64>,
    /// The task that the question is from.
    pub task: String,
    /// What was asked.
    pub question: String,
    /// All that the model wrote, thinking included.
    pub text: String,
    /// What the rules say of it.
    pub verdict: Verdict,
}

/// Receives everything that happens. A display that cannot be written to must not stop a run, so there are no errors.
pub trait Display: Send {
    /// Takes one event.
    fn show(&mut self, event: &Event);
}

/// Nothing is shown but the note on a run that stalls.
pub struct Quiet;

impl Display for Quiet {
    fn show(&mut self, event: &Event) {
        if let Event::Stalled(note) = event {
            eprintln!("{note}");
        }
    }
}

/// Tells a display what happens.
#[derive(Clone)]
pub struct Progress {
    display: Arc<Mutex<dyn Display>>,
    /// Names what a run is at that does not move.
    _watchdog: Option<Arc<Watchdog>>,
}

impl Progress {
    /// Tells `display`, also of a run that does not move.
    pub fn new(display: impl Display + 'static) -> Self {
        let display: Arc<Mutex<dyn Display>> = Arc::new(Mutex::new(display));
        let limit = watch::limit().unwrap_or_default();
        let watchdog = limit.map(|limit| {
            // Weak, because its thread may outlive the run for a moment, and with the run the display must end.
            let display = Arc::downgrade(&display);
            Arc::new(Watchdog::start(limit, move |note| {
                if let Some(display) = display.upgrade() {
                    show(&display, &Event::Stalled(note.to_owned()));
                }
            }))
        });
        Self { display, _watchdog: watchdog }
    }

    /// Tells of an event.
    pub fn tell(&self, event: &Event) {
        show(&self.display, event);
    }

    /// Tells the user a sentence.
    pub fn note(&self, text: &str) {
        self.tell(&Event::Note(text.to_owned()));
    }

    /// Begins the steps of a stage.
    pub fn open(&self, opened: Opened) -> StageProgress {
        self.tell(&Event::Opened(opened.clone()));
        let mark = watch::counting(format!("stage {} has done", opened.stage), opened.total as usize, "steps");
        mark.done(opened.done);
        StageProgress { progress: self.clone(), opened, started: Instant::now(), mark }
    }
}

/// Tells of the steps of one stage, from [`Progress::open`].
pub struct StageProgress {
    progress: Progress,
    opened: Opened,
    started: Instant,
    mark: Mark,
}

impl StageProgress {
    /// Says that `step` steps are done, and what the last one measured, in order.
    pub fn step(&mut self, step: u64, metrics: &[(&str, f64)]) {
        self.mark.done(step);
        self.progress.tell(&Event::Step(Step {
            stage: self.opened.stage.clone(),
            step,
            total: self.opened.total,
            seconds: self.started.elapsed().as_secs_f64(),
            metrics: metrics.iter().map(|&(name, value)| (name.to_owned(), value)).collect(),
        }));
    }
}

fn show(display: &Mutex<dyn Display>, event: &Event) {
    display.lock().unwrap_or_else(PoisonError::into_inner).show(event);
}
