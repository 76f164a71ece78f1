//! Answers that are held to a form: JSON of a schema, a text that a regular expression matches, or a text of a grammar.
//!
//! A [`Guidance`] knows the vocabulary of one model and makes a [`Guide`] of each [`Form`]. While the answer is drawn,
//! the guide says which tokens may come next. The parsing is llguidance's: an Earley parser whose lexer takes
//! derivatives of regular expressions. It works on bytes, so that a token may be half of a character; the bytes are
//! those of our own tokenizer.
//!
//! The engine has a trait for this, `Constraint`, and knows nothing of text; this crate knows nothing of engines. So a
//! guide has the trait's three methods in plain types, and whoever holds both, such as the server, joins them in a few
//! lines.
//!
//! A form comes from outside. It is bounded in bytes, it is compiled on a stack that is deep enough for any nesting of
//! so many bytes, and llguidance bounds the work for each token. What it cannot keep to is refused before the first
//! token is drawn. Only calls of tools ([`Form::Calls`]) name
//! tokens. Left out: other forms that do, since only text is promised, and the drawing of several tokens at
//! once where there is no choice.

mod calls;
mod guide;
#[cfg(test)]
mod tests;

pub use calls::{ToolChoice, ToolSpec};
pub use guide::{FormFailure, Guide};

use crate::{ChatFormat, Error, Result, ToolFormat, tools, with_deep_stack};
use guide::in_a_line;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory, panic_utils};
use serde_json::{Map, Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Bytes of a JSON schema at most.
const MAX_SCHEMA: usize = 1 << 16;
/// Bytes of a regular expression or of a grammar at most.
const MAX_GRAMMAR: usize = 1 << 15;
/// Tokens of a vocabulary at most. The largest that we know has a quarter of a million.
const MAX_TOKENS: usize = 1 << 22;
/// Bytes of a token that may come in an answer at most: llguidance's trie has no room for deeper branches.
const MAX_TOKEN: usize = 1000;

/// White space between the parts of a JSON text, at any one place. Without a bound, a model that would rather not write
/// JSON writes spaces for ever.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,32}";

/// What llguidance may spend: by its own measure, some ten milliseconds on a token and some ten megabytes on an answer.
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2000,
    initial_lexer_fuel: 1_000_000,
    step_lexer_fuel: 200_000,
    step_max_items: 50_000,
    max_lexer_states: 1 << 15,
    max_grammar_size: 200_000,
    precompute_large_lexemes: true,
    verbose_errors: false,
};

/// What an answer has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Any JSON object.
    JsonObject,
    /// JSON that this schema (draft 2020-12) describes. The members of an object come in the order of its `properties`,
    /// those that are only `required` after them, others last.
    JsonSchema(Value),
    /// A text that this regular expression matches from end to end, in the syntax of the crate `regex`.
    Regex(String),
    /// A text of this grammar in llguidance's dialect of Lark. Its first rule is `start`.
    Grammar(String),
    /// Calls of tools in the model's own form ([`ChatFormat::tool_format`]), with arguments by their schemas. A choice of
    /// [`ToolChoice::Auto`] leaves an answer free unless a tool is strict ([`Form::is_free`]).
    Calls {
        /// What may be called.
        tools: Vec<ToolSpec>,
        /// Whether something is called.
        choice: ToolChoice,
        /// Whether there may be more than one call.
        parallel: bool,
    },
}

/// What holds the answers of one model to forms. Copies share the trie of its vocabulary.
#[derive(Clone)]
pub struct Guidance {
    vocabulary: Arc<Vocabulary>,
}

