//! Splits a reply into thinking and answer while it is being written.
//!
//! The marks are DeepSeek-R1's (section 2.2.3), and each counts once, in this order:
//! `<think>` reasoning `</think>` `<answer>` answer `</answer>`. Any may be missing. Text outside of the first pair is
//! content, the marks themselves belong to neither side, and a mark out of its turn is ordinary text: an answer may
//! quote `<think>`. A side begins with its first character that is no white space.
//!
//! In an answer that is held to a form no text is a mark, as a string of its JSON may hold any text. There, whoever
//! reads the tokens says where the thinking begins and ends, and the content is kept to the character.

use crate::CallDelta;
use crate::stop::begun;
use picnic_tokenizer::MARKS;

/// Sorts a growing text into two sides. However the text is cut into pieces, the sides are the same.
#[derive(Clone, Debug)]
pub struct Splitter {
    stage: Stage,
    /// The beginning of what may become a mark.
    held: String,
    reasoning_begun: bool,
    content_begun: bool,
    reads_marks: bool,
}

/// What a piece of text adds to each side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// More thinking.
    pub reasoning: String,
    /// More answer.
    pub content: String,
    /// More of the calls of tools.
    pub calls: Vec<CallDelta>,
}

/// Which marks are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Thinking,
    Thought,
    Answer,
    End,
}

impl std::ops::AddAssign for Piece {
    fn add_assign(&mut self, more: Piece) {
        self.reasoning += &more.reasoning;
        self.content += &more.content;
        for call in more.calls {
            match self.calls.iter_mut().find(|known| known.index == call.index) {
                Some(known) => known.arguments += &call.arguments,
                None => self.calls.push(call),
            }
        }
    }
}

impl Splitter {
    /// A splitter for the reply to `prompt`. A template may open the thinking itself, so that the prompt ends with
    /// `<think>`.
    pub fn after(prompt: &str) -> Splitter {
        let thinking = prompt.trim_end().ends_with(MARKS[0]);
        let stage = if thinking { Stage::Thinking } else { Stage::Start };
        Splitter { stage, held: String::new(), reasoning_begun: false, content_begun: false, reads_marks: true }
    }

    /// The same where no text is a mark and [`Self::turn`] is called instead.
    pub(crate) fn without_marks(prompt: &str) -> Splitter {
        Splitter { content_begun: true, reads_marks: false, ..Splitter::after(prompt) }
    }

    /// Begins the thinking, or ends it.
    pub(crate) fn turn(&mut self) {
        self.stage = if self.is_thinking() { Stage::Thought } else { Stage::Thinking };
    }

    /// The same where the answer goes on with text that it has already: with thinking, or with content.
    pub(crate) fn going_on(self, is_thinking: bool) -> Splitter {
        let stage = if is_thinking { Stage::Thinking } else { Stage::Thought };
        Splitter { stage, reasoning_begun: is_thinking, content_begun: !is_thinking, ..self }
    }

    /// Adds text and returns what is now certain.
    pub fn push(&mut self, text: &str) -> Piece {
        let mut piece = Piece::default();
        self.push_into(text, &mut |is_thinking, text| {
            let side = if is_thinking { &mut piece.reasoning } else { &mut piece.content };
            side.push_str(text);
            false
        });
        piece
    }

    /// The same, with each stretch of text going to `sink` in order. It hears whether that is thinking, and says whether
    /// it is in the middle of what knows no marks, such as a call of a tool.
    pub(crate) fn push_into(&mut self, text: &str, sink: &mut dyn FnMut(bool, &str) -> bool) {
        let mut text = std::mem::take(&mut self.held) + text;
        while self.reads_marks
            && let Some((at, mark, next)) = self.stage.next_mark(&text)
        {
            if self.emit(&text[..at], sink) {
                self.emit(mark, sink);
            } else {
                self.stage = next;
            }
            text.drain(..at + mark.len());
        }
        let marks = if self.reads_marks { self.stage.marks() } else { &[] };
        let held = begun(&text, marks.iter().map(|(mark, _)| *mark));
        self.held = text.split_off(text.len() - held);
        self.emit(&text, sink);
    }

    /// Ends the text: the beginning of a mark that never came is text.
    pub fn finish(&mut self) -> Piece {
        let (held, mut piece) = (std::mem::take(&mut self.held), Piece::default());
        self.emit(&held, &mut |is_thinking, text| {
            let side = if is_thinking { &mut piece.reasoning } else { &mut piece.content };
            side.push_str(text);
            false
        });
        piece
    }

