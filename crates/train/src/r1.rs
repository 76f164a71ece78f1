//! The whole recipe: tokenizer, pre-training, cold start, RL, their controls, and a report of what each gave.
//!
//! Every stage works in a folder of its own below `out` and reads the model of the one before from there, so a run that
//! was stopped goes on where it was.

use crate::error::Error;
use crate::eval::{Answer, Evaluation, Judged};
use crate::pretrain::pretrain;
use crate::progress::Progress;
use crate::recipe::{R1Recipe, Recipe, RewardSource, Rl, Sft};
use crate::report::{self, Report, Sample, SampleSet, Stage, StageCost, StageResult, Verdict as Mark};
use crate::rl::rl;
use crate::sft::{examples, sft};
use crate::tokenizer::{load_tokenizer, train_tokenizer};
use crate::training::{Outcome, RECIPE, Setting, Start, read_json, same_recipe, write_file, write_json};
use picnic_tasks::{Mixture, Verdict};
use picnic_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Samples that the report shows.
const SHOWN: usize = 6;

/// How and where the chain runs.
pub struct Chain<'c> {
    /// The folder of the run.
    pub out: PathBuf,
    /// Threads in all.
    pub threads: usize,
    /// Go on with an earlier run.
    pub resume: bool,
    /// What is shown.
    pub progress: &'c Progress,
}

/// Runs the whole recipe and writes `report.json` and `report.html`.
///
/// # Errors
/// The first error of a stage; the stages before it keep their models.
pub fn r1(recipe: &R1Recipe, chain: &Chain) -> Result<Report, Error> {
    let mut book = Book::new(recipe, chain)?;
    let Recipe { common, stage } = recipe;

    let (base, tokenizer) = match (&common.base, &stage.pretrain) {
        (Some(base), _) => (base.clone(), load_tokenizer(base)?),
        (None, Some(pretrain_stage)) => {
            let clock = Instant::now();
            let tokenizer = train_tokenizer(common)?;
            book.cost("tokenizer".to_owned(), clock.elapsed().as_secs_f64(), 0);
            let recipe = Recipe { common: common.clone(), stage: pretrain_stage.clone() };
            let setting = chain.setting("base");
            book.train(Stage::Base, &setting, |s| pretrain(&recipe, s, Start::Fresh, tokenizer.clone()))?;
            (setting.out, tokenizer)
        }
        (None, None) => {
            return Err(Error::Empty { what: "neither a base nor [pretrain]".into(), cure: "name one in the recipe" });
        }
    };
    book.evaluate(Stage::Base, &base, &tokenizer)?;

    let cold = chain.setting("sft");
    let recipe_of = |stage: &Sft| Recipe { common: common.clone(), stage: stage.clone() };
    book.train(Stage::Sft, &cold, |s| sft(&recipe_of(&stage.sft), s, Start::From(&base), tokenizer.clone()))?;
    book.evaluate(Stage::Sft, &cold.out, &tokenizer)?;

    let recipe_of_rl = |stage: &Rl| Recipe { common: common.clone(), stage: stage.clone() };
    let from_cold = Start::From(&cold.out);
    let setting = chain.setting("rl");
    let learned = book.train(Stage::Rl, &setting, |s| rl(&recipe_of_rl(&stage.rl), s, from_cold, tokenizer.clone()))?;
    book.evaluate(Stage::Rl, &setting.out, &tokenizer)?;

    if stage.controls {
        let more = more_sft(recipe, &learned, &tokenizer)?;
        let setting = chain.setting("control_sft_more");
        let start = Start::From(&cold.out);
        book.train(Stage::ControlSftMore, &setting, |s| sft(&recipe_of(&more), s, start, tokenizer.clone()))?;
        book.evaluate(Stage::ControlSftMore, &setting.out, &tokenizer)?;

        let random = Rl { reward: RewardSource::Random, ..stage.rl.clone() };
        let setting = chain.setting("control_random_reward");
        let start = Start::From(&cold.out);
        book.train(Stage::ControlRandomReward, &setting, |s| rl(&recipe_of_rl(&random), s, start, tokenizer.clone()))?;
        book.evaluate(Stage::ControlRandomReward, &setting.out, &tokenizer)?;
    }
    book.close()
}

