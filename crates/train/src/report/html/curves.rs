//! What the stages measured while they trained, grouped so that a control is drawn over what it controls for.

use maud::{Markup, html};

use super::folding::{Fold, Line, Plot, fold};
use super::grid_class;
use super::terms::{curve as curve_term, terms};
use super::words::{name, visible};
use crate::report::svg::{Series, line_plot};
use crate::report::{Curve, Report, Stage};

const GROUPS: [(&str, &[Stage]); 7] = [
    ("Pre-training", &[Stage::Base]),
    ("R1-Zero", &[Stage::Zero]),
    ("Supervised fine-tuning", &[Stage::Sft, Stage::Sft2, Stage::ControlSftMore]),
    ("Reinforcement learning", &[Stage::Rl, Stage::Rl2, Stage::ControlRandomReward]),
    ("Rejection sampling", &[Stage::Traces]),
    ("Student: supervised", &[Stage::StudentBase, Stage::StudentSft, Stage::StudentDistilled]),
    ("Student: on its own samples", &[Stage::StudentRl, Stage::StudentOnPolicy]),
];

/// How the names of a curriculum's curves begin; then `TASK, level N`.
const PASS_RATE: &str = "pass rate: ";

/// What a curve tells of, from its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A reward, or the share of answers that earned one.
    Reward,
    /// The answers that were sampled.
    Answers,
    /// What a curriculum knows of each task and level.
    PassRates,
    /// The optimisation.
    Learning,
}

impl Topic {
    const ALL: [Topic; 4] = [Topic::Reward, Topic::Answers, Topic::PassRates, Topic::Learning];

    /// Where a curve of this name belongs.
    pub fn of(curve: &str) -> Topic {
        let answers = ["length", "truncated", "zero-variance groups", "could not judge"];
        if curve.contains("reward") {
            Topic::Reward
        } else if answers.iter().any(|&name| curve == name || curve.starts_with(&format!("{name} "))) {
            Topic::Answers
        } else if curve.starts_with(PASS_RATE) {
            Topic::PassRates
        } else {
            Topic::Learning
        }
    }

    fn title(self) -> &'static str {
        match self {
            Topic::Reward => "Rewards",
            Topic::Answers => "Answers",
            Topic::PassRates => "Pass rates by task and level",
            Topic::Learning => "Learning",
        }
    }
}

/// All curves of a run.
pub fn curves(report: &Report) -> Markup {
    html! {
        @if !report.curves.is_empty() {
            section #curves {
                h2 { "Curves" }
                p.faint {
                    "In the plots a strong line is the mean over a fifteenth of the steps around each, the number beside it "
                    "the last of these means; the faint line has every step."
                }
                (terms("What the curves mean", &meanings(report)))
                @for (title, stages) in GROUPS { (group(report, title, stages)) }
            }
        }
    }
}

