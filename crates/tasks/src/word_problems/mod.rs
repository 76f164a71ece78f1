//! Short stories with numbers, in English and in Russian: who has how many in the end?
//!
//! A [`Plot`] is what happens, without words: what there is at first, what is added and taken away, and what is asked.
//! `english.rs` and `russian.rs` tell it. The working writes each step as an equation with a word for what it makes:
//! `all 3*12=36`, `left 36-6=30`. Both tasks share plots and dials, and a plot is on one side of the split in both
//! languages. Not here: rates, shares of a whole, numbers that are told and not needed.

mod english;
mod russian;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::number::Number;
use crate::task::{Language, Problem, Source, Split, Task, TaskError, Trace, Verdict};
pub(crate) use english::{NAMES, THINGS};
pub(crate) use russian::counting;

/// Most things that are added or taken away in a plot that is judged.
const MOST_CHANGES: usize = 8;

/// The dials of [`WordProblems`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// Fewest and most steps from the story to the answer, 1 to 4.
    pub steps: [usize; 2],
    /// Largest number told, 10 to 500.
    pub max_number: u32,
    /// Largest result of a step, 20 to 1000.
    pub max_result: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, steps: [1, 3], max_number: 50, max_result: 200 }
    }
}

/// Stories with numbers in one language.
pub struct WordProblems {
    language: Language,
    source: Drawn<(Config, Language)>,
}

impl WordProblems {
    /// The task `word_problems` under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range; [`TaskError::NoProblems`] says that the ranges are too
    /// narrow to hold problems for training and evaluation.
    pub fn english(config: Config, seed: u64) -> Result<Self, TaskError> {
        Self::new(config, seed, Language::English)
    }

    /// The task `word_problems_ru`.
    ///
    /// # Errors
    /// As for [`WordProblems::english`].
    pub fn russian(config: Config, seed: u64) -> Result<Self, TaskError> {
        Self::new(config, seed, Language::Russian)
    }

    fn new(config: Config, seed: u64, language: Language) -> Result<Self, TaskError> {
        let task = name(language);
        let dial = |key, value: String, cure| Err(TaskError::Dial { task, key, value, cure });
        let [low, high] = config.steps;
        if low < 1 || low > high || high > 4 {
            return dial("steps", format!("{:?}", config.steps), "give [fewest, most] between 1 and 4");
        }
        if !(10..=500).contains(&config.max_number) {
            return dial("max_number", config.max_number.to_string(), "give 10 to 500");
        }
        if !(20..=1000).contains(&config.max_result) {
            return dial("max_result", config.max_result.to_string(), "give 20 to 1000");
        }
        let levels: Vec<_> =
            (low..=high).map(|steps| (Config { steps: [steps; 2], ..config.clone() }, language)).collect();
        Ok(Self { language, source: Drawn::new(task, seed, (config, language), levels, draw_problem)? })
    }
}

impl Task for WordProblems {
    fn name(&self) -> &'static str {
        name(self.language)
    }

    /// A level for each number of steps.
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn language(&self, _: &Problem) -> Language {
        self.language
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let equations = Plot::of(problem)?.equations()?;
        let line = |equation: &Equation| format!("{} {}", equation.makes.word(self.language), equation.write());
        let lines: Vec<String> = equations.iter().map(line).collect();
        Some(Trace { thinking: lines.join("\n"), answer: equations.last()?.result.to_string() })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        match Plot::of(problem).and_then(|plot| plot.equations()?.pop()) {
            Some(last) => Number::judge(answer, &last.result.to_string()),
            None => Verdict::foreign(self.name(), problem),
        }
    }
}

fn name(language: Language) -> &'static str {
    match language {
        Language::English => "word_problems",
        Language::Russian => "word_problems_ru",
    }
}

/// What happens in a story: the gold of these tasks' problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plot {
    start: Start,
    changes: Vec<Change>,
    end: End,
}

