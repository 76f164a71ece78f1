//! The state and the picture of runs that are made up: what is said, at which widths, and what is left to do.

use crate::invocation::Invocation;
use crate::lines::Lines;
use crate::signals::stopped;
use crate::state::{Phase, State};
use crate::{Palette, draw, json};
use picnic_train::plan::{Kind, Length, Part, Plan, Work};
use picnic_train::progress::{Answer, Display, Evaluated, Event, Made, Opened, Step};
use picnic_train::report::Verdict;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use std::path::Path;
use std::time::Duration;

/// The chain of the default recipe. A step of each stage has as much to compute as one of the others.
fn plan() -> Event {
    let work = |kind, passes| Work { kind, sequences: 1.0, length: Length::Exactly(1000.0), passes, operations: 1e6 };
    let part = |name: &str, steps, kind| Part {
        name: name.to_owned(),
        steps,
        step: work(kind, 1.0),
        evaluation: Some(work(Kind::Drawing, 10.0)),
    };
    let tokenizer = Part { name: "tokenizer".into(), steps: 0, step: Work::default(), evaluation: None };
    let parts = vec![
        tokenizer,
        part("base", 100, Kind::Learning),
        part("sft", 50, Kind::Learning),
        part("rl", 60, Kind::Reinforcing),
        part("control_sft_more", 60, Kind::Learning),
        part("control_random_reward", 60, Kind::Reinforcing),
    ];
    Event::Plan(Plan { name: "tiny".into(), folder: "runs/tiny".into(), parts })
}

fn opened(stage: &str, done: u64, total: u64) -> Event {
    Event::Opened(Opened { stage: stage.into(), done, total, tokens: None })
}

fn step(stage: &str, step: u64, total: u64, metrics: &[(&str, f64)]) -> Event {
    let metrics = metrics.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    Event::Step(Step { stage: stage.into(), step, total, seconds: step as f64, metrics })
}

fn evaluated(part: &str, accuracy: f64, never_saw_the_format: bool, seconds: Option<f64>) -> Event {
    Event::Evaluated(Evaluated {
        part: part.into(),
        accuracy,
        ci95: [accuracy, accuracy + 0.05],
        well_formed: 0.9,
        mean_length: 60.0,
        never_saw_the_format,
        seconds,
    })
}

fn answer(step: Option<u64>) -> Event {
    Event::Answer(Answer {
        step,
        task: "countdown".into(),
        question: "Reach 41 from 3, 19 and 25.".into(),
        text: "<think>19+25=44. 44-3=41. That is it.</think><answer>19+25-3</answer>".into(),
        verdict: Verdict::Right,
    })
}

/// A run up to the third step of RL, one step a second.
fn in_rl() -> State {
    let mut state = State::default();
    let mut now = 0;
    let mut tell = |event: &Event, seconds: u64| {
        now += seconds;
        state.update(event, Duration::from_secs(now));
    };
    tell(&plan(), 0);
    tell(&Event::Begun("tokenizer".into()), 0);
    tell(&Event::Made(Made { part: "tokenizer".into(), seconds: 1.0 }), 1);
    for (part, stage, total) in [("base", "pretrain", 100), ("sft", "sft", 50)] {
        tell(&Event::Begun(part.into()), 0);
        tell(&opened(stage, 0, total), 0);
        (1..=total).for_each(|i| tell(&step(stage, i, total, &[("loss", 3.0 / i as f64)]), 1));
        tell(&Event::Made(Made { part: part.into(), seconds: total as f64 }), 0);
        tell(&Event::Evaluating(part.into()), 0);
        let (accuracy, is_base) = if part == "base" { (0.0, true) } else { (0.245, false) };
        tell(&evaluated(part, accuracy, is_base, Some(10.0)), 10);
        tell(&answer(None), 0);
    }
    tell(&Event::Begun("rl".into()), 0);
    tell(&opened("rl", 0, 60), 0);
    for i in 1..=3 {
        let metrics = [
            ("reward", 0.8 + 0.1 * i as f64),
            ("length", 50.0 + i as f64),
            ("zero-variance groups", 0.31),
            ("loss", 0.001),
            ("tokens/s", 4061.2),
        ];
        tell(&step("rl", i, 60, &metrics), 1);
    }
    tell(&Event::Saved(2), 0);
    tell(&answer(Some(3)), 0);
    state.memory = Some(410_000_000);
    state
}

fn buffer(state: &State, columns: u16, rows: u16, has_colour: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(state, Palette::new(has_colour), frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn screen(state: &State, columns: u16, rows: u16) -> String {
    let buffer = buffer(state, columns, rows, true);
    let line = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..rows).map(line).collect::<Vec<_>>().join("\n")
}

/// The whole picture, held to a file. What is wrong is printed, to be looked at and, if it is right, kept.
fn assert_picture(columns: u16, rows: u16) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{columns}x{rows}.txt"));
    let (drawn, kept) = (screen(&in_rl(), columns, rows), std::fs::read_to_string(&path).unwrap_or_default());
    assert!(drawn.trim_end() == kept.trim_end(), "not the picture in {}:\n{drawn}", path.display());
}

