//! `picnic report`: the page of a run again, two runs compared, one recipe's runs from several seeds, or two recipes'.

use crate::output::line;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use picnic_train::LockedFolder;
use picnic_train::report::{
    self, Answer, Answered, Answers, Changed, Comparison, Contrast, OtherRecipe, Pair, Recipes, Report, Seeds, Spread,
    percent, points, signed_interval, write_page,
};
use std::path::{Path, PathBuf};

/// Arguments of `picnic report`.
#[derive(Args)]
pub struct ReportArgs {
    /// Folders of finished runs: one to write its page again, two to compare, three or more of one recipe from several
    /// seeds
    #[arg(required = true, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Runs of another recipe from several seeds, to set against those of the first
    #[arg(long, value_name = "DIR", num_args = 1..)]
    against: Vec<PathBuf>,
    /// The page to write [default: report.html in the run's folder, or compare.html]
    #[arg(long)]
    out: Option<PathBuf>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Writes the page and prints what it says.
pub fn run(args: &ReportArgs) -> Result<()> {
    let (runs, names) = (reports(&args.runs)?, names(&args.runs));
    // Reading a run takes no lock, writing into its folder does.
    let (default, _lock) = match (&args.runs[..], &args.out) {
        ([dir], None) if args.against.is_empty() => (dir.join("report.html"), Some(LockedFolder::take(dir)?)),
        _ => (PathBuf::from("compare.html"), None),
    };
    let out = args.out.clone().unwrap_or(default);
    if !args.against.is_empty() {
        return two_recipes(args, &runs, &out);
    }
    match &runs[..] {
        [run] => {
            write_page(&out, &report::page(run, &args.runs[0]))?;
            if args.json {
                return line(serde_json::to_string(run)?);
            }
            show_story(&report::of_run(run))?;
        }
        [a, b] => {
            let comparison = report::compare(a, b);
            write_page(&out, &report::compare_page([&names[0], &names[1]], [a, b], &comparison))?;
            if args.json {
                return line(serde_json::to_string(&comparison)?);
            }
            show_comparison(&names, &comparison)?;
            show_story(&report::of_comparison(&comparison))?;
        }
        several => {
            let seeds = report::seeds(several).map_err(|other| {
                let cure = "compare two runs, or set the runs of one recipe --against those of the other";
                anyhow!("{}; {cure}", other_recipe(&names, &other))
            })?;
            write_page(&out, &report::seeds_page(&several[0].recipe_name, &names, &seeds))?;
            if args.json {
                return line(serde_json::to_string(&seeds)?);
            }
            show_seeds(&seeds)?;
            show_story(&report::of_seeds(names.len(), &seeds))?;
        }
    }
    page(&out)
}

/// The reports in these folders.
fn reports(folders: &[PathBuf]) -> Result<Vec<Report>> {
    let read = |folder: &PathBuf| {
        let mut report = report::read(folder)?;
        report.measure_missing(folder);
        Ok(report)
    };
    folders.iter().map(read).collect()
}

fn names(folders: &[PathBuf]) -> Vec<String> {
    folders.iter().map(|folder| folder.display().to_string()).collect()
}

/// Which two runs should be of one recipe and are not.
fn other_recipe(names: &[String], other: &OtherRecipe) -> String {
    let keys = &other.keys;
    format!(
        "{} and {} are of two recipes, which differ in {}{}",
        names[0],
        names[other.run],
        keys[..keys.len().min(3)].join(", "),
        if keys.len() > 3 { ", …" } else { "" }
    )
}

/// One recipe's seeds against another's.
fn two_recipes(args: &ReportArgs, runs: &[Report], out: &Path) -> Result<()> {
    let against = reports(&args.against)?;
    let names = [names(&args.runs), names(&args.against)];
    if runs.len() < 2 || against.len() < 2 {
        bail!("two recipes over seeds need two runs or more of each; for one run of each, picnic report A B");
    }
    let recipes = report::recipes(runs, &against).map_err(|(side, other)| {
        let cure = "give the runs of one recipe before --against and those of the other after it";
        anyhow!("{}; {cure}", other_recipe(&names[side], &other))
    })?;
    write_page(out, &report::recipes_page([&names[0], &names[1]], [runs, &against], &recipes))?;
    if args.json {
        return line(serde_json::to_string(&recipes)?);
    }
    show_recipes(&recipes)?;
    show_story(&report::of_recipes(&recipes))?;
    page(out)
}

/// What the numbers say, in sentences.
fn show_story(sentences: &[String; 3]) -> Result<()> {
    line("")?;
    sentences.iter().try_for_each(line)?;
    line("")
}

fn page(out: &Path) -> Result<()> {
    line(format_args!("report: {}", out.display()))
}

fn show_comparison(names: &[String], comparison: &Comparison) -> Result<()> {
    line(format_args!("A {}\nB {}\n", names[0], names[1]))?;
    line(format_args!("{:24} {:>8} {:>8}   B - A, 95 % interval", "stage", "A", "B"))?;
    for (stage, pairs) in &comparison.stages {
        show_pair(&stage.key(), &pairs.all)?;
        for (task, pair) in &pairs.by_task {
            show_pair(&format!("  {task}"), pair)?;
        }
    }
    show_changes(&comparison.recipe)
}

fn show_changes(changes: &[Changed]) -> Result<()> {
    line(if changes.is_empty() { "\nthe recipes are the same" } else { "\nthe recipes differ in" })?;
    for change in report::brief(changes) {
        let [a, b] = [&change.a, &change.b].map(|value| value.as_deref().unwrap_or("-"));
        line(format_args!("  {}: {a} | {b}", change.key))?;
    }
    Ok(())
}

fn show_recipes(recipes: &Recipes) -> Result<()> {
    line(format_args!("{:24} {:>8} {:>8}   B - A, 95 % interval over seeds", "stage", "A", "B"))?;
    for (stage, contrast) in &recipes.stages {
        show_contrast(&stage.key(), &contrast.all)?;
        for (task, contrast) in &contrast.by_task {
            show_contrast(&format!("  {task}"), contrast)?;
        }
    }
    show_changes(&recipes.recipe)
}

fn show_contrast(name: &str, contrast: &Contrast) -> Result<()> {
    let [a, b] = [&contrast.a, &contrast.b].map(|spread| percent(spread.mean));
    let difference = &contrast.difference;
    let (value, interval) = (points(difference.value), signed_interval(difference.ci95));
    line(format_args!("{name:24} {a:>8} {b:>8}   {value} ({interval})"))
}

fn show_pair(name: &str, pair: &Pair) -> Result<()> {
    let [a, b] = [pair.a, pair.b].map(|share| share.map_or("-".to_owned(), percent));
    let difference = pair.difference.map_or(String::new(), |difference| {
        let how = if difference.paired { "" } else { ", not paired" };
        format!("{} ({}{how})", points(difference.value), signed_interval(difference.ci95))
    });
    line(format_args!("{name:24} {a:>8} {b:>8}   {difference}"))
}

fn show_seeds(seeds: &Seeds) -> Result<()> {
    line(format_args!("{:24} {:>8}   least to greatest", "stage", "median"))?;
    for (stage, spread) in &seeds.stages {
        show_spread(&stage.key(), &spread.all)?;
        for (task, spread) in &spread.by_task {
            show_spread(&format!("  {task}"), spread)?;
        }
    }
    for asked in &seeds.questions {
        line(format_args!("\n{}", asked.question))?;
        show_answers("", &asked.answers.all)?;
        for (task, answers) in &asked.answers.by_task {
            show_answers(&format!("{task}: "), answers)?;
        }
    }
    Ok(())
}

fn show_spread(name: &str, spread: &Spread) -> Result<()> {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(percent);
    line(format_args!("{name:24} {median:>8}   {min} to {max}"))
}

/// The differences of the runs, and what they say together.
fn show_answers(what: &str, Answers { runs, together }: &Answers) -> Result<()> {
    let word = match together.answer {
        Answer::Yes => "yes",
        Answer::No => "no, the reverse",
        Answer::Open => "cannot tell",
    };
    let said = |answered: &Answered| {
        let difference = &answered.difference;
        format!("{} ({})", points(difference.value), signed_interval(difference.ci95))
    };
    let each: Vec<String> = runs.iter().map(said).collect();
    line(format_args!("  {what}{word}, {} over seeds; in each {}", said(together), each.join(", ")))
}
