//! What the stages measured while they trained, grouped so that a control is drawn over what it controls for.

use maud::{Markup, html};

use super::words::{class, name, visible};
use crate::report::svg::{Series, line_plot};
use crate::report::{Curve, Report, Stage};

const GROUPS: [(&str, &[Stage]); 6] = [
    ("Pre-training", &[Stage::Base]),
    ("R1-Zero", &[Stage::Zero]),
    ("Supervised fine-tuning", &[Stage::Sft, Stage::Sft2, Stage::ControlSftMore]),
    ("Reinforcement learning", &[Stage::Rl, Stage::Rl2, Stage::ControlRandomReward]),
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
            p.faint {
                "In the plots a strong line is the mean over a fifteenth of the steps around each, the number beside it the "
                "last of these means; the faint line has every step."
            }
        }
        @for (title, stages) in GROUPS {
            @let curves: Vec<(Stage, &Curve)> = stages.iter()
                .filter_map(|stage| Some((*stage, report.curves.get(stage)?)))
                .flat_map(|(stage, curves)| curves.iter().map(move |curve| (stage, curve)))
                .collect();
            @let topics: Vec<Topic> =
                Topic::ALL.into_iter().filter(|topic| curves.iter().any(|(_, c)| Topic::of(&c.name) == *topic)).collect();
            @if !curves.is_empty() {
                section {
                    h2 { (title) }
                    @for topic in &topics {
                        @if topics.len() > 1 { h3 { (topic.title()) } }
                        @let of_topic = curves.iter().filter(|(_, c)| Topic::of(&c.name) == *topic);
                        div.plots { (if *topic == Topic::PassRates { pass_rates(of_topic) } else { plots(of_topic) }) }
                    }
                }
            }
        }
    }
}

/// A plot for each name.
fn plots<'a>(curves: impl Iterator<Item = &'a (Stage, &'a Curve)>) -> Markup {
    let curves: Vec<_> = curves.collect();
    html! {
        @for (i, (_, first)) in curves.iter().enumerate() {
            @if !curves[..i].iter().any(|(_, earlier)| earlier.name == first.name) {
                @let series: Vec<Series> = curves.iter()
                    .filter(|(_, curve)| curve.name == first.name)
                    .map(|(stage, curve)| Series { class: class(*stage), label: name(*stage), points: &curve.points })
                    .collect();
                (line_plot(&visible(&first.name), &visible(&first.unit), &series))
            }
        }
    }
}

/// A plot for each task of each stage, with a line for each level.
fn pass_rates<'a>(curves: impl Iterator<Item = &'a (Stage, &'a Curve)>) -> Markup {
    let mut tasks: Vec<(Stage, &str, Vec<Series>)> = Vec::new();
    for (stage, curve) in curves {
        let arm = curve.name.strip_prefix(PASS_RATE).unwrap_or(&curve.name);
        let (task, level) = arm.split_once(", ").unwrap_or((arm, ""));
        let place = tasks.iter().position(|(s, t, _)| (s, *t) == (stage, task)).unwrap_or_else(|| {
            tasks.push((*stage, task, Vec::new()));
            tasks.len() - 1
        });
        let lines = &mut tasks[place].2;
        lines.push(Series { class: LEVELS[lines.len() % LEVELS.len()], label: level, points: &curve.points });
    }
    let several = tasks.iter().any(|(stage, ..)| *stage != tasks[0].0);
    html! {
        @for (stage, task, lines) in &tasks {
            (line_plot(&visible(task), if several { name(*stage) } else { "" }, lines))
        }
    }
}

/// The classes of a task's levels, the easiest first.
const LEVELS: [&str; 8] = ["level-0", "level-1", "level-2", "level-3", "level-4", "level-5", "level-6", "level-7"];
