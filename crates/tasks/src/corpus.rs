//! The text that a base model is pre-trained on, and a tokenizer with it: kinds of document in parts of the recipe's
//! choice.
//!
//! ```toml
//! [[corpus]]
//! kind = "facts"
//! weight = 30
//! ```
//! The default parts make the text of `pretrain.rs`; `lessons.rs` has what the other tasks need. None is about a held-out
//! problem, nor does one solve any in passing, as the first steps of a Countdown line or an attempt that fails might;
//! none but the dialogues has the think/answer format.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::registry::{Mixture, TaskSpec};
use crate::task::{Split, Task, TaskError};
use crate::{countdown, draw, lessons, pretrain, word_problems};

/// Largest weight, so that sums of them fit.
const MAX_WEIGHT: u32 = 1_000_000;
/// Problems of dialogues start here, far from those of the cold start and of RL.
const FIRST_DIALOGUE: u64 = 1 << 63;

/// One `[[corpus]]` table of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusPart {
    /// What the documents are.
    pub kind: CorpusKind,
    /// How many of them there are, relative to the other parts; a whole number up to 1,000,000.
    pub weight: u32,
}

/// A kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorpusKind {
    /// `23+45=68`
    Facts,
    /// Columns of written working, with a carry: `7+9+1=17`.
    Columns,
    /// Ways to combine a few numbers, which aim at nothing.
    Combinations,
    /// Countdown problems with a solution in equations.
    Countdown,
    /// Plain sentences about quantities.
    Stories,
    /// Words and letters, spelled, numbered and backwards.
    Spelling,
    /// Stories whose every sentence has its equation.
    Steps,
    /// What is true and false of some knights and knaves.
    Statements,
    /// Sequences with their differences and their rule.
    Sequences,
    /// Counting and small stories in Russian.
    CountingRu,
    /// More and less, larger and smaller.
    Comparisons,
    /// Which numbers are in a row of others and which are not: what Countdown's worked problems look up.
    Lookups,
    /// Worked problems of the recipe's tasks as a page with a conversation, `<think>` and `<answer>` included. For
    /// R1-Zero, which starts RL without a cold start, from a base model that has seen such pages as real ones have.
    Dialogues,
}

/// The parts of a recipe that names none.
pub fn default_parts() -> Vec<CorpusPart> {
    use CorpusKind::{Columns, Combinations, Countdown, Facts, Stories};
    [(Facts, 30), (Columns, 5), (Combinations, 35), (Countdown, 25), (Stories, 5)]
        .map(|(kind, weight)| CorpusPart { kind, weight })
        .to_vec()
}

/// Documents without end.
pub struct Corpus {
    parts: Vec<CorpusPart>,
    total: u32,
    /// The tasks of dialogues.
    tasks: Option<Mixture>,
    seed: u64,
}

impl Corpus {
    /// The documents of these parts; only dialogues have anything of `tasks`.
    ///
    /// # Errors
    /// [`TaskError::Corpus`] for parts that are empty, repeat a kind or have no possible weight, and what a task finds
    /// wrong with its dials or files.
    pub fn new(parts: &[CorpusPart], tasks: &[TaskSpec], seed: u64) -> Result<Self, TaskError> {
        let fault = |text: String| Err(TaskError::Corpus(text));
        for (place, part) in parts.iter().enumerate() {
            let CorpusPart { kind, weight } = *part;
            if weight > MAX_WEIGHT {
                return fault(format!("{kind:?} has weight {weight}; give a whole number up to {MAX_WEIGHT}"));
            }
            if parts[..place].iter().any(|other| other.kind == kind) {
                return fault(format!("{kind:?} stands twice; add up the weights"));
            }
        }
        let total = parts.iter().map(|part| part.weight).sum();
        if total == 0 {
            return fault("there is no text; give at least one kind a weight above 0".to_owned());
        }
        let talks = parts.iter().any(|part| part.kind == CorpusKind::Dialogues && part.weight > 0);
        let tasks = if talks { Some(Mixture::new(tasks, seed)?) } else { None };
        Ok(Self { parts: parts.to_vec(), total, tasks, seed })
    }

    /// Document `index`: a few lines, a few hundred characters at most, without a newline at the end. The same parts,
    /// seed and index give the same text.
    pub fn text(&self, index: u64) -> String {
        let mut rng = draw::rng(self.seed, "pretrain", 0, index);
        let mut point = rng.random_range(0..self.total);
        let mut kind = self.parts[0].kind;
        for part in &self.parts {
            kind = part.kind;
            if point < part.weight {
                break;
            }
            point -= part.weight;
        }
        let rng = &mut rng;
        match kind {
            CorpusKind::Facts => pretrain::lines(rng, 10, pretrain::fact),
            CorpusKind::Columns => pretrain::lines(rng, 10, pretrain::column),
            CorpusKind::Combinations => pretrain::until_held_out(&countdown::combined(self.seed, index)),
            CorpusKind::Countdown => pretrain::until_held_out(&countdown::solved(self.seed, index)),
            CorpusKind::Stories => pretrain::lines(rng, 2, pretrain::story),
            CorpusKind::Spelling => pretrain::lines(rng, 4, lessons::spelling),
            CorpusKind::Steps => pretrain::lines(rng, 2, word_problems::told),
            CorpusKind::Statements => pretrain::lines(rng, 2, lessons::statements),
            CorpusKind::Sequences => lessons::sequence(rng),
            CorpusKind::CountingRu => pretrain::lines(rng, 3, word_problems::counting),
            CorpusKind::Comparisons => pretrain::lines(rng, 6, lessons::comparison),
            CorpusKind::Lookups => pretrain::lines(rng, 4, lessons::lookup),
            CorpusKind::Dialogues => self.tasks.as_ref().map_or_else(String::new, |tasks| dialogue(tasks, index)),
        }
    }
}

