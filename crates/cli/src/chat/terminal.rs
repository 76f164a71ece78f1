//! Chat with a person at the keyboard: a banner, a line to edit, messages of earlier runs, and commands.

use super::banner::{Facts, banner, help};
use super::command::{Command, Line};
use super::conversation::{Answered, Conversation, Ending};
use super::screen::Screen;
use super::transcript::{save, transcript};
use super::{history, interrupt};
use anyhow::{Context, Result};
use rustyline::config::{Behavior, Config};
use rustyline::error::ReadlineError;
use rustyline::{ColorMode, DefaultEditor};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PROMPT: &str = "> ";

/// Two presses of Ctrl-C within this time leave.
const TWICE: Duration = Duration::from_secs(2);

/// The width of a window that does not say how wide it is.
const USUAL_WIDTH: usize = 80;

/// Talks until the person leaves.
pub fn converse(conversation: Conversation, screen: Screen) -> Result<()> {
    // What is edited is drawn on the terminal itself, so that standard output may go to a file.
    let config = Config::builder()
        .behavior(Behavior::PreferTerm)
        .bracketed_paste(true)
        .color_mode(ColorMode::Disabled)
        .auto_add_history(true)
        .build();
    let mut editor = DefaultEditor::with_config(config).context("cannot read from this terminal")?;
    let history = history::file();
    if let Some(file) = &history {
        history::load(&mut editor, file);
    }
    Terminal { conversation, screen, editor, history }.run()
}

struct Terminal {
    conversation: Conversation,
    screen: Screen,
    editor: DefaultEditor,
    history: Option<PathBuf>,
}

impl Terminal {
    fn run(mut self) -> Result<()> {
        let width = self.width();
        let loaded = &self.conversation.loaded;
        eprint!("{}", banner(&Facts::new(&loaded.name, loaded.model.model()), width));
        let mut interrupted: Option<Instant> = None;
        loop {
            self.screen.width = Some(self.width());
            let line = match self.editor.readline(PROMPT) {
                Ok(line) => line,
                Err(ReadlineError::Eof) => return Ok(()),
                Err(ReadlineError::Interrupted) => {
                    if interrupted.is_some_and(|before| before.elapsed() < TWICE) {
                        interrupt::leave();
                    }
                    interrupted = Some(Instant::now());
                    self.screen.aside("Press Ctrl-C once more to leave.");
                    continue;
                }
                Err(error) => return Err(error).context("cannot read the next message"),
            };
            if let Some(file) = &self.history {
                history::keep(&mut self.editor, file);
            }
            let done = match Line::parse(&line) {
                Line::Empty => continue,
                Line::Mistake(text) => {
                    self.screen.aside(&text);
                    continue;
                }
                Line::Message(text) => self.ask(&text).map(ControlFlow::Continue),
                Line::Command(command) => self.obey(command),
            };
            match done {
                Ok(ControlFlow::Break(())) => return Ok(()),
                Ok(ControlFlow::Continue(ending)) => {
                    interrupted = (ending == Ending::Interrupted).then(Instant::now);
                }
                Err(error) if error.downcast_ref::<std::io::Error>().is_some() => return Err(error),
                Err(error) => self.screen.say(&format!("error: {}", crate::one_line(&error))),
            }
        }
    }

    fn ask(&mut self, message: &str) -> Result<Ending> {
        let answered = self.conversation.ask(message, |piece| self.screen.show(piece))?;
        self.end(&answered)
    }

    fn end(&mut self, answered: &Answered) -> Result<Ending> {
        self.screen.end(answered)?;
        if answered.ending == Ending::Interrupted {
            self.screen.aside("The answer was stopped. Press Ctrl-C once more to leave.");
        }
        Ok(answered.ending)
    }

    /// Does what `command` says and tells what came of it.
    fn obey(&mut self, command: Command) -> Result<ControlFlow<(), Ending>> {
        match command {
            Command::Exit => return Ok(ControlFlow::Break(())),
            Command::Help => {
                let width = self.width();
                eprint!("{}", help(self.history.as_deref(), width));
            }
            Command::Clear => {
                self.conversation.clear();
                self.screen.aside("The conversation is forgotten.");
            }
            Command::System(text) => {
                let said = if text.is_some() { "The instructions are set." } else { "There are no instructions." };
                self.conversation.instruct(text)?;
                self.screen.aside(said);
            }
            Command::Temperature(None) => {
                self.screen.aside(&format!("The temperature is {}.", self.conversation.settings.sampling.temperature));
            }
            Command::Temperature(Some(temperature)) => {
                self.conversation.settings.sampling.temperature = temperature;
                self.screen.aside(&format!("The temperature is {temperature} now."));
            }
            Command::Think { show } => {
                self.screen.shows_thinking = show;
                self.screen.aside(if show { "Thinking is shown." } else { "Thinking is hidden." });
            }
            Command::Stats => {
                self.screen.shows_stats = !self.screen.shows_stats;
                self.screen.aside(if self.screen.shows_stats {
                    "Statistics are shown."
                } else {
                    "Statistics are hidden."
                });
            }
            Command::Save(file) => {
                let Conversation { loaded, settings, .. } = &self.conversation;
                let text = transcript(&loaded.name, settings.system.as_deref(), self.conversation.exchanges());
                // Nothing that is wrong with the file ends the conversation.
                match save(&file, &text) {
                    Ok(()) => self.screen.aside(&format!("The conversation is in {}.", file.display())),
                    Err(error) => self.screen.say(&format!("error: {}", crate::one_line(&error))),
                }
            }
            Command::Retry => match self.conversation.retry(|piece| self.screen.show(piece))? {
                Some(answered) => return self.end(&answered).map(ControlFlow::Continue),
                None => self.screen.aside("There is no question to answer again."),
            },
        }
        Ok(ControlFlow::Continue(Ending::Whole))
    }

    /// Columns of the window.
    fn width(&mut self) -> usize {
        self.editor.dimensions().map_or(USUAL_WIDTH, |(columns, _)| usize::from(columns))
    }
}
