//! The report of a chain while it is written: runs a stage, evaluates what it made, and notes both.

use crate::distill::distill;
use crate::error::Error;
use crate::eval::{Answer, Evaluation, Forms, Judged};
use crate::load::open;
use crate::plan::{self, TOKENIZER};
use crate::pretrain::pretrain;
use crate::progress::{Answer as Shown, Evaluated, Event, Made};
use crate::r1::{Chain, peak_rss_mb};
use crate::recipe::{Common, OnPolicy, Pretrain, R1Recipe, Recipe, Reject, Rl, Sft};
use crate::reject::{TRACES, reject};
use crate::report::{self, Report, RunKind, Sample, SampleSet, Stage, StageResult, Verdict as Mark, choose, readable};
use crate::rl::rl;
use crate::run_folder::{claim, read_json, write_json};
use crate::sft::sft;
use crate::tokenizer::{train_tokenizer, with_prompt_template};
use crate::training::{Outcome, Setting, Start};
use picnic_chat::ChatFormat;
use picnic_tasks::{Mixture, Problem, Task};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Pairs of answers, before and after RL, that the report shows.
const SHOWN: usize = 10;

/// The report while it is written.
pub(crate) struct Book<'b> {
    recipe: &'b R1Recipe,
    chain: &'b Chain<'b>,
    report: Report,
    /// The cold-started model's first answer to every question, to stand beside RL's.
    before: Vec<Posed>,
    /// Remarks that the stages leave.
    notes: Vec<String>,
}

/// An evaluation as it is kept for a resumed run.
#[derive(Serialize, Deserialize)]
struct Record {
    result: StageResult,
    /// The first answer to every question, of the two models that RL lies between; of others none.
    shown: Vec<Posed>,
    tokens: u64,
    seconds: f64,
    core_seconds: f64,
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
    /// Begins the book of a run, or opens it again.
    pub fn new(recipe: &'b R1Recipe, chain: &'b Chain<'b>) -> Result<Self, Error> {
        let (out, recipe_toml) = (&chain.out, recipe.resolved_toml());
        // Too few problems to evaluate on are better known now than after the first stage.
        for task in Mixture::new(&recipe.common.tasks, recipe.stage.eval.problem_seed)?.tasks() {
            task.held_out(recipe.stage.eval.problems)?;
        }
        claim(out, chain.resume, &recipe.fingerprint()?)?;
        let evaluations = out.join("evaluations");
        std::fs::create_dir_all(&evaluations).map_err(Error::writing(&evaluations))?;
        chain.progress.tell(&Event::Plan(plan::of_chain(recipe, out)));
        let report = Report::new(RunKind::Chain, &recipe.common.name, recipe_toml);
        Ok(Book { recipe, chain, report, before: Vec::new(), notes: Vec::new() })
    }

    /// The model that everything starts from and its tokenizer: the recipe's base, or a fresh model pre-trained.
    pub fn base(&mut self, common: &Common) -> Result<(PathBuf, ChatFormat), Error> {
        let (base, chat) = match (&common.base, &self.recipe.stage.pretrain) {
            (Some(base), _) => (base.clone(), open(base)?.chat),
            (None, Some(stage)) => {
                self.begun(TOKENIZER);
                let clock = Instant::now();
                let chat = train_tokenizer(common)?;
                let seconds = clock.elapsed().as_secs_f64();
                self.made(TOKENIZER, seconds);
                self.report.cost("tokenizer", seconds, seconds * self.chain.threads as f64, 0);
                return Ok((self.pretrain(Stage::Base, common, stage, &chat)?, chat));
            }
            (None, None) => {
                let what = "neither a base nor [pretrain]".into();
                return Err(Error::Empty { what, cure: "name one in the recipe" });
            }
        };
        self.evaluate(Stage::Base, &base, &chat)?;
        Ok((base, chat))
    }

    /// Pre-trains a fresh model and evaluates it.
    pub fn pretrain(
        &mut self,
        stage: Stage,
        common: &Common,
        settings: &Pretrain,
        chat: &ChatFormat,
    ) -> Result<PathBuf, Error> {
        let recipe = Recipe { common: common.clone(), stage: settings.clone() };
        let (path, _) = self.train(stage, |s| pretrain(&recipe, s, Start::Fresh, chat.clone()))?;
        self.evaluate(stage, &path, chat)?;
        Ok(path)
    }

    /// Fine-tunes the model in `from` and evaluates it.
    pub fn sft(
        &mut self,
        stage: Stage,
        common: &Common,
        settings: &Sft,
        traces: Option<&Path>,
        from: &Path,
        chat: &ChatFormat,
    ) -> Result<(PathBuf, Outcome), Error> {
        let recipe = Recipe { common: common.clone(), stage: settings.clone() };
        let made = self.train(stage, |s| sft(&recipe, s, Start::From(from), traces, chat.clone()))?;
        self.evaluate(stage, &made.0, chat)?;
        Ok(made)
    }

