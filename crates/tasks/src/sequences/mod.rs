//! The next number: `2, 5, 8, 11, 14` goes on with 17.
//!
//! Six rules make sequences ([`Kind`]). A sequence is posed only if every rule that fits it, whether or not the dials
//! name it, goes on with the same number, so the answer is the only one. The working subtracts neighbours, `5-2=3 8-5=3`,
//! then whatever the rule needs beyond that, the rule, and the step to the next number. (`2+3=5` would ask for a
//! difference before its minuend has been written, which small models get wrong.) A few have no rule, and the answer says
//! so. Left out: negative numbers, fractions, rules of other kinds.

mod wordings;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::number::Number;
use crate::task::{Language, Problem, Source, Task, TaskError, Trace, Verdict};
use crate::wording::{is_cyrillic, refuses};

const NAME: &str = "sequences";
/// Fewest and most terms shown.
const TERMS: std::ops::RangeInclusive<usize> = 3..=8;

/// The dials of [`Sequences`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// The rules, each equally often; as levels of difficulty, in this order.
    pub kinds: Vec<Kind>,
    /// Fewest and most terms that are shown, 3 to 8; of three, only the first rule can be told.
    pub terms: [usize; 2],
    /// Largest term, the answer included, 50 to 10,000; of sequences that halve or count in fifties, five times that.
    pub max_term: i64,
    /// How often, from 0 to 1, no rule fits, and the answer is that.
    pub without_rule: f64,
    /// How often, from 0 to 1, a question is in Russian.
    pub russian: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, kinds: Kind::ALL.to_vec(), terms: [3, 7], max_term: 200, without_rule: 0.06, russian: 0.15 }
    }
}

/// A rule by which a sequence goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The same difference each time.
    Arithmetic,
    /// Two differences in turn.
    Alternating,
    /// A difference that is multiplied by the same factor each time, from 2 on; so are the terms, if the first
    /// difference is the first term times one less than the factor.
    Geometric,
    /// A difference that itself grows by the same each time.
    SecondDifference,
    /// Each term the sum of the two before.
    Fibonacci,
    /// Each term half of the one before.
    Halving,
}

impl Kind {
    /// Every rule, the easier first.
    const ALL: [Self; 6] =
        [Self::Arithmetic, Self::Alternating, Self::Geometric, Self::SecondDifference, Self::Fibonacci, Self::Halving];

    /// The number after these, if the rule fits them all.
    fn next(self, terms: &[i64]) -> Option<i64> {
        let differences: Vec<i64> = terms.windows(2).map(|w| w[1].checked_sub(w[0])).collect::<Option<_>>()?;
        let (&last, n) = (terms.last()?, differences.len());
        match self {
            Self::Arithmetic => {
                let same = n >= 2 && differences.iter().all(|d| *d == differences[0]);
                same.then(|| last.checked_add(differences[0]))?
            }
            Self::Alternating => {
                let in_turn = n >= 3 && (2..n).all(|i| differences[i] == differences[i - 2]);
                in_turn.then(|| last.checked_add(differences[n - 2]))?
            }
            Self::Geometric => {
                let factor = factor(&differences)?;
                last.checked_add(differences[n - 1].checked_mul(factor)?)
            }
            Self::SecondDifference => {
                let grows: Vec<i64> = differences.windows(2).map(|w| w[1].checked_sub(w[0])).collect::<Option<_>>()?;
                let same = grows.len() >= 2 && grows.iter().all(|g| *g == grows[0]);
                same.then(|| last.checked_add(differences[n - 1].checked_add(grows[0])?))?
            }
            Self::Fibonacci => {
                let sums = terms.len() >= 4 && terms.windows(3).all(|w| w[0].checked_add(w[1]) == Some(w[2]));
                sums.then(|| last.checked_add(terms[terms.len() - 2]))?
            }
            Self::Halving => {
                let halves = terms.len() >= 4 && terms.windows(2).all(|w| w[1].checked_mul(2) == Some(w[0]));
                (halves && last % 2 == 0).then_some(last / 2)
            }
        }
    }