    /// Whether the thinking is open.
    pub fn is_thinking(&self) -> bool {
        self.stage == Stage::Thinking
    }

    /// Gives text to its side, which says whether it is in the middle of what knows no marks.
    fn emit(&mut self, text: &str, sink: &mut dyn FnMut(bool, &str) -> bool) -> bool {
        let is_thinking = self.is_thinking();
        let begun = if is_thinking { &mut self.reasoning_begun } else { &mut self.content_begun };
        let text = if *begun { text } else { text.trim_start() };
        *begun |= !text.is_empty();
        sink(is_thinking, text)
    }
}

impl Stage {
    /// The marks that count now, and where each leads.
    fn marks(self) -> &'static [(&'static str, Stage)] {
        const MARK: [(&str, Stage); 4] = [
            (MARKS[0], Stage::Thinking),
            (MARKS[1], Stage::Thought),
            (MARKS[2], Stage::Answer),
            (MARKS[3], Stage::End),
        ];
        match self {
            Stage::Start => &[MARK[0], MARK[2]],
            Stage::Thinking => &[MARK[1]],
            Stage::Thought => &[MARK[2]],
            Stage::Answer => &[MARK[3]],
            Stage::End => &[],
        }
    }

    /// The first of them in `text`.
    fn next_mark(self, text: &str) -> Option<(usize, &'static str, Stage)> {
        let found = self.marks().iter().filter_map(|&(mark, next)| Some((text.find(mark)?, mark, next)));
        found.min_by_key(|&(at, ..)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(prompt: &str, pieces: &[&str]) -> (String, String) {
        let mut splitter = Splitter::after(prompt);
        let mut whole = Piece::default();
        pieces.iter().for_each(|text| whole += splitter.push(text));
        whole += splitter.finish();
        (whole.reasoning, whole.content)
    }

    #[test]
    fn the_shapes_of_a_reply() {
        let cases = [
            ("", "<think>a</think><answer>b</answer>", "a", "b"),
            ("", "<think>\na\n</think>\n\nb\n", "a\n", "b\n"),
            ("<|assistant|><think>\n", "a</think>b", "a", "b"),
            ("", "plain", "", "plain"),
            ("", "<think>never closed", "never closed", ""),
            ("", "<think>cut in the mark</thi", "cut in the mark</thi", ""),
            ("", "Well. <think>a</think> b", "a", "Well.  b"),
            ("", "<answer>7</answer>", "", "7"),
            ("", "<think>a</think>say <think>", "a", "say <think>"),
            ("", "<think><think>a</think>b</think>", "<think>a", "b</think>"),
            ("", "<answer>1</answer><answer>2</answer>", "", "1<answer>2</answer>"),
            ("", "no opening</think>b", "", "no opening</think>b"),
            ("", "a < b <thin", "", "a < b <thin"),
            ("", "", "", ""),
        ];
        for (prompt, text, reasoning, content) in cases {
            assert_eq!(split(prompt, &[text]), (reasoning.to_owned(), content.to_owned()), "{text}");
        }
    }

    #[test]
    fn text_that_cannot_become_a_mark_is_not_held_back() {
        let mut splitter = Splitter::after("");
        assert_eq!(splitter.push("1 <").content, "1 ");
        assert_eq!(splitter.push("2").content, "<2");
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same(
            parts in prop::collection::vec(prop_oneof![
                prop::sample::select(&MARKS[..]).prop_map(str::to_owned),
                "[ <>/a-z\n🤖é]{0,6}",
            ], 0..12),
            cuts in prop::collection::vec(0usize..80, 0..20),
            opened: bool,
        ) {
            let text = parts.concat();
            let prompt = if opened { "<think>" } else { "" };
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            prop_assert_eq!(split(prompt, &pieces), split(prompt, &[&text]));
        }

        #[test]
        fn nothing_is_lost_but_marks_and_leading_space(text in "[ <>/a-z\n]{0,40}") {
            // Without marks, all is content.
            prop_assume!(MARKS.iter().all(|mark| !text.contains(mark)));
            prop_assert_eq!(split("", &[&text]), (String::new(), text.trim_start().to_owned()));
        }
    }
}
