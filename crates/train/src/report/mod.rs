//! The report of one run of the R1 chain: `report.json` for programs, `report.html` for people.
//!
//! Plain data in, two files out. Nothing here measures, samples or judges: the stages fill in a
//! [`Report`], [`write`] puts it on disk. The only arithmetic is that of intervals
//! ([`bootstrap_ci`]) and of several samples of a problem ([`pass_at_k`], [`majority`]).

mod at_k;
mod bootstrap;
mod compare;
mod html;
mod questions;
mod svg;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

pub use at_k::{counted_as, majority, pass_at_k, shown_ks};
pub use bootstrap::{bootstrap_ci, bootstrap_ratio_ci, paired_ci, seeds_ci, unpaired_ci};
pub use compare::{
    Answered, Answers, Asked, Changed, Comparison, OverTasks, Pair, Seeds, Spread, changed, compare, seeds,
};
pub use html::words::{percent, points, signed_interval};
pub use html::{compare_page, page, seeds_page};
pub use questions::{Answer, Difference, QUESTIONS, Question, answered, difference, difference_on};

/// One run of the chain: what it reached, what it cost, how it went.
///
/// Accuracies and shares are in 0..=1. A value that is not finite becomes `null` in the JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
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
    /// A few held-out problems with an answer from before and after RL.
    pub samples: Vec<SampleSet>,
    /// What each part of the run cost, in the order it ran.
    pub costs: Vec<StageCost>,
    /// The recipe with every default and override filled in.
    pub recipe_toml: String,
    /// Remarks a reader of the numbers should know, a sentence each.
    pub notes: Vec<String>,
}

impl Report {
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

/// A model that the run made and evaluated. The order is the order of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// After pre-training, or the model that the run was given.
    Base,
    /// The same model, asked in R1-Zero's template.
    BaseTemplate,
    /// R1-Zero: RL from the base model, without a cold start.
    Zero,
    /// After cold-start SFT, where RL starts.
    Sft,
    /// After RL with verifiable rewards.
    Rl,
    /// The base model fine-tuned on answers of the RL model that rejection sampling kept.
    Sft2,
    /// After RL on that.
    Rl2,
    /// A smaller dense model after pre-training.
    StudentBase,
    /// The small model after the same cold start.
    StudentSft,
    /// The small model after a cold start and RL of its own.
    StudentRl,
    /// The small model fine-tuned on answers of the large one.
    StudentDistilled,
    /// The same, distilled further on answers of its own.
    StudentOnPolicy,
    /// Control: SFT continued for the compute that RL took.
    ControlSftMore,
    /// Control: RL with a reward that does not look at the answer.
    ControlRandomReward,
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

/// One held-out problem, answered before and after RL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSet {
    /// The task the problem belongs to.
    pub task: String,
    /// The problem as posed.
    pub problem: String,
    /// The reference answer, or what a right answer must reach.
    pub gold: String,
    /// From the model that RL started from.
    pub before: Sample,
    /// From the model that RL made.
    pub after: Sample,
}

/// What a model wrote, and what the verifier said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The whole output, thinking included.
    pub text: String,
    /// The verifier's verdict.
    pub verdict: Verdict,
}

impl Stage {
    /// The name in `report.json`.
    pub fn key(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// The three outcomes of a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer is right.
    Right,
    /// The answer is wrong or missing.
    Wrong,
    /// The verifier could not tell.
    CouldNotJudge,
}

impl From<&picnic_tasks::Verdict> for Verdict {
    fn from(verdict: &picnic_tasks::Verdict) -> Verdict {
        match verdict {
            picnic_tasks::Verdict::Right(_) => Verdict::Right,
            picnic_tasks::Verdict::Wrong(_) => Verdict::Wrong,
            picnic_tasks::Verdict::CouldNotJudge(_) => Verdict::CouldNotJudge,
        }
    }
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

/// Why a report could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is none, or it is none of ours.
    #[error("{path}: {problem}; name the folder of a run that picnic r1 has finished")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system refused.
    #[error("cannot write {path}: {source}; check free space and permissions, then write it again")]
    Write {
        /// The file or folder in question.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The report has no JSON form.
    #[error("cannot turn the report into JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes `report.json` and `report.html` into `dir`, making the folder if it is missing.
///
/// Each file is written beside its place and renamed into it, so a reader sees the old or the new
/// report and never half of one.
///
/// # Errors
/// [`ReportError::Write`] names the file when the disk is full or the folder cannot be written.
pub fn write(dir: &Path, report: &Report) -> Result<(), ReportError> {
    fs::create_dir_all(dir).map_err(|source| ReportError::Write { path: dir.to_owned(), source })?;
    let mut json = serde_json::to_string(report)?;
    json.push('\n');
    replace_file(&dir.join("report.json"), json.as_bytes())?;
    replace_file(&dir.join("report.html"), html::page(report).as_bytes())
}

/// Reads `report.json` in `dir`.
///
/// # Errors
/// [`ReportError::Read`] if there is no such file, or none that is a report.
pub fn read(dir: &Path) -> Result<Report, ReportError> {
    let path = dir.join("report.json");
    let bad = |problem: String| ReportError::Read { path: path.clone(), problem };
    let text = fs::read(&path).map_err(|e| bad(format!("cannot read a report here ({e})")))?;
    serde_json::from_slice(&text).map_err(|e| bad(format!("is no whole report ({e})")))
}

/// Writes a page beside its place and renames it.
///
/// # Errors
/// [`ReportError::Write`] if the file system refuses.
pub fn write_page(path: &Path, page: &str) -> Result<(), ReportError> {
    replace_file(path, page.as_bytes())
}

fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let temporary = path.with_added_extension("tmp");
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The write has failed already; a leftover temporary file is the lesser news.
        let _ = fs::remove_file(&temporary);
        ReportError::Write { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests;
