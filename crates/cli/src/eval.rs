//! `picnic eval`: a model on a recipe's held-out problems, on anyone's problems from a file, or on given text: its
//! perplexity, or which of several continuations is the likeliest.

mod conversations;

use crate::load::{self, Forms, NANO, TemplateVariables};
use crate::output::line;
use crate::train::{RecipeArgs, show_result};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use conversations::Conversations;
use picnic_train::LockedFolder;
use picnic_train::alone::{Judgement, report_evaluation};
use picnic_train::eval::{Judged, Question, read_questions};
use picnic_train::likelihood::{read_choices, score_choices};
use picnic_train::load::open;
use picnic_train::recipe::{Eval, Recipe};
use picnic_train::report::Share;
use picnic_train::rollout::Draw;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempPath;

/// Arguments of `picnic eval`.
#[derive(Args)]
pub struct EvalArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Pose these problems instead of a recipe's: {"id", "prompt"} a line; then the first argument is the model
    #[arg(long, requires = "samples")]
    problems: Option<PathBuf>,
    /// Perplexity of this text file; then the first argument is the model
    #[arg(long, value_name = "FILE", conflicts_with_all = ["problems", "choices", "samples"])]
    perplexity: Option<PathBuf>,
    /// With --perplexity: tokens of a window; predictions do not see beyond theirs [default: 512, or the model's
    /// positions if they are fewer]
    #[arg(long, value_parser = context)]
    context: Option<usize>,
    /// Choose the likeliest continuation: {"prompt", "choices", "answer"} a line; then the first argument is the model
    #[arg(long, value_name = "FILE", conflicts_with = "problems")]
    choices: Option<PathBuf>,
    /// Pose the recipe's problems, once each, in conversations of so many questions, as `picnic chat` holds them, and say
    /// how many are right in the first, the second and the last third
    #[arg(long, value_name = "QUESTIONS", conflicts_with_all = ["problems", "perplexity", "choices", "samples", "k"])]
    conversation: Option<usize>,
    /// Write every sample to this file, a line each; with --choices, every question's log-likelihoods
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
    forms: Forms,
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

/// A window that has something to predict.
fn context(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 2..=16_777_216) => Ok(n),
        _ => Err("give a number of 2 or more".to_owned()),
    }
}

/// Evaluates and prints.
pub fn run(args: &EvalArgs) -> Result<()> {
    ensure!(
        !args.forms.rounds() || args.recipe.out.is_none(),
        "a report is of the model itself: leave out --weights and --cache, or --out"
    );
    match (&args.problems, &args.perplexity, &args.choices) {
        (Some(problems), ..) => pose(args, problems),
        (_, Some(text), _) => perplexity(args, text),
        (_, _, Some(questions)) => choose(args, questions),
        _ => judge(args),
    }
}

/// The model that the first argument names.
fn judged(args: &EvalArgs, option: &str) -> Result<Judged> {
    let [model] = &args.recipe.recipe[..] else { bail!("name one model: picnic eval MODEL {option} FILE") };
    let (model, threads) = (Path::new(model), args.recipe.common.threads());
    Ok(Judged::open(model, open(model)?.chat, args.forms.both(), threads, threads)?)
}

/// The perplexity of a text.
fn perplexity(args: &EvalArgs, path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut judged = judged(args, "--perplexity")?;
    let positions = judged.model.model().config().max_position_embeddings;
    let context = args.context.unwrap_or(positions.clamp(2, 512));
    let shows = !args.recipe.common.quiet && !args.recipe.common.json && std::io::stderr().is_terminal();
    let found = judged.perplexity(&text, context, |done, total| {
        if shows {
            eprint!("\r{done} of {total} tokens");
        }
    })?;
    if shows {
        eprintln!();
    }
    if args.recipe.common.quiet {
        return Ok(());
    }
    if args.recipe.common.json {
        return line(serde_json::to_string(&found)?);
    }
    line(format_args!(
        "perplexity {:.4}, {:.5} nats a token, {:.5} bits a byte, {} tokens in windows of {}",
        found.perplexity, found.nats_per_token, found.bits_per_byte, found.tokens, found.context
    ))
}

/// Which continuation the model finds likeliest.
fn choose(args: &EvalArgs, path: &Path) -> Result<()> {
    let questions = read_choices(path)?;
    let lines = args.samples.as_deref().map(Lines::create).transpose()?;
    let likelihoods = judged(args, "--choices")?.choice_likelihoods(&questions)?;
    if let Some(lines) = lines {
        let rows = questions.iter().zip(&likelihoods).enumerate().map(|(i, (question, sums))| {
            let id = question.id.clone().unwrap_or_else(|| json!(i));
            json!({"id": id, "prompt": question.prompt, "choices": question.choices, "right": question.right(),
                   "log_likelihoods": sums})
        });
        lines.write(rows)?;
    }
    let found = score_choices(&questions, &likelihoods);
    if args.recipe.common.quiet {
        return Ok(());
    }
    if args.recipe.common.json {
        return line(serde_json::to_string(&found)?);
    }
    let percent =
        |share: f64, [low, high]: [f64; 2]| format!("{:.1} % [{:.1}, {:.1}]", 100.0 * share, 100.0 * low, 100.0 * high);
    line(format_args!("right by log-likelihood         {}", percent(found.accuracy, found.accuracy_ci)))?;
    line(format_args!(
        "right by log-likelihood a byte  {}",
        percent(found.accuracy_per_byte, found.accuracy_per_byte_ci)
    ))?;
    line(format_args!("of {} questions; guessing gets {:.1} %", found.questions, 100.0 * found.chance))
}

