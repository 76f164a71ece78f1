//! A right answer for people to read, from what a verifier goes by.

use serde_json::Value;

/// `[17, 46, 23] → 6` as `23 − 17 = 6`; text as it is; anything else as JSON.
pub fn readable(gold: &Value) -> String {
    match (gold, equation(gold)) {
        (_, Some(equation)) => equation,
        (Value::String(text), None) => text.clone(),
        (other, None) => other.to_string(),
    }
}

/// More numbers than this take longer than a page is worth.
const MOST_NUMBERS: usize = 5;

/// The shortest solution of a Countdown problem `{"numbers", "target"}`, of those in whole positive steps; `None` of
/// anything else.
fn equation(gold: &Value) -> Option<String> {
    let numbers = gold.get("numbers")?.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>()?;
    let target = gold.get("target")?.as_u64()?;
    if numbers.len() > MOST_NUMBERS {
        return None;
    }
    let terms: Vec<Term> = numbers.into_iter().map(Term::number).collect();
    let solution = (0..terms.len()).find_map(|steps| reach(&terms, target, steps))?;
    Some(format!("{solution} = {target}"))
}

/// A value and how it was made.
#[derive(Clone)]
struct Term {
    value: u64,
    text: String,
    /// The operation made last, which decides about parentheses; `None` of a given number.
    last: Option<char>,
}

/// An expression for `target` with exactly `steps` operations.
fn reach(terms: &[Term], target: u64, steps: usize) -> Option<String> {
    if steps == 0 {
        return terms.iter().find(|term| term.value == target).map(|term| term.text.clone());
    }
    for (i, left) in terms.iter().enumerate() {
        for (j, right) in terms.iter().enumerate().filter(|&(j, _)| j != i) {
            let others =
                || terms.iter().enumerate().filter(move |&(k, _)| k != i && k != j).map(|(_, term)| term.clone());
            for made in ['+', '−', '×', '÷'].into_iter().filter_map(|operation| left.join(operation, right)) {
                // The newest term comes first: solutions go on from it if they can, as people do.
                let rest: Vec<Term> = std::iter::once(made).chain(others()).collect();
                if let Some(found) = reach(&rest, target, steps - 1) {
                    return Some(found);
                }
            }
        }
    }
    None
}

impl Term {
    fn number(value: u64) -> Term {
        Term { value, text: value.to_string(), last: None }
    }

    /// `None` if the result is not a whole positive number.
    fn join(&self, operation: char, right: &Term) -> Option<Term> {
        let (a, b) = (self.value, right.value);
        let value = match operation {
            '+' => a.checked_add(b)?,
            '−' => a.checked_sub(b)?,
            '×' => a.checked_mul(b)?,
            _ => (b > 0 && a.is_multiple_of(b)).then(|| a / b)?,
        };
        let is_sum = |term: &Term| matches!(term.last, Some('+' | '−'));
        let (in_left, in_right) = match operation {
            '+' => (false, false),
            '−' => (false, is_sum(right)),
            '×' => (is_sum(self), is_sum(right)),
            _ => (is_sum(self), right.last.is_some()),
        };
        let within = |term: &Term, in_parentheses| match in_parentheses {
            true => format!("({})", term.text),
            false => term.text.clone(),
        };
        let text = format!("{} {operation} {}", within(self, in_left), within(right, in_right));
        (value > 0).then_some(Term { value, text, last: Some(operation) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_tasks::countdown::{Config, Countdown};
    use picnic_tasks::{Split, Task};
    use serde_json::json;

    #[test]
    fn countdown_is_solved_and_the_rest_is_shown_as_it_is() {
        assert_eq!(readable(&json!({"numbers": [17, 46, 23], "target": 6})), "23 − 17 = 6");
        assert_eq!(readable(&json!({"numbers": [49, 21, 8, 14], "target": 76})), "49 + 21 − 8 + 14 = 76");
        assert_eq!(readable(&json!({"numbers": [2, 5, 9, 3], "target": 42})), "(5 + 9) × 3 = 42");
        assert_eq!(readable(&json!({"numbers": [2, 2], "target": 50})), r#"{"numbers":[2,2],"target":50}"#);
        assert_eq!(readable(&json!("420")), "420");
        assert_eq!(readable(&json!({"numbers": "all", "target": 3})), r#"{"numbers":"all","target":3}"#);
    }

    #[test]
    fn every_problem_of_countdown_has_an_equation_that_its_verifier_accepts() {
        let task = Countdown::new(Config { numbers: [3, 5], ..Config::default() }, 0).unwrap();
        for index in 0..60 {
            let problem = task.problem(Split::HeldOut, index);
            let equation = readable(&problem.gold);
            let (expression, _) = equation.split_once(" = ").unwrap_or_else(|| panic!("{equation}"));
            assert!(task.verify(&problem, expression).is_right(), "{}: {equation}", problem.prompt);
        }
    }
}
