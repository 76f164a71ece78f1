//! How a puzzle is told: who its people are, what the two kinds are called, and the words of what is said.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{PEOPLE, Puzzle, Statement};
use crate::task::Language;
use crate::word_problems::{MEN, WOMEN};
use crate::wording::{Case, dress};

/// Longest name, in bytes.
const LONGEST_NAME: usize = 20;

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
        let mut names: Vec<String> = Vec::new();
        if rng.random_bool(0.4) {
            return Self { names, liars };
        }
        while names.len() < count {
            let from = if rng.random_bool(0.5) { &MEN } else { &WOMEN };
            let name = from.choose(rng).copied().unwrap_or_default();
            if names.iter().all(|other| other.chars().next() != name.chars().next()) {
                names.push(name.to_owned());
            }
        }
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

    /// The question.
    pub(super) fn tell(&self, puzzle: &Puzzle, rng: &mut ChaCha8Rng) -> String {
        let people: Vec<String> = (0..puzzle.0.len()).filter_map(|who| self.name(who)).collect();
        let everybody = match &people[..] {
            [before @ .., last] => format!("{} and {last}", before.join(", ")),
            [] => String::new(),
        };
        let (knights, knaves) = (self.kind(true), self.kind(false));
        let mut openings = vec![
            format!("You meet {everybody}. Each is a {knights} or a {knaves}."),
            format!("Each of {everybody} is either a {knights} or a {knaves}."),
            format!("On an island live {knights}s and {knaves}s. You meet {everybody}."),
            format!("A {knights} always tells the truth, a {knaves} always lies."),
        ];
        if !self.liars {
            openings.extend([
                "Knights tell the truth, knaves lie.".to_owned(),
                "Knights always tell the truth and knaves always lie.".to_owned(),
                "On an island, knights always tell the truth and knaves always lie.".to_owned(),
                "Knights never lie, knaves always do.".to_owned(),
                format!("{everybody} are knights or knaves."),
                format!("{everybody} are each a knight or a knave."),
                "Knights and knaves.".to_owned(),
                String::new(),
                String::new(),
            ]);
        }
        let mut parts = vec![openings.choose(rng).cloned().unwrap_or_default()];
        // One way of quoting for all, most of the time.
        let (way, mixed) = (rng.random_range(0..8), rng.random_bool(0.2));
        for (who, statement) in puzzle.0.iter().enumerate() {
            let way = if mixed { rng.random_range(0..8) } else { way };
            parts.push(self.quoted(who, *statement, people.len(), way, rng));
        }
        let questions = [
            "Who is what?".to_owned(),
            "Who is who?".to_owned(),
            "What are they?".to_owned(),
            "What is each of them?".to_owned(),
            format!("Who is a {knights} and who is a {knaves}?"),
            format!("Who is the {knaves}?"),
            "Who lies and who tells the truth?".to_owned(),
            "Who is lying?".to_owned(),
            String::new(),
        ];
        let weights = [4.0, 4.0, 2.0, 1.0, 2.0, 0.5, 1.0, 1.0, 0.5];
        parts.push(questions[crate::draw::weighted(&weights, rng)].clone());
        parts.retain(|part| !part.is_empty());
        let text = dress(&parts.join(" "), Language::English, Case::Kept, rng);
        if rng.random_bool(0.12) { text.to_lowercase() } else { text }
    }

    /// `Alice says: Bob is a knave.`
    fn quoted(&self, who: usize, statement: Statement, count: usize, way: usize, rng: &mut ChaCha8Rng) -> String {
        let name = self.name(who).unwrap_or_default();
        let said = self.said(who, statement, count, rng);
        // Of "I" and "we", only the speaker can say that.
        let indirect = !said.split([' ', ',']).any(|word| matches!(word, "I" | "we" | "me" | "us" | "We"));
        let capital = said.chars().next().map(|c| c.to_uppercase().chain(said.chars().skip(1)).collect::<String>());
        let capital = capital.unwrap_or_default();
        match way {
            0 if indirect => format!("{name} says that {said}."),
            0 | 1 => format!("{name} says \"{capital}\"."),
            2 => format!("{name} says, \"{capital}.\""),
            3 => format!("{name}: {capital}."),
            4 if indirect => format!("{name} claims that {said}."),
            4 => format!("{name} claims: {said}."),
            5 if indirect => format!("{name} says {said}."),
            6 => format!("{name} said: {capital}."),
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
                if k == that {
                    let two = match one == speaker {
                        true => format!("{} and I", name(other)),
                        false => format!("{} and {}", name(one), name(other)),
                    };
                    ways.push(format!("{two} are {}s", kind(k)));
                    ways.push(format!("{two} are both {}s", kind(k)));
                }
                ways
            }
            Statement::SomeKnave | Statement::SomeKnight => {
                let k = statement == Statement::SomeKnight;
                vec![
                    format!("at least one of us is a {}", kind(k)),
                    format!("at least one of us {}", if k { "tells the truth" } else { "lies" }),
                    format!("there is a {} among us", kind(k)),
                ]
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
                format!("we are {all} {}", if k { "telling the truth" } else { "lying" }),
                format!("{all} of us are {}s", kind(k)),
            ],
        };
        ways.choose(rng).cloned().unwrap_or_default()
    }
}
