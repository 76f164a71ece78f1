//! How people ask for Countdown, in English and in Russian.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Gold, list};
use crate::task::Language;
use crate::wording::{Case, dress};

/// What is said where nothing makes the target.
pub(super) fn no_way(language: Language) -> &'static str {
    match language {
        Language::English => "I found no way to make it.",
        Language::Russian => "Я не нашёл способа.",
    }
}

/// The problem in some wording. `X` stands for the numbers, `T` for the target.
pub(super) fn pose(gold: &Gold, rng: &mut ChaCha8Rng) -> String {
    let ways: &[&str] = match gold.language {
        Language::English => &[
            "Use X to make T.", "Use X to make T.", "Make T out of X.", "Make T from X.", "How do X make T?",
            "Get T from X.", "Make T with X.", "Use the numbers X to make T.", "Use the numbers X to get T.",
            "Reach T using X.", "Countdown: X, target T.", "Countdown X -> T", "Can you make T from X?",
            "How can I make T from X?", "How can I get T from X?", "Make T using X.", "Using X, make T.",
            "With X make T.", "Build T out of X.", "How do you make T out of X?", "Combine X to make T.",
            "Numbers: X. Target: T.", "X to T", "X make T", "Numbers X, target T.", "Find a way to make T from X.",
            "I have X. How do I get T?", "Play Countdown: X, make T.", "Which sum of X gives T?", "Use X to reach T.",
            "Can you get T with X?", "Target T, numbers X.", "From X make T.", "Given X, make T.",
            "Let's play Countdown with X and target T.", "Solve the Countdown: X make T.", "T from X",
            "Write T with the numbers X.", "How to get T using X?", "Is there a way to make T out of X?",
            "Use each of X once to make T.", "Find an expression with X that equals T.", "Try to make T from X.",
            "Reach T with X.", "Get to T with X.", "Can you reach T with X?", "How do I reach T with X?",
            "How would you make T with X?", "Is T possible with X?", "I need T from X.", "Show me how X make T.",
            "What do I do with X to get T?", "How could X give T?", "Can X make T?", "X: how do I get T?",
            "The target is T. The numbers are X.", "T is the target, X are the numbers.", "How to reach T from X?",
        ],
        Language::Russian => &[
            "Получи T из X.", "Составь T из чисел X.", "Сделай T из X.", "Как получить T из X?",
            "Из чисел X получи T.", "Как из X получить T?", "Используй X, чтобы получить T.", "Числа X, цель T.",
            "Собери T из X.", "Из X сделай T.", "Как составить T из чисел X?", "Можно ли получить T из X?",
            "Есть числа X. Как получить T?", "Дано: X. Цель: T.", "Как с числами X получить T?",
            "Можешь сделать T из X?", "Как сделать T из X?", "Нужно T из X.",
        ],
    };
    let way = ways.choose(rng).copied().unwrap_or_default();
    let and = match gold.language {
        Language::English => " and ",
        Language::Russian => " и ",
    };
    let shown = match (rng.random_range(0..10), &gold.numbers[..]) {
        (0..3, [first @ .., last]) if !first.is_empty() => format!("{}{and}{last}", list(first, ", ")),
        (3..5, numbers) => list(numbers, " "),
        (5, numbers) => list(numbers, ","),
        (_, numbers) => list(numbers, ", "),
    };
    let target = gold.target.to_string();
    let words: Vec<String> = way
        .split(' ')
        .map(|word| {
            let (core, mark) = word.split_at(word.trim_end_matches(['.', '?', ',', ':']).len());
            match core {
                "X" => format!("{shown}{mark}"),
                "T" => format!("{target}{mark}"),
                _ => word.to_owned(),
            }
        })
        .collect();
    dress(&words.join(" "), gold.language, Case::Free, rng)
}