    /// The terms and the answer: one more than the `shown` ones. They may be out of range.
    fn draw(self, config: &Config, shown: usize, rng: &mut ChaCha8Rng) -> Vec<i64> {
        let count = shown + 1;
        // Half of them small, as people's are; in the others, steps as wide as the range allows several times.
        let small = rng.random_bool(0.5);
        let step = if small { 10 } else { config.max_term / 8 };
        let first = rng.random_range(1..=if small { 12 } else { config.max_term / 4 });
        let mut terms = vec![first];
        match self {
            Self::Arithmetic => {
                let mut first = if small { first } else { rng.random_range(1..=config.max_term) };
                let mut difference = rng.random_range(-step..=step);
                // Downwards, a small one starts where it can go on; and some count in tens, fives and the like.
                if small && difference < 0 {
                    first += -difference * count as i64;
                }
                if rng.random_bool(0.15) {
                    let unit = *[2, 3, 5, 10, 10, 20, 25, 50, 100].choose(rng).unwrap_or(&10);
                    let (from, sign) = (rng.random_range(0..=10), difference.signum());
                    (first, difference) = (unit * from, unit * sign);
                }
                terms[0] = first;
                terms.extend((1..count as i64).map(|i| first + i * difference));
            }
            Self::Alternating => {
                let turn = [rng.random_range(1..=step), rng.random_range(-step..=step)];
                (1..count).for_each(|i| terms.push(terms[i - 1] + turn[(i - 1) % 2]));
            }
            Self::Geometric => {
                let factor = rng.random_range(2..=3);
                let mut difference = rng.random_range(1..=9);
                // The plain ones are few, but they are what everybody thinks of.
                if rng.random_bool(0.25) {
                    terms[0] = difference;
                    difference *= factor - 1;
                }
                (1..count).for_each(|i| terms.push(terms[i - 1] + difference * factor.pow(i as u32 - 1)));
            }
            Self::SecondDifference => {
                let (start, grow) = (rng.random_range(1..=step), rng.random_range(1..=if small { 4 } else { 9 }));
                (1..count).for_each(|i| terms.push(terms[i - 1] + start + (i as i64 - 1) * grow));
            }
            Self::Fibonacci => {
                let most = if small { 8 } else { 30 };
                terms = vec![rng.random_range(1..=most), rng.random_range(1..=most)];
                (2..count).for_each(|i| terms.push(terms[i - 1] + terms[i - 2]));
            }
            Self::Halving => {
                let last = rng.random_range(1..=config.max_term / 4);
                terms = (0..count as u32).rev().map(|i| last << i).collect();
            }
        }
        terms
    }
}

/// The whole number from 2 on by which each is the one before; there must be three.
fn factor(differences: &[i64]) -> Option<i64> {
    let factor = differences.get(1)?.checked_div(differences[0])?;
    let fits = differences.len() >= 3 && differences.windows(2).all(|w| w[0].checked_mul(factor) == Some(w[1]));
    (fits && factor >= 2).then_some(factor)
}

/// The number with which these terms go on, if some rule fits and all that do agree.
pub(crate) fn continuation(terms: &[i64]) -> Option<(Kind, i64)> {
    let mut fitting = Kind::ALL.into_iter().filter_map(|kind| Some((kind, kind.next(terms)?)));
    let first = fitting.next()?;
    fitting.all(|(_, next)| next == first.1).then_some(first)
}

/// The next number of a sequence.
pub struct Sequences {
    source: Drawn<Config>,
}

impl Sequences {
    /// The task under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range; [`TaskError::NoProblems`] says that the ranges are too
    /// narrow to hold problems for training and evaluation.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        let dial = |key, value: String, cure| TaskError::Dial { task: NAME, key, value, cure };
        if config.kinds.is_empty() {
            let cure = "give at least one of \"arithmetic\", \"alternating\", \"geometric\", \"second_difference\", \
                        \"fibonacci\", \"halving\"";
            return Err(dial("kinds", "[]".into(), cure));
        }
        let [low, high] = config.terms;
        if low > high || !TERMS.contains(&low) || !TERMS.contains(&high) {
            return Err(dial("terms", format!("{:?}", config.terms), "give [fewest, most] between 3 and 8"));
        }
        for (key, share) in [("without_rule", config.without_rule), ("russian", config.russian)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(dial(key, share.to_string(), "give a share from 0 to 1"));
            }
        }
        if !(50..=10_000).contains(&config.max_term) {
            return Err(dial("max_term", config.max_term.to_string(), "give 50 to 10000"));
        }
        let of_one = |&kind: &Kind| Config { kinds: vec![kind], without_rule: 0.0, ..config.clone() };
        let levels: Vec<Config> = config.kinds.iter().map(of_one).collect();
        Ok(Self { source: Drawn::new(NAME, seed, config, levels, draw_problem)? })
    }
}

