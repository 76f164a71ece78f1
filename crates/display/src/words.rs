//! Names, numbers and times as people read them.

use picnic_train::plan::{TOKENIZER, TRACES};
use picnic_train::progress::Evaluated;
use std::borrow::Cow;
use std::time::Duration;

/// What people call a part of a run, in full and where there is little room.
pub fn titles(part: &str) -> [&str; 2] {
    match part {
        TOKENIZER => ["tokenizer", "tokenizer"],
        TRACES | "reject" => ["rejection sampling", "rejection sampling"],
        "base" | "pretrain" => ["pre-training", "pre-training"],
        "base_template" => ["control: base model in R1-Zero's template", "control: base model"],
        "zero" => ["R1-Zero: RL without a cold start", "R1-Zero"],
        "sft" => ["cold start (SFT)", "cold start (SFT)"],
        "rl" => ["reinforcement learning", "RL"],
        "control_sft_more" => ["control: more SFT for RL's compute", "control: more SFT"],
        "control_random_reward" => ["control: RL with a random reward", "control: random reward"],
        "sft2" => ["SFT on the right answers", "second SFT"],
        "rl2" => ["second RL", "second RL"],
        "student_base" => ["student: pre-training", "student: pre-training"],
        "student_sft" => ["student: cold start (SFT)", "student: cold start"],
        "student_rl" => ["student: RL of its own", "student: RL"],
        "student_distilled" => ["student: SFT on the teacher's answers", "student: distilled"],
        "student_on_policy" | "distill" => ["on-policy distillation", "on-policy distilled"],
        other => [other, other],
    }
}

/// What an evaluation found, in a line. A model that has never seen the format of the answers cannot be right, and a
/// bare 0 would look like a failure.
pub fn evaluation(found: &Evaluated) -> String {
    let Evaluated { part, accuracy, ci95: [low, high], well_formed, .. } = found;
    if found.never_saw_the_format && *accuracy == 0.0 {
        return format!("{part}: 0 % is expected here: the base model has never seen the format");
    }
    measured(part, *accuracy, [*low, *high], *well_formed)
}

/// The same as bare numbers.
pub fn measured(part: &str, accuracy: f64, [low, high]: [f64; 2], well_formed: f64) -> String {
    let [accuracy, low, high, well_formed] = [accuracy, low, high, well_formed].map(|share| 100.0 * share);
    format!("{part}: {accuracy:.1} % right [{low:.1}, {high:.1}], {well_formed:.1} % well-formed")
}

/// About four significant digits.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        a if a >= 1000.0 => format!("{value:.0}"),
        a if a >= 100.0 => format!("{value:.1}"),
        a if a >= 10.0 => format!("{value:.2}"),
        a if a >= 1e-3 => format!("{value:.3}"),
        _ => format!("{value:.1e}"), // NaN, too
    }
}

/// "4,061".
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A time that was measured.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A time that was estimated: no more digits than can be right.
pub fn about(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let minutes = (seconds / 60.0).round() as u64;
    match seconds {
        s if s < 10.0 => "a few seconds".to_owned(),
        s if s < 95.0 => format!("about {} s", (s / 10.0).round() as u64 * 10),
        _ if minutes < 120 => format!("about {minutes} min"),
        _ if minutes < 48 * 60 => format!("about {} h", (minutes + 30) / 60),
        _ => format!("about {} days", minutes.div_ceil(24 * 60)),
    }
}

/// "410 MB" or "1.24 GB".
pub fn size(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 1000.0 { format!("{megabytes:.0} MB") } else { format!("{:.2} GB", megabytes / 1000.0) }
}

/// Text of a model or of a file: control and direction characters, which could rule the terminal, become U+FFFD.
pub fn visible(text: &str) -> Cow<'_, str> {
    let hides = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if text.contains(hides) { Cow::Owned(text.replace(hides, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_have_no_more_digits_than_can_be_right() {
        let said = |seconds| about(Duration::from_secs(seconds));
        assert_eq!([4, 58, 94, 100].map(said), ["a few seconds", "about 60 s", "about 90 s", "about 2 min"]);
        assert_eq!([540, 6000, 200_000].map(said), ["about 9 min", "about 100 min", "about 3 days"]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0.0, 999.0, 4061.2, 1_234_567.0].map(thousands), ["0", "999", "4,061", "1,234,567"]);
    }

    #[test]
    fn a_model_cannot_rule_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\u{202e}c\nd"), "a\u{fffd}[2Jb\u{fffd}c\nd");
    }
}
