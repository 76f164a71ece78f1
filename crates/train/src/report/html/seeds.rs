//! The page of one recipe from several seeds.

use maud::{Markup, html};

use super::dots::{Row, dots};
use super::words::{class, name, percent, points, signed_interval, verdict, visible};
use super::{document, guide, scroll, story};
use crate::report::{Answered, Answers, Seeds, Spread, of_seeds};

/// How far the runs spread, and whether they agree on the questions.
pub fn seeds_page(title: &str, names: &[String], seeds: &Seeds) -> String {
    let rows = seeds.stages.iter().map(|(&stage, spread)| Row {
        label: name(stage).to_owned(),
        class: class(stage),
        spread: &spread.all,
    });
    let body = html! {
        (story(&of_seeds(names.len(), seeds)))
        section #results {
            h2 { "Held-out problems right, over " (names.len()) " runs" }
            (dots(&rows.collect::<Vec<_>>()))
            (scroll(4, &stages(seeds)))
        }
        @if !seeds.questions.is_empty() {
            section #questions {
                h2 { "Questions" }
                p.faint {
                    "The mean difference of the runs, with its interval over other seeds, which is wide where they are few; "
                    "then that of each run, with its interval over other problems. An answer that changes with the seed "
                    "is none."
                }
                (scroll(2 + names.len(), &questions(names, seeds)))
            }
        }
        (guide::guide())
    };
    document("one recipe, several seeds", title, &body)
}

fn stages(seeds: &Seeds) -> Markup {
    html! {
        table {
            thead { tr { th { "stage" } th { "median" } th { "least to greatest" } th { "mean over seeds" } } }
            tbody { @for (&stage, spread) in &seeds.stages {
                tr.(class(stage)) { th scope="row" { span.key {} (name(stage)) } (range(&spread.all)) }
                @for (task, of_task) in &spread.by_task {
                    tr.task { th scope="row" { (visible(task)) } (range(of_task)) }
                }
            } }
        }
    }
}

fn range(spread: &Spread) -> Markup {
    html! {
        td { b { (percent(spread.median)) } }
        td { (percent(spread.min)) " – " (percent(spread.max)) }
        td { (mean(spread)) }
    }
}

/// The mean with its interval over seeds.
pub fn mean(spread: &Spread) -> Markup {
    html! {
        b { (percent(spread.mean)) }
        @if let Some([lo, hi]) = spread.ci95 {
            " " span.faint { (super::words::interval([lo.max(0.0), hi.min(1.0)])) }
        }
    }
}

fn questions(names: &[String], seeds: &Seeds) -> Markup {
    html! {
        table {
            thead { tr { th { "question" } th { "over seeds" } @for name in names { th { (visible(name)) } } } }
            tbody { @for asked in &seeds.questions {
                tr { th scope="row" { (asked.question) } (answers(&asked.answers.all)) }
                @for (task, of_task) in &asked.answers.by_task {
                    tr.task { th scope="row" { (visible(task)) } (answers(of_task)) }
                }
            } }
        }
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
