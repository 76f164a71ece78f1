//! The figures that open a report: what RL gave in large, every stage on one scale, sizes and costs.

use maud::{Markup, html};

use super::terms::task_line;
use super::words::{class, count, duration, interval, name, percent, points, signed_interval, visible};
use crate::report::story::before_and_after;
use crate::report::{Report, RunKind, Stage, StageResult, difference_on};

/// What RL gave, every stage on one scale, and what the run cost.
pub fn headline(report: &Report) -> Markup {
    html! {
        section.headline {
            @if let Some([before, after]) = before_and_after(report) { (gain(before, after)) }
            (interval_plot(report))
            (facts(report))
        }
    }
}

/// The share right before and after RL, and the same of each task.
fn gain((before_stage, before): (Stage, &StageResult), (after_stage, after): (Stage, &StageResult)) -> Markup {
    html! {
        p.big {
            span.(class(before_stage)) { (percent(before.accuracy)) }
            span.faint { " → " }
            span.(class(after_stage)) { (percent(after.accuracy)) }
        }
        p.faint { "of held-out problems right, at the start and at the end of RL; in parentheses 95 % intervals" }
        ul.tasks {
            @for (task, of_task) in &after.by_task {
                @if let (Some(start), Some(gain)) = (before.by_task.get(task), difference_on(task, after, before)) {
                    li {
                        b { (visible(task)) } ": " (percent(start.accuracy)) " → "
                        (percent(of_task.accuracy)) ", " (points(gain.value)) " "
                        span.faint { "(" (signed_interval(gain.ci95)) ")" }
                        @if let Some(line) = task_line(task) { br; span.faint { (line) } }
                    }
                }
            }
        }
    }
}

/// A dot and a 95 % interval per stage, on one scale from zero.
fn interval_plot(report: &Report) -> Markup {
    let highest = report.stages.values().map(|r| r.ci95[1].max(r.accuracy)).fold(0.0, f64::max);
    let scale = scale_for(highest);
    let at = |share: f64| format!("{:.2}%", 100.0 * (share / scale).clamp(0.0, 1.0));
    html! {
        @if !report.stages.is_empty() {
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
                (axis(scale))
            }
        }
    }
}

/// The end of an axis of shares that holds `highest`.
pub fn scale_for(highest: f64) -> f64 {
    [0.05, 0.1, 0.2, 0.5, 1.0].into_iter().find(|s| highest <= *s).unwrap_or(1.0)
}

/// The axis below rows of shares.
pub fn axis(scale: f64) -> Markup {
    html! {
        div.row.scale aria-hidden="true" {
            span.track {
                @for tick in [0.0, 0.5, 1.0] {
                    @let percent = (1000.0 * tick * scale).round() / 10.0;
                    span.tick style=(format!("left:{}%", 100.0 * tick)) { (percent) " %" }
                }
            }
        }
    }
}

/// Sizes and costs.
fn facts(report: &Report) -> Markup {
    let model = [Stage::Rl, Stage::Zero, Stage::Sft, Stage::Base].into_iter().chain(report.kind.stage());
    let size = model.filter_map(|stage| report.models.get(&stage)).next();
    html! {
        dl.facts {
            @if let Some(size) = size {
                div { dt { "parameters" } dd { (count(size.all)) } }
                @if size.active != size.all { div { dt { "active in each token" } dd { (count(size.active)) } } }
            }
            div { dt { "time" } dd { (duration(report.seconds)) } }
            div { dt { "core-hours" } dd { (format!("{:.2}", report.core_hours)) } }
            div { dt { "tokens" } dd { (count(report.tokens)) } }
            @if report.peak_rss_mb > 0.0 { div { dt { "peak memory" } dd { (format!("{:.0} MB", report.peak_rss_mb)) } } }
        }
        @if report.kind == RunKind::Chain && report.stages.contains_key(&Stage::ControlSftMore) {
            p.faint { "Time, core-hours and tokens include the controls." }
        }
    }
}
