//! Questions from a file that nothing is trained on: what people type, in their own words, with what is right.
//!
//! A line is a JSON object with an `id`, a `family`, a `prompt`, and what is right: `"declines": true` where the reply
//! must be that the model can only do other things, or a `kind` and an `answer` ([`Right`]). The task `questions` has
//! the ones that are to be answered, `declined_questions` the others, of the same file. [`crate::Mixture`] draws neither,
//! and leaves out every training problem that is worded like one of them; an evaluation poses them all.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::countdown;
use crate::number::Number;
use crate::task::{Language, Problem, Source, Split, Task, TaskError, Trace, Verdict};
use crate::wording::{is_cyrillic, refuses};

/// Longest answer that is looked at, in bytes.
const MAX_LEN: usize = 1000;

/// The dials of [`Questions`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The JSONL file.
    pub path: PathBuf,
    /// Always 0: these are never drawn.
    #[serde(default)]
    pub weight: f64,
}

/// Held-back questions of a file.
pub struct Questions {
    name: &'static str,
    problems: Vec<Problem>,
    plain: HashSet<String>,
}

/// What is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Right {
    /// One number.
    Number { answer: String },
    /// Letters in order, with anything or nothing between them.
    Letters { answer: String },
    /// Words in order.
    Words { answer: String },
    /// An expression of the numbers, each used at most once, worth the target.
    Expression { numbers: Vec<u32>, target: u32 },
    /// Who is a knight and who is a knave.
    Kinds { answer: BTreeMap<String, String> },
    /// One of these must be in the reply, in any case.
    Contains { answer: Vec<String> },
    /// The reply declines.
    Declines,
}

/// One line of the file.
#[derive(Deserialize)]
struct Row {
    id: String,
    prompt: String,
    #[serde(default)]
    declines: bool,
    #[serde(flatten)]
    right: Option<Right>,
}

impl Questions {
    /// Those that are to be answered.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is no question.
    pub fn answered(config: Config, _seed: u64) -> Result<Self, TaskError> {
        Self::read(&config.path, "questions", false)
    }

    /// Those that are to be declined.
    ///
    /// # Errors
    /// As for [`Questions::answered`].
    pub fn declined(config: Config, _seed: u64) -> Result<Self, TaskError> {
        Self::read(&config.path, "declined_questions", true)
    }

    fn read(path: &Path, name: &'static str, declined: bool) -> Result<Self, TaskError> {
        let text = std::fs::read_to_string(path).map_err(|source| TaskError::Read { path: path.to_owned(), source })?;
        let mut problems = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fault = |fault: String| TaskError::Row {
                path: path.to_owned(),
                line: at + 1,
                fault,
                cure: "give {\"id\", \"prompt\"} and \"declines\": true, or a \"kind\" with its \"answer\"",
            };
            let row: Row = serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
            let right = match (row.declines, row.right) {
                (true, _) => Right::Declines,
                (false, Some(right)) => right,
                (false, None) => return Err(fault("neither \"declines\" nor a known \"kind\"".to_owned())),
            };
            if (right == Right::Declines) == declined {
                let gold = serde_json::json!(right);
                problems.push(Problem {
                    id: format!("{name}/{}", row.id),
                    task: name.to_owned(),
                    prompt: row.prompt,
                    gold,
                });
            }
        }
        if problems.is_empty() {
            return Err(TaskError::EmptySplit { path: path.to_owned(), rows: 0, split: Split::HeldOut });
        }
        let plain = problems.iter().map(|problem| plain(&problem.prompt)).collect();
        Ok(Self { name, problems, plain })
    }
}

/// A question without what makes no difference: blanks, capitals and marks.
fn plain(prompt: &str) -> String {
    let matters = |c: &char| !c.is_whitespace() && !matches!(c, '.' | '?' | '!' | ',' | '=' | '"');
    prompt.chars().filter(matters).flat_map(char::to_lowercase).collect()
}

impl Source for Questions {
    /// In the order of the file, over and over, whatever the split.
    fn problem(&self, _: Split, index: u64) -> Problem {
        self.problems[(index % self.problems.len() as u64) as usize].clone()
    }
}

