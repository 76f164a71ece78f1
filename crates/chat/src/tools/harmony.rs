//! The channels of gpt-oss's format: `analysis` is thinking, `final` is the answer, and a message to a recipient is a
//! call.
//!
//! ```text
//! <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>
//! <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
//! ```
//! A message in `commentary` without a recipient is content: what the model says before it calls. An answer without any
//! channel is content. Without tools in the request, a message to one is content too.

use super::{HARMONY, Lexeme, Out, ToolFormat, ToolReader};
use serde_json::Value;

const CHANNEL: &str = HARMONY[0];
const MESSAGE: &str = HARMONY[1];
const START: &str = HARMONY[2];

/// Sorts the lexemes of an answer by its channels.
#[derive(Clone, Debug)]
pub(crate) struct HarmonyReader {
    place: Place,
    /// The header of a message, with its marks.
    header: String,
    reader: ToolReader,
    has_tools: bool,
    has_content: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Before the first message, where text without a header is content.
    Start,
    Header,
    Analysis,
    Content,
    Call,
    /// Between a message's end and the next header.
    Between,
}

impl HarmonyReader {
    /// A reader of a reply. `prompt` is the prompt from its last mark of a channel on: the reply may go on with a message.
    pub(crate) fn after(prompt: &str, tools: &[Value], seed: u64) -> HarmonyReader {
        let message = prompt.strip_prefix(CHANNEL).and_then(|rest| rest.split_once(MESSAGE));
        let message = message.filter(|(_, body)| !HARMONY.iter().any(|mark| body.contains(mark)));
        let place = match message {
            Some((channel, _)) if channel.trim() == "analysis" => Place::Analysis,
            Some(_) => Place::Content,
            None => Place::Start,
        };
        let has_content = message.is_some_and(|(_, body)| place == Place::Content && !body.trim().is_empty());
        let reader = ToolReader::new(ToolFormat::Harmony, tools, seed);
        HarmonyReader { place, header: String::new(), reader, has_tools: !tools.is_empty(), has_content }
    }

    /// Whether the thinking is open.
    pub(crate) fn is_thinking(&self) -> bool {
        self.place == Place::Analysis
    }

    pub(crate) fn push(&mut self, lexeme: &Lexeme, out: &mut Vec<Out>) {
        match lexeme {
            Lexeme::Text(text) if text.is_empty() => {}
            Lexeme::Text(text) => match self.place {
                Place::Header => self.header += text,
                Place::Analysis => out.push(Out::Reasoning(text.clone())),
                Place::Call => self.reader.push(lexeme, out),
                Place::Start | Place::Content | Place::Between => {
                    let begun = self.has_content || !text.trim().is_empty();
                    if begun {
                        let text = if self.has_content { text.as_str() } else { text.trim_start() };
                        self.has_content = true;
                        out.push(Out::Content(text.to_owned()));
                    }
                }
            },
            Lexeme::Mark(mark, is_token) => self.mark(mark, *is_token, out),
        }
    }

    pub(crate) fn finish(&mut self, is_cut: bool, out: &mut Vec<Out>) {
        self.end(is_cut, out);
        if self.place == Place::Header {
            // A header that never became a message.
            let header = std::mem::take(&mut self.header);
            let text = header.trim_start_matches(START).trim_start_matches("assistant");
            if !text.is_empty() {
                out.push(Out::Content(text.to_owned()));
            }
        }
        self.place = Place::Between;
    }

    /// Ends a call, which is content if it is not whole, unless the answer `is_cut`.
    fn end(&mut self, is_cut: bool, out: &mut Vec<Out>) {
        if self.place == Place::Call {
            self.reader.finish(is_cut, out);
        }
    }

    fn mark(&mut self, mark: &'static str, is_token: bool, out: &mut Vec<Out>) {
        if self.place == Place::Call && !is_token && self.reader.is_in_text() {
            // Written out, it stands in a string of the arguments.
            return self.reader.push(&Lexeme::Mark(mark, false), out);
        }
        self.end(false, out);
        match mark {
            _ if mark == MESSAGE && self.place == Place::Header => self.message(),
            _ if mark == CHANNEL || mark == START || self.place == Place::Header => {
                if self.place != Place::Header {
                    self.header.clear();
                }
                self.header += mark;
                self.place = Place::Header;
            }
            _ => self.place = Place::Between,
        }
    }

    /// The header is whole: what is its message?
    fn message(&mut self) {
        let header = std::mem::take(&mut self.header) + MESSAGE;
        let channel = header.split_once(CHANNEL).map_or("", |(_, channel)| channel.trim_start());
        let recipient = header.split_once("to=").map(|(_, after)| {
            let end = after.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(after.len());
            after[..end].strip_prefix("functions.").unwrap_or(&after[..end]).to_owned()
        });
        self.place = match recipient.filter(|name| self.has_tools && !name.is_empty()) {
            Some(name) => {
                self.reader.open(header, name);
                Place::Call
            }
            None if channel.starts_with("analysis") => Place::Analysis,
            None => Place::Content,
        };
    }
}
