//! The words that people put around a question: `hey, what is 2+2 please`.
//!
//! A task poses a question in one of its own wordings; [`dress`] adds what is nobody's in particular: a greeting or a
//! "please" before it, thanks after it, no capital, no question mark, two blanks. So a model that is to be used, and not
//! only to show what it learned, meets more than the templates of its tasks.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::task::Language;

/// Whether letters may become small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// They mean the same either way.
    Free,
    /// The question is about its letters, or has names.
    Kept,
}

/// `question` as somebody may type it; half of the time as it is. It is a sentence that begins with a capital, a number
/// or a sign, and ends with its mark or without one.
pub(crate) fn dress(question: &str, language: Language, case: Case, rng: &mut ChaCha8Rng) -> String {
    if rng.random_bool(0.5) {
        return question.to_owned();
    }
    let mut text = question.to_owned();
    if rng.random_bool(0.3) {
        text.truncate(text.trim_end_matches(['.', '?', '!']).len());
    }
    if rng.random_bool(0.3) {
        let before: &[&str] = match language {
            Language::English => &[
                "Please, ", "Hey, ", "Hi! ", "Hello, ", "Ok, ", "So, ", "Now ", "And ", "Tell me: ",
                "Quick question: ", "Can you help? ", "Hello! ", "I need to know: ", "Next: ", "One more: ",
                "Please tell me, ", "Well, ", "Another one: ", "Question: ", "Good morning! ", "Could you tell me, ",
                "Hi there, ", "My question is: ",
            ],
            Language::Russian => &[
                "Пожалуйста, ", "Привет! ", "А ", "Скажи, ", "Подскажи, ", "Ну, ", "Теперь ", "Ещё: ", "Вопрос: ",
                "Здравствуйте! ", "Скажи пожалуйста, ", "Помоги: ", "Ещё вопрос: ", "Хорошо, ", "Так, ",
                "Мне нужно знать: ", "Привет, ", "Добрый день! ", "И ",
            ],
        };
        let before = before.choose(rng).copied().unwrap_or_default();
        text = match case {
            // After a comma or a colon people go on in small letters, or do not.
            Case::Free if !before.ends_with("! ") && !before.ends_with("? ") && rng.random_bool(0.7) => {
                format!("{before}{}", uncapitalised(&text))
            }
            _ => format!("{before}{text}"),
        };
    }
    if rng.random_bool(0.15) {
        let after: &[&str] = match language {
            Language::English => {
                &[" please", " Please.", ", please", " Thanks!", " thanks", " Thank you.", " ??", "!", "..."]
            }
            Language::Russian => &[" пожалуйста", ", пожалуйста", " Спасибо!", " спасибо", " ??", "!", "..."],
        };
        text += after.choose(rng).copied().unwrap_or_default();
    }
    if rng.random_bool(0.1) {
        text = text.replacen(' ', "  ", 1);
    }
    match case {
        Case::Free if rng.random_bool(0.35) => text.to_lowercase(),
        Case::Free if rng.random_bool(0.04) => text.to_uppercase(),
        _ => text,
    }
}

/// Whether anything in a question is in Cyrillic letters. If nothing is, nobody can tell that it is meant in Russian.
pub(crate) fn is_cyrillic(question: &str) -> bool {
    question.chars().any(|c| matches!(c, '\u{400}'..='\u{52f}'))
}

/// How a reply begins that says what the model can do instead.
pub(crate) fn refuses(language: Language) -> &'static str {
    match language {
        Language::English => "I can only",
        Language::Russian => "Я умею только",
    }
}

/// With a small first letter.
pub(crate) fn uncapitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_lowercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    #[test]
    fn the_question_stays_in_it() {
        for index in 0..2000 {
            let mut rng = draw::rng(1, "wording", 0, index);
            for (question, language) in [("What is 2+2?", Language::English), ("Сколько будет 2+2?", Language::Russian)]
            {
                let text = dress(question, language, Case::Free, &mut rng);
                assert!(text.contains("2+2") && text.trim() == text, "{text:?}");
                let kept = dress(question, language, Case::Kept, &mut rng).replace("  ", " ");
                assert!(kept.contains(question.trim_end_matches('?')), "{kept:?}");
            }
        }
    }
}
