//! The search that a cold-start trace writes out.
//!
//! ```text
//! 25+19=44 *3=132 no
//! 25-3=22 +19=41 yes
//! ```
//! One attempt a line, each step with its result, and a verdict. Every step but the first goes on
//! from the last result: then no number is written twice, and the answer is the line without its
//! results, in parentheses. A small model learns to copy that; it does not learn, in minutes, to
//! keep a table of intermediate results. The price is that a few solutions, such as
//! `(2+5)*(9-3)`, are never tried.
//!
//! Three dials make the policy (see [`Config`]): `skill` at the last step, `foresight` before it,
//! and `give_up` after a failure. The traces are honest but far from optimal; RL is to sharpen
//! all three.

use std::collections::HashSet;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Config, Gold, MAX_NUMBERS};
use crate::task::{Language, Trace};

/// Works the problem out in attempts that the caller `allows`. `None` if it has too many numbers, no step to take, or no
/// attempt that is allowed.
pub(super) fn trace(
    config: &Config,
    gold: &Gold,
    allows: impl Fn(&Attempt) -> bool,
    rng: &mut ChaCha8Rng,
) -> Option<Trace> {
    if !(2..=MAX_NUMBERS).contains(&gold.numbers.len()) {
        return None;
    }
    let mut tried = HashSet::new();
    let mut lines = Vec::new();
    let mut closest: Option<Attempt> = None;
    for _ in 0..config.max_attempts {
        // Nobody writes the same attempt twice; when no other turns up, all was tried.
        const REDRAWS: usize = 20;
        let Some(attempt) = (0..REDRAWS)
            .filter_map(|_| Attempt::draw(config, gold, rng))
            .find(|attempt| allows(attempt) && tried.insert(attempt.line.clone()))
        else {
            break;
        };
        let hit = attempt.distance == 0;
        lines.push(format!("{} {}", attempt.line, if hit { "yes" } else { "no" }));
        if closest.as_ref().is_none_or(|best| attempt.distance < best.distance) {
            closest = Some(attempt);
        }
        if hit || rng.random_bool(config.give_up) {
            break;
        }
    }
    Some(Trace { thinking: lines.join("\n"), answer: closest?.expression })
}

/// `count` attempts, not all of them different, on numbers that are to make nothing in particular.
pub(super) fn aimless(config: &Config, numbers: &[u32], count: usize, rng: &mut ChaCha8Rng) -> Vec<Attempt> {
    // No step makes 0, so no attempt ends before the numbers do.
    let gold = Gold { numbers: numbers.to_vec(), target: 0, language: Language::English };
    (0..count).filter_map(|_| Attempt::draw(config, &gold, rng)).collect()
}

/// One way to combine the numbers, down to a single one or to the target.
pub(super) struct Attempt {
    /// `25-3=22 +19=41`
    pub(super) line: String,
    /// `(25-3)+19`
    pub(super) expression: String,
    /// The numbers that are used up after each step, and what it makes: 22 from 25 and 3, 41 from 25, 3 and 19.
    pub(super) steps: Vec<(Vec<u32>, u32)>,
    /// How far the last result is from the target.
    distance: u32,
}

impl Attempt {
    fn draw(config: &Config, gold: &Gold, rng: &mut ChaCha8Rng) -> Option<Self> {
        let limit = limit(config).max(gold.target);
        let foresees = rng.random_bool(config.foresight);
        let mut table = gold.numbers.clone();
        let mut expressions: Vec<String> = table.iter().map(u32::to_string).collect();
        let (mut line, mut done, mut used) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let begun = !line.is_empty();
            let mut steps = if begun { extensions(&table, limit) } else { steps(&table, limit) };
            if table.len() == 2 {
                if rng.random_bool(config.skill) {
                    let nearest = |step: &Step| step.result.abs_diff(gold.target);
                    steps = steps.into_iter().min_by_key(nearest).into_iter().collect();
                }
            } else if foresees {
                let hopeful = |step: &&Step| can_reach(&step.apply(&table), gold.target, limit);
                let hopeful: Vec<Step> = steps.iter().filter(hopeful).copied().collect();
                if !hopeful.is_empty() {
                    steps = hopeful;
                }
            }
            let step = steps.choose(rng)?;
            line.push(step.write(&table, begun));
            // Later steps go on from a result, which is no number of its own.
            used.extend((!begun).then_some(table[step.left]));
            used.push(table[step.right]);
            done.push((used.clone(), step.result));
            expressions = step.join(&expressions);
            table = step.apply(&table);
            let distance = step.result.abs_diff(gold.target);
            if table.len() == 1 || distance == 0 {
                return Some(Self { line: line.join(" "), expression: expressions.pop()?, steps: done, distance });
            }
        }
    }
}

/// Results beyond this are not worth writing down: nothing leads back to the target.
pub(super) fn limit(config: &Config) -> u32 {
    2 * config.max_target
}

/// Whether the last result is the target or leads to it.
fn can_reach(table: &[u32], target: u32, limit: u32) -> bool {
    table.last() == Some(&target)
        || extensions(table, limit).iter().any(|step| can_reach(&step.apply(table), target, limit))
}

/// The steps that go on from the last result: it stands at the table's end and comes first.
fn extensions(table: &[u32], limit: u32) -> Vec<Step> {
    let last = table.len().saturating_sub(1);
    let go_on = |step: Step| match (step.left == last, step.right == last, step.symbol) {
        (true, _, _) => Some(step),
        (_, true, '+' | '*') => Some(Step { left: step.right, right: step.left, ..step }),
        _ => None,
    };
    steps(table, limit).into_iter().filter_map(go_on).collect()
}

