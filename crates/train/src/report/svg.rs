//! Line plots as inline SVG: nice ticks, a smoothed line over the faint raw one, a legend.
//!
//! No scripts, no ids, no colours: a line carries the class of its stage and the style sheet
//! colours it, so that dark mode and print are the style sheet's business alone.

use std::fmt::Write as _;

use maud::{Markup, html};

/// One line of a plot.
pub struct Series<'a> {
    /// CSS class that gives the line its colour.
    pub class: &'a str,
    /// Name in the legend.
    pub label: &'a str,
    /// `(step, value)`, steps ascending. Values that are not finite are left out.
    pub points: &'a [(u64, f64)],
}

// The drawing in SVG units, close to CSS pixels at the width a plot gets on the page.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 34.0;
const INNER_WIDTH: f64 = WIDTH - LEFT - RIGHT;
const INNER_HEIGHT: f64 = HEIGHT - TOP - BOTTOM;

/// More points than this along the x axis fall on each other.
const MAX_COLUMNS: usize = 300;

/// A figure with its caption: name, unit, legend with each line's last smoothed value, plot.
pub fn line_plot(name: &str, unit: &str, series: &[Series]) -> Markup {
    let lines: Vec<Line> = series.iter().filter_map(Line::new).collect();
    let Some((x, y)) = axes(&lines) else {
        return html! { figure { figcaption { b { (name) } } p.faint { "Nothing was recorded." } } };
    };
    let px = |value: f64| x.position(value) * INNER_WIDTH;
    let py = |value: f64| (1.0 - y.position(value)) * INNER_HEIGHT;
    html! {
        figure {
            figcaption {
                b { (name) }
                @if !unit.is_empty() { " " span.faint { "(" (unit) ")" } }
                span.legend {
                    @for line in &lines {
                        span class=(line.class) {
                            span.key {}
                            @if lines.len() > 1 { (line.label) " " }
                            span.faint { (significant(line.last())) }
                        }
                    }
                }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(description(name, unit, &lines)) {
                @for tick in y.ticks() {
                    @let at = format!("{:.1}", TOP + py(tick));
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(at) y2=(at) {}
                    text.tick x=(LEFT - 6.0) y=(at) dy="0.32em" text-anchor="end" { (y.label(tick)) }
                }
                @for tick in x.ticks() {
                    @let at = format!("{:.1}", LEFT + px(tick));
                    text.tick x=(at) y=(HEIGHT - BOTTOM + 15.0) text-anchor="middle" { (x.label(tick)) }
                }
                text.tick x=(LEFT + INNER_WIDTH / 2.0) y=(HEIGHT - 3.0) text-anchor="middle" { "step" }
                // A nested drawing clips what leaves the axes, outliers of the raw line above all.
                svg x=(LEFT) y=(TOP) width=(INNER_WIDTH) height=(INNER_HEIGHT) {
                    @for line in &lines {
                        path.raw.(line.class) d=(path(&line.raw, px, py)) {}
                    }
                    @for line in &lines {
                        path.smooth.(line.class) d=(path(&line.smooth, px, py)) {}
                    }
                }
            }
        }
    }
}

/// What a screen reader says instead of the picture.
fn description(name: &str, unit: &str, lines: &[Line]) -> String {
    let mut text = format!("{name} by step");
    for line in lines {
        let (from, to) = (significant(line.smooth[0].1), significant(line.last()));
        let _ = write!(text, "; {}: from {from} to {to} {unit}", line.label);
    }
    text
}

/// A series ready to draw: finite, smoothed, no denser than the plot. Never empty.
struct Line<'a> {
    class: &'a str,
    label: &'a str,
    raw: Vec<(f64, f64)>,
    smooth: Vec<(f64, f64)>,
}

impl<'a> Line<'a> {
    fn new(series: &Series<'a>) -> Option<Self> {
        let points: Vec<(f64, f64)> = series
            .points
            .iter()
            // Beyond ±1e100 differences overflow; no curve of ours has business there.
            .filter(|(_, value)| value.abs() < 1e100)
            .map(|&(step, value)| (step as f64, value))
            .collect();
        let smooth = smoothed(&points);
        let every = points.len().div_ceil(MAX_COLUMNS).max(1);
        // The last step's value is the one people look for.
        let keep = |i: &usize| i.is_multiple_of(every) || i + 1 == points.len();
        let smooth: Vec<_> = (0..points.len()).filter(keep).map(|i| smooth[i]).collect();
        (!points.is_empty()).then(|| Self {
            class: series.class,
            label: series.label,
            raw: envelope(&points, every),
            smooth,
        })
    }

