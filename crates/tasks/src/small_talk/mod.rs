//! What people say to a model before they ask it something: hello, who are you, what can you do, thanks; in English or
//! Russian.
//!
//! `Hi! I am Ada. Who are you?` has one right reply, put together from what was said: the greeting back, with the name,
//! and a fixed sentence for each thing that can be asked. Replies are compared word for word, so this teaches manners
//! and rewards nothing else. What the model says it can do is what the program has tasks for, whichever the recipe has.
//! Not here: conversations of several turns, and whatever it cannot answer, which is [`crate::beyond`]'s.

use std::collections::HashSet;
use std::sync::LazyLock;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::task::{Language, Problem, Source, Task, TaskError, Trace, Verdict};
use crate::wording::is_cyrillic;
use crate::words::{capitalised, fill, mistyped, pronounceable};

mod english;
mod russian;

const NAME: &str = "small_talk";
/// Longest answer that is looked at, in bytes.
const MAX_LEN: usize = 800;
/// How many of the ways to say something, the first ones, are said more often than the others.
const COMMONEST: usize = 12;

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
        let source = Drawn::new(NAME, seed, config, [], |config, rng| Said::draw(rng).pose(&config.called, rng))?;
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

    fn language(&self, problem: &Problem) -> Language {
        Said::of(problem).map_or(Language::English, |said| said.language())
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

/// Whether this is something that small talk has a reply to, end marks and capitals aside.
pub(crate) fn says(text: &str) -> bool {
    static WAYS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let voices = [&english::VOICE, &russian::VOICE];
        let ways = voices.iter().flat_map(|voice| {
            let asked = voice.asks.iter().flat_map(|(_, ways)| ways.iter()).flat_map(|way| written_out(way));
            asked.chain(voice.hellos.iter().map(|way| (*way).to_owned())).map(|way| bare(&way))
        });
        ways.collect()
    });
    WAYS.contains(&bare(text))
}

/// First names of people of a language, each with its capital.
pub(crate) fn names(language: Language) -> &'static [&'static str] {
    match language {
        Language::English => english::NAMES,
        Language::Russian => russian::NAMES,
    }
}

/// In small letters and without end marks.
fn bare(text: &str) -> String {
    text.trim_end_matches(['.', '!', '?', ' ']).to_lowercase()
}

/// Every text that a template stands for, with its slots as they are.
fn written_out(template: &str) -> Vec<String> {
    let Some((before, rest)) = template.split_once('[') else {
        return vec![template.to_owned()];
    };
    let (inside, after) = rest.split_once(']').unwrap_or((rest, ""));
    let afters = written_out(after);
    inside.split('|').flat_map(|choice| afters.iter().map(move |after| format!("{before}{choice}{after}"))).collect()
}

/// The wordings of a language.
struct Voice {
    hellos: &'static [&'static str],
    /// With a `{name}`.
    introductions: &'static [&'static str],
    /// The ways to ask each thing, the commonest first, as templates (see `words::fill`); a thing may have several
    /// lists. No way stands twice.
    asks: &'static [(Ask, &'static [&'static str])],
}

/// What somebody says, in this order: the gold of this task's problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    hello: bool,
    /// With a capital letter, however it was typed.
    name: Option<String>,
    ask: Option<Ask>,
    /// A second thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    then: Option<Ask>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    russian: bool,
}

/// What is asked, or said in a question's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Who,
    Name,
    /// Human or machine.
    Kind,
    /// Whether it is some other model.
    Other,
    Maker,
    Age,
    Home,
    Speaks,
    /// What it can do, and cries for help.
    Able,
    How,
    Doing,
    /// Pleased to meet you.
    Met,
    Thanks,
    Bye,
    Praise,
    /// A complaint about an answer.
    Wrong,
    Sorry,
    /// Yes, no, all right, and other words that leave it to the model to go on.
    Fine,
}

