//! Ctrl-C: it stops the answer under way; pressed again, or while none is under way, it ends the program.

use super::screen;
use anyhow::{Context, Result};
use std::io::{IsTerminal, Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the shell expects of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether Ctrl-C was pressed while an answer was under way.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Flags>);

#[derive(Default)]
struct Flags {
    answering: AtomicBool,
    pressed: AtomicBool,
}

impl Interrupt {
    /// Listens from now on.
    pub fn listen() -> Result<Interrupt> {
        let interrupt = Interrupt::default();
        let flags = Arc::clone(&interrupt.0);
        ctrlc::set_handler(move || {
            let pressed_before = flags.pressed.swap(true, Ordering::SeqCst);
            if pressed_before || !flags.answering.load(Ordering::SeqCst) {
                eprintln!();
                leave();
            }
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(interrupt)
    }

    /// An answer is under way as long as what comes back lives.
    pub fn answering(&self) -> Answering {
        self.0.pressed.store(false, Ordering::SeqCst);
        self.0.answering.store(true, Ordering::SeqCst);
        Answering(Arc::clone(&self.0))
    }

    /// Whether Ctrl-C was pressed since the answer began.
    pub fn is_pressed(&self) -> bool {
        self.0.pressed.load(Ordering::SeqCst)
    }
}

/// An answer under way.
pub struct Answering(Arc<Flags>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.store(false, Ordering::SeqCst);
    }
}

/// Ends the program as Ctrl-C does, and leaves no terminal dimmed.
pub fn leave() -> ! {
    if screen::has_colour(stdout().is_terminal()) {
        let _ = stdout().write_all(b"\x1b[0m");
        let _ = stdout().flush();
    }
    std::process::exit(INTERRUPTED)
}
