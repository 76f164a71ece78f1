//! [`ToolReader`]: content and calls apart, while an answer is being written.
//!
//! The text is read character by character and each decision hangs on the characters so far, so the outcome does not
//! depend on how the text is cut. A call is held back until its name is known and its first argument has begun, and comes
//! as it is written from there on; one of a list, or one that does not begin with its name, comes once it is whole. What
//! turns out to be no call before a part of it is out is content, with its marks; after that, the rest goes to its
//! arguments.

use super::json::{Scanner, Step, members, parts};
use super::{CALL, CallDelta, DEEPSEEK, MISTRAL, ToolFormat, functions, id, xml};
use crate::stop::begun;
use serde_json::Value;

/// Bytes of what stands before a call's JSON at most.
const HEAD: usize = 512;

/// A part of an answer's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lexeme {
    Text(String),
    /// A mark, and whether it was a token of its own, which no text can be.
    Mark(&'static str, bool),
}

/// What is certain of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    Reasoning(String),
    Content(String),
    Call(CallDelta),
}

/// Finds marks that are text in a text that comes in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lexer {
    marks: Vec<&'static str>,
    held: String,
}

impl Lexer {
    pub(crate) fn new(marks: Vec<&'static str>) -> Lexer {
        Lexer { marks, held: String::new() }
    }

    /// Adds text and returns what is certain.
    pub(crate) fn push(&mut self, text: &str) -> Vec<Lexeme> {
        let mut text = std::mem::take(&mut self.held) + text;
        let mut lexemes = Vec::new();
        let first =
            |text: &str, marks: &[&'static str]| marks.iter().filter_map(|mark| Some((text.find(mark)?, *mark))).min();
        while let Some((at, mark)) = first(&text, &self.marks) {
            lexemes.push(Lexeme::Text(text[..at].to_owned()));
            lexemes.push(Lexeme::Mark(mark, false));
            text.drain(..at + mark.len());
        }
        let held = begun(&text, self.marks.iter().copied());
        self.held = text.split_off(text.len() - held);
        lexemes.push(Lexeme::Text(text));
        lexemes
    }

    /// The beginning of a mark that never came.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Sorts the lexemes of an answer.
#[derive(Clone, Debug)]
pub(crate) struct ToolReader {
    format: ToolFormat,
    tools: Vec<Value>,
    seed: u64,
    phase: Phase,
    /// White space that belongs to the content if more content comes.
    space: String,
    /// How much of it stood before the last call.
    space_before: usize,
    has_content: bool,
    /// All of the call so far, with its marks.
    raw: String,
    /// What stands before the JSON: a kind, a name.
    head: String,
    json: String,
    scanner: Scanner,
    /// Reads what stands between tags.
    tags: xml::Scanner,
    stream: Stream,
    calls: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Content,
    /// Before the JSON.
    Head,
    Json,
    Xml,
    /// Behind a call, where another may follow.
    Tail,
    /// In the rest of a call of which a part is out.
    Broken,
}

/// Whether a call comes as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    /// Its arguments have not begun.
    Held,
    /// It does not, as it does not begin with its name.
    Never,
    /// Its arguments go on.
    Open,
    /// Its arguments are over.
    Closed,
}

impl ToolReader {
    pub(crate) fn new(format: ToolFormat, tools: &[Value], seed: u64) -> ToolReader {
        ToolReader {
            format,
            tools: tools.to_vec(),
            seed,
            phase: Phase::Content,
            space: String::new(),
            space_before: 0,
            has_content: false,
            raw: String::new(),
            head: String::new(),
            json: String::new(),
            scanner: Scanner::default(),
            tags: xml::Scanner::default(),
            stream: Stream::Held,
            calls: 0,
        }
    }

    /// Whether a call is open, in which no text means anything else.
    pub(crate) fn is_inside(&self) -> bool {
        !matches!(self.phase, Phase::Content | Phase::Tail)
    }

    /// Whether a string of a call's JSON is open.
    pub(crate) fn is_in_text(&self) -> bool {
        self.phase == Phase::Json && self.scanner.is_in_text()
    }

