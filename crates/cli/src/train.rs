//! `picnic r1`, `pretrain`, `sft` and `rl`: recipes to models.

use crate::output::line;
use anyhow::Result;
use clap::Args;
use picnic_chat::ChatFormat;
use picnic_train::load::open;
use picnic_train::progress::{Mode, Progress};
use picnic_train::r1::{Chain, r1};
use picnic_train::recipe::{Common, OnPolicy, Pretrain, R1Recipe, Recipe, Reject, Rl, Sft, Stage};
use picnic_train::report::{Report, RunKind, StageResult};
use picnic_train::tokenizer::train_tokenizer;
use picnic_train::training::{Outcome, Setting, Start};
use picnic_train::{
    Error, alone::report_stage, distill::distill, pretrain::pretrain, reject::reject, rl::rl, sft::sft,
};
use std::path::{Path, PathBuf};

/// What every command on a recipe takes.
#[derive(Args)]
pub struct RecipeArgs {
    /// The recipe, then key=value to change it (seed=1, base=MODEL; in a whole chain rl.steps=3)
    #[arg(value_name = "RECIPE | KEY=VALUE")]
    pub recipe: Vec<String>,
    /// Folder for what is made [default: runs/NAME]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on with what an earlier run left in --out
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub common: RunArgs,
}

/// How a command works and what it shows.
#[derive(Args)]
pub struct RunArgs {
    /// Threads [default: all cores]; changes no bit of the result
    #[arg(long, value_parser = threads)]
    pub threads: Option<usize>,
    /// One JSON object a line on standard output
    #[arg(long)]
    pub json: bool,
    /// Show nothing
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
}

/// A number of threads that a machine may have.
pub fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("give a number from 1 to 1024".to_owned()),
    }
}

impl RunArgs {
    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
    }

    /// The display.
    pub fn progress(&self) -> Progress {
        Progress::new(match (self.json, self.quiet) {
            (true, _) => Mode::Json,
            (_, true) => Mode::Quiet,
            _ => Mode::Auto,
        })
    }
}

/// The recipe that `picnic r1` runs when none is named, and the others by command.
const DEFAULT: &str = "recipes/tiny";

impl RecipeArgs {
    /// The recipe's file and the overrides.
    pub fn split(&self, command: &str) -> (PathBuf, Vec<String>) {
        let (files, overrides): (Vec<&String>, Vec<&String>) =
            self.recipe.iter().partition(|arg| !arg.contains('=') || Path::new(arg).exists());
        let file = files.first().map_or_else(|| Path::new(DEFAULT).join(format!("{command}.toml")), PathBuf::from);
        let more = files.iter().skip(1).copied();
        (file, overrides.into_iter().chain(more).cloned().collect())
    }

    /// `--resume` also begins a run, so that a script need not know how far the last one came; a folder whose name was
    /// mistyped should not go unseen.
    fn say_if_new(&self, out: &Path, progress: &Progress) {
        if self.resume && !out.exists() {
            progress.note(&format!("--resume: there is no {}; beginning anew", out.display()));
        }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("runs").join(name))
    }
}

/// `picnic r1`.
pub fn run_r1(args: &RecipeArgs) -> Result<()> {
    let (file, overrides) = args.split("r1");
    let recipe = R1Recipe::load(&file, &overrides)?;
    let progress = args.common.progress();
    let out = args.out(&recipe.common.name);
    args.say_if_new(&out, &progress);
    let chain = Chain { out: out.clone(), threads: args.common.threads(), resume: args.resume, progress: &progress };
    let report = r1(&recipe, &chain)?;
    if args.common.json {
        line(serde_json::to_string(&report)?)?;
    } else if !args.common.quiet {
        show(&report, &out)?;
    }
    Ok(())
}

