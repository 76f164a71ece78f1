//! The whole recipe: every model of DeepSeek-R1's paper that the recipe asks for, the controls, and a report of what
//! each gave.
//!
//! Every stage works in a folder of its own below `out` and reads the model of the one before from there, so a run that
//! was stopped goes on where it was. How a stage is run, evaluated and entered in the report is [`book`](crate::book).

use crate::book::Book;
use crate::error::Error;
use crate::locked_folder::LockedFolder;
use crate::progress::Progress;
use crate::recipe::{Common, Pretrain, R1Recipe, Recipe, RewardSource, Rl, Sft};
use crate::report::{Report, Stage};
use crate::sft::examples;
use crate::training::{Outcome, Setting};
use picnic_chat::ChatFormat;

/// How and where the chain runs.
pub struct Chain<'c> {
    /// The folder of the run.
    pub out: LockedFolder,
    /// Threads in all.
    pub threads: usize,
    /// Go on with an earlier run.
    pub resume: bool,
    /// What is shown.
    pub progress: &'c Progress,
}

impl<'c> Chain<'c> {
    /// The part of it that runs in the folder `name`.
    pub(crate) fn setting(&self, name: &str) -> Result<Setting<'c>, Error> {
        let out = self.out.inside(name)?;
        Ok(Setting { out, threads: self.threads, resume: self.resume, progress: self.progress })
    }
}

/// Runs the whole recipe and writes `report.json` and `report.html`.
///
/// # Errors
/// The first error of a stage; the stages before it keep their models.
pub fn r1(recipe: &R1Recipe, chain: &Chain) -> Result<Report, Error> {
    let Recipe { common, stage } = recipe;
    let mut book = Book::new(recipe, chain)?;
    let (base, chat) = book.base(common)?;

    // R1-Zero (section 2.2): RL straight from the base model.
    if let Some(zero) = &stage.zero {
        if stage.controls {
            book.ask(Stage::BaseTemplate, &base, zero.template.as_deref(), &chat)?;
        }
        book.rl(Stage::Zero, common, zero, &base, &chat)?;
    }

    // R1's first half (2.3.1, 2.3.2): a cold start, then RL.
    let (cold, _) = book.sft(Stage::Sft, common, &stage.sft, stage.sft.traces.as_deref(), &base, &chat)?;
    let (learned, rl) = book.rl(Stage::Rl, common, &stage.rl, &cold, &chat)?;
    if stage.controls {
        let more = more_sft(recipe, &rl, &chat)?;
        let random = Rl { reward: RewardSource::Random, ..stage.rl.clone() };
        book.sft(Stage::ControlSftMore, common, &more, more.traces.as_deref(), &cold, &chat)?;
        book.rl(Stage::ControlRandomReward, common, &random, &cold, &chat)?;
    }

    // Its second half (2.3.3, 2.3.4): the base model learns from the right answers, then RL again.
    let mut last = learned.clone();
    let traces = match &stage.reject {
        Some(reject) => book.reject(common, reject, &learned, &chat)?,
        None => None,
    };
    if let (Some(traces), Some(sft2)) = (&traces, &stage.sft2) {
        last = book.sft(Stage::Sft2, common, sft2, Some(traces), &base, &chat)?.0;
        if let Some(rl2) = &stage.rl2 {
            let other_questions = Rl { round: 1, ..rl2.clone() };
            last = book.rl(Stage::Rl2, common, &other_questions, &last, &chat)?.0;
        }
    }

    // Distillation (2.4), and against it the small model's own way (4.1).
    if let (Some(student), Some(pretrain), None) = (&stage.student, &stage.pretrain, &common.base) {
        // The same lessons, but for multi-token prediction, which dense models have no module for.
        let (pretrain, sft) = (Pretrain { mtp_weight: 0.0, ..pretrain.clone() }, without_mtp(&stage.sft));
        let small = Common { model: Some(student.model.clone()), ..common.clone() };
        let base = book.pretrain(Stage::StudentBase, &small, &pretrain, &chat)?;
        let (cold, _) = book.sft(Stage::StudentSft, &small, &sft, sft.traces.as_deref(), &base, &chat)?;
        book.rl(Stage::StudentRl, &small, &stage.rl, &cold, &chat)?;
        if let (Some(traces), Some(distill)) = (&traces, &stage.distill) {
            let distill = without_mtp(distill);
            let (pupil, _) = book.sft(Stage::StudentDistilled, &small, &distill, Some(traces), &base, &chat)?;
            if let Some(on_policy) = &stage.on_policy {
                book.distill(Stage::StudentOnPolicy, &small, on_policy, &pupil, &last, &chat)?;
            }
        }
    }
    book.close()
}

fn without_mtp(sft: &Sft) -> Sft {
    Sft { mtp_weight: 0.0, ..sft.clone() }
}

/// The cold start gone on with for as much compute as RL took: a token that was generated or read costs a forward
/// pass, one that was learned from three of them.
fn more_sft(recipe: &R1Recipe, rl: &Outcome, chat: &ChatFormat) -> Result<Sft, Error> {
    let Recipe { common, stage } = recipe;
    let cold = Recipe { common: common.clone(), stage: stage.sft.clone() };
    let (set, _) = examples(&cold, stage.sft.traces.as_deref(), chat)?;
    let mean = set.iter().map(|s| s.ids.len()).sum::<usize>() as f64 / set.len() as f64;
    let per_step = 3.0 * mean * stage.sft.batch_examples as f64;
    let steps = (rl.passes as f64 / per_step).ceil().max(1.0) as usize;
    Ok(Sft { steps, ..stage.sft.clone() })
}

/// The most memory that this process ever had resident, in 10⁶ bytes; 0 where the system does not say.
pub fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}
