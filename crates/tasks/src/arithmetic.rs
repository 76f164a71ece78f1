//! Sums, differences and products of several digits, worked out column by column.
//!
//! `347+289`: each line is one column from the right, with what was carried into it:
//! `7+9=16`, `4+8+1=13`, `3+2+1=6`, and the answer 636 stands in the last digits. That is 24
//! tokens where digits are tokens. Not here: division, negatives, decimals; the task `calculations` has some of them.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::number::Number;
use crate::task::{Problem, Source, Task, TaskError, Trace, Verdict};

const NAME: &str = "arithmetic";

/// The dials of [`Arithmetic`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// Fewest and most digits of an operand, 1 to 9.
    pub digits: [u32; 2],
    /// Digits of the second factor of a product, 1 to 9.
    pub multiplier_digits: u32,
    /// What is asked, each equally often.
    pub operations: Vec<Operation>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            weight: 1.0,
            digits: [3, 3],
            multiplier_digits: 1,
            operations: vec![Operation::Add, Operation::Subtract, Operation::Multiply],
        }
    }
}

/// What to do with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A sum.
    #[serde(rename = "+")]
    Add,
    /// A difference, never negative.
    #[serde(rename = "-")]
    Subtract,
    /// A product.
    #[serde(rename = "*")]
    Multiply,
}

/// Multi-digit arithmetic with written working.
pub struct Arithmetic {
    source: Drawn<Config>,
}

impl Arithmetic {
    /// The task under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        let dial = |key, value: String, cure| TaskError::Dial { task: NAME, key, value, cure };
        let [low, high] = config.digits;
        if low < 1 || low > high || high > 9 {
            let cure = "give [fewest, most] between 1 and 9";
            return Err(dial("digits", format!("{:?}", config.digits), cure));
        }
        if !(1..=9).contains(&config.multiplier_digits) {
            let value = config.multiplier_digits.to_string();
            return Err(dial("multiplier_digits", value, "give 1 to 9"));
        }
        if config.operations.is_empty() {
            let cure = "give at least one of \"+\", \"-\", \"*\"";
            return Err(dial("operations", "[]".into(), cure));
        }
        let levels: Vec<Config> = (low..=high).map(|digits| Config { digits: [digits; 2], ..config.clone() }).collect();
        let source = Drawn::new(NAME, seed, config, levels, draw_problem)?;
        Ok(Self { source })
    }
}

impl Task for Arithmetic {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A level for each number of digits.
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn examples(&self) -> Vec<String> {
        let Config { digits: [low, high], multiplier_digits, operations, .. } = self.source.dials();
        let operation = *operations.first().unwrap_or(&Operation::Add);
        let digits = 3.clamp(*low, *high);
        let first_digits = |number: u32, digits: u32| number / 10u32.pow(9 - digits);
        let right = if operation == Operation::Multiply { *multiplier_digits } else { digits };
        let (left, right) = (first_digits(347_625_918, digits), first_digits(289_136_745, right));
        vec![Question { left, operation, right }.pose().prompt]
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let question = Question::of(problem)?;
        Some(Trace { thinking: question.working()?.join("\n"), answer: question.result().to_string() })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some(question) = Question::of(problem) else {
            return Verdict::foreign(NAME, problem);
        };
        Number::judge(answer, &question.result().to_string())
    }
}

/// What is asked: the gold of this task's problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) left: u32,
    pub(crate) operation: Operation,
    pub(crate) right: u32,
}

fn draw_problem(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    Some(draw_question(config, rng).pose())
}

fn draw_question(config: &Config, rng: &mut ChaCha8Rng) -> Question {
    let [low, high] = config.digits;
    let digits = rng.random_range(low..=high);
    let operation = *config.operations.choose(rng).unwrap_or(&Operation::Multiply);
    let left = with_digits(digits, rng);
    match operation {
        Operation::Multiply => Question { left, operation, right: with_digits(config.multiplier_digits, rng).max(2) },
        Operation::Add | Operation::Subtract => {
            let right = with_digits(digits, rng);
            let swap = operation == Operation::Subtract && left < right;
            let (left, right) = if swap { (right, left) } else { (left, right) };
            Question { left, operation, right }
        }
    }
}