#[test]
fn the_screen_of_100_columns() {
    assert_picture(100, 24);
}

#[test]
fn the_screen_of_60_columns() {
    assert_picture(60, 30);
}

#[test]
fn the_screen_of_40_columns() {
    assert_picture(40, 26);
}

#[test]
fn controls_are_named_as_controls_at_every_width() {
    for columns in [40, 60, 100] {
        let said = screen(&in_rl(), columns, 30);
        assert!(said.contains("control: more SFT") && said.contains("random reward"), "{said}");
        assert_eq!(said.matches("control: ").count(), 2, "{said}");
    }
}

#[test]
fn a_base_model_that_never_saw_the_format_has_no_bare_zero() {
    let mut state = State::default();
    state.update(&plan(), Duration::ZERO);
    state.update(&Event::Begun("base".into()), Duration::ZERO);
    state.update(&evaluated("base", 0.0, true, Some(1.0)), Duration::from_secs(1));
    for columns in [40, 60, 100] {
        let said = screen(&state, columns, 24);
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("0 % is expected here: the base model has never seen the format"), "{said}");
        assert!(said.contains("0 %, as expected") && !said.contains("0.0 %"), "{said}");
    }
    // Where it has seen the format, or somehow got something right, the number stands.
    for (accuracy, never) in [(0.0, false), (0.01, true)] {
        state.update(&evaluated("base", accuracy, never, Some(1.0)), Duration::from_secs(2));
        assert!(state.log.last().unwrap().starts_with(&format!("base: {:.1} % right [", 100.0 * accuracy)));
    }
}

#[test]
fn the_time_left_is_that_of_all_that_is_to_come() {
    let state = in_rl();
    // A second a step: 57 more of RL, 60 of each control, and three evaluations of 10 s.
    assert_eq!(state.time_left().unwrap().as_secs_f64().round(), 57.0 + 60.0 + 60.0 + 30.0);
    assert_eq!(State::default().time_left(), Some(Duration::ZERO));
    let mut fresh = State::default();
    fresh.update(&plan(), Duration::ZERO);
    assert_eq!(fresh.time_left(), None, "nothing was measured");
}

#[test]
fn a_resumed_run_does_not_count_what_was_done_before_as_speed() {
    let mut state = State::default();
    let at = Duration::from_secs;
    state.update(&plan(), at(0));
    for part in ["tokenizer", "base"] {
        state.update(&Event::Begun(part.into()), at(0));
        state.update(&Event::Made(Made { part: part.into(), seconds: 1000.0 }), at(0));
    }
    state.update(&evaluated("base", 0.0, true, None), at(0));
    assert_eq!(state.time_left(), None, "what earlier runs did has no speed");
    state.update(&Event::Begun("sft".into()), at(1));
    state.update(&opened("sft", 40, 50), at(1));
    // Two of the ten steps that are left, of 3 s each.
    state.update(&step("sft", 41, 50, &[]), at(4));
    state.update(&step("sft", 42, 50, &[]), at(7));
    assert_eq!(state.steps_left(), Some(at(24)));
    // An evaluation has as much to compute as ten steps; RL and the controls 60 steps each.
    assert_eq!(state.time_left().unwrap().as_secs(), 24 + 3 * 3 * 60 + 4 * 30);
    assert_eq!(state.training.as_ref().unwrap().saved, Some(40));
    assert_eq!(state.rows[1].took, at(1000), "but what it took is told");
}

#[test]
fn batches_that_an_earlier_run_drew_are_no_speed_either() {
    let mut state = State::default();
    let at = Duration::from_secs;
    state.update(&plan(), at(0));
    state.update(&Event::Begun("sft".into()), at(0));
    state.update(&opened("reject", 3, 5), at(0));
    // A resumed rejection sampling reads its first batches from the disk.
    (1..=3).for_each(|i| state.update(&step("reject", i, 5, &[]), at(0)));
    assert_eq!(state.steps_left(), None);
    state.update(&step("reject", 4, 5, &[]), at(20));
    assert_eq!(state.steps_left(), Some(at(20)));
}

#[test]
fn a_stopped_run_says_what_is_safe_and_how_to_go_on() {
    let typed = ["picnic", "r1", "my recipe.toml"].map(str::to_owned);
    let invocation = Invocation::new(&typed, false, Path::new("picnic"));
    let mut state = in_rl();
    let said = stopped(&state, &invocation);
    assert_eq!(
        said,
        "Stopped in reinforcement learning after step 3 of 60. Step 2 is safe, in its checkpoint.\n\
         To go on:  picnic r1 'my recipe.toml' --resume"
    );
    state.training.as_mut().unwrap().saved = None;
    assert!(stopped(&state, &invocation).contains("no checkpoint of this stage yet"));
    state.update(&Event::Evaluating("rl".into()), Duration::from_secs(300));
    assert!(stopped(&state, &invocation).contains("in the evaluation after reinforcement learning"));
}

