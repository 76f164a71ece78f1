//! `picnic eval`: a model on a recipe's held-out problems, or on anyone's problems from a file.

use crate::train::RecipeArgs;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use picnic_train::eval::{Judged, Question, read_questions};
use picnic_train::recipe::{Eval, Recipe};
use picnic_train::rollout::Draw;
use picnic_train::tokenizer::load_tokenizer;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

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
    /// Samples of each problem
    #[arg(short, default_value_t = 1)]
    k: usize,
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
    let recipe = Recipe::<Eval>::load(&file, &overrides)?;
    let Some(base) = &recipe.common.base else { bail!("no model to judge: add base=MODEL") };
    let threads = args.recipe.common.threads();
    let mut judged = Judged::open(base, load_tokenizer(base)?, recipe.common.lanes, threads)?;
    let evaluation = judged.evaluate(&recipe.common, &recipe.stage)?;
    if let Some(path) = &args.samples {
        let rows = evaluation.answers.iter().map(|answer| {
            json!({"id": answer.problem.id, "prompt": answer.problem.prompt, "completion": answer.text,
                   "right": answer.reward.accuracy.is_right(), "well_formed": answer.reward.format})
        });
        write_lines(path, rows)?;
    }
    let text = serde_json::to_string_pretty(&evaluation.result)?;
    if let Some(out) = &args.recipe.out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let path = out.join("eval.json");
        std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !args.recipe.common.quiet {
        println!("{text}");
    }
    Ok(())
}

/// Anyone's problems, for others to score.
fn pose(args: &EvalArgs, problems: &Path) -> Result<()> {
    let [model] = &args.recipe.recipe[..] else {
        bail!("name one model: picnic eval MODEL --problems FILE --samples OUT")
    };
    let Some(samples) = &args.samples else { bail!("name a file for the samples by --samples") };
    ensure!(args.k > 0, "-k must be at least 1");
    let questions = read_questions(problems)?;
    let threads = args.recipe.common.threads();
    let model = Path::new(model);
    let mut judged = Judged::open(model, load_tokenizer(model)?, threads, threads)?;
    let draw = Draw {
        samples: args.k,
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        top_p: args.top_p,
        seed: args.seed,
    };
    let prompts: Vec<&str> = questions.iter().map(|q| q.prompt.as_str()).collect();
    let texts = judged.texts(&prompts, draw)?;
    let rows = texts.into_iter().enumerate().map(|(i, (completion, finish))| {
        let Question { id, prompt } = &questions[i / args.k];
        json!({"id": id, "sample": i % args.k, "prompt": prompt, "completion": completion, "finish_reason": finish})
    });
    let count = write_lines(samples, rows)?;
    if !args.recipe.common.quiet {
        println!("{count} samples of {} problems in {}", questions.len(), samples.display());
    }
    Ok(())
}

/// One JSON value a line, beside and then renamed.
fn write_lines(path: &Path, rows: impl Iterator<Item = serde_json::Value>) -> Result<usize> {
    let partial = path.with_extension("partial");
    let cannot = || format!("cannot write {}", partial.display());
    let mut file = BufWriter::new(File::create(&partial).with_context(cannot)?);
    let mut count = 0;
    for row in rows {
        writeln!(file, "{row}").with_context(cannot)?;
        count += 1;
    }
    file.flush().with_context(cannot)?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(count)
}
