//! R1's rule-based reward: accuracy + format, equally weighted (DeepSeek-R1, section 2.2.2), and on request the share
//! of the thinking that is in the question's language (section 2.3.2).
//!
//! Not here: length rewards, and any learned reward model.

use crate::task::{Language, Problem, Task, Verdict};

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
    /// [`language_share`] of the thinking; 0 outside the format, where nobody knows what is thinking.
    pub language: f32,
    /// Accuracy score + 1 for the format + the weighted share of the language. `None` when the
    /// answer could not be judged: mask the sample.
    pub total: Option<f32>,
}

/// What the parts of a reward that R1 has not always had are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RewardWeights {
    /// Of thinking wholly in the question's language. 0, the default, leaves accuracy + format.
    pub language: f32,
}

/// Scores a completion: the text after the assistant marker, without the end-of-text token.
pub fn score(task: &dyn Task, problem: &Problem, completion: &str, format: Format, weights: RewardWeights) -> Reward {
    let parts = format.parse(completion);
    let accuracy = match &parts {
        Some(parts) => task.verify(problem, parts.answer),
        None => Verdict::wrong("not in the think/answer format"),
    };
    let format_score = if parts.is_some() { 1.0 } else { 0.0 };
    let language = parts.map_or(0.0, |parts| language_share(parts.thinking, task.language(problem)));
    let total = match accuracy {
        Verdict::Right(score) => Some(score + format_score + weights.language * language),
        Verdict::Wrong(_) => Some(format_score + weights.language * language),
        Verdict::CouldNotJudge(_) => None,
    };
    Reward { accuracy, format: parts.is_some(), language, total }
}

/// The share of words in the letters of `language`, from 0 to 1. A word is an unbroken run of letters, so numbers and
/// signs do not count; of scripts that put no blanks between words, each letter is one.
///
/// Without any word the share is 1: the reward is against words of another language, not for words. With 0 a policy
/// would be paid for filling its equations with chatter. Thinking that is all signs thereby earns what a single honest
/// word does, and no more; that there is thinking at all is the format's business.
pub fn language_share(thinking: &str, language: Language) -> f32 {
    let (mut words, mut ours) = (0_u64, 0_u64);
    for run in thinking.split(|c: char| !c.is_alphabetic()).filter(|run| !run.is_empty()) {
        let alone = run.chars().filter(|c| is_unspaced(*c)).count() as u64;
        if alone > 0 {
            words += alone;
        } else {
            words += 1;
            ours += u64::from(run.chars().all(|c| is_letter_of(c, language)));
        }
    }
    if words == 0 { 1.0 } else { (ours as f64 / words as f64) as f32 }
}

/// Of a letter: whether the language is written with it, names and loans from its neighbours included.
fn is_letter_of(c: char, language: Language) -> bool {
    match language {
        // Basic Latin to Latin Extended-B, and Latin Extended Additional.
        Language::English => matches!(c, 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}'),
        // Cyrillic and its supplement.
        Language::Russian => matches!(c, '\u{400}'..='\u{52f}'),
    }
}

/// Of a letter: whether its script has no blanks between words, as Thai, Khmer, Chinese and Japanese.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..)
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
            "", "4", "<think>so</think>", "<answer>4</answer>", "so</think><answer>4</answer>",
            "<think></think><answer>4</answer>", "<think>so</think><answer> \n</answer>", "<think>so</think><answer>4",
            "<think>so<answer>4</answer></think>", "<answer>4</answer><think>so</think>",
            "<think><think>so</think><answer>4</answer>", "<think>so</think><answer>4</answer></answer>",
            "<think>so</think><answer><answer>4</answer></answer>",
            "<think>so</think><answer>4</answer><answer>5</answer>", "<think>so</think> hence <answer>4</answer>",
            "<think>so</think><answer>4</answer> done", "<THINK>so</THINK><ANSWER>4</ANSWER>",
        ] {
            assert_eq!(CLOSED.parse(completion), None, "{completion}");
        }
        assert_eq!(OPEN.parse("<think>so</think><answer>4</answer>"), None);
    }

    #[test]
    fn shares_of_words() {
        for (thinking, english, russian) in [
            ("so 3+4=7", 1.0, 0.0),
            ("так 3+4=7", 0.0, 1.0),
            ("so так then теперь", 0.5, 0.5),
            ("3+4=7", 1.0, 1.0),
            ("...", 1.0, 1.0),
            ("", 1.0, 1.0),
            ("naïve café", 1.0, 0.0),
            // One word of two scripts is of neither.
            ("sо", 0.0, 0.0),
            // Not one word, but four; full-width and mathematical letters are not Latin either.
            ("so 我们来看", 0.2, 0.0),
            ("ｓｏ", 0.0, 0.0),
            ("λόγος so", 0.5, 0.0),
        ] {
            assert_eq!(language_share(thinking, Language::English), english, "{thinking}");
            assert_eq!(language_share(thinking, Language::Russian), russian, "{thinking}");
        }
    }

    proptest! {
        #[test]
        fn a_share_is_a_share(thinking in "(?s).{0,100}") {
            let share = |language| language_share(&thinking, language);
            let (english, russian) = (share(Language::English), share(Language::Russian));
            prop_assert!((0.0..=1.0).contains(&english) && (0.0..=1.0).contains(&russian));
            // No word is in both languages.
            prop_assert!(english + russian <= 1.0 || !thinking.contains(char::is_alphabetic));
        }

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
