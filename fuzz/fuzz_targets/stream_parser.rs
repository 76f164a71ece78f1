//! Replies: however an answer is cut, its thinking, content and calls are the same, and they are made of the answer's text.
//!
//! Four bytes choose how the reply is read, the rest is the answer: ASCII stands for itself, a byte of 1 is a cut, and bytes
//! above ASCII stand for what means something to a parser, as text or as a token of the vocabulary.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use picnic_chat::{ChatFormat, Message, Piece, Reply, Splitter, ToolFormat};
use picnic_tokenizer::{Tokenizer, TrainConfig};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// Marks of thinking and of calls. The first four are text in every vocabulary.
const MARKS: [&str; 22] = [
    "<think>", "</think>", "<answer>", "</answer>", "<tool_call>", "</tool_call>", "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<|python_tag|>",
    "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>",
    "<|call|>", "<|return|>",
];

/// What else calls are made of.
const PARTS: [&str; 32] = [
    "{\"name\": \"f\", \"arguments\": {", "{\"name\": \"f\", \"parameters\": {}}", "\"name\"", "\"arguments\": ",
    "{\"type\": \"function\", \"function\": ", "\"a\": \"", "\"n\": -1.5e3", "}}", "[{", "}]", "\\\"", "\\u00e9",
    "\\ud800", "true", "null", "function", "```json\n", "\n```", "<function=f>", "</function>", "<parameter=a>",
    "</parameter>", " to=functions.f", "analysis", "commentary", "final", "assistant", "json", "é", "🤖", "</thin",
    "\"{\\\"n\\\": 1}\"",
];

const STOPS: [&str; 8] = ["", "\n", "x", "}", "</", "ab", "<tool_call>", "é"];

const PROMPTS: [&str; 8] = [
    "", "<think>", "<think>\n", "<think>a</think>", "<|start|>assistant",
    "<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>final<|message|>So", "<answer>",
];

/// Vocabularies in which marks are text, in which they are tokens, and the latter of a model that has no channels.
static CHATS: LazyLock<[Vocabulary; 3]> = LazyLock::new(|| {
    let train = |special: &[&str]| {
        let mut config = TrainConfig::default();
        config.special_tokens.extend(special.iter().map(|mark| (*mark).to_owned()));
        config.vocab_size = 256 + config.special_tokens.len() + config.added_tokens.len();
        ChatFormat::picnic(Tokenizer::train([""], &config).expect("a vocabulary of bytes"))
    };
    let marked = train(&MARKS[4..]);
    [train(&[]), marked.clone(), marked.with_tool_format(ToolFormat::Hermes)].map(Vocabulary::of)
});

static TOOLS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let parameters = json!({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}});
    vec![json!({"type": "function", "function": {"name": "f", "parameters": parameters}})]
});

struct Vocabulary {
    chat: ChatFormat,
    /// The tokens of single bytes.
    bytes: Vec<u32>,
    /// The tokens of the thinking behind each prompt.
    thinking: [Option<(Option<u32>, u32)>; 8],
}

impl Vocabulary {
    fn of(chat: ChatFormat) -> Vocabulary {
        let tokenizer = chat.tokenizer();
        let ids = || 0..tokenizer.vocab_size() as u32;
        let id = |byte| ids().find(|&id| tokenizer.token_bytes(id) == Some(vec![byte])).expect("a token of each byte");
        let thinking = PROMPTS.map(|prompt| chat.thinking_tokens(prompt));
        Vocabulary { bytes: (0..=u8::MAX).map(id).collect(), thinking, chat }
    }
}

/// A part of an answer.
enum Said {
    Text { text: String, cuts: Vec<usize> },
    Token { id: u32, mark: &'static str },
}

/// An answer, and how it is read.
struct Case {
    vocabulary: &'static Vocabulary,
    format: ToolFormat,
    has_tools: bool,
    is_held: bool,
    goes_on: Option<Message>,
    /// Which of the prompts is answered.
    prompt: usize,
    stops: Vec<String>,
    said: Vec<Said>,
    /// Whether a token ends it, or else a limit.
    ends: bool,
}

/// How text is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Nowhere,
    AsMarked,
    /// Wherever this says.
    Anyhow(u8),
    /// Into tokens of one byte.
    Bytes,
}

/// What an answer is read as.
#[derive(Debug, Default, PartialEq)]
struct Read {
    piece: Piece,
    is_stopped: bool,
    stop: Option<String>,
    has_calls: bool,
}