/// What there is at first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Start {
    /// So many.
    Has(u32),
    /// So many boxes with so many in each.
    Boxes(u32, u32),
}

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    More(u32),
    Less(u32),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    /// How many there are.
    Now,
    /// What all of them cost at so many coins each.
    Price(u32),
    /// How many are in each of so many bags.
    Bags(u32),
    /// How many two people have, of whom the second has so many more.
    Together(u32),
}

/// One step of the working.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Equation {
    makes: Makes,
    left: u32,
    symbol: char,
    right: u32,
    result: u32,
}

/// What a step makes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Makes {
    All,
    More,
    Left,
    Cost,
    Each,
    Other,
    Both,
}

impl Makes {
    fn word(self, language: Language) -> &'static str {
        let (english, russian) = match self {
            Self::All => ("all", "всего"),
            Self::More => ("now", "стало"),
            Self::Left => ("left", "осталось"),
            Self::Cost => ("cost", "цена"),
            Self::Each => ("each", "в каждом"),
            Self::Other => ("other", "другой"),
            Self::Both => ("both", "вместе"),
        };
        match language {
            Language::English => english,
            Language::Russian => russian,
        }
    }
}

impl Equation {
    /// `36-6=30`
    pub(crate) fn write(&self) -> String {
        format!("{}{}{}={}", self.left, self.symbol, self.right, self.result)
    }

    /// Without the result, and the same in either order where order means nothing.
    fn canonical(&self) -> String {
        let (a, b) = match self.symbol {
            '+' | '*' => (self.left.min(self.right), self.left.max(self.right)),
            _ => (self.left, self.right),
        };
        format!("{a}{}{b}", self.symbol)
    }
}

impl Plot {
    fn of(problem: &Problem) -> Option<Self> {
        let plot: Self = serde_json::from_value(problem.gold.clone()).ok()?;
        (plot.changes.len() <= MOST_CHANGES).then_some(plot)
    }

    /// A plot of exactly so many steps; `None` if a number came out of range.
    fn draw(config: &Config, steps: usize, rng: &mut ChaCha8Rng) -> Option<Self> {
        let number = |rng: &mut ChaCha8Rng| rng.random_range(2..=config.max_number);
        let (start, mut rest) = match rng.random_bool(0.4) {
            true => (Start::Boxes(rng.random_range(2..=9), number(rng).min(rng.random_range(2..=25))), steps - 1),
            false => (Start::Has(number(rng)), steps),
        };
        let ends: &[u32] = match rest {
            0 => &[0],
            1 => &[0, 1, 2],
            _ => &[0, 1, 2, 3],
        };
        let end = match ends.choose(rng)? {
            0 => End::Now,
            1 => End::Price(rng.random_range(2..=9)),
            2 => End::Bags(rng.random_range(2..=9)),
            _ => End::Together(number(rng)),
        };
        rest -= match end {
            End::Now => 0,
            End::Price(_) | End::Bags(_) => 1,
            End::Together(_) => 2,
        };
        let mut plot = Self { start, changes: Vec::new(), end: End::Now };
        for _ in 0..rest {
            let has = plot.equations()?.last().map_or_else(|| plot.first(), |equation| Some(equation.result))?;
            plot.changes.push(match rng.random_bool(0.5) && has > 4 {
                true => Change::Less(rng.random_range(2..=(has - 2).min(config.max_number))),
                false => Change::More(number(rng)),
            });
        }
        plot.end = end;
        plot.equations()?.iter().all(|equation| equation.result <= config.max_result).then_some(plot)
    }

    /// What there is before any change.
    fn first(&self) -> Option<u32> {
        match self.start {
            Start::Has(count) => Some(count),
            Start::Boxes(boxes, each) => boxes.checked_mul(each),
        }
    }