fn show(report: &Report, out: &Path) -> Result<()> {
    for (stage, result) in &report.stages {
        let name = serde_json::to_value(stage).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        show_result(&name, result)?;
    }
    line(format_args!("{:.0} s, {:.2} core hours, {:.0} MB", report.seconds, report.core_hours, report.peak_rss_mb))?;
    line(format_args!("report: {}", out.join("report.html").display()))?;
    let last = if report.stages.contains_key(&picnic_train::report::Stage::Rl2) { "rl2" } else { "rl" };
    line(format_args!("talk to it: picnic chat {}", out.join(last).display()))
}

/// How much of all a model got right, and of each task.
pub fn show_result(name: &str, result: &StageResult) -> Result<()> {
    let share = |accuracy: f64, ci95: [f64; 2]| {
        let [low, high] = ci95.map(|x| 100.0 * x);
        format!("{:5.1} % [{low:.1}, {high:.1}]", 100.0 * accuracy)
    };
    line(format_args!("{name:22} {}", share(result.accuracy, result.ci95)))?;
    for (task, result) in &result.by_task {
        line(format_args!("  {task:20} {}", share(result.accuracy, result.ci95)))?;
    }
    Ok(())
}

/// `picnic pretrain`.
pub fn run_pretrain(args: &RecipeArgs) -> Result<()> {
    run_stage::<Pretrain>(args, RunKind::Pretrain, pretrain)
}

/// `picnic sft`.
pub fn run_sft(args: &RecipeArgs) -> Result<()> {
    run_stage::<Sft>(args, RunKind::Sft, |recipe, setting, start, chat| {
        sft(recipe, setting, start, recipe.stage.traces.as_deref(), chat)
    })
}

/// `picnic rl`.
pub fn run_rl(args: &RecipeArgs) -> Result<()> {
    run_stage::<Rl>(args, RunKind::Rl, rl)
}

/// `picnic reject`.
pub fn run_reject(args: &RecipeArgs) -> Result<()> {
    run_stage::<Reject>(args, RunKind::Reject, |recipe, setting, start, chat| match start {
        Start::From(model) => reject(recipe, setting, model, chat),
        Start::Fresh => Err(missing("base=MODEL to draw answers from")),
    })
}

/// `picnic distill`.
pub fn run_distill(args: &RecipeArgs) -> Result<()> {
    run_stage::<OnPolicy>(args, RunKind::Distill, |recipe, setting, start, chat| match &recipe.stage.teacher {
        Some(teacher) => distill(recipe, setting, start, teacher, chat),
        None => Err(missing("teacher=MODEL to learn from")),
    })
}

fn missing(what: &str) -> Error {
    Error::Empty { what: format!("no {what}"), cure: "give one" }
}

type Run<S> = fn(&Recipe<S>, &Setting, Start, ChatFormat) -> Result<Outcome, Error>;

/// One stage by itself: from `base`, or from fresh weights if the recipe names none.
fn run_stage<S: Stage>(args: &RecipeArgs, kind: RunKind, run: Run<S>) -> Result<()> {
    let command = kind.command();
    let (file, overrides) = args.split(command);
    let recipe = Recipe::<S>::load(&file, &overrides)?;
    let progress = args.common.progress();
    let Common { base, name, .. } = &recipe.common;
    let (start, chat) = match base {
        Some(base) => (Start::From(base), open(base)?.chat),
        None => (Start::Fresh, train_tokenizer(&recipe.common)?),
    };
    if base.is_none() && kind != RunKind::Pretrain {
        progress.note("no base=MODEL given: starting from fresh weights");
    }
    let out = args.out(&format!("{name}-{command}"));
    args.say_if_new(&out, &progress);
    let setting =
        Setting { out: out.clone(), threads: args.common.threads(), resume: args.resume, progress: &progress };
    let outcome = run(&recipe, &setting, start, chat)?;
    report_stage(kind, &recipe, &outcome, &out)?;
    if !args.common.quiet && !args.common.json {
        let made = if kind == RunKind::Reject { "answers" } else { "model" };
        line(format_args!("{} steps, {:.0} s; {made} in {}", outcome.steps, outcome.seconds, out.display()))?;
        line(format_args!("report: {}", out.join("report.html").display()))?;
    }
    Ok(())
}
