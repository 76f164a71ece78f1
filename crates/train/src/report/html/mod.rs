//! `report.html`: one self-contained page that needs no network and no script.
//!
//! `maud` escapes every text that goes in; [`visible`] first makes the characters seen that could
//! disguise it. The page's own content policy forbids scripts and requests a second time.

mod compare;
mod curves;
mod stages;
pub mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Report, Sample, Verdict};
pub use compare::{compare_page, seeds_page};
use words::{count, duration, visible};

const STYLE: &str = include_str!("../style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The report of one run.
pub fn page(report: &Report) -> String {
    let body = html! {
        (stages::headline(report))
        (stages::questions(report))
        (stages::table(report))
        (curves::curves(report))
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
    };
    document("report of one run", &report.recipe_name, &body)
}

/// A page with its head and title around `body`.
fn document(kind: &str, title: &str, body: &Markup) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (visible(title)) " · Picnic" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.faint { "Picnic · " (kind) }
                    h1 { (visible(title)) }
                }
                main { (body) }
            }
        }
    };
    document.into_string()
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