impl Task for Sequences {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A level for each rule.
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn examples(&self) -> Vec<String> {
        vec!["2, 5, 8, 11: which number comes next?".to_owned()]
    }

    fn language(&self, problem: &Problem) -> Language {
        Gold::of(problem).map_or(Language::English, |gold| gold.language)
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let Gold { terms, language } = Gold::of(problem)?;
        Some(match continuation(&terms) {
            Some((kind, next)) => {
                Trace { thinking: working(kind, &terms, next, language)?.join("\n"), answer: next.to_string() }
            }
            None => Trace {
                thinking: without_rule(&terms, language)?.join("\n"),
                answer: wordings::refusal(language).to_owned(),
            },
        })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some(Gold { terms, language }) = Gold::of(problem) else { return Verdict::foreign(NAME, problem) };
        match continuation(&terms) {
            Some((_, next)) => Number::judge(answer, &next.to_string()),
            None if answer.trim().starts_with(refuses(language)) => Verdict::Right(1.0),
            None => Verdict::wrong("no rule fits"),
        }
    }
}

/// The gold of this task's problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Gold {
    /// Those that are shown.
    terms: Vec<i64>,
    language: Language,
}

impl Gold {
    fn of(problem: &Problem) -> Option<Self> {
        let gold: Self = serde_json::from_value(problem.gold.clone()).ok()?;
        TERMS.contains(&gold.terms.len()).then_some(gold)
    }
}

fn draw_problem(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    let [low, high] = config.terms;
    let count = rng.random_range(low..=high);
    let terms = match rng.random_bool(config.without_rule) {
        true => draw_without_rule(config, count, rng)?,
        false => draw_terms(config, *config.kinds.choose(rng)?, count, rng)?.0,
    };
    let language = if rng.random_bool(config.russian) { Language::Russian } else { Language::English };
    let prompt = wordings::pose(&terms, language, rng);
    // Numbers alone are in no language.
    let language = if is_cyrillic(&prompt) { language } else { Language::English };
    Some(Problem { id: id(&terms), task: NAME.to_owned(), prompt, gold: serde_json::json!(Gold { terms, language }) })
}

/// Terms and the next one; `None` if a number is out of range, nothing changes, or the sequence could go on in two ways.
fn draw_terms(config: &Config, kind: Kind, count: usize, rng: &mut ChaCha8Rng) -> Option<(Vec<i64>, i64)> {
    let mut terms = kind.draw(config, count, rng);
    let constant = terms.iter().all(|term| *term == terms[0]);
    // There would be few of those that halve; and those in hundreds are easy.
    let round = kind == Kind::Arithmetic && terms.iter().all(|term| term % 50 == 0);
    let largest = if kind == Kind::Halving || round { 5 * config.max_term } else { config.max_term };
    if constant || terms.iter().any(|term| !(0..=largest).contains(term)) {
        return None;
    }
    let next = terms.pop()?;
    // Also: posed as the rule it is, so that a level holds no easier one.
    (continuation(&terms) == Some((kind, next))).then_some((terms, next))
}

/// Some numbers, or a sequence with one number changed; `None` if that has a rule or could have two.
fn draw_without_rule(config: &Config, count: usize, rng: &mut ChaCha8Rng) -> Option<Vec<i64>> {
    let terms: Vec<i64> = match rng.random_bool(0.5) {
        true => (0..count).map(|_| rng.random_range(0..=config.max_term)).collect(),
        false => {
            let (mut terms, _) = draw_terms(config, *config.kinds.choose(rng)?, count, rng)?;
            let place = rng.random_range(0..terms.len());
            terms[place] = (terms[place] + rng.random_range(-9..=9)).max(0);
            terms
        }
    };
    let fits = Kind::ALL.into_iter().any(|kind| kind.next(&terms).is_some());
    (!fits).then_some(terms)
}

pub(crate) fn id(terms: &[i64]) -> String {
    let words: Vec<_> = terms.iter().map(i64::to_string).collect();
    format!("{NAME}/{}", words.join(","))
}

pub(crate) fn list(terms: &[i64]) -> String {
    let words: Vec<_> = terms.iter().map(i64::to_string).collect();
    words.join(", ")
}