/// The cold start gone on with for as much compute as RL took: a token that was generated or read costs a forward
/// pass, one that was learned from three of them.
fn more_sft(recipe: &R1Recipe, rl: &Outcome, tokenizer: &Tokenizer) -> Result<Sft, Error> {
    let Recipe { common, stage } = recipe;
    let set = examples(&Recipe { common: common.clone(), stage: stage.sft.clone() }, tokenizer)?;
    let mean = set.iter().map(|s| s.ids.len()).sum::<usize>() as f64 / set.len() as f64;
    // Of RL's tokens one pass is learned from; generation and the reference only read.
    let reads = if stage.rl.kl_beta > 0.0 { 2.0 } else { 1.0 };
    let passes = rl.tokens as f64 * (3.0 + reads) / (1.0 + reads);
    let per_step = 3.0 * mean * stage.sft.batch_examples as f64;
    let steps = (passes / per_step).ceil().max(1.0) as usize;
    Ok(Sft { steps, ..stage.sft.clone() })
}

impl<'c> Chain<'c> {
    fn setting(&self, name: &str) -> Setting<'c> {
        Setting { out: self.out.join(name), threads: self.threads, resume: self.resume, progress: self.progress }
    }
}

/// The report while it is written.
struct Book<'b> {
    recipe: &'b R1Recipe,
    chain: &'b Chain<'b>,
    report: Report,
    /// Answers of the cold-started model, to stand beside RL's.
    before: Vec<Posed>,
}

/// An evaluation as it is kept for a resumed run.
#[derive(Serialize, Deserialize)]
struct Record {
    result: StageResult,
    shown: Vec<Posed>,
    tokens: u64,
    seconds: f64,
}

/// A problem and one answer to it.
#[derive(Clone, Serialize, Deserialize)]
struct Posed {
    task: String,
    problem: String,
    gold: String,
    sample: Sample,
}

impl<'b> Book<'b> {
    fn new(recipe: &'b R1Recipe, chain: &'b Chain<'b>) -> Result<Self, Error> {
        let out = &chain.out;
        let (path, recipe_toml) = (out.join(RECIPE), recipe.resolved_toml());
        if path.exists() {
            if !chain.resume {
                return Err(Error::Occupied(out.clone()));
            }
            same_recipe(&path, &recipe_toml)?;
        }
        let evaluations = out.join("evaluations");
        std::fs::create_dir_all(&evaluations).map_err(Error::writing(&evaluations))?;
        write_file(&path, &recipe_toml)?;
        let report = Report {
            recipe_name: recipe.common.name.clone(),
            seconds: 0.0,
            core_hours: 0.0,
            tokens: 0,
            peak_rss_mb: 0.0,
            stages: BTreeMap::new(),
            curves: BTreeMap::new(),
            samples: Vec::new(),
            costs: Vec::new(),
            recipe_toml,
            notes: Vec::new(),
        };
        Ok(Book { recipe, chain, report, before: Vec::new() })
    }

    /// Runs a stage, which does nothing if an earlier run finished it, and enters its cost and curves.
    fn train(
        &mut self,
        stage: Stage,
        setting: &Setting,
        run: impl FnOnce(&Setting) -> Result<Outcome, Error>,
    ) -> Result<Outcome, Error> {
        let kept = self.evaluation(stage);
        if !setting.is_finished() && kept.exists() {
            // Of a model that is gone.
            std::fs::remove_file(&kept).map_err(Error::writing(&kept))?;
        }
        let clock = Instant::now();
        let outcome = run(setting)?;
        // A stage counts its own seconds, those of interrupted runs too; making its examples and reading its model are
        // only in the clock.
        let seconds = clock.elapsed().as_secs_f64().max(outcome.seconds);
        let name = setting.out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        self.cost(name, seconds, outcome.tokens);
        self.report.curves.insert(stage, outcome.curves.clone());
        Ok(outcome)
    }

    /// Where a stage's evaluation is kept.
    fn evaluation(&self, stage: Stage) -> PathBuf {
        let name = serde_json::to_value(stage).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        self.chain.out.join("evaluations").join(format!("{name}.json"))
    }

