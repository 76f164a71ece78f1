//! A text backwards, letter by letter or word by word: `s-t-o-n-e` becomes `e-n-o-t-s`.
//!
//! Hyphens part the letters, because a tokenizer would merge them otherwise and a letter inside a token cannot be
//! seen. The working numbers the parts and then counts down, so that each step is to look up one number:
//! `1s2t3o4n5e`, `5e4n3o2t1s`. Asked to spell a word, the model has to know its letters by heart. Not here: texts with
//! punctuation, digits or more than one script.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::{self, Drawn};
use crate::task::{Problem, Source, Task, TaskError, Trace, Verdict, drawn_examples};

const NAME: &str = "reverse_text";
/// Longest answer that is looked at, in bytes.
const MAX_LEN: usize = 256;
/// Most parts of a text.
const MAX_PARTS: usize = 16;

/// The dials of [`ReverseText`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// Fewest and most parts, letters or words, 2 to 16.
    pub length: [usize; 2],
    /// What is asked, each equally often.
    pub kinds: Vec<Kind>,
    /// Whether the working says what it does: `Numbered: 1s2t`, or `The word ox has 2 letters: 1o2x`, and
    /// `Backwards: 2t1s`.
    pub words: bool,
    /// Whether questions are put in several ways instead of one.
    pub varied: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            weight: 1.0,
            length: [3, 8],
            kinds: vec![Kind::Letters, Kind::Words, Kind::Spelling],
            words: false,
            varied: false,
        }
    }
}

/// What there is to reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Random letters, shown one by one.
    Letters,
    /// The order of some words.
    Words,
    /// The letters of a word that is shown whole. The list's words have 3 to 8 letters.
    Spelling,
}

/// Texts to be written backwards.
pub struct ReverseText {
    words: bool,
    source: Drawn<Config>,
}

impl ReverseText {
    /// The task under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        let dial = |key, value: String, cure| TaskError::Dial { task: NAME, key, value, cure };
        let [low, high] = config.length;
        if low < 2 || low > high || high > MAX_PARTS {
            return Err(dial("length", format!("{:?}", config.length), "give [fewest, most] between 2 and 16"));
        }
        if config.kinds.is_empty() {
            let cure = "give at least one of \"letters\", \"words\", \"spelling\"";
            return Err(dial("kinds", "[]".into(), cure));
        }
        let levels: Vec<Config> = (low..=high).map(|length| Config { length: [length; 2], ..config.clone() }).collect();
        Ok(Self { words: config.words, source: Drawn::new(NAME, seed, config, levels, draw_problem)? })
    }
}

impl Task for ReverseText {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A level for each length.
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn examples(&self) -> Vec<String> {
        let Config { length: [low, high], kinds, .. } = self.source.dials();
        match (*low..=*high).contains(&3) && kinds.contains(&Kind::Words) {
            true => vec!["Write stone-river-cup backwards, with hyphens.".to_owned()],
            false => drawn_examples(self),
        }
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let parts = parts_of(problem)?;
        let forth = numbered(&parts);
        let back: String = forth.iter().rev().map(String::as_str).collect();
        let thinking = match problem.gold.as_str() {
            _ if !self.words => format!("{}\n{back}", forth.concat()),
            // As the text of pre-training has it, the word as it stands in the question: what is known by heart is
            // found again by the same words.
            Some(word) => format!("{}\nBackwards: {back}", spelled(word)),
            None => format!("Numbered: {}\nBackwards: {back}", forth.concat()),
        };
        Some(Trace { thinking, answer: reversed(&parts) })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some(parts) = parts_of(problem) else {
            return Verdict::foreign(NAME, problem);
        };
        if answer.len() > MAX_LEN {
            return Verdict::wrong("too long for a text backwards");
        }
        // A hyphen or blanks between two parts, in either case: `E-n-o-t-s`, `e n o t s`.
        let said: Vec<String> =
            answer.trim().split(|c: char| c == '-' || c.is_whitespace()).map(str::to_lowercase).collect();
        let letters = parts.iter().all(|part| part.chars().count() == 1);
        let right = said.iter().eq(parts.iter().rev())
            // Letters also without anything between them.
            || letters && said.len() == 1 && said[0] == parts.iter().rev().map(String::as_str).collect::<String>();
        if right { Verdict::Right(1.0) } else { Verdict::wrong("another text") }
    }
}

