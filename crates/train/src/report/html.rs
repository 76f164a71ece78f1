//! `report.html`: one self-contained page that needs no network and no script.
//!
//! `maud` escapes every text that goes in; [`visible`] first makes the characters seen that could
//! disguise it. The page's own content policy forbids scripts and requests a second time.

use std::borrow::Cow;
use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::svg::{Series, line_plot};
use super::{Curve, Report, Sample, Stage, Verdict};

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole document.
pub fn page(report: &Report) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (visible(&report.recipe_name)) " · Picnic report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.faint { "Picnic · report of one run" }
                    h1 { (visible(&report.recipe_name)) }
                }
                main {
                    (headline(report))
                    (stage_table(report))
                    (curves(report))
                    (samples(report))
                    (costs(report))
                    @if !report.notes.is_empty() {
                        section { h2 { "Notes" } ul { @for note in &report.notes { li { (visible(note)) } } } }
                    }
                    section {
                        h2 { "Recipe" }
                        details {
                            summary { "Every setting, defaults and overrides filled in" }
                            pre { (visible(&report.recipe_toml)) }
                        }
                    }
                }
            }
        }
    };
    document.into_string()
}

/// From SFT start to RL, the controls beside it, and what the run cost.
fn headline(report: &Report) -> Markup {
    let stages = &report.stages;
    html! {
        section.headline {
            @if let (Some(sft), Some(rl)) = (stages.get(&Stage::Sft), stages.get(&Stage::Rl)) {
                p.big {
                    span.sft { (percent(sft.accuracy)) } span.faint { " → " } span.rl { (percent(rl.accuracy)) }
                }
                p {
                    "right on held-out problems, from the start of RL to its end: "
                    b { (format!("{:+.1} points", 100.0 * (rl.accuracy - sft.accuracy))) }
                    ". 95 % interval after RL " (interval(rl.ci95)) ", before it " (interval(sft.ci95)) "."
                }
                ul {
                    @for (task, after) in &rl.by_task {
                        @if let Some(before) = sft.by_task.get(task) {
                            li {
                                b { (visible(task)) } ": " (percent(before.accuracy)) " → " (percent(after.accuracy))
                                " " span.faint { (interval(after.ci95)) } ". "
                                (verdict_on_controls(report, task, after.ci95[0]).unwrap_or_default())
                            }
                        }
                    }
                }
            }
            (interval_plot(report))
            dl.facts {
                div { dt { "time" } dd { (duration(report.seconds)) } }
                div { dt { "core-hours" } dd { (format!("{:.2}", report.core_hours)) } }
                div { dt { "tokens" } dd { (count(report.tokens)) } }
                div { dt { "peak memory" } dd { (format!("{:.0} MB", report.peak_rss_mb)) } }
            }
        }
    }
}

/// Whether the gain on a task is RL's: each control should stay below the lower end of RL's interval.
fn verdict_on_controls(report: &Report, task: &str, low: f64) -> Option<String> {
    let controls = [Stage::ControlSftMore, Stage::ControlRandomReward];
    let of_task = |control: &Stage| report.stages.get(control)?.by_task.get(task);
    let ran: Vec<Stage> = controls.into_iter().filter(|c| of_task(c).is_some()).collect();
    let reached: Vec<&str> = ran
        .iter()
        .filter(|control| of_task(control).is_some_and(|result| result.accuracy >= low))
        .map(|&control| name(control))
        .collect();
    match (ran.len(), reached.len()) {
        (0, _) => None,
        (1, 0) => Some("The control stays below RL's interval.".to_owned()),
        (_, 0) => Some("Both controls stay below RL's interval.".to_owned()),
        _ => Some(format!(
            "Reaches RL's interval, so the gain cannot be put down to RL's reward: {}.",
            reached.join(", ")
        )),
    }
}

