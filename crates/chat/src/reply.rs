//! From the tokens of one reply to its texts and calls: decoding, end tokens, thinking apart from the answer, calls of
//! tools apart from its text, stop strings.
//!
//! Text passes through in this order: the decoder makes characters of tokens, the splitter takes the thinking out, the
//! tool reader takes the calls out, and stop strings are looked for in what is left, which is the content. gpt-oss's
//! channels take the splitter's place. A mark that the vocabulary has as a special token counts only as that token; any
//! other counts as text.

use crate::reasoning::{Piece, Splitter};
use crate::stop::StopStrings;
use crate::tools::{HARMONY, HarmonyReader, Lexeme, Lexer, Out, ToolReader};
use crate::{ChatFormat, Message, ToolFormat};
use picnic_tokenizer::{DecodeStream, MARKS};
use serde_json::Value;

/// One reply while it is being generated.
pub struct Reply {
    decoder: DecodeStream,
    stops: StopStrings,
    splitter: Splitter,
    /// The tokens that open and close the thinking, if they are no text.
    marks: Option<(Option<u32>, u32)>,
    tools: Option<Tools>,
    /// The prompt from its last mark of a channel on, which tells gpt-oss's answers where they begin.
    last_channel: String,
    /// What depends on the model's vocabulary, from the first token on.
    readers: Option<Readers>,
    /// The thinking, as long as nothing else was said.
    thought: String,
    /// Whether what is no thinking can be nothing but calls.
    is_only_calls: bool,
    has_answer: bool,
    has_calls: bool,
    is_stopped: bool,
    tokens: usize,
    reasoning_tokens: usize,
}

/// The tools of a request.
struct Tools {
    format: ToolFormat,
    tools: Vec<Value>,
    seed: u64,
}

/// What takes the calls out of a text.
struct Readers {
    format: ToolFormat,
    /// Marks that are tokens of their own.
    tokens: Vec<(u32, &'static str)>,
    /// Finds those that are not.
    lexer: Lexer,
    reader: Option<ToolReader>,
    harmony: Option<HarmonyReader>,
}

impl Reply {
    /// A reply to the prompt `prompt` that ends before any of the strings `stops` in its answer. The thinking does not
    /// end there.
    pub fn new(prompt: &str, stops: Vec<String>) -> Reply {
        let last_channel = prompt.rfind(HARMONY[0]).unwrap_or(prompt.len());
        Reply {
            decoder: DecodeStream::new(true),
            stops: StopStrings::new(stops),
            splitter: Splitter::after(prompt),
            marks: None,
            tools: None,
            last_channel: prompt[last_channel..].to_owned(),
            readers: None,
            thought: String::new(),
            is_only_calls: false,
            has_answer: false,
            has_calls: false,
            is_stopped: false,
            tokens: 0,
            reasoning_tokens: 0,
        }
    }

    /// The same for an answer that is held to a form ([`crate::Guide`]). It thinks where the tokens of
    /// [`ChatFormat::thinking_tokens`], given as `marks`, say so, and all the rest is content, whatever it reads like.
    pub fn held(prompt: &str, stops: Vec<String>, marks: Option<(Option<u32>, u32)>) -> Reply {
        Reply { splitter: Splitter::without_marks(prompt), marks, ..Reply::new(prompt, stops) }
    }

    /// The same for an answer that may call `tools`, which are in OpenAI's form, as [`ChatFormat::tool_format`] says that
    /// this model does it. The ids of the calls follow from `seed`.
    pub fn with_tools(self, format: ToolFormat, tools: &[Value], seed: u64) -> Reply {
        let tools = (!tools.is_empty()).then(|| Tools { format, tools: tools.to_vec(), seed });
        Reply { tools, ..self }
    }

    /// The same for an answer that is held to calls and nothing else: the beginning of one that was cut off is no content.
    pub fn only_calls(self) -> Reply {
        Reply { is_only_calls: true, ..self }
    }

    /// The same for an answer that goes on with `message`, which the prompt ends with
    /// ([`crate::ChatOptions::continue_final_message`]).
    pub fn going_on_with(self, message: &Message) -> Reply {
        let is_empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        let is_thinking = is_empty(&message.content) && !is_empty(&message.reasoning_content);
        if is_empty(&message.content) && !is_thinking {
            return self;
        }
        Reply { splitter: self.splitter.going_on(is_thinking), has_answer: !is_thinking, ..self }
    }