    pub(crate) fn push(&mut self, lexeme: &Lexeme, out: &mut Vec<Out>) {
        match lexeme {
            Lexeme::Text(text) => text.chars().for_each(|c| self.read(c, out)),
            Lexeme::Mark(mark, is_token) => self.mark(mark, *is_token, out),
        }
    }

    /// Ends the answer: a call that is not whole is content. If it is only because the answer `is_cut`, as it may not be longer,
    /// a call whose name is known is one, with the arguments so far, and of any other nothing is said.
    pub(crate) fn finish(&mut self, is_cut: bool, out: &mut Vec<Out>) {
        if is_cut && self.phase == Phase::Json && self.stream == Stream::Held {
            self.stream(out);
        }
        if self.phase == Phase::Xml && !is_cut {
            self.end_between_tags(out);
        }
        match self.phase {
            Phase::Content | Phase::Tail | Phase::Broken => {}
            _ if is_cut && matches!(self.stream, Stream::Open | Stream::Closed) => {}
            _ if is_cut && !self.may_be_an_answer() => self.raw.clear(),
            _ => self.give_back(out),
        }
        self.phase = Phase::Content;
        if self.calls == 0 {
            let space = std::mem::take(&mut self.space);
            self.say(&space, out);
        }
    }

    /// Begins a call whose name is known, with the text that gave it.
    pub(crate) fn open(&mut self, raw: String, name: String) {
        self.raw = raw;
        self.begin(Phase::Head);
        self.head = name;
    }

    fn begin(&mut self, phase: Phase) {
        (self.phase, self.scanner, self.stream) = (phase, Scanner::default(), Stream::Held);
        self.tags = xml::Scanner::default();
        self.head.clear();
        self.json.clear();
    }

    fn read(&mut self, c: char, out: &mut Vec<Out>) {
        match self.phase {
            Phase::Content => self.content(c, out),
            Phase::Head => {
                self.raw.push(c);
                // Where the JSON begins.
                let is_list = c == '[' && self.head.trim().is_empty();
                if c == '{' || is_list {
                    self.phase = Phase::Json;
                    self.json(c, out);
                    return;
                }
                self.head.push(c);
                if c.is_whitespace() {
                    return;
                }
                let start = self.head.trim_start();
                let has_tags = matches!(self.format, ToolFormat::Hermes | ToolFormat::Xml);
                if has_tags && start == "<" {
                    self.phase = Phase::Xml;
                    self.between_tags(c, out);
                } else if !self.may_have_head() {
                    self.give_back(out);
                }
            }
            Phase::Xml => {
                self.raw.push(c);
                self.between_tags(c, out);
            }
            Phase::Json => {
                self.raw.push(c);
                self.json(c, out);
            }
            Phase::Tail if c.is_whitespace() => self.space.push(c),
            Phase::Tail => {
                let is_deepseek = matches!(self.format, ToolFormat::DeepSeek | ToolFormat::DeepSeekV31);
                match (self.format, c) {
                    (_, '`') if is_deepseek => {}
                    (ToolFormat::Llama, ';') => {}
                    (ToolFormat::Hermes | ToolFormat::Xml | ToolFormat::Llama, '{') => {
                        self.raw.clear();
                        self.begin(Phase::Head);
                        self.read(c, out);
                    }
                    _ => {
                        self.phase = Phase::Content;
                        self.content(c, out);
                    }
                }
            }
            Phase::Broken => self.arguments(c.to_string(), out),
        }
    }

    fn content(&mut self, c: char, out: &mut Vec<Out>) {
        let is_bare = self.format == ToolFormat::Llama && c == '{' && !self.has_content && self.calls == 0;
        if is_bare && !self.tools.is_empty() {
            self.raw.clear();
            self.begin(Phase::Head);
            self.read(c, out);
        } else if c.is_whitespace() {
            self.space.push(c);
        } else {
            let mut text = std::mem::take(&mut self.space);
            // White space behind a call is no beginning.
            if self.calls > 0 && !self.has_content {
                text.clear();
            }
            text.push(c);
            self.say(&text, out);
        }
    }

