//! Recipe files laid over each other, and where each key of the result came from.
//!
//! Tables merge key by key; anything else, lists too, replaces what lay below. What the keys mean
//! is not known here, only that some are shared between stages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::read::{Fault, shorten};
use super::{RecipeError, stages};

/// A recipe is a page; more is the wrong file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Files in one chain of `extends`, and parts of a dotted key.
const MAX_DEPTH: usize = 16;
/// The place of what was typed after the recipe.
pub(super) const COMMAND_LINE: &str = "command line";

/// A merged table that remembers who wrote what.
pub(super) struct Layers {
    pub table: Table,
    /// By dotted key: the place, and the key as it is written there.
    origins: BTreeMap<String, (String, String)>,
    /// The file that was asked for: whoever lacks a key, lacks it there.
    root: String,
}

impl Layers {
    /// Reads a file with all that it extends. Where a stage of the chain is given as the name of a
    /// file (relative to the naming file), its table is what that file says without the `shared` keys.
    pub fn read(path: &Path, shared: &[&str]) -> Result<Self, RecipeError> {
        Self::read_chain(path, &mut Vec::new(), Some(shared))
    }

    /// `shared` is `None` inside a stage's file, which names no stages.
    fn read_chain(path: &Path, chain: &mut Vec<PathBuf>, shared: Option<&[&str]>) -> Result<Self, RecipeError> {
        let place = path.display().to_string();
        let fail = |key: &str, problem: String, cure: &str| RecipeError::Value {
            place: place.clone(),
            fault: Fault::new(key, problem, cure),
        };
        let real = path.canonicalize().map_err(|e| whole(&place, format!("cannot be read: {e}"), "check the path"))?;
        if chain.contains(&real) {
            return Err(fail("extends", "leads back to this file".into(), "break the circle"));
        }
        if chain.len() == MAX_DEPTH {
            return Err(fail("extends", format!("is the {MAX_DEPTH}th in a row"), "merge some of the files"));
        }
        chain.push(real);

        let mut table = parse(path, &place)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let below = match table.remove("extends") {
            None => None,
            Some(Value::String(name)) => Some(Self::read_chain(&folder.join(name), chain, shared)?),
            Some(_) => return Err(fail("extends", "is not a text".into(), "give the name of one file")),
        };
        let mut own = Self { table: Table::new(), origins: BTreeMap::new(), root: place.clone() };
        for (key, value) in table {
            match (shared, value) {
                (Some(shared), Value::String(name)) if stages::NAMES.contains(&key.as_str()) => {
                    let stage = Self::read_chain(&folder.join(name), chain, None)?;
                    own.put_stage(&key, stage, shared)?;
                }
                (_, value) => {
                    own.note(&key, &value, &place, &key);
                    own.table.insert(key, value);
                }
            }
        }
        chain.pop();
        Ok(match below {
            None => own,
            Some(mut all) => {
                merge(&mut all.table, own.table);
                all.origins.append(&mut own.origins);
                all.root = place;
                all
            }
        })
    }

    /// Takes a stage's file in as the table `name`. Shared keys that it extends give way to the
    /// chain's own; one that it sets itself would be lost without a word, so it is refused.
    fn put_stage(&mut self, name: &str, mut stage: Layers, shared: &[&str]) -> Result<(), RecipeError> {
        for &key in shared {
            if stage.table.remove(key).is_some() && stage.origin(key).0 == stage.root {
                let problem = "is shared by all stages, and this file is a stage of a whole chain";
                let cure = "set it in the chain's own file or in one that both extend";
                return Err(RecipeError::Value { place: stage.root, fault: Fault::new(key, problem, cure) });
            }
        }
        let moved = stage.origins.into_iter().map(|(key, origin)| (format!("{name}.{key}"), origin));
        self.origins.extend(moved);
        self.table.insert(name.to_owned(), Value::Table(stage.table));
        Ok(())
    }

