//! A dot for each run and an interval of their mean, row by row on one scale from zero.

use maud::{Markup, html};

use super::figures::{axis, scale_for};
use super::words::percent;
use crate::report::Spread;

/// One row: what it is called, the class that colours it, its runs.
pub struct Row<'s> {
    /// What stands before it.
    pub label: String,
    /// The CSS class that gives it its colour.
    pub class: &'s str,
    /// Its runs.
    pub spread: &'s Spread,
}

/// The rows over their axis.
pub fn dots(rows: &[Row]) -> Markup {
    let ends = rows.iter().flat_map(|row| [row.spread.max, row.spread.ci95.map_or(0.0, |[_, high]| high)]);
    let scale = scale_for(ends.fold(0.0, f64::max));
    let at = |share: f64| format!("{:.2}%", 100.0 * (share / scale).clamp(0.0, 1.0));
    html! {
        div.intervals {
            @for Row { label, class, spread } in rows {
                div.row.(class) {
                    span.label { (label) }
                    span.track {
                        @if let Some([lo, hi]) = spread.ci95 {
                            span.whisker style=(format!("left:{};right:calc(100% - {})", at(lo), at(hi))) {}
                        }
                        @for &run in &spread.runs { span.dot.run style=(format!("left:{}", at(run))) {} }
                        span.mean style=(format!("left:{}", at(spread.mean))) {}
                    }
                    span.value { b { (percent(spread.mean)) } " " span.faint { "mean of " (spread.runs.len()) } }
                }
            }
            (axis(scale))
        }
        p.faint {
            "A dot is a run, the upright line their mean, and the bar its 95 % interval over seeds (Student's t), which a "
            "few seeds leave wide. A bar that would leave the scale is cut off."
        }
    }
}
