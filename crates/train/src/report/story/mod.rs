//! What the numbers say, in sentences: what was made, what it gave, and what cannot be told.
//!
//! Every number in a sentence stands in a table or a plot of the same page, rounded in the same way.

mod alone;
mod chain;
mod several;

use super::{Difference, Report, RunKind, percent, points, signed_interval};
use crate::report::html::words::count;
use crate::report::{Parameters, Stage};

pub use chain::before_and_after;
pub use several::{of_comparison, of_recipes, of_seeds};

/// Three sentences on one run.
pub fn of_run(report: &Report) -> [String; 3] {
    match report.kind {
        RunKind::Chain => chain::sentences(report),
        _ => alone::sentences(report),
    }
}

/// "+10.7 points, 95 % interval +7.7 to +13.7"
fn gap(difference: &Difference) -> String {
    format!("{}, 95 % interval {}", points(difference.value), signed_interval(difference.ci95))
}

/// A distance without its sign: "10.7 points".
fn distance(difference: f64) -> String {
    points(difference.abs()).trim_start_matches('+').to_owned()
}

/// "a, b and c"
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [firsts @ .., last] => format!("{} and {last}", firsts.join(", ")),
    }
}

/// "a, b, and c": of clauses that have commas themselves.
fn clauses(mut items: Vec<String>) -> String {
    let last = items.pop().unwrap_or_default();
    if items.is_empty() { last } else { format!("{}, and {last}", items.join(", ")) }
}

/// "1.85 M parameters, of which 970.1 k take part in each token"
fn size(parameters: &Parameters) -> String {
    let Parameters { all, active } = *parameters;
    match all == active {
        true => format!("{} parameters", count(all)),
        false => format!("{} parameters, of which {} take part in each token", count(all), count(active)),
    }
}

/// " of 1.83 M parameters", or nothing where the size is not known.
fn of_size(report: &Report, stage: Stage) -> String {
    report.models.get(&stage).map_or(String::new(), |parameters| format!(" of {}", size(parameters)))
}

/// The model that the recipe starts from, as it was named; `None` if it starts from nothing.
fn base(report: &Report) -> Option<String> {
    report.setting("base")?.as_str().map(str::to_owned)
}

/// "1 step", "60 steps".
fn number_of(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// "from 24.5 % to 45.1 %"
fn shares(before: f64, after: f64) -> String {
    format!("from {} to {}", percent(before), percent(after))
}
