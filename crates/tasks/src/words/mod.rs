//! Common words, one a line, and how to make questions of them: what people ask to have spelt, and what they talk about.
//!
//! Left out: proper names, anything with a hyphen, an apostrophe or a capital, and words of more than twelve letters.

use std::sync::LazyLock;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::task::Language;

/// Common English words of 2 to 12 small letters, sorted.
pub(crate) fn english() -> &'static [&'static str] {
    static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| include_str!("english.txt").lines().collect());
    &WORDS
}

/// Common Russian words of 2 to 12 small letters, sorted by code point; `ё` is written out.
pub(crate) fn russian() -> &'static [&'static str] {
    static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| include_str!("russian.txt").lines().collect());
    &WORDS
}

/// Words that most questions are made of. A tokenizer may keep them whole; their spelling then has to be learned by
/// heart.
#[rustfmt::skip]
pub(crate) fn of_questions(language: Language) -> &'static [&'static str] {
    match language {
        Language::English => &[
            "added", "all", "an", "and", "are", "at", "ate", "backwards", "be", "bought", "buys", "by", "calculate",
            "can", "cannot", "claims", "comes", "costs", "countdown", "did", "do", "does", "dollars", "each",
            "equally", "fewer", "find", "finds", "follows", "found", "from", "get", "give", "gives", "had", "half",
            "has", "have", "he", "help", "her", "him", "his", "how", "if", "in", "is", "it", "kinds", "knave",
            "knaves", "knights", "larger", "left", "less", "letter", "liar", "liars", "lies", "live", "loose", "lying",
            "make", "many", "me", "minus", "more", "my", "nano", "next", "not", "now", "number", "numbers", "of", "ok",
            "on", "one", "ones", "only", "out", "plus", "question", "same", "say", "says", "sequence", "sequences",
            "solve", "some", "spell", "sums", "take", "tell", "tells", "than", "that", "the", "them", "then", "there",
            "they", "times", "to", "try", "up", "us", "use", "was", "we", "were", "what", "who", "with", "word",
            "words", "you",
        ],
        Language::Russian => &[
            "больше", "будет", "букв", "буквам", "было", "вместе", "всего", "есть", "ещё", "задачи", "зовут", "из",
            "их", "каждой", "каждом", "как", "купил", "купила", "маленькие", "меньше", "меня", "мире", "мне", "модель",
            "на", "наоборот", "не", "нет", "нужно", "он", "она", "осталось", "отдала", "плюс", "по", "пожалуйста",
            "попробуй", "поровну", "посчитать", "потом", "решать", "ряды", "сколько", "слова", "слове", "стало",
            "стоит", "тебя", "теперь", "только", "ты", "умею", "чем", "числа", "числами", "число", "что", "это",
        ],
    }
}

/// A template filled in: of `[a|b]` one alternative is chosen, and `{name}` becomes `slot(name)`. Slots may stand in
/// alternatives, alternatives not in each other.
pub(crate) fn fill(template: &str, slot: &dyn Fn(&str, &mut ChaCha8Rng) -> String, rng: &mut ChaCha8Rng) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once(['[', '{']) {
        text += before;
        let close = if rest[before.len()..].starts_with('[') { ']' } else { '}' };
        let (inside, after) = after.split_once(close).unwrap_or((after, ""));
        text += &match close {
            ']' => {
                let choice = inside.split('|').collect::<Vec<_>>().choose(rng).copied().unwrap_or_default();
                fill(choice, slot, rng)
            }
            _ => slot(inside, rng),
        };
        rest = after;
    }
    text + rest
}

/// With a capital first letter.
pub(crate) fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// A word that does not exist, of one to four syllables: a name that nobody listed, or nonsense.
pub(crate) fn pronounceable(language: Language, rng: &mut ChaCha8Rng) -> String {
    let (before, vowels, after): (&[&str], &[&str], &[&str]) = match language {
        Language::English => (
            &[
                "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "y", "z", "sh",
                "ch", "th", "br", "kr", "st", "tr", "",
            ],
            &["a", "e", "i", "o", "u", "a", "e", "i", "o", "ee", "ai", "ou"],
            &["", "", "", "", "n", "r", "l", "s", "m", "k", "t", "x"],
        ),
        Language::Russian => (
            &[
                "б", "в", "г", "д", "ж", "з", "к", "л", "м", "н", "п", "р", "с", "т", "ф", "х", "ц", "ч", "ш", "бр",
                "ст", "тр", "",
            ],
            &["а", "о", "и", "е", "у", "а", "о", "и", "я", "ю", "э"],
            &["", "", "", "", "н", "р", "л", "с", "м", "к", "т", "й"],
        ),
    };
    let mut word = String::new();
    for _ in 0..*[1, 2, 2, 2, 3, 3, 4].choose(rng).unwrap_or(&2) {
        for letters in [before, vowels, after] {
            word += letters.choose(rng).copied().unwrap_or_default();
        }
    }
    // One letter is no name.
    if word.chars().count() < 2 { format!("{word}{word}") } else { word }
}

/// With one slip of the finger in a word of four or more letters: two letters swapped, or one left out or doubled.
pub(crate) fn mistyped(text: &str, rng: &mut ChaCha8Rng) -> String {
    let mut words: Vec<Vec<char>> = text.split(' ').map(|word| word.chars().collect()).collect();
    let long = |word: &[char]| word.len() >= 4 && word.iter().all(|letter| letter.is_alphabetic());
    let places: Vec<usize> = (0..words.len()).filter(|place| long(&words[*place])).collect();
    if let Some(place) = places.choose(rng) {
        let word = &mut words[*place];
        let at = rng.random_range(1..word.len() - 1);
        match rng.random_range(0..3) {
            0 => word.swap(at, at + 1),
            1 => drop(word.remove(at)),
            _ => word.insert(at, word[at]),
        }
    }
    words.into_iter().map(String::from_iter).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    #[test]
    fn the_lists_are_sorted_plain_and_long_enough() {
        let latin = |letter: char| letter.is_ascii_lowercase();
        let cyrillic = |letter: char| matches!(letter, 'а'..='я' | 'ё');
        let lists = [(english(), 2000, latin as fn(char) -> bool), (russian(), 500, cyrillic)];
        for (words, fewest, letter) in lists {
            assert!(words.len() >= fewest, "{}", words.len());
            assert!(words.windows(2).all(|pair| pair[0] < pair[1]), "sorted and distinct");
            for word in words {
                assert!((2..=12).contains(&word.chars().count()) && word.chars().all(letter), "{word}");
            }
        }
        assert!(english().binary_search(&"picnic").is_ok() && russian().binary_search(&"пикник").is_ok());
    }

    #[test]
    fn a_template_is_filled() {
        let mut rng = draw::rng(1, "words", 0, 0);
        let slot = |name: &str, _: &mut ChaCha8Rng| name.to_uppercase();
        for _ in 0..20 {
            let text = fill("[a|b {x}] {y}?", &slot, &mut rng);
            assert!(["a Y?", "b X Y?"].contains(&text.as_str()), "{text}");
        }
    }

    #[test]
    fn a_slip_is_a_small_one() {
        let mut rng = draw::rng(2, "words", 0, 0);
        for _ in 0..100 {
            let text = mistyped("hi what", &mut rng);
            assert!(text.starts_with("hi w") && (6..=8).contains(&text.len()), "{text}");
            assert!(pronounceable(Language::Russian, &mut rng).chars().count() > 1);
        }
    }
}
