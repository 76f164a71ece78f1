//! The first text of a tiny base model: digits, arithmetic and the look of a problem, before it is fine-tuned.
//!
//! Five kinds of document, the default corpus: bare facts (`23+45=68`), column sums with a carry, ways to combine a
//! few numbers (`25-3=22 +19=41 (25-3)+19`), Countdown problems with a solution in equations, and
//! short stories about quantities. Never the think/answer format, and never a search with its
//! verdicts: those are the cold start's. Which kinds a recipe has, and how much of each, is `corpus.rs`'s business.
//!
//! The combinations aim at nothing, so what follows `=` can only be computed. In solved problems
//! the last result is the target, and a model that saw these alone would copy it instead.
//!
//! Held-out problems stay out: Countdown problems come from the training split alone, no step of a combination or of a
//! solution makes a held-out problem's target out of its numbers, and every equation with an operand of three digits or
//! more, the default size of the arithmetic task, is from that task's training split too. Equations between smaller
//! numbers are tables to be learnt and appear whole; arithmetic with fewer `digits` and word problems of one step
//! therefore test recall, not generalisation.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::arithmetic::{Operation, Question};
use crate::task::Split;
use crate::word_problems::{NAMES, THINGS};

/// The text up to the first line with an equation that the arithmetic task keeps for evaluation.
pub(crate) fn until_held_out(text: &str) -> String {
    let shows_none = |line: &&str| !equations(line).any(|(left, symbol, right)| is_held_out(left, symbol, right));
    text.lines().take_while(shows_none).collect::<Vec<_>>().join("\n")
}

/// Operands and sign of the equations of a line: words like `7*8=56`; `+3=59` goes on from the one before.
fn equations(line: &str) -> impl Iterator<Item = (u32, char, u32)> {
    let mut last = 0;
    line.split_whitespace().filter_map(move |word| {
        let (sum, result) = word.split_once('=')?;
        let at = sum.find(['+', '-', '*', '/'])?;
        let symbol = sum[at..].chars().next()?;
        let left = if at == 0 { last } else { sum[..at].parse().ok()? };
        // Of a difference below zero too.
        last = result.trim_start_matches('-').parse().ok()?;
        Some((left, symbol, sum[at + 1..].parse().ok()?))
    })
}

pub(crate) fn lines(rng: &mut ChaCha8Rng, count: usize, line: fn(&mut ChaCha8Rng) -> String) -> String {
    let lines: Vec<_> = (0..count).map(|_| line(rng)).collect();
    lines.join("\n")
}

/// Numbers beyond this stand in no step of a Countdown whose targets go up to 100.
const LARGEST: u32 = 200;

/// A true equation of the size that Countdown's steps have.
pub(crate) fn fact(rng: &mut ChaCha8Rng) -> String {
    loop {
        let (left, symbol, right, result) = match rng.random_range(0..10) {
            0..4 => {
                let (a, b) = (term(rng), term(rng));
                (a, '+', b, a + b)
            }
            4..8 => {
                let (a, b) = (term(rng), term(rng));
                let (a, b) = (a.max(b), a.min(b));
                (a, '-', b, a - b)
            }
            kind => {
                // One factor small: 12*7 is needed, 43*47 never.
                let small = rng.random_range(2..=12);
                let other = rng.random_range(2..=50);
                let (a, b) = if rng.random_bool(0.5) { (small, other) } else { (other, small) };
                match kind {
                    8 => (a, '*', b, a * b),
                    _ => (a * b, '/', b, a),
                }
            }
        };
        if left.max(result) <= LARGEST && !is_held_out(left, symbol, right) {
            return format!("{left}{symbol}{right}={result}");
        }
    }
}

/// A term up to 150, below 50 half of the time, as the given numbers are.
fn term(rng: &mut ChaCha8Rng) -> u32 {
    match rng.random_bool(0.5) {
        true => rng.random_range(1..=50),
        false => rng.random_range(1..=150),
    }
}

/// Whether the arithmetic task keeps this for evaluation; it asks no divisions.
pub(crate) fn is_held_out(left: u32, symbol: char, right: u32) -> bool {
    let operation = match symbol {
        '+' => Operation::Add,
        '-' => Operation::Subtract,
        '*' => Operation::Multiply,
        _ => return false,
    };
    let question = Question { left, operation, right };
    left.max(right) >= 100 && Split::of(&question.pose().id) == Split::HeldOut
}

/// One column of written working: digits and a carry.
pub(crate) fn column(rng: &mut ChaCha8Rng) -> String {
    let (a, b) = (rng.random_range(0..10_u32), rng.random_range(0..10_u32));
    match rng.random_range(0..3) {
        0 => format!("{a}+{b}+1={}", a + b + 1),
        1 => {
            let from = if a > b { a } else { a + 10 };
            format!("{from}-{b}-1={}", from - b - 1)
        }
        _ => {
            let carry = rng.random_range(1..9_u32);
            format!("{a}*{b}+{carry}={}", a * b + carry)
        }
    }
}

