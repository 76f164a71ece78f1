//! A conversation as a text to read, for `/save`.

use super::conversation::Exchange;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The conversation with the model `name`, in Markdown. What the model has forgotten stands in it too.
pub fn transcript(name: &str, system: Option<&str>, exchanges: &[Exchange]) -> String {
    let mut text = format!("# Conversation with {name}\n");
    let mut part = |title: &str, body: &str| text += &format!("\n## {title}\n\n{}\n", body.trim());
    if let Some(system) = system {
        part("Instructions", system);
    }
    for Exchange { question, answer } in exchanges {
        part("You", question);
        if let Some(thinking) = &answer.reasoning_content {
            part(&format!("{name}, thinking"), thinking);
        }
        part(name, answer.content.as_deref().unwrap_or_default());
    }
    text
}

/// Writes `text` to the file `path`, which must not be there yet.
pub fn save(path: &Path, text: &str) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).with_context(cannot),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            anyhow::bail!("{} is there already and stays as it is: give another name", path.display())
        }
        Err(error) => Err(error).with_context(cannot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_chat::Message;

    #[test]
    fn everything_that_was_said_is_in_it() {
        let thought = Message { reasoning_content: Some("7+9=16\n".into()), ..Message::assistant("16") };
        let exchanges = [
            Exchange { question: "What is 7+9?".into(), answer: thought },
            Exchange { question: "Thanks!".into(), answer: Message::assistant("You are welcome.") },
        ];
        assert_eq!(
            transcript("nano", Some("Be brief."), &exchanges),
            "# Conversation with nano\n\n## Instructions\n\nBe brief.\n\n## You\n\nWhat is 7+9?\n\n## nano, thinking\n\n\
             7+9=16\n\n## nano\n\n16\n\n## You\n\nThanks!\n\n## nano\n\nYou are welcome.\n"
        );
    }

    #[test]
    fn a_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("talk.md");
        save(&path, "first").unwrap();
        let error = save(&path, "second").unwrap_err().to_string();
        assert!(error.contains("talk.md") && error.contains("another name"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        assert!(save(&folder.path().join("none/talk.md"), "").unwrap_err().to_string().contains("cannot write"));
    }
}
