//! The page of two runs.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::curves::shown_and_folded;
use super::folding::{Line, fold};
use super::words::{class, name, percent, points, signed_interval, visible};
use super::{document, guide, scroll, story};
use crate::report::{Changed, Comparison, Curve, Pair, Report, Stage, brief, of_comparison};

/// Two runs: differences, curves over each other, recipes. `names` are what the runs are called.
pub fn compare_page(names: [&str; 2], runs: [&Report; 2], comparison: &Comparison) -> String {
    let table = html! {
        table {
            thead { tr { th { "stage" } th { "A" } th { "B" } th { "B − A" } } }
            tbody { @for (&stage, pairs) in &comparison.stages {
                tr.(class(stage)) { th scope="row" { span.key {} (name(stage)) } (pair(&pairs.all)) }
                @for (task, of_task) in &pairs.by_task {
                    tr.task { th scope="row" { (visible(task)) } (pair(of_task)) }
                }
            } }
        }
    };
    let body = html! {
        (story(&of_comparison(comparison)))
        dl.sides { dt { "A" } dd { (visible(names[0])) } dt { "B" } dd { (visible(names[1])) } }
        section #results {
            h2 { "Held-out problems" }
            p.faint { "Share right, and B less A in points with its 95 % interval." }
            (scroll(4, &table))
        }
        (changes("Recipes", &comparison.recipe))
        section #curves {
            h2 { "Curves" }
            p.faint { "A's line is whole, B's dashed." }
            (overlaid(runs.map(|run| &run.curves)))
        }
        (guide::guide())
    };
    document("two runs", &format!("{} and {}", names[0], names[1]), &body)
}

/// The keys in which two recipes differ.
pub fn changes(title: &str, changes: &[Changed]) -> Markup {
    let table = html! {
        table {
            thead { tr { th { "key" } th { "A" } th { "B" } } }
            tbody { @for change in brief(changes) {
                tr {
                    th scope="row" { (visible(&change.key)) }
                    td.long { (visible(change.a.as_deref().unwrap_or("–"))) }
                    td.long { (visible(change.b.as_deref().unwrap_or("–"))) }
                }
            } }
        }
    };
    html! {
        section #recipe {
            h2 { (title) }
            @if changes.is_empty() { p { "The recipes are the same." } } @else { div.scroll { (table) } }
        }
    }
}

fn pair(pair: &Pair) -> Markup {
    html! {
        @for accuracy in [pair.a, pair.b] {
            td { @if let Some(accuracy) = accuracy { (percent(accuracy)) } @else { "–" } }
        }
        td { @if let Some(difference) = pair.difference {
            b { (points(difference.value)) } br;
            span.faint { (signed_interval(difference.ci95)) }
            @if !difference.paired { br; span.faint { "not paired" } }
        } @else { "–" } }
    }
}

/// Every curve that either side has, the second side's dashed.
pub fn overlaid(sides: [&BTreeMap<Stage, Vec<Curve>>; 2]) -> Markup {
    let stages: BTreeSet<Stage> = sides.iter().flat_map(|side| side.keys().copied()).collect();
    html! {
        @for stage in stages {
            section {
                h3 { (name(stage)) }
                (plots(sides.map(|side| side.get(&stage).map_or(&[][..], Vec::as_slice))))
            }
        }
    }
}

/// The curves of both runs by name, and folded away what tells nothing in either.
fn plots(sides: [&[Curve]; 2]) -> Markup {
    let lines = [("run-a", "A"), ("run-b", "B")].map(|(class, label)| Line { class, label });
    let curves: Vec<(Line, &Curve)> =
        lines.into_iter().zip(sides).flat_map(|(line, side)| side.iter().map(move |curve| (line, curve))).collect();
    shown_and_folded(&fold(&curves).iter().collect::<Vec<_>>())
}
