//! The report of one stage that was run by itself, as `picnic pretrain`, `sft`, `rl`, `reject`, `distill` or `eval`: the
//! same two files as the chain's, in the stage's own folder.

use crate::error::Error;
use crate::r1::peak_rss_mb;
use crate::recipe::{Eval, Recipe, Stage as Settings};
use crate::report::{self, Report, RunKind, StageResult};
use crate::training::Outcome;
use std::path::Path;

/// Writes the report of a stage of `kind` that has come to its end in `out`.
///
/// # Errors
/// If it cannot be written.
pub fn report_stage<S: Settings>(
    kind: RunKind,
    recipe: &Recipe<S>,
    outcome: &Outcome,
    out: &Path,
) -> Result<Report, Error> {
    let mut report = Report::new(kind, &recipe.common.name, recipe.resolved_toml());
    report.cost(kind.command(), outcome.seconds, outcome.core_seconds, outcome.tokens);
    if let Some(stage) = kind.stage() {
        report.curves.insert(stage, outcome.curves.clone());
        if kind != RunKind::Reject {
            report.measure(stage, out);
        }
    }
    close(report, out)
}

/// What an evaluation found and cost.
pub struct Judgement {
    /// What it found.
    pub result: StageResult,
    /// Tokens read and written.
    pub tokens: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Threads that there were.
    pub threads: usize,
}

/// Writes the report of an evaluation.
///
/// # Errors
/// If it cannot be written.
pub fn report_evaluation(recipe: &Recipe<Eval>, judgement: Judgement, out: &Path) -> Result<Report, Error> {
    let Judgement { result, tokens, seconds, threads } = judgement;
    let mut report = Report::new(RunKind::Eval, &recipe.common.name, recipe.resolved_toml());
    report.cost(RunKind::Eval.command(), seconds, seconds * threads as f64, tokens);
    report.stages.insert(report::Stage::Judged, result);
    if let Some(base) = &recipe.common.base {
        report.measure(report::Stage::Judged, base);
    }
    close(report, out)
}

fn close(mut report: Report, out: &Path) -> Result<Report, Error> {
    report.peak_rss_mb = peak_rss_mb();
    if report.kind != RunKind::Eval
        && let Ok(earlier) = report::read(out)
    {
        report.keep_costs(&earlier);
    }
    report::write(out, &report)?;
    Ok(report)
}
