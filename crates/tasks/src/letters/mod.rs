//! The letters of a word: spelled, backwards, counted, one of them; and some words in the other order.
//!
//! The working numbers the letters, `1s2t3o4n5e`, and then looks them up: backwards is to count down, `5e4n3o2t1s`. One
//! letter is counted as it comes, `e: 1s2e(1)3v4e(2)5n`. Words are English and Russian ones or any letters at all. Left
//! out: texts with punctuation or digits, longer than [`MOST_LETTERS`].

mod wordings;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::number::Number;
use crate::task::{Language, Problem, Source, Split, Task, TaskError, Trace, Verdict};
use crate::word_problems::names_and_nouns;
use crate::{small_talk, words};

const NAME: &str = "letters";
/// Longest answer that is looked at, in bytes.
const MAX_LEN: usize = 256;
/// How often a word that exists is somebody's name.
const NAMES: f64 = 0.08;
/// How often it is one of the words that questions are made of. As single tokens they do not show their letters, so each
/// has to be seen often.
const OF_QUESTIONS: f64 = 0.3;
/// Most letters of a word that is judged.
const MOST_LETTERS: usize = 24;

/// The words and names, in small letters, that a tokenizer should leave as letters, so that a model can read off how
/// they are spelled. Words that questions are made of are left out: they are few enough to be learned by heart. Their
/// held-out ones are not, because no training text spells them.
pub fn spelled_words() -> impl Iterator<Item = String> {
    let languages = [Language::English, Language::Russian];
    let listed = words::english().iter().chain(words::russian()).copied();
    let named = languages.into_iter().flat_map(small_talk::names).copied().chain(names_and_nouns());
    let by_heart = move |word: &str| {
        languages.iter().any(|language| words::of_questions(*language).contains(&word))
            && Split::of(&id(word)) == Split::Train
    };
    let asked = languages.into_iter().flat_map(words::of_questions).copied();
    listed.chain(named).chain(asked).map(str::to_lowercase).filter(move |word| !by_heart(word))
}

/// The dials of [`Letters`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// What is asked, each equally often; `spell` and `reverse` count twice.
    pub kinds: Vec<Kind>,
    /// How often, from 0 to 1, it is letters at random instead of a word that exists.
    pub random: f64,
    /// How often, from 0 to 1, a question is in Russian.
    pub russian: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, kinds: Kind::ALL.to_vec(), random: 0.3, russian: 0.25 }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// All letters in order.
    Spell,
    /// All letters, the last first.
    Reverse,
    /// How many letters there are.
    Count,
    /// How many there are of one letter.
    CountOf,
    /// One letter by its place.
    Place,
    /// Some words, the last first.
    Words,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Spell, Self::Reverse, Self::Count, Self::CountOf, Self::Place, Self::Words];
}

/// Questions about letters.
pub struct Letters {
    source: Drawn<Config>,
}

impl Letters {
    /// The task under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        let dial = |key, value: String, cure| Err(TaskError::Dial { task: NAME, key, value, cure });
        if config.kinds.is_empty() {
            let cure = "give at least one of \"spell\", \"reverse\", \"count\", \"count_of\", \"place\", \"words\"";
            return dial("kinds", "[]".into(), cure);
        }
        for (key, share) in [("random", config.random), ("russian", config.russian)] {
            if !(0.0..=1.0).contains(&share) {
                return dial(key, share.to_string(), "give a share from 0 to 1");
            }
        }
        let levels: Vec<Config> =
            config.kinds.iter().map(|&kind| Config { kinds: vec![kind], ..config.clone() }).collect();
        Ok(Self { source: Drawn::new(NAME, seed, config, levels, draw_problem)? })
    }
}

impl Task for Letters {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A level for each kind.
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn examples(&self) -> Vec<String> {
        vec!["Spell picnic.".to_owned(), "Reverse stone.".to_owned()]
    }

