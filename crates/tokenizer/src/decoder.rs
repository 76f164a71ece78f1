//! From tokens to bytes: what the `decoder` of a `tokenizer.json` asks for, done on bytes instead of strings, so
//! that a token may be half of a character.
//!
//! Two alphabets are in use. A byte-level token is written in GPT-2's alphabet, a character a byte. A SentencePiece
//! token is plain text in which `▁` is a space, and `<0xE4>` is the byte E4. Most SentencePiece vocabularies put a
//! space before every text, which decoding takes away from the very beginning. Left out: decoders that treat a token
//! by its neighbours (WordPiece, CTC, `</w>`), which are refused by name.

use serde_json::Value;

use crate::byte_level::token_to_bytes;
use crate::{Error, Result};

/// How the tokens of one vocabulary become bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decoder {
    alphabet: Alphabet,
    beginning: Rule,
}

#[derive(Clone, Debug, PartialEq)]
enum Alphabet {
    ByteLevel,
    Pieces {
        /// What stands for what, in order; usually `▁` for a space.
        replace: Vec<(String, String)>,
        byte_fallback: bool,
    },
}

/// What the beginning of a text loses.
#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Nothing,
    /// Up to so many of this character.
    Leading(char, usize),
    /// Every one of these in the first token.
    OfFirstToken(char),
}

/// How far into a text decoding is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    dropped: usize,
    past_beginning: bool,
}

impl Decoder {
    /// Whether a text begins with something that its vocabulary put there.
    pub(crate) fn drops_a_beginning(&self) -> bool {
        self.beginning != Rule::Nothing
    }

    /// From the `decoder` of a `tokenizer.json`.
    ///
    /// # Errors
    /// A decoder that cannot be applied to one token at a time.
    pub(crate) fn from_json(json: &Value) -> Result<Self> {
        let steps = match json["type"].as_str() {
            Some("Sequence") => json["decoders"].as_array().map(Vec::as_slice).unwrap_or_default(),
            _ => std::slice::from_ref(json),
        };
        if let [step] = steps
            && step["type"] == "ByteLevel"
        {
            return Ok(Self { alphabet: Alphabet::ByteLevel, beginning: Rule::Nothing });
        }
        let (mut replace, mut byte_fallback, mut fused) = (Vec::new(), false, false);
        let mut beginning = Rule::Nothing;
        for step in steps {
            let kind = step["type"].as_str().unwrap_or("none");
            match kind {
                "Replace" => {
                    let (pattern, content) = (step["pattern"]["String"].as_str(), step["content"].as_str());
                    let (Some(pattern), Some(content)) = (pattern, content) else {
                        return refuse("a Replace by a regular expression");
                    };
                    if pattern.is_empty() || fused && pattern.chars().count() > 1 {
                        return refuse("a Replace across tokens");
                    }
                    replace.push((pattern.to_owned(), content.to_owned()));
                }
                "ByteFallback" => byte_fallback = true,
                "Fuse" => fused = true,
                "Strip" => {
                    let number = |key: &str| step[key].as_u64().and_then(|n| usize::try_from(n).ok());
                    let content = step["content"].as_str().and_then(|content| content.chars().next());
                    match (content, number("start"), number("stop")) {
                        (Some(content), Some(start), Some(0)) if fused && beginning == Rule::Nothing => {
                            beginning = Rule::Leading(content, start);
                        }
                        _ => return refuse("a Strip of anything but the beginning of the text"),
                    }
                }
                "Metaspace" if !fused => {
                    let Some(space) = step["replacement"].as_str().and_then(|space| space.chars().next()) else {
                        return refuse("a Metaspace without its character");
                    };
                    let never = step["prepend_scheme"] == "never" || step["add_prefix_space"] == false;
                    if !never {
                        beginning = Rule::OfFirstToken(space);
                    }
                    replace.push((space.to_string(), " ".to_owned()));
                }
                _ => return refuse(kind),
            }
        }
        if replace.is_empty() && !byte_fallback {
            return refuse("none");
        }
        Ok(Self { alphabet: Alphabet::Pieces { replace, byte_fallback }, beginning })
    }

    /// The bytes of a token in the middle of a text.
    pub(crate) fn token_bytes(&self, token: &str) -> Vec<u8> {
        match &self.alphabet {
            Alphabet::ByteLevel => token_to_bytes(token),
            Alphabet::Pieces { replace, byte_fallback } => match byte_of(token) {
                Some(byte) if *byte_fallback => vec![byte],
                _ => {
                    let replaced = |token: String, (from, to): &(String, String)| token.replace(from.as_str(), to);
                    replace.iter().fold(token.to_owned(), replaced).into_bytes()
                }
            },
        }
    }