impl Said {
    fn of(problem: &Problem) -> Option<Self> {
        let said: Self = serde_json::from_value(problem.gold.clone()).ok()?;
        let short = said.name.as_ref().is_none_or(|name| name.len() <= MAX_LEN / 4);
        (short && (said.hello || said.name.is_some() || said.ask.is_some())).then_some(said)
    }

    fn language(&self) -> Language {
        if self.russian { Language::Russian } else { Language::English }
    }

    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let russian = rng.random_bool(0.4);
        let name = rng.random_bool(0.25).then(|| {
            let language = if russian { Language::Russian } else { Language::English };
            let listed = names(language).choose(rng).filter(|_| rng.random_bool(0.6));
            listed.map_or_else(|| capitalised(&pronounceable(language, rng)), |name| (*name).to_owned())
        });
        let mut said = Self { hello: false, name, ask: None, then: None, russian };
        // Cries for help have as many wordings as three other things, and matter most.
        const OFTEN: [Ask; 28] = [
            Ask::Who,
            Ask::Name,
            Ask::Name,
            Ask::Kind,
            Ask::Other,
            Ask::Maker,
            Ask::Age,
            Ask::Home,
            Ask::Speaks,
            Ask::Able,
            Ask::Able,
            Ask::Able,
            Ask::Able,
            Ask::How,
            Ask::How,
            Ask::Doing,
            Ask::Met,
            Ask::Thanks,
            Ask::Thanks,
            Ask::Bye,
            Ask::Bye,
            Ask::Praise,
            Ask::Praise,
            Ask::Wrong,
            Ask::Wrong,
            Ask::Sorry,
            Ask::Fine,
            Ask::Fine,
        ];
        if rng.random_bool(if said.name.is_some() { 0.5 } else { 0.85 }) {
            said.ask = OFTEN.choose(rng).copied();
            if rng.random_bool(0.08) {
                const FIRST: [Ask; 5] = [Ask::How, Ask::Thanks, Ask::Met, Ask::Praise, Ask::Sorry];
                const SECOND: [Ask; 8] =
                    [Ask::Who, Ask::Name, Ask::Able, Ask::Able, Ask::Bye, Ask::Speaks, Ask::Maker, Ask::Kind];
                (said.ask, said.then) = (FIRST.choose(rng).copied(), SECOND.choose(rng).copied());
            }
        }
        let greets = if said.name.is_some() { 0.6 } else { 0.25 };
        said.hello = (said.ask.is_none() && said.name.is_none()) || rng.random_bool(greets);
        said
    }

    /// In some wording. The wording is the problem: what was said in it is told by nothing else.
    fn pose(&self, called: &str, rng: &mut ChaCha8Rng) -> Option<Problem> {
        let voice = if self.russian { &russian::VOICE } else { &english::VOICE };
        let mut parts = Vec::new();
        if self.hello {
            let hello = slipped((*voice.hellos.choose(rng)?).to_owned(), rng);
            let addressed = match rng.random_range(0..8) {
                0 => format!("{hello} {called}"),
                1 => format!("{hello}, {called}"),
                _ => hello,
            };
            parts.push((addressed, ["!", "!", ".", ",", ""].choose(rng).copied()?));
        }
        if let Some(name) = &self.name {
            let name = if rng.random_bool(0.3) { name.to_lowercase() } else { name.clone() };
            let introduction = voice.introductions.choose(rng)?.replace("{name}", &name);
            parts.push((introduction, [".", ".", "!", ",", ""].choose(rng).copied()?));
        }
        for ask in self.ask.iter().chain(&self.then) {
            let lists = voice.asks.iter().filter(|(asked, _)| asked == ask);
            let ways: Vec<&str> = lists.flat_map(|(_, ways)| ways.iter().copied()).collect();
            let among = if rng.random_bool(0.35) { &ways[..ways.len().min(COMMONEST)] } else { &ways };
            let way = fill(among.choose(rng)?, &|slot, rng| self.filling(slot, rng), rng);
            // Their own mark, or one of those that end a sentence.
            let text = way.trim_end_matches(['?', '!']);
            let own = &way[text.len()..];
            let own = if own.starts_with('?') { "?" } else { [".", "!", "."].choose(rng).copied()? };
            let said = ask.amid_fillers(slipped(text.to_owned(), rng), self.russian, called, rng);
            parts.push((said, if rng.random_bool(0.5) { "" } else { own }));
        }
        if parts.is_empty() {
            return None;
        }
        // Some write sentences, some no capitals and no marks at all.
        let style = rng.random_range(0..4);
        let mut prompt = String::new();
        let last = parts.len() - 1;
        for (place, (text, mark)) in parts.into_iter().enumerate() {
            let sentence = prompt.is_empty() || prompt.ends_with(['.', '!', '?']);
            prompt += if prompt.is_empty() { "" } else { " " };
            prompt += &if style < 3 && sentence { capitalised(&text) } else { text };
            prompt += if style == 3 || (place == last && mark == ",") { "" } else { mark };
        }
        let asks = matches!(self.then.or(self.ask), Some(ask) if !matches!(ask, Ask::Bye | Ask::Fine | Ask::Thanks));
        if asks && rng.random_bool(0.05) {
            prompt += if self.russian { " пожалуйста" } else { " please" };
        }
        prompt = match rng.random_range(0..40) {
            0 if self.name.is_none() => prompt.to_uppercase(),
            1 => prompt.replacen(' ', "  ", 1),
            2 => {
                format!("{}{}", prompt.trim_end_matches(['.', '?', '!']), ["!!", "...", "??", " :)", " !"].choose(rng)?)
            }
            _ => prompt,
        };
        let id = format!("{NAME}/{}", prompt.to_lowercase());
        // `/help` is in no language.
        let said = Self { russian: self.russian && is_cyrillic(&prompt), ..self.clone() };
        Some(Problem { id, task: NAME.to_owned(), prompt, gold: serde_json::json!(said) })
    }

    /// What stands in a wording's slot.
    fn filling(&self, slot: &str, rng: &mut ChaCha8Rng) -> String {
        let among = match slot {
            "other" => english::OTHERS,
            "company" => english::COMPANIES,
            "place" => english::PLACES,
            _ if self.russian => russian::LANGUAGES,
            _ => english::LANGUAGES,
        };
        let chosen = among.choose(rng).copied().unwrap_or_default();
        if rng.random_bool(0.4) { chosen.to_lowercase() } else { chosen.to_owned() }
    }

    /// What was said, in a few words each.
    fn understood(&self) -> String {
        let mut sentences = Vec::new();
        if self.hello {
            sentences.push(if self.russian { "Привет." } else { "Hello." }.to_owned());
        }
        sentences.extend(self.name.as_ref().map(|name| format!("{name}.")));
        sentences.extend(self.ask.iter().chain(&self.then).map(|ask| ask.understood(self.russian).to_owned()));
        sentences.join(" ")
    }

    fn reply(&self, called: &str) -> String {
        let mut sentences = Vec::new();
        let hello = if self.russian { "Привет" } else { "Hello" };
        match (&self.name, self.hello) {
            (Some(name), _) if self.russian => sentences.push(format!("{hello}, {name}!")),
            (Some(name), _) => sentences.push(format!("{hello} {name}!")),
            (None, true) => sentences.push(format!("{hello}!")),
            (None, false) => {}
        }
        if self.ask.is_none() {
            sentences.push(Ask::Fine.reply(self.russian, called));
        }
        sentences.extend(self.ask.iter().chain(&self.then).map(|ask| ask.reply(self.russian, called)));
        sentences.join(" ")
    }
}

