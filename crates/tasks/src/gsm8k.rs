//! Word problems from a JSONL file in GSM8K's format: `{"question", "answer"}`, where the
//! answer is a rationale that ends in `#### 72`.
//!
//! A rationale's calculator notes `<<48/2=24>>` are taken out. An answer is right if it is the
//! gold number, alone or with its unit; a number is never fished out of a longer text. Not
//! here: getting the file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::draw;
use crate::number::Number;
use crate::task::{self, Problem, Split, Task, TaskError, Trace, Verdict};

const NAME: &str = "gsm8k";
/// Longest row that is read, in bytes; real ones stay below 4 KB.
const MAX_ROW: u64 = 1 << 20;

/// The dials of [`Gsm8k`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    #[serde(default = "one")]
    pub weight: f64,
    /// The JSONL file.
    pub path: PathBuf,
}

fn one() -> f64 {
    1.0
}

/// Word problems read from a file.
pub struct Gsm8k {
    train: Vec<Problem>,
    held_out: Vec<Problem>,
}

impl Gsm8k {
    /// Reads the whole file and shuffles each split by the seed. A repeated question counts
    /// once.
    ///
    /// # Errors
    /// Strict: any row that is not of the format is an error with its line, and so is a file
    /// that leaves a split empty.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        let path = &config.path;
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for problem in read(path)? {
            if seen.insert(problem.id.clone()) {
                match Split::of(&problem.id) {
                    Split::Train => train.push(problem),
                    Split::HeldOut => held_out.push(problem),
                }
            }
        }
        for (split, rows) in [(Split::Train, &mut train), (Split::HeldOut, &mut held_out)] {
            if rows.is_empty() {
                return Err(TaskError::EmptySplit { path: path.clone(), rows: seen.len(), split });
            }
            rows.shuffle(&mut draw::rng(seed, NAME, split as u64, 0));
        }
        Ok(Self { train, held_out })
    }
}

impl task::Source for Gsm8k {
    /// The rows of the split in shuffled order, over and over.
    fn problem(&self, split: Split, index: u64) -> Problem {
        let rows = match split {
            Split::Train => &self.train,
            Split::HeldOut => &self.held_out,
        };
        rows[(index % rows.len() as u64) as usize].clone()
    }
}

impl Task for Gsm8k {
    fn name(&self) -> &'static str {
        NAME
    }

    fn source(&self) -> &dyn task::Source {
        self
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let gold = Gold::of(problem)?;
        Some(Trace { thinking: gold.rationale, answer: gold.answer })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        match Gold::of(problem).filter(|gold| Number::parse(&gold.answer).is_ok()) {
            Some(gold) => Number::judge(answer, &gold.answer),
            None => Verdict::foreign(NAME, problem),
        }
    }
}

/// The gold of this task's problems.
#[derive(Serialize, Deserialize)]
struct Gold {
    answer: String,
    rationale: String,
}

impl Gold {
    fn of(problem: &Problem) -> Option<Self> {
        serde_json::from_value(problem.gold.clone()).ok()
    }
}

/// One line of the file. Further keys are allowed: published variants have some.
#[derive(Deserialize)]
struct Row {
    question: String,
    answer: String,
}

fn read(path: &Path) -> Result<Vec<Problem>, TaskError> {
    let failed = |source| TaskError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut problems = Vec::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let mut row = reader.by_ref().take(MAX_ROW + 1);
        if row.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        problems.push(parse_row(&bytes).map_err(|fault| TaskError::Row {
            path: path.to_owned(),
            line,
            fault,
            cure: "each line must be {\"question\": …, \"answer\": \"… #### 72\"}; fix or remove it",
        })?);
    }
    Ok(problems)
}

fn parse_row(bytes: &[u8]) -> Result<Problem, String> {
    if bytes.len() as u64 > MAX_ROW {
        return Err(format!("longer than {MAX_ROW} bytes"));
    }
    let row: Row = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let question = row.question.trim();
    if question.is_empty() {
        return Err("the question is empty".into());
    }
    let Some((rationale, answer)) = row.answer.split_once("####") else {
        return Err("the answer has no ####".into());
    };
    let answer = answer.trim();
    if let Err(fault) = Number::parse(answer) {
        return Err(format!("after ####, {answer:?}: {fault}"));
    }
    let words: Vec<_> = question.split_whitespace().collect();
    Ok(Problem {
        id: format!("{NAME}/{:016x}", draw::hash(&words.join(" ").to_lowercase())),
        task: NAME.to_owned(),
        prompt: question.to_owned(),
        gold: serde_json::json!({
            "answer": answer.replace(',', ""),
            "rationale": without_notes(rationale).trim(),
        }),
    })
}

