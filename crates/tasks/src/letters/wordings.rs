//! How people ask about letters, in English and in Russian.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Gold, Kind};
use crate::task::Language;
use crate::wording::{Case, dress, uncapitalised};
use crate::words::mistyped;

/// The question in some wording. `X` stands for the text, `L` for the letter, `N` for the place.
pub(super) fn pose(gold: &Gold, rng: &mut ChaCha8Rng) -> Option<String> {
    let ways: &[&str] = match (gold.language, gold.kind) {
        (Language::English, Kind::Spell) => &[
            "Spell X.", "Spell X.", "How do you spell X?", "How is X spelled?", "Spell the word X.", "Spell out X.",
            "Can you spell X?", "What letters are in X?", "What are the letters of X?", "Write X letter by letter.",
            "What is the spelling of X?", "List the letters of X.", "X letter by letter", "Break X into letters.",
            "Split X into letters.", "How would you spell X?", "Which letters make X?", "How to spell X?",
            "Letters of X?", "Spell me X.", "I want you to spell X.", "How do I spell X?", "Name the letters of X.",
            "Spelling of X", "Show me the letters of the word X.", "Please spell the word X.",
            "Say X letter by letter.", "Give me the letters of X, one after the other.", "One letter at a time: X",
            "X, one letter at a time", "Type out the letters in X.", "Take X apart, letter for letter.",
            "Go through the letters of the word X.", "spell X", "X spelling", "spell this: X", "spell this word: X",
            "What are the single letters of X?", "Tell me how to spell X.",
        ],
        (Language::English, Kind::Reverse) => &[
            "Reverse X.", "Reverse X.", "Write X backwards.", "What is X backwards?", "X backwards",
            "Spell X backwards.", "How is X spelled backwards?", "Reverse the word X.", "Reverse the letters of X.",
            "Turn X around.", "Flip X.", "How do you write X backwards?", "X in reverse", "What is X in reverse?",
            "Can you reverse X?", "X reversed", "Write the word X backwards.", "Say X backwards.",
            "Spell the word X backwards.", "Read X from right to left.", "Mirror X.",
            "What does X look like backwards?", "Put the letters of X in reverse order.", "Backwards: X",
            "Can you spell X backwards?", "What is the reverse of X?", "Write X from the end.", "Reverse: X",
            "X but backwards", "Reverse the string X.", "Turn the word X backwards.",
            "What do you get when you reverse X?",
        ],
        (Language::English, Kind::Count) => &[
            "How many letters are in X?", "How many letters does X have?", "Count the letters in X.",
            "How long is the word X?", "How many letters in X?", "What is the number of letters in X?",
            "Count the letters of the word X.", "How many letters has X?", "How many letters are there in the word X?",
            "What is the length of X?", "Length of X?", "Letter count of X?", "How many characters are in X?",
            "Can you count the letters in X?", "The word X has how many letters?", "How many letters make up X?",
            "Number of letters in X?", "How many letters long is X?",
        ],
        (Language::English, Kind::CountOf) => &[
            "How many L are in X?", "How many L's are in X?", "How many L's are there in X?", "How many L in X?",
            "How many times is L in X?", "Count the letter L in X.", "How often is the letter L in X?",
            "How many Ls in X?", "How many times does L appear in X?", "How many L's in the word X?",
            "Count the L's in X.", "How many times does the letter L occur in X?", "How many letters L does X have?",
            "How many L's does X have?", "How often does L occur in the word X?", "What is the number of L's in X?",
        ],
        (Language::English, Kind::Place) => &[
            "What is the N letter of X?", "What is the N letter in X?", "Which letter is N in X?", "N letter of X?",
            "What's the N letter of the word X?", "Which letter comes N in X?", "Tell me the N letter of X.",
            "Give me the N letter of X.", "The N letter of X?", "Name the N letter of X.", "What is X's N letter?",
        ],
        (Language::English, Kind::Words) => &[
            "Reverse the order of the words: X.", "Reverse the words: X", "Write these words in reverse order: X.",
            "Reverse the word order of X.", "Put these words in the opposite order: X.",
            "Say the words X in reverse order.", "Write the words X backwards.",
            "List these words from last to first: X.", "Words in reverse order: X",
            "Turn the order of these words around: X.", "Write X with the last word first.",
            "Turn these words around: X", "Say these words from the end: X.", "X in reverse word order",
            "Change the order of the words: X", "Give me these words the other way round: X",
            "Order the words from last to first: X.", "What are the words X in reversed order?",
            "Swap the word order: X", "reverse words X", "Make the last word the first, and so on: X.",
        ],
        (Language::Russian, Kind::Spell) => &[
            "Напиши X по буквам.", "Произнеси X по буквам.", "Назови буквы слова X.", "Слово X по буквам",
            "X по буквам", "Скажи X по буквам.", "Из каких букв состоит X?", "Какие буквы в слове X?",
            "Напиши слово X по буквам.", "Как пишется X?", "Как пишется слово X?", "Разбей X на буквы.",
            "Перечисли буквы слова X.", "Продиктуй X по буквам.",
        ],
        (Language::Russian, Kind::Reverse) => &[
            "Напиши X наоборот.", "X наоборот", "Переверни слово X.", "Переверни X.", "Как будет X наоборот?",
            "Напиши слово X наоборот.", "Прочитай X задом наперёд.", "Слово X наоборот", "Скажи X наоборот.",
            "Напиши X задом наперед.", "Как читается X наоборот?", "Прочти X справа налево.", "Разверни слово X.",
            "Напиши X с конца.", "Как пишется X наоборот?",
        ],
        (Language::Russian, Kind::Count) => &[
            "Сколько букв в слове X?", "Сколько букв в X?", "Посчитай буквы в слове X.", "Какая длина у слова X?",
            "Из скольких букв состоит X?", "Сколько всего букв в слове X?", "Сосчитай буквы в X.",
            "Число букв в слове X?",
        ],
        (Language::Russian, Kind::CountOf) => &[
            "Сколько букв L в слове X?", "Сколько L в слове X?", "Сколько раз буква L в слове X?",
            "Сколько букв L в X?", "Сколько раз L встречается в X?", "Посчитай буквы L в слове X.",
            "Сколько раз в слове X есть L?",
        ],
        (Language::Russian, Kind::Place) => &[
            "Какая N буква в слове X?", "Назови N букву слова X.", "Какая N буква слова X?", "N буква слова X?",
            "Какая буква N в слове X?",
        ],
        (Language::Russian, Kind::Words) => &[
            "Напиши слова в обратном порядке: X.",
            "Переставь слова в обратном порядке: X.",
            "Слова наоборот по порядку: X",
            "Назови эти слова с конца: X.",
            "Обратный порядок слов: X.",
            "Прочитай слова с последнего до первого: X.",
            "Поменяй порядок слов на обратный: X.",
        ],
    };
    let mut way = (*ways.choose(rng)?).to_owned();
    if rng.random_bool(0.4) && !way.starts_with(['X', 'N']) {
        way = uncapitalised(&way);
    }
    if let Some(place) = gold.place {
        way = place_one(&way, 'N', &ordinal(place, gold, &way, rng)?);
    }
    if rng.random_bool(0.06) {
        way = mistyped(&way, rng);
    }
    if let Some(letter) = gold.letter {
        // Some write it large, some in marks; what has an `s` behind it is plain.
        let plain = way.contains("Ls") || way.contains("L's");
        let shown = match rng.random_range(0..6) {
            0 => letter.to_uppercase().collect(),
            1 if !plain => format!("\"{letter}\""),
            2 if !plain => format!("'{letter}'"),
            _ => letter.to_string(),
        };
        way = place_one(&way, 'L', &shown);
    }
    let text = shown(gold, rng);
    let question = place_one(&way, 'X', &text);
    // Some shout the whole question, not the word alone.
    if gold.text.chars().count() > 1 && gold.text == gold.text.to_uppercase() && rng.random_bool(0.5) {
        return Some(question.to_uppercase());
    }
    Some(dress(&question, gold.language, Case::Kept, rng))
}

