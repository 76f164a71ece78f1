//! What people say to a model before they ask it something: hello, who are you, thanks, and questions beyond it.
//!
//! `Hi! I am Ada. Who are you?` has one right reply, put together from what was said: the greeting back, with the name,
//! and a fixed sentence for each thing that can be asked. A question about the world, of which a tiny model knows
//! nothing, has the reply that it does not know. Replies are compared word for word, so this teaches manners and
//! rewards nothing else. What the model says it can do is what the program has tasks for, whichever the recipe has.
//! Not here: conversations of several turns, other languages than English.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::reverse_text::WORDS;
use crate::task::{Problem, Source, Task, TaskError, Trace, Verdict};
use crate::word_problems::NAMES;

const NAME: &str = "small_talk";
/// Longest answer that is looked at, in bytes.
const MAX_LEN: usize = 400;

/// The dials of [`SmallTalk`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// What the model calls itself, 1 to 40 characters.
    pub called: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, called: "Picnic".to_owned() }
    }
}

/// Greetings and the like.
pub struct SmallTalk {
    called: String,
    source: Drawn<Config>,
}

impl SmallTalk {
    /// The task under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        if !(1..=40).contains(&config.called.chars().count()) {
            let (value, cure) = (format!("{:?}", config.called), "give a name of 1 to 40 characters");
            return Err(TaskError::Dial { task: NAME, key: "called", value, cure });
        }
        let called = config.called.clone();
        let source = Drawn::new(NAME, seed, config, [], |_, rng| Said::draw(rng).pose(rng))?;
        Ok(Self { called, source })
    }
}

impl Task for SmallTalk {
    fn name(&self) -> &'static str {
        NAME
    }

    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn examples(&self) -> Vec<String> {
        vec!["Who are you?".to_owned()]
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let said = Said::of(problem)?;
        Some(Trace { thinking: said.understood(), answer: said.reply(&self.called) })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some(said) = Said::of(problem) else {
            return Verdict::foreign(NAME, problem);
        };
        if answer.len() > MAX_LEN {
            return Verdict::wrong("too long for a reply");
        }
        let reply = said.reply(&self.called);
        let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
        if words(answer) == words(&reply) { Verdict::Right(1.0) } else { Verdict::wrong("another reply") }
    }
}

/// What somebody says, in this order: the gold of this task's problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    hello: bool,
    name: Option<String>,
    ask: Option<Ask>,
}

/// What is asked, or said in a question's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Who,
    Able,
    How,
    Thanks,
    Bye,
    /// Something about the world.
    Beyond,
}

impl Said {
    fn of(problem: &Problem) -> Option<Self> {
        let said: Self = serde_json::from_value(problem.gold.clone()).ok()?;
        let short = said.name.as_ref().is_none_or(|name| name.len() <= MAX_LEN);
        (short && (said.hello || said.name.is_some() || said.ask.is_some())).then_some(said)
    }

    /// Half of the questions are beyond a small model: there are many more of them.
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let ask = match rng.random_range(0..12) {
            0 => None,
            1 => Some(Ask::Who),
            2 => Some(Ask::Able),
            3 => Some(Ask::How),
            4 => Some(Ask::Thanks),
            5 => Some(Ask::Bye),
            _ => Some(Ask::Beyond),
        };
        let name = if rng.random_bool(0.3) { NAMES.choose(rng).map(|name| (*name).to_owned()) } else { None };
        Self { hello: name.is_some() || ask.is_none() || rng.random_bool(0.3), name, ask }
    }

    /// In some wording. The wording is the problem: what was said in it is told by nothing else.
    fn pose(&self, rng: &mut ChaCha8Rng) -> Option<Problem> {
        const HELLOS: [&str; 6] = ["Hello", "Hi", "Hey", "Good day", "Good morning", "Good evening"];
        let mut parts = Vec::new();
        if self.hello {
            parts.push(format!("{}{}", HELLOS.choose(rng)?, ["!", ".", "", " there!", " there."].choose(rng)?));
        }
        if let Some(name) = &self.name {
            parts.push(format!("{} {name}.", ["I am", "My name is"].choose(rng)?));
        }
        if let Some(ask) = self.ask {
            parts.push(ask.put(rng)?);
        }
        let prompt = parts.join(" ");
        let id = format!("{NAME}/{}", prompt.to_lowercase());
        Some(Problem { id, task: NAME.to_owned(), prompt, gold: serde_json::json!(self) })
    }

    /// What was said, sentence by sentence.
    fn understood(&self) -> String {
        let mut sentences = Vec::new();
        if self.hello {
            sentences.push("They say hello.".to_owned());
        }
        if let Some(name) = &self.name {
            sentences.push(format!("They are {name}."));
        }
        sentences.extend(self.ask.map(|ask| ask.understood().to_owned()));
        sentences.join(" ")
    }

    fn reply(&self, called: &str) -> String {
        let mut sentences = Vec::new();
        match (&self.name, self.hello) {
            (Some(name), _) => sentences.push(format!("Hello {name}!")),
            (None, true) => sentences.push("Hello!".to_owned()),
            (None, false) => {}
        }
        sentences.push(match self.ask {
            None => "What shall I work out?".to_owned(),
            Some(Ask::Who) => format!("I am {called}, a very small model that thinks before it answers."),
            Some(Ask::Able) => "Sums, Countdown, sequences, stories with numbers, knights and knaves, and words \
                                backwards."
                .to_owned(),
            Some(Ask::How) => "I am well, thank you.".to_owned(),
            Some(Ask::Thanks) => "You are welcome.".to_owned(),
            Some(Ask::Bye) => "Goodbye!".to_owned(),
            Some(Ask::Beyond) => {
                "I do not know. Ask me something with numbers, or a word to write backwards.".to_owned()
            }
        });
        sentences.join(" ")
    }
}

