//! [`Guide`]: one answer that is held to a form, while it is being drawn.

use super::Vocabulary;
use llguidance::Matcher;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Characters of llguidance's errors that are passed on.
const MAX_REASON: usize = 400;

/// Says, token by token, what may come next in one answer.
///
/// An end of the turn may come exactly where the answer is whole. An answer that cannot go on by its form, because
/// llguidance's limits are reached or no token fits, ends there, and its [`FormFailure`] says why. A copy is in the
/// same state and shares nothing with the original but the vocabulary and the failure.
pub struct Guide {
    vocabulary: Arc<Vocabulary>,
    parser: Matcher,
    /// Tokens that may come though they are no text.
    marks: Arc<[u32]>,
    thinking: Thinking,
    /// The tokens that go on with the answer, and the ends if it may stop here.
    next: Arc<[u32]>,
    /// Whether nothing may come but an end.
    is_over: bool,
    failure: FormFailure,
}

/// Where an answer is in its thinking, which has no form.
#[derive(Clone, Copy, Debug)]
enum Thinking {
    /// It thinks if its first token is `open`.
    MayBegin { open: u32, close: u32 },
    /// It thinks until `close` comes.
    Open { close: u32 },
    /// It does not.
    Over,
}

/// Why an answer could not be held to its form to the end. All copies of its guide tell the same.
#[derive(Clone, Debug, Default)]
pub struct FormFailure(Arc<OnceLock<String>>);

impl FormFailure {
    /// The reason, in a line; `None` as long as there is none.
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

impl Guide {
    /// A guide to the first token, or why there can be none.
    pub(super) fn new(vocabulary: Arc<Vocabulary>, parser: Matcher, marks: Arc<[u32]>) -> Result<Guide, String> {
        let (thinking, next, failure) = (Thinking::Over, Arc::clone(&vocabulary.ends), FormFailure::default());
        let mut guide = Guide { vocabulary, parser, marks, thinking, next, is_over: false, failure };
        guide.look();
        match guide.failure.reason() {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(guide),
        }
    }

    /// The same for an answer that may think first: the form begins after the token `close`. An answer that begins with
    /// another token than `open` does not think; where there is no such token, the prompt has opened the thinking. What
    /// is thought is free, but the turn cannot end in it.
    pub fn after_thinking(self, open: Option<u32>, close: u32) -> Guide {
        let thinking = match open {
            Some(open) => Thinking::MayBegin { open, close },
            None => Thinking::Open { close },
        };
        Guide { thinking, ..self }
    }

    /// The tokens that may come next, at least one: token i may if bit i mod 32 of word i / 32 is set. Asking changes
    /// nothing.
    pub fn allowed(&self) -> Arc<[u32]> {
        match self.thinking {
            Thinking::Over => Arc::clone(&self.next),
            Thinking::Open { .. } => Arc::clone(&self.vocabulary.not_ends),
            Thinking::MayBegin { open, .. } => {
                let mut words = self.next.to_vec();
                if let Some(word) = words.get_mut(open as usize / 32) {
                    *word |= 1 << (open % 32);
                }
                words.into()
            }
        }
    }

    /// This token has come. Returns whether the answer is whole: it has ended, or nothing could come but an end.
    pub fn accept(&mut self, token: u32) -> bool {
        let is_end = self.vocabulary.is_end(token);
        match self.thinking {
            Thinking::MayBegin { open, close } if token == open => {
                self.thinking = Thinking::Open { close };
                return false;
            }
            Thinking::Open { close } if token == close => {
                self.thinking = Thinking::Over;
                return false;
            }
            Thinking::Open { .. } if !is_end => return false,
            _ => self.thinking = Thinking::Over,
        }
        if is_end {
            self.end();
        } else if !self.is_over {
            match self.parser.consume_token(token) {
                Ok(()) => self.look(),
                Err(error) => self.fail(in_a_line(&error)),
            }
        }
        self.is_over
    }

    /// Why the answer had to end before it was whole, also once the guide is out of reach.
    pub fn failure(&self) -> FormFailure {
        self.failure.clone()
    }

    /// Finds out what may come next.
    fn look(&mut self) {
        match self.following() {
            Ok((text, false)) => self.next = text.into(),
            Ok((text, true)) => {
                self.is_over = text.iter().all(|&word| word == 0);
                self.next = text.iter().zip(&*self.vocabulary.ends).map(|(text, ends)| text | ends).collect();
            }
            Err(reason) => self.fail(reason),
        }
    }

    /// The tokens of text that may come next, and whether the answer may stop here.
    fn following(&mut self) -> Result<(Vec<u32>, bool), String> {
        const DEAD_END: &str = "none of the model's tokens can go on with it";
        if self.parser.is_stopped() && self.parser.stop_reason().is_ok() {
            return Ok((vec![0; self.next.len()], true));
        }
        let mask = self.parser.compute_mask().map_err(|error| match in_a_line(&error) {
            reason if reason == "NoExtensionBias" => DEAD_END.to_owned(),
            reason => reason,
        })?;
        let text = self.vocabulary.text_of(mask.as_slice(), &self.marks);
        let may_stop = self.parser.is_accepting().map_err(|error| in_a_line(&error))?;
        match may_stop || text.iter().any(|&word| word != 0) {
            true => Ok((text, may_stop)),
            false => Err(DEAD_END.to_owned()),
        }
    }

    fn fail(&mut self, reason: String) {
        // The first reason holds.
        let _ = self.failure.0.set(reason);
        self.end();
    }

    fn end(&mut self) {
        self.is_over = true;
        self.next = Arc::clone(&self.vocabulary.ends);
    }
}

impl Clone for Guide {
    fn clone(&self) -> Guide {
        Guide {
            vocabulary: Arc::clone(&self.vocabulary),
            // Its lexer remembers what it has met; a plain clone would share that, and a lock.
            parser: self.parser.deep_clone(),
            marks: Arc::clone(&self.marks),
            thinking: self.thinking,
            next: Arc::clone(&self.next),
            is_over: self.is_over,
            failure: self.failure.clone(),
        }
    }
}

impl fmt::Debug for Guide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Guide { thinking, is_over, failure, .. } = self;
        let mut fields = f.debug_struct("Guide");
        fields.field("thinking", thinking).field("is_over", is_over).field("failure", failure).finish_non_exhaustive()
    }
}

/// An error of llguidance in a line and of bounded length, without its dumps of the parser and of the stack.
pub(super) fn in_a_line(error: &impl fmt::Display) -> String {
    let text = format!("{error:#}");
    let text = ["\n<non-verbose", "\n<backtrace", "\n<state"]
        .iter()
        .fold(text.as_str(), |text, dump| text.split_once(dump).map_or(text, |(before, _)| before));
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(panic) = line.strip_prefix("panic: ") {
        line = format!("llguidance fails on it ({panic})");
    }
    match line.char_indices().nth(MAX_REASON) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