impl Ask {
    /// Now and then with words before or after it that change nothing about the reply, such as `ok, bye my friend`.
    fn amid_fillers(self, text: String, russian: bool, called: &str, rng: &mut ChaCha8Rng) -> String {
        // A command is a command by its first sign.
        if !text.starts_with(char::is_alphabetic) {
            return text;
        }
        let before: &[&str] = match (self, russian) {
            (Self::Fine | Self::Praise, false) => &["oh", "well", "ah", "haha"],
            (Self::Fine | Self::Praise, true) => &["ну", "ой", "о", "ха"],
            (_, false) => {
                &["ok", "okay", "well", "oh", "so", "alright", "right", "um", "hmm", "anyway", "ah", "listen", "btw"]
            }
            (_, true) => {
                &["ок", "окей", "ладно", "ну", "ой", "так", "хорошо", "слушай", "хм", "эх", "кстати", "значит"]
            }
        };
        let after: &[&str] = match (self, russian) {
            (Self::Bye, false) => {
                &["then", "now", "my friend", "friend", "buddy", "mate", "bro", "everyone", "for now"]
            }
            (Self::Bye, true) => &["тогда", "друг", "друг мой", "дружище", "бот", "брат", "всем"],
            (_, false) => &["my friend", "friend", "buddy", "mate", "bro", "dude", "man", "bot", "robot", "dear"],
            (_, true) => &["друг", "друг мой", "дружище", "бот", "брат", "робот", "дорогой"],
        };
        let mut said = text;
        if rng.random_bool(0.15) {
            let word = if rng.random_bool(0.2) { called } else { before.choose(rng).copied().unwrap_or_default() };
            if !said.starts_with(word) {
                said = format!("{word}{} {said}", if rng.random_bool(0.7) { "," } else { "" });
            }
        }
        if rng.random_bool(0.12) {
            let word = if rng.random_bool(0.3) { called } else { after.choose(rng).copied().unwrap_or_default() };
            if !said.ends_with(word) {
                said = format!("{said}{} {word}", if rng.random_bool(0.5) { "," } else { "" });
            }
        }
        said
    }

