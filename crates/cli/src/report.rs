//! `picnic report`: the page of a run again, two runs compared, or one recipe's runs from several seeds.

use crate::output::line;
use anyhow::{Result, bail};
use clap::Args;
use picnic_train::LockedFolder;
use picnic_train::report::{
    self, Answer, Answered, Answers, Comparison, Pair, Report, ReportError, Seeds, Spread, percent, points,
    signed_interval, write_page,
};
use std::path::{Path, PathBuf};

/// Arguments of `picnic report`.
#[derive(Args)]
pub struct ReportArgs {
    /// Folders of finished runs: one to write its page again, two to compare, three or more of one recipe from several
    /// seeds
    #[arg(required = true, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// The page to write [default: report.html in the run's folder, or compare.html]
    #[arg(long)]
    out: Option<PathBuf>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Writes the page and prints what it says.
pub fn run(args: &ReportArgs) -> Result<()> {
    let runs = args.runs.iter().map(|dir| report::read(dir)).collect::<Result<Vec<Report>, ReportError>>()?;
    let names: Vec<String> = args.runs.iter().map(|dir| dir.display().to_string()).collect();
    // Reading a run takes no lock, writing into its folder does.
    let (default, _lock) = match (&args.runs[..], &args.out) {
        ([dir], None) => (dir.join("report.html"), Some(LockedFolder::take(dir)?)),
        _ => (PathBuf::from("compare.html"), None),
    };
    let out = args.out.clone().unwrap_or(default);
    match &runs[..] {
        [run] => {
            write_page(&out, &report::page(run))?;
            if args.json {
                return line(serde_json::to_string(run)?);
            }
        }
        [a, b] => {
            let comparison = report::compare(a, b);
            write_page(&out, &report::compare_page([&names[0], &names[1]], [a, b], &comparison))?;
            if args.json {
                return line(serde_json::to_string(&comparison)?);
            }
            show_comparison(&names, &comparison)?;
        }
        several => {
            let seeds = match report::seeds(several) {
                Ok(seeds) => seeds,
                Err((run, keys)) => bail!(
                    "{} and {} are of two recipes, which differ in {}{}; compare two runs at a time",
                    names[0],
                    names[run],
                    keys[..keys.len().min(3)].join(", "),
                    if keys.len() > 3 { ", …" } else { "" }
                ),
            };
            write_page(&out, &report::seeds_page(&several[0].recipe_name, &names, &seeds))?;
            if args.json {
                return line(serde_json::to_string(&seeds)?);
            }
            show_seeds(&seeds)?;
        }
    }
    page(&out)
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
    line(if comparison.recipe.is_empty() { "\nthe recipes are the same" } else { "\nthe recipes differ in" })?;
    for change in &comparison.recipe {
        let [a, b] = [&change.a, &change.b].map(|value| value.as_deref().unwrap_or("-"));
        line(format_args!("  {}: {a} | {b}", change.key))?;
    }
    Ok(())
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