    /// Reinforcement learning from the model in `from`, evaluated as it was asked.
    pub fn rl(
        &mut self,
        stage: Stage,
        common: &Common,
        settings: &Rl,
        from: &Path,
        chat: &ChatFormat,
    ) -> Result<(PathBuf, Outcome), Error> {
        let recipe = Recipe { common: common.clone(), stage: settings.clone() };
        let made = self.train(stage, |s| rl(&recipe, s, Start::From(from), chat.clone()))?;
        self.ask(stage, &made.0, settings.template.as_deref(), chat)?;
        Ok(made)
    }

    /// On-policy distillation of the model in `from`.
    pub fn distill(
        &mut self,
        stage: Stage,
        common: &Common,
        settings: &OnPolicy,
        from: &Path,
        teacher: &Path,
        chat: &ChatFormat,
    ) -> Result<(PathBuf, Outcome), Error> {
        let recipe = Recipe { common: common.clone(), stage: settings.clone() };
        let made = self.train(stage, |s| distill(&recipe, s, Start::From(from), teacher, chat.clone()))?;
        self.evaluate(stage, &made.0, chat)?;
        Ok(made)
    }

    /// Rejection sampling from the model in `from`; gives the file with what was kept, unless nothing was.
    pub fn reject(
        &mut self,
        common: &Common,
        settings: &Reject,
        from: &Path,
        chat: &ChatFormat,
    ) -> Result<Option<PathBuf>, Error> {
        let recipe = Recipe { common: common.clone(), stage: settings.clone() };
        let setting = self.chain.setting(plan::TRACES)?;
        self.begun(plan::TRACES);
        let outcome = reject(&recipe, &setting, from, chat.clone())?;
        self.made(plan::TRACES, outcome.seconds);
        self.report.cost("rejection sampling", outcome.seconds, outcome.core_seconds, outcome.tokens);
        let last = |name: &str| outcome.curves.iter().find(|c| c.name == name)?.points.last().map(|p| p.1);
        let kept = last("kept").unwrap_or(0.0);
        let Reject { questions, samples, keep, .. } = settings;
        self.notes.push(format!(
            "Rejection sampling drew {samples} answers to each of {questions} problems and kept {kept}, at most {keep} a \
             problem."
        ));
        if kept == 0.0 {
            self.notes.push("Without a right answer there was nothing to learn a second time or to distil.".to_owned());
            return Ok(None);
        }
        Ok(Some(setting.out.join(TRACES)))
    }

    /// Runs a stage, which does nothing if an earlier run finished it, and enters its cost and curves.
    fn train(
        &mut self,
        stage: Stage,
        run: impl FnOnce(&Setting) -> Result<Outcome, Error>,
    ) -> Result<(PathBuf, Outcome), Error> {
        let name = stage.key();
        let setting = self.chain.setting(&name)?;
        let kept = self.evaluation(stage);
        if !setting.is_finished() && kept.exists() {
            // Of a model that is gone.
            std::fs::remove_file(&kept).map_err(Error::writing(&kept))?;
        }
        self.begun(&name);
        let clock = Instant::now();
        let outcome = run(&setting)?;
        // A stage counts its own seconds, those of interrupted runs too; making its examples and reading its model are
        // only in the clock.
        let seconds = clock.elapsed().as_secs_f64().max(outcome.seconds);
        let around = (seconds - outcome.seconds) * self.chain.threads as f64;
        self.report.cost(&name, seconds, outcome.core_seconds + around, outcome.tokens);
        self.made(&name, seconds);
        self.report.curves.insert(stage, outcome.curves.clone());
        Ok((setting.out.to_owned(), outcome))
    }

    /// Where a stage's evaluation is kept.
    fn evaluation(&self, stage: Stage) -> PathBuf {
        self.chain.out.join("evaluations").join(format!("{}.json", stage.key()))
    }

    /// Evaluates a model on questions put to it in `template`.
    pub fn ask(&mut self, stage: Stage, model: &Path, template: Option<&str>, chat: &ChatFormat) -> Result<(), Error> {
        self.evaluate(stage, model, &with_prompt_template(chat, template)?)
    }

