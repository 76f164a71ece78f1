//! `picnic r1`, `pretrain`, `sft` and `rl`: recipes to models.

use crate::output::line;
use anyhow::{Context, Result, bail};
use clap::Args;
use picnic_chat::ChatFormat;
use picnic_display::{Invocation, Mode};
use picnic_train::alone::report_stage;
use picnic_train::load::open;
use picnic_train::plan::{Planned, of_stage};
use picnic_train::progress::{Event, Made, Progress};
use picnic_train::r1::{Chain, r1};
use picnic_train::recipe::{Common, OnPolicy, Pretrain, R1Recipe, Recipe, Reject, Rl, Sft, Stage};
use picnic_train::report::{self, Report, RunKind, StageResult};
use picnic_train::tokenizer::train_tokenizer;
use picnic_train::training::{Outcome, Setting, Start};
use picnic_train::{Error, LockedFolder, distill::distill, pretrain::pretrain, reject::reject, rl::rl, sft::sft};
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
    pub fn progress(&self) -> Result<Progress> {
        let mode = match (self.json, self.quiet) {
            (true, _) => Mode::Json,
            (_, true) => Mode::Quiet,
            _ => Mode::Auto,
        };
        picnic_display::progress(mode, Invocation::of_this_process()).context("cannot listen for Ctrl-C")
    }
}

/// The recipe that `picnic r1` runs when none is named, and the others by command.
const DEFAULT: &str = "recipes/tiny";

/// Whether an argument names a recipe, and is no override.
fn is_file(arg: &str) -> bool {
    !arg.contains('=') || Path::new(arg).exists()
}

impl RecipeArgs {
    /// The recipe's file, which is one of the tiny recipe's if none is named, and the overrides.
    pub fn split(&self, command: &str) -> Result<(PathBuf, Vec<String>)> {
        let (files, overrides): (Vec<&String>, Vec<&String>) = self.recipe.iter().partition(|arg| is_file(arg));
        let default = Path::new(DEFAULT).join(format!("{command}.toml"));
        if !self.names_a_recipe() && !default.exists() {
            bail!(
                "no recipe is named, and there is no {} here: name a recipe's file, or write those of the program by \
                 `picnic recipes`",
                default.display()
            );
        }
        let file = files.first().map_or(default, PathBuf::from);
        let more = files.iter().skip(1).copied();
        Ok((file, overrides.into_iter().chain(more).cloned().collect()))
    }

    fn names_a_recipe(&self) -> bool {
        self.recipe.iter().any(|arg| is_file(arg))
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
    let (file, overrides) = args.split("r1")?;
    let recipe = R1Recipe::load(&file, &overrides)?;
    let progress = args.common.progress()?;
    recipe.note_on_base().iter().for_each(|note| progress.note(note));
    let out = args.out(&recipe.common.name);
    args.say_if_new(&out, &progress);
    let locked = LockedFolder::take(&out)?;
    let chain = Chain { out: locked, threads: args.common.threads(), resume: args.resume, progress: &progress };
    let report = r1(&recipe, &chain)?;
    // The results go to the normal screen.
    drop(progress);
    if args.common.json {
        line(serde_json::to_string(&report)?)?;
    } else if !args.common.quiet {
        show(&recipe, &report, &out)?;
    }
    Ok(())
}

fn show(recipe: &R1Recipe, report: &Report, out: &Path) -> Result<()> {
    for (stage, result) in &report.stages {
        let is_base = matches!(stage, report::Stage::Base | report::Stage::StudentBase);
        if is_base && result.accuracy == 0.0 && recipe.common.hides_the_format() {
            line(format_args!("{:22}   0 %, as expected: it has never seen the format", stage.key()))?;
        } else {
            show_result(&stage.key(), result)?;
        }
    }
    line(format_args!("{:.0} s, {:.2} core hours, {:.0} MB", report.seconds, report.core_hours, report.peak_rss_mb))?;
    let last = if report.stages.contains_key(&report::Stage::Rl2) { "rl2" } else { "rl" };
    let (invocation, path) = (Invocation::of_this_process(), |name: &str| out.join(name).display().to_string());
    line(format_args!("read the report:        {}", path("report.html")))?;
    line(format_args!("talk to the model:      {}", invocation.command(["chat", &path(last)])))?;
    line(format_args!("and to it before RL:    {}", invocation.command(["chat", &path("sft")])))?;
    let compared = invocation.command(["report", &out.display().to_string(), "ANOTHER-RUN"]);
    line(format_args!("compare it with a run:  {compared}"))
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

/// A model that a command may start from, as the default recipe leaves it.
fn example_base(command: &str) -> &'static str {
    match command {
        "sft" => "runs/tiny/base",
        "rl" | "distill" => "runs/tiny/sft",
        _ => "runs/tiny/rl",
    }
}

/// One stage by itself: from `base`, and only pre-training from fresh weights too.
fn run_stage<S: Stage + Planned>(args: &RecipeArgs, kind: RunKind, run: Run<S>) -> Result<()> {
    let command = kind.command();
    let (file, overrides) = args.split(command)?;
    let recipe = Recipe::<S>::load(&file, &overrides)?;
    let Common { base, name, .. } = &recipe.common;
    if base.is_none() && command != "pretrain" {
        let (file, example) = (file.display(), example_base(command));
        bail!("{file}: no model to start from: add base=MODEL, as in base={example}, to the command or the recipe");
    }
    let progress = args.common.progress()?;
    if !args.names_a_recipe() {
        progress.note(&format!("no recipe is named: this is {}", file.display()));
    }
    recipe.note_on_base().iter().for_each(|note| progress.note(note));
    let out = args.out(&format!("{name}-{command}"));
    args.say_if_new(&out, &progress);
    let locked = LockedFolder::take(&out)?;
    let (start, chat) = match base {
        Some(base) => (Start::From(base), open(base)?.chat),
        None => (Start::Fresh, train_tokenizer(&recipe.common)?),
    };
    progress.tell(&Event::Plan(of_stage(command, &recipe.common, &recipe.stage, &out)));
    progress.tell(&Event::Begun(command.to_owned()));
    let setting = Setting { out: locked, threads: args.common.threads(), resume: args.resume, progress: &progress };
    let outcome = run(&recipe, &setting, start, chat)?;
    report_stage(kind, &recipe, &outcome, &out)?;
    progress.tell(&Event::Made(Made { part: command.to_owned(), seconds: outcome.seconds }));
    // The results go to the normal screen.
    drop(progress);
    if args.common.quiet || args.common.json {
        return Ok(());
    }
    let page = out.join("report.html");
    let out = out.display().to_string();
    let made = if command == "reject" { "answers" } else { "model" };
    line(format_args!("{} steps, {:.0} s; {made} in {out}", outcome.steps, outcome.seconds))?;
    line(format_args!("read the report: {}", page.display()))?;
    if command != "reject" {
        line(format_args!("talk to it: {}", Invocation::of_this_process().command(["chat", &out])))?;
    }
    Ok(())
}
