//! What a small model cannot do, so that it says so: `What is the capital of Peru?` has the answer
//! `I can only calculate, spell words and solve small puzzles. Try: What is 347+289?`
//!
//! Whatever is not foreseen must end here and not in the answer to another question, so this is the most varied text of
//! all: the world, requests, feelings, follow-ups, nonsense, other languages, and near misses of what the other tasks
//! teach, such as larger numbers, powers, or Countdown with four numbers. Not here: division with a remainder
//! (arithmetic's), and small talk, whose wordings are never posed.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::calculations::number_words;
use crate::draw::{self, Drawn};
use crate::small_talk;
use crate::task::{Language, Problem, Source, Task, TaskError, Trace, Verdict};
use crate::wording::{Case, dress, is_cyrillic, refuses};
use crate::words::{self, capitalised, fill, mistyped, pronounceable};

mod english;
mod english_numbers;
mod english_words;
mod russian;

const NAME: &str = "beyond";
/// Longest answer that is looked at, in bytes.
const MAX_LEN: usize = 400;

/// The dials of [`Beyond`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// Share of questions in Russian, 0 to 1.
    pub russian: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, russian: 0.35 }
    }
}

/// What is to be declined.
pub struct Beyond {
    source: Drawn<Config>,
}

impl Beyond {
    /// The task under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        if !(0.0..=1.0).contains(&config.russian) {
            let (value, cure) = (config.russian.to_string(), "give a share from 0 to 1");
            return Err(TaskError::Dial { task: NAME, key: "russian", value, cure });
        }
        Ok(Self { source: Drawn::new(NAME, seed, config, [], candidate)? })
    }
}

impl Task for Beyond {
    fn name(&self) -> &'static str {
        NAME
    }

    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn examples(&self) -> Vec<String> {
        Vec::new() // nobody has to try what it cannot do
    }

    fn language(&self, problem: &Problem) -> Language {
        Asked::of(problem).map_or(Language::English, |asked| asked.language())
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let asked = Asked::of(problem)?;
        let (thinking, answer) = asked.declined();
        Some(Trace { thinking: thinking.to_owned(), answer: answer.to_owned() })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some(asked) = Asked::of(problem) else {
            return Verdict::foreign(NAME, problem);
        };
        let only = refuses(asked.language());
        match answer.trim() {
            answer if answer.len() > MAX_LEN => Verdict::wrong("too long for a reply"),
            answer if answer.starts_with(only) => Verdict::Right(1.0),
            _ => Verdict::wrong(format!("does not begin with {only:?}")),
        }
    }
}

/// Templates of one reason, with their weight.
type Group = (Why, u32, &'static [&'static str]);

/// The gold of this task's problems.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    why: Why,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    russian: bool,
}

/// Why it is beyond the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Why {
    World,
    /// Something to be done: a poem, a translation.
    Request,
    /// About the model or whoever speaks.
    Talk,
    Statement,
    FollowUp,
    /// Single words, broken sums, nonsense.
    Nothing,
    /// Another language.
    Tongue,
    Large,
    /// Decimals, fractions, per cent.
    Kind,
    /// Powers, roots, brackets, algebra, products of large numbers.
    Operation,
    /// A chain of four or more numbers.
    Many,
    Countdown,
    /// A story that asks for another kind of calculation.
    Story,
    /// A word of more letters than `letters` takes.
    Long,
}

impl Asked {
    fn of(problem: &Problem) -> Option<Self> {
        serde_json::from_value(problem.gold.clone()).ok()
    }

    fn language(self) -> Language {
        if self.russian { Language::Russian } else { Language::English }
    }