/// The tokens of one model. A set of tokens has bit i mod 32 of word i / 32 set for token i.
pub(crate) struct Vocabulary {
    factory: ParserFactory,
    /// Tokens that are text and nothing else.
    text: Vec<u32>,
    tool_format: ToolFormat,
    /// Marks of calls that are tokens of their own.
    marks: Vec<(&'static str, u32)>,
    /// Tokens that end a turn.
    pub(crate) ends: Arc<[u32]>,
    /// All others.
    pub(crate) not_ends: Arc<[u32]>,
}

impl Guidance {
    /// Builds the trie of the tokens of `chat`, which is worth doing once. Added tokens, special or not, are never part
    /// of an answer that is held to a form: they have a meaning beside their text.
    ///
    /// # Errors
    /// A model that has no token to end an answer with, or a vocabulary that is too large.
    pub fn new(chat: &ChatFormat) -> Result<Guidance> {
        let tokenizer = chat.tokenizer();
        let size = tokenizer.vocab_size();
        if size > MAX_TOKENS {
            let problem = format!("its vocabulary has {size} tokens, of {MAX_TOKENS} at most");
            return Err(Error::Unguidable(problem));
        }
        let ends: Vec<u32> = chat.ends().ids().iter().copied().filter(|&id| (id as usize) < size).collect();
        let Some(&end) = ends.first() else {
            let problem = "it has no token that ends a turn: name one as `eos_token_id` in generation_config.json";
            return Err(Error::Unguidable(problem.to_owned()));
        };
        let words: Vec<Vec<u8>> = (0..size as u32).map(|id| text_of(chat, id).unwrap_or_default()).collect();
        let ids = 0..size as u32;
        let text = set(size, ids.clone().filter(|&id| !words[id as usize].is_empty()));
        let not_ends = set(size, ids.filter(|&id| !chat.ends().contains(id)));
        // The trie asserts what does not fit into its fields.
        let factory = panic_utils::catch_unwind(AssertUnwindSafe(|| {
            let trie = TokTrie::from(&TokRxInfo::new(size as u32, end), &words).with_eos_tokens(&ends);
            let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            ParserFactory::new_simple(&tokens)
        }));
        let mut factory = factory.map_err(|error| Error::Unguidable(in_a_line(&error)))?;
        factory.quiet();
        *factory.limits_mut() = LIMITS;
        let (ends, not_ends) = (set(size, ends.into_iter()).into(), not_ends.into());
        let token = |mark: &&'static str| Some((*mark, tokenizer.token_to_id(mark)?));
        let marks =
            tools::all_marks().filter_map(|mark| token(&mark)).filter(|(_, id)| tokenizer.is_added(*id)).collect();
        let tool_format = chat.tool_format();
        Ok(Guidance { vocabulary: Arc::new(Vocabulary { factory, text, tool_format, marks, ends, not_ends }) })
    }

    /// A guide for one answer of this form, from its first token on.
    ///
    /// # Errors
    /// A form that is too large, is wrong, asks for what llguidance does not have, or cannot be written with these
    /// tokens.
    pub fn guide(&self, form: &Form) -> Result<Guide> {
        let refuse = |problem: String| Error::Form { form: form.name(), problem };
        let (grammar, marks) = match form {
            Form::Calls { tools, choice, parallel } => {
                let Vocabulary { tool_format, marks, .. } = &*self.vocabulary;
                let lark = calls::grammar(*tool_format, marks, tools, choice, *parallel).map_err(refuse)?;
                let lark =
                    lark.ok_or_else(|| refuse("it leaves the answer free: draw it without a guide".to_owned()))?;
                (TopLevelGrammar::from_lark(lark.rules), lark.tokens)
            }
            form => (form.grammar().map_err(refuse)?, Vec::new()),
        };
        let make = || {
            let parser = self.vocabulary.factory.create_parser(grammar).map_err(|error| in_a_line(&error))?;
            let marks = set(self.vocabulary.text.len() * 32, marks.into_iter());
            Guide::new(Arc::clone(&self.vocabulary), Matcher::new(Ok(parser)), marks.into())
        };
        with_deep_stack(make)?.map_err(refuse)
    }
}

impl Vocabulary {
    /// Whether a token ends a turn.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
    }

    /// Those of the tokens `words` that are text, or among `marks`.
    pub(crate) fn text_of(&self, words: &[u32], marks: &[u32]) -> Vec<u32> {
        let words = words.iter().chain(std::iter::repeat(&0));
        self.text.iter().zip(marks).zip(words).map(|((text, marks), word)| (text | marks) & word).collect()
    }
}

