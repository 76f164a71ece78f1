//! What people type into a calculator: `347+289`, `how much is 12 plus 7`, `сколько будет 84:7`.
//!
//! Sums and differences of two or three numbers of up to four digits, products of up to 4 × 1 and 2 × 2 digits, their
//! quotients, and small mixtures of these, in two languages and many wordings (`wordings.rs`). The working (`working.rs`)
//! is all signs, so it is the same in both. A quotient with a remainder has an honest refusal for an answer. Left out:
//! what is larger, fractions, parentheses; the task `beyond` refuses those.

mod wordings;
mod working;

pub(crate) use wordings::number_words;
pub(crate) use working::step;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::number::Number;
use crate::pretrain::is_held_out;
use crate::task::{Language, Problem, Source, Split, Task, TaskError, Trace, Verdict};
use crate::wording::{is_cyrillic, refuses};

const NAME: &str = "calculations";
/// Sums and differences beside products and quotients are posed as often as these say, in this order.
const SHARES: [f64; 6] = [0.24, 0.25, 0.17, 0.14, 0.12, 0.08];

/// The dials of [`Calculations`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// Most digits of a number in a sum or a difference, and of the longer factor, 1 to 4.
    pub digits: u32,
    /// How often, from 0 to 1, a question is in Russian.
    pub russian: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, digits: 4, russian: 0.3 }
    }
}

/// A calculator's questions.
pub struct Calculations {
    source: Drawn<Config>,
}

impl Calculations {
    /// The task under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        let dial = |key, value: String, cure| Err(TaskError::Dial { task: NAME, key, value, cure });
        if !(1..=4).contains(&config.digits) {
            return dial("digits", config.digits.to_string(), "give 1 to 4");
        }
        if !(0.0..=1.0).contains(&config.russian) {
            return dial("russian", config.russian.to_string(), "give a share from 0 to 1");
        }
        let levels: Vec<Config> = (1..=config.digits).map(|digits| Config { digits, ..config.clone() }).collect();
        Ok(Self { source: Drawn::new(NAME, seed, config, levels, draw_problem)? })
    }
}

impl Task for Calculations {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A level for each number of digits.
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn examples(&self) -> Vec<String> {
        vec!["What is 347+289?".to_owned(), "Сколько будет 24*13?".to_owned()]
    }

    fn language(&self, problem: &Problem) -> Language {
        Gold::of(problem).map_or(Language::English, |gold| gold.language)
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let Gold { calculation, language } = Gold::of(problem)?;
        let answer = match calculation.value()? {
            Value::Whole(value) => value.to_string(),
            Value::None => wordings::refusal(language).to_owned(),
        };
        Some(Trace { thinking: working::write(&calculation)?.join("\n"), answer })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some(Gold { calculation, language }) = Gold::of(problem) else {
            return Verdict::foreign(NAME, problem);
        };
        match calculation.value() {
            None => Verdict::foreign(NAME, problem),
            Some(Value::Whole(value)) => Number::judge(answer, &value.to_string()),
            Some(Value::None) if answer.trim().starts_with(refuses(language)) => Verdict::Right(1.0),
            Some(Value::None) => Verdict::wrong("there is no whole number"),
        }
    }
}

/// The gold of this task's problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Gold {
    #[serde(flatten)]
    calculation: Calculation,
    language: Language,
}

impl Gold {
    fn of(problem: &Problem) -> Option<Self> {
        serde_json::from_value(problem.gold.clone()).ok()
    }
}

/// Two or three numbers with a sign between each two; products and quotients come before sums and differences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calculation {
    numbers: Vec<u32>,
    /// Of `+-*/`.
    signs: Vec<char>,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Whole(i64),
    /// A division with a remainder or by zero.
    None,
}

impl Calculation {
    fn new(numbers: &[u32], signs: &[char]) -> Self {
        Self { numbers: numbers.to_vec(), signs: signs.to_vec() }
    }

    /// The value; `None` for what this task does not pose.
    fn value(&self) -> Option<Value> {
        let numbers: Vec<i64> = self.numbers.iter().map(|n| i64::from(*n)).collect();
        let value = match (&numbers[..], &self.signs[..]) {
            (&[a, b], ['+']) => a + b,
            (&[a, b], ['-']) => a - b,
            (&[a, b], ['*']) => a.checked_mul(b)?,
            (&[_, 0], ['/']) => return Some(Value::None),
            (&[a, b], ['/']) if a % b != 0 => return Some(Value::None),
            (&[a, b], ['/']) => a / b,
            (&[a, b, c], &[first @ ('+' | '-'), second @ ('+' | '-')]) => {
                let signed = |sign, n: i64| if sign == '-' { -n } else { n };
                a + signed(first, b) + signed(second, c)
            }
            (&[a, b, c], ['*', '*']) => a.checked_mul(b)?.checked_mul(c)?,
            (&[a, b, c], ['*', '+']) => a.checked_mul(b)?.checked_add(c)?,
            (&[a, b, c], ['*', '-']) => a.checked_mul(b)?.checked_sub(c)?,
            (&[a, b, c], ['+', '*']) => b.checked_mul(c)?.checked_add(a)?,
            (&[a, b, c], ['-', '*']) => a.checked_sub(b.checked_mul(c)?)?,
            _ => return None,
        };
        Some(Value::Whole(value))
    }

