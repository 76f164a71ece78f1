//! The report of one run, of the whole chain or of one stage: `report.json` for programs, `report.html` for people.
//!
//! Plain data in, two files out. Nothing here measures, samples or judges: the stages fill in a
//! [`Report`], [`write`] puts it on disk. The only arithmetic is that of intervals
//! ([`bootstrap_ci`], [`seeds_ci`]) and of several samples of a problem ([`pass_at_k`], [`majority`]).
//! `story/` says in sentences what the numbers say, `html/` lays out the page.

mod at_k;
mod bootstrap;
mod compare;
mod files;
mod html;
mod questions;
mod recipes;
mod reference;
mod samples;
mod seeds;
mod stage;
mod story;
mod student;
mod svg;

use std::collections::BTreeMap;
use std::path::Path;

use picnic_model::checkpoint::Checkpoint;
use serde::{Deserialize, Deserializer, Serialize};

pub use at_k::{counted_as, majority, pass_at_k, shown_ks};
pub use bootstrap::{bootstrap_ci, bootstrap_ratio_ci, paired_ci, unpaired_ci};
pub use compare::{Changed, Comparison, OverTasks, Pair, brief, changed, compare};
pub use files::{ReportError, read, write, write_page};
pub use html::words::{percent, points, signed_interval};
pub use html::{compare_page, page, recipes_page, seeds_page};
pub use questions::{Answer, Difference, QUESTIONS, Question, answered, difference, difference_on};
pub use recipes::{Contrast, Recipes, recipes};
pub use reference::readable;
pub use samples::{Change, Pairs, Sample, SampleSet, Verdict, choose};
pub use seeds::{Answered, Answers, Asked, OtherRecipe, Seeds, Spread, seeds};
pub use stage::{Parameters, RunKind, Stage};
pub use story::{of_comparison, of_recipes, of_run, of_seeds};
pub use student::{seeds_ci, welch_ci};

/// One run: what it reached, what it cost, how it went.
///
/// Accuracies and shares are in 0..=1. A value that is not finite becomes `null` in the JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What ran.
    #[serde(default)]
    pub kind: RunKind,
    /// The recipe's name, for the title.
    pub recipe_name: String,
    /// Wall-clock seconds of everything the report shows, controls included.
    pub seconds: f64,
    /// Busy-core hours of everything the report shows, controls included.
    pub core_hours: f64,
    /// Tokens processed by everything the report shows, controls included.
    pub tokens: u64,
    /// Largest resident memory of the process, in MB (10⁶ bytes).
    pub peak_rss_mb: f64,
    /// Results on held-out problems, for the stages that ran.
    pub stages: BTreeMap<Stage, StageResult>,
    /// What each stage measured while it trained.
    pub curves: BTreeMap<Stage, Vec<Curve>>,
    /// How large the models are, as far as it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<Stage, Parameters>,
    /// What became of all held-out problems from before RL to after it; `None` where it was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Pairs>,
    /// A few held-out problems with an answer from before and after RL, chosen by [`choose`].
    pub samples: Vec<SampleSet>,
    /// What each part of the run cost, in the order it ran.
    pub costs: Vec<StageCost>,
    /// The recipe with every default and override filled in.
    pub recipe_toml: String,
    /// Remarks a reader of the numbers should know, a sentence each.
    pub notes: Vec<String>,
}

impl Report {
    /// A run of which nothing is known yet.
    pub fn new(kind: RunKind, recipe_name: &str, recipe_toml: String) -> Report {
        Report {
            kind,
            recipe_name: recipe_name.to_owned(),
            seconds: 0.0,
            core_hours: 0.0,
            tokens: 0,
            peak_rss_mb: 0.0,
            stages: BTreeMap::new(),
            curves: BTreeMap::new(),
            models: BTreeMap::new(),
            pairs: None,
            samples: Vec::new(),
            costs: Vec::new(),
            recipe_toml,
            notes: Vec::new(),
        }
    }

    /// Adds what a part of the run cost.
    pub fn cost(&mut self, part: &str, seconds: f64, core_seconds: f64, tokens: u64) {
        let core_hours = core_seconds / 3600.0;
        self.costs.push(StageCost { stage: part.to_owned(), seconds, tokens, core_hours });
        self.seconds += seconds;
        self.core_hours += core_hours;
        self.tokens += tokens;
    }

    /// Notes how large the model in `path` is. One that is no longer there leaves a report without its size.
    pub fn measure(&mut self, stage: Stage, path: &Path) {
        let count = |parameters: u128| u64::try_from(parameters).unwrap_or(u64::MAX);
        if let Ok(config) = Checkpoint::open(path).and_then(|checkpoint| checkpoint.config()) {
            let parameters =
                Parameters { all: count(config.num_parameters()), active: count(config.num_active_parameters()) };
            self.models.insert(stage, parameters);
        }
    }

