//! What completions and embeddings are asked about: one text or several, as text or in tokens.

use crate::hall::Asked;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use std::fmt;

/// Texts. They are read straight into their places: a buffer for whatever they may be would take many times their size.
pub(crate) struct Texts(pub(crate) Vec<Asked>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

/// The first element of a list says what the others are.
enum Element {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a string, a list of strings, a list of token ids, or a list of those")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts(vec![Asked::Text(text.to_owned())]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
        match list.next_element::<Element>()? {
            None => Ok(Texts(Vec::new())),
            Some(Element::Text(first)) => {
                let mut texts = vec![Asked::Text(first)];
                while let Some(text) = list.next_element::<String>()? {
                    texts.push(Asked::Text(text));
                }
                Ok(Texts(texts))
            }
            Some(Element::Token(first)) => {
                let mut ids = vec![first];
                while let Some(id) = list.next_element::<u32>()? {
                    ids.push(id);
                }
                Ok(Texts(vec![Asked::Tokens(ids)]))
            }
            Some(Element::Tokens(first)) => {
                let mut texts = vec![Asked::Tokens(first)];
                while let Some(ids) = list.next_element::<Vec<u32>>()? {
                    texts.push(Asked::Tokens(ids));
                }
                Ok(Texts(texts))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Element, D::Error> {
        struct ElementVisitor;

        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("a string, a token id, or a list of token ids")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<Element, E> {
                let id = u32::try_from(id).map_err(|_| E::invalid_value(Unexpected::Unsigned(id), &self))?;
                Ok(Element::Token(id))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element::<u32>()? {
                    ids.push(id);
                }
                Ok(Element::Tokens(ids))
            }
        }

        deserializer.deserialize_any(ElementVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_in_four_forms() {
        let read = |json: &str| serde_json::from_str::<Texts>(json).map(|texts| format!("{:?}", texts.0));
        for (json, expected) in [
            (r#""é""#, r#"[Text("é")]"#),
            (r#"["a", "b"]"#, r#"[Text("a"), Text("b")]"#),
            ("[1, 2]", "[Tokens([1, 2])]"),
            ("[[1, 2], []]", "[Tokens([1, 2]), Tokens([])]"),
            ("[]", "[]"),
        ] {
            assert_eq!(read(json).unwrap(), expected, "{json}");
        }
        for wrong in ["7", "[1, \"a\"]", "[-1]", "[4294967296]", "{}", "[[[1]]]", "[\"a\", [1]]", "null"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
