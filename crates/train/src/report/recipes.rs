//! Two recipes, each from several seeds: does the one make better models than the other?
//!
//! What is compared are seeds, not problems. Where both recipes ran from the same seeds, a seed's two runs make a pair,
//! and the interval is Student's of their differences; otherwise it is Welch's of the two means.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::compare::accuracy;
use super::seeds::one_recipe;
use super::{Answer, Changed, Difference, OtherRecipe, OverTasks, Report, Spread, Stage, changed, seeds_ci, welch_ci};

/// What two recipes reached, and in what they differ.
#[derive(Clone, Debug, Serialize)]
pub struct Recipes {
    /// Stages that every run of both has.
    pub stages: BTreeMap<Stage, OverTasks<Contrast>>,
    /// The keys in which the recipes differ, other than `seed` and `name`.
    pub recipe: Vec<Changed>,
    /// Runs of the first and of the second recipe.
    pub runs: [usize; 2],
    /// Whether both ran from the same seeds, so that runs are compared in pairs.
    pub paired: bool,
    /// Whether all runs were asked the same held-out problems.
    pub same_problems: bool,
}

/// A stage's accuracy under two recipes.
#[derive(Clone, Debug, Serialize)]
pub struct Contrast {
    /// Under the first, over its seeds.
    pub a: Spread,
    /// Under the second; where runs are paired, both stand in the order of their seeds.
    pub b: Spread,
    /// The second's mean less the first's, with its interval over seeds.
    pub difference: Difference,
    /// Whether the second is better.
    pub answer: Answer,
}

/// Sets the runs `b` of a recipe against the runs `a` of another, at least two of each.
///
/// # Errors
/// For `a` (0) or `b` (1), a run of another recipe among them.
pub fn recipes(a: &[Report], b: &[Report]) -> Result<Recipes, (usize, OtherRecipe)> {
    one_recipe(a).map_err(|other| (0, other))?;
    one_recipe(b).map_err(|other| (1, other))?;
    let pairs = by_seed(a, b);
    let paired = pairs.is_some();
    let (of_a, of_b): (Vec<&Report>, Vec<&Report>) = match pairs {
        Some(pairs) => pairs.into_iter().unzip(),
        None => (a.iter().collect(), b.iter().collect()),
    };
    let every = || of_a.iter().chain(&of_b);
    let stages: BTreeSet<Stage> = every().flat_map(|run| run.stages.keys().copied()).collect();
    let contrast = |stage: Stage| {
        if !every().all(|run| run.stages.contains_key(&stage)) {
            return None;
        }
        let of = |task: Option<&str>| {
            let values = |runs: &[&Report]| {
                runs.iter().map(|run| accuracy(&run.stages[&stage], task)).collect::<Option<Vec<f64>>>()
            };
            Contrast::of(values(&of_a)?, values(&of_b)?, paired)
        };
        Some((stage, OverTasks::new(every().map(|run| &run.stages[&stage]), of)?))
    };
    let problem_sets: BTreeSet<&str> =
        every().flat_map(|run| run.stages.values().map(|result| result.problem_set.as_str())).collect();
    let recipe = match (a.first(), b.first()) {
        (Some(a), Some(b)) => changed(&a.recipe_toml, &b.recipe_toml),
        _ => Vec::new(),
    };
    Ok(Recipes {
        stages: stages.into_iter().filter_map(contrast).collect(),
        recipe: recipe.into_iter().filter(|change| change.key != "seed" && change.key != "name").collect(),
        runs: [a.len(), b.len()],
        paired,
        same_problems: problem_sets.len() == 1 && !problem_sets.contains(""),
    })
}

impl Contrast {
    fn of(of_a: Vec<f64>, of_b: Vec<f64>, paired: bool) -> Option<Contrast> {
        let (a, b) = (Spread::of(of_a)?, Spread::of(of_b)?);
        let ci95 = if paired {
            seeds_ci(&b.runs.iter().zip(&a.runs).map(|(b, a)| b - a).collect::<Vec<_>>())
        } else {
            welch_ci(&b.runs, &a.runs)
        };
        let difference = Difference { value: b.mean - a.mean, ci95: ci95.unwrap_or([-1.0, 1.0]), paired };
        Some(Contrast { answer: difference.answer(), a, b, difference })
    }
}

/// The runs in pairs of one seed, in the order of `a`; `None` unless both have the same seeds, each once.
fn by_seed<'r>(a: &'r [Report], b: &'r [Report]) -> Option<Vec<(&'r Report, &'r Report)>> {
    let seeds = |runs: &'r [Report]| {
        let runs = runs.iter().map(|run| Some((run.setting("seed")?.as_integer()?, run)));
        runs.collect::<Option<BTreeMap<i64, &Report>>>().filter(|by_seed| by_seed.len() == a.len().max(b.len()))
    };
    let (of_a, of_b) = (seeds(a)?, seeds(b)?);
    of_a.into_iter().map(|(seed, run)| Some((run, *of_b.get(&seed)?))).collect()
}