    /// Whether something may stand before the JSON of this form.
    fn may_have_head(&self) -> bool {
        use ToolFormat::{DeepSeek, DeepSeekV31, Mistral, MistralArgs};
        matches!(self.format, DeepSeek | DeepSeekV31 | Mistral | MistralArgs) && self.head.len() <= HEAD
    }

    fn json(&mut self, c: char, out: &mut Vec<Out>) {
        let before = self.json.len();
        // How deep the arguments lie.
        let depth = if self.has_name() { 1 } else { 2 };
        match self.scanner.push(c, &mut self.json) {
            Step::Invalid => {
                if self.stream == Stream::Open {
                    self.arguments(c.to_string(), out);
                }
                return self.give_back(out);
            }
            Step::Done => {
                if self.stream == Stream::Open && self.has_name() {
                    self.arguments(c.to_string(), out);
                }
                return match self.stream {
                    Stream::Held | Stream::Never => match self.whole() {
                        Some(calls) => self.done(calls, out),
                        None => self.give_back(out),
                    },
                    _ => self.tail(),
                };
            }
            Step::More => {}
        }
        match self.stream {
            Stream::Open => {
                let more = self.json[before..].to_owned();
                self.arguments(more, out);
                // Of an object that has the name too, the arguments end before it does.
                if !self.has_name() && self.scanner.depth() == 1 {
                    self.stream = Stream::Closed;
                }
            }
            // The first argument has its name.
            Stream::Held if c == ':' && !self.is_in_text() && self.scanner.depth() == depth => self.stream(out),
            _ => {}
        }
    }

    /// Reads a character of a call between tags, which is in `raw` already.
    fn between_tags(&mut self, c: char, out: &mut Vec<Out>) {
        let tools = std::mem::take(&mut self.tools);
        let schema = |name: &str| functions(&tools).find(|(known, _)| *known == name)?.1;
        let mut json = String::new();
        let step = self.tags.push(c, schema, &mut json);
        // Without a mark before it, it is a call only if it calls what there is.
        let is_bare = self.stream == Stream::Held && self.raw.starts_with(xml::FUNCTION);
        let is_known = match self.tags.name().filter(|_| is_bare) {
            Some(name) => functions(&tools).any(|(known, _)| known == name),
            None => true,
        };
        self.tools = tools;
        if step == xml::Step::Invalid || !is_known {
            if self.stream == Stream::Open {
                self.arguments(json + &c.to_string(), out);
            }
            return self.give_back(out);
        }
        self.tags_out(json, step == xml::Step::Done, out);
    }

    /// Lets out the arguments of a call between tags.
    fn tags_out(&mut self, json: String, is_whole: bool, out: &mut Vec<Out>) {
        match self.stream {
            Stream::Open => self.arguments(json, out),
            _ if is_whole || self.tags.has_parameters() => {
                let name = self.tags.name().unwrap_or_default().to_owned();
                self.stream = Stream::Open;
                self.begin_call(name, json, out);
            }
            _ => {}
        }
        if is_whole {
            self.tail();
        }
    }

    /// Ends a call between tags that is whole but for its last ones, which models forget.
    fn end_between_tags(&mut self, out: &mut Vec<Out>) {
        let mut json = String::new();
        if self.tags.finish(&mut json) {
            self.tags_out(json, true, out);
        }
    }

    /// Whether a call that was cut off may as well be an answer in JSON: no mark stands before it, nor does it begin with
    /// the name of a function.
    fn may_be_an_answer(&self) -> bool {
        let Some(json) = self.raw.strip_prefix('{') else { return false };
        let mut rest = json.trim_start();
        for sign in ["\"name\"", ":", "\""] {
            if sign.starts_with(rest) {
                return false;
            }
            match rest.strip_prefix(sign) {
                Some(after) => rest = after.trim_start(),
                None => return true,
            }
        }
        let (name, is_whole) = rest.split_once('"').map_or((rest, false), |(name, _)| (name, true));
        !functions(&self.tools).any(|(known, _)| if is_whole { known == name } else { known.starts_with(name) })
    }