    fn understood(self, russian: bool) -> &'static str {
        let (english, in_russian) = match self {
            Self::Who => ("Who I am.", "Кто я."),
            Self::Name => ("My name.", "Моё имя."),
            Self::Kind => ("Human or not.", "Человек или нет."),
            Self::Other => ("Another model.", "Другая модель."),
            Self::Maker => ("Who made me.", "Кто меня создал."),
            Self::Age => ("My age.", "Мой возраст."),
            Self::Home => ("Where I am.", "Где я."),
            Self::Speaks => ("Languages.", "Языки."),
            Self::Able => ("What I can do.", "Что я умею."),
            Self::How => ("How I am.", "Как дела."),
            Self::Doing => ("Am I ready.", "Готов ли я."),
            Self::Met => ("Pleased.", "Знакомство."),
            Self::Thanks => ("Thanks.", "Спасибо."),
            Self::Bye => ("Goodbye.", "Прощание."),
            Self::Praise => ("Praise.", "Похвала."),
            Self::Wrong => ("A complaint.", "Жалоба."),
            Self::Sorry => ("Sorry.", "Извинение."),
            Self::Fine => ("No question yet.", "Вопроса ещё нет."),
        };
        if russian { in_russian } else { english }
    }

    fn reply(self, russian: bool, called: &str) -> String {
        let (english, in_russian) = match self {
            Self::Who => (
                "I am {called}, a very small model that thinks before it answers.",
                "Я {called}, очень маленькая модель, которая думает перед ответом.",
            ),
            Self::Name => ("My name is {called}.", "Меня зовут {called}."),
            Self::Kind => ("I am a program, a very small language model.", "Я программа, очень маленькая модель."),
            Self::Other => ("No, I am {called}, a very small model.", "Нет, я {called}, очень маленькая модель."),
            Self::Maker => (
                "Picnic trained me, with problems that it made up itself.",
                "Меня обучила программа Picnic на задачах, которые сама придумала.",
            ),
            Self::Age => ("I am a program and have no age.", "Я программа, у меня нет возраста."),
            Self::Home => ("I run on a computer.", "Я работаю на компьютере."),
            Self::Speaks => ("I know a little English and Russian.", "Я немного знаю русский и английский."),
            Self::Able => (ABLE, ABLE_IN_RUSSIAN),
            Self::How => ("I am well, thank you.", "Хорошо, спасибо."),
            Self::Doing => ("I am ready. Ask me something!", "Я жду вопроса. Спрашивай!"),
            Self::Met => ("Nice to meet you too.", "Мне тоже очень приятно."),
            Self::Thanks => ("You are welcome.", "Пожалуйста!"),
            Self::Bye => ("Goodbye!", "До свидания! Пока!"),
            Self::Praise => ("Thank you!", "Спасибо!"),
            Self::Wrong => {
                ("I am small and make mistakes. Please ask again.", "Я маленькая модель и ошибаюсь. Спроси ещё раз.")
            }
            Self::Sorry => ("No problem.", "Ничего страшного."),
            Self::Fine => ("What shall I work out?", "Что мне посчитать?"),
        };
        if russian { in_russian } else { english }.replace("{called}", called)
    }
}