    /// Adds a token and returns what is now certain. A token that ends the turn is no part of the text.
    pub fn push(&mut self, chat: &ChatFormat, token: u32) -> Piece {
        self.prepare(chat);
        let was_thinking = self.is_thinking();
        let mut piece = Piece::default();
        if chat.ends().contains(token) {
            self.flush(false, &mut piece);
            // The thinking was never closed: what it came to is the answer.
            if self.is_thinking() && !self.has_answer && !self.is_stopped {
                self.answer_with_the_thought(&mut piece);
            }
            self.end(false, &mut piece);
            self.is_stopped = true;
        } else if self.is_mark(token) {
            self.flush(false, &mut piece);
            self.splitter.turn();
        } else if let Some(mark) = self.mark_of(token) {
            self.flush(false, &mut piece);
            let opens = self.readers.as_ref().is_some_and(|readers| readers.format.opens(mark));
            if opens && self.splitter.is_thinking() {
                self.splitter.turn();
            }
            if !self.splitter.is_thinking() {
                self.sort(Lexeme::Mark(mark, true), &mut piece);
            }
        } else {
            let text = self.decoder.push(chat.tokenizer(), token);
            self.read(&text, &mut piece);
        }
        self.tokens += 1;
        self.reasoning_tokens += usize::from(was_thinking || self.is_thinking());
        piece
    }

    /// Adds text that was decoded elsewhere, for tests and fuzzers, which cut it as they like.
    #[doc(hidden)]
    pub fn push_text(&mut self, chat: &ChatFormat, text: &str) -> Piece {
        self.prepare(chat);
        let mut piece = Piece::default();
        self.read(text, &mut piece);
        piece
    }

    /// Ends a reply of which no more is drawn, because it may not be longer: what was held back as the beginning of a character,
    /// of a stop string or of thinking is text. A call whose name is known is one, with the arguments so far; one that was cut
    /// off before that, perhaps within its mark, is left out.
    pub fn finish(&mut self) -> Piece {
        let mut piece = Piece::default();
        if !self.is_stopped {
            self.flush(true, &mut piece);
            self.end(true, &mut piece);
        }
        piece
    }

    /// Whether the reply came to its end by a token or a stop string.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Whether the reply has called a tool.
    pub fn has_calls(&self) -> bool {
        self.has_calls
    }

    /// The stop string that ended the reply, if one did.
    pub fn stop_string(&self) -> Option<&str> {
        self.stops.found()
    }

    /// Tokens so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Those of them that are thinking, its marks included.
    pub fn reasoning_tokens(&self) -> usize {
        self.reasoning_tokens
    }

    /// Finds out what the vocabulary of `chat` makes of the marks.
    fn prepare(&mut self, chat: &ChatFormat) {
        if self.readers.is_some() {
            return;
        }
        let (format, tools, seed) = match &self.tools {
            Some(Tools { format, tools, seed }) => (Some(*format), tools.as_slice(), *seed),
            None if chat.tool_format() == ToolFormat::Harmony => (Some(ToolFormat::Harmony), [].as_slice(), 0),
            None => (None, [].as_slice(), 0),
        };
        let tokenizer = chat.tokenizer();
        let (mut tokens, mut texts) = (Vec::new(), Vec::new());
        for &mark in format.map_or([].as_slice(), ToolFormat::marks) {
            match tokenizer.token_to_id(mark).filter(|&id| tokenizer.is_special(id)) {
                Some(id) => tokens.push((id, mark)),
                None => texts.push(mark),
            }
        }
        let is_harmony = format == Some(ToolFormat::Harmony);
        let harmony = is_harmony.then(|| HarmonyReader::after(&self.last_channel, tools, seed));
        let reader = format.filter(|_| !is_harmony).map(|format| ToolReader::new(format, tools, seed));
        let format = format.unwrap_or_default();
        self.readers = Some(Readers { format, tokens, lexer: Lexer::new(texts), reader, harmony });
    }

    fn is_thinking(&self) -> bool {
        match self.readers.as_ref().and_then(|readers| readers.harmony.as_ref()) {
            Some(harmony) => harmony.is_thinking(),
            None => self.splitter.is_thinking(),
        }
    }

    /// Whether a token opens or closes the thinking and is no text.
    fn is_mark(&self, token: u32) -> bool {
        self.marks.is_some_and(|(open, close)| match self.splitter.is_thinking() {
            true => token == close,
            false => self.tokens == 0 && open == Some(token),
        })
    }

    /// The mark of a call that is this token.
    fn mark_of(&self, token: u32) -> Option<&'static str> {
        let marks = &self.readers.as_ref()?.tokens;
        marks.iter().find(|(id, _)| *id == token).map(|(_, mark)| *mark)
    }

