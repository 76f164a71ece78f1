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
    /// The tokens that open and close the thinking, if they are no text.
    marks: Option<(Option<u32>, u32)>,
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
            marks: None,
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

    /// Adds a token and returns the text that is now certain. A token that ends the turn is no part of the text.
    pub fn push(&mut self, chat: &ChatFormat, token: u32) -> Piece {
        let was_thinking = self.splitter.is_thinking();
        let mut piece = Piece::default();
        if chat.ends().contains(token) {
            piece = self.finish();
            self.is_stopped = true;
        } else if self.is_mark(token) {
            piece = self.flush();
            self.splitter.turn();
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
        let mut piece = self.flush();
        if !self.is_stopped {
            piece += self.splitter.finish();
        }
        piece
    }

    /// What was held back as the beginning of a character or of a stop string.
    fn flush(&mut self) -> Piece {
        let mut piece = Piece::default();
        let rest = std::mem::replace(&mut self.decoder, DecodeStream::new(true)).finish();
        self.read(&rest, &mut piece);
        if !self.is_stopped {
            piece += self.splitter.push(&self.stops.finish());
        }
        piece
    }

    /// Whether a token opens or closes the thinking and is no text.
    fn is_mark(&self, token: u32) -> bool {
        self.marks.is_some_and(|(open, close)| match self.splitter.is_thinking() {
            true => token == close,
            false => self.tokens == 0 && open == Some(token),
        })
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
