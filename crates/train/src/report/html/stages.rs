//! What the stages reached: the questions and the tables.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::terms::{task_line, terms};
use super::words::{class, interval, name, percent, points, signed_interval, verdict, visible};
use super::{grid_class, scroll};
use crate::report::{Report, Share, StageResult, answered, difference_on};

/// Each question with its verdict, the difference behind it, and that of each task.
pub fn questions(report: &Report) -> Markup {
    let answers: Vec<_> = answered(report).collect();
    let all_paired = answers.iter().all(|(_, difference)| difference.paired);
    html! {
        @if !answers.is_empty() {
            section #questions {
                h2 { "Questions" }
                p.faint {
                    "An answer is yes or no where the 95 % interval of the difference leaves out zero. It is an answer "
                    "about these two models: another seed may give another. "
                    @if all_paired { "Differences are taken problem by problem." }
                    @else { "Problems could not be compared one by one, so intervals are wider than they might be." }
                }
                div class=(grid_class(answers.len())) {
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
    let columns = 5
        + usize::from(with_majority)
        + usize::from(most.is_some())
        + usize::from(with_language)
        + usize::from(with_loss);
    let table = html! {
        table {
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
        }
    };
    let mut meanings =
        vec![("right".to_owned(), "Of each problem the share of right samples, averaged over problems.")];
    if with_majority {
        meanings.push((
            "majority".to_owned(),
            "The share of problems whose most frequent answer is right, when a problem's samples vote.",
        ));
    }
    if let Some(k) = most {
        meanings.push((format!("pass@{k}"), "The chance that at least one of so many samples of a problem is right."));
    }
    meanings.push(("well-formed".to_owned(), "The share of samples in the think/answer format; others are wrong."));
    meanings.push(("mean length".to_owned(), "Of a sample, its thinking included."));
    if with_language {
        meanings
            .push(("in its language".to_owned(), "The mean share of the thinking's words in the question's language."));
    }
    meanings.push((
        "could not judge".to_owned(),
        "Samples on which the verifier gave no verdict, which count neither as right nor as wrong.",
    ));
    if with_loss {
        meanings.push((
            "loss".to_owned(),
            "How badly the model predicts worked solutions of these problems, in nats per token. A nat is the unit of \
             surprise in natural logarithms: 0 is a certain prediction, and ln 2 = 0.69 a choice between two. RL need not \
             write as the solutions do, so it may raise it.",
        ));
    }
    html! {
        @if !report.stages.is_empty() {
            section #results {
                h2 { "Held-out problems" }
                p.faint { "Shares with their 95 % intervals, which say how far other problems of the kind would move them." }
                (terms("What the columns mean", &meanings))
                (scroll(columns, &table))
                (task_table(report))
            }
        }
    }
}

/// The stages task by task, where there are several.
fn task_table(report: &Report) -> Markup {
    let tasks: BTreeSet<&String> = report.stages.values().flat_map(|r| r.by_task.keys()).collect();
    let lines: Vec<(String, &str)> =
        tasks.iter().filter_map(|task| Some(((*task).clone(), task_line(task)?))).collect();
    let table = html! {
        table {
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
        }
    };
    html! {
        @if tasks.len() > 1 {
            h3 { "Task by task" }
            (terms("What the tasks ask", &lines))
            (scroll(tasks.len() + 1, &table))
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