    /// Notes the sizes of the models in `run` that a report from before sizes were recorded lacks.
    pub fn measure_missing(&mut self, run: &Path) {
        let stages: Vec<Stage> = self.stages.keys().chain(self.curves.keys()).copied().collect();
        for stage in stages {
            let of_chain = run.join(stage.key());
            let folder = if self.kind == RunKind::Chain { &of_chain } else { run };
            if !self.models.contains_key(&stage) && folder.is_dir() {
                self.measure(stage, folder);
            }
        }
    }

    /// The recipe's value of a dotted key.
    pub fn setting(&self, key: &str) -> Option<toml::Value> {
        let table: toml::Table = self.recipe_toml.parse().ok()?;
        let mut parts = key.split('.');
        let first = table.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part)).cloned()
    }

    /// What a run cost is what the one that made its models took, not one that only went on with them.
    pub fn keep_costs(&mut self, earlier: &Report) {
        self.peak_rss_mb = self.peak_rss_mb.max(earlier.peak_rss_mb);
        for cost in &mut self.costs {
            let Some(before) = earlier.costs.iter().find(|before| before.stage == cost.stage) else { continue };
            let (seconds, core_hours) = (before.seconds - cost.seconds, before.core_hours - cost.core_hours);
            if seconds > 0.0 {
                (cost.seconds, cost.core_hours) = (before.seconds, before.core_hours);
                self.seconds += seconds;
                self.core_hours += core_hours;
            }
        }
    }
}

/// How one model did on the held-out problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageResult {
    /// Mean over problems of the share of right samples, of those that could be judged.
    pub accuracy: f64,
    /// 95 % interval of `accuracy`, from [`bootstrap_ci`].
    pub ci95: [f64; 2],
    /// The same, one task at a time.
    pub by_task: BTreeMap<String, TaskResult>,
    /// Mean over problems of the chance that one of k samples is right, for k = 2, 4, 8, … and all samples.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pass_at_k: BTreeMap<usize, Share>,
    /// Share of problems whose most frequent answer is right (DeepSeek-R1's cons@k); `None` with one sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub majority: Option<Share>,
    /// Of each task, problem by problem, the share of right samples: what differences are computed from. `None` for a
    /// problem of which no sample could be judged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, Vec<Option<f32>>>,
    /// A hash of the problems: `scores` of two models stand side by side only where it is the same. Empty where it was
    /// not recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem_set: String,
    /// Share of samples in the format that the format reward asks for.
    pub well_formed: f64,
    /// Mean length of a sample, in tokens.
    pub mean_length: f64,
    /// Mean over samples of the share of words of the thinking that are in the question's language (DeepSeek-R1,
    /// section 2.3.2); `None` where it was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<f64>,
    /// Number of samples on which the verifier gave no verdict. They count neither as right nor as wrong.
    pub could_not_judge: u64,
    /// Cross-entropy on held-out text, in nats per token, where it was measured.
    pub loss: Option<f64>,
    /// 95 % interval of `loss`, from [`bootstrap_ratio_ci`].
    pub loss_ci95: Option<[f64; 2]>,
}

/// How one model did on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Mean over problems of the share of right samples.
    pub accuracy: f64,
    /// 95 % interval of `accuracy`.
    pub ci95: [f64; 2],
    /// Number of problems.
    pub n: u64,
    /// As in [`StageResult::pass_at_k`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pass_at_k: BTreeMap<usize, Share>,
    /// As in [`StageResult::majority`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub majority: Option<Share>,
}

/// A mean over problems with its interval, in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The mean.
    pub value: f64,
    /// Its 95 % interval, from [`bootstrap_ci`].
    pub ci95: [f64; 2],
}

impl Share {
    /// The mean of `per_problem` and its interval.
    pub fn of(per_problem: &[f64], seed: u64) -> Share {
        let value = per_problem.iter().sum::<f64>() / per_problem.len().max(1) as f64;
        Share { value, ci95: bootstrap_ci(per_problem, seed) }
    }
}

/// One quantity over the steps of one stage. Curves of one name share a plot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What is measured: "loss", "reward", "length".
    pub name: String,
    /// Its unit ("nats", "tokens"), empty for a bare number.
    pub unit: String,
    /// `(step, value)`, steps ascending. A value that was not finite is `null` in the JSON, and NaN when read.
    #[serde(deserialize_with = "null_is_nan")]
    pub points: Vec<(u64, f64)>,
}

fn null_is_nan<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u64, f64)>, D::Error> {
    let points = Vec::<(u64, Option<f64>)>::deserialize(from)?;
    Ok(points.into_iter().map(|(step, value)| (step, value.unwrap_or(f64::NAN))).collect())
}

/// What one part of the run cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageCost {
    /// Name of the part, for people: also parts that are no [`Stage`], such as "evaluation".
    pub stage: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens processed.
    pub tokens: u64,
    /// Busy-core hours.
    pub core_hours: f64,
}

#[cfg(test)]
mod tests;