    /// The reason in a few words, and the reply.
    fn declined(self) -> (&'static str, &'static str) {
        const GENERAL: &str = "I can only calculate, spell words and solve small puzzles. Try: What is 347+289?";
        const GENERAL_RU: &str = "Я умею только считать и решать маленькие задачи. Попробуй: Сколько будет 347+289?";
        const WHOLE: &str = "I can only use whole numbers of up to four digits. Try: What is 347+289?";
        const WHOLE_RU: &str =
            "Я умею только работать с целыми числами до четырёх цифр. Попробуй: Сколько будет 347+289?";
        match (self.why, self.russian) {
            (Why::World, false) => ("About the world.", GENERAL),
            (Why::World, true) => ("О мире.", GENERAL_RU),
            (Why::Request | Why::Story, false) => ("Another kind of task.", GENERAL),
            (Why::Request | Why::Story, true) => ("Другая задача.", GENERAL_RU),
            (Why::Tongue, false) => ("Another language.", GENERAL),
            (Why::Tongue, true) => ("Другой язык.", GENERAL_RU),
            (Why::Talk | Why::Statement | Why::FollowUp | Why::Nothing, false) => ("Nothing to calculate.", GENERAL),
            (Why::Talk | Why::Statement | Why::FollowUp | Why::Nothing, true) => ("Нечего считать.", GENERAL_RU),
            (Why::Large, false) => ("Large numbers.", WHOLE),
            (Why::Large, true) => ("Большие числа.", WHOLE_RU),
            (Why::Kind, false) => ("Not whole numbers.", WHOLE),
            (Why::Kind, true) => ("Не целые числа.", WHOLE_RU),
            (Why::Operation, false) => (
                "Another operation.",
                "I can only add, subtract, multiply and divide small whole numbers. Try: What is 24*13?",
            ),
            (Why::Operation, true) => (
                "Другое действие.",
                "Я умею только складывать, вычитать, умножать и делить небольшие числа. Попробуй: Сколько будет 24*13?",
            ),
            (Why::Many, false) => {
                ("Too many numbers.", "I can only calculate with two or three numbers. Try: What is 2+3*4?")
            }
            (Why::Many, true) => (
                "Слишком много чисел.",
                "Я умею только считать с двумя или тремя числами. Попробуй: Сколько будет 2+3*4?",
            ),
            (Why::Long, false) => ("A long word.", "I can only spell and reverse short words. Try: Spell picnic."),
            (Why::Long, true) => {
                ("Длинное слово.", "Я умею только писать по буквам короткие слова. Попробуй: пикник по буквам")
            }
            (Why::Countdown, false) => (
                "Too many numbers.",
                "I can only play Countdown with two or three numbers. Try: Use 25, 3, 19 to make 41.",
            ),
            (Why::Countdown, true) => (
                "Слишком много чисел.",
                "Я умею только собирать число из двух или трёх чисел. Попробуй: Получи 41 из 25, 3, 19.",
            ),
        }
    }
}

/// A question or what stands for one; nothing if small talk has a reply to it.
fn candidate(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    let russian = rng.random_bool(config.russian);
    let language = if russian { Language::Russian } else { Language::English };
    let (why, text) = if rng.random_bool(0.1) {
        (Why::Nothing, salad(language, rng))
    } else {
        let groups = if russian { russian::GROUPS } else { english::GROUPS };
        let weights: Vec<f64> = groups.iter().map(|(_, weight, _)| f64::from(*weight)).collect();
        let (why, _, templates) = groups[draw::weighted(&weights, rng)];
        (why, fill(templates.choose(rng)?, &|slot, rng| filling(slot, language, rng), rng))
    };
    let text = if rng.random_bool(0.06) { mistyped(&text, rng) } else { text };
    let prompt = match why {
        Why::Long => dress(&capitalised(&text), language, Case::Kept, rng),
        // A greeting before these would be small talk, and a "please" after them odd.
        Why::FollowUp | Why::Nothing | Why::Tongue if rng.random_bool(0.6) => text,
        Why::FollowUp | Why::Nothing | Why::Tongue => capitalised(&text),
        Why::Talk | Why::Statement if rng.random_bool(0.5) => format!("{}.", capitalised(&text)).replace("?.", "?"),
        _ => dress(&capitalised(&text), language, Case::Free, rng),
    };
    let prompt = prompt.trim().to_owned();
    if prompt.is_empty() || small_talk::says(&prompt) {
        return None;
    }
    let id = format!("{NAME}/{}", prompt.to_lowercase());
    // Of a word that is in no language nobody can tell that it is Russian.
    let asked = Asked { why, russian: russian && is_cyrillic(&prompt) };
    Some(Problem { id, task: NAME.to_owned(), prompt, gold: serde_json::json!(asked) })
}

