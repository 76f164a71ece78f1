//! The page of two recipes, each from several seeds.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::compare::{changes, overlaid};
use super::dots::{Row, dots};
use super::seeds::mean;
use super::words::{class, name, points, signed_interval, verdict, visible};
use super::{document, guide, scroll, story};
use crate::report::{Contrast, Curve, Recipes, Report, Stage, of_recipes};

/// Two recipes over seeds: `names` are what their runs are called.
pub fn recipes_page(names: [&[String]; 2], runs: [&[Report]; 2], recipes: &Recipes) -> String {
    let rows: Vec<Row> = (recipes.stages.iter())
        .flat_map(|(&stage, contrast)| {
            [("A", "run-a", &contrast.all.a), ("B", "run-b", &contrast.all.b)].map(|(letter, class, spread)| Row {
                label: format!("{} {letter}", name(stage)),
                class,
                spread,
            })
        })
        .collect();
    let curves = runs.map(mean_curves);
    let called = |names: &[String]| names.iter().map(|name| visible(name)).collect::<Vec<_>>().join(", ");
    let body = html! {
        (story(&of_recipes(recipes)))
        dl.sides { dt { "A" } dd { (called(names[0])) } dt { "B" } dd { (called(names[1])) } }
        section #results {
            h2 { "Held-out problems right" }
            (dots(&rows))
            p.faint {
                "B − A is the difference of the means in points, with its 95 % interval over seeds: "
                @if recipes.paired { "Student's t of the differences, seed by seed." }
                @else { "Welch's t, for the two recipes did not run from the same seeds." }
            }
            (scroll(4, &stages(recipes)))
        }
        (changes("Recipes", &recipes.recipe))
        @if !curves[0].is_empty() || !curves[1].is_empty() {
            section #curves {
                h2 { "Curves" }
                p.faint { "A line is the mean over a recipe's seeds; A's is whole, B's dashed." }
                (overlaid([&curves[0], &curves[1]]))
            }
        }
        (guide::guide())
    };
    document("two recipes, several seeds", "A against B", &body)
}

fn stages(recipes: &Recipes) -> Markup {
    html! {
        table {
            thead { tr { th { "stage" } th { "A" } th { "B" } th { "B − A" } } }
            tbody { @for (&stage, contrast) in &recipes.stages {
                tr.(class(stage)) { th scope="row" { span.key {} (name(stage)) } (cells(&contrast.all)) }
                @for (task, of_task) in &contrast.by_task {
                    tr.task { th scope="row" { (visible(task)) } (cells(of_task)) }
                }
            } }
        }
    }
}

fn cells(contrast: &Contrast) -> Markup {
    let (class, _) = verdict(&contrast.difference);
    let word = match contrast.answer {
        crate::report::Answer::Yes => "B is better",
        crate::report::Answer::No => "A is better",
        crate::report::Answer::Open => "cannot tell",
    };
    html! {
        td { (mean(&contrast.a)) }
        td { (mean(&contrast.b)) }
        td.(class) {
            b.word { (word) } ", " (points(contrast.difference.value)) br;
            span.faint { (signed_interval(contrast.difference.ci95)) }
        }
    }
}

/// Each curve's mean over the runs that have the step.
fn mean_curves(runs: &[Report]) -> BTreeMap<Stage, Vec<Curve>> {
    let mut means: BTreeMap<Stage, Vec<Curve>> = BTreeMap::new();
    for (&stage, curves) in runs.iter().flat_map(|run| &run.curves) {
        let of_stage = means.entry(stage).or_default();
        for curve in curves {
            if of_stage.iter().all(|mean| mean.name != curve.name) {
                let all = runs.iter().filter_map(|run| run.curves.get(&stage)?.iter().find(|c| c.name == curve.name));
                of_stage.push(mean_of(&all.collect::<Vec<_>>()));
            }
        }
    }
    means
}

/// `curves` are of one name, at least one.
fn mean_of(curves: &[&Curve]) -> Curve {
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for &(step, value) in curves.iter().flat_map(|curve| &curve.points) {
        if value.is_finite() {
            let (sum, count) = sums.entry(step).or_default();
            *sum += value;
            *count += 1.0;
        }
    }
    let points = sums.into_iter().map(|(step, (sum, count))| (step, sum / count)).collect();
    Curve { name: curves[0].name.clone(), unit: curves[0].unit.clone(), points }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_curve_averages_the_runs_that_have_the_step() {
        let curve = |points| Curve { name: "loss".to_owned(), unit: "nats".to_owned(), points };
        let (a, b) = (curve(vec![(1, 2.0), (2, f64::NAN), (3, 4.0)]), curve(vec![(1, 4.0), (2, 7.0)]));
        assert_eq!(mean_of(&[&a, &b]), curve(vec![(1, 3.0), (2, 7.0), (3, 4.0)]));
    }
}