    /// Lets out what there is of a call, if it begins with its name.
    fn stream(&mut self, out: &mut Vec<Out>) {
        self.stream = Stream::Never;
        let (name, from) = match self.has_name() {
            true => (self.name(), 0),
            false => match head(&self.json) {
                Some(found) => found,
                None => return,
            },
        };
        let json = self.json[from..].to_owned();
        let (mut scanner, mut arguments, mut is_over) = (Scanner::default(), String::new(), false);
        for c in json.chars() {
            match scanner.push(c, &mut arguments) {
                Step::More => {}
                Step::Done => {
                    is_over = true;
                    break;
                }
                Step::Invalid => return,
            }
        }
        let is_known = !self.raw.starts_with('{') || functions(&self.tools).any(|(known, _)| known == name);
        if name.trim().is_empty() || !json.starts_with('{') || !is_known {
            return;
        }
        self.stream = if is_over { Stream::Closed } else { Stream::Open };
        self.begin_call(name, arguments, out);
    }

    /// Whether the name stands before the JSON and not in it.
    fn has_name(&self) -> bool {
        !self.head.trim().is_empty()
    }

    /// The name that stands before the JSON. DeepSeek-R1 writes the kind of the call first and a fence after the name.
    fn name(&self) -> String {
        let head = self.head.as_str();
        let head = head.split_once(DEEPSEEK[4]).map_or(head, |(before, after)| match after.trim() {
            "" => before,
            after => after,
        });
        let head = head.split_once(MISTRAL[2]).map_or(head, |(name, _)| name);
        head.trim().lines().next().unwrap_or_default().trim().to_owned()
    }

    /// The calls of JSON that is whole; `None` if it is none.
    fn whole(&self) -> Option<Vec<(String, String)>> {
        if self.has_name() {
            let name = self.name();
            return (!name.is_empty() && self.json.starts_with('{')).then(|| vec![(name, self.json.clone())]);
        }
        if self.json.starts_with('[') {
            let calls: Vec<_> = parts(&self.json).into_iter().map(call).collect::<Option<_>>()?;
            return (!calls.is_empty()).then_some(calls);
        }
        let found = call(&self.json)?;
        // Without a mark before it, an object is a call only if it calls what there is.
        let is_known = !self.raw.starts_with('{') || functions(&self.tools).any(|(name, _)| name == found.0);
        is_known.then(|| vec![found])
    }

    fn done(&mut self, calls: Vec<(String, String)>, out: &mut Vec<Out>) {
        for (name, arguments) in calls {
            self.begin_call(name, arguments, out);
        }
        self.tail();
    }

    fn tail(&mut self) {
        self.raw.clear();
        self.space_before = self.space.len();
        self.phase = Phase::Tail;
    }

    fn begin_call(&mut self, name: String, arguments: String, out: &mut Vec<Out>) {
        let index = self.calls;
        self.calls += 1;
        let id = Some(id(self.format, self.seed, index));
        out.push(Out::Call(CallDelta { index, id, name: Some(name), arguments }));
    }

    fn arguments(&mut self, arguments: String, out: &mut Vec<Out>) {
        match out.last_mut() {
            Some(Out::Call(call)) if call.index + 1 == self.calls => call.arguments += &arguments,
            _ => {
                let index = self.calls.saturating_sub(1);
                out.push(Out::Call(CallDelta { index, arguments, ..CallDelta::default() }));
            }
        }
    }

    fn say(&mut self, text: &str, out: &mut Vec<Out>) {
        self.has_content |= !text.is_empty();
        match out.last_mut() {
            _ if text.is_empty() => {}
            Some(Out::Content(content)) => content.push_str(text),
            _ => out.push(Out::Content(text.to_owned())),
        }
    }

