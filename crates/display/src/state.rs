//! What a display knows of a run: follows the events and does nothing else. The clock is the caller's.

use crate::pace::Pace;
use crate::words;
use picnic_train::plan::{Part, Plan, Work};
use picnic_train::progress::{Answer, Evaluated, Event, Opened, Step};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

/// Steps that the speed of a stage is taken from.
const RECENT: usize = 30;

/// A run so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What the recipe calls the run.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The parts of the plan in order.
    pub rows: Vec<Row>,
    /// The one that is worked on, or was last.
    pub current: usize,
    /// The steps that are being taken, or were last.
    pub training: Option<Training>,
    /// The last question and its answer, with the part that gave it.
    pub answer: Option<(String, Answer)>,
    /// What has to stay readable when the run is over.
    pub log: Vec<String>,
    /// The time since the program began.
    pub now: Duration,
    /// Resident memory in bytes, where the system says it.
    pub memory: Option<u64>,
    pace: Pace,
}

/// A part of the plan and how far it is.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub part: Part,
    /// How far it is.
    pub phase: Phase,
    /// What it has taken, evaluation and earlier runs included.
    pub took: Duration,
    /// What its evaluation found.
    pub found: Option<Evaluated>,
}

/// How far a part is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// It comes later.
    Next,
    /// It is making its model.
    Making,
    /// Its model is evaluated, since then.
    Evaluating(Duration),
    /// It is done.
    Done,
    /// The chain went past it: there was nothing for it to learn from.
    LeftOut,
}

/// The steps of a stage.
#[derive(Clone, Debug)]
pub struct Training {
    /// What they are of.
    pub opened: Opened,
    /// The last one.
    pub last: Option<Step>,
    /// Every finite value of each metric.
    pub curves: Vec<(String, Vec<f64>)>,
    /// The step that a stopped run goes on from.
    pub saved: Option<u64>,
    /// When the last ones were done, and their numbers.
    recent: VecDeque<(Duration, u64)>,
}

impl State {
    /// Follows an event that happened at `now`.
    pub fn update(&mut self, event: &Event, now: Duration) {
        self.now = now;
        match event {
            Event::Plan(plan) => self.begin(plan),
            Event::Begun(part) => {
                self.training = None;
                self.enter(part).phase = Phase::Making;
            }
            Event::Opened(opened) => self.open(opened),
            Event::Step(step) => self.step(step),
            Event::Saved(step) => {
                if let Some(training) = &mut self.training {
                    training.saved = Some(*step);
                }
            }
            Event::Made(made) => {
                let row = self.enter(&made.part);
                row.took = Duration::try_from_secs_f64(made.seconds).unwrap_or_default();
                row.phase = if row.part.evaluation.is_some() { Phase::Making } else { Phase::Done };
            }
            Event::Evaluating(part) => self.enter(part).phase = Phase::Evaluating(now),
            Event::Evaluated(found) => self.evaluated(found),
            Event::Answer(answer) => {
                let part = self.rows.get(self.current).map_or_else(String::new, |row| row.part.name.clone());
                self.answer = Some((part, answer.clone()));
            }
            Event::Note(text) | Event::Stalled(text) => self.log.push(words::visible(text).into_owned()),
        }
    }

    /// About how long the whole still takes; `None` while no speed has been measured.
    pub fn time_left(&self) -> Option<Duration> {
        let seconds: Option<f64> = self.rows.iter().map(|row| self.seconds_left(row)).sum();
        Duration::try_from_secs_f64(seconds?).ok()
    }

    /// The same of one part.
    pub fn time_left_of(&self, row: &Row) -> Option<Duration> {
        Duration::try_from_secs_f64(self.seconds_left(row)?).ok()
    }

    /// About how long the steps that are being taken still take.
    pub fn steps_left(&self) -> Option<Duration> {
        let training = self.training.as_ref()?;
        let (&(first, from), &(last, to)) = (training.recent.front()?, training.recent.back()?);
        if to == from {
            return None;
        }
        let step = (last - first).as_secs_f64() / (to - from) as f64;
        let all = step * (training.opened.total - to.min(training.opened.total)) as f64;
        Duration::try_from_secs_f64((all - (self.now - last.min(self.now)).as_secs_f64()).max(0.0)).ok()
    }

    /// Tokens per second of the last step.
    pub fn speed(&self) -> Option<f64> {
        self.training.as_ref()?.last.as_ref()?.metric("tokens/s")
    }