/// Words that make no sense together, or fingers on a keyboard.
fn salad(language: Language, rng: &mut ChaCha8Rng) -> String {
    let several = |word: &mut dyn FnMut(&mut ChaCha8Rng) -> String, most: usize, rng: &mut ChaCha8Rng| {
        (0..rng.random_range(1..=most)).map(|_| word(rng)).collect::<Vec<_>>().join(" ")
    };
    let text = match rng.random_range(0..10) {
        0..6 => several(&mut |rng| filling("word", language, rng), 8, rng),
        6 => several(&mut |rng| pronounceable(language, rng), 4, rng),
        7 => several(&mut |rng| filling("noise", language, rng), 3, rng),
        8 => several(
            &mut |rng| {
                let slot = *["word", "nonword", "noise", "n", "word"].choose(rng).unwrap_or(&"word");
                filling(slot, language, rng)
            },
            4,
            rng,
        ),
        _ => (0..rng.random_range(1..8))
            .filter_map(|_| b"@#$%&~_;'<>!?".choose(rng))
            .map(|sign| char::from(*sign))
            .collect(),
    };
    format!("{text}{}", ["", "", "", "?", ".", "!"].choose(rng).copied().unwrap_or_default())
}

/// What stands in a template's slot.
fn filling(slot: &str, language: Language, rng: &mut ChaCha8Rng) -> String {
    let russian = language == Language::Russian;
    let one = |english: &[&str], in_russian: &[&str], rng: &mut ChaCha8Rng| {
        let among = if russian { in_russian } else { english };
        among.choose(rng).map(|word| (*word).to_owned()).unwrap_or_default()
    };
    match slot {
        "word" => one(words::english(), words::russian(), rng),
        // The lists of nouns read well; of all words there are many more.
        "thing" if rng.random_bool(if russian { 0.8 } else { 0.6 }) => one(english_words::THINGS, russian::THINGS, rng),
        "thing" => filling("word", language, rng),
        "animal" => one(english_words::ANIMALS, russian::ANIMALS, rng),
        "topic" => one(english_words::TOPICS, russian::TOPICS, rng),
        "dish" => one(english_words::DISHES, russian::DISHES, rng),
        "verb" => one(english_words::VERBS, russian::VERBS, rng),
        "adjective" => one(english_words::ADJECTIVES, russian::ADJECTIVES, rng),
        "feeling" => one(english_words::FEELINGS, russian::FEELINGS, rng),
        "job" => one(english_words::JOBS, &[], rng),
        "part" => one(english_words::PARTS, &[], rng),
        "language" => one(english_words::LANGUAGES, &[], rng),
        "place" if !russian => one(english_words::PLACES, &[], rng),
        "place" | "of place" | "in place" => russian::PLACES.choose(rng).map_or_else(String::new, |place| {
            match slot {
                "place" => place.0,
                "of place" => place.1,
                _ => place.2,
            }
            .to_owned()
        }),
        "name" => small_talk::names(language).choose(rng).map_or_else(String::new, |name| (*name).to_owned()),
        "person" => {
            let surname = capitalised(&pronounceable(language, rng));
            if rng.random_bool(0.3) { surname } else { format!("{} {surname}", filling("name", language, rng)) }
        }
        "nonword" => pronounceable(language, rng),
        "noise" => {
            let rows = if russian {
                ["йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю", "йцукенгшщзхъфывапролджэячсмитьбю"]
            } else {
                ["qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertyuiopasdfghjklzxcvbnm"]
            };
            let row: Vec<char> = rows.choose(rng).copied().unwrap_or_default().chars().collect();
            (0..rng.random_range(3..11)).filter_map(|_| row.choose(rng)).collect()
        }
        "letter" => {
            let letters: Vec<char> = if russian { ('а'..='я').collect() } else { ('a'..='z').collect() };
            letters.choose(rng).map(char::to_string).unwrap_or_default()
        }
        "opword" => one(
            &["plus", "minus", "times", "divided by", "multiplied by"],
            &["плюс", "минус", "умножить на", "разделить на"],
            rng,
        ),
        "op" => one(
            &["+", "+", "-", "*", "*", "/", "x", "×", "÷", "−"],
            &["+", "+", "-", "*", "*", "/", ":", "×", "·", "−"],
            rng,
        ),
        "long" => long_word(language, rng),
        "riddle" => riddle(language, rng),
        "written" => written(russian, rng),
        "trig" => one(&["sine", "cosine", "tangent", "logarithm"], &["синус", "косинус", "тангенс"], rng),
        _ => number(slot, russian, rng),
    }
}