    /// That of the letters, of which the working is made, whatever the question is in.
    fn language(&self, problem: &Problem) -> Language {
        let is_russian = Gold::of(problem).is_some_and(|gold| !gold.text.chars().any(|c| c.is_ascii_alphabetic()));
        if is_russian { Language::Russian } else { Language::English }
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let gold = Gold::of(problem)?;
        let parts = gold.parts();
        let gap = if gold.kind == Kind::Words { " " } else { "" };
        let mut forth = numbered(&parts);
        let line = forth.join(gap);
        let second = match gold.kind {
            Kind::Spell => None,
            Kind::Reverse | Kind::Words => {
                forth.reverse();
                Some(forth.join(gap))
            }
            Kind::Count => forth.pop(),
            // Counted as they come: to look for all of them in a line that is written is harder.
            Kind::CountOf => return Some(Trace { thinking: counted(&parts, gold.letter?), answer: gold.answer()? }),
            Kind::Place => Some(forth.get(gold.place?)?.clone()),
        };
        let thinking = second.map_or(line.clone(), |second| format!("{line}\n{second}"));
        Some(Trace { thinking, answer: gold.answer()? })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some((gold, right)) = Gold::of(problem).and_then(|gold| Some((gold.clone(), gold.answer()?))) else {
            return Verdict::foreign(NAME, problem);
        };
        if answer.len() > MAX_LEN {
            return Verdict::wrong("too long for a word");
        }
        let same = |between: fn(&char) -> bool| {
            let plain = |text: &str| text.trim().trim_end_matches('.').to_lowercase();
            let parted =
                |text: &str| plain(text).chars().map(|c| if between(&c) { ' ' } else { c }).collect::<String>();
            (parted(answer), parted(&right))
        };
        let (said, right) = match gold.kind {
            Kind::Count | Kind::CountOf => return Number::judge(answer, &right),
            // A hyphen or blanks between two letters, or nothing, in either case: `E-n-o-t-s`, `e n o t s`, `enots`.
            Kind::Spell | Kind::Reverse | Kind::Place => {
                let (said, right) = same(|c| *c == '-' || *c == ',' || c.is_whitespace());
                (said.replace(' ', ""), right.replace(' ', ""))
            }
            Kind::Words => {
                let (said, right) = same(|c| *c == '-' || *c == ',' || c.is_whitespace());
                let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
                (words(said), words(right))
            }
        };
        if said == right { Verdict::Right(1.0) } else { Verdict::wrong("other letters") }
    }
}

/// The gold of this task's problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Gold {
    kind: Kind,
    /// The word, or words with blanks between.
    text: String,
    /// Whether hyphens part its letters or words in the question.
    #[serde(default)]
    hyphens: bool,
    /// The letter that is counted.
    letter: Option<char>,
    /// The place that is asked for, from 0.
    place: Option<usize>,
    language: Language,
}

impl Gold {
    fn of(problem: &Problem) -> Option<Self> {
        let gold: Self = serde_json::from_value(problem.gold.clone()).ok()?;
        let parts = gold.parts();
        let plain = |part: &String| !part.is_empty() && part.chars().all(char::is_alphabetic);
        ((1..=MOST_LETTERS).contains(&parts.len()) && parts.iter().all(plain)).then_some(gold)
    }

    fn parts(&self) -> Vec<String> {
        match self.kind {
            Kind::Words => self.text.split(' ').map(str::to_owned).collect(),
            _ => self.text.chars().map(String::from).collect(),
        }
    }

    fn answer(&self) -> Option<String> {
        let mut parts = self.parts();
        Some(match self.kind {
            Kind::Spell => parts.join("-"),
            Kind::Reverse | Kind::Words => {
                parts.reverse();
                let plain = if self.kind == Kind::Words { " " } else { "" };
                parts.join(if self.hyphens { "-" } else { plain })
            }
            Kind::Count => parts.len().to_string(),
            Kind::CountOf => {
                let letter = self.letter?;
                parts.iter().filter(|part| is_letter(part, letter)).count().to_string()
            }
            Kind::Place => parts.get(self.place?)?.clone(),
        })
    }
}

