//! Which plots need not be seen: a curve that never moves, and one that another shows already.

use super::words::{class, name};
use crate::report::svg::significant;
use crate::report::{Curve, Stage};

/// What a line of a plot is of: a stage, or one of two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its class in the style sheet.
    pub class: &'static str,
    /// What it is called.
    pub label: &'static str,
}

impl Line {
    /// That of a stage.
    pub fn of(stage: Stage) -> Self {
        Self { class: class(stage), label: name(stage) }
    }
}

/// Curves of one name, which share a plot.
pub struct Plot<'c> {
    /// Their name.
    pub name: &'c str,
    /// Their unit.
    pub unit: &'c str,
    /// The curves with their lines.
    pub series: Vec<(Line, &'c Curve)>,
}

/// What becomes of a plot.
#[derive(Debug, PartialEq)]
pub enum Fold<'c> {
    /// It is shown.
    Shown,
    /// Nothing in it ever moves; the value that it stands at, or all of them.
    Flat(String),
    /// It rises and falls with the plot of this name.
    Follows(&'c str),
    /// It rises where the plot of this name falls.
    Mirrors(&'c str),
}

/// Two curves of so great a correlation, of either sign, tell the same.
const ALIKE: f64 = 0.98;

/// Of fewer points than this any two curves may look alike.
const FEWEST: usize = 8;

/// The plots that `curves` make, in the order of their first curves, and what becomes of each. A plot is compared with
/// those before it that are shown.
pub fn fold<'c>(curves: &[(Line, &'c Curve)]) -> Vec<(Plot<'c>, Fold<'c>)> {
    let mut plots: Vec<(Plot, Fold)> = Vec::new();
    for (i, (_, first)) in curves.iter().enumerate() {
        if curves[..i].iter().any(|(_, earlier)| earlier.name == first.name) {
            continue;
        }
        let series = curves.iter().filter(|(_, curve)| curve.name == first.name).copied().collect();
        let plot = Plot { name: &first.name, unit: &first.unit, series };
        let mut shown = plots.iter().filter(|(_, fold)| *fold == Fold::Shown).map(|(plot, _)| plot);
        let like = shown.find_map(|other| {
            let r = correlation(&plot, other).filter(|r| r.abs() >= ALIKE)?;
            Some((other.name, r))
        });
        let fold = match (flat(&plot), like) {
            (Some(values), _) => Fold::Flat(values),
            (None, Some((name, r))) if r > 0.0 => Fold::Follows(name),
            (None, Some((name, _))) => Fold::Mirrors(name),
            (None, None) => Fold::Shown,
        };
        plots.push((plot, fold));
    }
    plots
}

/// The values at which the curves stand if none of them ever moves; with their lines' labels where they differ.
fn flat(plot: &Plot) -> Option<String> {
    let values = plot.series.iter().map(|(line, curve)| {
        let (_, first) = *curve.points.first()?;
        let stands = curve.points.len() > 1 && curve.points.iter().all(|(_, value)| *value == first);
        stands.then(|| (line.label, significant(first)))
    });
    let values = values.collect::<Option<Vec<_>>>()?;
    if values.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        return values.first().map(|(_, value)| value.clone());
    }
    Some(values.iter().map(|(label, value)| format!("{label} {value}")).collect::<Vec<_>>().join(", "))
}

/// The correlation of two plots within their lines, all lines together: one that hardly moves weighs little. `None`
/// unless they have the same lines and steps, enough of them, and both move.
fn correlation(a: &Plot, b: &Plot) -> Option<f64> {
    if a.series.len() != b.series.len() {
        return None;
    }
    let (mut of_a, mut of_b, mut together, mut count) = (0.0, 0.0, 0.0, 0);
    for ((line_a, a), (line_b, b)) in a.series.iter().zip(&b.series) {
        let same_steps = a.points.iter().map(|point| point.0).eq(b.points.iter().map(|point| point.0));
        if line_a != line_b || !same_steps {
            return None;
        }
        let (mean_a, mean_b) = (mean(a), mean(b));
        for ((_, a), (_, b)) in a.points.iter().zip(&b.points) {
            of_a += (a - mean_a) * (a - mean_a);
            of_b += (b - mean_b) * (b - mean_b);
            together += (a - mean_a) * (b - mean_b);
        }
        count += a.points.len();
    }
    let r = together / (of_a * of_b).sqrt();
    (count >= FEWEST && r.is_finite()).then_some(r)
}

fn mean(curve: &Curve) -> f64 {
    curve.points.iter().map(|point| point.1).sum::<f64>() / curve.points.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, of: impl Fn(f64) -> f64) -> Curve {
        let points = (1..=30).map(|step| (step, of(step as f64))).collect();
        Curve { name: name.to_owned(), unit: String::new(), points }
    }

    #[test]
    fn curves_that_tell_nothing_are_folded() {
        let wave = |x: f64| (x / 3.0).sin();
        let curves = [
            curve("reward", wave),
            curve("could not judge", |_| 0.0),
            curve("well-formed", |x| 0.5 - 0.1 * wave(x)),
            curve("right", |x| 3.0 + 2.0 * wave(x) + 0.01 * (x * 7.0).cos()),
            curve("length", |x| x * x),
            curve("words", |x| 40.0 - x * x / 2.0),
        ];
        let curves: Vec<(Line, &Curve)> = curves.iter().map(|curve| (Line::of(Stage::Rl), curve)).collect();
        let folds: Vec<Fold> = fold(&curves).into_iter().map(|(_, fold)| fold).collect();
        assert_eq!(
            folds,
            [
                Fold::Shown,
                Fold::Flat("0".to_owned()),
                Fold::Mirrors("reward"),
                Fold::Follows("reward"),
                Fold::Shown,
                Fold::Mirrors("length")
            ]
        );
    }

    #[test]
    fn every_line_of_a_plot_counts() {
        let (rises, falls) = (curve("a", |x| x), curve("b", |x| -x));
        let (also_rises, wave) = (curve("a", |x| 2.0 * x), curve("b", |x| 20.0 * (x / 2.0).sin()));
        // b mirrors a in one line and not in the other.
        let [rl, rl2] = [Stage::Rl, Stage::Rl2].map(Line::of);
        let curves = [(rl, &rises), (rl2, &also_rises), (rl, &falls), (rl2, &wave)];
        assert!(fold(&curves).iter().all(|(_, fold)| *fold == Fold::Shown));
        // A curve that stands in one stage and moves in the other moves.
        let still = curve("c", |_| 1.0);
        let moving = curve("c", |x| x.sqrt());
        assert_eq!(fold(&[(rl, &still), (rl2, &moving)])[0].1, Fold::Shown);
    }

    #[test]
    fn a_few_points_are_alike_by_chance() {
        let short = |name: &str| Curve { points: vec![(1, 1.0), (2, 3.0), (3, 2.0)], ..curve(name, |_| 0.0) };
        let (a, b) = (short("a"), short("b"));
        let rl = Line::of(Stage::Rl);
        assert!(fold(&[(rl, &a), (rl, &b)]).iter().all(|(_, fold)| *fold == Fold::Shown));
        // A number that is none makes no correlation, and is no constant.
        let broken = curve("d", |x| if x > 9.0 { f64::NAN } else { x });
        assert_eq!(fold(&[(rl, &broken)])[0].1, Fold::Shown);
    }
}