/// A sequence of five by one of the rules under the default dials and its next number, without looking at its split.
pub(crate) fn example(rng: &mut ChaCha8Rng) -> (Kind, Vec<i64>, i64) {
    let config = Config::default();
    loop {
        let kind = Kind::ALL[rng.random_range(0..Kind::ALL.len())];
        if let Some((terms, next)) = draw_terms(&config, kind, 5, rng) {
            return (kind, terms, next);
        }
    }
}

/// The lines of the working; `None` where a number does not fit.
pub(crate) fn working(kind: Kind, terms: &[i64], next: i64, language: Language) -> Option<Vec<String>> {
    let differences: Vec<i64> = terms.windows(2).map(|w| w[1].checked_sub(w[0])).collect::<Option<_>>()?;
    let last = *terms.last()?;
    let step = next.checked_sub(last)?;
    let say = |english: &str, russian: &str| match language {
        Language::English => english.to_owned(),
        Language::Russian => russian.to_owned(),
    };
    let mut lines = vec![subtractions(terms)?];
    match kind {
        Kind::Arithmetic => lines.push(format!("{} {step:+}", say("always", "всегда"))),
        Kind::Alternating => {
            let [first, second] = [differences[0], differences[1]];
            lines.push(format!("{} {first:+} {second:+}", say("in turn", "по очереди")));
        }
        Kind::Geometric => {
            let factor = factor(&differences)?;
            let products: Vec<_> = differences.windows(2).map(|w| format!("{}*{factor}={}", w[0], w[1])).collect();
            lines.push(format!("{} {}", say("times", "умножить"), products.join(" ")));
            lines.push(format!("{}*{factor}={step}", differences.last()?));
        }
        Kind::SecondDifference => {
            let grow = step.checked_sub(*differences.last()?)?;
            lines.push(format!("{} {}", say("steps", "шаги"), subtractions(&differences)?));
            lines.push(format!("{}{grow:+}={step}", differences.last()?));
        }
        Kind::Fibonacci => {
            let sums: Vec<_> = terms.windows(3).map(|w| format!("{}+{}={}", w[0], w[1], w[2])).collect();
            lines.push(format!("{} {}", say("sums", "суммы"), sums.join(" ")));
            lines.push(format!("{}+{last}={next}", terms[terms.len() - 2]));
            return Some(lines);
        }
        Kind::Halving => {
            lines.push(say("half", "половина"));
            lines.push(format!("{last}/2={next}"));
            return Some(lines);
        }
    }
    lines.push(format!("{last}{step:+}={next}"));
    Some(lines)
}

/// What is seen of a sequence without a rule.
fn without_rule(terms: &[i64], language: Language) -> Option<Vec<String>> {
    let verdict = match language {
        Language::English => "no rule",
        Language::Russian => "нет правила",
    };
    Some(vec![subtractions(terms)?, verdict.to_owned()])
}

