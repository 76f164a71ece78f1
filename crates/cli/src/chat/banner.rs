//! What stands at the start of a conversation in the terminal, and what `/help` says, for a window of any width.

use super::command::COMMANDS;
use super::screen::safe;
use picnic_model::Model;
use std::path::Path;
use textwrap::Options;
use textwrap::WordSplitter::NoHyphenation;

/// No window is taken for narrower.
const MIN_WIDTH: usize = 20;

/// What the banner says of a model.
pub struct Facts<'m> {
    /// What it is called.
    pub name: &'m str,
    /// Its parameters.
    pub params: u128,
    /// In a mixture of experts, those that one token meets.
    pub active_params: Option<u128>,
    /// Questions of the kinds that it was taught; empty if nobody has said.
    pub taught: &'m [String],
}

impl<'m> Facts<'m> {
    /// The facts of `model`.
    pub fn new(name: &'m str, model: &'m Model) -> Facts<'m> {
        let config = model.config();
        let active_params = config.moe.as_ref().map(|_| config.num_active_parameters());
        Facts { name, params: config.num_parameters(), active_params, taught: &config.training.taught }
    }
}

/// The banner, in lines of at most `width`.
pub fn banner(facts: &Facts, width: usize) -> String {
    let mut first = format!("{}: {} parameters", safe(facts.name), count(facts.params));
    if let Some(active) = facts.active_params {
        first += &format!(", {} of them active for each token", count(active));
    }
    let mut text = wrapped(&(first + "."), width, "");
    if !facts.taught.is_empty() {
        text += &wrapped("It was taught questions like these:", width, "");
        facts.taught.iter().for_each(|question| text += &wrapped(&format!("  {}", safe(question)), width, "    "));
    }
    text + &wrapped("/help lists the commands, Ctrl-D leaves.", width, "")
}

/// The commands and keys, in lines of at most `width`; `history` is the file that keeps what was typed.
pub fn help(history: Option<&Path>, width: usize) -> String {
    let mut text = String::new();
    for (usage, what) in COMMANDS {
        text += &match width {
            // Side by side where there is room for both.
            60.. => wrapped(&format!("{usage:18}{what}"), width, &" ".repeat(18)),
            _ => wrapped(usage, width, "") + &wrapped(&format!("    {what}"), width, "    "),
        };
    }
    text += "\n";
    text += &wrapped("Everything else is a message. To begin one with a slash, type two.", width, "");
    text += &wrapped("The arrow keys bring back earlier messages. Ctrl-C stops an answer.", width, "");
    if let Some(file) = history {
        text += &wrapped(&format!("What you type is kept in {}.", file.display()), width, "");
    }
    text
}

/// `text` in lines of at most `width`, all but the first indented by `indent`.
pub fn wrapped(text: &str, width: usize, indent: &str) -> String {
    // `Ctrl-C` is one word.
    let options = Options::new(width.max(MIN_WIDTH)).subsequent_indent(indent).word_splitter(NoHyphenation);
    textwrap::fill(text, options) + "\n"
}

/// A number of parameters, in two digits.
fn count(n: u128) -> String {
    let (scaled, unit) = match n {
        0..1_000 => return n.to_string(),
        1_000..1_000_000 => (n as f64 / 1e3, "thousand"),
        1_000_000..1_000_000_000 => (n as f64 / 1e6, "million"),
        _ => (n as f64 / 1e9, "billion"),
    };
    if scaled < 9.95 { format!("{scaled:.1} {unit}") } else { format!("{scaled:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAUGHT: [&str; 2] = ["What is 347+289?", "Use 25, 3, 19 to make 41."];

    #[test]
    fn the_banner_has_name_size_and_questions() {
        let taught = TAUGHT.map(str::to_owned);
        let facts = Facts { name: "nano", params: 3_510_000, active_params: Some(1_480_000), taught: &taught };
        assert_eq!(
            banner(&facts, 100),
            "nano: 3.5 million parameters, 1.5 million of them active for each token.\n\
             It was taught questions like these:\n  What is 347+289?\n  Use 25, 3, 19 to make 41.\n\
             /help lists the commands, Ctrl-D leaves.\n"
        );
        let plain = Facts { params: 135_000_000, active_params: None, taught: &[], ..facts };
        assert_eq!(banner(&plain, 100), "nano: 135 million parameters.\n/help lists the commands, Ctrl-D leaves.\n");
    }

    #[test]
    fn no_line_is_wider_than_the_window() {
        let taught = TAUGHT.map(str::to_owned);
        let facts = Facts { name: "nano", params: 3_510_000, active_params: Some(1_480_000), taught: &taught };
        for width in [40, 60, 100] {
            let history = Path::new("/home/ada/h.txt");
            for text in [banner(&facts, width), help(Some(history), width)] {
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            }
            for (usage, _) in COMMANDS {
                assert!(help(None, width).contains(usage), "{usage}");
            }
        }
    }

    #[test]
    fn a_model_cannot_command_the_terminal() {
        let taught = ["\x1b[2J".to_owned()];
        let facts = Facts { name: "a\x1bb", params: 1, active_params: None, taught: &taught };
        assert!(!banner(&facts, 80).contains('\x1b'));
    }
}