impl Ask {
    /// One way to put it.
    fn put(self, rng: &mut ChaCha8Rng) -> Option<String> {
        let of = |ways: &[&str], rng: &mut ChaCha8Rng| ways.choose(rng).map(|way| (*way).to_owned());
        match self {
            Self::Who => of(&["Who are you?", "What are you?", "What is your name?", "Who is this?"], rng),
            Self::Able => {
                of(&["What can you do?", "What do you know?", "How can you help me?", "What can I ask you?"], rng)
            }
            Self::How => of(&["How are you?", "How do you do?", "How is it going?"], rng),
            Self::Thanks => of(&["Thank you.", "Thanks!", "Thank you very much.", "Well done!"], rng),
            Self::Bye => of(&["Goodbye.", "Bye!", "See you later.", "Good night."], rng),
            Self::Beyond => {
                let (thing, place) = (WORDS.choose(rng)?, PLACES.choose(rng)?);
                Some(match rng.random_range(0..10) {
                    0 => format!("What is the capital of {place}?"),
                    1 => format!("How is the weather in {place}?"),
                    2 => format!("How many people live in {place}?"),
                    3 => format!("Tell me a story about a {thing}."),
                    4 => format!("Write a poem about a {thing} in {place}."),
                    5 => format!("Why is there a {thing} in {place}?"),
                    6 => format!("What is a {thing}?"),
                    7 => format!("Who made the first {thing}?"),
                    8 => format!("Do you like the {thing}?"),
                    _ => format!("Where can I buy a {thing} in {place}?"),
                })
            }
        }
    }

    fn understood(self) -> &'static str {
        match self {
            Self::Who => "They ask who I am.",
            Self::Able => "They ask what I can do.",
            Self::How => "They ask how I am.",
            Self::Thanks => "They thank me.",
            Self::Bye => "They leave.",
            Self::Beyond => "They ask about the world, of which I know nothing.",
        }
    }
}

/// Places that a question can be about.
const PLACES: [&str; 16] = [
    "Brazil", "Canada", "Chile", "China", "Egypt", "France", "Ghana", "India", "Japan", "Kenya", "Mexico", "Norway",
    "Peru", "Spain", "Sweden", "Turkey",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    fn talk() -> SmallTalk {
        SmallTalk::new(Config::default(), 0).unwrap()
    }

    fn posed(gold: serde_json::Value) -> Problem {
        Problem { id: "small_talk/test".into(), task: NAME.into(), prompt: String::new(), gold }
    }

    #[test]
    fn replies_as_written() {
        for (gold, thinking, answer) in [
            (
                serde_json::json!({"hello": true, "name": "Ada", "ask": "who"}),
                "They say hello. They are Ada. They ask who I am.",
                "Hello Ada! I am Picnic, a very small model that thinks before it answers.",
            ),
            (
                serde_json::json!({"hello": true, "name": null, "ask": null}),
                "They say hello.",
                "Hello! What shall I work out?",
            ),
            (serde_json::json!({"hello": false, "name": null, "ask": "bye"}), "They leave.", "Goodbye!"),
        ] {
            let trace = talk().trace(&posed(gold)).unwrap();
            assert_eq!((trace.thinking.as_str(), trace.answer.as_str()), (thinking, answer));
        }
    }

    #[test]
    fn only_the_reply_is_right() {
        let problem = posed(serde_json::json!({"hello": true, "name": null, "ask": "how"}));
        for answer in ["Hello! I am well, thank you.", "  hello!\nI am well,  thank you. "] {
            assert!(talk().verify(&problem, answer).is_right(), "{answer}");
        }
        for answer in ["", "Hello!", "I am well, thank you.", "Hello! I am well, thank you. You are welcome."] {
            assert!(!talk().verify(&problem, answer).is_right(), "{answer}");
        }
        let nothing = posed(serde_json::json!({"hello": false, "name": null, "ask": null}));
        assert!(matches!(talk().verify(&nothing, "Hello!"), Verdict::CouldNotJudge(_)));
    }

    #[test]
    fn what_was_said_stands_in_the_prompt() {
        for index in 0..2000 {
            let said = Said::draw(&mut draw::rng(5, "test", 0, index));
            let prompt = said.pose(&mut draw::rng(6, "test", 0, index)).unwrap().prompt;
            assert!(said.name.is_none_or(|name| prompt.contains(&format!("{name}."))), "{prompt}");
            assert!(!prompt.is_empty() && prompt.trim() == prompt);
        }
    }

    #[test]
    fn a_name_is_needed() {
        for called in ["", "a name of more than forty characters, which is too long"] {
            let config = Config { called: called.into(), ..Config::default() };
            let error = SmallTalk::new(config, 0).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("called"), "{error}");
        }
    }
}