/// What the curves that a run has measure.
fn meanings(report: &Report) -> Vec<(String, &'static str)> {
    let mut found: Vec<(String, &'static str)> = Vec::new();
    for curve in report.curves.values().flatten() {
        if let Some(meaning) = curve_term(&curve.name)
            && found.iter().all(|(name, _)| *name != curve.name)
        {
            found.push((curve.name.clone(), meaning));
        }
    }
    found
}

/// The plots of the stages of one kind, topic by topic.
fn group(report: &Report, title: &str, stages: &[Stage]) -> Markup {
    let mut curves: Vec<(Stage, &Curve)> = stages
        .iter()
        .filter_map(|stage| Some((*stage, report.curves.get(stage)?)))
        .flat_map(|(stage, curves)| curves.iter().map(move |curve| (stage, curve)))
        .collect();
    curves.sort_by_key(|(_, curve)| Topic::ALL.iter().position(|topic| *topic == Topic::of(&curve.name)));
    let rates: Vec<(Stage, &Curve)> = curves.extract_if(.., |(_, c)| Topic::of(&c.name) == Topic::PassRates).collect();
    let lines: Vec<(Line, &Curve)> = curves.iter().map(|(stage, curve)| (Line::of(*stage), *curve)).collect();
    let plots = fold(&lines);
    let has = |topic: Topic| match topic {
        Topic::PassRates => !rates.is_empty(),
        topic => plots.iter().any(|(plot, _)| Topic::of(plot.name) == topic),
    };
    let topics: Vec<Topic> = Topic::ALL.into_iter().filter(|topic| has(*topic)).collect();
    html! {
        @if !topics.is_empty() {
            section {
                h3 { (title) }
                @for &topic in &topics {
                    @if topics.len() > 1 { h4 { (topic.title()) } }
                    @if topic == Topic::PassRates { (grid(&pass_rates(&rates))) } @else {
                        @let of_topic: Vec<&(Plot, Fold)> =
                            plots.iter().filter(|(plot, _)| Topic::of(plot.name) == topic).collect();
                        (shown_and_folded(&of_topic))
                    }
                }
            }
        }
    }
}

/// The plots that tell something, and below them, folded, those that do not.
pub fn shown_and_folded(plots: &[&(Plot, Fold)]) -> Markup {
    let drawn = |shown: bool| -> Vec<Markup> {
        plots.iter().filter(|(_, fold)| (*fold == Fold::Shown) == shown).map(|(plot, _)| draw(plot)).collect()
    };
    let why = plots.iter().filter_map(|(plot, fold)| {
        let name = visible(plot.name);
        Some(match fold {
            Fold::Shown => return None,
            Fold::Flat(values) => format!("{name} never moves ({values})"),
            Fold::Follows(other) => format!("{name} moves with {}", visible(other)),
            Fold::Mirrors(other) => format!("{name} mirrors {}", visible(other)),
        })
    });
    let why: Vec<String> = why.collect();
    html! {
        (grid(&drawn(true)))
        @if !why.is_empty() {
            details.folded { summary { "Folded away: " (why.join("; ")) } (grid(&drawn(false))) }
        }
    }
}

/// Plots in rows.
fn grid(plots: &[Markup]) -> Markup {
    html! { @if !plots.is_empty() { div class=(grid_class(plots.len())) { @for plot in plots { (plot) } } } }
}

fn draw(plot: &Plot) -> Markup {
    let series =
        plot.series.iter().map(|(line, curve)| Series { class: line.class, label: line.label, points: &curve.points });
    line_plot(&visible(plot.name), &visible(plot.unit), &series.collect::<Vec<_>>())
}

/// A plot for each task of each stage, with a line for each level.
fn pass_rates(curves: &[(Stage, &Curve)]) -> Vec<Markup> {
    let mut tasks: Vec<(Stage, &str, Vec<Series>)> = Vec::new();
    for &(stage, curve) in curves {
        let arm = curve.name.strip_prefix(PASS_RATE).unwrap_or(&curve.name);
        let (task, level) = arm.split_once(", ").unwrap_or((arm, ""));
        let place = tasks.iter().position(|(s, t, _)| (*s, *t) == (stage, task)).unwrap_or_else(|| {
            tasks.push((stage, task, Vec::new()));
            tasks.len() - 1
        });
        let lines = &mut tasks[place].2;
        lines.push(Series { class: LEVELS[lines.len() % LEVELS.len()], label: level, points: &curve.points });
    }
    let several = tasks.iter().any(|(stage, ..)| *stage != tasks[0].0);
    let unit = |stage: Stage| if several { name(stage) } else { "" };
    tasks.iter().map(|(stage, task, lines)| line_plot(&visible(task), unit(*stage), lines)).collect()
}

/// The classes of a task's levels, the easiest first.
const LEVELS: [&str; 8] = ["level-0", "level-1", "level-2", "level-3", "level-4", "level-5", "level-6", "level-7"];