    /// `347+289`
    fn write(&self) -> String {
        let mut text = self.numbers.first().map_or_else(String::new, u32::to_string);
        for (sign, number) in self.signs.iter().zip(self.numbers.iter().skip(1)) {
            text += &format!("{sign}{number}");
        }
        text
    }

    /// The same in any order where order means nothing; of two numbers, as the task `arithmetic` has it, so that both
    /// hold out the same.
    fn id(&self) -> String {
        let text = match (&self.numbers[..], &self.signs[..]) {
            (&[a, b], &[sign @ ('+' | '*')]) => format!("{}{sign}{}", a.min(b), a.max(b)),
            (&[a, b, c], ['+', '+']) => {
                let mut sorted = [a, b, c];
                sorted.sort_unstable();
                format!("{}+{}+{}", sorted[0], sorted[1], sorted[2])
            }
            (&[a, b, c], ['-', '+']) => format!("{}+{}-{b}", a.min(c), a.max(c)),
            (&[a, b, c], ['+', '-']) => format!("{}+{}-{c}", a.min(b), a.max(b)),
            (&[a, b, c], ['-', '-']) => format!("{a}-{}-{}", b.min(c), b.max(c)),
            _ => self.write(),
        };
        format!("arithmetic/{text}")
    }
}

/// `None` where a step of the working is on the other side of the split.
fn draw_problem(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    let calculation = draw(config.digits, rng);
    let id = calculation.id();
    // Longer sums in passing are problems too; small ones are facts, which everybody knows.
    let split = Split::of(&id);
    let other_side =
        |&(a, sign, b): &(u32, char, u32)| a.max(b) >= 100 && (is_held_out(a, sign, b) != (split == Split::HeldOut));
    if calculation.numbers.len() > 2 && working::steps(&calculation)?.iter().any(other_side) {
        return None;
    }
    let language = if rng.random_bool(config.russian) { Language::Russian } else { Language::English };
    let prompt = wordings::pose(&calculation, language, rng);
    // Signs alone are in no language.
    let language = if is_cyrillic(&prompt) { language } else { Language::English };
    Some(Problem { id, task: NAME.to_owned(), prompt, gold: serde_json::json!(Gold { calculation, language }) })
}

fn draw(digits: u32, rng: &mut ChaCha8Rng) -> Calculation {
    match crate::draw::weighted(&SHARES, rng) {
        0 => Calculation::new(&[number(digits, rng), number(digits, rng)], &['+']),
        1 => {
            let a = number(digits, rng);
            let b = match rng.random_range(0..20) {
                0 => a,
                // Close by: which is the larger shows in the last digits only.
                1..4 => (a + rng.random_range(0..=12)).saturating_sub(6).min(10_u32.pow(digits) - 1),
                _ => number(digits, rng),
            };
            // People mostly take the smaller away.
            let (a, b) = if a < b && rng.random_bool(0.5) { (b, a) } else { (a, b) };
            Calculation::new(&[a, b], &['-'])
        }
        2 => {
            let (a, b) = factors(digits, rng);
            Calculation::new(&[a, b], &['*'])
        }
        3 => quotient(digits, rng),
        4 => {
            let numbers: Vec<u32> = (0..3).map(|_| number(digits, rng)).collect();
            let signs: Vec<char> = (0..2).map(|_| if rng.random_bool(0.5) { '+' } else { '-' }).collect();
            Calculation { numbers, signs }
        }
        _ => {
            let [a, b] = [(); 2].map(|()| rng.random_range(1..=if digits > 1 { 12 } else { 9 }));
            let c = rng.random_range(1..=if digits > 1 { 99 } else { 9 });
            match rng.random_range(0..5) {
                0 => Calculation::new(&[a, b, c], &['*', '+']),
                1 => Calculation::new(&[a, b, c], &['*', '-']),
                2 => Calculation::new(&[c, a, b], &['+', '*']),
                3 => Calculation::new(&[c, a, b], &['-', '*']),
                _ => Calculation::new(&[a.min(9), b.min(9), c.min(9)], &['*', '*']),
            }
        }
    }
}

/// A number of up to so many digits, each count of them equally often, and now and then a round one.
fn number(digits: u32, rng: &mut ChaCha8Rng) -> u32 {
    let digits = rng.random_range(1..=digits);
    let low = 10_u32.pow(digits - 1);
    match rng.random_range(0..16) {
        0 => low * rng.random_range(1..=9),
        1 if digits == 1 => 0,
        _ => rng.random_range(low..=low * 9 + (low - 1)),
    }
}

