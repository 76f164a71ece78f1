//! Draws the full screen of a recorded run as an SVG. What is recorded is what `--json` writes:
//!
//!     cargo run --release -p picnic-display --example picture -- RECORD.jsonl PART STEP COLUMNS ROWS > PICTURE.svg
//!
//! The picture is of the moment after step STEP of PART (a name of the plan, such as `rl`). Times are those of the
//! record; memory is the most that the run had, and is left out where the record does not come to the end.

use picnic_display::{Palette, State, draw, json};
use picnic_train::progress::Event;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [record, part, step, columns, rows] = &args[..] else {
        return Err("usage: picture RECORD.jsonl PART STEP COLUMNS ROWS".into());
    };
    let state = play(&fs::read_to_string(record)?, part, step.parse()?)
        .ok_or_else(|| format!("{record} has no step {step} of {part}"))?;
    let mut terminal = Terminal::new(TestBackend::new(columns.parse()?, rows.parse()?))?;
    terminal.draw(|frame| draw(&state, Palette::new(true), frame))?;
    print!("{}", svg(terminal.backend().buffer()));
    Ok(())
}

/// The state after a step. The clock is made of the seconds that the events carry.
fn play(record: &str, part: &str, step: u64) -> Option<State> {
    let (mut state, mut opened, mut now) = (State::default(), Duration::ZERO, Duration::ZERO);
    let mut current = String::new();
    let report = record.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    state.memory = report.and_then(|report| Some((report["peak_rss_mb"].as_f64()? * 1e6) as u64));
    let mut is_there = false;
    for event in record.lines().filter_map(json::from_line) {
        // An answer that belongs to the step follows it.
        if is_there && !matches!(event, Event::Answer(_)) {
            return Some(state);
        }
        match &event {
            Event::Begun(name) => current.clone_from(name),
            Event::Opened(_) => opened = now,
            Event::Step(done) => {
                now = opened + Duration::from_secs_f64(done.seconds);
                is_there = current == part && done.step == step;
            }
            Event::Evaluated(found) => now += Duration::from_secs_f64(found.seconds.unwrap_or(0.0)),
            _ => {}
        }
        state.update(&event, now);
    }
    None
}

/// Width and height of a character, in units of the picture.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 14.0;

fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (f64::from(buffer.area.width), f64::from(buffer.area.height));
    let (width, height) = (columns * CELL.0 + 2.0 * MARGIN, rows * CELL.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#14171c\"/>\n"
    );
    for y in 0..buffer.area.height {
        let cells: Vec<&Cell> = (0..buffer.area.width).map(|x| &buffer[(x, y)]).collect();
        let mut x = 0;
        for run in cells.chunk_by(|a, b| look(a) == look(b)) {
            let text: String = run.iter().map(|cell| cell.symbol()).collect();
            if !text.trim().is_empty() {
                let (left, base) = (MARGIN + x as f64 * CELL.0, MARGIN + f64::from(y) * CELL.1 + 13.0);
                let length = run.len() as f64 * CELL.0;
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                // The length is given, so that every font keeps to the columns.
                let _ = writeln!(
                    svg,
                    "<text x=\"{left:.1}\" y=\"{base:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\" {}>{text}</text>",
                    look(run[0])
                );
            }
            x += run.len();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Colour and weight of a cell.
fn look(cell: &Cell) -> String {
    let is_dim = cell.modifier.contains(Modifier::DIM);
    let colour = match cell.fg {
        Color::Cyan => "#56c8d8",
        Color::Green => "#7ec77b",
        Color::Red => "#e5737a",
        Color::Yellow => "#e0c068",
        _ if is_dim => "#8a919c",
        _ => "#d8dce2",
    };
    let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    format!("fill=\"{colour}\"{weight}")
}
