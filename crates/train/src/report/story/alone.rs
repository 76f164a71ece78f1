//! The story of one stage that was run by itself. Only `picnic eval` asks held-out problems; the others know how
//! training went and no more.

use super::{base, number_of, of_size};
use crate::report::html::words::{count, duration};
use crate::report::svg::{first_and_last, significant};
use crate::report::{Curve, Report, RunKind, Stage, StageResult, percent};

pub fn sentences(report: &Report) -> [String; 3] {
    match report.kind {
        RunKind::Eval => judged(report),
        RunKind::Reject => sampled(report),
        _ => trained(report),
    }
}

/// A stage that trained a model.
fn trained(report: &Report) -> [String; 3] {
    let stage = report.kind.stage().unwrap_or(Stage::Base);
    let size = of_size(report, stage);
    let from = match base(report) {
        Some(base) => format!("the model {base}{size}"),
        None => format!("a fresh model{size}"),
    };
    let did = match report.kind {
        RunKind::Sft => format!("This run fine-tuned {from}"),
        RunKind::Rl => format!("This run trained {from} by reinforcement learning (RL)"),
        RunKind::Distill => format!("This run distilled a teacher into {from}, on answers of its own"),
        _ => format!("This run pre-trained {from}"),
    };
    let curves = report.curves.get(&stage).map_or(&[][..], Vec::as_slice);
    let steps = curves.iter().filter_map(|curve| curve.points.last()).map(|(step, _)| *step).max().unwrap_or(0);
    let cost =
        format!("{} over {} tokens took {}", number_of(steps, "step"), count(report.tokens), duration(report.seconds));
    let (told, not_told) = match report.kind {
        RunKind::Rl => (
            moved(curves, "reward", "The mean reward of its answers to training problems"),
            "What RL gave on held-out problems cannot be told from this, for none were asked",
        ),
        RunKind::Distill => (
            moved(curves, "kl", "Its distance from the teacher (KL)"),
            "Whether the student answers held-out problems better cannot be told from this, for none were asked",
        ),
        RunKind::Sft => (
            moved(curves, "loss", "The loss on the answers that it imitates"),
            "How many held-out problems it gets right cannot be told from this, for none were asked",
        ),
        _ => (
            moved(curves, "loss", "The loss, which is how badly it predicts the next token,"),
            "What it can answer cannot be told from this, for it was asked nothing",
        ),
    };
    [format!("{did}: {cost}."), told, format!("{not_told}; picnic eval does that.")]
}

/// "The loss went from 6.25 nats per token at the first step to 0.733 at the end."
fn moved(curves: &[Curve], name: &str, what: &str) -> String {
    let ends = curves.iter().find(|curve| curve.name == name).and_then(|c| Some((c, first_and_last(&c.points)?)));
    match ends {
        Some((curve, (first, last))) => {
            let unit = if curve.unit.is_empty() { String::new() } else { format!(" {}", curve.unit) };
            format!(
                "{what} went from {}{unit} at the first step to {} at the end, which is a mean over the last steps.",
                significant(first),
                significant(last)
            )
        }
        None => "It recorded no curve to tell how it went.".to_owned(),
    }
}

/// Rejection sampling.
fn sampled(report: &Report) -> [String; 3] {
    let number = |key: &str| report.setting(key).and_then(|value| value.as_integer()).unwrap_or(0).max(0) as u64;
    let (questions, samples, most) = (number("questions"), number("samples"), number("keep"));
    let curves = report.curves.get(&Stage::Traces).map_or(&[][..], Vec::as_slice);
    let kept = curves.iter().find(|curve| curve.name == "kept").and_then(|curve| curve.points.last());
    let kept = kept.map_or(0, |(_, kept)| *kept as u64);
    let model = base(report).map_or("a model".to_owned(), |base| format!("the model {base}"));
    [
        format!(
            "This run drew {} from {model} to each of {}, which took {}.",
            number_of(samples, "answer"),
            number_of(questions, "problem"),
            duration(report.seconds)
        ),
        match kept {
            0 => "It kept none, for no answer was right and well-formed.".to_owned(),
            kept => format!("It kept {kept} that are right and well-formed, at most {most} a problem, to learn from."),
        },
        "Whether a model that learns from them gets better cannot be told from this: fine-tune one, and ask it held-out \
         problems."
            .to_owned(),
    ]
}

/// An evaluation.
fn judged(report: &Report) -> [String; 3] {
    let Some(result) = report.stages.get(&Stage::Judged) else {
        return ["This run judged no model.", "It gave no numbers.", "So there is nothing that they could tell."]
            .map(str::to_owned);
    };
    let problems: u64 = result.by_task.values().map(|task| task.n).sum();
    let samples = report.setting("samples").and_then(|value| value.as_integer()).unwrap_or(1).max(1) as u64;
    let model = base(report).unwrap_or_else(|| "a model".to_owned());
    [
        format!(
            "This run asked the model {model}{} {}, {} of each.",
            of_size(report, Stage::Judged),
            number_of(problems, "held-out problem"),
            number_of(samples, "sample")
        ),
        right(result),
        "What made the model so cannot be told from one evaluation: set another beside it by picnic report, on the same \
         problems."
            .to_owned(),
    ]
}

fn right(result: &StageResult) -> String {
    let [low, high] = result.ci95.map(percent);
    format!(
        "It answers {} right, with a 95 % interval over problems from {low} to {high}, and {} of its answers have the form \
         that was asked for.",
        percent(result.accuracy),
        percent(result.well_formed)
    )
}
