//! The story of a whole chain: what was made, what RL gave, and what these numbers cannot tell.

use super::{base, clauses, distance, gap, list, of_size, shares, size};
use crate::report::html::words::duration;
use crate::report::{Answer, Report, Stage, StageResult, difference, percent, signed_interval};

/// Where RL began and what it made: the first of these that a run has is what the story is about.
pub const BEFORE_AND_AFTER: [(Stage, Stage); 3] =
    [(Stage::Sft, Stage::Rl), (Stage::BaseTemplate, Stage::Zero), (Stage::StudentSft, Stage::StudentRl)];

/// What else might have given what RL gave.
const CONTROLS: [(Stage, &str); 2] = [
    (Stage::ControlSftMore, "the same compute spent on more fine-tuning"),
    (Stage::ControlRandomReward, "RL with a coin for a reward"),
];

/// The results at the start and at the end of RL.
pub fn before_and_after(report: &Report) -> Option<[(Stage, &StageResult); 2]> {
    let result = |stage: Stage| Some((stage, report.stages.get(&stage)?));
    BEFORE_AND_AFTER.iter().find_map(|&(before, after)| Some([result(before)?, result(after)?]))
}

pub fn sentences(report: &Report) -> [String; 3] {
    let Some([before, after]) = before_and_after(report) else {
        return [
            made(report),
            "RL made no model in this run, so there is nothing to say of what it gives.".to_owned(),
            "What the stages below reached cannot be told apart from luck unless their intervals say so, nor can it be told \
             what another seed would give."
                .to_owned(),
        ];
    };
    [made(report), gave(report, before.1, after), open(report, after)]
}

/// The first sentence: what was made.
fn made(report: &Report) -> String {
    let has = |stage: Stage| report.stages.contains_key(&stage) || report.curves.contains_key(&stage);
    let controls = if CONTROLS.iter().any(|(control, _)| has(*control)) { ", controls included" } else { "" };
    let model = [Stage::Rl, Stage::Zero, Stage::Sft, Stage::Base].into_iter().find(|stage| has(*stage));
    let size = model.and_then(|stage| report.models.get(&stage)).map(size);
    let (begun, mut steps) = match (base(report), size) {
        (Some(base), None) => (format!("took the language model {base}"), Vec::new()),
        (Some(base), Some(size)) => (format!("took the language model {base}, which has {size}"), Vec::new()),
        (None, None) => ("made a language model from nothing".to_owned(), vec!["pre-trained".to_owned()]),
        (None, Some(size)) => {
            (format!("made a language model from nothing, with {size}"), vec!["pre-trained".to_owned()])
        }
    };
    if has(Stage::Sft) {
        steps.push(match report.setting("sft.traces") {
            Some(_) => "fine-tuned on given answers".to_owned(),
            None => "fine-tuned on worked solutions".to_owned(),
        });
    }
    if has(Stage::Rl) {
        steps.push("improved by reinforcement learning (RL)".to_owned());
    }
    let mut beside = Vec::new();
    if has(Stage::Rl2) {
        beside.push("a second round of RL".to_owned());
    }
    if has(Stage::StudentSft) {
        beside.push(format!("a small student{}", of_size(report, Stage::StudentSft)));
    }
    if has(Stage::Zero) {
        beside.push("R1-Zero, which has no cold start".to_owned());
    }
    let steps = if steps.is_empty() { String::new() } else { format!(": the model was {}", list(&steps)) };
    let beside = if beside.is_empty() { String::new() } else { format!("; beside it stand {}", list(&beside)) };
    format!("In {}{controls}, this run {begun}{steps}{beside}.", duration(report.seconds))
}

/// The second sentence: what RL gave, and against which controls that can be told.
fn gave(report: &Report, before: &StageResult, (stage, after): (Stage, &StageResult)) -> String {
    let gain = difference(after, before);
    let shares = shares(before.accuracy, after.accuracy);
    let said = match gain.answer() {
        Answer::Yes => format!("RL raised the share of right answers to held-out problems {shares} ({})", gap(&gain)),
        Answer::No => format!("RL lowered the share of right answers to held-out problems {shares} ({})", gap(&gain)),
        Answer::Open => format!(
            "The share of right answers to held-out problems went {shares} with RL, which may be chance ({})",
            gap(&gain)
        ),
    };
    let told = controls(report, stage).filter_map(|(what, control)| {
        let beyond = difference(after, control);
        let more = match beyond.answer() {
            Answer::Yes => "more",
            Answer::No => "less",
            Answer::Open => return None,
        };
        Some(format!(
            "{} {more} than the {} of {what} (95 % interval {})",
            distance(beyond.value),
            percent(control.accuracy),
            signed_interval(beyond.ci95)
        ))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { format!("{said}.") } else { format!("{said}; that is {}.", list(&told)) }
}

/// The third sentence: what cannot be told.
fn open(report: &Report, (stage, after): (Stage, &StageResult)) -> String {
    let mut open: Vec<String> = controls(report, stage)
        .filter_map(|(what, control)| {
            let beyond = difference(after, control);
            (beyond.answer() == Answer::Open).then(|| format!("whether RL gives more than {what} ({})", gap(&beyond)))
        })
        .collect();
    if controls(report, stage).next().is_none() {
        open.push("whether anything else would have given as much, for this run has no controls".to_owned());
    }
    open.push("what another seed would give, for this is one run".to_owned());
    format!("What these numbers cannot tell is {}.", clauses(open))
}

/// The controls of the main RL that the run has.
fn controls(report: &Report, after: Stage) -> impl Iterator<Item = (&'static str, &StageResult)> {
    let of = move |(stage, what): (Stage, &'static str)| Some((what, report.stages.get(&stage)?));
    CONTROLS.into_iter().filter(move |_| after == Stage::Rl).filter_map(of)
}
