//! What a run is asked, and the differences between its stages that answer.

use serde::{Deserialize, Serialize};

use super::{Report, Stage, StageResult, TaskResult, paired_ci, unpaired_ci};

/// A question that two stages answer by the difference of their accuracies.
pub struct Question {
    /// What is asked.
    pub text: &'static str,
    /// The stage that a yes puts above the other.
    pub better: Stage,
    /// The stage it is compared with.
    pub than: Stage,
    /// What the comparison holds alike, and what it does not.
    pub why: &'static str,
}

/// All questions, in the order in which a report asks them; a run answers those whose two stages it has.
pub const QUESTIONS: [Question; 10] = [
    Question {
        text: "Does RL improve on the cold start?",
        better: Stage::Rl,
        than: Stage::Sft,
        why: "RL starts from the other model, so this is what it gave in all.",
    },
    Question {
        text: "Does RL add over more SFT at equal compute?",
        better: Stage::Rl,
        than: Stage::ControlSftMore,
        why: "Both start from the cold start and cost about as many passes through the model; SFT sees its examples \
              again, where RL always asks new questions.",
    },
    Question {
        text: "Is it the reward that helps?",
        better: Stage::Rl,
        than: Stage::ControlRandomReward,
        why: "The control differs in the reward alone: a coin in its place.",
    },
    Question {
        text: "Does RL alone improve the base model (R1-Zero)?",
        better: Stage::Zero,
        than: Stage::BaseTemplate,
        why: "Both are asked in the same template, and RL is shown no worked solution; the base model may have read \
              some, see the notes.",
    },
    Question {
        text: "Does a cold start help RL?",
        better: Stage::Rl,
        than: Stage::Zero,
        why: "R1-Zero's RL starts from the base model, which may have read worked solutions, see the notes; those of \
              the cold start come on top.",
    },
    Question {
        text: "Does a second round help?",
        better: Stage::Rl2,
        than: Stage::Rl,
        why: "The second round has had more compute, so a gain may be that of training longer.",
    },
    Question {
        text: "Does RL improve the small model?",
        better: Stage::StudentRl,
        than: Stage::StudentSft,
        why: "RL starts from the other model.",
    },
    Question {
        text: "Does distillation beat RL on the small model?",
        better: Stage::StudentDistilled,
        than: Stage::StudentRl,
        why: "Distillation learns from the large model's answers, and the large model's cost is not counted.",
    },
    Question {
        text: "Does on-policy distillation beat RL on the small model?",
        better: Stage::StudentOnPolicy,
        than: Stage::StudentRl,
        why: "It learns from the large model's judgement of its own answers; the large model's cost is not counted.",
    },
    Question {
        text: "Does distillation gain from the student's own answers?",
        better: Stage::StudentOnPolicy,
        than: Stage::StudentDistilled,
        why: "It goes on from the other model.",
    },
];

/// A difference of two accuracies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The one minus the other, in −1..=1.
    pub value: f64,
    /// Its 95 % interval.
    pub ci95: [f64; 2],
    /// Whether problems were compared one by one ([`paired_ci`]), or only means ([`unpaired_ci`]).
    pub paired: bool,
}

/// What a difference says of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The whole interval is above zero.
    Yes,
    /// The whole interval is below zero: the other way round.
    No,
    /// Zero is in the interval.
    Open,
}

impl Difference {
    /// Whether the interval says more or less.
    pub fn answer(&self) -> Answer {
        match self.ci95 {
            [lo, _] if lo > 0.0 => Answer::Yes,
            [_, hi] if hi < 0.0 => Answer::No,
            _ => Answer::Open,
        }
    }
}

/// Resampling has a seed of its own, so that a page written again is the same page.
const SEED: u64 = 0;

/// How much more accurate `a` is than `b` over all problems.
pub fn difference(a: &StageResult, b: &StageResult) -> Difference {
    let all = |result: &StageResult| result.scores.values().flatten().copied().collect::<Vec<_>>();
    between((a.accuracy, a.ci95), (b.accuracy, b.ci95), same_problems(a, b).then(|| pairs(&all(a), &all(b))))
}

/// The same on one task; `None` unless both were evaluated on it.
pub fn difference_on(task: &str, a: &StageResult, b: &StageResult) -> Option<Difference> {
    let mean = |task: &TaskResult| (task.accuracy, task.ci95);
    let (of_a, of_b) = (mean(a.by_task.get(task)?), mean(b.by_task.get(task)?));
    let of_task = |r: &StageResult| r.scores.get(task).cloned().unwrap_or_default();
    Some(between(of_a, of_b, same_problems(a, b).then(|| pairs(&of_task(a), &of_task(b)))))
}

/// The scores of the problems that both could be judged on.
fn pairs(a: &[Option<f32>], b: &[Option<f32>]) -> (Vec<f64>, Vec<f64>) {
    a.iter().zip(b).filter_map(|(a, b)| Some((f64::from((*a)?), f64::from((*b)?)))).unzip()
}

/// Whether scores stand side by side, problem by problem.
fn same_problems(a: &StageResult, b: &StageResult) -> bool {
    let lengths = |r: &StageResult| r.scores.iter().map(|(task, of)| (task.clone(), of.len())).collect::<Vec<_>>();
    !a.problem_set.is_empty() && a.problem_set == b.problem_set && lengths(a) == lengths(b)
}

type Mean = (f64, [f64; 2]);

fn between(a: Mean, b: Mean, scores: Option<(Vec<f64>, Vec<f64>)>) -> Difference {
    let paired = scores.and_then(|(a, b)| {
        let value = a.iter().zip(&b).map(|(a, b)| a - b).sum::<f64>() / a.len() as f64;
        Some(Difference { value, ci95: paired_ci(&a, &b, SEED)?, paired: true })
    });
    paired.unwrap_or_else(|| Difference { value: a.0 - b.0, ci95: unpaired_ci(a, b), paired: false })
}

/// The questions that a report can answer, each with its difference.
pub fn answered(report: &Report) -> impl Iterator<Item = (&'static Question, Difference)> {
    QUESTIONS.iter().filter_map(|question| {
        let (better, than) = (report.stages.get(&question.better)?, report.stages.get(&question.than)?);
        Some((question, difference(better, than)))
    })
}