/// Two numbers taken from the table, and what they make.
#[derive(Clone, Copy)]
pub(super) struct Step {
    left: usize,
    right: usize,
    symbol: char,
    result: u32,
}

/// Every step from this table with a whole, positive result up to `limit` that is not one of
/// its two operands. Each sum and product once.
pub(super) fn steps(table: &[u32], limit: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    for left in 0..table.len() {
        for right in left + 1..table.len() {
            // The larger number goes first where order matters.
            let (big, small) = match table[left] >= table[right] {
                true => (left, right),
                false => (right, left),
            };
            let (a, b) = (table[big], table[small]);
            let mut push = |left, right, symbol, result| {
                if result > 0 && result <= limit && result != a && result != b {
                    steps.push(Step { left, right, symbol, result });
                }
            };
            push(left, right, '+', a.saturating_add(b));
            push(big, small, '-', a - b);
            push(left, right, '*', a.saturating_mul(b));
            if b > 0 && a % b == 0 {
                push(big, small, '/', a / b);
            }
        }
    }
    steps
}

impl Step {
    /// The table after this step: the two numbers gone, the result at the end.
    pub(super) fn apply(&self, table: &[u32]) -> Vec<u32> {
        self.replace(table, self.result)
    }

    fn replace<T: Clone>(&self, table: &[T], result: T) -> Vec<T> {
        let mut rest: Vec<T> = Vec::with_capacity(table.len());
        for (index, item) in table.iter().enumerate() {
            if index != self.left && index != self.right {
                rest.push(item.clone());
            }
        }
        rest.push(result);
        rest
    }

    /// With what stands on the left only if the line does not already end in it.
    fn write(&self, table: &[u32], begun: bool) -> String {
        let left = if begun { String::new() } else { table[self.left].to_string() };
        format!("{left}{}{}={}", self.symbol, table[self.right], self.result)
    }

    /// The expressions after this step. Every compound operand gets its parentheses, needed or
    /// not: then the answer is copied from the steps by substitution alone.
    fn join(&self, expressions: &[String]) -> Vec<String> {
        let operand = |index: usize| {
            let text = &expressions[index];
            match text.bytes().all(|b| b.is_ascii_digit()) {
                true => text.clone(),
                false => format!("({text})"),
            }
        };
        let (left, right) = (operand(self.left), operand(self.right));
        self.replace(expressions, format!("{left}{}{right}", self.symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression;
    use super::*;
    use crate::draw;
    use proptest::prelude::*;

    fn work_out(config: &Config, numbers: &[u32], target: u32, seed: u64) -> Trace {
        let gold = Gold { numbers: numbers.to_vec(), target, language: Language::English };
        trace(config, &gold, |_| true, &mut draw::rng(seed, "test", 0, 0)).unwrap()
    }

    #[test]
    fn foresight_and_skill_hit_at_once() {
        let config = Config { skill: 1.0, foresight: 1.0, ..Config::default() };
        let trace = work_out(&config, &[25, 3, 19], 41, 0);
        assert_eq!(trace.thinking.lines().count(), 1);
        assert!(trace.thinking.ends_with("=41 yes"), "{}", trace.thinking);
        assert_eq!(expression::hits(&trace.answer, &[25, 3, 19], 41), Ok(true));
    }

    #[test]
    fn giving_up_answers_with_the_closest_try() {
        let config = Config { give_up: 0.0, max_attempts: 4, ..Config::default() };
        // 2, 4 and 6 make only even numbers or tiny ones: 97 is out of reach.
        let trace = work_out(&config, &[2, 4, 6], 97, 1);
        assert!(trace.thinking.lines().count() <= 4);
        assert!(trace.thinking.lines().all(|line| line.ends_with(" no")));
        assert_eq!(expression::hits(&trace.answer, &[2, 4, 6], 97), Ok(false));
    }

    #[test]
    fn what_cannot_be_worked_out_is_left() {
        let config = Config::default();
        let mut rng = draw::rng(0, "test", 0, 0);
        for numbers in [vec![], vec![7], vec![0, 0, 0], vec![7; 100]] {
            let gold = Gold { numbers, target: 5, language: Language::English };
            assert!(trace(&config, &gold, |_| true, &mut rng).is_none());
        }
    }

    proptest! {
        #[test]
        fn every_line_is_true_and_the_last_one_is_the_answer(
            numbers in prop::collection::vec(1..=50_u32, 3..=4), target in 1..=100_u32, seed: u64,
        ) {
            let config = Config::default();
            let trace = work_out(&config, &numbers, target, seed);
            for line in trace.thinking.lines() {
                let mut last = String::new();
                for step in line.split_whitespace().filter(|w| w.contains('=')) {
                    let (sum, result) = step.split_once('=').unwrap();
                    let sum = format!("{last}{sum}");
                    let at = sum.find(['+', '-', '*', '/']).unwrap();
                    let (a, b) = (sum[..at].parse().unwrap(), sum[at + 1..].parse().unwrap());
                    prop_assert_eq!(
                        expression::hits(&sum, &[a, b], result.parse().unwrap()), Ok(true), "{}", line);
                    last = result.to_owned();
                }
            }
            let hit = expression::hits(&trace.answer, &numbers, target);
            prop_assert_eq!(hit, Ok(trace.thinking.ends_with("yes")));
        }
    }
}