/// The parts in the order of the question: the letters of a word, or a list. `None` for another task's gold or one of
/// another size.
fn parts_of(problem: &Problem) -> Option<Vec<String>> {
    let parts: Vec<String> = match problem.gold.as_str() {
        Some(word) => word.chars().map(String::from).collect(),
        None => serde_json::from_value(problem.gold.clone()).ok()?,
    };
    let plain = |part: &String| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    ((1..=MAX_PARTS).contains(&parts.len()) && parts.iter().all(plain)).then_some(parts)
}

/// `1s`, `2t`, `3o` and so on.
pub(crate) fn numbered(parts: &[String]) -> Vec<String> {
    (1..).zip(parts).map(|(place, part)| format!("{place}{part}")).collect()
}

/// What there is to know of a word. It stands after a blank here as it does in a question: with and without one it is
/// other tokens, and to know the letters of the ones is not to know those of the others.
pub(crate) fn spelled(word: &str) -> String {
    let letters: Vec<String> = word.chars().map(String::from).collect();
    format!("The word {word} has {} letters: {}", letters.len(), numbered(&letters).concat())
}

fn reversed(parts: &[String]) -> String {
    parts.iter().rev().map(String::as_str).collect::<Vec<_>>().join("-")
}

pub(crate) fn id(parts: &[String]) -> String {
    format!("{NAME}/{}", parts.join("-"))
}

/// `None` if there is no word of the wanted length.
fn draw_problem(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    let [low, high] = config.length;
    let length = rng.random_range(low..=high);
    let kind = *config.kinds.choose(rng)?;
    let parts: Vec<String> = match kind {
        Kind::Letters => (0..length).map(|_| char::from(rng.random_range(b'a'..=b'z')).to_string()).collect(),
        Kind::Words => (0..length).map(|_| WORDS.choose(rng).map(|word| (*word).to_owned())).collect::<Option<_>>()?,
        Kind::Spelling => {
            let fitting: Vec<&&str> = WORDS.iter().filter(|word| word.len() == length).collect();
            fitting.choose(rng)?.chars().map(String::from).collect()
        }
    };
    let (ways, gold) = match kind {
        Kind::Letters | Kind::Words => {
            let shown = parts.join("-");
            let ways = [
                format!("Write {shown} backwards, with hyphens."),
                format!("What is {shown} backwards?"),
                format!("Reverse {shown}."),
            ];
            (ways, serde_json::json!(parts))
        }
        Kind::Spelling => {
            let word = parts.concat();
            let ways = [
                format!("Spell {word} backwards, letter by letter, with hyphens."),
                format!("How is {word} spelled backwards?"),
                format!("Reverse the letters of {word}."),
            ];
            (ways, serde_json::json!(word))
        }
    };
    let prompt = draw::wording(config.varied, ways, rng);
    // The same letters spelled and whole are one problem.
    Some(Problem { id: id(&parts), task: NAME.to_owned(), prompt, gold })
}