/// `way` with `what` in the place of a capital that stands by itself.
fn place_one(way: &str, place: char, what: &str) -> String {
    let chars: Vec<char> = way.chars().collect();
    let alone = |at: usize| {
        let after = chars.get(at + 1);
        (at == 0 || !chars[at - 1].is_alphabetic())
            && after.is_none_or(|c| !c.is_alphabetic() || (*c == 's' && place == 'L'))
    };
    let at = (0..chars.len()).find(|&at| chars[at] == place && alone(at));
    at.map_or_else(
        || way.to_owned(),
        |at| chars[..at].iter().collect::<String>() + what + &chars[at + 1..].iter().collect::<String>(),
    )
}

/// The text as the question has it: with hyphens, with commas, in marks.
fn shown(gold: &Gold, rng: &mut ChaCha8Rng) -> String {
    if gold.hyphens {
        return gold.parts().join("-");
    }
    if gold.kind == Kind::Words {
        return gold.parts().join(if rng.random_bool(0.5) { ", " } else { " " });
    }
    let text = &gold.text;
    match (rng.random_range(0..12), gold.language) {
        (0..2, _) => format!("\"{text}\""),
        (2, _) => format!("'{text}'"),
        (3, Language::Russian) => format!("«{text}»"),
        _ => text.clone(),
    }
}

/// The place in words or with its ending; `None` where this language has no form that fits the wording.
fn ordinal(place: usize, gold: &Gold, way: &str, rng: &mut ChaCha8Rng) -> Option<String> {
    const ENGLISH: [&str; 10] =
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    const RUSSIAN: [[&str; 2]; 10] = [
        ["первая", "первую"],
        ["вторая", "вторую"],
        ["третья", "третью"],
        ["четвёртая", "четвёртую"],
        ["пятая", "пятую"],
        ["шестая", "шестую"],
        ["седьмая", "седьмую"],
        ["восьмая", "восьмую"],
        ["девятая", "девятую"],
        ["десятая", "десятую"],
    ];
    let last = place + 1 == gold.text.chars().count();
    let named = last && rng.random_bool(0.8);
    Some(match gold.language {
        Language::English if named => "last".to_owned(),
        Language::English if rng.random_bool(0.25) => {
            let ending = match place + 1 {
                1 => "st",
                2 => "nd",
                3 => "rd",
                _ => "th",
            };
            format!("{}{ending}", place + 1)
        }
        Language::English => (*ENGLISH.get(place)?).to_owned(),
        Language::Russian => {
            let accusative = usize::from(way.contains("букву"));
            match named {
                true => ["последняя", "последнюю"][accusative].to_owned(),
                false => RUSSIAN.get(place)?[accusative].to_owned(),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_capital_by_itself_is_a_place() {
        assert_eq!(place_one("Name the N letter of X.", 'N', "third"), "Name the third letter of X.");
        assert_eq!(place_one("How many Ls are in X?", 'L', "e"), "How many es are in X?");
        assert_eq!(place_one("Spell picnic.", 'X', "stone"), "Spell picnic.");
    }
}