    fn last(&self) -> f64 {
        self.smooth.last().map_or(f64::NAN, |point| point.1)
    }
}

/// Centred moving mean over about a fifteenth of the curve: unlike an exponential average it does
/// not lag. At the start, where losses fall steeply, the window shrinks on both sides alike; at the
/// end it loses its right side only, so that the last value, which people quote, is a mean too.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let n = points.len();
    let mut sums = vec![0.0; n + 1];
    for (i, point) in points.iter().enumerate() {
        sums[i + 1] = sums[i] + point.1;
    }
    (0..n)
        .map(|i| {
            let half = (n / 30).min(i);
            let (from, to) = (i - half, (i + half + 1).min(n));
            (points[i].0, (sums[to] - sums[from]) / (to - from) as f64)
        })
        .collect()
}

/// The least and the greatest of every `every` points, in order: thinning that hides no spike.
fn envelope(points: &[(f64, f64)], every: usize) -> Vec<(f64, f64)> {
    if every <= 1 {
        return points.to_vec();
    }
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    points
        .chunks(every)
        .flat_map(|chunk| {
            let mut ends = [chunk.iter().min_by(by_value), chunk.iter().max_by(by_value)];
            ends.sort_by(|a, b| a.map(|p| p.0).partial_cmp(&b.map(|p| p.0)).unwrap_or(std::cmp::Ordering::Equal));
            ends.into_iter().flatten().copied()
        })
        .collect()
}

/// The x axis spans the steps; the y axis all of the smoothed lines and the middle 98 % of the raw
/// ones, so that one spike does not flatten everything else. `None` without a point.
fn axes(lines: &[Line]) -> Option<(Axis, Axis)> {
    let steps = lines.iter().flat_map(|line| &line.smooth).map(|point| point.0);
    let mut values: Vec<f64> = lines.iter().flat_map(|line| &line.raw).map(|point| point.1).collect();
    values.sort_by(f64::total_cmp);
    let cut = values.len() / 100;
    let middle = values.get(cut..values.len() - cut).filter(|middle| !middle.is_empty())?;
    let shown = middle.iter().copied().chain(lines.iter().flat_map(|line| &line.smooth).map(|point| point.1));
    let mut steps = Axis::exact(steps, 5.0);
    // There are no halves of steps.
    steps.step = steps.step.max(1.0);
    Some((steps, Axis::rounded(shown, 4.0)))
}

/// A linear axis with ticks at multiples of 1, 2 or 5 times a power of ten.
struct Axis {
    lo: f64,
    hi: f64,
    step: f64,
}

impl Axis {
    /// An axis that ends where the data end.
    fn exact(values: impl Iterator<Item = f64>, ticks: f64) -> Self {
        let (lo, hi) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        // Room for numbers that are all alike, or so nearly that ticks could not be told apart.
        let least = 1e-9 * lo.abs().max(hi.abs()).max(1e-9);
        let (lo, hi) = if hi - lo > least { (lo, hi) } else { (lo - 0.5f64.max(least), hi + 0.5f64.max(least)) };
        let rough = (hi - lo) / ticks;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough * 0.999);
        Self { lo, hi, step: step.unwrap_or(rough) }
    }

    /// An axis that ends on ticks, and at zero where zero is near.
    fn rounded(values: impl Iterator<Item = f64>, ticks: f64) -> Self {
        let (lo, hi) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        // What never changes is drawn at its height above zero.
        let (lo, hi) = match lo {
            _ if hi - lo > 1e-9 * lo.abs().max(hi.abs()) => (lo, hi),
            0.0 => (0.0, 1.0),
            _ => (lo.min(0.0), hi.max(0.0)),
        };
        let mut axis = Self::exact([lo, hi].into_iter(), ticks);
        if axis.lo > 0.0 && axis.lo < 0.4 * (axis.hi - axis.lo) {
            axis = Self::exact([0.0, axis.hi].into_iter(), ticks);
        }
        axis.lo = (axis.lo / axis.step + 1e-6).floor() * axis.step;
        axis.hi = (axis.hi / axis.step - 1e-6).ceil() * axis.step;
        axis
    }

    /// Where a value lies, 0 at the low end and 1 at the high.
    fn position(&self, value: f64) -> f64 {
        (value - self.lo) / (self.hi - self.lo)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let first = (self.lo / self.step - 1e-6).ceil();
        let count = ((self.hi / self.step + 1e-6).floor() - first) as usize;
        // Counted, because adding the step to a great number may not change it.
        (0..=count.min(20)).map(move |i| (first + i as f64) * self.step)
    }

    /// As many decimals as the ticks need and no more; k and M for great numbers.
    fn label(&self, tick: f64) -> String {
        let greatest = self.lo.abs().max(self.hi.abs());
        let (scale, suffix) = match greatest {
            g if g >= 1e9 => return format!("{tick:.1e}"),
            g if g >= 1e6 => (1e6, "M"),
            g if g >= 1e4 => (1e3, "k"),
            _ => (1.0, ""),
        };
        let decimals = (-(self.step / scale).log10() - 1e-9).ceil().max(0.0);
        let tick = if tick == 0.0 { 0.0 } else { tick }; // no "-0"
        if tick == 0.0 {
            "0".to_owned()
        } else if decimals > 4.0 {
            format!("{tick:.1e}")
        } else {
            format!("{:.*}{suffix}", decimals as usize, tick / scale)
        }
    }
}

