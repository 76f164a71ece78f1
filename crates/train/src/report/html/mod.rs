//! `report.html`: one self-contained page that needs no network and no script.
//!
//! `maud` escapes every text that goes in; [`visible`] first makes the characters seen that could
//! disguise it. The page's own content policy forbids scripts and requests a second time.

mod compare;
mod curves;
mod dots;
mod figures;
mod folding;
mod guide;
mod next;
mod recipes;
mod samples;
mod seeds;
mod stages;
mod terms;
pub mod words;

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Report, RunKind, of_run};
pub use compare::compare_page;
pub use recipes::recipes_page;
pub use seeds::seeds_page;
use words::{count, duration, visible};

const STYLE: &str = include_str!("../style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The report of one run, which lies in `folder`.
pub fn page(report: &Report, folder: &Path) -> String {
    let body = html! {
        (story(&of_run(report)))
        (figures::headline(report))
        (contents(report))
        (stages::questions(report))
        (stages::table(report))
        (samples::samples(report))
        (curves::curves(report))
        (costs(report))
        (next::next(report, folder))
        @if !report.notes.is_empty() {
            section #notes { h2 { "Notes" } ul { @for note in &report.notes { li { (visible(note)) } } } }
        }
        section #recipe {
            h2 { "Recipe" }
            details {
                summary { "Every setting, defaults and overrides filled in" }
                pre { (visible(&report.recipe_toml)) }
            }
        }
        (guide::guide())
    };
    let kind = match report.kind {
        RunKind::Chain => "report of one run".to_owned(),
        kind => format!("report of one stage, picnic {}", kind.command()),
    };
    document(&kind, &report.recipe_name, &body)
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

/// What was made, what it gave, what cannot be told.
fn story(sentences: &[String; 3]) -> Markup {
    html! { section.story { @for sentence in sentences { p { (visible(&with_bound_units(sentence))) } } } }
}

/// The text with no line break between a number and its unit.
fn with_bound_units(text: &str) -> String {
    const UNITS: [&str; 8] = ["%", "k", "M", "G", "s", "min", "h", "points"];
    let mut words = text.split(' ').peekable();
    let mut bound = String::with_capacity(text.len());
    while let Some(word) = words.next() {
        bound += word;
        let ends_in_digit = word.ends_with(|c: char| c.is_ascii_digit());
        let unit = |next: &&str| UNITS.contains(&next.trim_end_matches([',', '.', ';', ')']));
        match words.peek() {
            Some(next) if ends_in_digit && unit(next) => bound.push('\u{a0}'),
            Some(_) => bound.push(' '),
            None => {}
        }
    }
    bound
}

/// The class of a grid of `count` cells, by which no row holds a single one: where three to a row would leave one over,
/// the last four stand two by two; where two to a row would, the first is as wide as both.
fn grid_class(count: usize) -> &'static str {
    match (count % 2 == 1 && count > 1, count % 3 == 1 && count > 1) {
        (false, false) => "cells",
        (true, false) => "cells odd",
        (false, true) => "cells fours",
        (true, true) => "cells odd fours",
    }
}

/// Links to what the page has.
fn contents(report: &Report) -> Markup {
    let sections = [
        ("questions", "Questions", super::answered(report).next().is_some()),
        ("results", "Held-out problems", !report.stages.is_empty()),
        ("samples", "Samples", !report.samples.is_empty()),
        ("curves", "Curves", !report.curves.is_empty()),
        ("cost", "Cost", !report.costs.is_empty()),
        ("next", "What next", true),
        ("recipe", "Recipe", true),
        ("guide", "How to read this page", true),
    ];
    html! {
        nav aria-label="Sections of this page" {
            @for (id, title, _) in sections.into_iter().filter(|(.., there)| *there) { a href=(format!("#{id}")) { (title) } }
        }
    }
}

/// A table that scrolls sideways where it is wider than the screen, with a sign that it does. `columns` counts all of
/// them.
fn scroll(columns: usize, table: &Markup) -> Markup {
    // So many fit a phone.
    const FIT: usize = 2;
    html! {
        @if columns > FIT { p.sideways aria-hidden="true" { "The table goes on to the right →" } }
        // Whoever has no pointer scrolls it by the arrow keys.
        div.scroll tabindex="0" role="region" aria-label="Table" { (table) }
    }
}

fn costs(report: &Report) -> Markup {
    let table = html! {
        table {
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
        }
    };
    html! {
        @if !report.costs.is_empty() {
            section #cost {
                h2 { "Cost" }
                p.faint {
                    "Tokens count as often as a model read or wrote them. A core-hour is one core busy for an hour, so two "
                    "cores use two in an hour."
                }
                (scroll(5, &table))
            }
        }
    }
}
