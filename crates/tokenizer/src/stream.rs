//! Ids to text, one id at a time, for a person who reads along.
//!
//! A token may end in the middle of a character. The stream holds such bytes back until the character is
//! whole or can no longer become valid; the pieces joined are exactly what [`Tokenizer::decode`] makes of all ids.

use crate::Tokenizer;
use crate::decoder::Position;

/// Decodes a growing sequence of ids. Holds at most three bytes.
#[derive(Clone, Debug)]
pub struct DecodeStream {
    pending: Vec<u8>,
    position: Position,
    skip_special: bool,
}

impl DecodeStream {
    /// An empty stream. With `skip_special`, special tokens give no text.
    pub fn new(skip_special: bool) -> Self {
        Self { pending: Vec::new(), position: Position::default(), skip_special }
    }

    /// Adds one id and returns the text that it completes, often the empty string.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if self.skip_special && tokenizer.is_special(id) {
            return String::new();
        }
        self.pending.extend(tokenizer.next_bytes(&mut self.position, id));
        let keep = incomplete_suffix(&self.pending);
        let rest = self.pending.split_off(self.pending.len() - keep);
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending = rest;
        text
    }

    /// Ends the stream: bytes that never became a character are returned as U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// How many bytes at the end are the beginning of a character that may still be completed.
fn incomplete_suffix(bytes: &[u8]) -> usize {
    match bytes.utf8_chunks().last().map(|chunk| chunk.invalid()) {
        Some(invalid) => match std::str::from_utf8(invalid) {
            Err(error) if error.error_len().is_none() => invalid.len(),
            _ => 0,
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_character_that_can_still_become_whole_is_held_back() {
        assert_eq!(incomplete_suffix(b"abc"), 0);
        assert_eq!(incomplete_suffix("ab🤖".as_bytes()), 0);
        assert_eq!(incomplete_suffix(&"🤖".as_bytes()[..3]), 3);
        assert_eq!(incomplete_suffix(b"ab\xff"), 0);
        assert_eq!(incomplete_suffix(b"\xff\xe4\xbd"), 2);
        // A surrogate's first byte is fine, its second cannot be.
        assert_eq!(incomplete_suffix(b"\xed\xa0"), 0);
    }
}
