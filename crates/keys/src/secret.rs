//! The secret of a key: how it is made, what it looks like, and what is kept of it.
//!
//! A secret is `pk-` and 43 letters and digits, each drawn evenly by the system's random numbers: 62⁴³ is a little more
//! than 2²⁵⁶. What is kept is a hash. Slow, salted hashes protect passwords because people choose them, so that one who has
//! the hashes can go through what people choose. There is nothing to go through among 2²⁵⁶ even secrets, and so a fast
//! hash is as good, which every request can afford.
//!
//! A secret is looked up by its hash, and nothing is compared with the secret itself. How long the look-up takes may tell
//! how far a hash agrees with a stored one; but to choose a hash's first bytes one has to try secrets, and knowing them
//! brings one no nearer to a secret.

use crate::Error;
use std::fmt;

const PREFIX: &str = "pk-";
const LENGTH: usize = 43;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The largest multiple of 62 in a byte: bytes from here on are drawn again, or the first characters would come more often.
const EVEN: u8 = 248;

/// What the hash is of, beside the secret: no other use of the same hash gives the same bytes.
const CONTEXT: &str = "picnic 2026-11-27 API keys";

/// Characters at its end that a list of keys shows. 39 stay unknown.
const ENDING: usize = 4;

/// A new key's secret. It is printed by [`Secret::reveal`] alone, so that it enters no log by accident.
pub struct Secret(String);

impl Secret {
    /// Draws one.
    pub(crate) fn draw() -> Result<Secret, Error> {
        let mut secret = String::from(PREFIX);
        let mut bytes = [0; 64];
        while secret.len() < PREFIX.len() + LENGTH {
            getrandom::fill(&mut bytes).map_err(|error| Error::Random(error.to_string()))?;
            let even = bytes.iter().filter(|byte| **byte < EVEN);
            let characters = even.map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
            secret.extend(characters.take(PREFIX.len() + LENGTH - secret.len()));
        }
        Ok(Secret(secret))
    }

    /// The secret itself, to be shown once to whom it is for.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its last characters.
    pub(crate) fn ending(&self) -> &str {
        &self.0[self.0.len() - ENDING..]
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "Secret(…{})", self.ending())
    }
}

/// What is kept of `secret`; `None` if no key can look like it.
pub(crate) fn hash(secret: &str) -> Option<[u8; 32]> {
    let drawn = secret.strip_prefix(PREFIX)?;
    let fits = drawn.len() == LENGTH && drawn.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| blake3::derive_key(CONTEXT, secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn secrets_are_whole_different_and_silent() {
        let secrets: Vec<Secret> = (0..200).map(|_| Secret::draw().unwrap()).collect();
        let hashes: HashSet<[u8; 32]> = secrets.iter().map(|secret| hash(secret.reveal()).unwrap()).collect();
        assert_eq!(hashes.len(), secrets.len());
        for secret in &secrets {
            assert_eq!(secret.reveal().len(), 46);
            assert!(!format!("{secret:?}").contains(&secret.reveal()[..10]));
        }
        // 8,600 characters: each of 62 is expected 139 times, with a deviation of 11.7.
        let count = |character| secrets.iter().map(|secret| secret.reveal()[3..].matches(character).count()).sum();
        for character in ALPHABET.map(char::from) {
            let count: usize = count(character);
            assert!((60..220).contains(&count), "{character} came {count} times");
        }
    }

    #[test]
    fn what_is_no_secret_has_no_hash() {
        let secret = Secret::draw().unwrap();
        let good = secret.reveal();
        for wrong in ["", "pk-", "sk-1", &good[1..], &format!("{good}0"), &good[..45], &format!("{}é", &good[..44])] {
            assert!(hash(wrong).is_none(), "{wrong}");
        }
    }
}
