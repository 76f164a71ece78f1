//! Plots told in English.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Change, End, Plot, Start, Story};

/// Who the stories are about.
pub(crate) const NAMES: [&str; 12] =
    ["Ada", "Ben", "Chidi", "Dara", "Elif", "Femi", "Goro", "Hana", "Ivo", "Juno", "Kofi", "Lena"];
/// What is counted. No story counts a single one.
pub(crate) const THINGS: [&str; 12] =
    ["apples", "books", "candles", "cups", "eggs", "keys", "lamps", "nuts", "pens", "shells", "stamps", "stones"];

/// The story of a plot.
pub(super) fn tell(plot: &Plot, rng: &mut ChaCha8Rng) -> Story {
    let who = NAMES.choose(rng).copied().unwrap_or(NAMES[0]);
    let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != who).collect();
    let other = others.choose(rng).copied().unwrap_or(NAMES[1]);
    let things = THINGS.choose(rng).copied().unwrap_or(THINGS[0]);
    let mut sentences = vec![match plot.start {
        Start::Has(count) => format!("{who} has {count} {things}."),
        Start::Boxes(boxes, each) => format!("{who} has {boxes} boxes with {each} {things} in each."),
    }];
    for change in &plot.changes {
        sentences.push(match (change, rng.random_range(0..3)) {
            (Change::More(more), 0) => format!("{who} finds {more} more."),
            (Change::More(more), 1) => format!("{who} buys {more} more."),
            (Change::More(more), _) => format!("{other} gives {who} {more} more."),
            (Change::Less(less), 0) => format!("{who} loses {less} of them."),
            (Change::Less(less), 1) => format!("{who} gives {less} to {other}."),
            (Change::Less(less), _) => format!("{who} sells {less}."),
        });
    }
    let question = match plot.end {
        End::Now if plot.changes.is_empty() => format!("How many {things} does {who} have?"),
        End::Now => format!("How many {things} does {who} have now?"),
        End::Price(coins) => {
            sentences.push(format!("Each costs {coins} coins."));
            "How many coins do all of them cost?".to_owned()
        }
        End::Bags(bags) => {
            sentences.push(format!("{who} puts them into {bags} bags, the same number in each."));
            format!("How many {things} are in a bag?")
        }
        End::Together(more) => {
            sentences.push(format!("{other} has {more} more than {who}."));
            format!("How many {things} do they have together?")
        }
    };
    Story { sentences, question }
}
