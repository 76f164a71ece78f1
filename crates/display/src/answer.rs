//! A question with its answer, shortened to the room that there is: of long thinking the beginning and the end stay.

use crate::words::visible;
use picnic_train::progress::Answer;
use textwrap::{Options, WordSplitter, wrap};

/// Which part of the exchange a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// What was asked.
    Question,
    /// What comes before the answer.
    Thinking,
    /// The answer itself.
    Answer,
}

/// The exchange in at most `height` lines of at most `width` columns.
pub fn lines(answer: &Answer, width: usize, height: usize) -> Vec<(Voice, String)> {
    let (thinking, said) = match parts(&answer.text) {
        ("", "") => ("", "(nothing)"),
        both => both,
    };
    // The answer is what matters most, then what it answers; thinking has the rest of the room.
    let said = shortened(wrapped(said, width), (height / 3).max(1));
    let question = shortened(wrapped(&answer.question, width), (height / 3).max(1));
    let room = height.saturating_sub(said.len() + question.len());
    let thinking = shortened(wrapped(thinking, width), room);
    let voiced = |voice, lines: Vec<String>| lines.into_iter().map(move |line| (voice, line));
    let mut all: Vec<_> = voiced(Voice::Question, question).collect();
    all.extend(voiced(Voice::Thinking, thinking));
    all.extend(voiced(Voice::Answer, said));
    all.truncate(height);
    all
}

/// Thinking and answer, without the tags around them. Text without tags is all answer.
fn parts(text: &str) -> (&str, &str) {
    let (thinking, said) = text.split_once("</think>").unwrap_or(match text.contains("<think>") {
        true => (text, ""), // It never came to an end.
        false => ("", text),
    });
    let said = said.trim().trim_start_matches("<answer>").trim_end_matches("</answer>");
    (thinking.trim().trim_start_matches("<think>").trim(), said.trim())
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let options = Options::new(width.max(1)).word_splitter(WordSplitter::NoHyphenation);
    let lines = visible(text);
    let filled = lines.lines().filter(|line| !line.trim().is_empty());
    filled.flat_map(|line| wrap(line.trim_end(), &options)).map(|line| line.into_owned()).collect()
}

/// The first and the last lines, with an ellipsis for those between.
fn shortened(mut lines: Vec<String>, height: usize) -> Vec<String> {
    if lines.len() > height && height > 0 {
        let last = (height - 1) / 2;
        let tail = lines.split_off(lines.len() - last);
        lines.truncate(height - last - 1);
        lines.push("…".to_owned());
        lines.extend(tail);
    }
    lines.truncate(height);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_train::report::Verdict;

    fn shown(text: &str, width: usize, height: usize) -> Vec<(Voice, String)> {
        let question = "Reach 41 from 3, 19 and 25.".to_owned();
        let (task, text) = ("countdown".to_owned(), text.to_owned());
        lines(&Answer { step: None, task, question, text, verdict: Verdict::Right }, width, height)
    }

    #[test]
    fn long_thinking_keeps_its_beginning_and_its_end() {
        let tries: Vec<String> = (1..=40).map(|i| format!("Try {i}.")).collect();
        let text = format!("<think>{}</think><answer>19+25-3</answer>", tries.join("\n"));
        let lines = shown(&text, 40, 9);
        let said: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        let want = [
            "Reach 41 from 3, 19 and 25.", "Try 1.", "Try 2.", "Try 3.", "…", "Try 38.", "Try 39.", "Try 40.",
            "19+25-3",
        ];
        assert_eq!(said, want);
        assert_eq!([lines[0].0, lines[4].0, lines[8].0], [Voice::Question, Voice::Thinking, Voice::Answer]);
    }

    #[test]
    fn thinking_without_an_end_is_no_answer() {
        assert_eq!(shown("<think>3+19", 40, 9).last(), Some(&(Voice::Thinking, "3+19".to_owned())));
        assert_eq!(shown("just words", 40, 9).last(), Some(&(Voice::Answer, "just words".to_owned())));
    }
}
