//! The stories of several runs: two of them, one recipe's seeds, two recipes' seeds.

use super::{clauses, distance, gap, list, number_of};
use crate::report::html::words::name;
use crate::report::{Answer, Changed, Comparison, OverTasks, Recipes, Seeds, Stage, brief, percent};
use std::collections::BTreeMap;

/// The stage that a sentence is about: what the main RL made, or whatever else there is.
const MAIN: [Stage; 5] = [Stage::Rl, Stage::Judged, Stage::Zero, Stage::Sft, Stage::Base];

fn main_stage<T>(stages: &BTreeMap<Stage, OverTasks<T>>) -> Option<(Stage, &T)> {
    MAIN.iter().find_map(|&stage| Some((stage, &stages.get(&stage)?.all)))
}

/// Two runs. `[A, B]` is what the sentences call them.
pub fn of_comparison(comparison: &Comparison) -> [String; 3] {
    let made = format!("The runs A and B {}.", differ(&comparison.recipe));
    let pair = main_stage(&comparison.stages).and_then(|(stage, pair)| Some((stage, pair, pair.a?, pair.b?)));
    let told = match pair.and_then(|(stage, pair, a, b)| Some((stage, a, b, pair.difference?))) {
        Some((stage, a, b, difference)) => {
            let (a, b) = (percent(a), percent(b));
            let of = name(stage);
            match difference.answer() {
                Answer::Yes => format!(
                    "B gets more held-out problems right than A ({of}): {b} against {a} ({}).",
                    gap(&difference)
                ),
                Answer::No => format!(
                    "B gets fewer held-out problems right than A ({of}): {b} against {a} ({}).",
                    gap(&difference)
                ),
                Answer::Open => {
                    format!("On held-out problems B's {b} against A's {a} ({of}) may be chance ({}).", gap(&difference))
                }
            }
        }
        None => "No stage of one has a counterpart in the other, so their results cannot be compared.".to_owned(),
    };
    let not_told = "What made the difference cannot be told from one run of each, for another seed moves the numbers, too; \
                    runs from several seeds tell it, with picnic report A… --against B….";
    [made, told, not_told.to_owned()]
}

/// One recipe from several seeds.
pub fn of_seeds(names: usize, seeds: &Seeds) -> [String; 3] {
    let made = format!("One recipe ran from {}.", number_of(names as u64, "seed"));
    let Some(first) = seeds.questions.first() else {
        return [
            made,
            "Its stages stand below with how far they spread; it has no two of which one asks whether it is better."
                .to_owned(),
            not_told_of_seeds(&[]),
        ];
    };
    let together = &first.answers.all.together;
    let question = first.question;
    let told = match together.answer {
        Answer::Yes => {
            format!("{question} Yes, over these seeds: on average {}.", gap_over_seeds(&together.difference))
        }
        Answer::No => format!("{question} No, the reverse: on average {}.", gap_over_seeds(&together.difference)),
        Answer::Open => {
            format!("{question} These seeds cannot tell: on average {}.", gap_over_seeds(&together.difference))
        }
    };
    let open = seeds.questions.iter().skip(1).filter(|asked| asked.answers.all.together.answer == Answer::Open);
    let open: Vec<String> = open.map(|asked| format!("“{}”", asked.question)).collect();
    [made, told, not_told_of_seeds(&open)]
}

fn not_told_of_seeds(open: &[String]) -> String {
    let others = "what other problems, tasks or larger models would give";
    match open {
        [] => format!("What these runs cannot tell is {others}."),
        open => format!("What these runs cannot tell is the answer to {}, nor {others}.", list(open)),
    }
}

/// Two recipes, each from several seeds.
pub fn of_recipes(recipes: &Recipes) -> [String; 3] {
    let [runs_a, runs_b] = recipes.runs.map(|runs| runs as u64);
    let pairing = if recipes.paired { ", the same seeds, so that runs are compared in pairs" } else { "" };
    let made = format!(
        "Recipe A ran from {} and recipe B from {}{pairing}; they {}.",
        number_of(runs_a, "seed"),
        number_of(runs_b, "seed"),
        differ(&recipes.recipe)
    );
    let Some((stage, contrast)) = main_stage(&recipes.stages) else {
        let told = "No stage is in every run of both, so their results cannot be compared.".to_owned();
        return [made, told, "What either recipe gives against the other cannot be told from these runs.".to_owned()];
    };
    let (a, b) = (percent(contrast.a.mean), percent(contrast.b.mean));
    let (of, gap) = (name(stage), gap_over_seeds(&contrast.difference));
    let told = match contrast.answer {
        Answer::Yes => {
            format!("B gets more held-out problems right than A ({of}): {b} against {a} on average ({gap}).")
        }
        Answer::No => {
            format!("B gets fewer held-out problems right than A ({of}): {b} against {a} on average ({gap}).")
        }
        Answer::Open => format!(
            "Whether B gets more held-out problems right than A ({of}) cannot be told: {b} against {a} on average ({gap})."
        ),
    };
    let mut open: Vec<String> = Vec::new();
    let [low, high] = contrast.difference.ci95;
    if contrast.a.ci95.is_some() || contrast.b.ci95.is_some() {
        let half = distance((high - low) / 2.0);
        open.push(format!("a difference of less than about {half}, for so much the seeds move it"));
    }
    if !recipes.same_problems {
        open.push("what part of it the problems make, for not all runs were asked the same".to_owned());
    }
    open.push("what other tasks or larger models would give".to_owned());
    [made, told, format!("What these runs cannot tell is {}.", clauses(open))]
}

/// "+10.7 points, 95 % interval over seeds +7.7 to +13.7"
fn gap_over_seeds(difference: &crate::report::Difference) -> String {
    gap(difference).replace("interval", "interval over seeds")
}

/// "differ in rl.steps (60 against 100), rl.group_size (8 against 16) and 3 other keys"
fn differ(recipe: &[Changed]) -> String {
    const NAMED: usize = 2;
    /// A longer value stands in the table only.
    const LONGEST: usize = 30;
    if recipe.is_empty() {
        return "have the same recipe".to_owned();
    }
    let recipe = brief(recipe);
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let change = |change: &Changed| match (value(&change.a), value(&change.b)) {
        (a, b) if a.len().max(b.len()) > LONGEST => change.key.clone(),
        (a, b) => format!("{} ({a} against {b})", change.key),
    };
    let mut named: Vec<String> = recipe.iter().take(NAMED).map(change).collect();
    match recipe.len().saturating_sub(NAMED) {
        0 => {}
        1 => named.push("one other key".to_owned()),
        more => named.push(format!("{more} other keys")),
    }
    format!("differ in {}", list(&named))
}