    /// Puts `key=value` on top. The value is TOML (`1e-3`, `true`, `[3, 4]`) or else a text; a number
    /// in the key counts into a list (`tasks.0.weight`).
    pub fn set(&mut self, text: &str) -> Result<(), RecipeError> {
        let fail = |key: &str, problem: &str, cure: &str| RecipeError::Value {
            place: COMMAND_LINE.into(),
            fault: Fault::new(&shorten(key), problem, cure),
        };
        let Some((key, value)) = text.split_once('=') else {
            return Err(fail(text, "is not key=value", "write as in rl.steps=3"));
        };
        let key = key.trim();
        let parts: Vec<&str> = key.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) || parts.len() > MAX_DEPTH {
            return Err(fail(key, "is not a key", "write as in rl.steps=3"));
        }
        let value = toml_or_text(value);
        let (last, parents) = parts.split_last().expect("a split has a part");
        let mut table = &mut self.table;
        let mut parents = parents.iter();
        while let Some(&part) = parents.next() {
            let mut node = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Array(items) = node {
                let found = parents.next().and_then(|index| items.get_mut(index.parse::<usize>().ok()?));
                let Some(item) = found else {
                    return Err(fail(key, "points to no item of the list", "count items from 0"));
                };
                node = item;
            }
            let Value::Table(inner) = node else {
                return Err(fail(key, &format!("{} holds no keys", shorten(part)), "name a key of the recipe"));
            };
            table = inner;
        }
        merge(table, Table::from_iter([((*last).to_owned(), value.clone())]));
        self.note(key, &value, COMMAND_LINE, key);
        Ok(())
    }

    /// Puts the keys of `below` that the table `name` ("" for the whole) lacks into it, as written in `place`.
    pub fn lay_under(&mut self, name: &str, below: Table, place: &str) {
        let mut added = Vec::new();
        let own = match name {
            "" => Some(&mut self.table),
            name => self.table.get_mut(name).and_then(Value::as_table_mut),
        };
        if let Some(own) = own {
            fill(own, below, name, &mut added);
        }
        let prefix = if name.is_empty() { 0 } else { name.len() + 1 };
        for (key, value) in added {
            self.note(&key, &value, place, &key[prefix..]);
        }
    }

    /// The place that wrote a key or, if none did, the table around it; and the key as it stands there.
    fn origin(&self, key: &str) -> (String, String) {
        let mut known = key;
        loop {
            if let Some((place, written)) = self.origins.get(known) {
                return (place.clone(), format!("{written}{}", &key[known.len()..]));
            }
            match known.rfind('.') {
                Some(dot) => known = &known[..dot],
                None => return (self.root.clone(), key.to_owned()),
            }
        }
    }

    /// The place that wrote the value of a dotted key, and the value; `None` if the key is not set.
    pub fn written(&self, key: &str) -> Option<(&str, &Value)> {
        let (place, _) = self.origins.get(key)?;
        let mut parts = key.split('.');
        let first = self.table.get(parts.next()?)?;
        Some((place, parts.try_fold(first, |value, part| value.get(part))?))
    }

    /// The fault with the file that it stands in.
    pub fn locate(&self, fault: Fault) -> RecipeError {
        let (place, key) = self.origin(&fault.key);
        RecipeError::Value { place, fault: Fault { key, ..fault } }
    }

    /// Notes who wrote a value and everything in it.
    fn note(&mut self, key: &str, value: &Value, place: &str, written: &str) {
        self.origins.insert(key.to_owned(), (place.to_owned(), written.to_owned()));
        let mut inner = |name: &str, value| {
            self.note(&format!("{key}.{name}"), value, place, &format!("{written}.{name}"));
        };
        match value {
            Value::Table(table) => table.iter().for_each(|(name, value)| inner(name, value)),
            Value::Array(items) => items.iter().enumerate().for_each(|(i, value)| inner(&i.to_string(), value)),
            _ => {}
        }
    }
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// Inserts what `own`, the table `name`, lacks, and lists it by dotted key.
fn fill(own: &mut Table, below: Table, name: &str, added: &mut Vec<(String, Value)>) {
    for (key, value) in below {
        let dotted = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        match (own.get_mut(&key), value) {
            (Some(Value::Table(own)), Value::Table(below)) => fill(own, below, &dotted, added),
            (Some(_), _) => {}
            (None, value) => {
                own.insert(key, value.clone());
                added.push((dotted, value));
            }
        }
    }
}

fn toml_or_text(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    // More than one key would mean that the text went on in another line.
    parsed
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn parse(path: &Path, place: &str) -> Result<Table, RecipeError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|e| whole(place, format!("cannot be read: {e}"), "a recipe is a readable UTF-8 file"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(whole(place, format!("is larger than {MAX_FILE_BYTES} bytes"), "check that this is a recipe"));
    }
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|&b| b == b'\n').count() + 1;
        whole(place, format!("line {line} is not TOML: {}", shorten(error.message())), "correct that line")
    })
}

fn whole(place: &str, problem: String, cure: &str) -> RecipeError {
    RecipeError::Value { place: place.to_owned(), fault: Fault::new("(whole file)", problem, cure) }
}
