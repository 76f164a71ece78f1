//! What the stages reached: the headline, the questions, the tables.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::words::{class, count, duration, interval, name, percent, points, signed_interval, verdict, visible};
use crate::report::{Report, Share, Stage, StageResult, answered, difference, difference_on};

/// Where RL began and what it made: the first of these that a run has is its headline.
const BEFORE_AND_AFTER: [(Stage, Stage); 3] =
    [(Stage::Sft, Stage::Rl), (Stage::BaseTemplate, Stage::Zero), (Stage::StudentSft, Stage::StudentRl)];

/// What else might have given what RL gave.
const CONTROLS: [(Stage, &str); 2] =
    [(Stage::ControlSftMore, "more SFT at equal compute"), (Stage::ControlRandomReward, "RL with a coin for a reward")];

/// What RL gave, every stage on one scale, and what the run cost.
pub fn headline(report: &Report) -> Markup {
    let pair = BEFORE_AND_AFTER
        .iter()
        .find_map(|(before, after)| Some((*before, report.stages.get(before)?, *after, report.stages.get(after)?)));
    html! {
        section.headline {
            @if let Some((before_stage, before, after_stage, after)) = pair {
                @let gain = difference(after, before);
                p.big {
                    span.(class(before_stage)) { (percent(before.accuracy)) }
                    span.faint { " → " }
                    span.(class(after_stage)) { (percent(after.accuracy)) }
                }
                p {
                    "right on held-out problems, from the start of RL to its end: "
                    b { (points(gain.value)) } ", 95 % interval " (signed_interval(gain.ci95)) "."
                    @for (control, what) in CONTROLS {
                        @if let (Stage::Rl, Some(control)) = (after_stage, report.stages.get(&control)) {
                            @let beyond = difference(after, control);
                            " Against " (what) ": " b { (points(beyond.value)) } ", "
                            (signed_interval(beyond.ci95)) "."
                        }
                    }
                }
                ul {
                    @for (task, of_task) in &after.by_task {
                        @if let (Some(start), Some(gain)) =
                            (before.by_task.get(task), difference_on(task, after, before))
                        {
                            li {
                                b { (visible(task)) } ": " (percent(start.accuracy)) " → "
                                (percent(of_task.accuracy)) ", " (points(gain.value)) " "
                                span.faint { "(" (signed_interval(gain.ci95)) ")" }
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

/// Each question with its verdict, the difference behind it, and that of each task.
pub fn questions(report: &Report) -> Markup {
    let answers: Vec<_> = answered(report).collect();
    let all_paired = answers.iter().all(|(_, difference)| difference.paired);
    html! {
        @if !answers.is_empty() {
            section {
                h2 { "Questions" }
                p.faint {
                    "An answer is yes or no where the 95 % interval of the difference leaves out zero. It is an answer "
                    "about these two models: another seed may give another. "
                    @if all_paired { "Differences are taken problem by problem." }
                    @else { "Problems could not be compared one by one, so intervals are wider than they might be." }
                }
                div.questions {
                    @for (question, difference) in &answers {
                        @let (class, word) = verdict(difference);
                        div.question.(class) {
                            h3 { (question.text) }
                            p {
                                b.word { (word) } ": " (name(question.better)) " against " (name(question.than)) " "
                                b { (points(difference.value)) } " "
                                span.faint { "(" (signed_interval(difference.ci95)) ")" }
                            }
                            @let (better, than) = (&report.stages[&question.better], &report.stages[&question.than]);
                            @if better.by_task.len() > 1 {
                                p { @for (i, (task, on_task)) in better.by_task.keys()
                                    .filter_map(|task| Some((task, difference_on(task, better, than)?))).enumerate()
                                {
                                    @if i > 0 { ", " }
                                    (visible(task)) " " (points(on_task.value)) " "
                                    span.faint { "(" (signed_interval(on_task.ci95)) ")" }
                                } }
                            }
                            p.faint { (question.why) }
                        }
                    }
                }
            }
        }
    }
}

/// All stages and all that was measured of them.
pub fn table(report: &Report) -> Markup {
    let results = || report.stages.values();
    let most = results().flat_map(|r| r.pass_at_k.keys()).max();
    let with_loss = results().any(|r| r.loss.is_some());
    let with_language = results().any(|r| r.language.is_some());
    let with_majority = results().any(|r| r.majority.is_some());
    html! {
        section {
            h2 { "Held-out problems" }
            p.faint {
                "Share right with its 95 % interval, which resamples problems"
                @if let Some(k) = most { "; the majority of " (k) " samples, and one right among " (k) }
                "."
            }
            div.scroll { table {
                thead { tr {
                    th { "stage" } th { "right" }
                    @if with_majority { th { "majority" } }
                    @if let Some(k) = most { th { "pass@" (k) } }
                    th { "well-formed" } th { "mean length" }
                    @if with_language { th { "in its language" } }
                    th { "could not judge" }
                    @if with_loss { th { "loss" } }
                } }
                tbody { @for (&stage, result) in &report.stages {
                    tr.(class(stage)) {
                        th scope="row" { span.key {} (name(stage)) }
                        td { (share(Some(&Share { value: result.accuracy, ci95: result.ci95 }))) }
                        @if with_majority { td { (share(result.majority.as_ref())) } }
                        @if let Some(k) = most { td { (share(result.pass_at_k.get(k))) } }
                        td { (percent(result.well_formed)) }
                        td { (format!("{:.0}", result.mean_length)) span.faint { " tokens" } }
                        @if with_language { td { (result.language.map_or("–".to_owned(), percent)) } }
                        td { (result.could_not_judge) }
                        @if with_loss { td { (loss(result)) } }
                    }
                } }
            } }
            (task_table(report))
        }
    }
}

/// The stages task by task, where there are several.
fn task_table(report: &Report) -> Markup {
    let tasks: BTreeSet<&String> = report.stages.values().flat_map(|r| r.by_task.keys()).collect();
    html! {
        @if tasks.len() > 1 {
            h3 { "Task by task" }
            div.scroll { table {
                thead { tr { th { "stage" } @for task in &tasks { th { (visible(task)) } } } }
                tbody { @for (&stage, result) in &report.stages {
                    tr.(class(stage)) {
                        th scope="row" { span.key {} (name(stage)) }
                        @for task in &tasks {
                            td { @if let Some(part) = result.by_task.get(*task) {
                                b { (percent(part.accuracy)) } span.faint { " of " (part.n) } br;
                                span.faint { (interval(part.ci95)) }
                                @if let Some(majority) = &part.majority {
                                    br; span.faint { "majority " (percent(majority.value)) }
                                }
                                @if let Some((k, pass)) = part.pass_at_k.last_key_value() {
                                    br; span.faint { "pass@" (k) " " (percent(pass.value)) }
                                }
                            } @else { "–" } }
                        }
                    }
                } }
            } }
        }
    }
}

fn share(share: Option<&Share>) -> Markup {
    html! {
        @if let Some(Share { value, ci95 }) = share {
            b { (percent(*value)) } br; span.faint { (interval(*ci95)) }
        } @else { "–" }
    }
}

fn loss(result: &StageResult) -> Markup {
    html! {
        @if let Some(loss) = result.loss {
            (format!("{loss:.3}"))
            @if let Some([lo, hi]) = result.loss_ci95 { br; span.faint { (format!("{lo:.3}–{hi:.3}")) } }
        } @else { "–" }
    }
}
