//! How a puzzle is told: who its people are, what the two kinds are called, and the words of what is said.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{PEOPLE, Puzzle, Statement};
use crate::small_talk;
use crate::task::Language;
use crate::word_problems::{MEN, WOMEN};
use crate::wording::{Case, dress};
use crate::words::capitalised;

/// Longest name, in bytes.
const LONGEST_NAME: usize = 20;
/// The letters that people are called by besides A, B and C; an I would be read as the speaker.
const LETTERS: [char; 22] =
    ['D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z'];
/// How many ways [`Telling::quoted`] knows, the plain one counted twice.
const WAYS_TO_QUOTE: usize = 15;

/// Who the people are and what the kinds are called.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Telling {
    /// The people's names, each with its own initial; none if they are A, B and C.
    #[serde(default)]
    pub names: Vec<String>,
    /// Whether the kinds are truth-tellers and liars.
    #[serde(default)]
    pub liars: bool,
}

impl Telling {
    pub(super) fn draw(count: usize, rng: &mut ChaCha8Rng) -> Self {
        let liars = rng.random_bool(0.15);
        let names = match crate::draw::weighted(&[0.4, 0.12, 0.48], rng) {
            0 => Vec::new(),
            1 => letters(count, rng),
            _ => names(count, rng),
        };
        Self { names, liars }
    }

    /// If there is a name for each of `count` people, or for none, and no two begin alike.
    pub(super) fn checked(self, count: usize) -> Option<Self> {
        let mut initials = self.initials();
        initials.sort_unstable();
        initials.dedup();
        let is_name = |name: &String| name.len() <= LONGEST_NAME && name.chars().all(char::is_alphabetic);
        let all = self.names.is_empty() || self.names.len() == count && initials.len() == count;
        (all && self.names.iter().all(is_name)).then_some(self)
    }

    /// What the working calls them.
    pub(super) fn initials(&self) -> Vec<char> {
        match self.names.is_empty() {
            true => PEOPLE.to_vec(),
            false => self.names.iter().filter_map(|name| name.chars().next()?.to_uppercase().next()).collect(),
        }
    }

    /// What an answer calls `count` of them, in small letters.
    pub(super) fn people(&self, count: usize) -> Vec<String> {
        (0..count).map_while(|who| self.name(who)).map(|name| name.to_lowercase()).collect()
    }

    fn name(&self, who: usize) -> Option<String> {
        match self.names.is_empty() {
            true => PEOPLE.get(who).map(char::to_string),
            false => self.names.get(who).cloned(),
        }
    }

