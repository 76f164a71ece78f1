//! Typed access to the keys of a `config.json`, with errors that name file, key and cure.

use std::path::Path;

use serde_json::{Map, Value};

use super::ConfigError;

/// An object of the file, with the name that its keys carry in errors. A null is an absent key.
pub(crate) struct Keys<'a> {
    map: &'a Map<String, Value>,
    section: &'a str,
    pub(super) file: &'a Path,
}

impl<'a> Keys<'a> {
    pub(super) fn new(value: &'a Value, section: &'a str, file: &'a Path) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => Ok(Keys { map, section, file }),
            _ => Err(ConfigError {
                file: file.to_owned(),
                key: if section.is_empty() { "(whole file)".into() } else { section.into() },
                problem: "is not a JSON object".into(),
                cure: "check that this is the model's config.json".into(),
            }),
        }
    }

    pub(crate) fn fail(&self, key: &str, problem: impl Into<String>, cure: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            key: match self.section {
                "" => key.to_owned(),
                section => format!("{section}.{key}"),
            },
            problem: problem.into(),
            cure: cure.into(),
        }
    }

    /// A setting under which this code would compute something else than upstream's.
    pub(crate) fn unsupported(&self, key: &str, value: &str, cure: impl Into<String>) -> ConfigError {
        self.fail(key, format!("{:?} is not supported", shorten(value)), cure)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The value under `key` through `read`, which gives `None` for a wrong type.
    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| {
            let problem = format!("{} is not {wanted}", shorten(&value.to_string()));
            self.fail(key, problem, format!("give {wanted}"))
        })
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.typed(key, "a whole number of 0 or more", |value| usize::try_from(value.as_u64()?).ok())
    }

    pub(crate) fn needed_size(&self, key: &str) -> Result<usize, ConfigError> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn sizes(&self, key: &str) -> Result<Vec<usize>, ConfigError> {
        let size = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let read = self.typed(key, "a list of whole numbers", |value| value.as_array()?.iter().map(size).collect())?;
        Ok(read.unwrap_or_default())
    }

    pub(crate) fn float(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(crate) fn needed_float(&self, key: &str) -> Result<f64, ConfigError> {
        self.float(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, ConfigError> {
        let float = |value: &Value| value.as_f64().map(|x| x as f32);
        self.typed(key, "a list of numbers", |value| value.as_array()?.iter().map(float).collect())
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.typed(key, "a text", Value::as_str)
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let read = self.typed(key, "a list of texts", |value| value.as_array()?.iter().map(text).collect())?;
        Ok(read.unwrap_or_default())
    }

    /// A token id or a list of them. A number that is no id, such as −1, becomes one that no model has.
    pub(super) fn ids(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        let id = |value: &Value| {
            let id = value.as_u64().or_else(|| value.as_i64().map(|_| u64::MAX))?;
            Some(u32::try_from(id).unwrap_or(u32::MAX))
        };
        let read = self.typed(key, "a token id or a list of them", |value| match value {
            Value::Array(ids) => ids.iter().map(id).collect(),
            single => Some(vec![id(single)?]),
        })?;
        Ok(read.unwrap_or_default())
    }

    fn missing(&self, key: &str) -> ConfigError {
        self.fail(key, "is missing", "add it, as the model's own config.json has it")
    }
}

/// As much of a value from the file as an error may repeat, on one line.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