    fn evaluate(&mut self, stage: Stage, model: &Path, tokenizer: &Tokenizer) -> Result<(), Error> {
        let kept = self.evaluation(stage);
        let name = kept.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let record: Record = match read_json(&kept)? {
            Some(record) => record,
            None => {
                let clock = Instant::now();
                let (common, eval) = (&self.recipe.common, &self.recipe.stage.eval);
                let mut judged = Judged::open(model, tokenizer.clone(), common.lanes, self.chain.threads)?;
                let Evaluation { result, answers, tokens } = judged.evaluate(common, eval)?;
                let shown = shown(&answers, eval.samples);
                let record = Record { result, shown, tokens, seconds: clock.elapsed().as_secs_f64() };
                write_json(&kept, &record)?;
                record
            }
        };
        let Record { result, shown, tokens, seconds } = record;
        self.chain.progress.note(&format!(
            "{name}: {:.1} % right [{:.1}, {:.1}], {:.1} % well-formed",
            100.0 * result.accuracy,
            100.0 * result.ci95[0],
            100.0 * result.ci95[1],
            100.0 * result.well_formed
        ));
        self.cost(format!("evaluation of {name}"), seconds, tokens);
        self.report.stages.insert(stage, result);
        match stage {
            Stage::Sft => self.before = shown,
            Stage::Rl => self.report.samples = self.before.drain(..).zip(shown).map(side_by_side).collect(),
            _ => {}
        }
        Ok(())
    }

    fn cost(&mut self, stage: String, seconds: f64, tokens: u64) {
        let core_hours = seconds * self.chain.threads as f64 / 3600.0;
        self.report.costs.push(StageCost { stage, seconds, tokens, core_hours });
        self.report.seconds += seconds;
        self.report.core_hours += core_hours;
        self.report.tokens += tokens;
    }

    fn close(mut self) -> Result<Report, Error> {
        self.report.notes = notes(self.recipe)?;
        self.report.peak_rss_mb = peak_rss_mb();
        report::write(&self.chain.out, &self.report)?;
        Ok(self.report)
    }
}

/// What a reader should know before comparing the stages.
fn notes(recipe: &R1Recipe) -> Result<Vec<String>, Error> {
    let Recipe { common, stage } = recipe;
    let mut notes = Vec::new();
    if common.base.is_none() {
        notes.push("The base model has never seen the answer format: its accuracy is 0 by construction.".to_owned());
    }
    // An imitator of the cold start is bounded by it, RL is not.
    for task in Mixture::new(&common.tasks, stage.eval.problem_seed)?.tasks() {
        let problems = task.held_out(stage.eval.problems)?;
        let solved = problems
            .iter()
            .filter(|problem| task.trace(problem).is_some_and(|trace| task.verify(problem, &trace.answer).is_right()));
        let share = 100.0 * solved.count() as f64 / problems.len().max(1) as f64;
        let name = task.name();
        notes.push(format!(
            "The worked solutions that the cold start imitates get {share:.1} % of the held-out {name} problems right."
        ));
    }
    Ok(notes)
}

fn side_by_side((before, after): (Posed, Posed)) -> SampleSet {
    let Posed { task, problem, gold, sample } = after;
    SampleSet { task, problem, gold, before: before.sample, after: sample }
}

/// First answers to a few problems, spread over the tasks; the same problems for every stage.
fn shown(answers: &[Answer], samples: usize) -> Vec<Posed> {
    let problems = answers.len() / samples.max(1);
    let step = (problems / SHOWN).max(1);
    let posed = |answer: &Answer| Posed {
        task: answer.problem.task.clone(),
        problem: answer.problem.prompt.clone(),
        gold: match &answer.problem.gold {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        },
        sample: Sample { text: answer.text.clone(), verdict: mark(&answer.reward.accuracy) },
    };
    answers.iter().step_by(samples.max(1) * step).take(SHOWN).map(posed).collect()
}

fn mark(verdict: &Verdict) -> Mark {
    match verdict {
        Verdict::Right(_) => Mark::Right,
        Verdict::Wrong(_) => Mark::Wrong,
        Verdict::CouldNotJudge(_) => Mark::CouldNotJudge,
    }
}

/// The most memory that this process ever had resident, in 10⁶ bytes; 0 where the system does not say.
pub fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}
