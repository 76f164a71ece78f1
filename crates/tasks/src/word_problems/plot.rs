//! What happens in a story, without words, and the equations that it asks for.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::calculations::step;
use crate::task::{Language, Problem};

/// Most things that are added or taken away in a plot that is judged.
const MOST_CHANGES: usize = 8;

/// What happens in a story: the gold of these tasks' problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Plot {
    pub(super) start: Start,
    pub(super) changes: Vec<Change>,
    pub(super) end: End,
}

/// What there is at first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start {
    /// So many.
    Has(u32),
    /// So many boxes with so many in each.
    Boxes(u32, u32),
    /// So many and so many.
    Two(u32, u32),
}

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    More(u32),
    Less(u32),
    /// Half of them go.
    Half,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// How many there are.
    Now,
    /// What all of them cost at so many coins each.
    Price(u32),
    /// How many are in each of so many bags.
    Bags(u32),
    /// What comes back of so many coins, the second, for all of them at so many each, the first.
    Paid(u32, u32),
    /// How many bags there are with so many in each.
    Packs(u32),
    /// How many somebody else has, who has so many more.
    Other(u32),
    /// So many fewer.
    OtherLess(u32),
    /// So many times as many.
    OtherTimes(u32),
    /// Half as many.
    OtherHalf,
    /// How many more or fewer it is than these.
    Difference(u32),
    /// How many are missing to these.
    Need(u32),
    /// How many two people have, of whom the second has so many more.
    Together(u32),
    /// So many fewer.
    TogetherLess(u32),
    /// So many times as many.
    TogetherTimes(u32),
}

/// One step of the working.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Equation {
    pub(super) makes: Makes,
    left: u32,
    symbol: char,
    pub(super) right: u32,
    pub(super) result: u32,
}

/// What a step makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Makes {
    All,
    More,
    Left,
    Cost,
    Each,
    Packs,
    Other,
    Difference,
    Need,
    Both,
}