    /// What was read is no call.
    fn give_back(&mut self, out: &mut Vec<Out>) {
        match self.stream {
            Stream::Open => self.phase = Phase::Broken,
            Stream::Closed => self.tail(),
            Stream::Held | Stream::Never => {
                let text = std::mem::take(&mut self.space) + &std::mem::take(&mut self.raw);
                self.phase = Phase::Content;
                let kept = text.trim_end().len();
                self.say(&text[..kept], out);
                self.space = text[kept..].to_owned();
            }
        }
    }

    fn mark(&mut self, mark: &'static str, is_token: bool, out: &mut Vec<Out>) {
        if self.phase == Phase::Xml && is_token && mark == CALL[1] {
            self.end_between_tags(out);
        }
        match self.phase {
            // A string may hold any text, and so may a parameter.
            Phase::Json if !is_token && self.is_in_text() => return mark.chars().for_each(|c| self.read(c, out)),
            Phase::Xml if !is_token => return mark.chars().for_each(|c| self.read(c, out)),
            Phase::Head if mark == xml::FUNCTION => return mark.chars().for_each(|c| self.read(c, out)),
            // Marks that stand between a call's parts.
            Phase::Head if mark == DEEPSEEK[4] || mark == MISTRAL[2] => {
                self.raw += mark;
                self.head += mark;
                return;
            }
            Phase::Head if mark == MISTRAL[1] && self.has_name() => {
                self.raw += mark;
                return;
            }
            Phase::Head if mark == DEEPSEEK[2] && self.head.trim().is_empty() => {
                self.raw += mark;
                return;
            }
            Phase::Head | Phase::Json | Phase::Xml => self.give_back(out),
            // White space between a call and its mark is the call's.
            Phase::Tail => self.space.truncate(self.space_before),
            Phase::Content | Phase::Broken => {}
        }
        if mark == xml::FUNCTION && self.format == ToolFormat::Xml && !matches!(self.phase, Phase::Broken) {
            // The mark before it was forgotten.
            self.raw.clear();
            self.begin(Phase::Head);
            mark.chars().for_each(|c| self.read(c, out));
        } else if self.format.opens(mark) {
            self.raw = mark.to_owned();
            self.begin(Phase::Head);
        } else if matches!(self.phase, Phase::Broken | Phase::Tail) {
            self.phase = Phase::Tail;
        } else if self.phase == Phase::Content {
            // A mark out of its turn.
            mark.chars().for_each(|c| self.content(c, out));
        }
    }
}

/// The name and the place of the arguments in an object that is not whole yet, if it begins with both.
fn head(json: &str) -> Option<(String, usize)> {
    let rest = json.strip_prefix('{')?.trim_start().strip_prefix("\"name\"")?.trim_start();
    let rest = rest.strip_prefix(':')?.trim_start();
    let mut names = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    let name = names.next()?.ok()?;
    let rest = rest[names.byte_offset()..].trim_start().strip_prefix(',')?.trim_start();
    let rest = ["\"arguments\"", "\"parameters\""].iter().find_map(|key| rest.strip_prefix(key))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    rest.starts_with('{').then(|| (name, json.len() - rest.len()))
}

/// Name and arguments of a call that is one whole object.
fn call(object: &str) -> Option<(String, String)> {
    if !object.starts_with('{') {
        return None;
    }
    let members = members(object);
    let value = |keys: &[&str]| members.iter().find(|(key, _)| keys.contains(&key.as_str())).map(|(_, value)| *value);
    let text = |json: &str| serde_json::from_str::<String>(json).ok();
    let (name, arguments) = match value(&["function"]) {
        Some(function) if function.starts_with('{') => return call(function),
        function => (function.or(value(&["name"])).and_then(text)?, value(&["arguments", "parameters"])),
    };
    let arguments = match arguments {
        None | Some("null") => "{}".to_owned(),
        // Some write the JSON of the arguments into a string.
        Some(json) if json.starts_with('"') => match text(json)? {
            inner if inner.trim().is_empty() => "{}".to_owned(),
            inner => serde_json::from_str::<Value>(&inner).ok().filter(Value::is_object).map(|_| inner)?,
        },
        Some(json) => json.to_owned(),
    };
    (!name.trim().is_empty() && arguments.trim_start().starts_with('{')).then_some((name, arguments))
}
