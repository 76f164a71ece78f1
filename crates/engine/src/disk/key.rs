//! The names of pages on disk: hashes of everything that a page's content follows from.
//!
//! A page's keys and values follow from the weights, from how they and the cache are kept, from the arithmetic, from the
//! page's tokens and from all tokens before them. A name is BLAKE3 of the name of the page before it and of the page's
//! own tokens, keyed by a hash of the rest. Two pages of one name would be a collision of a 256-bit cryptographic hash,
//! of which none is known; so a name stands for all tokens up to the page's last one, and the files need not hold the
//! tokens themselves.

use crate::pages::Space;
use std::fmt;

/// Counts up whenever a file, a name, or what a page holds is made in another way.
pub(super) const FORMAT: u32 = 2;

/// The name of a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u8; 32]);

/// What stands before a page.
#[derive(Clone, Copy)]
pub(crate) enum Link {
    /// Nothing: it is the first one, of a sequence in this space.
    Start(Space),
    /// The page of this name.
    After(Key),
}

/// Pages whose content follows from the same weights, forms and arithmetic.
#[derive(Clone)]
pub(crate) struct Namespace([u8; 32]);

impl Namespace {
    /// The namespace of what all of `parts` say. The program's version is always one of them: other versions may compute
    /// other bits.
    pub(crate) fn new(parts: &[&[u8]]) -> Namespace {
        let mut hasher = blake3::Hasher::new_derive_key("picnic: pages of the cache of keys and values");
        hasher.update(&FORMAT.to_le_bytes());
        for part in [env!("CARGO_PKG_VERSION").as_bytes()].iter().chain(parts) {
            // With its length ahead, no part can be taken for the end of another.
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Namespace(*hasher.finalize().as_bytes())
    }

    /// The name of the page with these tokens.
    pub(crate) fn key(&self, before: Link, tokens: &[u32]) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // The first byte says how many come before the tokens.
        match before {
            Link::Start(Space { tenant, prompt }) => {
                let prompt = prompt.map(|prompt| prompt as u64);
                hasher.update(&[0, u8::from(prompt.is_some())]);
                hasher.update(&tenant.to_le_bytes()).update(&prompt.unwrap_or(0).to_le_bytes())
            }
            Link::After(key) => hasher.update(&[1]).update(&key.0),
        };
        tokens.iter().for_each(|token| _ = hasher.update(&token.to_le_bytes()));
        Key(*hasher.finalize().as_bytes())
    }
}

impl Key {
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key that is written in this way, and in no other.
    pub(super) fn parse(text: &str) -> Option<Key> {
        let key = Key(*blake3::Hash::from_hex(text).ok()?.as_bytes());
        (key.to_string() == text).then_some(key)
    }
}

/// In 64 lower-case hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn whatever_a_page_follows_from_is_in_its_name() {
        let mut seen = HashSet::new();
        let spaces = [(0, None), (1, None), (0, Some(0)), (0, Some(9))];
        for parts in [vec!["ab", "c"], vec!["a", "bc"], vec!["abc"], vec!["ab", "c", ""]] {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            let namespace = Namespace::new(&parts);
            for (tenant, prompt) in spaces {
                let first = |tokens: &[u32]| namespace.key(Link::Start(Space { tenant, prompt }), tokens);
                for tokens in [&[1, 2][..], &[1, 3], &[2, 1], &[1]] {
                    let key = first(tokens);
                    assert!(seen.insert(key) && seen.insert(namespace.key(Link::After(key), &[1, 2])));
                    assert_eq!(Key::parse(&key.to_string()), Some(key));
                }
            }
        }
        assert_eq!(seen.len(), 4 * 4 * 4 * 2);
    }

    #[test]
    fn what_is_no_name_is_not_taken_for_one() {
        let key = Namespace::new(&[]).key(Link::Start(Space::default()), &[10, 11, 12]).to_string();
        for text in ["", "abc", &key[1..], &format!("{key}0"), &key.to_uppercase(), &key.replace(&key[..1], "g")] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