/// The rationale without its `<<…>>`.
fn without_notes(mut text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    while let Some((before, rest)) = text.split_once("<<") {
        let Some((_, after)) = rest.split_once(">>") else {
            break;
        };
        plain.push_str(before);
        text = after;
    }
    plain + text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn load(text: &[u8]) -> Result<Gsm8k, TaskError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let config = Config { weight: 1.0, path: file.path().to_owned() };
        Gsm8k::new(config, 0)
    }

    /// Rows of our own: how many eggs are left.
    fn rows(n: usize) -> String {
        (1..=n)
            .map(|i| {
                format!(
                    "{{\"question\": \"A crate holds {} eggs and 7 break. How many are whole?\", \
                     \"answer\": \"There are {0}-7=<<{0}-7={1}>>{1} left.\\n#### {1}\"}}\n",
                    i + 1000,
                    i + 993
                )
            })
            .collect()
    }

    #[test]
    fn rows_become_problems() {
        let task = load(rows(100).as_bytes()).unwrap();
        assert_eq!(task.train.len() + task.held_out.len(), 100);
        let problem = task.problem(Split::Train, 0);
        assert_eq!(problem, task.problem(Split::Train, task.train.len() as u64));
        let trace = task.trace(&problem).unwrap();
        assert!(!trace.thinking.contains("<<") && !trace.thinking.contains("####"));
        assert!(trace.thinking.ends_with("left."));
        for answer in [trace.answer.clone(), format!("{} eggs", trace.answer)] {
            assert!(task.verify(&problem, &answer).is_right());
        }
        assert!(!task.verify(&problem, &trace.thinking).is_right());
    }

    #[test]
    fn a_question_asked_twice_counts_once() {
        let twice = rows(50) + &rows(50).replace("A crate", "a  CRATE");
        let task = load(twice.as_bytes()).unwrap();
        assert_eq!(task.train.len() + task.held_out.len(), 50);
        assert!(task.held_out(51).is_err());
    }

    #[test]
    fn malformed_rows_name_their_line() {
        for (row, fault) in [
            (&b"{"[..], "EOF"),
            (b"[]", "invalid length"),
            (b"{\"question\": \"How many?\"}", "missing field `answer`"),
            (b"{\"question\": 3, \"answer\": \"#### 3\"}", "invalid type"),
            (b"{\"question\": \" \", \"answer\": \"#### 3\"}", "question is empty"),
            (b"{\"question\": \"How many?\", \"answer\": \"3\"}", "no ####"),
            (b"{\"question\": \"How many?\", \"answer\": \"#### few\"}", "few"),
            (b"\xff\xfe", "expected value"),
        ] {
            let mut text = rows(2).into_bytes();
            text.extend(row);
            let message = load(&text).map(|_| ()).unwrap_err().to_string();
            assert!(message.contains("line 3"), "{message}");
            assert!(message.contains(fault) && message.contains("fix or remove"), "{message}");
        }
        let endless = vec![b'x'; 2 << 20];
        let message = load(&endless).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("longer than"), "{message}");
    }

    #[test]
    fn empty_and_missing_files_say_so() {
        for text in ["", "\n\n"] {
            let message = load(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
            assert!(message.contains("0 rows"), "{message}");
        }
        let config = Config { weight: 1.0, path: "no/such/file.jsonl".into() };
        let message = Gsm8k::new(config, 0).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("no/such/file.jsonl"), "{message}");
    }

    #[test]
    fn the_real_file_loads_and_verifies() {
        let shared = std::env::var_os("PICNIC_SHARED")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
        let path = shared.join("data/gsm8k/train.jsonl");
        if !path.exists() {
            println!("skipped: {} is not there", path.display());
            return;
        }
        let task = Gsm8k::new(Config { weight: 1.0, path }, 0).unwrap();
        assert!(task.train.len() > 6000 && task.held_out.len() > 800);
        for problem in task.train.iter().chain(&task.held_out) {
            let trace = task.trace(problem).unwrap();
            assert!(task.verify(problem, &trace.answer).is_right(), "{problem:?}");
        }
    }
}