    /// The steps to the answer, at least one; `None` if one has no whole result, or a number does not fit.
    fn equations(&self) -> Option<Vec<Equation>> {
        let mut equations = Vec::new();
        let mut has = self.first()?;
        if let Start::Boxes(left, right) = self.start {
            equations.push(Equation { makes: Makes::All, left, symbol: '*', right, result: has });
        }
        let mut step = |makes, left: u32, symbol, right| {
            let result = match symbol {
                '+' => left.checked_add(right),
                '-' => left.checked_sub(right),
                '*' => left.checked_mul(right),
                _ => (right > 0 && left.is_multiple_of(right)).then(|| left / right),
            }?;
            equations.push(Equation { makes, left, symbol, right, result });
            Some(result)
        };
        for change in &self.changes {
            has = match *change {
                Change::More(more) => step(Makes::More, has, '+', more)?,
                Change::Less(less) => step(Makes::Left, has, '-', less)?,
            };
        }
        match self.end {
            End::Now => {}
            End::Price(coins) => _ = step(Makes::Cost, has, '*', coins)?,
            End::Bags(bags) => _ = step(Makes::Each, has, '/', bags)?,
            End::Together(more) => {
                let other = step(Makes::Other, has, '+', more)?;
                step(Makes::Both, has, '+', other)?;
            }
        }
        Some(equations)
    }

    /// Names and things are wording; so is the language.
    fn id(equations: &[Equation]) -> String {
        let steps: Vec<String> = equations.iter().map(Equation::canonical).collect();
        format!("word_problems/{}", steps.join(","))
    }
}

fn draw_problem((config, language): &(Config, Language), rng: &mut ChaCha8Rng) -> Option<Problem> {
    let [low, high] = config.steps;
    let steps = rng.random_range(low..=high);
    let plot = Plot::draw(config, steps, rng)?;
    let equations = plot.equations()?;
    let story = match language {
        Language::English => english::tell(&plot, rng),
        Language::Russian => russian::tell(&plot, rng),
    };
    let (question, form) = match language {
        Language::English => (story.question, "Answer with a number."),
        Language::Russian => (story.question, "Ответь числом."),
    };
    Some(Problem {
        id: Plot::id(&equations),
        task: name(*language).to_owned(),
        prompt: format!("{} {question} {form}", story.sentences.join(" ")),
        gold: serde_json::json!(plot),
    })
}

/// A plot in words.
struct Story {
    /// What happens: one for the start, one for each change, then what the question needs.
    sentences: Vec<String>,
    question: String,
}

