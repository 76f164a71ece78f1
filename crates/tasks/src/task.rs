//! What a task is: it poses problems, works them out, and judges answers.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::draw;

/// A source of problems whose answers a rule can check.
pub trait Task: Send + Sync {
    /// The name that a recipe calls it by, also in [`Problem::task`].
    fn name(&self) -> &'static str;

    /// What it poses.
    fn source(&self) -> &dyn Source;

    /// See [`Source::problem`].
    fn problem(&self, split: Split, index: u64) -> Problem {
        self.source().problem(split, index)
    }

    /// See [`Source::levels`].
    fn levels(&self) -> u8 {
        self.source().levels()
    }

    /// See [`Source::problem_at`].
    fn problem_at(&self, split: Split, level: u8, index: u64) -> Problem {
        self.source().problem_at(split, level, index)
    }

    /// The language of the prompt, in which an answer to it should be thought out.
    fn language(&self, problem: &Problem) -> Language {
        let _ = problem;
        Language::English
    }

    /// A written solution in the voice that the cold start teaches; the same problem gives the
    /// same text. It may end in a wrong answer where the task says so. `None` if the problem
    /// is not one of this task's or is too large to work out.
    fn trace(&self, problem: &Problem) -> Option<Trace>;

    /// Judges an answer: the text inside the answer tags, straight from a model.
    fn verify(&self, problem: &Problem, answer: &str) -> Verdict;

    /// One or two short questions of the kind that this task asks, as a person would type them: what is shown to whoever
    /// talks with a model that was taught it. The same dials and the same seed give the same questions.
    fn examples(&self) -> Vec<String> {
        drawn_examples(self)
    }

    /// The problem with its [`Task::trace`], for supervised fine-tuning.
    fn sft_example(&self, problem: &Problem) -> Option<SftExample> {
        let trace = self.trace(problem)?;
        Some(SftExample { prompt: problem.prompt.clone(), thinking: trace.thinking, answer: trace.answer })
    }

    /// Whether a question worded like this is held back from all training, whichever task poses it.
    fn holds_back(&self, prompt: &str) -> bool {
        let _ = prompt;
        false
    }

    /// The first `n` distinct held-out problems, for evaluation.
    ///
    /// # Errors
    /// [`TaskError::TooFewHeldOut`] if so many do not exist (or hardly any do).
    fn held_out(&self, n: usize) -> Result<Vec<Problem>, TaskError> {
        let mut seen = HashSet::new();
        let mut problems = Vec::new();
        // Duplicates are common only when the supply is nearly used up.
        let most_draws = (n as u64).saturating_mul(100).saturating_add(1000);
        for index in 0..most_draws {
            if problems.len() == n {
                break;
            }
            let problem = self.problem(Split::HeldOut, index);
            if seen.insert(problem.id.clone()) {
                problems.push(problem);
            }
        }
        if problems.len() < n {
            return Err(TaskError::TooFewHeldOut { task: self.name(), wanted: n, found: problems.len() });
        }
        Ok(problems)
    }
}

/// The shortest of a few training problems that are neither the easiest nor the hardest.
pub(crate) fn drawn_examples<T: Task + ?Sized>(task: &T) -> Vec<String> {
    let level = (task.levels().max(1) - 1) / 2;
    let prompts = (0..16).map(|index| task.problem_at(Split::Train, level, index).prompt);
    prompts.min_by_key(|prompt| prompt.chars().count()).into_iter().collect()
}

/// Problems by address.
pub trait Source: Send + Sync {
    /// Problem `index` of `split`: the same arguments give the same problem. Two indices may
    /// give the same problem; [`Task::held_out`] is for distinct ones.
    fn problem(&self, split: Split, index: u64) -> Problem;

    /// How many levels of difficulty the dials span, at least 1.
    fn levels(&self) -> u8 {
        1
    }

    /// Problem `index` of `split` at one level, 0 the easiest; a level beyond the last is the last.
    /// [`Source::problem`] has all of them mixed.
    fn problem_at(&self, split: Split, level: u8, index: u64) -> Problem {
        let _ = level;
        self.problem(split, index)
    }
}