fn is_letter(part: &str, letter: char) -> bool {
    part.chars().flat_map(char::to_lowercase).eq(letter.to_lowercase())
}

/// `1s`, `2t`, `3o` and so on.
pub(crate) fn numbered(parts: &[String]) -> Vec<String> {
    (1..).zip(parts).map(|(place, part)| format!("{place}{part}")).collect()
}

/// `e: 1s2e(1)3v4e(2)5n`
fn counted(parts: &[String], letter: char) -> String {
    let mut found = 0;
    let mut line = format!("{letter}: ");
    for (place, part) in (1..).zip(parts) {
        line += &format!("{place}{part}");
        if is_letter(part, letter) {
            found += 1;
            line += &format!("({found})");
        }
    }
    line
}

/// The same word is one problem, whatever is asked of it: its letters are the answer to everything.
pub(crate) fn id(text: &str) -> String {
    format!("{NAME}/{}", text.to_lowercase())
}

fn draw_problem(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    let twice = [Kind::Spell, Kind::Reverse].into_iter().filter(|kind| config.kinds.contains(kind));
    let kinds: Vec<Kind> = config.kinds.iter().copied().chain(twice).collect();
    let kind = *kinds.choose(rng)?;
    let language = if rng.random_bool(config.russian) { Language::Russian } else { Language::English };
    // Words of the other language are asked about too.
    let of_word = if rng.random_bool(0.06) { other(language) } else { language };
    let mut text = match kind {
        Kind::Words => {
            let some = |rng: &mut ChaCha8Rng| match rng.random_bool(OF_QUESTIONS) {
                true => words::of_questions(of_word).choose(rng).copied(),
                false => word(of_word, rng),
            };
            (0..rng.random_range(2..=5)).map(|_| some(rng)).collect::<Option<Vec<_>>>()?.join(" ")
        }
        _ if rng.random_bool(config.random) => random_letters(of_word, rng),
        _ if rng.random_bool(NAMES) => (*small_talk::names(of_word).choose(rng)?).to_owned(),
        _ if rng.random_bool(OF_QUESTIONS) => (*words::of_questions(of_word).choose(rng)?).to_owned(),
        _ => word(of_word, rng)?.to_owned(),
    };
    match rng.random_range(0..20) {
        0..2 => text = capitalised(&text),
        2 | 3 => text = text.to_uppercase(),
        _ => {}
    }
    let letters: Vec<char> = text.chars().collect();
    let letter = match kind {
        // Mostly one that is there.
        Kind::CountOf if rng.random_bool(0.85) => letters.choose(rng)?.to_lowercase().next(),
        Kind::CountOf => Some(random_letter(of_word, rng)),
        _ => None,
    };
    // The first, the last, and those that people have names for.
    let place = (kind == Kind::Place).then(|| match rng.random_range(0..4) {
        0 => letters.len() - 1,
        1 => 0,
        _ => rng.random_range(0..letters.len().min(10)),
    });
    let hyphens = match kind {
        Kind::Reverse => rng.random_bool(0.15),
        Kind::Words => rng.random_bool(0.3),
        _ => false,
    };
    let gold = Gold { kind, text, hyphens, letter, place, language };
    let prompt = wordings::pose(&gold, rng)?;
    Some(Problem { id: id(&gold.text), task: NAME.to_owned(), prompt, gold: serde_json::json!(gold) })
}

fn other(language: Language) -> Language {
    match language {
        Language::English => Language::Russian,
        Language::Russian => Language::English,
    }
}

fn word(language: Language, rng: &mut ChaCha8Rng) -> Option<&'static str> {
    match language {
        Language::English => words::english(),
        Language::Russian => words::russian(),
    }
    .choose(rng)
    .copied()
}

fn random_letter(language: Language, rng: &mut ChaCha8Rng) -> char {
    match language {
        Language::English => rng.random_range('a'..='z'),
        Language::Russian => rng.random_range('а'..='я'),
    }
}