    fn begin(&mut self, plan: &Plan) {
        let row = |part: &Part| Row { part: part.clone(), phase: Phase::Next, took: Duration::ZERO, found: None };
        self.name = words::visible(&plan.name).into_owned();
        self.folder = plan.folder.clone();
        self.rows = plan.parts.iter().map(row).collect();
    }

    /// Makes the part of this name the current one.
    fn enter(&mut self, name: &str) -> &mut Row {
        let at = self.rows.iter().position(|row| row.part.name == name).unwrap_or_else(|| {
            let part = Part { name: name.to_owned(), steps: 0, step: Work::default(), evaluation: None };
            self.rows.push(Row { part, phase: Phase::Next, took: Duration::ZERO, found: None });
            self.rows.len() - 1
        });
        for passed in self.rows[..at].iter_mut().filter(|row| row.phase == Phase::Next) {
            passed.phase = Phase::LeftOut;
        }
        self.current = at;
        &mut self.rows[at]
    }

    fn open(&mut self, opened: &Opened) {
        if opened.tokens.is_some() {
            self.pace.example = opened.tokens;
        }
        if let Some(Row { part, .. }) = self.rows.get_mut(self.current)
            && part.steps != opened.total
        {
            // The same work in another number of steps.
            part.step.sequences *= part.steps as f64 / opened.total.max(1) as f64;
            part.steps = opened.total;
        }
        self.training = Some(Training {
            opened: opened.clone(),
            last: None,
            curves: Vec::new(),
            saved: (opened.done > 0).then_some(opened.done),
            recent: VecDeque::from([(self.now, opened.done)]),
        });
    }

    fn step(&mut self, step: &Step) {
        let Some(training) = &mut self.training else { return };
        for (name, value) in step.metrics.iter().filter(|(_, value)| value.is_finite()) {
            match training.curves.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(*value),
                None => training.curves.push((name.clone(), vec![*value])),
            }
        }
        training.last = Some(step.clone());
        if let Some(length) = step.metric("length").filter(|length| length.is_finite()) {
            self.pace.answer = Some(length);
        }
        // What an earlier run did took no time now, and says nothing of the speed.
        if step.step <= training.opened.done {
            return;
        }
        let before = training.recent.back().map_or(self.now, |(at, _)| *at);
        training.recent.push_back((self.now, step.step));
        if training.recent.len() > RECENT {
            training.recent.pop_front();
        }
        if let Some(row) = self.rows.get(self.current) {
            self.pace.took(&row.part.step, (self.now - before.min(self.now)).as_secs_f64());
        }
    }

    fn evaluated(&mut self, found: &Evaluated) {
        self.log.push(words::evaluation(found));
        let row = self.enter(&found.part);
        (row.phase, row.found) = (Phase::Done, Some(found.clone()));
        let Some(work) = row.part.evaluation else { return };
        let length = Some(found.mean_length);
        if let Some(seconds) = found.seconds {
            row.took += Duration::try_from_secs_f64(seconds).unwrap_or_default();
            let known = std::mem::replace(&mut self.pace.answer, length);
            self.pace.took(&work, seconds);
            self.pace.answer = known;
        }
        // A model that has never seen how answers end says nothing of how long they are.
        if !found.never_saw_the_format {
            self.pace.answer = length;
        }
    }

    fn seconds_left(&self, row: &Row) -> Option<f64> {
        let steps = || Some(row.part.steps as f64 * self.pace.seconds(&row.part.step)?);
        let evaluation = || row.part.evaluation.map_or(Some(0.0), |work| self.pace.seconds(&work));
        match row.phase {
            Phase::Done | Phase::LeftOut => Some(0.0),
            Phase::Next => Some(steps()? + evaluation()?),
            Phase::Making => {
                let measured = self.steps_left().map(|left| left.as_secs_f64());
                let remaining = match &self.training {
                    Some(Training { opened, .. }) => (opened.total - opened.done.min(opened.total)) as f64,
                    None => row.part.steps as f64,
                };
                let estimated = || Some(remaining * self.pace.seconds(&row.part.step)?);
                Some(measured.or_else(estimated)? + evaluation()?)
            }
            Phase::Evaluating(since) => Some((evaluation()? - (self.now - since.min(self.now)).as_secs_f64()).max(0.0)),
        }
    }
}