    fn kind(&self, kind: bool) -> &'static str {
        match (self.liars, kind) {
            (false, true) => "knight",
            (false, false) => "knave",
            (true, true) => "truth-teller",
            (true, false) => "liar",
        }
    }

    /// `A knight, B knave`, or `Alice is a knight, Bob is a knave`.
    pub(super) fn answer(&self, kinds: &[bool]) -> String {
        let is = if self.names.is_empty() { "" } else { "is a " };
        let of = |(who, kind): (usize, &bool)| Some(format!("{} {is}{}", self.name(who)?, self.kind(*kind)));
        kinds.iter().enumerate().filter_map(of).collect::<Vec<_>>().join(", ")
    }

    /// The question. It names everybody: where somebody who is silent is not told of, either before the statements or
    /// in what is asked.
    pub(super) fn tell(&self, puzzle: &Puzzle, rng: &mut ChaCha8Rng) -> String {
        let people: Vec<String> = (0..puzzle.0.len()).filter_map(|who| self.name(who)).collect();
        let statements = self.statements(puzzle, rng);
        // Who is only spoken of comes after those who speak, if there is no list of all; and without one, nobody knows
        // whom "all of us" means.
        let last = people.last().map_or("", String::as_str);
        let others_tell_of_last =
            statements.iter().any(|said| said.split(|c: char| !c.is_alphabetic()).any(|w| w == last));
        let is_last = puzzle.0.last() == Some(&Statement::Nothing) && others_tell_of_last;
        let all_are_told_of = statements.len() == people.len() || is_last && !puzzle.speaks_of_all();
        let meets = rng.random_bool(0.4);
        let asks_for_all = rng.random_bool(0.25) || !meets && !all_are_told_of;
        let mut before = Vec::new();
        if rng.random_bool(0.12) {
            before.push(self.announcement(rng));
        }
        if meets {
            before.push(self.meeting(&people, rng));
        }
        // Whoever answers has to know that knaves are called liars here.
        let is_clear = !self.liars || before.iter().any(|part| part.contains(self.kind(false)));
        let explains = rng.random_bool(0.4) || !is_clear;
        let explanation = if explains { vec![self.explanation(rng)] } else { Vec::new() };
        let question = if asks_for_all { self.question_for(&people, rng) } else { self.question(rng) };
        let parts = match rng.random_bool(0.2) {
            true => [before, statements, explanation, vec![question]],
            // What the kinds are, and then who is here.
            false if rng.random_bool(0.5) => [explanation, before, statements, vec![question]],
            false => [before, explanation, statements, vec![question]],
        };
        let parts: Vec<String> = parts.concat().into_iter().filter(|part| !part.is_empty()).collect();
        let text = dress(&parts.join(" "), Language::English, Case::Kept, rng);
        if rng.random_bool(0.12) { text.to_lowercase() } else { text }
    }

    /// What everybody says, most of the time quoted in one way.
    fn statements(&self, puzzle: &Puzzle, rng: &mut ChaCha8Rng) -> Vec<String> {
        let (way, mixed) = (rng.random_range(0..WAYS_TO_QUOTE), rng.random_bool(0.2));
        let mut parts = Vec::new();
        for (who, statement) in puzzle.0.iter().enumerate() {
            let way = if mixed { rng.random_range(0..WAYS_TO_QUOTE) } else { way };
            match statement {
                // Often nothing tells that they are silent.
                Statement::Nothing if rng.random_bool(0.55) => {}
                Statement::Nothing => {
                    let ways =
                        ["says nothing", "is silent", "does not say anything", "stays silent", "says nothing at all"];
                    let silent = ways.choose(rng).copied().unwrap_or_default();
                    parts.push(format!("{} {silent}.", self.name(who).unwrap_or_default()));
                }
                _ => parts.push(self.quoted(who, *statement, puzzle.0.len(), way, rng)),
            }
        }
        parts
    }

    /// That there is going to be a puzzle.
    fn announcement(&self, rng: &mut ChaCha8Rng) -> String {
        let (knights, knaves) = (self.kind(true), self.kind(false));
        let ways = [
            format!("Here is a riddle about {knights}s and {knaves}s."),
            format!("{}s and {knaves}s.", capitalised(knights)),
            format!("A riddle about {knights}s and {knaves}s:"),
            "Please help me with this puzzle.".to_owned(),
            "Can you solve this?".to_owned(),
            "Here is a puzzle.".to_owned(),
        ];
        ways.choose(rng).cloned().unwrap_or_default()
    }

    /// Who is here.
    fn meeting(&self, people: &[String], rng: &mut ChaCha8Rng) -> String {
        let (knights, knaves, everybody) = (self.kind(true), self.kind(false), listed(people));
        let number = if people.len() == 2 { "two" } else { "three" };
        let ways = [
            format!("You meet {everybody}. Each is a {knights} or a {knaves}."),
            format!("Each of {everybody} is either a {knights} or a {knaves}."),
            format!("On an island live {knights}s and {knaves}s. You meet {everybody}."),
            format!("{everybody} are {knights}s or {knaves}s."),
            format!("{everybody} are each a {knights} or a {knaves}."),
            format!("{everybody} live on an island of {knights}s and {knaves}s."),
            format!("There are {number} people, {everybody}, each a {knights} or a {knaves}."),
            format!("There are {number} people, {everybody}."),
            format!("You meet {everybody}."),
            format!("Today I met {everybody}."),
        ];
        ways.choose(rng).cloned().unwrap_or_default()
    }

    /// What the two kinds are, for those who do not know.
    fn explanation(&self, rng: &mut ChaCha8Rng) -> String {
        let (knight, knave) = (self.kind(true), self.kind(false));
        let mut ways = vec![
            format!("A {knight} always tells the truth, a {knave} always lies."),
            format!("{}s always tell the truth and {knave}s always lie.", capitalised(knight)),
            format!("Each person is a {knight} or a {knave}."),
        ];
        if !self.liars {
            let of_knights = [
                "Knights tell the truth, knaves lie.",
                "Knights tell the truth and knaves lie.",
                "Knights never lie, knaves always do.",
                "Knights tell only the truth, knaves only lies.",
                "On an island, knights always tell the truth and knaves always lie.",
                "On an island live knights, who always tell the truth, and knaves, who always lie.",
                "Everybody is a knight, who tells the truth, or a knave, who lies.",
            ];
            ways.extend(of_knights.map(str::to_owned));
        }
        ways.choose(rng).cloned().unwrap_or_default()
    }

    /// What is asked, of people who are not named again.
    fn question(&self, rng: &mut ChaCha8Rng) -> String {
        let (knight, knave) = (self.kind(true), self.kind(false));
        let ways = [
            (4.0, "Who is what?".to_owned()),
            (4.0, "Who is who?".to_owned()),
            (2.0, "What are they?".to_owned()),
            (1.0, "What is each of them?".to_owned()),
            (1.5, format!("Who is a {knight} and who is a {knave}?")),
            (1.0, format!("Who is a {knight} and who a {knave}?")),
            (0.5, format!("Who is the {knave}?")),
            (0.5, format!("Which of them is a {knight}?")),
            (0.5, format!("{} or {knave}?", capitalised(knight))),
            (1.0, "Who lies and who tells the truth?".to_owned()),
            (1.0, "Who is lying?".to_owned()),
            (0.5, "Can you tell who lies?".to_owned()),
            (0.5, "Tell me who is what.".to_owned()),
            (0.5, "Find out who is what.".to_owned()),
            (0.5, "Which of them are lying?".to_owned()),
            (0.5, String::new()),
        ];
        ways[crate::draw::weighted(&ways.each_ref().map(|(weight, _)| *weight), rng)].1.clone()
    }

    /// What is asked of these people by name.
    fn question_for(&self, people: &[String], rng: &mut ChaCha8Rng) -> String {
        let (knight, knave, everybody) = (self.kind(true), self.kind(false), listed(people));
        let each = |question: fn(&String) -> String| people.iter().map(question).collect::<Vec<_>>();
        let first = people.first().cloned().unwrap_or_default();
        let others: String = people.iter().skip(1).map(|name| format!(" And {name}?")).collect();
        let ways = [
            (4.0, format!("What are {everybody}?")),
            (2.0, format!("{}?", capitalised(&listed(&each(|name| format!("what is {name}")))))),
            (1.0, format!("Is {first} a {knight} or a {knave}?{others}")),
            (1.0, format!("Which of {everybody} is a {knight}, which a {knave}?")),
            (0.5, format!("Which of {everybody} is a {knight}?")),
            (0.5, format!("Which of {everybody} lies?")),
            (1.0, format!("Are {everybody} {knight}s or {knave}s?")),
            (0.5, format!("Tell me what {everybody} are.")),
            (0.5, format!("Find out what {everybody} are.")),
        ];
        ways[crate::draw::weighted(&ways.each_ref().map(|(weight, _)| *weight), rng)].1.clone()
    }

    /// `Alice says: Bob is a knave.`
    fn quoted(&self, who: usize, statement: Statement, count: usize, way: usize, rng: &mut ChaCha8Rng) -> String {
        let name = self.name(who).unwrap_or_default();
        let said = self.said(who, statement, count, rng);
        // Of "I" and "we", only the speaker can say that.
        let indirect = !said.split([' ', ',']).any(|word| matches!(word, "I" | "we" | "me" | "us"));
        let capital = capitalised(&said);
        match way {
            0 if indirect => format!("{name} says that {said}."),
            0 | 1 => format!("{name} says \"{capital}\"."),
            2 => format!("{name} says, \"{capital}.\""),
            3 => format!("{name}: {capital}."),
            4 if indirect => format!("{name} claims that {said}."),
            4 => format!("{name} claims: {said}."),
            5 if indirect => format!("{name} says {said}."),
            6 => format!("{name} said: {capital}."),
            7 => format!("{name} says: \"{capital}.\""),
            8 => format!("{name} says: “{capital}.”"),
            9 if indirect => format!("According to {name}, {said}."),
            10 if indirect => format!("{name} told me that {said}."),
            10 => format!("{name} told me: {capital}."),
            11 => format!("{name} tells you: {capital}."),
            12 => format!("{name} says: {capital}."),
            _ => format!("{name} says: {said}."),
        }
    }

    /// The statement in the words of `speaker`.
    fn said(&self, speaker: usize, statement: Statement, count: usize, rng: &mut ChaCha8Rng) -> String {
        let kind = |kind: bool| self.kind(kind);
        let name = |who: usize| if who == speaker { "I".to_owned() } else { self.name(who).unwrap_or_default() };
        let is =
            |who: usize, k: bool| format!("{} {} a {}", name(who), if who == speaker { "am" } else { "is" }, kind(k));
        // Two people, with "I" last; then "we" if that is everybody.
        let pair = |one: usize, other: usize, rng: &mut ChaCha8Rng| match (one == speaker, other == speaker) {
            (true, _) | (_, true) if count == 2 && rng.random_bool(0.4) => "we".to_owned(),
            (true, _) => format!("{} and I", name(other)),
            _ => format!("{} and {}", name(one), name(other)),
        };
        let all = if count == 2 { "both" } else { "all" };
        let ways = match statement {
            Statement::Is(who, k) if who == speaker => {
                vec![is(who, k), is(who, k), format!("I {}", if k { "tell the truth" } else { "lie" })]
            }
            Statement::Is(who, k) => {
                let (who, not) = (name(who), kind(!k));
                let [tells, telling] = if k { ["tells the truth", "telling the truth"] } else { ["lies", "lying"] };
                vec![
                    format!("{who} is a {}", kind(k)),
                    format!("{who} is a {}", kind(k)),
                    format!("{who} is a {}", kind(k)),
                    format!("{who} {tells}"),
                    format!("{who} always {tells}"),
                    format!("{who} is {telling}"),
                    format!("{who} is not a {not}"),
                    format!("{who} never {}", if k { "lies" } else { "tells the truth" }),
                ]
            }
            Statement::Same(one, other, same) => {
                let pair = pair(one, other, rng);
                match same {
                    true => vec![
                        format!("{pair} are the same kind"),
                        format!("{pair} are the same"),
                        format!("{pair} are of the same kind"),
                    ],
                    false => vec![
                        format!("{pair} are different kinds"),
                        format!("{pair} are different"),
                        format!("{pair} are not the same kind"),
                    ],
                }
            }
            Statement::Either(one, k, other, that) => {
                let mut ways = vec![format!("{} or {}", is(one, k), is(other, that)); 2];
                if k == that && one != speaker && other != speaker {
                    let two = format!("{} and {}", name(one), name(other));
                    ways.push(format!("at least one of {two} is a {}", kind(k)));
                }
                ways
            }
            Statement::Both(one, k, other, that) => {
                let mut ways = vec![format!("{} and {}", is(one, k), is(other, that))];
                // The working repeats them in the order in which they are said, and nobody says "I and B".
                if k == that && one != speaker {
                    let two = format!("{} and {}", name(one), name(other));
                    ways.push(format!("{two} are {}s", kind(k)));
                    ways.push(format!("{two} are both {}s", kind(k)));
                }
                ways
            }
            Statement::SomeKnave | Statement::SomeKnight => {
                let k = statement == Statement::SomeKnight;
                let mut ways = vec![
                    format!("at least one of us is a {}", kind(k)),
                    format!("at least one of us {}", if k { "tells the truth" } else { "lies" }),
                    format!("there is a {} among us", kind(k)),
                ];
                if count == 2 {
                    ways.push(format!("at least one of us two is a {}", kind(k)));
                    ways.push(format!("we are not both {}s", kind(!k)));
                }
                ways
            }
            Statement::OneKnight | Statement::OneKnave => {
                let k = statement == Statement::OneKnight;
                vec![
                    format!("exactly one of us is a {}", kind(k)),
                    format!("only one of us is a {}", kind(k)),
                    format!("exactly one of us {}", if k { "tells the truth" } else { "lies" }),
                ]
            }
            Statement::All(k) => vec![
                format!("we are {all} {}s", kind(k)),
                format!("we are {all} {}s", kind(k)),
                format!("we are {all} {}", if k { "telling the truth" } else { "lying" }),
                format!("we {all} {}", if k { "tell the truth" } else { "lie" }),
                format!("{all} of us are {}s", kind(k)),
                format!("{} of us is a {}", if count == 2 { "neither" } else { "none" }, kind(!k)),
            ],
            Statement::Nothing => vec![statement.say(speaker)],
        };
        ways.choose(rng).cloned().unwrap_or_default()
    }
}

/// Letters for `count` people, often in a row: `P` and `Q`.
fn letters(count: usize, rng: &mut ChaCha8Rng) -> Vec<String> {
    let mut letters: Vec<char> = Vec::new();
    if rng.random_bool(0.5) {
        letters.extend(LETTERS.windows(count).collect::<Vec<_>>().choose(rng).copied().unwrap_or_default());
    }
    while letters.len() < count {
        let letter = LETTERS.choose(rng).copied().unwrap_or_default();
        if !letters.contains(&letter) {
            letters.push(letter);
        }
    }
    letters.iter().map(char::to_string).collect()
}

/// First names for `count` people, no two of which begin alike.
fn names(count: usize, rng: &mut ChaCha8Rng) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    while names.len() < count {
        let from: &[&str] = match rng.random_range(0..4) {
            0 => &MEN,
            1 => &WOMEN,
            _ => small_talk::names(Language::English),
        };
        let name = from.choose(rng).copied().unwrap_or_default();
        if names.iter().all(|other| other.chars().next() != name.chars().next()) {
            names.push(name.to_owned());
        }
    }
    names
}

/// `Alice, Bob and Carol`
fn listed(people: &[String]) -> String {
    match people {
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
        [] => String::new(),
    }
}
