//! Written answers to learn from, one JSON object a line: what rejection sampling keeps, or anyone's own.

use crate::error::Error;
use picnic_data::{Example, ProblemFormat};
use picnic_tasks::SftExample;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// An answered problem in its parts, so that any template can put it together again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Which problem.
    pub id: String,
    /// What was asked, without any template.
    pub prompt: String,
    /// What stood between the thinking tags.
    pub thinking: String,
    /// What stood between the answer tags.
    pub answer: String,
}

/// A row of a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Parts { prompt: String, thinking: String, answer: String },
    Whole { prompt: String, completion: String },
}

/// The first `most` rows of a file of traces, as conversations.
///
/// # Errors
/// A file that cannot be read or is empty, or a row that is no trace, with its line.
pub fn read_examples(path: &Path, format: &ProblemFormat, most: usize) -> Result<Vec<Example>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::reading(path))?;
    let mut examples = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).take(most) {
        examples.push(match serde_json::from_str(line) {
            Ok(Row::Parts { prompt, thinking, answer }) => format.example(&SftExample { prompt, thinking, answer })?,
            Ok(Row::Whole { prompt, completion }) => format.completed(&prompt, &completion)?,
            Err(_) => {
                let problem = "is no trace; write an object with \"prompt\" and \"completion\", \
                               or with \"prompt\", \"thinking\" and \"answer\"";
                return Err(Error::Problems { path: path.to_owned(), line: i + 1, problem: problem.to_owned() });
            }
        });
    }
    if examples.is_empty() {
        return Err(Error::Empty { what: format!("{} has no traces", path.display()), cure: "give one a line" });
    }
    Ok(examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_chat::ChatFormat;
    use picnic_tokenizer::{Tokenizer, TrainConfig};

    fn read(text: &str, most: usize) -> Result<Vec<Example>, String> {
        let config = TrainConfig { vocab_size: 280, ..TrainConfig::default() };
        let chat = ChatFormat::picnic(Tokenizer::train(["1 + 1 = 2"], &config).unwrap());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_examples(file.path(), &ProblemFormat::new(&chat).unwrap(), most).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_give_the_same_example() {
        let parts = r#"{"id": "x", "prompt": "1+1?", "thinking": "t", "answer": "2", "score": 1}"#;
        let whole = r#"{"prompt": "1+1?", "completion": "<think>t</think><answer>2</answer>"}"#;
        let examples = read(&format!("{parts}\n\n{whole}\n"), 9).unwrap();
        assert_eq!(examples[0], examples[1]);
        assert_eq!(read(&format!("{parts}\n{whole}\nno trace"), 2).unwrap().len(), 2);
    }

    #[test]
    fn other_rows_are_errors() {
        for row in ["", "\n", "{", "[]", r#"{"prompt": "a"}"#, r#"{"prompt": "a", "completion": 1}"#] {
            let error = read(row, 9).unwrap_err();
            assert!(error.contains("no trace") && !error.contains('\n'), "{error}");
        }
        assert!(read("{\"prompt\": \"a\", \"completion\": \"b\"}\n{}", 9).unwrap_err().contains(":2:"));
    }
}