/// A recipe's held-out problems, scored by its rules.
fn judge(args: &EvalArgs) -> Result<()> {
    let (file, overrides) = recipe_of(args)?;
    let mut recipe = Recipe::<Eval>::load(&file, &overrides)?;
    recipe.stage.samples = args.k.unwrap_or(recipe.stage.samples);
    let Some(base) = &recipe.common.base else {
        bail!("no model to judge: name one, as in picnic eval MODEL, or add base=MODEL to a recipe")
    };
    if let Some(questions) = args.conversation {
        ensure!(args.recipe.out.is_none(), "--conversation writes no report: remove --out");
        let mut loaded = load::load_on(&base.to_string_lossy(), args.forms.weights(), args.recipe.common.threads())?;
        loaded.chat = loaded.chat.with_variables(args.template.map());
        let shows = !args.recipe.common.quiet && !args.recipe.common.json && std::io::stderr().is_terminal();
        let progress = |done, all| {
            if shows {
                eprint!("\r{done} of {all} conversations{}", if done == all { "\n" } else { "" });
            }
        };
        return show_conversations(
            &conversations::hold(&recipe, loaded, args.forms.cache(), questions, progress)?,
            args,
        );
    }
    let out = args.recipe.out.as_deref().map(LockedFolder::take).transpose()?;
    let samples = args.samples.as_deref().map(Lines::create).transpose()?;
    let threads = args.recipe.common.threads();
    let chat = open(base)?.chat.with_variables(args.template.map());
    let mut judged = Judged::open(base, chat, args.forms.both(), recipe.common.lanes, threads)?;
    judged.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let clock = Instant::now();
    let mut evaluation = judged.evaluate(&recipe.common, &recipe.stage)?;
    let seconds = clock.elapsed().as_secs_f64();
    if let Some(samples) = samples {
        let rows = evaluation.answers.iter().map(|answer| {
            json!({"id": answer.problem.id, "prompt": answer.problem.prompt, "completion": answer.text,
                   "right": answer.reward.accuracy.is_right(), "well_formed": answer.reward.format})
        });
        samples.write(rows)?;
    }
    if let Some(out) = out {
        let path = out.join("eval.json");
        let text = serde_json::to_string_pretty(&evaluation.result)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let (result, tokens) = (evaluation.result.clone(), evaluation.tokens);
        report_evaluation(&recipe, Judgement { result, tokens, seconds, threads }, &out)?;
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
    line(format_args!("{formed:.1} % well-formed, {length:.0} tokens an answer"))?;
    match &args.recipe.out {
        Some(out) => line(format_args!("report: {}", out.join("report.html").display())),
        None => Ok(()),
    }
}

/// The shares by third, and whether the end is worse than the beginning.
fn show_conversations(found: &Conversations, args: &EvalArgs) -> Result<()> {
    if args.recipe.common.quiet {
        return Ok(());
    }
    if args.recipe.common.json {
        let Conversations { conversations, questions, thirds, last_minus_first, could_not_judge } = found;
        return line(json!({"conversations": conversations, "questions": questions, "thirds": thirds,
                           "last_minus_first": last_minus_first, "could_not_judge": could_not_judge}));
    }
    for (third, share) in ["first", "second", "last"].iter().zip(&found.thirds) {
        let [low, high] = share.ci95.map(|x| 100.0 * x);
        line(format_args!("right in the {third:6} third {:5.1} % [{low:.1}, {high:.1}]", 100.0 * share.value))?;
    }
    let Share { value, ci95 } = &found.last_minus_first;
    let [low, high] = ci95.map(|x| 100.0 * x);
    line(format_args!("last minus first           {:+5.1}   [{low:+.1}, {high:+.1}]", 100.0 * value))?;
    if found.could_not_judge > 0 {
        line(format_args!("{} answers could not be judged and count neither way", found.could_not_judge))?;
    }
    line(format_args!("{} conversations of {} questions", found.conversations, found.questions))
}

/// The recipe's file and the overrides. A model in the recipe's place is judged by the default recipe, the built-in one
/// by the recipe that it was made by.
fn recipe_of(args: &EvalArgs) -> Result<(PathBuf, Vec<String>)> {
    let (file, mut overrides) = args.recipe.split("eval")?;
    let ends_in = |end| file.extension().is_some_and(|extension| extension == end);
    if ends_in("toml") || file.is_file() && !ends_in("gguf") {
        return Ok((file, overrides));
    }
    overrides.push(format!("base={}", file.display()));
    let folder = if file == Path::new(NANO) { "recipes/nano" } else { "recipes/tiny" };
    let recipe = Path::new(folder).join("eval.toml");
    ensure!(recipe.exists(), "there is no {} here: write the program's recipes by `picnic recipes`", recipe.display());
    Ok((recipe, overrides))
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
    let mut judged = Judged::open(model, chat, args.forms.both(), threads, threads)?;
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
