//! R1's rule-based reward: accuracy + format, equally weighted (DeepSeek-R1, section 2.2.2).
//!
//! Not here: length or language rewards, and any learned reward model.

use crate::task::{Problem, Task, Verdict};

const THINK: &str = "<think>";
const END_THINK: &str = "</think>";
const ANSWER: &str = "<answer>";
const END_ANSWER: &str = "</answer>";

/// What one completion earned, part by part.
#[derive(Clone, Debug, PartialEq)]
pub struct Reward {
    /// The verifier's word on the answer; an answer outside the format is wrong.
    pub accuracy: Verdict,
    /// Whether the completion is `<think>…</think><answer>…</answer>`.
    pub format: bool,
    /// Accuracy score + 1 for the format, from 0 to 2. `None` when the answer could not be
    /// judged: mask the sample.
    pub total: Option<f32>,
}

/// Scores a completion: the text after the assistant marker, without the end-of-text token.
pub fn score(task: &dyn Task, problem: &Problem, completion: &str, format: Format) -> Reward {
    let parts = format.parse(completion);
    let accuracy = match &parts {
        Some(parts) => task.verify(problem, parts.answer),
        None => Verdict::wrong("not in the think/answer format"),
    };
    let format_score = if parts.is_some() { 1.0 } else { 0.0 };
    let total = match accuracy {
        Verdict::Right(score) => Some(score + format_score),
        Verdict::Wrong(_) => Some(format_score),
        Verdict::CouldNotJudge(_) => None,
    };
    Reward { accuracy, format: parts.is_some(), total }
}

/// How a completion is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// The prompt already ended with `<think>`, as in the templates of R1's distilled models:
    /// then a completion starts inside the thinking and must not open it again.
    pub think_open_in_prompt: bool,
}

/// The two parts of a well-formed completion, trimmed and not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What stands between the thinking tags.
    pub thinking: &'a str,
    /// What stands between the answer tags.
    pub answer: &'a str,
}

impl Format {
    /// Takes a completion apart, or `None` unless each tag stands exactly once, in order, with
    /// nothing but whitespace outside and something inside.
    pub fn parse<'a>(&self, completion: &'a str) -> Option<Parts<'a>> {
        let opened =
            if self.think_open_in_prompt { completion } else { completion.trim_start().strip_prefix(THINK)? };
        let (thinking, rest) = opened.split_once(END_THINK)?;
        let rest = rest.trim_start().strip_prefix(ANSWER)?;
        let (answer, rest) = rest.split_once(END_ANSWER)?;

        let (thinking, answer) = (thinking.trim(), answer.trim());
        let has_tag = |text: &str| [THINK, END_THINK, ANSWER, END_ANSWER].iter().any(|tag| text.contains(tag));
        let well_formed = rest.trim().is_empty()
            && !thinking.is_empty()
            && !answer.is_empty()
            && !has_tag(thinking)
            && !has_tag(answer);
        well_formed.then_some(Parts { thinking, answer })
    }

    /// The completion made of these parts: what the cold start teaches.
    pub fn render(&self, thinking: &str, answer: &str) -> String {
        let open = if self.think_open_in_prompt { "" } else { THINK };
        format!("{open}{thinking}{END_THINK}{ANSWER}{answer}{END_ANSWER}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLOSED: Format = Format { think_open_in_prompt: false };
    const OPEN: Format = Format { think_open_in_prompt: true };

    #[test]
    fn what_is_well_formed() {
        let parts = Some(Parts { thinking: "so", answer: "4" });
        assert_eq!(CLOSED.parse("<think>so</think><answer>4</answer>"), parts);
        assert_eq!(CLOSED.parse("\n<think>\nso\n</think>\n\n<answer> 4 </answer>\n"), parts);
        assert_eq!(OPEN.parse("\nso</think><answer>4</answer>"), parts);
    }

    #[test]
    fn what_is_not() {
        for completion in [
            "",
            "4",
            "<think>so</think>",
            "<answer>4</answer>",
            "so</think><answer>4</answer>",
            "<think></think><answer>4</answer>",
            "<think>so</think><answer> \n</answer>",
            "<think>so</think><answer>4",
            "<think>so<answer>4</answer></think>",
            "<answer>4</answer><think>so</think>",
            "<think><think>so</think><answer>4</answer>",
            "<think>so</think><answer>4</answer></answer>",
            "<think>so</think><answer><answer>4</answer></answer>",
            "<think>so</think><answer>4</answer><answer>5</answer>",
            "<think>so</think> hence <answer>4</answer>",
            "<think>so</think><answer>4</answer> done",
            "<THINK>so</THINK><ANSWER>4</ANSWER>",
        ] {
            assert_eq!(CLOSED.parse(completion), None, "{completion}");
        }
        assert_eq!(OPEN.parse("<think>so</think><answer>4</answer>"), None);
    }

    proptest! {
        #[test]
        fn what_is_rendered_parses(thinking in "[a-z0-9=][a-z <>/]{0,20}[0-9]", answer in "[0-9+*()]{1,12}") {
            for format in [CLOSED, OPEN] {
                let text = format.render(&thinking, &answer);
                let parts = format.parse(&text).unwrap();
                prop_assert_eq!((parts.thinking, parts.answer), (&*thinking, &*answer));
            }
        }

        #[test]
        fn any_shuffle_of_tags_is_handled(
            pieces in prop::collection::vec(
                prop::sample::select(vec![THINK, END_THINK, ANSWER, END_ANSWER, "x", " ", "<", "é"]), 0..10)
        ) {
            let text = pieces.concat();
            if let Some(parts) = CLOSED.parse(&text) {
                // The slow definition: each tag once, in order.
                let tags: Vec<_> = pieces.iter().filter(|p| p.len() > 2).copied().collect();
                prop_assert_eq!(tags, [THINK, END_THINK, ANSWER, END_ANSWER]);
                prop_assert!(!parts.answer.is_empty() && !parts.thinking.is_empty());
            }
        }
    }
}
