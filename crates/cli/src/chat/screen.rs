//! How answers are shown: on a terminal the thinking is dimmed, in a pipe everything is plain.

use super::banner::wrapped;
use super::conversation::{Answered, Ending};
use crate::output::CANNOT_WRITE;
use anyhow::{Context, Result};
use picnic_chat::Piece;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write, stderr, stdout};

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Standard output for answers, and what stands below them on standard error.
pub struct Screen {
    /// Whether thinking is shown.
    pub shows_thinking: bool,
    /// Whether statistics are shown below an answer.
    pub shows_stats: bool,
    /// Columns of the window, where a person reads; what is said beside the answers is broken into lines of so many.
    pub width: Option<usize>,
    terminal: bool,
    colour: bool,
    thinking: bool,
    answered: bool,
}

/// Whether a stream that is a `terminal` or not may be coloured.
pub fn has_colour(terminal: bool) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// What the model or its files say must not command the terminal.
pub fn safe(text: &str) -> Cow<'_, str> {
    let commands = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(commands) { text.replace(commands, "\u{fffd}").into() } else { text.into() }
}

impl Screen {
    /// Standard output as it is.
    pub fn new(shows_stats: bool) -> Screen {
        let terminal = stdout().is_terminal();
        let colour = has_colour(terminal);
        Screen { shows_thinking: true, shows_stats, width: None, terminal, colour, thinking: false, answered: false }
    }

    /// Shows more of an answer.
    pub fn show(&mut self, piece: &Piece) -> io::Result<()> {
        let mut out = stdout().lock();
        out.write_all(self.styled(piece).as_bytes())?;
        out.flush()
    }

    /// Ends an answer with its line, and says what there is to say of it.
    pub fn end(&mut self, answered: &Answered) -> Result<()> {
        let undimmed = if self.thinking && !self.answered { self.undimmed() } else { "" };
        (self.thinking, self.answered) = (false, false);
        writeln!(stdout(), "{undimmed}").context(CANNOT_WRITE)?;
        let context = answered.context;
        if answered.ending == Ending::CutOff {
            let bound = format!("the conversation has reached the {context} tokens that it may have");
            self.say(&format!("note: the answer is cut off, because {bound}"));
        }
        if answered.outgrown {
            let bound = format!("the conversation has outgrown the {context} tokens that it may have");
            self.say(&format!("note: {bound}; from here on its oldest exchanges are forgotten"));
        }
        if self.shows_stats {
            self.aside(&stats(answered));
        }
        Ok(())
    }

    /// Says something to the person.
    pub fn say(&self, text: &str) {
        eprintln!("{}", self.broken(text));
    }

    /// Says something by the way, dimmed.
    pub fn aside(&self, text: &str) {
        match has_colour(stderr().is_terminal()) {
            true => eprintln!("{DIM}{}{PLAIN}", self.broken(text)),
            false => eprintln!("{}", self.broken(text)),
        }
    }

    fn broken(&self, text: &str) -> String {
        self.width.map_or_else(|| text.to_owned(), |width| wrapped(text, width, "").trim_end().to_owned())
    }

    /// The text of `piece`, with the thinking apart.
    fn styled(&mut self, piece: &Piece) -> String {
        let mut text = String::new();
        if !piece.reasoning.is_empty() {
            if self.colour && !self.thinking {
                text += DIM;
            }
            match (self.shows_thinking, self.thinking) {
                (true, _) => text += &self.safe(&piece.reasoning),
                (false, false) => text += "(thinking)",
                (false, true) => {}
            }
            self.thinking = true;
        }
        if !piece.content.is_empty() {
            if self.thinking && !self.answered {
                text = text + self.undimmed() + "\n\n";
            }
            self.answered = true;
            text += &self.safe(&piece.content);
        }
        text
    }

    fn undimmed(&self) -> &'static str {
        if self.colour { PLAIN } else { "" }
    }

    fn safe<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.terminal { safe(text) } else { text.into() }
    }
}

/// What an answer cost.
fn stats(answered: &Answered) -> String {
    let Answered { tokens, seconds, conversation, context, .. } = answered;
    let speed = *tokens as f64 / seconds.max(1e-9);
    format!(
        "{tokens} tokens in {seconds:.2} s, {speed:.0} tokens/s; the conversation has {conversation} of {context} tokens"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(terminal: bool, colour: bool) -> Screen {
        Screen { terminal, colour, ..Screen::new(false) }
    }

    /// An answer in pieces, with something in it that would command a terminal.
    fn shown(mut screen: Screen) -> String {
        let piece = |reasoning: &str, content: &str| Piece {
            reasoning: reasoning.into(),
            content: content.into(),
            ..Piece::default()
        };
        [piece("7+9", ""), piece("=16", ""), piece("", ""), piece("", "1\x1b[2J"), piece("", "6")]
            .iter()
            .map(|piece| screen.styled(piece))
            .collect()
    }

    #[test]
    fn thinking_is_dimmed_on_a_terminal_and_plain_in_a_pipe() {
        assert_eq!(shown(screen(true, true)), "\x1b[2m7+9=16\x1b[0m\n\n1\u{fffd}[2J6");
        assert_eq!(shown(screen(true, false)), "7+9=16\n\n1\u{fffd}[2J6");
        assert_eq!(shown(screen(false, false)), "7+9=16\n\n1\x1b[2J6", "a script gets what the model wrote");
    }

    #[test]
    fn hidden_thinking_is_said_to_be_going_on() {
        let hidden = Screen { shows_thinking: false, ..screen(true, true) };
        assert_eq!(shown(hidden), "\x1b[2m(thinking)\x1b[0m\n\n1\u{fffd}[2J6");
    }

    #[test]
    fn statistics_have_speed_and_room() {
        let (ending, outgrown) = (Ending::Whole, false);
        let answered = Answered { tokens: 50, seconds: 0.5, conversation: 80, context: 640, ending, outgrown };
        assert_eq!(stats(&answered), "50 tokens in 0.50 s, 100 tokens/s; the conversation has 80 of 640 tokens");
    }
}
