//! Short stories with numbers, in English and in Russian: who has how many in the end?
//!
//! A [`Plot`] is what happens, without words: what there is at first, what is added and taken away, and what is asked.
//! `english.rs` and `russian.rs` tell it, of apples, birds, money or ages, by the templates that [`fill`] fills. The
//! working writes each step as an equation with a word for what it makes, `all 3*12=36`, `left 36-6=30`, and steps of
//! larger numbers in columns, as a calculation. Both tasks share plots and dials, and a plot is on one side of the split
//! in both languages. Not here: shares other than a half, numbers beyond twenty in words, numbers that are told and not
//! needed.

mod english;
mod english_words;
mod plot;
mod russian;
mod russian_words;
mod template;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::number::Number;
use crate::task::{Language, Problem, Source, Split, Task, TaskError, Trace, Verdict};
use crate::wording::{Case, dress};
pub(crate) use english_words::{MEN, NAMES, THINGS, WOMEN};
use plot::{Change, End, Equation, Plot, Start};
pub(crate) use russian::counting;
use template::{capitalised, fill};

/// The dials of [`WordProblems`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// Fewest and most steps from the story to the answer, 1 to 4.
    pub steps: [usize; 2],
    /// Largest number told, 10 to 500; what is paid in a shop may be larger.
    pub max_number: u32,
    /// Largest result of a step, 20 to 1000.
    pub max_result: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, steps: [1, 3], max_number: 100, max_result: 200 }
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

    fn examples(&self) -> Vec<String> {
        match self.language {
            Language::English => vec!["I have 5 apples and eat 2. How many are left?".to_owned()],
            Language::Russian => vec!["У Маши 5 яблок, она съела 2. Сколько осталось?".to_owned()],
        }
    }

    fn language(&self, _: &Problem) -> Language {
        self.language
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let equations = Plot::of(problem)?.equations()?;
        let line = |equation: &Equation| Some(format!("{} {}", equation.makes.word(self.language), equation.worked()?));
        let lines: Vec<String> = equations.iter().map(line).collect::<Option<_>>()?;
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

fn draw_problem((config, language): &(Config, Language), rng: &mut ChaCha8Rng) -> Option<Problem> {
    let [low, high] = config.steps;
    // What people ask is short more often than not.
    let mut steps = rng.random_range(low..=high);
    if rng.random_bool(0.5) {
        steps = steps.min(rng.random_range(low..=high));
    }
    let plot = Plot::draw(config, steps, rng)?;
    let equations = plot.equations()?;
    let (question, form) = match language {
        Language::English => (english::tell(&plot, rng), "Answer with a number."),
        Language::Russian => (russian::tell(&plot, rng), "Ответь числом."),
    };
    let mut prompt = dress(&question, *language, Case::Free, rng);
    if prompt.ends_with('?') && rng.random_bool(0.06) {
        prompt = format!("{prompt} {form}");
    }
    Some(Problem { id: Plot::id(&equations), task: name(*language).to_owned(), prompt, gold: serde_json::json!(plot) })
}

/// Names of people, and nouns in all their forms, of both languages.
pub(crate) fn names_and_nouns() -> impl Iterator<Item = &'static str> {
    use english_words::{FOOD, GOODS, GROUPS, HOLDERS, MEN, WOMEN};
    let pairs = FOOD.iter().chain(&GOODS).chain(&HOLDERS).chain(&GROUPS).flat_map(|&(one, many)| [one, many]);
    let english = MEN.into_iter().chain(WOMEN).chain(pairs);
    let nouns = russian_words::FOOD.iter().chain(&russian_words::GOODS).flat_map(|noun| noun.split(' '));
    english.chain(russian_words::MEN).chain(russian_words::WOMEN).chain(nouns)
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
    let config = Config { max_number: 50, ..Config::default() };
    loop {
        let steps = rng.random_range(2..=3);
        let Some(plot) = Plot::draw(&config, steps, rng) else { continue };
        let Some(equations) = plot.equations() else { continue };
        let seen = |steps: usize| Split::of(&Plot::id(&equations[..steps])) == Split::Train;
        if !(1..=equations.len()).all(seen) {
            continue;
        }
        let story = english::owner(&plot, true, rng);
        let mut rest = equations.iter();
        let mut text = Vec::new();
        for (place, sentence) in story.sentences.iter().enumerate() {
            let count = match (place, plot.start, plot.end) {
                (0, Start::Has(_), _) => 0,
                (place, _, End::Paid(..) | End::Together(_) | End::TogetherLess(_) | End::TogetherTimes(_))
                    if place > plot.changes.len() =>
                {
                    2
                }
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
    use super::plot::Makes;
    use super::*;
    use crate::calculations::number_words;

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
        assert_eq!(russian.language(&problem), Language::Russian);
        for (end, line) in [
            (End::Packs(3), "times 12/3=4"),
            (End::OtherLess(5), "other 12-5=7"),
            (End::OtherTimes(3), "other 12*3=36"),
            (End::OtherHalf, "other 12/2=6"),
            (End::Difference(30), "more 30-12=18"),
            (End::Need(30), "need 30-12=18"),
            (End::TogetherTimes(2), "other 12*2=24\nboth 12+24=36"),
            (End::Paid(3, 50), "cost 12*3=36\nleft 50-36=14"),
        ] {
            let problem = posed(&Plot { start: Start::Has(12), changes: vec![], end }, Language::English);
            assert_eq!(english.trace(&problem).unwrap().thinking, line);
        }
        let halved = Plot { start: Start::Two(5, 9), changes: vec![Change::Half], end: End::Now };
        let problem = posed(&halved, Language::English);
        assert_eq!(english.trace(&problem).unwrap().thinking, "all 5+9=14\nleft 14/2=7");
        assert_eq!((english.name(), russian.name()), ("word_problems", "word_problems_ru"));
    }

    #[test]
    fn impossible_plots_are_not_judged() {
        let task = WordProblems::english(Config::default(), 0).unwrap();
        for plot in [
            Plot { start: Start::Has(12), changes: vec![Change::Less(13)], end: End::Now },
            Plot { start: Start::Has(12), changes: vec![], end: End::Bags(0) },
            Plot { start: Start::Has(12), changes: vec![], end: End::Bags(5) },
            Plot { start: Start::Has(12), changes: vec![], end: End::Paid(3, 20) },
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
                    let plot = Plot::of(&problem).unwrap();
                    let equations = plot.equations().unwrap();
                    assert_eq!(equations.len(), steps);
                    for equation in equations {
                        assert!(equation.result >= 1 && equation.result <= 200, "{}", problem.prompt);
                        // Every number that is told is in the story, all but halves and twice.
                        let small = problem.prompt.to_lowercase();
                        // `трое`, `троих`, `втрое`
                        let together = ["двое", "тро", "четвер", "пятер", "шестер", "семер"];
                        let told = |number: u32| {
                            let stem = (number as usize).checked_sub(2).and_then(|at| together.get(at));
                            small.contains(&number.to_string())
                                || small.contains(&number_words(number, language))
                                || stem.is_some_and(|stem| small.contains(stem))
                        };
                        // What is paid is told; what all of them cost is worked out.
                        let number = match plot.end {
                            End::Paid(_, paid) if paid == equation.right + equation.result => paid,
                            _ => equation.right,
                        };
                        let found = told(number);
                        assert!(
                            found
                                || matches!(equation.makes, Makes::Both | Makes::Need | Makes::Difference)
                                || equation.right == 2,
                            "{}",
                            problem.prompt
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn templates_are_filled() {
        for language in [Language::English, Language::Russian] {
            let task = WordProblems::new(Config { steps: [1, 4], ..Config::default() }, 1, language).unwrap();
            let prompts: std::collections::HashSet<String> = (0..20_000)
                .map(|index| {
                    let prompt = task.problem(Split::Train, index).prompt;
                    let open = |c| "[]{}<>|~_$:".contains(c);
                    assert!(
                        !prompt.trim_start_matches(|c| c != ':').trim_start_matches(':').contains(open),
                        "{prompt}"
                    );
                    let gap = prompt.replacen("  ", " ", 1);
                    assert!(!gap.contains("  ") && !gap.contains(" ,") && !gap.contains(" ."), "{prompt}");
                    assert!(prompt.len() < 600, "{prompt}");
                    prompt
                })
                .collect();
            assert!(prompts.len() > 19_000, "{}", prompts.len());
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