/// The bytes of a token that may come in an answer, as in the middle of a text.
fn text_of(chat: &ChatFormat, id: u32) -> Option<Vec<u8>> {
    let is_text = !chat.tokenizer().is_added(id) && !chat.ends().contains(id);
    let bytes = chat.tokenizer().token_bytes(id).filter(|_| is_text)?;
    // Byte FF is in no UTF-8, and the trie takes it for the mark of a special token.
    (bytes.len() <= MAX_TOKEN && bytes.first() != Some(&0xff)).then_some(bytes)
}

/// A set of tokens below `size`.
fn set(size: usize, ids: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut words = vec![0; size.div_ceil(32)];
    ids.for_each(|id| words[id as usize / 32] |= 1 << (id % 32));
    words
}

impl Form {
    /// Whether this leaves an answer free, so that there is nothing to guide.
    pub fn is_free(&self) -> bool {
        match self {
            Form::Calls { tools, choice, .. } => *choice == ToolChoice::Auto && !tools.iter().any(|tool| tool.strict),
            _ => false,
        }
    }

    /// What this is called in errors.
    fn name(&self) -> &'static str {
        match self {
            Form::JsonObject | Form::JsonSchema(_) => "JSON schema",
            Form::Regex(_) => "regular expression",
            Form::Grammar(_) => "grammar",
            Form::Calls { .. } => "call of a tool",
        }
    }

    /// The same in llguidance's terms, or what is wrong with it before anything is compiled.
    fn grammar(&self) -> std::result::Result<TopLevelGrammar, String> {
        let bounded = |bytes: usize, limit: usize| match bytes > limit {
            true => Err(format!("it has {bytes} bytes, of {limit} at most")),
            false => Ok(()),
        };
        match self {
            Form::JsonObject => Ok(json_of(json_map("type", "object".into()))),
            Form::JsonSchema(schema) => {
                bounded(schema.to_string().len(), MAX_SCHEMA)?;
                match schema {
                    Value::Object(members) => Ok(json_of(members.clone())),
                    Value::Bool(true) => Ok(json_of(Map::new())),
                    _ => Err("it is no object such as {\"type\": \"object\"}".to_owned()),
                }
            }
            Form::Regex(expression) => {
                bounded(expression.len(), MAX_GRAMMAR)?;
                let escapes = expression.len() - expression.trim_end_matches('\\').len();
                match expression.as_str() {
                    "" => Err("it is empty, which leaves nothing to answer".to_owned()),
                    _ if escapes % 2 == 1 => Err("it ends in a backslash that escapes nothing".to_owned()),
                    _ => Ok(TopLevelGrammar::from_regex(expression)),
                }
            }
            Form::Calls { .. } => Err("its grammar hangs on the model".to_owned()),
            Form::Grammar(grammar) => {
                bounded(grammar.len(), MAX_GRAMMAR)?;
                match named_token(grammar) {
                    Some(line) => Err(format!("line {line} names a token (<…>), but only text can be asked for")),
                    None => Ok(TopLevelGrammar::from_lark(grammar.clone())),
                }
            }
        }
    }
}

/// A schema with our settings in the place where llguidance looks for them.
fn json_of(mut schema: Map<String, Value>) -> TopLevelGrammar {
    schema.insert("x-guidance".to_owned(), json!({"whitespace_pattern": WHITE_SPACE}));
    TopLevelGrammar::from_json_schema(schema.into())
}

fn json_map(key: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value)])
}

/// The first line, from 1, of a Lark grammar in which a token is named: a `<` outside of strings, expressions and
/// comments.
fn named_token(grammar: &str) -> Option<usize> {
    let mut line = 1;
    // What the text is inside of, by the character that ends it.
    let mut inside = None;
    let mut chars = grammar.chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match (inside, c) {
            (Some('\n'), '\n') => inside = None,
            (Some('"' | '/'), '\\') => {
                line += usize::from(chars.next() == Some('\n'));
            }
            (Some(end), _) if c == end => inside = None,
            (Some(_), _) => {}
            (None, '#') => inside = Some('\n'),
            (None, '/') if chars.peek() == Some(&'/') => inside = Some('\n'),
            (None, '"' | '/') => inside = Some(c),
            (None, '<') => return Some(line),
            (None, _) => {}
        }
    }
    None
}
