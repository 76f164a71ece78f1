//! What a person sees of a run.
//!
//! [`picnic_train`] tells what happens as events; here are the displays that receive them. On a terminal it is the full
//! screen ([`screen`]), in a pipe plain lines ([`lines`]), with `--json` an object a line ([`json`]). The full screen
//! and the lines keep a [`State`], which follows the events and knows neither clock nor terminal; [`draw`] is a function
//! of it. Everything goes to standard error but JSON, which goes to standard output.

mod answer;
pub mod draw;
pub mod invocation;
pub mod json;
pub mod lines;
mod pace;
pub mod screen;
mod signals;
mod state;
#[cfg(test)]
mod tests;
pub mod words;

pub use draw::{Palette, draw};
pub use invocation::Invocation;
pub use state::{Phase, Row, State, Training};

use picnic_train::progress::{Progress, Quiet};
use screen::Screen;
use std::io;

/// How to show a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The full screen if standard error is a terminal that can show it, plain lines otherwise.
    #[default]
    Auto,
    /// One JSON object a line on standard output.
    Json,
    /// Nothing.
    Quiet,
}

/// The display of a run that was started by `invocation`.
///
/// # Errors
/// If the system lets nobody listen for Ctrl-C.
pub fn progress(mode: Mode, invocation: Invocation) -> io::Result<Progress> {
    Ok(match mode {
        Mode::Quiet => Progress::new(Quiet),
        Mode::Json => Progress::new(json::Json::new(io::stdout())),
        // A terminal that promises much and gives little is no reason not to train.
        Mode::Auto if screen::fits() => match Screen::start(invocation.clone()) {
            Ok(screen) => Progress::new(screen),
            Err(_) => Progress::new(lines::Lines::start(invocation)?),
        },
        Mode::Auto => Progress::new(lines::Lines::start(invocation)?),
    })
}