    fn read(&mut self, text: &str, piece: &mut Piece) {
        let Some(readers) = &mut self.readers else { return };
        if readers.harmony.is_some() {
            for lexeme in readers.lexer.push(text) {
                self.sort(lexeme, piece);
            }
            return;
        }
        let mut outs = Vec::new();
        let Readers { lexer, reader, .. } = readers;
        self.splitter.push_into(text, &mut |is_thinking, text| match reader {
            Some(reader) if !is_thinking => {
                lexer.push(text).iter().for_each(|lexeme| reader.push(lexeme, &mut outs));
                reader.is_inside()
            }
            _ => {
                let text = text.to_owned();
                outs.push(if is_thinking { Out::Reasoning(text) } else { Out::Content(text) });
                false
            }
        });
        self.put(outs, piece);
    }

    /// Gives a part of the answer to whoever reads the calls.
    fn sort(&mut self, lexeme: Lexeme, piece: &mut Piece) {
        let mut outs = Vec::new();
        if let Some(readers) = &mut self.readers {
            match (&mut readers.harmony, &mut readers.reader, lexeme) {
                (Some(harmony), _, lexeme) => harmony.push(&lexeme, &mut outs),
                (None, Some(reader), lexeme) => reader.push(&lexeme, &mut outs),
                (None, None, Lexeme::Text(text)) => outs.push(Out::Content(text)),
                (None, None, Lexeme::Mark(..)) => {}
            }
        }
        self.put(outs, piece);
    }

    /// Looks for stop strings and adds what comes before them to `piece`.
    fn put(&mut self, outs: impl IntoIterator<Item = Out>, piece: &mut Piece) {
        for out in outs {
            if self.is_stopped {
                return;
            }
            match out {
                Out::Reasoning(text) => {
                    if !self.has_answer {
                        self.thought += &text;
                    }
                    piece.reasoning += &text;
                }
                Out::Content(_) if self.is_only_calls => {}
                Out::Content(text) => {
                    self.has_answer |= !text.trim().is_empty();
                    let (text, is_stopped) = self.stops.push(&text);
                    piece.content += &text;
                    self.is_stopped = is_stopped;
                }
                Out::Call(call) => {
                    (self.has_answer, self.has_calls) = (true, true);
                    piece.content += &self.stops.finish();
                    *piece += Piece { calls: vec![call], ..Piece::default() };
                }
            }
        }
    }

    /// What was held back as the beginning of a character or of a mark is text, but for a good part of a call's mark at the end
    /// of an answer that `is_cut`.
    fn flush(&mut self, is_cut: bool, piece: &mut Piece) {
        // Of a bracket alone nobody knows what it would have been.
        let rest_of = |lexer: &mut Lexer| match lexer.finish() {
            mark if is_cut && mark.chars().count() > 2 => String::new(),
            text => text,
        };
        let rest = std::mem::replace(&mut self.decoder, DecodeStream::new(true)).finish();
        self.read(&rest, piece);
        let Piece { reasoning, content, .. } = self.splitter.finish();
        self.put([Out::Reasoning(reasoning)], piece);
        let held = match &mut self.readers {
            Some(readers) if readers.reader.is_some() => {
                let lexemes = readers.lexer.push(&content);
                lexemes.into_iter().chain([Lexeme::Text(rest_of(&mut readers.lexer))]).collect()
            }
            Some(readers) => vec![Lexeme::Text(content), Lexeme::Text(rest_of(&mut readers.lexer))],
            None => Vec::new(),
        };
        held.into_iter().for_each(|lexeme| self.sort(lexeme, piece));
    }

    /// Nothing more comes: the model has ended its turn, or the answer `is_cut`.
    fn end(&mut self, is_cut: bool, piece: &mut Piece) {
        let mut outs = Vec::new();
        if let Some(Readers { reader, harmony, .. }) = &mut self.readers {
            reader.iter_mut().for_each(|reader| reader.finish(is_cut, &mut outs));
            harmony.iter_mut().for_each(|harmony| harmony.finish(is_cut, &mut outs));
        }
        self.put(outs, piece);
        if !self.is_stopped {
            piece.content += &self.stops.finish();
        }
    }

