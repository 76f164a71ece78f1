//! JSON character by character: where a value ends, whether it is one, and what its members are as the model wrote them.
//!
//! Grammar only: numbers keep all of their digits, and keys may repeat. One thing is mended, since models write it all
//! the time: a control character in a string, such as a line break, comes out escaped.

/// Nesting that is followed at most.
const MAX_DEPTH: usize = 100;

/// A list or an object while it is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    /// Of what is open, whether it is an object.
    open: Vec<bool>,
    expect: Expect,
    /// A number or a word such as `true` so far.
    bare: String,
    /// Hexadecimal digits that an escape still needs.
    hex: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Expect {
    #[default]
    Value,
    /// A value, or the end of an empty list.
    First,
    /// A key, or the end of an empty object.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of what is open.
    Comma,
    Bare,
    Text {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    Done,
}

/// What a character did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    More,
    /// The value is whole with this character.
    Done,
    /// There is no JSON that goes on like this.
    Invalid,
}

impl Scanner {
    /// Reads a character and adds it to `out`, escaped if it must be.
    pub(super) fn push(&mut self, c: char, out: &mut String) -> Step {
        if self.is_in_text() && c < ' ' {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c => out.push_str(&format!("\\u{:04x}", c as u32)),
            }
            return Step::More;
        }
        out.push(c);
        match self.next(c) {
            None => Step::Invalid,
            Some(expect) => {
                self.expect = expect;
                if expect == Expect::Done { Step::Done } else { Step::More }
            }
        }
    }

    /// Whether it is inside of a string, where any text may stand.
    pub(super) fn is_in_text(&self) -> bool {
        matches!(self.expect, Expect::Text { .. })
    }

    /// How many lists and objects are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    fn next(&mut self, c: char) -> Option<Expect> {
        let is_space = matches!(c, ' ' | '\n' | '\r' | '\t');
        match self.expect {
            Expect::Text { is_key } => Some(match c {
                '\\' => Expect::Escape { is_key },
                '"' if is_key => Expect::Colon,
                '"' => Expect::Comma,
                _ => Expect::Text { is_key },
            }),
            Expect::Escape { is_key } if self.hex > 0 => {
                self.hex -= 1;
                let next = if self.hex == 0 { Expect::Text { is_key } } else { self.expect };
                c.is_ascii_hexdigit().then_some(next)
            }
            Expect::Escape { is_key } => match c {
                'u' => {
                    self.hex = 4;
                    Some(self.expect)
                }
                '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => Some(Expect::Text { is_key }),
                _ => None,
            },
            Expect::Bare if !is_space && !matches!(c, ',' | ']' | '}') => {
                self.bare.push(c);
                (self.bare.len() <= 400).then_some(Expect::Bare)
            }
            Expect::Bare => {
                let bare = std::mem::take(&mut self.bare);
                if !is_number_or_word(&bare) {
                    return None;
                }
                self.expect = Expect::Comma;
                self.next(c)
            }
            expect if is_space => Some(expect),
            Expect::First if c == ']' => self.close(false),
            Expect::Value | Expect::First => self.value(c),
            Expect::FirstKey if c == '}' => self.close(true),
            Expect::FirstKey | Expect::Key => (c == '"').then_some(Expect::Text { is_key: true }),
            Expect::Colon => (c == ':').then_some(Expect::Value),
            Expect::Comma => match (c, self.open.last()) {
                (',', Some(true)) => Some(Expect::Key),
                (',', Some(false)) => Some(Expect::Value),
                ('}', _) => self.close(true),
                (']', _) => self.close(false),
                _ => None,
            },
            Expect::Done => None,
        }
    }

    /// What a value's first character begins.
    fn value(&mut self, c: char) -> Option<Expect> {
        match c {
            '{' | '[' if self.open.len() < MAX_DEPTH => {
                self.open.push(c == '{');
                Some(if c == '{' { Expect::FirstKey } else { Expect::First })
            }
            '"' if !self.open.is_empty() => Some(Expect::Text { is_key: false }),
            '-' | '0'..='9' | 't' | 'f' | 'n' if !self.open.is_empty() => {
                self.bare.push(c);
                Some(Expect::Bare)
            }
            _ => None,
        }
    }

    fn close(&mut self, is_object: bool) -> Option<Expect> {
        (self.open.pop()? == is_object).then_some(())?;
        Some(if self.open.is_empty() { Expect::Done } else { Expect::Comma })
    }
}

fn is_number_or_word(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if matches!(text, "true" | "false" | "null") {
        return true;
    }
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(before, after)| (before, Some(after)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(before, after)| (before, Some(after)));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// The members of an object that a [`Scanner`] found whole: each key, and its value as it was written.
pub(super) fn members(object: &str) -> Vec<(String, &str)> {
    let values = parts(object);
    let pairs = values.chunks_exact(2);
    pairs.filter_map(|pair| Some((serde_json::from_str(pair[0]).ok()?, pair[1]))).collect()
}

/// What stands in a list or an object that a [`Scanner`] found whole, keys and values alike.
pub(super) fn parts(whole: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0usize, 1);
    let (mut in_text, mut escaped) = (false, false);
    for (at, c) in whole.char_indices() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => in_text = true,
            '{' | '[' => depth += 1,
            ',' | ':' if depth == 1 => {
                parts.push(whole[from..at].trim());
                from = at + 1;
            }
            '}' | ']' if depth == 1 => parts.push(whole[from..at].trim()),
            '}' | ']' => depth -= 1,
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// The value that `text` begins with, if it is whole, and how many bytes it has.
    fn scan(text: &str) -> Option<(String, usize)> {
        let (mut scanner, mut out) = (Scanner::default(), String::new());
        for (at, c) in text.char_indices() {
            match scanner.push(c, &mut out) {
                Step::More => {}
                Step::Done => return Some((out, at + c.len_utf8())),
                Step::Invalid => return None,
            }
        }
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn agrees_with_serde(parts in prop::collection::vec(prop::sample::select(&[
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\n", "\\u00e9", "\\", "1", "-0.5e+3", "01", ".", "e", "true", "nul",
            " ", "\"k\":", "é",
        ][..]), 0..12), opened: bool) {
            let text = if opened { "{\"a\":[" } else { "" }.to_owned() + &parts.concat();
            let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
            let theirs = values.next().and_then(Result::ok).filter(|value| value.is_object() || value.is_array());
            let ours = scan(&text);
            prop_assert_eq!(ours.as_ref().map(|(_, length)| *length), theirs.as_ref().map(|_| values.byte_offset()));
            if let (Some((json, _)), Some(Value::Object(map))) = (ours, theirs) {
                for (key, value) in members(&json) {
                    prop_assert!(map.contains_key(&key) && serde_json::from_str::<Value>(value).is_ok());
                }
            }
        }
    }

    #[test]
    fn line_breaks_in_strings_come_out_escaped() {
        let (json, _) = scan("{\"a\": \"1\n2\t3\u{1}\"}").unwrap();
        assert_eq!(json, r#"{"a": "1\n2\t3\u0001"}"#);
    }
}