fn random_letters(language: Language, rng: &mut ChaCha8Rng) -> String {
    (0..rng.random_range(1..=13)).map(|_| random_letter(language, rng)).collect()
}

fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Letters {
        Letters::new(Config::default(), 0).unwrap()
    }

    fn posed(kind: Kind, text: &str) -> Problem {
        let gold = Gold {
            kind,
            text: text.into(),
            hyphens: false,
            letter: Some('r'),
            place: Some(2),
            language: Language::English,
        };
        Problem { id: id(text), task: NAME.into(), prompt: String::new(), gold: serde_json::json!(gold) }
    }

    #[test]
    fn traces_as_written() {
        for (kind, text, thinking, answer) in [
            (Kind::Spell, "picnic", "1p2i3c4n5i6c", "p-i-c-n-i-c"),
            (Kind::Reverse, "stone", "1s2t3o4n5e\n5e4n3o2t1s", "enots"),
            (Kind::Count, "cat", "1c2a3t\n3t", "3"),
            (Kind::CountOf, "mirror", "r: 1m2i3r(1)4r(2)5o6r(3)", "3"),
            (Kind::CountOf, "cat", "r: 1c2a3t", "0"),
            (Kind::Place, "кот", "1к2о3т\n3т", "т"),
            (Kind::Words, "red fox", "1red 2fox\n2fox 1red", "fox red"),
        ] {
            let problem = posed(kind, text);
            let trace = task().trace(&problem).unwrap();
            assert_eq!((trace.thinking.as_str(), trace.answer.as_str()), (thinking, answer));
            assert!(task().verify(&problem, answer).is_right());
        }
    }

    #[test]
    fn only_question_words_that_training_spells_may_be_whole() {
        let spelled: std::collections::HashSet<String> = spelled_words().collect();
        assert!(["picnic", "alice", "bananas", "ложек"].iter().all(|word| spelled.contains(*word)));
        for word in [Language::English, Language::Russian].into_iter().flat_map(words::of_questions) {
            assert_eq!(spelled.contains(*word), Split::of(&id(word)) == Split::HeldOut, "{word}");
        }
    }

    #[test]
    fn ways_to_write_it() {
        let letters = posed(Kind::Reverse, "sto");
        for answer in ["o-t-s", "o t s", "ots", " O-T-S\n", "ots.", "o, t, s"] {
            assert!(task().verify(&letters, answer).is_right(), "{answer}");
        }
        for answer in ["", "s-t-o", "o-t", "o-t-s-s", "\"ots\"", "so: o-t-s"] {
            assert!(!task().verify(&letters, answer).is_right(), "{answer}");
        }
        let words = posed(Kind::Words, "red fox");
        assert!(task().verify(&words, "fox-red").is_right() && task().verify(&words, "Fox red").is_right());
        assert!(!task().verify(&words, "foxred").is_right() && !task().verify(&words, "xof der").is_right());
        assert!(task().verify(&posed(Kind::CountOf, "mirror"), "3").is_right());
    }

    #[test]
    fn problems_are_right_and_short() {
        let task = task();
        for index in 0..10_000 {
            let problem = task.problem(Split::Train, index);
            let trace = task.trace(&problem).unwrap();
            assert!(task.verify(&problem, &trace.answer).is_right(), "{problem:?} {trace:?}");
            assert!(problem.prompt.chars().count() <= 140, "{}", problem.prompt);
            let gold = Gold::of(&problem).unwrap();
            if gold.kind != Kind::Words && !gold.hyphens {
                assert!(problem.prompt.contains(&gold.text), "{problem:?}");
            }
        }
    }

    #[test]
    fn dials_out_of_range_are_named() {
        let fault = |config| Letters::new(config, 0).map(|_| ()).unwrap_err().to_string();
        assert!(fault(Config { kinds: vec![], ..Config::default() }).contains("kinds"));
        assert!(fault(Config { random: 1.5, ..Config::default() }).contains("random = 1.5"));
    }
}