/// A number of exactly so many digits, not zero.
fn with_digits(digits: u32, rng: &mut ChaCha8Rng) -> u32 {
    let low = 10_u32.pow(digits - 1);
    rng.random_range(low..=low * 9 + (low - 1))
}

impl Question {
    fn of(problem: &Problem) -> Option<Self> {
        serde_json::from_value(problem.gold.clone()).ok()
    }

    pub(crate) fn pose(self) -> Problem {
        let symbol = self.operation.symbol();
        let (a, b) = (self.left, self.right);
        // Order means nothing in a sum or a product: both orders are one problem.
        let (x, y) = match self.operation {
            Operation::Subtract => (a, b),
            Operation::Add | Operation::Multiply => (a.min(b), a.max(b)),
        };
        Problem {
            id: format!("{NAME}/{x}{symbol}{y}"),
            task: NAME.to_owned(),
            prompt: format!("What is {a}{symbol}{b}?"),
            gold: serde_json::json!({"left": a, "operation": symbol, "right": b}),
        }
    }

    /// Any pair of `u32` fits: sums, differences and products stay below 2^64 in magnitude.
    fn result(self) -> i128 {
        let (a, b) = (i128::from(self.left), i128::from(self.right));
        match self.operation {
            Operation::Add => a + b,
            Operation::Subtract => a - b,
            Operation::Multiply => a * b,
        }
    }

    /// The lines of the working; `None` for a negative difference.
    fn working(self) -> Option<Vec<String>> {
        let (a, b) = (u64::from(self.left), u64::from(self.right));
        match self.operation {
            Operation::Add => Some(add_columns(a, b)),
            Operation::Subtract => (a >= b).then(|| subtract_columns(a, b)),
            Operation::Multiply if b < 10 => Some(multiply_columns(a, b)),
            Operation::Multiply => Some(long_multiplication(a, b)),
        }
    }
}

impl Operation {
    pub(crate) fn symbol(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
        }
    }
}

/// Columns from the right; the carry is the third term.
fn add_columns(mut a: u64, mut b: u64) -> Vec<String> {
    let mut columns = Vec::new();
    let mut carried = 0;
    while a > 0 || b > 0 || columns.is_empty() {
        let (x, y) = (a % 10, b % 10);
        let sum = x + y + carried;
        columns.push(format!("{x}+{y}{}={sum}", term('+', carried)));
        (a, b, carried) = (a / 10, b / 10, sum / 10);
    }
    columns
}

/// Columns from the right; a column that is too small borrows ten, which the next one pays.
fn subtract_columns(mut a: u64, mut b: u64) -> Vec<String> {
    let mut columns = Vec::new();
    let mut borrowed = 0;
    while a > 0 || columns.is_empty() {
        let (from, take) = (a % 10, b % 10);
        let borrow = u64::from(from < take + borrowed);
        let digit = from + 10 * borrow - take - borrowed;
        columns.push(format!("{}-{take}{}={digit}", from + 10 * borrow, term('-', borrowed)));
        (a, b, borrowed) = (a / 10, b / 10, borrow);
    }
    columns
}

/// Columns from the right times one digit; the carry is the last term.
fn multiply_columns(mut a: u64, factor: u64) -> Vec<String> {
    let mut columns = Vec::new();
    let mut carried = 0;
    while a > 0 || columns.is_empty() {
        let x = a % 10;
        let result = x * factor + carried;
        columns.push(format!("{x}*{factor}{}={result}", term('+', carried)));
        (a, carried) = (a / 10, result / 10);
    }
    columns
}

/// A row for each digit of the multiplier, each with its columns, added up as they come.
fn long_multiplication(a: u64, b: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut total = 0;
    let (mut rest, mut place) = (b, 1);
    while rest > 0 {
        let digit = rest % 10;
        if digit > 0 {
            let row = a * digit * place;
            lines.extend(multiply_columns(a, digit));
            lines.push(format!("{a}*{}={row}", digit * place));
            if total > 0 {
                lines.extend(add_columns(total, row));
                lines.push(format!("{total}+{row}={}", total + row));
            }
            total += row;
        }
        (rest, place) = (rest / 10, place * 10);
    }
    lines
}

