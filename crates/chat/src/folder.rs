//! The files of a Hugging Face folder that say how its model talks: those of the tokenizer, templates in files of
//! their own, and `generation_config.json`.

use crate::format::TEMPLATE;
use crate::{ChatFormat, Error, Result};
use picnic_tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

const GENERATION: &str = "generation_config.json";

impl ChatFormat {
    /// Reads a folder. A template in a file of its own takes precedence over the one in `tokenizer_config.json`.
    ///
    /// # Errors
    /// Files that cannot be read or contradict each other.
    pub fn from_dir(dir: &Path) -> Result<ChatFormat> {
        let mut tokenizer = Tokenizer::from_dir(dir)?;
        if let Some(template) = template_of(dir)? {
            tokenizer.set(TEMPLATE, template);
        } else if tokenizer.setting(TEMPLATE).is_none_or(Value::is_null)
            && let Some(template) = template_of_processor(dir)?
        {
            tokenizer.set(TEMPLATE, template);
        }
        let mut chat = ChatFormat::new(tokenizer);
        if let Some(text) = read(&dir.join(GENERATION))? {
            // As in `transformers`, a broken one keeps nobody from the model.
            let generation: Map<String, Value> = serde_json::from_str(&text).unwrap_or_else(|error| {
                chat.notes.push(format!("{GENERATION} is left out, as it is no JSON object: {error}"));
                Map::new()
            });
            let ids = match generation.get("eos_token_id") {
                Some(Value::Array(ids)) => ids.iter().collect(),
                one => one.into_iter().collect::<Vec<_>>(),
            };
            let ids: Vec<u32> = ids.into_iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect();
            chat.generation = generation;
            chat = chat.with_end_tokens(ids);
        }
        Ok(chat)
    }

    /// Writes the tokenizer's files, with the chat template, and `generation_config.json`, with the end tokens, into
    /// `dir`, which is made if need be. Each file appears whole or not at all. Equal formats write equal bytes.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.tokenizer().save(dir)?;
        let mut generation = self.generation.clone();
        if let Some(bos) = self.tokenizer().bos() {
            generation.entry("bos_token_id").or_insert(bos.into());
        }
        match self.ends().ids() {
            [] => {}
            &[id] => drop(generation.insert("eos_token_id".to_owned(), id.into())),
            ids => drop(generation.insert("eos_token_id".to_owned(), ids.into())),
        }
        write(&dir.join(GENERATION), &format!("{:#}\n", Value::Object(generation)))
    }
}

/// The template in files of its own: `chat_template.jinja`, with more of them in `additional_chat_templates`, each named
/// as its file. The value is that of `chat_template` in `tokenizer_config.json`, where they are saved.
fn template_of(dir: &Path) -> Result<Option<Value>> {
    let Some(default) = read(&dir.join("chat_template.jinja"))? else { return Ok(None) };
    let mut named = Vec::new();
    for entry in fs::read_dir(dir.join("additional_chat_templates")).into_iter().flatten().flatten() {
        let path = entry.path();
        if let (Some("jinja"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_stem()) {
            named.push((name.to_string_lossy().into_owned(), read(&path)?.unwrap_or_default()));
        }
    }
    if named.is_empty() {
        return Ok(Some(default.into()));
    }
    named.sort();
    named.insert(0, ("default".to_owned(), default));
    Ok(Some(named.into_iter().map(|(name, template)| json!({"name": name, "template": template})).collect()))
}

/// The template that older folders keep for a processor of text and images, whose tokenizer has none.
fn template_of_processor(dir: &Path) -> Result<Option<Value>> {
    let path = dir.join("chat_template.json");
    let Some(text) = read(&path)? else { return Ok(None) };
    let json: Value = serde_json::from_str(&text)
        .map_err(|error| Error::File { path: path.clone(), problem: format!("is no JSON: {error}") })?;
    Ok(json.get(TEMPLATE).filter(|template| !template.is_null()).cloned())
}

/// The text of a file, if there is one.
fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::File { path: path.to_owned(), problem: format!("cannot be read: {error}") }),
    }
}