impl Case {
    fn of(bytes: &[u8]) -> Option<Case> {
        let (&[how, chat, stops, _], bytes) = bytes.split_first_chunk()?;
        let vocabulary = &CHATS[usize::from(chat >> 3) % 3];
        let going_on = [
            None,
            None,
            Some(Message::assistant("So")),
            Some(Message { content: None, reasoning_content: Some("So".to_owned()), ..Message::assistant("") }),
        ];
        let mut case = Case {
            vocabulary,
            format: ToolFormat::ALL[usize::from(how & 7)],
            has_tools: how & 8 == 0,
            is_held: how & 32 != 0,
            goes_on: going_on[usize::from(how >> 6)].clone(),
            prompt: usize::from(chat & 7),
            stops: [stops & 7, stops >> 4 & 7].map(|stop| STOPS[usize::from(stop)].to_owned()).to_vec(),
            said: Vec::new(),
            ends: how & 16 == 0,
        };
        let tokenizer = vocabulary.chat.tokenizer();
        for &byte in bytes {
            let at = usize::from(byte & 0x3f);
            let mark = MARKS[at % MARKS.len()];
            match byte {
                1 => {
                    let (text, cuts) = case.text();
                    cuts.push(text.len());
                }
                // Two of it are longer than a call that is held back.
                0xfe.. => case.text().0.push_str(&"x".repeat(300)),
                // The thinking of an answer that is held to a form opens with its first token or not at all.
                0xc0.. if mark == MARKS[0] && case.is_held && !case.said.is_empty() => case.text().0.push_str(mark),
                0xc0.. => match tokenizer.token_to_id(mark) {
                    Some(id) => case.said.push(Said::Token { id, mark }),
                    None => case.text().0.push_str(mark),
                },
                0x80.. => case.text().0.push_str(MARKS.iter().chain(&PARTS).nth(at).unwrap_or(&"f")),
                byte => case.text().0.push(char::from(byte)),
            }
        }
        Some(case)
    }

    /// The text at the end, and where it is cut.
    fn text(&mut self) -> (&mut String, &mut Vec<usize>) {
        if !matches!(self.said.last(), Some(Said::Text { .. })) {
            self.said.push(Said::Text { text: String::new(), cuts: Vec::new() });
        }
        match self.said.last_mut() {
            Some(Said::Text { text, cuts }) => (text, cuts),
            _ => unreachable!("it was pushed"),
        }
    }

    fn reply(&self) -> Reply {
        let (prompt, stops) = (PROMPTS[self.prompt], self.stops.clone());
        let mut reply = match self.is_held {
            true => Reply::held(prompt, stops, self.vocabulary.thinking[self.prompt]),
            false => Reply::new(prompt, stops),
        };
        if self.has_tools {
            reply = reply.with_tools(self.format, &TOOLS, 7);
        }
        match &self.goes_on {
            Some(message) => reply.going_on_with(message),
            None => reply,
        }
    }

    fn read(&self, cut: Cut) -> Read {
        let Vocabulary { chat, bytes, .. } = self.vocabulary;
        let (mut reply, mut read) = (self.reply(), Read::default());
        let end = self.ends.then(|| chat.tokenizer().eos().expect("an end"));
        for said in self.said.iter().chain(&end.map(|id| Said::Token { id, mark: "" })) {
            match (said, cut) {
                (Said::Token { id, .. }, _) => read.add(&mut reply, |reply| reply.push(chat, *id)),
                (Said::Text { text, .. }, Cut::Bytes) => text
                    .bytes()
                    .for_each(|byte| read.add(&mut reply, |reply| reply.push(chat, bytes[usize::from(byte)]))),
                (Said::Text { text, cuts }, cut) => {
                    pieces(text, cuts, cut).for_each(|text| read.add(&mut reply, |reply| reply.push_text(chat, text)))
                }
            }
        }
        read.add(&mut reply, Reply::finish);
        Read { is_stopped: reply.is_stopped(), stop: reply.stop_string().map(str::to_owned), ..read }
    }

    /// The whole answer. Marks that are tokens are a part of it.
    fn whole(&self) -> String {
        let text = |said: &Said| match said {
            Said::Text { text, .. } => text.clone(),
            Said::Token { mark, .. } => (*mark).to_owned(),
        };
        self.said.iter().map(text).collect()
    }

    /// Whether the answer's channels are read.
    fn has_channels(&self) -> bool {
        let format = if self.has_tools { self.format } else { self.vocabulary.chat.tool_format() };
        format == ToolFormat::Harmony
    }

    /// Whether tokens mean something that their text does not.
    fn has_tokens(&self) -> bool {
        let is_text = |mark: &str| MARKS[..4].contains(&mark) && !self.is_held;
        self.said.iter().any(|said| matches!(said, Said::Token { mark, .. } if !is_text(mark)))
    }
}

/// The pieces of `text`.
fn pieces<'t>(text: &'t str, cuts: &[usize], cut: Cut) -> impl Iterator<Item = &'t str> {
    let mut ends: Vec<usize> = match cut {
        Cut::Nowhere | Cut::Bytes => Vec::new(),
        Cut::AsMarked => cuts.to_vec(),
        Cut::Anyhow(seed) => {
            // The upper digits of a linear congruential generator.
            let mut state = u32::from(seed);
            let mut is_end = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 30 == 0
            };
            text.char_indices().filter(|_| is_end()).map(|(at, _)| at).collect()
        }
    };
    ends.push(text.len());
    ends.into_iter().scan(0, move |from, end| Some(&text[std::mem::replace(from, end)..end]))
}