/// A dot and a 95 % interval per stage, on one scale from zero.
fn interval_plot(report: &Report) -> Markup {
    let highest = report.stages.values().map(|r| r.ci95[1].max(r.accuracy)).fold(0.0, f64::max);
    let scale = [0.05, 0.1, 0.2, 0.5, 1.0].into_iter().find(|s| highest <= *s).unwrap_or(1.0);
    let at = |share: f64| format!("{:.2}%", 100.0 * (share / scale).clamp(0.0, 1.0));
    html! {
        div.intervals {
            @for (&stage, result) in &report.stages {
                @let [lo, hi] = result.ci95;
                div.row.(class(stage)) {
                    span.label { (name(stage)) }
                    span.track {
                        span.bar style=(format!("width:{}", at(result.accuracy))) {}
                        span.whisker style=(format!("left:{};right:calc(100% - {})", at(lo), at(hi))) {}
                        span.dot style=(format!("left:{}", at(result.accuracy))) {}
                    }
                    span.value { b { (percent(result.accuracy)) } " " span.faint { (interval(result.ci95)) } }
                }
            }
            div.row.scale aria-hidden="true" {
                span.track {
                    @for tick in [0.0, scale / 2.0, scale] {
                        @let percent = (1000.0 * tick).round() / 10.0;
                        span.tick style=(format!("left:{}", at(tick))) { (percent) " %" }
                    }
                }
            }
        }
    }
}

fn stage_table(report: &Report) -> Markup {
    let tasks: BTreeSet<&String> = report.stages.values().flat_map(|r| r.by_task.keys()).collect();
    let with_loss = report.stages.values().any(|r| r.loss.is_some());
    html! {
        section {
            h2 { "Held-out problems" }
            p.faint { "Share right with its 95 % interval; intervals resample problems." }
            div.scroll { table {
                thead { tr {
                    th { "stage" } th { "all" }
                    @for task in &tasks { th { (visible(task)) } }
                    th { "well-formed" } th { "mean length" } th { "could not judge" }
                    @if with_loss { th { "loss" } }
                } }
                tbody { @for (&stage, result) in &report.stages {
                    tr.(class(stage)) {
                        th scope="row" { span.key {} (name(stage)) }
                        td { b { (percent(result.accuracy)) } br; span.faint { (interval(result.ci95)) } }
                        @for task in &tasks {
                            td { @if let Some(part) = result.by_task.get(*task) {
                                (percent(part.accuracy)) span.faint { " of " (part.n) } br;
                                span.faint { (interval(part.ci95)) }
                            } @else { "–" } }
                        }
                        td { (percent(result.well_formed)) }
                        td { (format!("{:.0}", result.mean_length)) span.faint { " tokens" } }
                        td { (result.could_not_judge) }
                        @if with_loss {
                            td { @if let Some(loss) = result.loss {
                                (format!("{loss:.3}"))
                                @if let Some([lo, hi]) = result.loss_ci95 {
                                    br; span.faint { (format!("[{lo:.3}, {hi:.3}]")) }
                                }
                            } @else { "–" } }
                        }
                    }
                } }
            } }
        }
    }
}

/// A control is drawn over what it controls for.
const PLOT_GROUPS: [(&str, &[Stage]); 6] = [
    ("Pre-training", &[Stage::Base]),
    ("R1-Zero", &[Stage::Zero]),
    ("Supervised fine-tuning", &[Stage::Sft, Stage::Sft2, Stage::ControlSftMore]),
    ("Reinforcement learning", &[Stage::Rl, Stage::Rl2, Stage::ControlRandomReward]),
    ("Student: supervised", &[Stage::StudentBase, Stage::StudentSft, Stage::StudentDistilled]),
    ("Student: on its own samples", &[Stage::StudentRl, Stage::StudentOnPolicy]),
];

