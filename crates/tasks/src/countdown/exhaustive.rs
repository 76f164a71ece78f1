//! A working that tries everything there is to try with two or three numbers.
//!
//! ```text
//! 25 3 19 -> 41
//! 25: 19+3=22 19-3=16 19*3=57 19/3- | 41-25=16:16 yes
//! 19-3=16 16+25=41
//! ```
//! Each number is left for the last step in turn. A line has what the other two make, then what the last step would
//! need, up to the first number that they do make. Behind a needed number stands that number if it is made, else the
//! first made one that begins with the same digit, `19:10`, or nothing, `30:`. So a small model looks up by copying, and
//! then compares two numbers that stand together; asked for a bare yes, it said yes to others (LOG.md). Of two numbers
//! the working has what they make, up to the target, and the step that meets it once more. Nothing is guessed and one
//! thing is looked up at a time. `-` says that a division leaves a remainder, `>` that a product is too large.

use super::Gold;
use crate::task::{Language, Trace};

/// A number with what made it: the left operand, the sign, the right one.
#[derive(Clone, Copy)]
struct Made {
    left: u32,
    sign: char,
    right: u32,
    /// `None` for a remainder or too much.
    value: Option<u32>,
}

impl Made {
    fn of(left: u32, sign: char, right: u32, limit: u32) -> Self {
        let value = match sign {
            '+' => left.checked_add(right),
            '-' => left.checked_sub(right),
            '*' => left.checked_mul(right).filter(|product| *product <= limit),
            _ => (right > 0 && left.is_multiple_of(right)).then(|| left / right),
        };
        Self { left, sign, right, value }
    }

    fn write(&self) -> String {
        let Self { left, sign, right, value } = self;
        match value {
            Some(value) => format!("{left}{sign}{right}={value}"),
            None if *sign == '*' => format!("{left}*{right}>"),
            None => format!("{left}{sign}{right}-"),
        }
    }
}

/// What two numbers make, the larger first.
fn pair(a: u32, b: u32, limit: u32) -> Vec<Made> {
    let (a, b) = (a.max(b), a.min(b));
    let signs: &[char] = if b > 1 { &['+', '-', '*', '/'] } else { &['+', '-'] };
    signs.iter().map(|&sign| Made::of(a, sign, b, limit)).collect()
}

/// What the last step would need: as the target and the last number make it, and the step itself.
struct Need {
    made: Made,
    sign: char,
    /// Whether the last number stands on the left of the sign.
    last_first: bool,
}

/// What goes with `last` to make `target`.
fn needed(last: u32, target: u32, limit: u32) -> Vec<Need> {
    let mut needed = Vec::new();
    let mut push = |(left, sign, right), last_sign, last_first| {
        needed.push(Need { made: Made::of(left, sign, right, limit), sign: last_sign, last_first });
    };
    if target > last {
        push((target, '-', last), '+', false);
    }
    if last > target {
        push((last, '-', target), '-', true);
    }
    push((target, '+', last), '-', false);
    if last > 1 && target >= last {
        push((target, '/', last), '*', false);
    }
    if target > 1 && last > target {
        push((last, '/', target), '/', true);
    }
    if last > 1 {
        push((target, '*', last), '/', false);
    }
    needed
}

/// What stands behind a needed number: it, if it is made; else the first made number that begins with its digit.
pub(crate) fn alike(needed: u32, made: impl Iterator<Item = u32> + Clone) -> Option<u32> {
    let begins = |value: u32| value.to_string().chars().next();
    made.clone().find(|value| *value == needed).or_else(|| made.clone().find(|value| begins(*value) == begins(needed)))
}

/// What the last step would need, each beside what is made like it.
fn looked_up(needed: &[Need], made: &[Made]) -> String {
    let write = |need: &Need| match need.made.value {
        Some(value) => {
            let alike = alike(value, made.iter().filter_map(|made| made.value))
                .map_or_else(String::new, |alike| alike.to_string());
            format!("{}:{alike}", need.made.write())
        }
        None => need.made.write(),
    };
    needed.iter().map(write).collect::<Vec<_>>().join(" ")
}

