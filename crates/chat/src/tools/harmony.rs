//! The channels of gpt-oss's format: `analysis` is thinking, `final` is the answer, and a message to a recipient is a
//! call.
//!
//! ```text
//! <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>
//! <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
//!  to=functions.NAME<|channel|>commentary json<|message|>{…}<|call|>
//! ```
//! The second is how OpenAI's own renderer writes a call, and so how it may begin an answer: behind the role, which the
//! prompt ends with. A message in `commentary` without a recipient is content: what the model says before it calls. An
//! answer without any channel is content. Without tools in the request, a message to one is content too. Whatever channel a
//! message to a tool is in, it is a call: models take `analysis` for it as well.

use super::{HARMONY, Lexeme, Out, ToolFormat, ToolReader, functions};
use serde_json::Value;

const CHANNEL: &str = HARMONY[0];
const MESSAGE: &str = HARMONY[1];
const START: &str = HARMONY[2];
/// Before the recipient of a message.
const TO: &str = "to=";
/// Bytes of a recipient at most, before the first mark of an answer.
const RECIPIENT: usize = 200;

/// Sorts the lexemes of an answer by its channels.
#[derive(Clone, Debug)]
pub(crate) struct HarmonyReader {
    place: Place,
    /// The header of a message, with its marks. At the start, what may be the first one's recipient.
    header: String,
    reader: ToolReader,
    /// The functions that there are.
    names: Vec<String>,
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
        let names = functions(tools).map(|(name, _)| name.to_owned()).collect();
        HarmonyReader { place, header: String::new(), reader, names, has_content }
    }

    /// Whether the thinking is open.
    pub(crate) fn is_thinking(&self) -> bool {
        self.place == Place::Analysis
    }

    pub(crate) fn push(&mut self, lexeme: &Lexeme, out: &mut Vec<Out>) {
        match lexeme {
            Lexeme::Text(text) if text.is_empty() => {}
            Lexeme::Text(text) if self.place == Place::Start && !self.has_content => {
                self.header += text;
                if !may_be_recipient(&self.header) {
                    self.give_back(out);
                }
            }
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
        // The beginning of a header that is cut off says nothing to anybody.
        if self.place == Place::Start && !(is_cut && self.header.trim_start().starts_with(TO)) {
            self.give_back(out);
        }
        if self.place == Place::Header && !is_cut {
            // A header that never became a message.
            let header = std::mem::take(&mut self.header);
            let text = header.trim_start_matches(START).trim_start_matches("assistant");
            if !text.is_empty() {
                out.push(Out::Content(text.to_owned()));
            }
        }
        self.place = Place::Between;
    }

    /// What was held back at the start is content.
    fn give_back(&mut self, out: &mut Vec<Out>) {
        let text = std::mem::take(&mut self.header);
        let text = text.trim_start();
        if !text.is_empty() {
            self.has_content = true;
            out.push(Out::Content(text.to_owned()));
        }
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
                match self.place {
                    Place::Header => {}
                    Place::Start if mark == CHANNEL => {}
                    Place::Start => self.give_back(out),
                    _ => self.header.clear(),
                }
                self.header += mark;
                self.place = Place::Header;
            }
            _ => {
                if self.place == Place::Start {
                    self.give_back(out);
                }
                self.place = Place::Between;
            }
        }
    }

    /// The header is whole: what is its message?
    fn message(&mut self) {
        let header = std::mem::take(&mut self.header) + MESSAGE;
        let channel = header.split_once(CHANNEL).map_or("", |(_, channel)| channel.trim_start());
        let recipient = header.split_once(TO).map(|(_, after)| {
            let end = after.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(after.len());
            let name = after[..end].strip_prefix("functions.").unwrap_or(&after[..end]);
            // The kind of the content may be glued to it.
            let is_known = |name: &str| self.names.iter().any(|known| known == name);
            let short = name.strip_suffix("json").filter(|short| !is_known(name) && is_known(short));
            short.unwrap_or(name).to_owned()
        });
        self.place = match recipient.filter(|name| !self.names.is_empty() && !name.is_empty()) {
            Some(name) => {
                self.reader.open(header, name);
                Place::Call
            }
            None if channel.starts_with("analysis") => Place::Analysis,
            None => Place::Content,
        };
    }
}

/// Whether `text` may become ` to=NAME`, with which the header of a call begins.
fn may_be_recipient(text: &str) -> bool {
    let text = text.trim_start();
    match text.strip_prefix(TO) {
        Some(name) => name.len() <= RECIPIENT && !name.contains(char::is_whitespace),
        None => TO.starts_with(text),
    }
}