/// `5-2=3 4-5=-1`
fn subtractions(terms: &[i64]) -> Option<String> {
    let line = |w: &[i64]| Some(format!("{}-{}={}", w[1], w[0], w[1].checked_sub(w[0])?));
    let lines: Vec<String> = terms.windows(2).map(line).collect::<Option<_>>()?;
    Some(lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Split;
    use proptest::prelude::*;

    #[test]
    fn workings_as_written() {
        for (terms, kind, next, lines) in [
            (&[2, 5, 8, 11, 14][..], Kind::Arithmetic, 17, "5-2=3 8-5=3 11-8=3 14-11=3\nalways +3\n14+3=17"),
            (&[9, 7, 5], Kind::Arithmetic, 3, "7-9=-2 5-7=-2\nalways -2\n5-2=3"),
            (&[2, 5, 4, 7, 6], Kind::Alternating, 9, "5-2=3 4-5=-1 7-4=3 6-7=-1\nin turn +3 -1\n6+3=9"),
            (&[3, 6, 12, 24], Kind::Geometric, 48, "6-3=3 12-6=6 24-12=12\ntimes 3*2=6 6*2=12\n12*2=24\n24+24=48"),
            (&[1, 3, 7, 13], Kind::SecondDifference, 21, "3-1=2 7-3=4 13-7=6\nsteps 4-2=2 6-4=2\n6+2=8\n13+8=21"),
            (&[2, 3, 5, 8, 13], Kind::Fibonacci, 21, "3-2=1 5-3=2 8-5=3 13-8=5\nsums 2+3=5 3+5=8 5+8=13\n8+13=21"),
            (&[80, 40, 20, 10], Kind::Halving, 5, "40-80=-40 20-40=-20 10-20=-10\nhalf\n10/2=5"),
        ] {
            assert_eq!(continuation(terms), Some((kind, next)));
            assert_eq!(working(kind, terms, next, Language::English).unwrap().join("\n"), lines);
        }
    }

    #[test]
    fn what_has_no_rule_is_said_to_have_none() {
        let task = Sequences::new(Config { without_rule: 1.0, ..Config::default() }, 1).unwrap();
        for index in 0..500 {
            let problem = task.problem(Split::Train, index);
            let trace = task.trace(&problem).unwrap();
            assert!(task.verify(&problem, &trace.answer).is_right() && trace.answer.contains("2, 5, 8, 11"));
            assert!(!task.verify(&problem, "5").is_right());
        }
    }

    #[test]
    fn ambiguous_sequences_are_not_posed() {
        // One rule fits: differences 1 and 2 in turn, or sums of two.
        assert_eq!(continuation(&[1, 2, 4, 5]), Some((Kind::Alternating, 7)));
        assert_eq!(continuation(&[1, 2, 3, 5]), Some((Kind::Fibonacci, 8)));
        assert_eq!(continuation(&[3, 1, 4, 5]), Some((Kind::Fibonacci, 9)));
        assert_eq!(continuation(&[2, 1, 3, 4, 7]), Some((Kind::Fibonacci, 11)));
        assert_eq!(continuation(&[1, 1, 2, 3]), Some((Kind::Fibonacci, 5)));
        assert_eq!(continuation(&[5, 1, 6, 2]), Some((Kind::Alternating, 7)));
        // Sums of two say 3, differences 1 and 0 in turn say 2.
        assert_eq!(continuation(&[0, 1, 1, 2]), None);
        // No rule fits.
        assert_eq!(continuation(&[7, 1, 9, 2]), None);
    }

    #[test]
    fn dials_out_of_range_are_named() {
        let build = |edit: fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            Sequences::new(config, 0).map(|_| ()).unwrap_err().to_string()
        };
        assert!(build(|c| c.kinds.clear()).contains("fibonacci"));
        assert!(build(|c| c.terms = [2, 3]).contains("terms = [2, 3]"));
        assert!(build(|c| c.max_term = 10).contains("max_term = 10"));
    }

    #[test]
    fn every_rule_is_a_level() {
        let task = Sequences::new(Config::default(), 1).unwrap();
        assert_eq!(task.levels(), 6);
        for (level, kind) in (0..).zip(Kind::ALL) {
            for index in 0..100 {
                let problem = task.problem_at(Split::Train, level, index);
                let terms = Gold::of(&problem).unwrap().terms;
                let round = kind == Kind::Arithmetic && terms.iter().all(|term| term % 50 == 0);
                let most = if kind == Kind::Halving || round { 1000 } else { 200 };
                assert!(terms.iter().all(|term| (0..=most).contains(term)));
                assert_eq!(continuation(&terms).unwrap().0, kind);
            }
        }
    }

    proptest! {
        /// The slow definition: polynomials.
        #[test]
        fn the_rules_mean_what_they_say(a in -50..50_i64, b in -20..20_i64, c in -9..9_i64, n in 4..8_i64) {
            let terms: Vec<i64> = (0..n).map(|i| a + b * i + c * i * (i - 1) / 2).collect();
            let next = a + b * n + c * n * (n - 1) / 2;
            prop_assert_eq!(Kind::SecondDifference.next(&terms), Some(next));
            prop_assert_eq!(Kind::Arithmetic.next(&terms), (c == 0).then_some(next));
        }

        #[test]
        fn factors_are_found(a in -50..50_i64, d in 1..20_i64, wrong in -3..3_i64, n in 4..8_usize) {
            let mut terms = vec![a];
            for i in 0..n {
                terms.push(terms[i] + d * 3_i64.pow(i as u32));
            }
            let next = terms.pop().unwrap();
            prop_assert_eq!(Kind::Geometric.next(&terms), Some(next));
            terms[n - 1] += wrong;
            prop_assert_eq!(Kind::Geometric.next(&terms).is_some(), wrong == 0);
        }

        #[test]
        fn numbers_of_any_size_are_no_danger(terms in prop::collection::vec(any::<i64>(), 0..10)) {
            let _ = continuation(&terms);
            for kind in Kind::ALL {
                let _ = kind.next(&terms);
            }
        }
    }
}