/// A problem of the training split, worked out.
fn dialogue(tasks: &Mixture, index: u64) -> String {
    let problem = tasks.problem(Split::Train, FIRST_DIALOGUE | index);
    let Some(trace) = tasks.trace(&problem) else { return problem.prompt };
    let (prompt, thinking, answer) = (problem.prompt, trace.thinking, trace.answer);
    format!("User: {prompt}\nAssistant: <think>{thinking}</think>\n<answer>{answer}</answer>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::{Format, RewardWeights, score};

    fn only(kind: CorpusKind) -> Corpus {
        Corpus::new(&[CorpusPart { kind, weight: 1 }], &[], 3).unwrap()
    }

    #[test]
    fn the_default_text_stays_as_it_is() {
        // Unchanged recipes give unchanged bits: another hash here is another model from every one of them.
        let hash_of = |seed| {
            let corpus = Corpus::new(&default_parts(), &[], seed).unwrap();
            let texts: Vec<String> = (0..1000).chain([1 << 20, 1 << 40]).map(|index| corpus.text(index)).collect();
            draw::hash(&texts.join("\0"))
        };
        assert_eq!((hash_of(0), hash_of(3)), (0x1f5a_9d4f_cdba_56da, 0x81df_9691_9981_8cf9));
    }

    #[test]
    fn the_address_is_all_that_counts() {
        let text = |seed, index| Corpus::new(&default_parts(), &[], seed).unwrap().text(index);
        assert_eq!(text(1, 5), text(1, 5));
        assert_ne!(text(1, 5), text(2, 5));
        assert_ne!(text(1, 5), text(1, 6));
    }

    #[test]
    fn kinds_come_by_weight() {
        let parts = [(CorpusKind::Facts, 1), (CorpusKind::Stories, 0), (CorpusKind::CountingRu, 3)]
            .map(|(kind, weight)| CorpusPart { kind, weight });
        let corpus = Corpus::new(&parts, &[], 0).unwrap();
        let texts: Vec<String> = (0..4000).map(|index| corpus.text(index)).collect();
        assert!(texts.iter().all(|text| !text.contains(". ") || !text.is_ascii()), "a story");
        let facts = texts.iter().filter(|text| text.is_ascii()).count();
        // Binomial(4000, 1/4): mean 1000, sd 27; five of them.
        assert!((facts as i64 - 1000).abs() < 137, "{facts}");
    }

    #[test]
    fn the_format_is_unseen() {
        use CorpusKind::{Comparisons, CountingRu, Lookups, Sequences, Spelling, Statements, Steps};
        for kind in [Spelling, Steps, Statements, Sequences, CountingRu, Comparisons, Lookups] {
            let corpus = only(kind);
            for index in 0..1000 {
                let text = corpus.text(index);
                for mark in ["<", ">", " yes", " no "] {
                    assert!(!text.contains(mark), "{text}");
                }
                assert!(!text.is_empty() && text.chars().count() < 500 && text.trim() == text, "{text}");
            }
        }
    }

    #[test]
    fn dialogues_are_worked_training_problems() {
        let tasks: Vec<TaskSpec> = ["sequences", "word_problems_ru"]
            .iter()
            .map(|name| toml::from_str(&format!("name = \"{name}\"")).unwrap())
            .collect();
        let part = CorpusPart { kind: CorpusKind::Dialogues, weight: 1 };
        let corpus = Corpus::new(&[part], &tasks, 3).unwrap();
        let mixture = Mixture::new(&tasks, 3).unwrap();
        for index in 0..200 {
            let text = corpus.text(index);
            let (asked, said) = text.split_once("\nAssistant: ").unwrap();
            let problem = mixture.problem(Split::Train, FIRST_DIALOGUE | index);
            assert_eq!(asked, format!("User: {}", problem.prompt));
            let reward = score(&mixture, &problem, said, Format::default(), RewardWeights::default());
            assert_eq!(reward.total, Some(2.0), "{text}");
        }
    }

    #[test]
    fn impossible_parts_are_errors() {
        let fault = |parts: &[CorpusPart]| Corpus::new(parts, &[], 0).map(|_| ()).unwrap_err().to_string();
        let part = |weight| CorpusPart { kind: CorpusKind::Facts, weight };
        assert!(fault(&[]).contains("no text"));
        assert!(fault(&[part(0)]).contains("no text"));
        assert!(fault(&[part(1), part(2)]).contains("Facts stands twice"));
        assert!(fault(&[part(u32::MAX)]).contains("up to 1000000"));
        assert!(fault(&[CorpusPart { kind: CorpusKind::Dialogues, weight: 1 }]).contains("tasks"));
    }
}