/// A story for pre-training: each sentence with the equations that it asks for, and no question. No beginning of it is
/// the whole of a held-out problem.
pub(crate) fn told(rng: &mut ChaCha8Rng) -> String {
    let config = Config::default();
    loop {
        let steps = rng.random_range(2..=3);
        let Some(plot) = Plot::draw(&config, steps, rng) else { continue };
        let Some(equations) = plot.equations() else { continue };
        let seen = |steps: usize| Split::of(&Plot::id(&equations[..steps])) == Split::Train;
        if !(1..=equations.len()).all(seen) {
            continue;
        }
        let story = english::tell(&plot, rng);
        let mut rest = equations.iter();
        let mut text = Vec::new();
        for (place, sentence) in story.sentences.iter().enumerate() {
            let count = match (place, plot.start, plot.end) {
                (0, Start::Has(_), _) => 0,
                (place, _, End::Together(_)) if place > plot.changes.len() => 2,
                _ => 1,
            };
            let sums: Vec<String> = rest.by_ref().take(count).map(Equation::write).collect();
            text.push(match sums.is_empty() {
                true => sentence.clone(),
                false => format!("{} {}.", sentence.trim_end_matches('.').to_owned() + ":", sums.join(", ")),
            });
        }
        return text.join(" ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        Plot { start: Start::Boxes(3, 12), changes: vec![Change::More(5), Change::Less(6)], end: End::Bags(5) }
    }

    fn posed(plot: &Plot, language: Language) -> Problem {
        Problem {
            id: "word_problems/test".into(),
            task: name(language).into(),
            prompt: String::new(),
            gold: serde_json::json!(plot),
        }
    }

    #[test]
    fn workings_as_written() {
        let english = WordProblems::english(Config::default(), 0).unwrap();
        let trace = english.trace(&posed(&plot(), Language::English)).unwrap();
        assert_eq!(trace.thinking, "all 3*12=36\nnow 36+5=41\nleft 41-6=35\neach 35/5=7");
        assert_eq!(trace.answer, "7");
        let russian = WordProblems::russian(Config::default(), 0).unwrap();
        let together = Plot { start: Start::Has(12), changes: vec![], end: End::Together(5) };
        let problem = posed(&together, Language::Russian);
        assert_eq!(russian.trace(&problem).unwrap().thinking, "другой 12+5=17\nвместе 12+17=29");
        assert!(russian.verify(&problem, "29 яблок").is_right() && !russian.verify(&problem, "17").is_right());
        assert_eq!((english.name(), russian.name()), ("word_problems", "word_problems_ru"));
        assert_eq!(russian.language(&problem), Language::Russian);
    }

    #[test]
    fn impossible_plots_are_not_judged() {
        let task = WordProblems::english(Config::default(), 0).unwrap();
        for plot in [
            Plot { start: Start::Has(12), changes: vec![Change::Less(13)], end: End::Now },
            Plot { start: Start::Has(12), changes: vec![], end: End::Bags(0) },
            Plot { start: Start::Has(12), changes: vec![], end: End::Bags(5) },
            Plot { start: Start::Boxes(u32::MAX, 2), changes: vec![], end: End::Now },
            Plot { start: Start::Has(1), changes: vec![Change::More(u32::MAX)], end: End::Now },
            Plot { start: Start::Has(12), changes: vec![], end: End::Now },
            Plot { start: Start::Has(12), changes: vec![Change::More(1); 9], end: End::Now },
        ] {
            let problem = posed(&plot, Language::English);
            assert!(matches!(task.verify(&problem, "1"), Verdict::CouldNotJudge(_)), "{plot:?}");
            assert_eq!(task.trace(&problem), None);
        }
    }

    #[test]
    fn problems_keep_to_the_dials() {
        let config = Config { steps: [1, 4], ..Config::default() };
        for language in [Language::English, Language::Russian] {
            let task = WordProblems::new(config.clone(), 1, language).unwrap();
            assert_eq!(task.levels(), 4);
            for (level, steps) in (0..4).zip(1..) {
                for index in 0..200 {
                    let problem = task.problem_at(Split::HeldOut, level, index);
                    let equations = Plot::of(&problem).unwrap().equations().unwrap();
                    assert_eq!(equations.len(), steps);
                    for equation in equations {
                        assert!(equation.result >= 1 && equation.result <= 200, "{}", problem.prompt);
                        // Every number that is told is in the story, in digits.
                        let told = equation.right.to_string();
                        assert!(problem.prompt.contains(&told) || equation.makes == Makes::Both, "{}", problem.prompt);
                    }
                }
            }
        }
    }

    #[test]
    fn both_languages_share_the_split() {
        let config = Config { steps: [1, 1], max_number: 10, ..Config::default() };
        let ids = |language, split| -> std::collections::HashSet<String> {
            let task = WordProblems::new(config.clone(), 1, language).unwrap();
            (0..2000).map(|i| task.problem(split, i).id).collect()
        };
        let english = ids(Language::English, Split::Train);
        assert!(english.is_disjoint(&ids(Language::Russian, Split::HeldOut)));
        assert!(!english.is_disjoint(&ids(Language::Russian, Split::Train)));
    }

    #[test]
    fn dials_out_of_range_are_named() {
        let build = |edit: fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            WordProblems::russian(config, 0).map(|_| ()).unwrap_err().to_string()
        };
        assert!(build(|c| c.steps = [0, 1]).contains("word_problems_ru: steps = [0, 1]"));
        assert!(build(|c| c.steps = [1, 5]).contains("between 1 and 4"));
        assert!(build(|c| c.max_number = 9).contains("max_number = 9"));
        assert!(build(|c| c.max_result = 1001).contains("max_result = 1001"));
    }
}
