//! Numbers, stages and foreign text as the page shows them.

use std::borrow::Cow;

use crate::report::{Answer, Difference, Stage};

/// What people call a stage.
pub fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Base => "Base model",
        Stage::BaseTemplate => "Base model, asked as R1-Zero is",
        Stage::Zero => "R1-Zero",
        Stage::Sft => "Cold-start SFT",
        Stage::Rl => "RL",
        Stage::Sft2 => "SFT on kept samples",
        Stage::Rl2 => "Second RL",
        Stage::StudentBase => "Student: base model",
        Stage::StudentSft => "Student: cold-start SFT",
        Stage::StudentRl => "Student: RL",
        Stage::StudentDistilled => "Student: distilled",
        Stage::StudentOnPolicy => "Student: on-policy distilled",
        Stage::ControlSftMore => "Control: more SFT",
        Stage::ControlRandomReward => "Control: random reward",
        Stage::Traces => "Rejection sampling",
        Stage::Judged => "The judged model",
    }
}

/// The CSS class that colours a stage.
pub fn class(stage: Stage) -> &'static str {
    match stage {
        Stage::Base => "base",
        Stage::BaseTemplate => "base-template",
        Stage::Zero => "zero",
        Stage::Sft => "sft",
        Stage::Rl => "rl",
        Stage::Sft2 => "sft2",
        Stage::Rl2 => "rl2",
        Stage::StudentBase => "student-base",
        Stage::StudentSft => "student-sft",
        Stage::StudentRl => "student-rl",
        Stage::StudentDistilled => "student-distilled",
        Stage::StudentOnPolicy => "student-on-policy",
        Stage::ControlSftMore => "sft-more",
        Stage::ControlRandomReward => "random-reward",
        Stage::Traces => "sft2",
        Stage::Judged => "rl",
    }
}

/// Control and direction characters, which could hide or reorder text, become U+FFFD.
pub fn visible(text: &str) -> Cow<'_, str> {
    let hides = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(hides) { Cow::Owned(text.replace(hides, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// "41.6 %".
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// "37.5–45.8", in percent.
pub fn interval([lo, hi]: [f64; 2]) -> String {
    format!("{:.1}–{:.1}", 100.0 * lo, 100.0 * hi)
}

/// "+12.8 points", or "−19.8 points".
pub fn points(difference: f64) -> String {
    format!("{} points", signed(difference))
}

/// "+7.4 to +18.0", in percentage points; "unbounded" of one that rules nothing out.
pub fn signed_interval([lo, hi]: [f64; 2]) -> String {
    if lo <= -1.0 && hi >= 1.0 {
        return "unbounded".to_owned();
    }
    format!("{} to {}", signed(lo), signed(hi))
}

fn signed(difference: f64) -> String {
    let rounded = (1000.0 * difference).round() / 10.0;
    match rounded {
        0.0 => "0.0".to_owned(),
        less if less < 0.0 => format!("−{:.1}", -less),
        more => format!("+{more:.1}"),
    }
}

/// The CSS class and the words of a verdict.
pub fn verdict(difference: &Difference) -> (&'static str, &'static str) {
    match difference.answer() {
        Answer::Yes => ("right", "Yes"),
        Answer::No => ("wrong", "No, the reverse"),
        Answer::Open => ("unjudged", "Cannot tell"),
    }
}

/// A time as people say it.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// A count in at most five figures.
pub fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1} k", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", number as f64 / 1e6),
        _ => format!("{:.2} G", number as f64 / 1e9),
    }
}