    fn evaluate(&mut self, stage: Stage, model: &Path, chat: &ChatFormat) -> Result<(), Error> {
        let (kept, name) = (self.evaluation(stage), stage.key());
        self.chain.progress.tell(&Event::Evaluating(name.clone()));
        let known: Option<Record> = read_json(&kept)?;
        let is_new = known.is_none();
        let record = match known {
            Some(record) => record,
            None => {
                let clock = Instant::now();
                let (common, eval) = (&self.recipe.common, &self.recipe.stage.eval);
                let mut judged = Judged::open(model, chat.clone(), Forms::default(), common.lanes, self.chain.threads)?;
                let Evaluation { result, answers, tokens } = judged.evaluate(common, eval)?;
                let tasks = Mixture::new(&common.tasks, eval.problem_seed)?;
                let shown = match stage {
                    Stage::Sft | Stage::Rl => first_answers(&tasks, &answers, eval.samples),
                    _ => Vec::new(),
                };
                let seconds = clock.elapsed().as_secs_f64();
                let core_seconds = seconds * self.chain.threads as f64;
                let record = Record { result, shown, tokens, seconds, core_seconds };
                write_json(&kept, &record)?;
                record
            }
        };
        let Record { result, shown, tokens, seconds, core_seconds } = record;
        self.chain.progress.tell(&Event::Evaluated(Evaluated {
            part: name.clone(),
            accuracy: result.accuracy,
            ci95: result.ci95,
            well_formed: result.well_formed,
            mean_length: result.mean_length,
            never_saw_the_format: matches!(stage, Stage::Base | Stage::StudentBase)
                && self.recipe.common.hides_the_format(),
            seconds: is_new.then_some(seconds),
        }));
        // The same question after every stage.
        if let Some(Posed { task, problem, sample, .. }) = shown.first().cloned() {
            let Sample { text, verdict } = sample;
            self.chain.progress.tell(&Event::Answer(Shown { step: None, task, question: problem, text, verdict }));
        }
        self.report.cost(&format!("evaluation of {name}"), seconds, core_seconds, tokens);
        let questions: usize = result.scores.values().map(Vec::len).sum();
        self.report.stages.insert(stage, result);
        self.report.measure(stage, model);
        match stage {
            Stage::Sft => self.before = shown,
            Stage::Rl => {
                let sets = side_by_side(std::mem::take(&mut self.before), shown);
                let (pairs, samples) = choose(sets, SHOWN);
                // Evaluations from before all first answers were kept have a few, which have no shares to speak of.
                self.report.pairs = (pairs.judged() + pairs.not_judged == questions).then_some(pairs);
                self.report.samples = samples;
            }
            _ => {}
        }
        Ok(())
    }

    fn begun(&self, part: &str) {
        self.chain.progress.tell(&Event::Begun(part.to_owned()));
    }

    fn made(&self, part: &str, seconds: f64) {
        self.chain.progress.tell(&Event::Made(Made { part: part.to_owned(), seconds }));
    }

    /// Writes the report.
    pub fn close(mut self) -> Result<Report, Error> {
        self.report.notes = notes(self.recipe)?;
        self.report.notes.append(&mut self.notes);
        self.report.peak_rss_mb = peak_rss_mb();
        if let Ok(earlier) = report::read(&self.chain.out) {
            self.report.keep_costs(&earlier);
        }
        report::write(&self.chain.out, &self.report)?;
        Ok(self.report)
    }
}

/// What a reader should know before comparing the stages.
fn notes(recipe: &R1Recipe) -> Result<Vec<String>, Error> {
    let Recipe { common, stage } = recipe;
    let mut notes = Vec::new();
    if common.base.is_none() {
        let note = match common.hides_the_format() {
            true => "The base model has never seen the answer format: its accuracy is 0 by construction.",
            false => {
                "The base model's text has worked problems in the answer format among it (corpus: dialogues), written as \
                 the cold start's are. So R1-Zero, too, starts from a model that has seen worked solutions."
            }
        };
        notes.push(note.to_owned());
    }
    if stage.rl2.is_some() {
        notes.push("The second RL has rule rewards only: there is no reward for preference.".to_owned());
    }
    if stage.sft.traces.is_some() {
        return Ok(notes);
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

/// The questions that both models answered.
fn side_by_side(before: Vec<Posed>, after: Vec<Posed>) -> Vec<SampleSet> {
    let key = |posed: &Posed| (posed.task.clone(), posed.problem.clone());
    let mut earlier: BTreeMap<(String, String), Sample> =
        before.into_iter().map(|posed| (key(&posed), posed.sample)).collect();
    let pair = |posed: Posed| {
        let before = earlier.remove(&key(&posed))?;
        let Posed { task, problem, gold, sample } = posed;
        Some(SampleSet { task, problem, gold, before, after: sample })
    };
    after.into_iter().filter_map(pair).collect()
}

/// The first answer to every question.
fn first_answers(tasks: &Mixture, answers: &[Answer], samples: usize) -> Vec<Posed> {
    let posed = |answer: &Answer| Posed {
        task: answer.problem.task.clone(),
        problem: answer.problem.prompt.clone(),
        gold: reference(tasks, &answer.problem),
        sample: Sample { text: answer.text.clone(), verdict: Mark::from(&answer.reward.accuracy) },
    };
    answers.iter().step_by(samples.max(1)).map(posed).collect()
}

/// A right answer if one can be written, else what the task's verifier goes by.
fn reference(tasks: &Mixture, problem: &Problem) -> String {
    let written = tasks.trace(problem).filter(|trace| tasks.verify(problem, &trace.answer).is_right());
    match written {
        // Its worked solutions give up; what reads best is an equation, which needs no luck.
        _ if problem.gold.get("target").is_some() => readable(&problem.gold),
        Some(trace) => trace.answer,
        None => readable(&problem.gold),
    }
}