/// Writes beside the target and renames over it.
fn write(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("json.partial");
    let written = fs::File::create(&partial)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| Error::File { path: path.to_owned(), problem: format!("cannot be written: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChatOptions;
    use crate::format::tests::bytes;

    #[test]
    fn a_template_file_takes_precedence() {
        let dir = tempfile::tempdir().unwrap();
        ChatFormat::picnic(bytes()).save(dir.path()).unwrap();
        fs::write(dir.path().join("chat_template.jinja"), "{{ bos_token }}x").unwrap();
        let chat = ChatFormat::from_dir(dir.path()).unwrap();
        assert_eq!(chat.prompt(&[], &ChatOptions::default()).unwrap().text, "<|bos|>x");
        // More of them, and saved again in one file.
        let more = dir.path().join("additional_chat_templates");
        fs::create_dir(&more).unwrap();
        fs::write(more.join("tool_use.jinja"), "{{ tools[0].name }}").unwrap();
        let saved = tempfile::tempdir().unwrap();
        ChatFormat::from_dir(dir.path()).unwrap().save(saved.path()).unwrap();
        let (chat, tools) = (ChatFormat::from_dir(saved.path()).unwrap(), [json!({"name": "f"})]);
        let text = |tools| chat.prompt(&[], &ChatOptions { tools, ..ChatOptions::default() }).unwrap().text;
        assert_eq!((text(&[]), text(&tools)), ("<|bos|>x".to_owned(), "f".to_owned()));
    }

    #[test]
    fn a_processors_template_serves_where_there_is_no_other() {
        let dir = tempfile::tempdir().unwrap();
        ChatFormat::new(bytes()).save(dir.path()).unwrap();
        fs::write(dir.path().join("chat_template.json"), r#"{"chat_template": "{{ eos_token }}"}"#).unwrap();
        let text = || ChatFormat::from_dir(dir.path()).unwrap().prompt(&[], &ChatOptions::default()).unwrap().text;
        assert_eq!(text(), "<|eos|>");
        fs::write(dir.path().join("chat_template.jinja"), "x").unwrap();
        assert_eq!(text(), "x");
    }

    #[test]
    fn generation_config_adds_end_tokens_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(GENERATION);
        let generation = || serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap()).unwrap();
        let chat = ChatFormat::picnic(bytes());
        chat.save(dir.path()).unwrap();
        assert_eq!(generation(), serde_json::json!({"bos_token_id": 0, "eos_token_id": 1}));
        fs::write(&path, r#"{"temperature": 0.6, "eos_token_id": [7, 3, 7], "bos_token_id": 5}"#).unwrap();
        let more = ChatFormat::from_dir(dir.path()).unwrap();
        assert_eq!((more.ends().ids(), more.ends().turn()), (&[1, 3, 7][..], Some(1)));
        more.save(dir.path()).unwrap();
        let expected = serde_json::json!({"temperature": 0.6, "eos_token_id": [1, 3, 7], "bos_token_id": 5});
        assert_eq!(generation(), expected);
        for (odd, ids) in [("null", 1), ("9", 2), ("-1", 1), ("[4294967296, 9]", 2), ("\"x\"", 1)] {
            fs::write(&path, format!("{{\"eos_token_id\": {odd}}}")).unwrap();
            assert_eq!(ChatFormat::from_dir(dir.path()).unwrap().ends().ids().len(), ids, "{odd}");
        }
        for broken in ["{", "", "[]"] {
            fs::write(&path, broken).unwrap();
            let chat = ChatFormat::from_dir(dir.path()).unwrap();
            assert_eq!(chat.ends().ids(), [1]);
            let notes: Vec<&str> = chat.notes().collect();
            assert!(matches!(notes[..], [note] if note.contains(GENERATION)), "{notes:?}");
        }
    }
}
