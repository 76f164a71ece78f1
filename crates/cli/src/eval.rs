//! `picnic eval`: a model on a recipe's held-out problems, or on anyone's problems from a file.

use crate::load::TemplateVariables;
use crate::output::line;
use crate::train::{RecipeArgs, show_result};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use picnic_train::eval::{Judged, Question, read_questions};
use picnic_train::load::open;
use picnic_train::recipe::{Eval, Recipe};
use picnic_train::rollout::Draw;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// Arguments of `picnic eval`.
#[derive(Args)]
pub struct EvalArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Pose these problems instead of a recipe's: {"id", "prompt"} a line; then the first argument is the model
    #[arg(long, requires = "samples")]
    problems: Option<PathBuf>,
    /// Write every sample to this file, a line each
    #[arg(long)]
    samples: Option<PathBuf>,
    /// Samples of each problem [default: the recipe's; with --problems, 1]
    #[arg(short, value_parser = samples)]
    k: Option<usize>,
    /// With --problems: 0 for the likeliest answer
    #[arg(long, default_value_t = 0.6)]
    temperature: f64,
    /// With --problems: share of the probability to draw from
    #[arg(long, default_value_t = 0.95)]
    top_p: f64,
    /// With --problems: tokens of an answer at most
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// With --problems: the same seed gives the same samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    template: TemplateVariables,
}

/// A number of samples that somebody may wait for.
fn samples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=65_536) => Ok(n),
        _ => Err("give a number from 1 to 65536".to_owned()),
    }
}

/// Evaluates and prints.
pub fn run(args: &EvalArgs) -> Result<()> {
    match &args.problems {
        Some(problems) => pose(args, problems),
        None => judge(args),
    }
}

/// A recipe's held-out problems, scored by its rules.
fn judge(args: &EvalArgs) -> Result<()> {
    let (file, overrides) = args.recipe.split("eval");
    let mut recipe = Recipe::<Eval>::load(&file, &overrides)?;
    recipe.stage.samples = args.k.unwrap_or(recipe.stage.samples);
    let Some(base) = &recipe.common.base else { bail!("no model to judge: add base=MODEL") };
    let samples = args.samples.as_deref().map(Lines::create).transpose()?;
    let threads = args.recipe.common.threads();
    let chat = open(base)?.chat.with_variables(args.template.map());
    let mut judged = Judged::open(base, chat, recipe.common.lanes, threads)?;
    judged.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let mut evaluation = judged.evaluate(&recipe.common, &recipe.stage)?;
    if let Some(samples) = samples {
        let rows = evaluation.answers.iter().map(|answer| {
            json!({"id": answer.problem.id, "prompt": answer.problem.prompt, "completion": answer.text,
                   "right": answer.reward.accuracy.is_right(), "well_formed": answer.reward.format})
        });
        samples.write(rows)?;
    }
    if let Some(out) = &args.recipe.out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let path = out.join("eval.json");
        let text = serde_json::to_string_pretty(&evaluation.result)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.recipe.common.quiet {
        return Ok(());
    }
    if args.recipe.common.json {
        evaluation.result.scores.clear(); // a number a problem: for files, not for eyes
        return line(serde_json::to_string(&evaluation.result)?);
    }
    show_result("right", &evaluation.result)?;
    let [formed, length] = [100.0 * evaluation.result.well_formed, evaluation.result.mean_length];
    line(format_args!("{formed:.1} % well-formed, {length:.0} tokens an answer"))
}

/// Anyone's problems, for others to score.
fn pose(args: &EvalArgs, problems: &Path) -> Result<()> {
    let [model] = &args.recipe.recipe[..] else {
        bail!("name one model: picnic eval MODEL --problems FILE --samples OUT")
    };
    let Some(samples) = &args.samples else { bail!("name a file for the samples by --samples") };
    let k = args.k.unwrap_or(1);
    let questions = read_questions(problems)?;
    let lines = Lines::create(samples)?;
    let threads = args.recipe.common.threads();
    let model = Path::new(model);
    let chat = open(model)?.chat.with_variables(args.template.map());
    let mut judged = Judged::open(model, chat, threads, threads)?;
    judged.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let draw = Draw {
        samples: k,
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        top_p: args.top_p,
        seed: args.seed,
    };
    let prompts: Vec<&str> = questions.iter().map(|q| q.prompt.as_str()).collect();
    let texts = judged.texts(&prompts, draw)?;
    let rows = texts.into_iter().enumerate().map(|(i, (completion, finish))| {
        let Question { id, prompt } = &questions[i / k];
        json!({"id": id, "sample": i % k, "prompt": prompt, "completion": completion, "finish_reason": finish})
    });
    let count = lines.write(rows)?;
    if !args.recipe.common.quiet {
        line(format_args!("{count} samples of {} problems in {}", questions.len(), samples.display()))?;
    }
    Ok(())
}

/// A file of JSON values, one a line. It is opened before anything is generated, written beside and then renamed.
struct Lines<'a> {
    path: &'a Path,
    /// Goes away if nothing comes of it.
    partial: TempPath,
    file: BufWriter<File>,
}

impl Lines<'_> {
    fn create(path: &Path) -> Result<Lines<'_>> {
        ensure!(!path.is_dir(), "cannot write {}: it is a folder; name a file", path.display());
        let partial = path.with_extension("partial");
        let file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
        Ok(Lines { path, partial: TempPath::try_from_path(partial)?, file: BufWriter::new(file) })
    }

    fn write(mut self, rows: impl Iterator<Item = serde_json::Value>) -> Result<usize> {
        let cannot = || format!("cannot write {}", self.path.display());
        let mut count = 0;
        for row in rows {
            writeln!(self.file, "{row}").with_context(cannot)?;
            count += 1;
        }
        self.file.flush().with_context(cannot)?;
        self.partial.persist(self.path).with_context(cannot)?;
        Ok(count)
    }
}
