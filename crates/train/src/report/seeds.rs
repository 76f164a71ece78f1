//! One recipe's runs from several seeds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::{accuracy, difference_of};
use super::{Answer, Difference, OverTasks, QUESTIONS, Report, Stage, StageResult, changed, seeds_ci};

/// One recipe's runs from several seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Seeds {
    /// Stages that every run has.
    pub stages: BTreeMap<Stage, OverTasks<Spread>>,
    /// Questions that every run can answer.
    pub questions: Vec<Asked>,
}

/// A stage's accuracies over the seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// 95 % interval of the mean over seeds, from [`seeds_ci`].
    pub ci95: Option<[f64; 2]>,
    /// Each run's, in their order.
    pub runs: Vec<f64>,
}

impl Spread {
    /// `None` of no values.
    pub(super) fn of(runs: Vec<f64>) -> Option<Spread> {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        Some(Spread { median, min, max, mean, ci95: seeds_ci(&runs), runs })
    }
}

/// A question and its answers.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// What is asked.
    pub question: &'static str,
    /// What the runs answer.
    #[serde(flatten)]
    pub answers: OverTasks<Answers>,
}

/// The answer of each run, and of all together.
#[derive(Clone, Debug, Serialize)]
pub struct Answers {
    /// In the order of the runs.
    pub runs: Vec<Answered>,
    /// The mean difference, with its interval over seeds.
    pub together: Answered,
}

/// One run's answer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Answered {
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// What it says.
    pub answer: Answer,
}

impl From<Difference> for Answered {
    fn from(difference: Difference) -> Answered {
        Answered { answer: difference.answer(), difference }
    }
}

/// Sets runs of one recipe side by side.
///
/// # Errors
/// A run of another recipe than the first's.
pub fn seeds(runs: &[Report]) -> Result<Seeds, OtherRecipe> {
    let Some(first) = runs.first() else {
        return Ok(Seeds { stages: BTreeMap::new(), questions: Vec::new() });
    };
    one_recipe(runs)?;
    let spread = |&stage: &Stage| {
        let results = runs.iter().map(|run| run.stages.get(&stage)).collect::<Option<Vec<_>>>()?;
        let of = |task: Option<&str>| {
            Spread::of(results.iter().map(|result| accuracy(result, task)).collect::<Option<Vec<f64>>>()?)
        };
        Some((stage, OverTasks::new(results.iter().copied(), of)?))
    };
    let asked = QUESTIONS.iter().filter_map(|question| {
        let both = runs.iter().map(|run| Some((run.stages.get(&question.better)?, run.stages.get(&question.than)?)));
        let pairs = both.collect::<Option<Vec<_>>>()?;
        let of = |task: Option<&str>| {
            let answer = |(better, than): &(&StageResult, &StageResult)| difference_of(better, than, task);
            let differences = pairs.iter().map(answer).collect::<Option<Vec<Difference>>>()?;
            let Spread { mean, ci95, .. } = Spread::of(differences.iter().map(|d| d.value).collect())?;
            let paired = differences.iter().all(|d| d.paired);
            let together = Difference { value: mean, ci95: ci95.unwrap_or([-1.0, 1.0]), paired };
            Some(Answers { runs: differences.into_iter().map(Answered::from).collect(), together: together.into() })
        };
        let answers = OverTasks::new(pairs.iter().map(|(better, _)| *better), of)?;
        Some(Asked { question: question.text, answers })
    });
    Ok(Seeds { stages: first.stages.keys().filter_map(spread).collect(), questions: asked.collect() })
}

/// A run of another recipe among those of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherRecipe {
    /// Its place among the runs.
    pub run: usize,
    /// The keys, other than `seed` and `name`, in which its recipe differs from the first run's.
    pub keys: Vec<String>,
}

/// Checks that all runs are of one recipe.
pub(super) fn one_recipe(runs: &[Report]) -> Result<(), OtherRecipe> {
    for (run, other) in runs.iter().enumerate().skip(1) {
        let keys = changed(&runs[0].recipe_toml, &other.recipe_toml).into_iter().map(|change| change.key);
        let keys: Vec<String> = keys.filter(|key| key != "seed" && key != "name").collect();
        if !keys.is_empty() {
            return Err(OtherRecipe { run, keys });
        }
    }
    Ok(())
}