/// The first and the last value of the strong line, which people quote; `None` without a point.
pub fn first_and_last(points: &[(u64, f64)]) -> Option<(f64, f64)> {
    let line = Line::new(&Series { class: "", label: "", points })?;
    Some((line.smooth[0].1, line.last()))
}

/// Three significant digits, for captions.
pub fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        a if !(1e-3..1e6).contains(&a) => format!("{value:.2e}"),
        a => format!("{value:.*}", (2.0 - a.log10().floor()).max(0.0) as usize),
    }
}

fn path(points: &[(f64, f64)], px: impl Fn(f64) -> f64, py: impl Fn(f64) -> f64) -> String {
    let mut d = String::with_capacity(12 * points.len() + 4);
    for (i, &(x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, px(x), py(y));
    }
    if points.len() == 1 {
        d.push_str("h0"); // with round line caps, a dot
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round_and_labels_short() {
        let labels = |lo, hi| {
            let axis = Axis::rounded([lo, hi].into_iter(), 4.0);
            axis.ticks().map(|t| axis.label(t)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(0.13, 0.97), "0 0.5 1.0");
        assert_eq!(labels(0.0, 0.0), "0 0.5 1.0");
        assert_eq!(labels(0.45, 0.45), "0 0.2 0.4 0.6");
        assert_eq!(labels(1e-3, 1e-3), "0 0.0005 0.0010");
        assert_eq!(labels(2.31, 2.97), "2.2 2.4 2.6 2.8 3.0");
        assert_eq!(labels(3900.0, 4200.0), "3900 4000 4100 4200");
        assert_eq!(labels(0.0, 38_000.0), "0 10k 20k 30k 40k");
        assert_eq!(labels(-3.0, 3.0), "-4 -2 0 2 4");
        assert_eq!(labels(0.0, 4e-6), "0 1.0e-6 2.0e-6 3.0e-6 4.0e-6");
    }

    #[test]
    fn moving_mean_matches_the_slow_sum() {
        let points: Vec<(f64, f64)> = (0..200).map(|i| (f64::from(i), f64::from(i * i % 97))).collect();
        for (i, (step, mean)) in smoothed(&points).into_iter().enumerate() {
            let window = &points[i - 6.min(i)..=(i + 6.min(i)).min(199)];
            let slow: f64 = window.iter().map(|p| p.1).sum();
            // Integers below 2⁵³: both sums are exact.
            assert_eq!((step, mean), (i as f64, slow / window.len() as f64));
        }
    }

    #[test]
    fn thinning_keeps_a_spike() {
        let mut points: Vec<(u64, f64)> = (0..5000).map(|i| (i, 1.0)).collect();
        points[3210].1 = 9.0;
        let line = Line::new(&Series { class: "", label: "", points: &points }).unwrap();
        assert!(line.raw.len() <= 2 * MAX_COLUMNS + 2 && line.smooth.len() <= MAX_COLUMNS + 1);
        assert!(line.raw.contains(&(3210.0, 9.0)));
    }

    proptest! {
        #[test]
        fn any_numbers_give_a_finite_drawing(
            points in prop::collection::vec((any::<u64>(), any::<f64>()), 0..40),
        ) {
            let svg = line_plot("x", "", &[Series { class: "c", label: "l", points: &points }]);
            prop_assert!(!svg.0.contains("NaN") && !svg.0.contains("inf"));
        }
    }
}
