//! Answers from before and after RL, side by side.

use maud::{Markup, html};

use super::words::{percent, visible};
use crate::report::{Change, Pairs, Report, Sample, SampleSet, Verdict, readable};

pub fn samples(report: &Report) -> Markup {
    html! {
        @if !report.samples.is_empty() {
            section #samples {
                h2 { "Samples, before and after RL" }
                @match &report.pairs {
                    Some(pairs) => (in_shares(&report.samples, pairs)),
                    None => {
                        p.faint {
                            "These questions stand at even distances among the held-out ones, whatever became of them. They "
                            "are too few to show how often RL gains and loses."
                        }
                        @for set in &report.samples { (question(set)) }
                    }
                }
            }
        }
    }
}

/// The samples by what became of them, under the rule that chose them.
fn in_shares(samples: &[SampleSet], pairs: &Pairs) -> Markup {
    html! {
        p.faint {
            "Of every held-out question the first answer before RL is paired with the first after it, " (pairs.judged())
            " pairs in all. Each kind is shown as often as its share asks, rounded to " (samples.len()) " in all; which "
            "questions of a kind are shown is decided by a hash of their text, so nobody chose them."
            @if pairs.not_judged > 0 { " Of " (pairs.not_judged) " more an answer could not be judged." }
        }
        @for change in Change::ALL {
            @let count = pairs.of(change);
            @let shown: Vec<&SampleSet> = samples.iter().filter(|set| set.change() == Some(change)).collect();
            h3 {
                (title(change)) ": " (count) " of " (pairs.judged())
                " (" (percent(count as f64 / pairs.judged().max(1) as f64)) "), " (shown.len()) " shown"
            }
            @for set in shown { (question(set)) }
        }
    }
}

fn title(change: Change) -> &'static str {
    match change {
        Change::Gained => "Gained, wrong before and right after",
        Change::Lost => "Lost, right before and wrong after",
        Change::Kept => "Right both times",
        Change::Missed => "Wrong both times",
    }
}

fn question(set: &SampleSet) -> Markup {
    // Reports from before references were written for people hold Countdown's as JSON.
    let gold = serde_json::from_str(&set.gold).ok().filter(|gold: &serde_json::Value| gold.is_object());
    let gold = gold.map_or_else(|| set.gold.clone(), |gold| readable(&gold));
    html! {
        article {
            p.problem { (visible(&set.problem)) }
            p.faint { (visible(&set.task)) " · reference: " (visible(&gold)) }
            div.pair {
                (sample("before RL", &set.before))
                (sample("after RL", &set.after))
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