/// A word of 26 to 40 letters: a listed one, or several run together.
fn long_word(language: Language, rng: &mut ChaCha8Rng) -> String {
    const LENGTHS: std::ops::RangeInclusive<usize> = 26..=40;
    let listed = if language == Language::Russian { russian::LONG_WORDS } else { english_words::LONG_WORDS };
    if rng.random_bool(0.25) {
        return listed.choose(rng).map(|word| (*word).to_owned()).unwrap_or_default();
    }
    let real = rng.random_bool(0.5);
    let mut word = String::new();
    while !LENGTHS.contains(&word.chars().count()) {
        if word.chars().count() > *LENGTHS.end() {
            word.clear();
        }
        word += &if real { filling("word", language, rng) } else { pronounceable(language, rng) };
    }
    word
}

/// What four or five people say of each other, or three of whom one is a spy.
fn riddle(language: Language, rng: &mut ChaCha8Rng) -> String {
    let russian = language == Language::Russian;
    let count = rng.random_range(3..=5);
    let mut people: Vec<String> = Vec::new();
    if rng.random_bool(0.5) {
        people.extend(["A", "B", "C", "D", "E"].map(str::to_owned));
    }
    while people.len() < count {
        let name = filling("name", language, rng);
        if !people.contains(&name) {
            people.push(name);
        }
    }
    people.truncate(count);
    let kinds = match (russian, count) {
        (false, 3) => ["knight", "knave", "spy"],
        (false, _) => ["knight", "knave", "knave"],
        (true, 3) => ["рыцарь", "лжец", "шпион"],
        (true, _) => ["рыцарь", "лжец", "лжец"],
    };
    let mut sentences = Vec::new();
    for (at, person) in people.iter().enumerate() {
        let other = &people[(at + rng.random_range(1..count)) % count];
        // With three people, the spy must be spoken of.
        let kind = if at == 0 { kinds[2] } else { kinds.choose(rng).copied().unwrap_or_default() };
        sentences.push(match (russian, rng.random_range(0..3)) {
            (false, 0) => format!("{person} says \"{other} is a {kind}\"."),
            (false, _) => format!("{person} says: {other} is a {kind}."),
            (true, 0) => format!("{person}: {other} - {kind}."),
            (true, _) => format!("{person} говорит: {other} - {kind}."),
        });
    }
    sentences.join(" ")
}

/// A number from 100 to 9999 in words.
fn written(russian: bool, rng: &mut ChaCha8Rng) -> String {
    const HUNDREDS: [&str; 9] =
        ["сто", "двести", "триста", "четыреста", "пятьсот", "шестьсот", "семьсот", "восемьсот", "девятьсот"];
    let language = if russian { Language::Russian } else { Language::English };
    let [thousands, hundreds] = *[[0, 1], [1, 0], [1, 1]].choose(rng).unwrap_or(&[1, 1]);
    let mut parts = Vec::new();
    if thousands > 0 {
        parts.push(match (rng.random_range(1..10), russian) {
            (1, true) => "тысяча".to_owned(),
            (2, true) => "две тысячи".to_owned(),
            (count @ 3..=4, true) => format!("{} тысячи", number_words(count, language)),
            (count, true) => format!("{} тысяч", number_words(count, language)),
            (count, false) => format!("{} thousand", number_words(count, language)),
        });
    }
    if hundreds > 0 {
        let count = rng.random_range(1..10);
        parts.push(match russian {
            true => HUNDREDS[count as usize - 1].to_owned(),
            false => format!("{} hundred", number_words(count, language)),
        });
    }
    if rng.random_bool(0.6) {
        let and = if !russian && rng.random_bool(0.5) { "and " } else { "" };
        parts.push(format!("{and}{}", number_words(rng.random_range(1..100), language)));
    }
    parts.join(" ")
}

