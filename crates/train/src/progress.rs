//! What a run shows while it works: a bar per stage on a terminal, plain lines in a pipe, a JSON
//! object per step with `--json`, nothing with `--quiet` but the note on a run that stalls.
//!
//! It shows what it is given and measures nothing but time. Everything goes to stderr but JSON,
//! which goes to stdout. A display that cannot be written to never stops a run.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::watch::{self, Mark, Watchdog};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

/// How to show progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Bars if stderr is a terminal, plain lines otherwise.
    #[default]
    Auto,
    /// Lines at most every five seconds, and the first and the last step.
    Plain,
    /// One JSON object a line on stdout, every step.
    Json,
    /// Nothing.
    Quiet,
}

/// The display of one run.
#[derive(Clone)]
pub struct Progress {
    show: Show,
    /// Names what a run is at that does not move.
    _watchdog: Option<Arc<Watchdog>>,
}

/// The display of one stage, from [`Progress::stage`].
pub struct StageProgress {
    name: String,
    total: u64,
    show: StageShow,
    started: Instant,
    pace: Pace,
    /// The step before the first one seen, for the ETA of a resumed run.
    first: Option<u64>,
    /// A step not shown yet, in case it turns out to be the last.
    pending: Option<String>,
    mark: Mark,
}

type Output = Arc<Mutex<dyn Write + Send>>;

#[derive(Clone)]
enum Show {
    Bars(MultiProgress),
    Lines(Output),
    Json(Output),
    Nothing,
}

enum StageShow {
    Bar(ProgressBar),
    Lines(Output),
    Json(Output),
    Nothing,
}

impl Progress {
    /// A display in the given mode.
    pub fn new(mode: Mode) -> Self {
        let show = match mode {
            Mode::Auto if io::stderr().is_terminal() => Show::Bars(MultiProgress::new()),
            Mode::Auto | Mode::Plain => Show::Lines(Arc::new(Mutex::new(io::stderr()))),
            Mode::Json => Show::Json(Arc::new(Mutex::new(io::stdout()))),
            Mode::Quiet => Show::Nothing,
        };
        let limit = watch::limit().unwrap_or_default();
        let watchdog = limit.map(|limit| {
            let bars = if let Show::Bars(bars) = &show { Some(bars.clone()) } else { None };
            let stderr: Output = Arc::new(Mutex::new(io::stderr()));
            Arc::new(Watchdog::start(limit, move |note| match &bars {
                Some(bars) => drop(bars.println(note)),
                None => write_line(&stderr, note),
            }))
        });
        Self { show, _watchdog: watchdog }
    }

    /// Starts the display of a stage of `total` steps.
    pub fn stage(&self, name: &str, total: u64) -> StageProgress {
        let show = match &self.show {
            Show::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(total).with_style(bar_style()).with_prefix(name.to_owned()));
                // The clock on the bar moves during a step that takes a minute, too.
                bar.enable_steady_tick(Duration::from_secs(1));
                StageShow::Bar(bar)
            }
            Show::Lines(output) => StageShow::Lines(output.clone()),
            Show::Json(output) => StageShow::Json(output.clone()),
            Show::Nothing => StageShow::Nothing,
        };
        StageProgress {
            name: name.to_owned(),
            total,
            show,
            started: Instant::now(),
            pace: Pace { last: None },
            first: None,
            pending: None,
            mark: watch::counting(format!("stage {name} has done"), total as usize, "steps"),
        }
    }

    /// Shows a sentence above the bars or on a line of its own; in JSON as `{"note": …}`.
    pub fn note(&self, text: &str) {
        match &self.show {
            // Discarded as everywhere here: a display that fails is no reason to stop training.
            Show::Bars(bars) => drop(bars.println(text)),
            Show::Lines(output) => write_line(output, text),
            Show::Json(output) => write_line(output, &serde_json::json!({ "note": text }).to_string()),
            Show::Nothing => {}
        }
    }
}

impl StageProgress {
    /// Shows that `step` of the stage's steps are done, and what the last one measured, in order.
    pub fn step(&mut self, step: u64, metrics: &[(&str, f64)]) {
        self.mark.done(step);
        let now = Instant::now();
        let is_first = self.first.is_none();
        let first = *self.first.get_or_insert(step.saturating_sub(1));
        match &self.show {
            StageShow::Bar(bar) => {
                if is_first && first > 0 {
                    bar.set_position(first); // resumed: those steps took no time now
                    bar.reset_eta();
                }
                bar.set_position(step);
                bar.set_message(describe(metrics));
            }
            StageShow::Lines(output) => {
                let elapsed = now.duration_since(self.started);
                let mut line = format!("{} {step}/{} · {}", self.name, self.total, describe(metrics));
                if step < self.total && step > first {
                    let left = elapsed.mul_f64((self.total - step) as f64 / (step - first) as f64);
                    line.push_str(&format!(" · {} left", clock(left)));
                }
                if self.pace.due(now, step >= self.total) {
                    write_line(output, &line);
                    self.pending = None;
                } else {
                    self.pending = Some(line);
                }
            }
            StageShow::Json(output) => {
                let seconds = now.duration_since(self.started).as_secs_f64();
                let line = JsonLine { stage: &self.name, step, total: self.total, seconds, metrics };
                // Strings and numbers always have a JSON form.
                if let Ok(line) = serde_json::to_string(&line) {
                    write_line(output, &line);
                }
            }
            StageShow::Nothing => {}
        }
    }