    /// Gives the thinking as the answer too: what stands behind `<answer>` in it, or else all of it.
    fn answer_with_the_thought(&mut self, piece: &mut Piece) {
        self.is_only_calls = false;
        let thought = std::mem::take(&mut self.thought);
        let answer = thought.rsplit_once(MARKS[2]).map_or(thought.as_str(), |(_, answer)| answer);
        let answer = answer.split_once(MARKS[3]).map_or(answer, |(answer, _)| answer).trim();
        let lexemes = match &mut self.readers {
            Some(readers) if readers.reader.is_some() => {
                let lexemes = readers.lexer.push(answer);
                lexemes.into_iter().chain([Lexeme::Text(readers.lexer.finish())]).collect()
            }
            _ => {
                self.put([Out::Content(answer.to_owned())], piece);
                Vec::new()
            }
        };
        lexemes.into_iter().for_each(|lexeme| self.sort(lexeme, piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::bytes;

    /// The two texts of `said`, its tokens drawn until the reply stops, and whether it did.
    fn reply(said: &str, stops: &[&str]) -> (Piece, bool) {
        let chat = ChatFormat::picnic(bytes());
        let mut reply = Reply::new("", stops.iter().map(|&stop| stop.to_owned()).collect());
        let mut whole = Piece::default();
        for id in chat.tokenizer().encode(said, false).unwrap() {
            if reply.is_stopped() {
                break;
            }
            whole += reply.push(&chat, id);
        }
        if !reply.is_stopped() {
            whole += reply.finish();
        }
        (whole, reply.is_stopped())
    }

    #[test]
    fn a_reply_ends_by_a_token_a_stop_string_or_not_at_all() {
        let piece = |reasoning: &str, content: &str| Piece {
            reasoning: reasoning.into(),
            content: content.into(),
            ..Piece::default()
        };
        assert_eq!(reply("<think>a</think>b<|eos|>c", &[]), (piece("a", "b"), true));
        assert_eq!(reply("<think>a</think>b, c", &[", "]), (piece("a", "b"), true));
        assert_eq!(reply("<think>a, b</think>c", &[", "]), (piece("a, b", "c"), false), "stop strings end no thinking");
        // The thinking was never closed.
        assert_eq!(reply("<think>a<|eos|>", &[]), (piece("a", "a"), true));
        assert_eq!(reply("<think>so <answer>7</answer><|eos|>", &[]), (piece("so <answer>7</answer>", "7"), true));
        // Held back as what might become a stop string, a mark or a character.
        assert_eq!(reply("a,<|eos|>", &[", "]), (piece("", "a,"), true));
        assert_eq!(reply("a,", &[", "]), (piece("", "a,"), false));
        assert_eq!(reply("<think>a</thin", &[]), (piece("a</thin", ""), false));
    }

    #[test]
    fn the_beginning_of_a_call_is_no_content_where_nothing_but_calls_can_come() {
        let chat = ChatFormat::picnic(bytes());
        let tools = [serde_json::json!({"type": "function", "function": {"name": "f"}})];
        let call = r#"<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>"#;
        for end in 1..=call.len() {
            let mut reply = Reply::held("", Vec::new(), None).with_tools(ToolFormat::Hermes, &tools, 1).only_calls();
            let mut whole = reply.push_text(&chat, &call[..end]);
            whole += reply.finish();
            assert_eq!(whole.content, "", "{}", &call[..end]);
        }
    }

    #[test]
    fn an_answer_that_is_held_to_a_form_quotes_whatever_it_likes() {
        let chat = ChatFormat::picnic(bytes());
        let marks = chat.thinking_tokens("");
        // The marks spelled byte by byte, which the vocabulary would read as one token each.
        let spelled = |text: &str| -> Vec<u32> {
            let bytes = text.as_bytes().iter();
            let id = |byte: &u8| (0..264).find(|&id| chat.tokenizer().token_bytes(id) == Some(vec![*byte]));
            bytes.map(|byte| id(byte).unwrap()).collect()
        };
        let read = |prompt: &str, stops: Vec<String>, marks, ids: Vec<u32>| {
            let (mut reply, mut whole) = (Reply::held(prompt, stops, marks), Piece::default());
            ids.into_iter().for_each(|id| whole += reply.push(&chat, id));
            whole += reply.finish();
            (whole.reasoning, whole.content, reply.reasoning_tokens())
        };
        let (open, close) = (marks.unwrap().0.unwrap(), marks.unwrap().1);
        let json = r#" {"a": "<think>b</think><answer>c</answer>"}"#;
        assert_eq!(read("", Vec::new(), marks, spelled(json)), (String::new(), json.to_owned(), 0));
        let thought = [vec![open], spelled("a</think>"), vec![close], spelled(json)].concat();
        assert_eq!(read("", Vec::new(), marks, thought), ("a</think>".to_owned(), json.to_owned(), 11));
        // Half a character and the beginning of a stop string do not pass from one side to the other.
        let cut = [spelled("a, é")[..4].to_vec(), vec![close], spelled("7")].concat();
        let read_cut = read("<think>", vec![", é".to_owned()], Some((None, close)), cut);
        assert_eq!(read_cut, ("a, \u{fffd}".to_owned(), "7".to_owned(), 5));
        // A model without such tokens: all is content.
        assert_eq!(read("", Vec::new(), None, spelled("<think>")), (String::new(), "<think>".to_owned(), 0));
    }
}