/// Numbers, for the slots that are none of words.
fn number(slot: &str, russian: bool, rng: &mut ChaCha8Rng) -> String {
    let digits = |count: u32, rng: &mut ChaCha8Rng| rng.random_range(10_u64.pow(count - 1)..10_u64.pow(count));
    let list = |count: usize, most: u32, rng: &mut ChaCha8Rng| {
        let numbers: Vec<String> = (0..count).map(|_| rng.random_range(1..=most).to_string()).collect();
        let between = *[", ", ", ", ", ", " ", ",", " and "].choose(rng).unwrap_or(&", ");
        numbers.join(if russian && between == " and " { " и " } else { between })
    };
    match slot {
        "d" => rng.random_range(2..10).to_string(),
        "n" => {
            let count = *[1, 2, 2, 2, 3, 3, 4].choose(rng).unwrap_or(&2);
            digits(count, rng).to_string()
        }
        "two" => digits(2, rng).to_string(),
        "three" => digits(3, rng).to_string(),
        "four" => digits(4, rng).to_string(),
        "big" => {
            let count = *[5, 5, 5, 6, 6, 7, 8, 9, 12].choose(rng).unwrap_or(&5);
            digits(count, rng).to_string()
        }
        "grouped" => {
            let mark = if russian { " " } else { "," };
            format!("{}{mark}{:03}", rng.random_range(10..1000), rng.random_range(0..1000))
        }
        "dec" => {
            let mark = if russian && rng.random_bool(0.5) { "," } else { "." };
            format!("{}{mark}{}", rng.random_range(0..100), rng.random_range(1..100))
        }
        "gap" => {
            let (first, step, place) = (rng.random_range(1..30), rng.random_range(2..12), rng.random_range(1..4));
            let hole = *["?", "_", "__", "...", "x"].choose(rng).unwrap_or(&"?");
            let shown = |at: u32| if at == place { hole.to_owned() } else { (first + at * step).to_string() };
            (0..rng.random_range(5..7)).map(shown).collect::<Vec<_>>().join(", ")
        }
        "year" => rng.random_range(900..2040).to_string(),
        "four digits" => list(4, 9, rng),
        "four numbers" => list(4, 100, rng),
        "five numbers" => list(5, 100, rng),
        "six numbers" => list(6, 100, rng),
        // A test asserts that no template has such a slot.
        unknown => format!("{{{unknown}}}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::task::Split;

    fn task() -> Beyond {
        Beyond::new(Config::default(), 0).unwrap()
    }

    #[test]
    fn there_are_many_templates_and_all_can_be_filled() {
        for (groups, language, fewest) in
            [(english::GROUPS, Language::English, 250), (russian::GROUPS, Language::Russian, 150)]
        {
            let templates: Vec<_> = groups.iter().flat_map(|(_, _, templates)| *templates).collect();
            assert!(templates.iter().collect::<HashSet<_>>().len() >= fewest, "{}", templates.len());
            for template in templates {
                // Alternatives do not stand in each other.
                let mut open = 0;
                for sign in template.chars() {
                    open += i32::from(sign == '[') - i32::from(sign == ']');
                    assert!((0..=1).contains(&open), "{template}");
                }
                for index in 0..30 {
                    let mut rng = draw::rng(3, "beyond", 0, index);
                    let text = fill(template, &|slot, rng| filling(slot, language, rng), &mut rng);
                    assert!(!text.contains(['{', '[', '}', ']']), "{template}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_is_too_long_is_too_long_for_the_other_tasks() {
        for index in 0..500 {
            let mut rng = draw::rng(4, "beyond", 0, index);
            for language in [Language::English, Language::Russian] {
                let word = long_word(language, &mut rng);
                assert!((26..=40).contains(&word.chars().count()), "{word}");
                let said = riddle(language, &mut rng);
                let people = said.matches(". ").count() + 1;
                assert!(people >= 4 || said.contains("spy") || said.contains("шпион"), "{said}");
            }
        }
    }

    #[test]
    fn it_declines_in_the_language_of_the_question() {
        for index in 0..2000 {
            let problem = task().problem(Split::Train, index);
            let trace = task().trace(&problem).unwrap();
            assert!(task().verify(&problem, &trace.answer).is_right());
            let russian = task().language(&problem) == Language::Russian;
            assert_eq!(trace.answer.starts_with("Я умею только"), russian, "{}", problem.prompt);
            assert_eq!(trace.answer.starts_with("I can only"), !russian, "{}", problem.prompt);
            assert!(!small_talk::says(&problem.prompt) && problem.prompt.trim() == problem.prompt);
        }
    }

    #[test]
    fn another_answer_is_wrong() {
        let gold = serde_json::json!({"why": "world"});
        let prompt = "What is the capital of Peru?".to_owned();
        let problem = Problem { id: "beyond/test".into(), task: NAME.into(), prompt, gold };
        for answer in
            ["", "Lima", "636", "Я умею только считать.", "What? I can only calculate.", &"I can only".repeat(99)]
        {
            assert!(matches!(task().verify(&problem, answer), Verdict::Wrong(_)), "{answer}");
        }
        assert!(task().verify(&problem, " I can only add.").is_right());
        let foreign = Problem { gold: serde_json::json!([1]), ..problem };
        assert!(matches!(task().verify(&foreign, "I can only add."), Verdict::CouldNotJudge(_)));
        assert!(Beyond::new(Config { russian: 2.0, ..Config::default() }, 0).is_err());
    }
}