const ABLE: &str = "I do sums (347+289), spell and reverse words (spell picnic), play Countdown (make 41 from 25, 3, 19), \
                    continue sequences (2, 5, 8, 11), solve knights and knaves and small stories with numbers.";
const ABLE_IN_RUSSIAN: &str = "Я считаю примеры (347+289), пишу слова по буквам и наоборот (пикник по буквам), собираю \
                               числа (получи 41 из 25, 3, 19), продолжаю ряды (2, 5, 8, 11) и решаю задачи с числами.";

/// Now and then with a slip of the finger.
fn slipped(text: String, rng: &mut ChaCha8Rng) -> String {
    if rng.random_bool(0.07) { mistyped(&text, rng) } else { text }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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
                "Hello. Ada. Who I am.",
                "Hello Ada! I am Picnic, a very small model that thinks before it answers.",
            ),
            (serde_json::json!({"hello": true, "name": null, "ask": null}), "Hello.", "Hello! What shall I work out?"),
            (
                serde_json::json!({"hello": true, "name": "Аня", "ask": "how", "then": "name", "russian": true}),
                "Привет. Аня. Как дела. Моё имя.",
                "Привет, Аня! Хорошо, спасибо. Меня зовут Picnic.",
            ),
            (serde_json::json!({"hello": false, "name": null, "ask": "bye"}), "Goodbye.", "Goodbye!"),
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
            let prompt = said.pose("nano", &mut draw::rng(6, "test", 0, index)).unwrap().prompt;
            let named = |name: String| prompt.to_lowercase().contains(&name.to_lowercase());
            assert!(said.name.is_none_or(named), "{prompt}");
            assert!(!prompt.is_empty() && prompt.trim() == prompt && !prompt.contains(['{', '[', '|']), "{prompt}");
        }
    }

    #[test]
    fn no_wording_asks_two_things() {
        let mut asked = HashMap::new();
        for (voice, hellos) in [(&english::VOICE, "english"), (&russian::VOICE, "russian")] {
            for way in voice.hellos {
                asked.insert(bare(way), hellos.to_owned());
            }
            for (ask, ways) in voice.asks {
                for way in ways.iter().flat_map(|way| written_out(way)) {
                    let other = asked.insert(bare(&way), format!("{ask:?}"));
                    assert!(
                        other.as_ref().is_none_or(|other| *other == format!("{ask:?}")),
                        "{way}: {ask:?}, {other:?}"
                    );
                }
            }
        }
        assert!(says("Thanks, that was quick") && says("What can you do") && says("СПАСИБО!") && !says("What is 2+2?"));
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
