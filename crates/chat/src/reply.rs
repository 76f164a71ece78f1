//! From the tokens of one reply to its two texts: decoding, end tokens, stop strings, thinking apart from the answer.

use crate::ChatFormat;
use crate::reasoning::{Piece, Splitter};
use crate::stop::StopStrings;
use picnic_tokenizer::DecodeStream;

/// One reply while it is being generated.
pub struct Reply {
    decoder: DecodeStream,
    stops: StopStrings,
    splitter: Splitter,
    is_stopped: bool,
    tokens: usize,
    reasoning_tokens: usize,
}

impl Reply {
    /// A reply to the prompt `prompt` that ends before any of the strings `stops`, in its thinking as in its answer.
    pub fn new(prompt: &str, stops: Vec<String>) -> Reply {
        Reply {
            decoder: DecodeStream::new(true),
            stops: StopStrings::new(stops),
            splitter: Splitter::after(prompt),
            is_stopped: false,
            tokens: 0,
            reasoning_tokens: 0,
        }
    }

    /// Adds a token and returns the text that is now certain. A token that ends the turn is no part of the text.
    pub fn push(&mut self, chat: &ChatFormat, token: u32) -> Piece {
        let was_thinking = self.splitter.is_thinking();
        let mut piece = Piece::default();
        if chat.ends().contains(token) {
            piece = self.finish();
            self.is_stopped = true;
        } else {
            let text = self.decoder.push(chat.tokenizer(), token);
            self.read(&text, &mut piece);
        }
        self.tokens += 1;
        self.reasoning_tokens += usize::from(was_thinking || self.splitter.is_thinking());
        piece
    }

    /// Ends a reply of which no more is drawn: what was held back as the beginning of a character, a stop string or a
    /// mark is text.
    pub fn finish(&mut self) -> Piece {
        let mut piece = Piece::default();
        let rest = std::mem::replace(&mut self.decoder, DecodeStream::new(true)).finish();
        self.read(&rest, &mut piece);
        if !self.is_stopped {
            piece += self.splitter.push(&self.stops.finish());
            piece += self.splitter.finish();
        }
        piece
    }

    fn read(&mut self, text: &str, piece: &mut Piece) {
        let (text, stopped) = self.stops.push(text);
        *piece += self.splitter.push(&text);
        if stopped {
            self.is_stopped = true;
            *piece += self.splitter.finish();
        }
    }

    /// Whether the reply came to its end by a token or a stop string.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
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
        let piece = |reasoning: &str, content: &str| Piece { reasoning: reasoning.into(), content: content.into() };
        assert_eq!(reply("<think>a</think>b<|eos|>c", &[]), (piece("a", "b"), true));
        assert_eq!(reply("<think>a</think>b, c", &[", "]), (piece("a", "b"), true));
        assert_eq!(reply("<think>a, b</think>c", &[", "]), (piece("a", ""), true));
        // Held back as what might become a stop string, a mark or a character.
        assert_eq!(reply("a,<|eos|>", &[", "]), (piece("", "a,"), true));
        assert_eq!(reply("a,", &[", "]), (piece("", "a,"), false));
        assert_eq!(reply("<think>a</thin", &[]), (piece("a</thin", ""), false));
    }
}