#[test]
fn parts_that_the_chain_goes_past_are_left_out() {
    let mut state = State::default();
    state.update(&plan(), Duration::ZERO);
    state.update(&Event::Begun("sft".into()), Duration::ZERO);
    assert_eq!(state.rows.iter().filter(|row| row.phase == Phase::LeftOut).count(), 2);
}

#[test]
fn without_colour_there_is_none() {
    let colours = |has_colour| {
        let buffer = buffer(&in_rl(), 100, 24, has_colour);
        buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(colours(true) > 0);
    assert_eq!(colours(false), 0);
}

#[test]
fn every_event_comes_back_from_its_line_of_json() {
    let events = [
        plan(),
        Event::Begun("sft".into()),
        Event::Opened(Opened { stage: "sft".into(), done: 3, total: 9, tokens: Some(61.5) }),
        step("sft", 4, 9, &[("loss", 0.5)]),
        Event::Saved(4),
        Event::Made(Made { part: "sft".into(), seconds: 2.5 }),
        Event::Evaluating("sft".into()),
        evaluated("sft", 0.25, false, None),
        answer(Some(5)),
        Event::Note("saved".into()),
    ];
    for event in events {
        let line = json::to_line(&event);
        assert!(!line.contains('\n') && line.starts_with('{'), "{line}");
        assert_eq!(json::from_line(&line), Some(event));
    }
    let flat: serde_json::Value =
        serde_json::from_str(&json::to_line(&step("rl", 1, 2, &[("reward", 0.5), ("kl", f64::NAN)]))).unwrap();
    assert_eq!((&flat["stage"], &flat["step"], &flat["total"]), (&"rl".into(), &1.into(), &2.into()));
    assert!(flat["seconds"].is_number() && flat["reward"] == 0.5 && flat["kl"].is_null());
    let found: serde_json::Value = serde_json::from_str(&json::to_line(&evaluated("base", 0.0, true, None))).unwrap();
    assert_eq!(found["note"], "base: 0.0 % right [0.0, 5.0], 90.0 % well-formed");
    assert_eq!(json::from_line("{\"recipe_name\":\"tiny\"}"), None);
}

/// What plain lines say of a run.
fn lines(events: &[Event]) -> Vec<String> {
    let mut written = Vec::new();
    let mut lines = Lines::new(&mut written);
    events.iter().for_each(|event| lines.show(event));
    drop(lines);
    String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn plain_lines_are_the_first_and_the_last_of_a_fast_stage() {
    let mut events = vec![plan(), Event::Begun("sft".into()), opened("sft", 0, 1000)];
    events.extend((1..=1000).map(|i| step("sft", i, 1000, &[("loss", 1.0 / i as f64), ("tokens/s", 4061.2)])));
    events.push(Event::Made(Made { part: "sft".into(), seconds: 1.0 }));
    let lines = lines(&events);
    assert!(lines[0].starts_with("sft 1/1000 · loss 1.000 · tokens/s 4061"), "{lines:?}");
    assert_eq!(lines[lines.len() - 2], "sft 1000/1000 · loss 0.001 · tokens/s 4061");
    assert!(lines[lines.len() - 1].starts_with("sft took "), "{lines:?}");
}

#[test]
fn plain_lines_name_controls_and_show_the_last_step_of_a_stage_that_stops_early() {
    let mut events = vec![plan(), Event::Begun("control_random_reward".into()), opened("rl", 0, 10)];
    events.extend((1..=3).map(|i| step("rl", i, 10, &[("reward", 0.25)])));
    events.push(Event::Made(Made { part: "control_random_reward".into(), seconds: 1.0 }));
    let lines = lines(&events);
    assert!(lines[lines.len() - 2].starts_with("control: RL with a random reward 3/10 · reward 0.250"), "{lines:?}");
    assert!(lines[lines.len() - 1].starts_with("control: RL with a random reward took "), "{lines:?}");
}

proptest! {
    /// Whatever the size of the window and wherever the run is, there is a picture.
    #[test]
    fn no_size_panics(columns in 1u16..=300, rows in 1u16..=100, events in 0usize..=5, text in ".{0,400}") {
        let mut state = if events == 0 { State::default() } else { in_rl() };
        let more = [
            Event::Note(text.clone()),
            Event::Answer(Answer {
                step: None, task: text.clone(), question: text.clone(), text, verdict: Verdict::CouldNotJudge,
            }),
            step("rl", 4, 60, &[("loss", f64::NAN), ("reward", f64::INFINITY), ("length", 1e300)]),
            step("rl", 70, 60, &[("loss", -1e300)]),
            Event::Evaluating("rl".into()),
        ];
        more.iter().take(events).for_each(|event| state.update(event, Duration::from_secs(1_000_000)));
        buffer(&state, columns, rows, true);
    }
}