impl Task for Questions {
    fn name(&self) -> &'static str {
        self.name
    }

    fn source(&self) -> &dyn Source {
        self
    }

    fn examples(&self) -> Vec<String> {
        Vec::new() // they are of other tasks
    }

    fn language(&self, problem: &Problem) -> Language {
        if is_cyrillic(&problem.prompt) { Language::Russian } else { Language::English }
    }

    /// Nobody has worked them out.
    fn trace(&self, _: &Problem) -> Option<Trace> {
        None
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Ok(right) = serde_json::from_value::<Right>(problem.gold.clone()) else {
            return Verdict::foreign(self.name, problem);
        };
        if answer.len() > MAX_LEN {
            return Verdict::wrong("too long");
        }
        let begins = [Language::English, Language::Russian].map(refuses);
        let declines = begins.iter().any(|begins| answer.trim().starts_with(begins));
        let letters = |text: &str| text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        let words = |text: &str| {
            let parted = text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), " ");
            parted.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let is_right = match &right {
            Right::Number { answer: right } => return Number::judge(&answer.replace('−', "-"), right),
            Right::Expression { numbers, target } => return countdown::judge(answer, numbers, *target),
            Right::Letters { answer: right } => letters(answer) == letters(right),
            Right::Words { answer: right } => words(answer) == words(right),
            Right::Kinds { answer: right } => {
                let said = words(answer);
                let after = |name: &String| {
                    let at = said.iter().position(|word| *word == name.to_lowercase())?;
                    said[at + 1..].iter().find(|word| matches!(word.as_str(), "knight" | "knave"))
                };
                right.iter().all(|(name, kind)| after(name) == Some(kind))
            }
            Right::Contains { answer: right } => {
                let said = answer.to_lowercase();
                !declines && right.iter().any(|part| said.contains(part.as_str()))
            }
            Right::Declines => declines,
        };
        if is_right { Verdict::Right(1.0) } else { Verdict::wrong("another answer") }
    }

    /// All of them, however many are asked for.
    fn held_out(&self, _: usize) -> Result<Vec<Problem>, TaskError> {
        Ok(self.problems.clone())
    }

    fn holds_back(&self, prompt: &str) -> bool {
        self.plain.contains(&plain(prompt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mixture, TaskSpec};
    use std::io::Write;

    const FILE: &str = r#"
{"id": "1", "family": "a", "prompt": "What is 2 + 2?", "kind": "number", "answer": "4"}
{"id": "2", "family": "b", "prompt": "spell cat", "kind": "letters", "answer": "c-a-t"}
{"id": "3", "family": "c", "prompt": "make 41 from 25 3 19", "kind": "expression", "numbers": [25, 3, 19], "target": 41}
{"id": "4", "family": "d", "prompt": "Bob says ...", "kind": "kinds", "answer": {"Bob": "knight", "Mia": "knave"}}
{"id": "5", "family": "e", "prompt": "hi", "kind": "contains", "answer": ["hello", "hi "]}
{"id": "6", "family": "f", "prompt": "Why?", "declines": true}
"#;

    fn file() -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(FILE.as_bytes()).unwrap();
        file
    }

    fn config(path: &Path) -> Config {
        Config { path: path.to_owned(), weight: 0.0 }
    }

    #[test]
    fn what_is_right() {
        let file = file();
        let answered = Questions::answered(config(file.path()), 0).unwrap();
        let declined = Questions::declined(config(file.path()), 0).unwrap();
        let judge = |at: usize, answer: &str| answered.verify(&answered.problems[at], answer).is_right();
        assert_eq!((answered.problems.len(), declined.problems.len()), (5, 1));
        assert!(judge(0, "4") && !judge(0, "5"));
        assert!(judge(1, "C-A-T.") && judge(1, "cat") && !judge(1, "t-a-c"));
        assert!(judge(2, "25-3+19") && !judge(2, "25+3"));
        assert!(judge(3, "Mia is a knave, Bob is a knight.") && !judge(3, "Bob is a knave, Mia is a knight"));
        assert!(!judge(3, "Bob is a knight"));
        assert!(judge(4, "Hello! What shall I work out?") && !judge(4, "I can only say hello."));
        let decline = |answer| declined.verify(&declined.problems[0], answer).is_right();
        assert!(decline("I can only calculate.") && decline("Я умею только считать.") && !decline("4"));
    }

    #[test]
    fn nothing_else_is_worded_like_them() {
        let calculations = serde_json::json!({"name": "calculations", "digits": 1, "russian": 0.0});
        let calculations: TaskSpec = serde_json::from_value(calculations).unwrap();
        let without = Mixture::new(std::slice::from_ref(&calculations), 0).unwrap();
        let posed = |mixture: &Mixture, index| Task::problem(mixture, Split::Train, index);
        let asked = posed(&without, 0).prompt;
        let mut file = file();
        let row = serde_json::json!({"id": "7", "prompt": asked.to_uppercase(), "kind": "number", "answer": "1"});
        writeln!(file, "{row}").unwrap();
        let questions = serde_json::json!({"name": "questions", "path": file.path()});
        let with = Mixture::new(&[calculations, serde_json::from_value(questions).unwrap()], 0).unwrap();
        let times = |mixture: &Mixture| {
            (0..20_000).filter(|index| plain(&posed(mixture, *index).prompt) == plain(&asked)).count()
        };
        assert!(times(&without) > 0);
        assert_eq!(times(&with), 0);
        assert!((0..1000).all(|index| posed(&with, index).task == "calculations"));
        assert!(with.arms().iter().all(|arm| arm.task == "calculations"));
    }

    #[test]
    fn a_line_that_is_no_question_is_named() {
        let mut file = file();
        writeln!(file, r#"{{"id": "7", "prompt": "?", "kind": "riddle"}}"#).unwrap();
        let error = Questions::answered(config(file.path()), 0).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("line 8") && error.contains("kind"), "{error}");
    }
}