impl Read {
    /// Adds what comes next, unless nothing does. Parts of a call come in order, and the first of them alone has its name.
    fn add(&mut self, reply: &mut Reply, more: impl FnOnce(&mut Reply) -> Piece) {
        if reply.is_stopped() {
            return;
        }
        let more = more(reply);
        for call in &more.calls {
            let known = self.piece.calls.len();
            let has_name = call.name.as_ref().is_some_and(|name| !name.trim().is_empty());
            let is_first = call.index == known && call.id.is_some() && has_name;
            let is_more = call.index + 1 == known && call.id.is_none() && call.name.is_none();
            assert!(is_first || is_more, "{call:?} after {known}");
            self.piece += Piece { calls: vec![call.clone()], ..Piece::default() };
        }
        self.piece += Piece { calls: Vec::new(), ..more };
        self.has_calls = reply.has_calls();
    }
}

/// Thinking and answer of a text without tools, character by character.
fn slow(case: &Case) -> (String, String) {
    let (mut rest, whole) = (0, case.whole());
    let (mut reasoning, mut content) = (String::new(), String::new());
    let mut stage = usize::from(Splitter::after(PROMPTS[case.prompt]).is_thinking());
    let is_stopped = |content: &mut String| {
        let stops = case.stops.iter().filter(|stop| !stop.is_empty() && content.ends_with(*stop)).map(String::len);
        stops.max().inspect(|length| content.truncate(content.len() - length)).is_some()
    };
    while let Some(c) = whole[rest..].chars().next() {
        // Before the thinking, in it, behind it, in the answer, behind it: which marks count, and where they lead.
        let marks: &[usize] = [&[0, 2][..], &[1], &[2], &[3], &[]][stage];
        if let Some(&mark) = marks.iter().find(|mark| whole[rest..].starts_with(MARKS[**mark])) {
            stage = mark + 1;
            rest += MARKS[mark].len();
            continue;
        }
        rest += c.len_utf8();
        let side = if stage == 1 { &mut reasoning } else { &mut content };
        if !(side.is_empty() && c.is_whitespace()) {
            side.push(c);
            if stage != 1 && is_stopped(&mut content) {
                return (reasoning, content);
            }
        }
    }
    if case.ends && stage == 1 && content.trim().is_empty() {
        let answer = reasoning.rsplit_once(MARKS[2]).map_or(reasoning.as_str(), |(_, answer)| answer);
        let answer = answer.split_once(MARKS[3]).map_or(answer, |(answer, _)| answer).trim();
        for c in answer.chars() {
            content.push(c);
            if is_stopped(&mut content) {
                break;
            }
        }
    }
    (reasoning, content)
}

/// Without white space.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Whether `part` is what is left of `text` when some of it is left out.
fn is_left_of(part: &str, text: &str) -> bool {
    let mut text = text.chars();
    part.chars().all(|c| text.any(|other| other == c))
}

/// What is read of an answer is made of its text.
fn check(case: &Case, read: &Read) {
    let Piece { reasoning, content, calls } = &read.piece;
    let whole = case.whole();
    let goes_on = case.goes_on.is_some();
    // An answer that is all thinking is told twice.
    let is_twice = case.ends && !reasoning.is_empty();
    assert_eq!(read.has_calls, !calls.is_empty());
    assert!(case.has_tools || calls.is_empty());
    assert!(is_left_of(&bare(reasoning), &bare(&whole)), "{whole:?} {read:?}");
    assert!(is_twice || is_left_of(&bare(content), &bare(&whole)), "{whole:?} {read:?}");
    if case.ends || read.is_stopped {
        for call in calls.iter().filter(|_| whole.len() < 512) {
            let is_json = serde_json::from_str::<IgnoredAny>(&call.arguments).is_ok();
            assert!(is_json && call.arguments.trim_start().starts_with('{'), "{whole:?} {read:?}");
        }
    }
    if case.has_tokens() {
        return;
    }
    if case.has_channels() {
        let is_plain = MARKS[15..].iter().all(|mark| !whole.contains(mark) && !PROMPTS[case.prompt].contains(mark));
        assert!(!is_plain || read.stop.is_some() || *content == whole.trim_start(), "{whole:?} {read:?}");
    } else if !case.has_tools && !case.is_held && !goes_on {
        let (slow_reasoning, slow_content) = slow(case);
        assert_eq!((reasoning, content), (&slow_reasoning, &slow_content), "{whole:?}");
    } else if calls.is_empty() && read.stop.is_none() && !is_twice {
        // Nothing but marks of the thinking is missing, each once at most.
        let missing = bare(&whole).len() - bare(reasoning).len() - bare(content).len();
        let sum =
            |chosen: usize| (0..4).filter(|mark| chosen >> mark & 1 == 1).map(|mark| MARKS[mark].len()).sum::<usize>();
        let most = if case.is_held { 1 } else { 16 };
        assert!((0..most).any(|chosen| sum(chosen) == missing), "{missing} of {whole:?} {read:?}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some(case) = Case::of(bytes) else { return };
    let whole = case.read(Cut::Nowhere);
    for cut in [Cut::AsMarked, Cut::Anyhow(bytes[3]), Cut::Bytes] {
        assert_eq!(case.read(cut), whole, "{cut:?} of {:?}", case.whole());
    }
    check(&case, &whole);
});