/// Plain short words.
pub(crate) const WORDS: [&str; 160] = [
    "air", "ant", "arm", "bag", "bee", "bell", "bird", "boat", "bone", "book", "box", "bread", "brick", "bridge",
    "brush", "bucket", "butter", "button", "cake", "camel", "candle", "cap", "carpet", "castle", "cat", "chair",
    "cheese", "circle", "clock", "cloud", "coat", "coin", "copper", "corn", "cup", "desk", "dish", "dog", "door",
    "dragon", "drum", "duck", "eagle", "ear", "earth", "egg", "engine", "farm", "feather", "field", "finger", "fire",
    "fish", "flag", "flower", "forest", "fork", "fox", "frog", "fruit", "garden", "gate", "glass", "goat", "gold",
    "grape", "grass", "hammer", "hand", "hat", "hill", "honey", "horse", "house", "ice", "ink", "iron", "island",
    "jar", "key", "king", "kitchen", "kite", "knot", "ladder", "lake", "lamp", "leaf", "lemon", "letter", "light",
    "lion", "map", "market", "melon", "milk", "mirror", "money", "moon", "mountain", "mouse", "nail", "nest", "net",
    "night", "nose", "nut", "oil", "onion", "orange", "oven", "owl", "paint", "paper", "pear", "pen", "pepper",
    "piano", "picture", "pilot", "plate", "pocket", "pond", "queen", "rabbit", "rain", "ring", "river", "road", "rock",
    "roof", "rope", "rose", "salt", "sand", "school", "sea", "shell", "ship", "shoe", "silver", "sister", "sky",
    "snow", "spoon", "star", "stone", "street", "sugar", "summer", "table", "tiger", "train", "tree", "village",
    "wall", "water", "window", "winter", "wood",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn task() -> ReverseText {
        ReverseText::new(Config::default(), 0).unwrap()
    }

    fn posed(parts: &[&str]) -> Problem {
        Problem {
            id: "reverse_text/test".into(),
            task: NAME.into(),
            prompt: String::new(),
            gold: serde_json::json!(parts),
        }
    }

    #[test]
    fn traces_as_written() {
        let trace = task().trace(&posed(&["s", "t", "o", "n", "e"])).unwrap();
        assert_eq!((trace.thinking.as_str(), trace.answer.as_str()), ("1s2t3o4n5e\n5e4n3o2t1s", "e-n-o-t-s"));
        let in_words = ReverseText::new(Config { words: true, ..Config::default() }, 0).unwrap();
        let trace = in_words.trace(&posed(&["s", "t", "o"])).unwrap();
        assert_eq!((trace.thinking.as_str(), trace.answer.as_str()), ("Numbered: 1s2t3o\nBackwards: 3o2t1s", "o-t-s"));
        let word = Problem { gold: serde_json::json!("fox"), ..posed(&[]) };
        let trace = in_words.trace(&word).unwrap();
        assert_eq!(trace.thinking, "The word fox has 3 letters: 1f2o3x\nBackwards: 3x2o1f");
        assert_eq!(trace.answer, "x-o-f");
        let trace = task().trace(&posed(&["red", "fox"])).unwrap();
        assert_eq!((trace.thinking.as_str(), trace.answer.as_str()), ("1red2fox\n2fox1red", "fox-red"));
    }

    #[test]
    fn ways_to_write_it() {
        let letters = posed(&["s", "t", "o"]);
        for answer in ["o-t-s", "o t s", "ots", " O-T-S\n"] {
            assert!(task().verify(&letters, answer).is_right(), "{answer}");
        }
        for answer in ["s-t-o", "o-t", "o-t-s-s", "o--t-s", "o-ts", "o,t,s", "\"ots\"", "o-t-s.", "so: o-t-s"] {
            assert!(!task().verify(&letters, answer).is_right(), "{answer}");
        }
        let words = posed(&["red", "fox"]);
        assert!(task().verify(&words, "fox-red").is_right() && task().verify(&words, "Fox red").is_right());
        assert!(!task().verify(&words, "foxred").is_right() && !task().verify(&words, "xof-der").is_right());
    }

    #[test]
    fn dials_out_of_range_are_named() {
        let build = |edit: fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            ReverseText::new(config, 0).map(|_| ()).unwrap_err().to_string()
        };
        assert!(build(|c| c.length = [1, 3]).contains("length = [1, 3]"));
        assert!(build(|c| c.length = [4, 3]).contains("between 2 and 16"));
        assert!(build(|c| c.kinds.clear()).contains("kinds"));
        assert!(build(|c| (c.kinds, c.length) = (vec![Kind::Spelling], [12, 14])).contains("widen"));
    }

    #[test]
    fn the_words_are_distinct_and_plain() {
        assert!(WORDS.is_sorted_by(|a, b| a < b));
        assert!(WORDS.iter().all(|w| (3..=8).contains(&w.len()) && w.bytes().all(|b| b.is_ascii_lowercase())));
    }

    proptest! {
        #[test]
        fn only_the_reverse_is_right(
            parts in prop::collection::vec("[a-z]{1,3}", 1..10),
            answer in "[a-z]{1,3}(-[a-z]{1,3}){0,9}",
        ) {
            let problem = posed(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            let mut backwards: Vec<&str> = answer.split('-').collect();
            backwards.reverse();
            let letters = parts.iter().all(|part| part.len() == 1);
            let right = backwards == parts || letters && answer == reversed(&parts).replace('-', "");
            prop_assert_eq!(task().verify(&problem, &answer).is_right(), right);
            prop_assert!(task().verify(&problem, &reversed(&parts)).is_right());
        }
    }
}
