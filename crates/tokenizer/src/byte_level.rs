//! The alphabet of byte-level BPE (GPT-2): each of the 256 bytes is written as one printable character,
//! so that a token is always a valid string although it may hold half of a character.

use std::sync::LazyLock;

/// The character that stands for `byte`.
///
/// Printable Latin-1 stands for itself; the other 68 bytes take U+0100, U+0101, … in order.
pub(crate) fn byte_to_char(byte: u8) -> char {
    static TABLE: LazyLock<[char; 256]> = LazyLock::new(|| {
        let mut next = 0x100u32;
        std::array::from_fn(|byte| match byte as u8 {
            itself @ (b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) => char::from(itself),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or_default()
            }
        })
    });
    TABLE[usize::from(byte)]
}

/// The byte that `char` stands for, or `None` when it stands for none.
fn char_to_byte(char: char) -> Option<u8> {
    // One past the last character in use: U+0100 + 68.
    static TABLE: LazyLock<[Option<u8>; 0x144]> = LazyLock::new(|| {
        let mut table = [None; 0x144];
        for byte in 0..=255 {
            table[byte_to_char(byte) as usize] = Some(byte);
        }
        table
    });
    TABLE.get(char as usize).copied().flatten()
}

/// The bytes of a token. An added token may hold characters outside the alphabet; then it stands for
/// its own UTF-8, as in the `tokenizers` crate.
pub(crate) fn token_to_bytes(token: &str) -> Vec<u8> {
    token.chars().map(char_to_byte).collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_that_of_the_library() {
        let ours: std::collections::BTreeSet<char> = (0..=255).map(byte_to_char).collect();
        let theirs = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        assert_eq!(ours, theirs.into_iter().collect());
        assert_eq!(byte_to_char(b' '), 'Ġ');
        assert!((0..=255).all(|byte| char_to_byte(byte_to_char(byte)) == Some(byte)));
    }
}