fn term(sign: char, carry: u64) -> String {
    match carry {
        0 => String::new(),
        _ => format!("{sign}{carry}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(left: u32, operation: Operation, right: u32) -> Question {
        Question { left, operation, right }
    }

    #[test]
    fn workings_as_written() {
        use Operation::{Add, Multiply, Subtract};
        for (question, working) in [
            (question(347, Add, 289), "7+9=16\n4+8+1=13\n3+2+1=6"),
            (question(95, Add, 7), "5+7=12\n9+0+1=10"),
            (question(352, Subtract, 79), "12-9=3\n15-7-1=7\n3-0-1=2"),
            (question(347, Multiply, 6), "7*6=42\n4*6+4=28\n3*6+2=20"),
            (
                question(34, Multiply, 27),
                "4*7=28\n3*7+2=23\n34*7=238\n4*2=8\n3*2=6\n34*20=680\n\
                 8+0=8\n3+8=11\n2+6+1=9\n238+680=918",
            ),
        ] {
            assert_eq!(question.working().unwrap().join("\n"), working);
        }
    }

    #[test]
    fn dials_out_of_range_are_named() {
        let build = |edit: fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            Arithmetic::new(config, 0).map(|_| ()).unwrap_err().to_string()
        };
        assert!(build(|c| c.digits = [3, 2]).contains("digits = [3, 2]"));
        assert!(build(|c| c.digits = [1, 10]).contains("between 1 and 9"));
        assert!(build(|c| c.multiplier_digits = 0).contains("multiplier_digits"));
        assert!(build(|c| c.operations.clear()).contains("operations"));
    }

    #[test]
    fn short_numbers_have_both_splits() {
        for operation in [Operation::Add, Operation::Subtract, Operation::Multiply] {
            let config = Config { digits: [1, 1], operations: vec![operation], ..Config::default() };
            assert!(Arithmetic::new(config, 0).is_ok());
        }
    }

    /// Every line of a working must itself be true.
    fn line_holds(line: &str) -> bool {
        let (sum, result) = line.split_once('=').unwrap();
        let value = |text: &str| text.parse::<u64>().unwrap();
        let sum = match sum.split_once('-') {
            Some((from, rest)) => value(from) - rest.split('-').map(value).sum::<u64>(),
            None => sum.split('+').map(|t| t.split('*').map(value).product::<u64>()).sum(),
        };
        sum == value(result)
    }

    /// What the columns spell: the last digits from the bottom up, the top line whole.
    fn spelled(lines: &[String]) -> u64 {
        let results: Vec<_> = lines.iter().map(|l| l.split_once('=').unwrap().1).collect();
        let (top, columns) = results.split_last().unwrap();
        let mut text = (*top).to_owned();
        for column in columns.iter().rev() {
            text.push(column.chars().last().unwrap());
        }
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn columns_spell_the_result(a in 0..1_000_000_u64, b in 0..1_000_000_u64, digit in 0..10_u64) {
            let (a, b) = (a.max(b), a.min(b));
            for (lines, result) in [
                (add_columns(a, b), a + b),
                (subtract_columns(a, b), a - b),
                (multiply_columns(a, digit), a * digit),
            ] {
                prop_assert!(lines.iter().all(|l| line_holds(l)), "{:?}", lines);
                prop_assert_eq!(spelled(&lines), result);
            }
        }

        #[test]
        fn long_multiplication_ends_in_the_product(a in 1..1_000_000_000_u64, b in 10..1_000_000_000_u64) {
            let lines = long_multiplication(a, b);
            prop_assert!(lines.iter().all(|l| line_holds(l)), "{:?}", lines);
            let end = format!("={}", a * b);
            prop_assert!(lines.last().unwrap().ends_with(&end));
        }

        #[test]
        fn the_largest_operands_are_no_danger(a in any::<u32>(), b in any::<u32>()) {
            for operation in [Operation::Add, Operation::Subtract, Operation::Multiply] {
                let question = question(a, operation, b);
                let task = Arithmetic::new(Config::default(), 0).unwrap();
                let problem = question.pose();
                prop_assert!(task.verify(&problem, &question.result().to_string()).is_right());
                prop_assert_eq!(task.trace(&problem).is_some(), question.result() >= 0);
            }
        }
    }
}
