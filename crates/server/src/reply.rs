//! From the tokens of one reply to its two texts: decoding, stop strings, thinking apart from the answer.

use crate::reasoning::{Piece, Splitter};
use crate::stop::StopStrings;
use picnic_engine::Finish;
use picnic_tokenizer::{DecodeStream, Tokenizer};

/// One reply while it is being generated.
pub struct Reply {
    decoder: DecodeStream,
    stops: StopStrings,
    splitter: Splitter,
    finish: Option<Finish>,
    tokens: usize,
    reasoning_tokens: usize,
}

impl Reply {
    /// A reply to `prompt` that ends before any of the strings `stops`, in its thinking as in its answer.
    pub fn new(prompt: &str, stops: Vec<String>) -> Reply {
        Reply {
            decoder: DecodeStream::new(true),
            stops: StopStrings::new(stops),
            splitter: Splitter::after(prompt),
            finish: None,
            tokens: 0,
            reasoning_tokens: 0,
        }
    }

    /// Adds a token as the engine gave it and returns the text that is now certain. A token that ended the reply is
    /// no part of its text.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32, finish: Option<Finish>) -> Piece {
        let was_thinking = self.splitter.is_thinking();
        let mut text = match finish {
            Some(Finish::Stop) => String::new(),
            _ => self.decoder.push(tokenizer, token),
        };
        if finish.is_some() {
            text += &std::mem::replace(&mut self.decoder, DecodeStream::new(true)).finish();
        }
        let (mut text, stopped) = self.stops.push(&text);
        self.finish = if stopped { Some(Finish::Stop) } else { finish };
        if finish.is_some() && !stopped {
            text += &self.stops.finish();
        }
        let mut piece = self.splitter.push(&text);
        self.tokens += 1;
        self.reasoning_tokens += usize::from(was_thinking || self.splitter.is_thinking());
        if self.finish.is_some() {
            let rest = self.splitter.finish();
            piece.reasoning += &rest.reasoning;
            piece.content += &rest.content;
        }
        piece
    }

    /// Why the reply ended, once it has.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// Tokens so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Those of them that are thinking, its marks included.
    pub fn reasoning_tokens(&self) -> usize {
        self.reasoning_tokens
    }
}
