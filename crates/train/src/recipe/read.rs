//! From a TOML table to a struct, by serde, with errors that say which key, what is wrong with it
//! and what to do.
//!
//! A deserializer of our own rather than the `toml` crate's: serde reports an unknown key together
//! with the valid ones, but only to the error type, and that crate's makes one text of it.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

/// What is wrong with a key, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; {cure}")]
pub struct Fault {
    /// The dotted key, `rl.optimizer.lr` or `tasks.0.weight`.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

impl Fault {
    pub(super) fn new(key: &str, problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { key: key.to_owned(), problem: problem.into(), cure: cure.into() }
    }

    /// The same fault, seen from the table that holds this one under `parent`.
    pub(super) fn under(mut self, parent: &str) -> Self {
        self.key = if self.key.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.key) };
        self
    }
}

/// Reads a struct and refuses keys that it does not know (given `deny_unknown_fields`).
pub(super) fn table<T: DeserializeOwned>(table: Table) -> Result<T, Fault> {
    T::deserialize(Node(Value::Table(table)))
}

/// The keys of a struct, as its derived `Deserialize` names them.
pub(super) fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // Stops at the names, so there is no value to use.
    let _ = T::deserialize(Names(&mut keys));
    keys
}

/// The fault of a key that is none of `valid`: it names those that look most like it.
pub(super) fn unknown_key(key: &str, valid: &[&str]) -> Fault {
    Fault::new(&shorten(key), "is unknown", format!("did you mean {}?", nearest(key, valid)))
}

/// Refuses a value outside its range; NaN lies outside every range.
pub(super) fn within<T: PartialOrd + Display>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), Fault> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = range.into_inner();
    Err(Fault::new(key, format!("{value} is out of range"), format!("give a value from {low} to {high}")))
}

fn nearest(word: &str, valid: &[&str]) -> String {
    let mut ranked: Vec<_> = valid.iter().map(|&key| (strsim::jaro_winkler(&shorten(word), key), key)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let best: Vec<_> = ranked.into_iter().take(3).map(|(_, key)| key).collect();
    best.join(", ")
}

/// As much of a text from the file as an error may repeat, on one line.
pub(super) fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

impl de::Error for Fault {
    fn custom<T: Display>(problem: T) -> Self {
        Self::new("", shorten(&problem.to_string()), "correct it")
    }

    fn invalid_type(found: de::Unexpected, wanted: &dyn de::Expected) -> Self {
        let wanted = match wanted.to_string().as_str() {
            "usize" | "u64" | "u32" => "a whole number of 0 or more".to_owned(),
            "f64" => "a number".to_owned(),
            "a boolean" => "true or false".to_owned(),
            other => other.to_owned(),
        };
        let found = match found {
            de::Unexpected::Map => "table".to_owned(),
            de::Unexpected::Seq => "list".to_owned(),
            other => other.to_string(),
        };
        Self::new("", format!("is {}", shorten(&found)), format!("give {wanted}"))
    }

    fn invalid_value(found: de::Unexpected, wanted: &dyn de::Expected) -> Self {
        Self::invalid_type(found, wanted)
    }

    fn unknown_variant(found: &str, valid: &'static [&'static str]) -> Self {
        Self::new("", format!("{:?} is unknown", shorten(found)), format!("use one of {}", valid.join(", ")))
    }

    fn unknown_field(key: &str, valid: &'static [&'static str]) -> Self {
        unknown_key(key, valid)
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(key, "is missing", "add it")
    }
}

/// A value of the file, on its way into a type.
struct Node(Value);

impl<'de> de::Deserializer<'de> for Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(truth) => visitor.visit_bool(truth),
            Value::Datetime(time) => visitor.visit_string(time.to_string()),
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), next: 0 }),
            Value::Table(table) => visitor.visit_map(Entries { entries: table.into_iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        valid: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(IntoDeserializer::<Fault>::into_deserializer(name)),
            other => {
                let cure = format!("use one of {}", valid.join(", "));
                Err(Fault::new("", format!("is {}, not a name", shorten(&other.to_string())), cure))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The entries of a table; a fault in a value gets the entry's key.
struct Entries {
    entries: toml::map::IntoIter<String, Value>,
    value: Option<(String, Value)>,
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.value = self.entries.next();
        let Some((key, _)) = &self.value else {
            return Ok(None);
        };
        let key: StringDeserializer<Fault> = key.clone().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (key, value) =
            self.value.take().ok_or_else(|| Fault::new("", "has a value without a key", "correct it"))?;
        seed.deserialize(Node(value)).map_err(|fault| fault.under(&key))
    }
}

/// The items of a list; a fault in one gets its index.
struct Items {
    items: std::vec::IntoIter<Value>,
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        let index = self.next;
        self.next += 1;
        seed.deserialize(Node(value)).map(Some).map_err(|fault| fault.under(&index.to_string()))
    }
}

/// A deserializer without a value, which only listens to what it is asked for.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> de::Deserializer<'de> for Names<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::new("", "has no keys", "ask for a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        *self.0 = keys;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit option
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
