//! Chat without a person at the keyboard: every line is a message, whatever it begins with, and nothing is printed to
//! standard output but the answers.

use super::conversation::{Conversation, Ending};
use super::interrupt;
use super::screen::Screen;
use anyhow::{Context, Result};
use std::io::{BufRead, stdin};

/// Answers `prompt`.
pub fn answer_once(mut conversation: Conversation, mut screen: Screen, prompt: &str) -> Result<()> {
    let answered = conversation.ask(prompt, |piece| screen.show(piece))?;
    screen.end(&answered)?;
    if answered.ending == Ending::Interrupted {
        interrupt::leave();
    }
    Ok(())
}

/// Answers each line of standard input. A message that cannot be answered is no part of the conversation.
pub fn converse(mut conversation: Conversation, mut screen: Screen) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if stdin().lock().read_line(&mut line).context("cannot read the next message")? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            continue;
        }
        match conversation.ask(line.trim(), |piece| screen.show(piece)) {
            Ok(answered) => screen.end(&answered)?,
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => return Err(error),
            Err(error) => eprintln!("error: {}", crate::one_line(&error)),
        }
    }
}