/// The working, and the expression it ends in, if there is one; `None` for more or fewer numbers.
pub(super) fn search(gold: &Gold, limit: u32) -> Option<(String, Option<String>)> {
    let target = gold.target;
    let [yes, no] = match gold.language {
        Language::English => ["yes", "no"],
        Language::Russian => ["да", "нет"],
    };
    let listed: Vec<String> = gold.numbers.iter().map(u32::to_string).collect();
    let mut lines = vec![format!("{} -> {target}", listed.join(" "))];
    let all = |made: &[Made]| made.iter().map(Made::write).collect::<Vec<_>>().join(" ");
    match gold.numbers[..] {
        [a, b] => {
            let made = pair(a, b, limit.max(target));
            let Some(at) = made.iter().position(|made| made.value == Some(target)) else {
                lines.push(format!("{} | {no}", all(&made)));
                return Some((lines.join("\n"), None));
            };
            let Made { left, sign, right, .. } = made[at];
            lines.extend([format!("{} {yes}", all(&made[..=at])), made[at].write()]);
            Some((lines.join("\n"), Some(format!("{left}{sign}{right}"))))
        }
        [a, b, c] => {
            for (last, x, y) in [(a, b, c), (b, a, c), (c, a, b)] {
                let (made, needed) = (pair(x, y, limit), needed(last, target, limit));
                let made_of = |need: &Need| {
                    let value = need.made.value.filter(|value| *value > 0)?;
                    let first = made.iter().find(|made| made.value == Some(value))?;
                    Some((value, *first, need.sign, need.last_first))
                };
                let found = needed.iter().enumerate().find_map(|(at, need)| Some((at, made_of(need)?)));
                let Some((at, (value, first, sign, last_first))) = found else {
                    lines.push(format!("{last}: {} | {} | {no}", all(&made), looked_up(&needed, &made)));
                    continue;
                };
                lines.push(format!("{last}: {} | {} {yes}", all(&made), looked_up(&needed[..=at], &made)));
                let inner = format!("({}{}{})", first.left, first.sign, first.right);
                let (step, expression) = match last_first {
                    true => (format!("{last}{sign}{value}"), format!("{last}{sign}{inner}")),
                    false => (format!("{value}{sign}{last}"), format!("{inner}{sign}{last}")),
                };
                lines.push(format!("{} {step}={target}", first.write()));
                return Some((lines.join("\n"), Some(expression)));
            }
            Some((lines.join("\n"), None))
        }
        _ => None,
    }
}

/// The working as a trace; `without` is the answer where there is no way.
pub(super) fn trace(gold: &Gold, limit: u32, without: &str) -> Option<Trace> {
    let (thinking, expression) = search(gold, limit)?;
    Some(Trace { thinking, answer: expression.unwrap_or_else(|| without.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::super::expression;
    use super::*;
    use proptest::prelude::*;

    fn gold(numbers: &[u32], target: u32) -> Gold {
        Gold { numbers: numbers.to_vec(), target, language: Language::English }
    }

    #[test]
    fn workings_as_written() {
        for (numbers, target, thinking, answer) in [
            (
                &[25, 3, 19][..],
                41,
                "25 3 19 -> 41\n25: 19+3=22 19-3=16 19*3=57 19/3- | 41-25=16:16 yes\n19-3=16 16+25=41",
                Some("(19-3)+25"),
            ),
            (
                &[8, 3, 2],
                22,
                "8 3 2 -> 22\n8: 3+2=5 3-2=1 3*2=6 3/2- | 22-8=14:1 22+8=30: 22/8- 22*8=176:1 | no\n\
                 3: 8+2=10 8-2=6 8*2=16 8/2=4 | 22-3=19:10 22+3=25: 22/3- 22*3=66:6 | no\n\
                 2: 8+3=11 8-3=5 8*3=24 8/3- | 22-2=20:24 22+2=24:24 yes\n8*3=24 24-2=22",
                Some("(8*3)-2"),
            ),
            (&[5, 8], 40, "5 8 -> 40\n8+5=13 8-5=3 8*5=40 yes\n8*5=40", Some("8*5")),
            (&[5, 8], 41, "5 8 -> 41\n8+5=13 8-5=3 8*5=40 8/5- | no", None),
            (
                &[50, 4, 3],
                38,
                "50 4 3 -> 38\n50: 4+3=7 4-3=1 4*3=12 4/3- | 50-38=12:12 yes\n4*3=12 50-12=38",
                Some("50-(4*3)"),
            ),
        ] {
            let (written, expression) = search(&gold(numbers, target), 300).unwrap();
            assert_eq!((written.as_str(), expression.as_deref()), (thinking, answer));
        }
        assert!(search(&gold(&[1, 2, 3, 4], 10), 300).is_none());
    }

    proptest! {
        #[test]
        fn it_finds_what_there_is(numbers in prop::collection::vec(1..=75_u32, 2..=3), target in 1..=150_u32) {
            let gold = gold(&numbers, target);
            let (thinking, expression) = search(&gold, 300).unwrap();
            if let Some(expression) = &expression {
                prop_assert_eq!(expression::hits(expression, &numbers, target), Ok(true), "{}\n{}", thinking, expression);
            }
            // The slow way: every step and every step after it.
            let any = |table: &[u32]| super::super::search::steps(table, 300).into_iter().map(|s| s.apply(table)).collect::<Vec<_>>();
            let reached = any(&numbers).into_iter().any(|table| match table.len() {
                1 => table[0] == target,
                _ => any(&table).iter().any(|last| last[0] == target),
            });
            prop_assert!(expression.is_some() || !reached, "{}", thinking);
        }
    }
}