    /// Ends the stage's display, at whatever step it stopped. Its last line stays on the screen.
    pub fn finish(self) {
        match &self.show {
            StageShow::Bar(bar) => bar.abandon(),
            StageShow::Lines(output) => {
                if let Some(line) = &self.pending {
                    write_line(output, line);
                }
                let elapsed = clock(self.started.elapsed());
                write_line(output, &format!("{} took {elapsed}", self.name));
            }
            StageShow::Json(_) | StageShow::Nothing => {}
        }
    }
}

/// Lets the first line through, then one every five seconds, and the last.
struct Pace {
    last: Option<Instant>,
}

impl Pace {
    const APART: Duration = Duration::from_secs(5);

    fn due(&mut self, now: Instant, is_last: bool) -> bool {
        let due = is_last || self.last.is_none_or(|last| now.duration_since(last) >= Self::APART);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// A step as one flat object: `{"stage", "step", "total", "seconds", …metrics}`. A metric that is
/// not finite is null.
struct JsonLine<'a> {
    stage: &'a str,
    step: u64,
    total: u64,
    seconds: f64,
    metrics: &'a [(&'a str, f64)],
}

impl Serialize for JsonLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stage", self.stage)?;
        map.serialize_entry("step", &self.step)?;
        map.serialize_entry("total", &self.total)?;
        map.serialize_entry("seconds", &self.seconds)?;
        for (name, value) in self.metrics {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// What does not fit the width is cut, so a narrow terminal keeps to one line.
const BAR: &str = "{prefix:14} {bar:16} {pos}/{len} {eta:>4} left  {wide_msg}";

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

/// "loss 1.23 · tokens/s 4061".
fn describe(metrics: &[(&str, f64)]) -> String {
    let parts: Vec<String> = metrics.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
    parts.join(" · ")
}

/// About four significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        a if a >= 1000.0 => format!("{value:.0}"),
        a if a >= 100.0 => format!("{value:.1}"),
        a if a >= 10.0 => format!("{value:.2}"),
        a if a >= 1e-3 => format!("{value:.3}"),
        _ => format!("{value:.1e}"), // NaN, too
    }
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn write_line(output: &Output, line: &str) {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    // One write a line, so that lines of several processes in one pipe stay whole. Errors are
    // dropped: a reader that went away must not end hours of training.
    let _ = output.write_all(format!("{line}\n").as_bytes()).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(show: fn(Output) -> Show, run: impl FnOnce(&Progress)) -> Vec<String> {
        let written = Arc::new(Mutex::new(Vec::new()));
        run(&Progress { show: show(written.clone()), _watchdog: None });
        let bytes = written.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn plain_lines_are_the_first_and_the_last_of_a_fast_stage() {
        let lines = captured(Show::Lines, |progress| {
            let mut stage = progress.stage("sft", 1000);
            for step in 1..=1000 {
                stage.step(step, &[("loss", 1.0 / step as f64), ("tokens/s", 4061.2)]);
            }
            stage.finish();
        });
        assert!(lines[0].starts_with("sft 1/1000 · loss 1.000 · tokens/s 4061"), "{lines:?}");
        assert_eq!(lines[lines.len() - 2], "sft 1000/1000 · loss 0.001 · tokens/s 4061");
        assert!(lines[lines.len() - 1].starts_with("sft took "));
    }

    #[test]
    fn a_stage_that_stops_early_still_shows_its_last_step() {
        let lines = captured(Show::Lines, |progress| {
            let mut stage = progress.stage("rl", 10);
            (1..=3).for_each(|step| stage.step(step, &[("reward", 0.25)]));
            stage.finish();
        });
        assert!(lines[lines.len() - 2].starts_with("rl 3/10 · reward 0.250"), "{lines:?}");
    }

    #[test]
    fn lines_keep_five_seconds_apart() {
        let start = Instant::now();
        let mut pace = Pace { last: None };
        let due = [0, 1, 4, 5, 6, 11].map(|s| pace.due(start + Duration::from_secs(s), false));
        assert_eq!(due, [true, false, false, true, false, true]);
        assert!(pace.due(start + Duration::from_secs(12), true));
    }

    #[test]
    fn json_is_one_object_a_line_for_every_step() {
        let lines = captured(Show::Json, |progress| {
            let mut stage = progress.stage("rl", 2);
            stage.step(1, &[("reward", 0.5), ("kl", f64::NAN)]);
            stage.step(2, &[("reward", 0.75)]);
            stage.finish();
            progress.note("saved");
        });
        let rows: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 3);
        assert_eq!((&rows[0]["stage"], &rows[0]["step"], &rows[0]["total"]), (&"rl".into(), &1.into(), &2.into()));
        assert!(rows[0]["kl"].is_null() && rows[0]["seconds"].is_number());
        assert_eq!(rows[1]["reward"], 0.75);
        assert_eq!(rows[2]["note"], "saved");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let progress = Progress { show: Show::Lines(Arc::new(Mutex::new(Gone))), _watchdog: None };
        let mut stage = progress.stage("sft", 1);
        stage.step(1, &[]);
        stage.finish();
    }

    #[test]
    fn the_bar_template_parses() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
