//! How people ask for the next number, in English and in Russian.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::task::Language;
use crate::wording::{Case, dress};

/// What is said where no rule fits.
pub(super) fn refusal(language: Language) -> &'static str {
    match language {
        Language::English => "I can only continue sequences with a simple rule. Try: 2, 5, 8, 11",
        Language::Russian => "Я умею только продолжать простые ряды. Например: 2, 5, 8, 11",
    }
}

/// The terms in some wording. `X` stands for them.
pub(super) fn pose(terms: &[i64], language: Language, rng: &mut ChaCha8Rng) -> String {
    let ways: &[&str] = match language {
        Language::English => &[
            "X: which number comes next?", "What comes after X?", "Go on with X.", "Continue X.",
            "Continue the sequence X.", "What comes next: X?", "What is the next number: X?", "X what comes next?",
            "X next?", "Next number: X", "X, ?", "X, ...", "X...", "X, ? ", "X", "What number comes next in X?",
            "What is next: X", "Find the next number: X.", "What is the next number in the sequence X?",
            "Complete the sequence: X", "Which number follows X?", "X and then?", "Guess the next number: X",
            "What follows X?", "Extend X by one.", "X, what is next?", "Next in the sequence X?", "How does X go on?",
            "What's next after X?", "Continue this pattern: X", "X, __", "X, what number comes next?",
            "The sequence is X. What comes next?", "Tell me the next number of X.", "Can you continue X?",
            "X, next number please", "What would be the next number after X?",
            "I have the sequence X, what is the next number?",
        ],
        Language::Russian => &[
            "Продолжи ряд: X", "Какое число следующее: X?", "Что дальше: X?", "X - какое следующее число?",
            "Продолжи X.", "Какое число идёт после X?", "Следующее число: X", "X, что дальше?",
            "Какое число будет следующим: X?", "Продолжи последовательность X.", "Найди следующее число: X", "X, ?",
            "X дальше?", "Как продолжается ряд X?",
        ],
    };
    let separator = match rng.random_range(0..10) {
        0..3 => " ",
        3 => ",",
        4 => "; ",
        _ => ", ",
    };
    let shown = terms.iter().map(i64::to_string).collect::<Vec<_>>().join(separator);
    let question = ways.choose(rng).copied().unwrap_or("X").replace('X', &shown);
    dress(question.trim(), language, Case::Free, rng)
}