fn curves(report: &Report) -> Markup {
    html! {
        @for (title, stages) in PLOT_GROUPS {
            @let curves: Vec<(Stage, &Curve)> = stages.iter()
                .filter_map(|stage| Some((*stage, report.curves.get(stage)?)))
                .flat_map(|(stage, curves)| curves.iter().map(move |curve| (stage, curve)))
                .collect();
            @if !curves.is_empty() {
                section {
                    h2 { (title) }
                    div.plots {
                        @for (i, (_, first)) in curves.iter().enumerate() {
                            @if !curves[..i].iter().any(|(_, earlier)| earlier.name == first.name) {
                                @let series: Vec<Series> = curves.iter()
                                    .filter(|(_, curve)| curve.name == first.name)
                                    .map(|&(stage, curve)| Series {
                                        class: class(stage), label: name(stage), points: &curve.points,
                                    })
                                    .collect();
                                (line_plot(&visible(&first.name), &visible(&first.unit), &series))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn samples(report: &Report) -> Markup {
    html! {
        @if !report.samples.is_empty() {
            section {
                h2 { "Samples, before and after RL" }
                @for set in &report.samples {
                    article {
                        p.problem { (visible(&set.problem)) }
                        p.faint { (visible(&set.task)) " · reference: " (visible(&set.gold)) }
                        div.pair {
                            (sample("before RL", &set.before))
                            (sample("after RL", &set.after))
                        }
                    }
                }
            }
        }
    }
}

fn sample(when: &str, sample: &Sample) -> Markup {
    let (class, word) = match sample.verdict {
        Verdict::Right => ("right", "✓ right"),
        Verdict::Wrong => ("wrong", "✗ wrong"),
        Verdict::CouldNotJudge => ("unjudged", "? could not judge"),
    };
    let (thinking, answer) = split_thinking(&sample.text);
    html! {
        div.sample.(class) {
            p.verdict { span.faint { (when) } b { (word) } }
            div.text {
                @if sample.text.is_empty() { span.thinking { "(nothing)" } }
                span.thinking { (visible(thinking)) }
                (visible(answer))
            }
        }
    }
}

/// Thinking with its closing tag, then the rest. The opening tag may be missing, for a chat
/// template can put it into the prompt; without a closing tag an opened thought never ended.
fn split_thinking(text: &str) -> (&str, &str) {
    const END: &str = "</think>";
    match text.find(END) {
        Some(at) => text.split_at(at + END.len()),
        None if text.trim_start().starts_with("<think>") => (text, ""),
        None => ("", text),
    }
}

fn costs(report: &Report) -> Markup {
    html! {
        @if !report.costs.is_empty() {
            section {
                h2 { "Cost" }
                div.scroll { table {
                    thead { tr { th { "part" } th { "time" } th { "tokens" } th { "tokens/s" } th { "core-hours" } } }
                    tbody { @for cost in &report.costs {
                        tr {
                            th scope="row" { (visible(&cost.stage)) }
                            td { (duration(cost.seconds)) }
                            td { (count(cost.tokens)) }
                            td { @if cost.tokens > 0 && cost.seconds > 0.0 {
                                (count((cost.tokens as f64 / cost.seconds) as u64))
                            } @else { "–" } }
                            td { (format!("{:.3}", cost.core_hours)) }
                        }
                    } }
                    tfoot { tr {
                        th scope="row" { "whole run" }
                        td { (duration(report.seconds)) } td { (count(report.tokens)) } td {}
                        td { (format!("{:.3}", report.core_hours)) }
                    } }
                } }
            }
        }
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Base => "Base model",
        Stage::BaseTemplate => "Base model, R1-Zero's template",
        Stage::Zero => "R1-Zero",
        Stage::Sft => "Cold-start SFT",
        Stage::Rl => "RL",
        Stage::Sft2 => "SFT on kept samples",
        Stage::Rl2 => "Second RL",
        Stage::StudentBase => "Student: base model",
        Stage::StudentSft => "Student: cold-start SFT",
        Stage::StudentRl => "Student: RL",
        Stage::StudentDistilled => "Student: distilled",
        Stage::StudentOnPolicy => "Student: on-policy distilled",
        Stage::ControlSftMore => "Control: more SFT",
        Stage::ControlRandomReward => "Control: random reward",
    }
}

/// The CSS class that colours a stage.
fn class(stage: Stage) -> &'static str {
    match stage {
        Stage::Base => "base",
        Stage::BaseTemplate => "base-template",
        Stage::Zero => "zero",
        Stage::Sft => "sft",
        Stage::Rl => "rl",
        Stage::Sft2 => "sft2",
        Stage::Rl2 => "rl2",
        Stage::StudentBase => "student-base",
        Stage::StudentSft => "student-sft",
        Stage::StudentRl => "student-rl",
        Stage::StudentDistilled => "student-distilled",
        Stage::StudentOnPolicy => "student-on-policy",
        Stage::ControlSftMore => "sft-more",
        Stage::ControlRandomReward => "random-reward",
    }
}

/// Control and direction characters, which could hide or reorder text, become U+FFFD.
fn visible(text: &str) -> Cow<'_, str> {
    let hides = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(hides) { Cow::Owned(text.replace(hides, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn interval([lo, hi]: [f64; 2]) -> String {
    format!("{:.1}–{:.1}", 100.0 * lo, 100.0 * hi)
}

fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1} k", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", number as f64 / 1e6),
        _ => format!("{:.2} G", number as f64 / 1e9),
    }
}
