//! The pages of `picnic report` on several runs.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::document;
use super::words::{class, name, percent, points, signed_interval, verdict, visible};
use crate::report::svg::{Series, line_plot};
use crate::report::{Answered, Answers, Comparison, Curve, Pair, Report, Seeds, Spread, Stage};

/// Two runs: differences, curves over each other, recipes. `names` are what the runs are called.
pub fn compare_page(names: [&str; 2], runs: [&Report; 2], comparison: &Comparison) -> String {
    let body = html! {
        p { "A: " b { (visible(names[0])) } br; "B: " b { (visible(names[1])) } }
        section {
            h2 { "Held-out problems" }
            p.faint { "Share right, and B less A in points with its 95 % interval." }
            div.scroll { table {
                thead { tr { th { "stage" } th { "A" } th { "B" } th { "B − A" } } }
                tbody { @for (&stage, pairs) in &comparison.stages {
                    tr.(class(stage)) { th scope="row" { span.key {} (name(stage)) } (pair(&pairs.all)) }
                    @for (task, of_task) in &pairs.by_task {
                        tr.task { th scope="row" { (visible(task)) } (pair(of_task)) }
                    }
                } }
            } }
        }
        section {
            h2 { "Recipes" }
            @if comparison.recipe.is_empty() { p { "The recipes are the same." } } @else {
                div.scroll { table {
                    thead { tr { th { "key" } th { "A" } th { "B" } } }
                    tbody { @for change in &comparison.recipe {
                        tr {
                            th scope="row" { (visible(&change.key)) }
                            td.long { (visible(change.a.as_deref().unwrap_or("–"))) }
                            td.long { (visible(change.b.as_deref().unwrap_or("–"))) }
                        }
                    } }
                } }
            }
        }
        (overlaid(runs))
    };
    document("two runs", &format!("{} and {}", names[0], names[1]), &body)
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

/// Every curve that either run has, the second run's dashed.
fn overlaid(runs: [&Report; 2]) -> Markup {
    let stages: BTreeSet<Stage> = runs.iter().flat_map(|run| run.curves.keys().copied()).collect();
    let of = |run: usize, stage: Stage| runs[run].curves.get(&stage).into_iter().flatten();
    html! {
        @for stage in stages {
            @let all: Vec<&Curve> = of(0, stage).chain(of(1, stage)).collect();
            section {
                h2 { (name(stage)) }
                div.plots {
                    @for (i, first) in all.iter().enumerate() {
                        @if !all[..i].iter().any(|earlier| earlier.name == first.name) {
                            @let series: Vec<Series> = [("run-a", "A"), ("run-b", "B")].iter().enumerate()
                                .filter_map(|(run, (class, label))| {
                                    let curve = of(run, stage).find(|curve| curve.name == first.name)?;
                                    Some(Series { class, label, points: &curve.points })
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

/// One recipe from several seeds: how far they spread, and whether they agree on the questions.
pub fn seeds_page(title: &str, names: &[String], seeds: &Seeds) -> String {
    let body = html! {
        section {
            h2 { "Over " (names.len()) " runs" }
            div.scroll { table {
                thead { tr { th { "stage" } th { "median" } th { "least to greatest" } } }
                tbody { @for (&stage, spread) in &seeds.stages {
                    tr.(class(stage)) { th scope="row" { span.key {} (name(stage)) } (range(&spread.all)) }
                    @for (task, of_task) in &spread.by_task {
                        tr.task { th scope="row" { (visible(task)) } (range(of_task)) }
                    }
                } }
            } }
        }
        section {
            h2 { "Questions" }
            p.faint {
                "The mean difference of the runs, with its interval over other seeds, which is wide where they are few; "
                "then that of each run, with its interval over other problems. An answer that changes with the seed is "
                "none."
            }
            div.scroll { table {
                thead { tr { th { "question" } th { "over seeds" } @for name in names { th { (visible(name)) } } } }
                tbody { @for asked in &seeds.questions {
                    tr { th scope="row" { (asked.question) } (answers(&asked.answers.all)) }
                    @for (task, of_task) in &asked.answers.by_task {
                        tr.task { th scope="row" { (visible(task)) } (answers(of_task)) }
                    }
                } }
            } }
        }
    };
    document("one recipe, several seeds", title, &body)
}

fn range(spread: &Spread) -> Markup {
    html! {
        td { b { (percent(spread.median)) } }
        td { (percent(spread.min)) " – " (percent(spread.max)) }
    }
}

fn answers(answers: &Answers) -> Markup {
    html! {
        @for Answered { difference, .. } in [&answers.together].into_iter().chain(&answers.runs) {
            @let (class, word) = verdict(difference);
            td.(class) {
                b.word { (word) } br; (points(difference.value)) br;
                span.faint { (signed_interval(difference.ci95)) }
            }
        }
    }
}