/// One question and what is needed to judge an answer to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// What is asked, in a canonical form: `countdown/3,19,25=41`. Problems that differ only
    /// in wording or order share it; it decides the split.
    pub id: String,
    /// Name of the task that made it and can judge it.
    pub task: String,
    /// What the model reads, without any template.
    pub prompt: String,
    /// What the verifier knows; its shape is the task's own.
    pub gold: Value,
}

/// A worked solution: what goes between the thinking tags and between the answer tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The working.
    pub thinking: String,
    /// The final answer, right or (where a task's dials allow it) a best guess.
    pub answer: String,
}

/// A worked problem; [`crate::Format::render`] makes a completion of its last two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SftExample {
    /// What the model is asked.
    pub prompt: String,
    /// What it is to think.
    pub thinking: String,
    /// What it is to answer.
    pub answer: String,
}

/// The outcome of judging one answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Correct, with a score in (0, 1].
    Right(f32),
    /// Incorrect, and why.
    Wrong(String),
    /// The fault lies with the problem or the verifier, and why. Such a sample is left out of
    /// the gradient and counted, never punished.
    CouldNotJudge(String),
}

impl Verdict {
    /// Whether the answer was found correct.
    pub fn is_right(&self) -> bool {
        matches!(self, Self::Right(_))
    }

    pub(crate) fn wrong(reason: impl Into<String>) -> Self {
        Self::Wrong(reason.into())
    }

    /// The verdict on a problem whose gold is not of the task's shape.
    pub(crate) fn foreign(task: &str, problem: &Problem) -> Self {
        Self::CouldNotJudge(format!("{:?} is not a {task} problem", problem.id))
    }
}

/// A language that problems are posed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// In Latin letters.
    English,
    /// In Cyrillic letters.
    Russian,
}

/// Which side of the fence a problem stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// May be trained on.
    Train,
    /// Only ever evaluated on: one problem in eight.
    HeldOut,
}

impl Split {
    /// The split of the problem with this [`Problem::id`], the same for every seed.
    pub fn of(id: &str) -> Self {
        match draw::hash(id) % 8 {
            0 => Self::HeldOut,
            _ => Self::Train,
        }
    }
}

/// Why a task could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A dial is out of range.
    #[error("task {task}: {key} = {value}: {cure}")]
    Dial {
        /// The task.
        task: &'static str,
        /// The recipe key.
        key: &'static str,
        /// The value found there.
        value: String,
        /// What to do about it.
        cure: &'static str,
    },
    /// The dials leave a split without problems.
    #[error("task {task}: no {split:?} problem exists under these dials; widen their ranges")]
    NoProblems {
        /// The task.
        task: &'static str,
        /// The empty split.
        split: Split,
    },
    /// An evaluation asked for more problems than there are.
    #[error(
        "task {task}: {wanted} distinct held-out problems wanted, {found} found; \
         ask for fewer or widen the task's dials or data"
    )]
    TooFewHeldOut {
        /// The task.
        task: &'static str,
        /// How many were asked for.
        wanted: usize,
        /// How many turned up.
        found: usize,
    },
    /// A data file could not be read.
    #[error("{}: {source}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row of a data file is not of the expected form.
    #[error("{}: line {line}: {fault}; {cure}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// What is wrong there.
        fault: String,
        /// What to do about it.
        cure: &'static str,
    },
    /// A data file has no rows for a split.
    #[error(
        "{}: {rows} rows, none of which falls in the {split:?} split; give it more rows (one in eight is held out)",
        path.display()
    )]
    EmptySplit {
        /// The file.
        path: PathBuf,
        /// How many distinct rows it has.
        rows: usize,
        /// The empty split.
        split: Split,
    },
    /// The recipe's list of tasks is empty, repeats one, or weighs them impossibly.
    #[error("tasks: {0}")]
    Mixture(String),
    /// The recipe's list of kinds of text is empty, repeats one, or weighs them impossibly.
    #[error("corpus: {0}")]
    Corpus(String),
}