/// Of one digit and up to `digits`, or of two and two, either first.
fn factors(digits: u32, rng: &mut ChaCha8Rng) -> (u32, u32) {
    let (a, b) = match digits >= 2 && rng.random_bool(0.35) {
        true => (rng.random_range(10..=99), rng.random_range(10..=99)),
        false => {
            (number(digits, rng), if rng.random_bool(0.05) { rng.random_range(0..=1) } else { rng.random_range(2..=9) })
        }
    };
    if rng.random_bool(0.35) { (b, a) } else { (a, b) }
}

/// Mostly exact ones: of a product, by either factor.
fn quotient(digits: u32, rng: &mut ChaCha8Rng) -> Calculation {
    let (mut a, b) = match rng.random_range(0..10) {
        _ if digits == 1 => (rng.random_range(0..=9), rng.random_range(1..=9)),
        // By a number of three or four digits there is only one digit to find.
        0 if digits > 2 => (rng.random_range(2..=9), rng.random_range(100..10_u32.pow(digits))),
        1..5 => (number(digits.min(3), rng), rng.random_range(10..=99)),
        _ => (number(digits, rng), rng.random_range(1..=9)),
    };
    a *= b;
    if (10..100).contains(&b) && a >= 10_000 {
        a = b * rng.random_range(2..=99);
    }
    if rng.random_bool(0.15) {
        a += rng.random_range(0..b);
    }
    if rng.random_bool(0.02) {
        return Calculation::new(&[a, 0], &['/']);
    }
    Calculation::new(&[a, b], &['/'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    fn task() -> Calculations {
        Calculations::new(Config::default(), 0).unwrap()
    }

    fn posed(text: &str) -> Problem {
        let numbers: Vec<u32> = text.split(['+', '-', '*', '/']).map(|n| n.parse().unwrap()).collect();
        let signs: Vec<char> = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let gold = Gold { calculation: Calculation { numbers, signs }, language: Language::English };
        Problem { id: String::new(), task: NAME.into(), prompt: text.into(), gold: serde_json::json!(gold) }
    }

    #[test]
    fn answers() {
        for (text, answer) in [
            ("12+7", "19"),
            ("12-47", "-35"),
            ("7-7", "0"),
            ("3-5+4", "2"),
            ("9-20-4", "-15"),
            ("34*27", "918"),
            ("2+3*4", "14"),
            ("2*3*4", "24"),
            ("5-2*9", "-13"),
            ("2082/6", "347"),
            ("918/27", "34"),
            ("2082/347", "6"),
            ("0/4", "0"),
        ] {
            let problem = posed(text);
            assert_eq!(task().trace(&problem).unwrap().answer, answer, "{text}");
            assert!(task().verify(&problem, answer).is_right());
            assert!(!task().verify(&problem, "77").is_right());
        }
        for text in ["7/2", "5/0", "919/27", "2083/347"] {
            let answer = task().trace(&posed(text)).unwrap().answer;
            assert!(answer.starts_with("I can only") && task().verify(&posed(text), &answer).is_right(), "{answer}");
            assert!(!task().verify(&posed(text), "3").is_right());
        }
    }

    #[test]
    fn traces_are_right_and_short() {
        let task = task();
        for index in 0..20_000 {
            let problem = task.problem(Split::Train, index);
            let trace = task.trace(&problem).unwrap();
            assert!(task.verify(&problem, &trace.answer).is_right(), "{problem:?}");
            assert!(trace.thinking.len() <= 300 && !trace.thinking.is_empty(), "{}", trace.thinking);
            assert!(problem.prompt.chars().count() <= 140, "{}", problem.prompt);
        }
    }

    #[test]
    fn longer_steps_are_on_the_side_of_their_problem() {
        let task = task();
        for (split, index) in (0..3000).map(|index| (Split::Train, index)).chain((0..200).map(|i| (Split::HeldOut, i)))
        {
            let problem = task.problem(split, index);
            let calculation = Gold::of(&problem).unwrap().calculation;
            assert_eq!(Split::of(&calculation.id()), split);
            if calculation.numbers.len() > 2 {
                for (a, sign, b) in working::steps(&calculation).unwrap() {
                    assert!(a.max(b) < 100 || is_held_out(a, sign, b) == (split == Split::HeldOut));
                }
            }
        }
    }

    #[test]
    fn every_kind_is_drawn() {
        let mut kinds = std::collections::BTreeSet::new();
        for index in 0..3000 {
            kinds.insert(draw(4, &mut draw::rng(0, "test", 0, index)).signs);
        }
        assert_eq!(kinds.len(), 13, "{kinds:?}");
    }
}