/// Two or three plain sentences in which a quantity changes hands.
pub(crate) fn story(rng: &mut ChaCha8Rng) -> String {
    let pick = |rng: &mut ChaCha8Rng, from: &[&'static str; 12]| from.choose(rng).copied().unwrap_or(from[0]);
    let (who, things) = (pick(rng, &NAMES), pick(rng, &THINGS));
    let (a, b) = (rng.random_range(2..=50_u32), rng.random_range(2..=50_u32));
    let (more, less) = (a.max(b), a.min(b));
    let (sum, difference) = (a + b, more - less);
    let each = rng.random_range(2..=10_u32);
    let boxes = rng.random_range(2..=10_u32);
    let product = each * boxes;
    match rng.random_range(0..9) {
        0 => format!("{who} has {a} {things}. Then {who} finds {b} more. Now there are {sum} {things}."),
        1 => format!("{who} had {more} {things} and gave away {less}. That leaves {difference} {things}."),
        2 => format!("There are {boxes} boxes with {each} {things} in each. In all there are {product} {things}."),
        3 => format!("{who} shares {product} {things} between {boxes} friends. Everyone gets {each} {things}."),
        4 => {
            let others: Vec<_> = NAMES.into_iter().filter(|name| *name != who).collect();
            let other = others.choose(rng).copied().unwrap_or(who);
            format!("{who} owns {more} {things}, {other} owns {less}. The difference is {difference}.")
        }
        5 => format!("How many {things} are {a} and {b} together? Together they are {sum}."),
        6 => format!("What must be added to {a} to reach {sum}? The answer is {b}."),
        7 => {
            let goal = rng.random_range(1..=100_u32);
            let nearer = match goal.abs_diff(a) <= goal.abs_diff(b) {
                true => a,
                false => b,
            };
            format!("Which of {a} and {b} is nearer to {goal}? It is {nearer}.")
        }
        _ => format!("One of the {things} costs {each} coins. For {boxes} of them {who} pays {product} coins."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{Corpus, default_parts};

    fn corpus() -> impl Iterator<Item = String> {
        let corpus = Corpus::new(&default_parts(), &[], 3).unwrap();
        (0..4000).map(move |index| corpus.text(index))
    }

    /// Sums and results of a text: `4*7+2=30` too; `+3=59` goes on from the one before.
    fn sums(text: &str) -> Vec<(String, String)> {
        let (mut equations, mut last) = (Vec::new(), String::new());
        for (sum, result) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            let goes_on = !sum.starts_with(|c: char| c.is_ascii_digit());
            let sum = if goes_on { format!("{last}{sum}") } else { sum.to_owned() };
            last = result.to_owned();
            equations.push((sum, last.clone()));
        }
        equations
    }

    #[test]
    fn every_equation_is_true() {
        for (sum, result) in corpus().collect::<Vec<_>>().iter().flat_map(|t| sums(t)) {
            let number = |text: &str| text.parse::<u32>().unwrap();
            let factors = |text: &str| match text.split_once('/') {
                Some((a, b)) => {
                    assert_eq!(number(a) % number(b), 0, "{text}");
                    number(a) / number(b)
                }
                None => text.split('*').map(number).product(),
            };
            let value = match sum.split_once('-') {
                Some((from, take)) => number(from) - take.split('-').map(number).sum::<u32>(),
                None => sum.split('+').map(factors).sum(),
            };
            assert_eq!(value, number(&result), "{sum}={result}");
        }
    }

    #[test]
    fn the_format_and_the_search_are_unseen() {
        for text in corpus() {
            for mark in ["<", ">", " yes", " no", "think"] {
                assert!(!text.contains(mark), "{text}");
            }
            assert!(!text.is_empty() && text.len() < 250, "{text}");
        }
    }

    #[test]
    fn held_out_problems_are_unseen() {
        let is_train = |numbers: &str, target: &str| {
            let mut numbers: Vec<u32> = numbers.split(", ").map(|n| n.parse().unwrap()).collect();
            numbers.sort_unstable();
            let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
            Split::of(&format!("countdown/{}={target}", numbers.join(","))) == Split::Train
        };
        let (mut solved, mut combined, mut large) = (0, 0, 0);
        for text in corpus() {
            if let Some(problem) = text.strip_prefix("Use ") {
                let (numbers, rest) = problem.split_once(" to make ").unwrap();
                assert!(is_train(numbers, rest.split_once('.').unwrap().0), "{text}");
                solved += usize::from(text.contains('='));
            }
            if let Some(numbers) = text.strip_prefix("With ") {
                let (numbers, lines) = numbers.split_once(':').unwrap();
                assert!(sums(lines).iter().all(|(_, result)| is_train(numbers, result)), "{text}");
                combined += usize::from(lines.contains('='));
            }
            for (sum, _) in sums(&text) {
                let Some(at) = sum.find(['+', '-', '*']) else {
                    continue;
                };
                // Columns with a carry have a third operand, and small ones.
                let (Ok(a), Ok(b)) = (sum[..at].parse(), sum[at + 1..].parse()) else {
                    continue;
                };
                if a >= 100 || b >= 100 {
                    let symbol = sum.chars().nth(at).unwrap();
                    assert!(!is_held_out(a, symbol, b), "{text}");
                    large += 1;
                }
            }
        }
        assert!(solved > 600 && combined > 1000 && large > 1000, "{solved} {combined} {large}");
    }
}
