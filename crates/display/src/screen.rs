//! The full screen of a terminal, and the way back out of it.
//!
//! A thread of its own draws the state a few times a second, so that clocks move during a step that takes a minute and
//! a window that changed its size is filled again. The screen is left when the run ends, by whatever: its end, an
//! error, a panic, Ctrl-C, a signal; what has to stay readable is then written to the normal screen. Ctrl-Z leaves it
//! too, until the shell brings the run back to the foreground.

use crate::draw::{Palette, draw};
use crate::invocation::Invocation;
use crate::lines::write_line;
use crate::signals::{self, Signals};
use crate::state::State;
use picnic_train::progress::{Display, Event};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::crossterm::{cursor, execute};
use std::io::{self, IsTerminal as _, Stderr, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// The least room that the full screen is used for.
const LEAST: (u16, u16) = (40, 12);

/// The time between two pictures.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Whether the terminal is in our hands. It is of the process, because a panic may happen anywhere.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// Whether standard error is a terminal that can show the full screen, and is ours to take.
pub fn fits() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stderr().is_terminal()
        && !is_dumb
        && is_in_foreground()
        && size().is_ok_and(|(columns, rows)| columns >= LEAST.0 && rows >= LEAST.1)
}

/// Whether the terminal listens to us: the system stops whoever takes it from the background, as with `picnic r1 &`.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(stderr()).map_or(true, |group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn is_in_foreground() -> bool {
    true
}

/// Shows a run on the full screen.
pub struct Screen {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    started: Instant,
    is_over: AtomicBool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If the terminal refuses, or the system lets nobody listen for signals.
    pub fn start(invocation: Invocation) -> io::Result<Screen> {
        let signals = Signals::listen()?;
        let started = Instant::now();
        let shared = Arc::new(Shared { state: Mutex::default(), started, is_over: AtomicBool::new(false) });
        leave_on_panic();
        let entered = take().and_then(|terminal| {
            let shared = shared.clone();
            let draw = move || shared.draw_until_over(terminal, &signals, &invocation);
            std::thread::Builder::new().name("display".to_owned()).spawn(draw)
        });
        match entered {
            Ok(thread) => Ok(Screen { shared, thread: Some(thread) }),
            Err(error) => {
                leave();
                Err(error)
            }
        }
    }
}

impl Display for Screen {
    fn show(&mut self, event: &Event) {
        let now = self.shared.started.elapsed();
        self.shared.state().update(event, now);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has left the screen by its panic.
            let _ = thread.join();
        }
        leave();
        self.shared.tell_what_stays();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws until the run is over or somebody ends it.
    fn draw_until_over(
        &self,
        mut terminal: Terminal<CrosstermBackend<Stderr>>,
        signals: &Signals,
        invocation: &Invocation,
    ) {
        let palette = Palette::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));
        let mut memory = Memory::new();
        let mut is_suspended = false;
        while !self.is_over.load(Ordering::SeqCst) && (is_suspended || IS_OURS.load(Ordering::SeqCst)) {
            let pressed = if is_suspended {
                // In the background, after `bg`, the run goes on and nothing is drawn.
                std::thread::sleep(DRAW_EVERY);
                match is_in_foreground().then(take) {
                    Some(Ok(taken)) => (terminal, is_suspended) = (taken, false),
                    Some(Err(_)) => leave(),
                    None => {}
                }
                None
            } else {
                // A copy, so that a terminal that hangs does not hold up the training. Nor does one that refuses.
                let mut state = self.state().clone();
                (state.now, state.memory) = (self.started.elapsed(), memory.resident());
                let _ = terminal.draw(|frame| draw(&state, palette, frame));
                typed_within(DRAW_EVERY)
            };
            match signals.came().or(pressed) {
                None => {}
                signal if signal == signals::SUSPEND => {
                    leave();
                    signals::suspend();
                    is_suspended = true;
                }
                Some(signal) => {
                    leave();
                    self.tell_what_stays();
                    write_line(&mut stderr(), &signals::stopped(&self.state(), invocation));
                    signals::exit(signal);
                }
            }
        }
    }

    /// Results and notes, in the normal screen.
    fn tell_what_stays(&self) {
        let state = self.state();
        state.log.iter().for_each(|line| write_line(&mut stderr(), line));
    }
}

/// Waits, and gives a signal if Ctrl-C or Ctrl-Z was pressed: in raw mode they come as keys. Any event ends the
/// waiting, so that a window that changed its size is drawn at once.
fn typed_within(time: Duration) -> Option<i32> {
    match event::poll(time) {
        Ok(true) => match event::read() {
            Ok(Input::Key(key)) if key.modifiers.contains(KeyModifiers::CONTROL) => match key.code {
                KeyCode::Char('c') => Some(signals::INTERRUPT),
                KeyCode::Char('z') => signals::SUSPEND,
                _ => None,
            },
            _ => None,
        },
        Ok(false) => None,
        // Nothing can be typed here.
        Err(_) => {
            std::thread::sleep(time);
            None
        }
    }
}

/// Takes the terminal. Nothing is known to be on it, so that the first picture is drawn whole.
fn take() -> io::Result<Terminal<CrosstermBackend<Stderr>>> {
    IS_OURS.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stderr(), EnterAlternateScreen, cursor::Hide)?;
    Terminal::new(CrosstermBackend::new(stderr()))
}

/// Gives the terminal back, once. Errors are dropped: there is nowhere to say them.
fn leave() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        let _ = execute!(stderr(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// A panic gives the terminal back before it prints what happened.
fn leave_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            print(panic);
        }));
    });
}

/// The memory of this process.
struct Memory(Option<(System, Pid)>);

impl Memory {
    fn new() -> Self {
        Self(System::new().ok().zip(sysinfo::get_current_pid().ok()))
    }

    /// Bytes that are resident, where the system says it.
    fn resident(&mut self) -> Option<u64> {
        let (system, process) = self.0.as_mut()?;
        let memory = ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[*process]), false, memory);
        Some(system.process(*process)?.memory())
    }
}