    /// The bytes that a token adds to the text of which `position` tells how much there is.
    pub(crate) fn next(&self, position: &mut Position, token: &str) -> Vec<u8> {
        if position.past_beginning {
            return self.token_bytes(token);
        }
        match &self.beginning {
            Rule::Nothing => {
                position.past_beginning = true;
                self.token_bytes(token)
            }
            Rule::OfFirstToken(space) => {
                position.past_beginning = true;
                self.token_bytes(&token.replace(*space, ""))
            }
            Rule::Leading(char, most) => {
                let mut encoded = [0; 4];
                let encoded = char.encode_utf8(&mut encoded).as_bytes();
                let bytes = self.token_bytes(token);
                let mut rest = bytes.as_slice();
                while position.dropped < *most
                    && let Some(tail) = rest.strip_prefix(encoded)
                {
                    position.dropped += 1;
                    rest = tail;
                }
                position.past_beginning = position.dropped == *most || !rest.is_empty();
                rest.to_vec()
            }
        }
    }
}

/// The byte of a token such as `<0xE4>`.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    // One of two digits may not be a sign, which `from_str_radix` would take.
    let both = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    both.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

fn refuse<T>(kind: &str) -> Result<T> {
    Err(Error::Vocabulary(format!(
        "its decoder is {kind}, but only those of byte-level and SentencePiece vocabularies are supported"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use tokenizers::Decoder as _;

    fn decode(decoder: &Decoder, tokens: &[String]) -> String {
        let mut position = Position::default();
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| decoder.next(&mut position, token)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn decoders() -> Vec<Value> {
        let replace = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
        let strip = |start: u32| json!({"type": "Strip", "content": " ", "start": start, "stop": 0});
        let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "decoders": steps});
        let (bytes, fuse) = (json!({"type": "ByteFallback"}), json!({"type": "Fuse"}));
        let metaspace =
            |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true});
        vec![
            sequence(vec![replace.clone(), bytes.clone(), fuse.clone(), strip(1)]),
            sequence(vec![replace.clone(), bytes.clone(), fuse.clone(), strip(2)]),
            sequence(vec![replace, bytes.clone(), fuse]),
            sequence(vec![bytes, metaspace("first")]),
            metaspace("always"),
            metaspace("never"),
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The library decodes strings; where its bytes are whole characters it must say the same.
        #[test]
        fn decodes_like_the_library(
            tokens in prop::collection::vec("▁{0,3}|▁[a-c]|[a-c]▁|é|<0x4[0-9A-F]>|<0x4>|Ġ| |<0xC3><0xA9>", 0..8),
        ) {
            for json in decoders() {
                let library: tokenizers::DecoderWrapper = serde_json::from_value(json.clone()).unwrap();
                let ours = Decoder::from_json(&json).unwrap();
                prop_assert_eq!(decode(&ours, &tokens), library.decode(tokens.clone()).unwrap(), "{}", json);
            }
        }
    }

    #[test]
    fn bytes_join_to_characters() {
        let decoder = Decoder::from_json(&decoders()[0]).unwrap();
        let tokens = ["▁caf", "<0xC3>", "<0xA9>", "▁", "<0xE4>", "x"].map(str::to_owned);
        assert_eq!(decode(&decoder, &tokens), "café \u{fffd}x");
        assert_eq!(decoder.token_bytes("<0xE4>"), [0xE4]);
        assert_eq!(decoder.token_bytes("<0x+4>"), b"<0x+4>");
        assert_eq!(decoder.token_bytes("▁the"), b" the");
    }

    #[test]
    fn decoders_that_look_at_neighbours_are_refused_by_name() {
        let refused = |json: Value| Decoder::from_json(&json).unwrap_err().to_string();
        assert!(refused(Value::Null).contains("none"));
        assert!(refused(json!({"type": "WordPiece", "prefix": "##", "cleanup": true})).contains("WordPiece"));
        assert!(refused(json!({"type": "BPEDecoder", "suffix": "</w>"})).contains("BPEDecoder"));
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        assert!(refused(json!({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, strip]})).contains("Strip"));
        let replace = json!({"type": "Replace", "pattern": {"Regex": "▁"}, "content": " "});
        assert!(refused(replace).contains("regular expression"));
    }
}