impl Makes {
    pub(super) fn word(self, language: Language) -> &'static str {
        let (english, russian) = match self {
            Self::All => ("all", "всего"),
            Self::More => ("now", "стало"),
            Self::Left => ("left", "осталось"),
            Self::Cost => ("cost", "цена"),
            Self::Each => ("each", "в каждом"),
            Self::Packs => ("times", "раз"),
            Self::Other => ("other", "другой"),
            Self::Difference => ("more", "разница"),
            Self::Need => ("need", "нужно"),
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
    pub(super) fn write(&self) -> String {
        format!("{}{}{}={}", self.left, self.symbol, self.right, self.result)
    }

    /// As a working has it: in one line, or in columns where the numbers are large.
    pub(super) fn worked(&self) -> Option<String> {
        Some(step(self.left, self.symbol, self.right)?.join("\n"))
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
    pub(super) fn of(problem: &Problem) -> Option<Self> {
        let plot: Self = serde_json::from_value(problem.gold.clone()).ok()?;
        (plot.changes.len() <= MOST_CHANGES).then_some(plot)
    }

    pub(super) fn new(start: Start, changes: &[Change]) -> Self {
        Self { start, changes: changes.to_vec(), end: End::Now }
    }

    /// A plot of exactly so many steps; `None` if its numbers always came out of range.
    pub(super) fn draw(config: &Config, steps: usize, rng: &mut ChaCha8Rng) -> Option<Self> {
        // What happens, before the numbers: else plots whose numbers seldom fit would be rare.
        let start = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2].choose(rng).copied()?;
        let rest = steps - usize::from(start > 0);
        let end = match rest {
            0 => 0,
            _ if rng.random_bool(0.4) => 0,
            1 => rng.random_range(1..=9),
            _ => rng.random_range(1..=13),
        };
        (0..60).find_map(|_| Self::with_numbers(config, rest, start, end, rng))
    }

    /// A plot with such a start and end, `rest` steps after the start; `None` if a number came out of range.
    fn with_numbers(config: &Config, rest: usize, start: u32, end: u32, rng: &mut ChaCha8Rng) -> Option<Self> {
        let largest = config.max_number;
        let number = |rng: &mut ChaCha8Rng| match rng.random_bool(0.5) {
            true => rng.random_range(2..=largest.min(20)),
            false => rng.random_range(2..=largest),
        };
        let few = |rng: &mut ChaCha8Rng| rng.random_range(2..=9);
        let start = match start {
            0 => Start::Has(number(rng)),
            1 => Start::Boxes(rng.random_range(2..=12.min(largest)), rng.random_range(2..=25.min(largest))),
            _ => Start::Two(number(rng), number(rng)),
        };
        let ending = usize::from(end > 0) + usize::from(end > 9);
        let mut plot = Self::new(start, &[]);
        let mut has = plot.has()?;
        for _ in 0..rest - ending {
            plot.changes.push(match rng.random_range(0..20) {
                0 if has.is_multiple_of(2) => Change::Half,
                0..=10 if has > 4 => Change::Less(number(rng).min(rng.random_range(2..=has - 2))),
                _ => Change::More(number(rng)),
            });
            has = plot.has()?;
        }
        plot.end = match end {
            0 => End::Now,
            1 => End::Price(few(rng)),
            2 => End::Bags(few(rng)),
            3 => End::Packs(few(rng)),
            4 => End::Other(number(rng)),
            5 => End::OtherLess(number(rng)),
            6 if rng.random_bool(0.4) => End::OtherHalf,
            6 => End::OtherTimes(rng.random_range(2..=5)),
            7 | 8 => End::Difference(number(rng)),
            9 => End::Need(has.checked_add(number(rng))?),
            10 => End::Together(number(rng)),
            11 => End::TogetherLess(number(rng)),
            12 => {
                let price = few(rng);
                let cost = has.checked_mul(price)?;
                let notes = [5, 10, 20, 50, 100, 200, 500];
                let paid = match notes.iter().copied().filter(|note| *note > cost).collect::<Vec<_>>()[..] {
                    [] => return None,
                    [least, ..] if rng.random_bool(0.5) => least,
                    [.., most] if rng.random_bool(0.1) => most,
                    _ => cost.checked_add(number(rng))?,
                };
                End::Paid(price, paid)
            }
            _ => End::TogetherTimes(rng.random_range(2..=5)),
        };
        let small = |end| matches!(end, End::Need(count) if count > largest.max(20));
        let fits = |equation: &Equation| (1..=config.max_result).contains(&equation.result);
        (!small(plot.end) && plot.equations()?.iter().all(fits)).then_some(plot)
    }

    /// What there is before any change.
    fn first(&self) -> Option<u32> {
        match self.start {
            Start::Has(count) => Some(count),
            Start::Boxes(boxes, each) => boxes.checked_mul(each),
            Start::Two(one, other) => one.checked_add(other),
        }
    }

    /// What there is before the end.
    pub(super) fn has(&self) -> Option<u32> {
        let plot = Self { end: End::Now, ..self.clone() };
        plot.equations()?.last().map_or_else(|| self.first(), |equation| Some(equation.result))
    }

    /// The steps to the answer, at least one; `None` if one has no whole result, or a number does not fit.
    pub(super) fn equations(&self) -> Option<Vec<Equation>> {
        let mut equations = Vec::new();
        let mut has = self.first()?;
        match self.start {
            Start::Has(_) => {}
            Start::Boxes(left, right) => {
                equations.push(Equation { makes: Makes::All, left, symbol: '*', right, result: has });
            }
            Start::Two(left, right) => {
                equations.push(Equation { makes: Makes::All, left, symbol: '+', right, result: has });
            }
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
                Change::Half => step(Makes::Left, has, '/', 2)?,
            };
        }
        let other = match self.end {
            End::Other(more) | End::Together(more) => step(Makes::Other, has, '+', more)?,
            End::OtherLess(less) | End::TogetherLess(less) => step(Makes::Other, has, '-', less)?,
            End::OtherTimes(times) | End::TogetherTimes(times) => step(Makes::Other, has, '*', times)?,
            End::OtherHalf => step(Makes::Other, has, '/', 2)?,
            _ => 0,
        };
        match self.end {
            End::Price(coins) => _ = step(Makes::Cost, has, '*', coins)?,
            End::Paid(coins, paid) => {
                let cost = step(Makes::Cost, has, '*', coins)?;
                step(Makes::Left, paid, '-', cost)?;
            }
            End::Bags(bags) => _ = step(Makes::Each, has, '/', bags)?,
            End::Packs(each) => _ = step(Makes::Packs, has, '/', each)?,
            End::Difference(count) => _ = step(Makes::Difference, has.max(count), '-', has.min(count))?,
            End::Need(count) => _ = step(Makes::Need, count, '-', has)?,
            End::Together(_) | End::TogetherLess(_) | End::TogetherTimes(_) => {
                step(Makes::Both, has, '+', other)?;
            }
            _ => {}
        }
        Some(equations)
    }

    /// Names and things are wording; so is the language.
    pub(super) fn id(equations: &[Equation]) -> String {
        let steps: Vec<String> = equations.iter().map(Equation::canonical).collect();
        format!("word_problems/{}", steps.join(","))
    }
}
