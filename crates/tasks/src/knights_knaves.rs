//! Knights, who say only what is true, and knaves, who say only what is false: who is which?
//!
//! Everybody makes one statement, and exactly one assignment agrees with all of them, which is counted out before a
//! puzzle is posed. The working tries the assignments in a fixed order: each line is one, with the people checked
//! until one does not fit (`no`) or all do. Not here: people who say nothing, spies, more than three people.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::task::{Problem, Source, Task, TaskError, Trace, Verdict};

const NAME: &str = "knights_knaves";
/// Most people; there are as many permutations as 3! and as many assignments as 2³.
const MOST: usize = 3;
const PEOPLE: [char; MOST] = ['A', 'B', 'C'];
/// Longest answer that is looked at, in bytes.
const MAX_LEN: usize = 200;

/// The dials of [`KnightsKnaves`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share in the mixture, relative to the other tasks'.
    pub weight: f64,
    /// Fewest and most people, 2 to 3.
    pub people: [usize; 2],
    /// Whether the working repeats what everybody says and whether it would be true, before it says whether that fits:
    /// `If A knight, B knave: A says B knight: false, does not fit.`
    pub words: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, people: [2, 3], words: false }
    }
}

/// Who is a knight and who a knave.
pub struct KnightsKnaves {
    words: bool,
    source: Drawn<Config>,
}

impl KnightsKnaves {
    /// The task under these dials.
    ///
    /// # Errors
    /// [`TaskError::Dial`] names the dial that is out of range.
    pub fn new(config: Config, seed: u64) -> Result<Self, TaskError> {
        let [low, high] = config.people;
        if low < 2 || low > high || high > MOST {
            let (value, cure) = (format!("{:?}", config.people), "give [fewest, most] between 2 and 3");
            return Err(TaskError::Dial { task: NAME, key: "people", value, cure });
        }
        let levels: Vec<Config> = (low..=high).map(|count| Config { people: [count; 2], ..config.clone() }).collect();
        Ok(Self { words: config.words, source: Drawn::new(NAME, seed, config, levels, draw_problem)? })
    }
}

impl Task for KnightsKnaves {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A level for each number of people.
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let puzzle = Puzzle::of(problem)?;
        let solution = puzzle.solution()?;
        let mut lines = Vec::new();
        for kinds in assignments(puzzle.0.len()) {
            let mut line = format!("{}{}:", if self.words { "If " } else { "" }, write(&kinds));
            for (who, statement) in puzzle.0.iter().enumerate() {
                let holds = statement.holds(&kinds);
                let fits = holds == kinds[who];
                let verdict = match (self.words, fits) {
                    (false, true) => "yes".to_owned(),
                    (false, false) => "no".to_owned(),
                    (true, true) => format!("says {}: {holds}, fits.", statement.brief()),
                    (true, false) => format!("says {}: {holds}, does not fit.", statement.brief()),
                };
                line.push_str(&format!(" {} {verdict}", PEOPLE[who]));
                if !fits {
                    break;
                }
            }
            lines.push(line);
            if kinds == solution {
                break;
            }
        }
        Some(Trace { thinking: lines.join("\n"), answer: write(&solution) })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some(puzzle) = Puzzle::of(problem) else {
            return Verdict::foreign(NAME, problem);
        };
        match (puzzle.solution(), read(answer, puzzle.0.len())) {
            (None, _) => Verdict::foreign(NAME, problem),
            (_, Err(fault)) => Verdict::wrong(fault),
            (Some(solution), Ok(kinds)) if kinds == solution => Verdict::Right(1.0),
            _ => Verdict::wrong("somebody is of the other kind"),
        }
    }
}

/// What somebody says. People are places in [`PEOPLE`]; a knight is `true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Statement {
    /// That one is of this kind.
    Is(usize, bool),
    /// These two are of the same kind, or of different kinds.
    Same(usize, usize, bool),
    /// The first is of this kind, or the second of that, or both.
    Either(usize, bool, usize, bool),
    /// The first is of this kind and the second of that.
    Both(usize, bool, usize, bool),
    /// At least one of all is a knave.
    SomeKnave,
    /// Exactly one of all is a knight.
    OneKnight,
}

impl Statement {
    /// Whether it is true under an assignment; of people that are not there, nothing is.
    pub(crate) fn holds(self, kinds: &[bool]) -> bool {
        let is = |who: usize, kind: bool| kinds.get(who) == Some(&kind);
        match self {
            Self::Is(who, kind) => is(who, kind),
            Self::Same(one, other, same) => (kinds.get(one) == kinds.get(other)) == same,
            Self::Either(one, kind, other, that) => is(one, kind) || is(other, that),
            Self::Both(one, kind, other, that) => is(one, kind) && is(other, that),
            Self::SomeKnave => kinds.contains(&false),
            Self::OneKnight => kinds.iter().filter(|kind| **kind).count() == 1,
        }
    }

    /// Bit `i` is whether it is true under assignment `i`: what it means, however it is worded.
    fn truth_table(self, count: usize) -> u8 {
        assignments(count).enumerate().fold(0, |table, (i, kinds)| table | u8::from(self.holds(&kinds)) << i)
    }

    /// Everything that can be said of `count` people, in order, but for the order of two beside an "or" or "and".
    fn all(count: usize) -> Vec<Self> {
        let mut all = vec![Self::SomeKnave, Self::OneKnight];
        for (one, kind) in (0..count).flat_map(|one| [(one, false), (one, true)]) {
            all.push(Self::Is(one, kind));
            for other in one + 1..count {
                all.push(Self::Same(one, other, kind));
                all.extend([false, true].map(|that| Self::Either(one, kind, other, that)));
                all.extend([false, true].map(|that| Self::Both(one, kind, other, that)));
            }
        }
        all.sort_unstable();
        all
    }

    /// The statement about the same people under other numbers.
    fn renamed(self, names: &[usize]) -> Self {
        match self {
            Self::Is(who, kind) => Self::Is(names[who], kind),
            Self::Same(one, other, same) => Self::Same(names[one], names[other], same),
            Self::Either(one, kind, other, that) => Self::Either(names[one], kind, names[other], that),
            Self::Both(one, kind, other, that) => Self::Both(names[one], kind, names[other], that),
            Self::SomeKnave | Self::OneKnight => self,
        }
    }

    /// The statement among these of `count` people alone, who are numbered anew; `None` if it speaks of others.
    pub(crate) fn among(self, group: &[usize], count: usize) -> Option<Self> {
        if matches!(self, Self::SomeKnave | Self::OneKnight) {
            return (group.len() == count).then_some(self);
        }
        let number = |who: usize| group.iter().position(|&member| member == who).unwrap_or(MOST);
        let names: Vec<usize> = (0..count).map(number).collect();
        Some(self.renamed(&names)).filter(|statement| statement.fits(group.len()))
    }

    /// Everybody it speaks of is among the first `count`, and nobody twice.
    fn fits(self, count: usize) -> bool {
        match self {
            Self::Is(who, _) => who < count,
            Self::Same(one, other, _) | Self::Either(one, _, other, _) | Self::Both(one, _, other, _) => {
                one != other && one.max(other) < count
            }
            Self::SomeKnave | Self::OneKnight => true,
        }
    }

    /// One that `speaker`, of `count` people, may make.
    pub(crate) fn draw(speaker: usize, count: usize, rng: &mut ChaCha8Rng) -> Self {
        let others: Vec<usize> = (0..count).filter(|&who| who != speaker).collect();
        let other = others.choose(rng).copied().unwrap_or(0);
        // Whoever speaks of two may be one of them.
        let rest: Vec<usize> = (0..count).filter(|&who| who != other).collect();
        let second = rest.choose(rng).copied().unwrap_or(0);
        match rng.random_range(0..10) {
            0..2 => Self::Is(other, rng.random_bool(0.5)),
            2..4 => Self::Same(other, second, rng.random_bool(0.5)),
            4..6 => Self::Either(other, rng.random_bool(0.5), second, rng.random_bool(0.5)),
            6..8 => Self::Both(other, rng.random_bool(0.5), second, rng.random_bool(0.5)),
            8 => Self::SomeKnave,
            _ => Self::OneKnight,
        }
    }

    pub(crate) fn say(self, speaker: usize) -> String {
        let kind = |kind: bool| if kind { "a knight" } else { "a knave" };
        let is = |who: usize, k: bool| match who == speaker {
            true => format!("I am {}", kind(k)),
            false => format!("{} is {}", PEOPLE[who], kind(k)),
        };
        match self {
            Self::Is(who, k) => is(who, k),
            Self::Same(one, other, same) => {
                let same = if same { "the same kind" } else { "different kinds" };
                match (one == speaker, other == speaker) {
                    (true, _) => format!("{} and I are {same}", PEOPLE[other]),
                    (_, true) => format!("{} and I are {same}", PEOPLE[one]),
                    _ => format!("{} and {} are {same}", PEOPLE[one], PEOPLE[other]),
                }
            }
            Self::Either(one, k, other, that) => format!("{} or {}", is(one, k), is(other, that)),
            Self::Both(one, k, other, that) => format!("{} and {}", is(one, k), is(other, that)),
            Self::SomeKnave => "at least one of us is a knave".to_owned(),
            Self::OneKnight => "exactly one of us is a knight".to_owned(),
        }
    }

    /// As the working repeats it: `B knave or A knight`, with nobody called I.
    fn brief(self) -> String {
        let is = |who: usize, kind: bool| format!("{} {}", PEOPLE[who], if kind { "knight" } else { "knave" });
        match self {
            Self::Is(who, kind) => is(who, kind),
            Self::Same(one, other, true) => format!("{} like {}", PEOPLE[one], PEOPLE[other]),
            Self::Same(one, other, false) => format!("{} unlike {}", PEOPLE[one], PEOPLE[other]),
            Self::Either(one, kind, other, that) => format!("{} or {}", is(one, kind), is(other, that)),
            Self::Both(one, kind, other, that) => format!("{} and {}", is(one, kind), is(other, that)),
            Self::SomeKnave => "some knave".to_owned(),
            Self::OneKnight => "one knight".to_owned(),
        }
    }
}

/// The statements in the order of the people: the gold of this task's problems.
#[derive(Serialize, Deserialize)]
pub(crate) struct Puzzle(pub(crate) Vec<Statement>);

impl Puzzle {
    pub(crate) fn of(problem: &Problem) -> Option<Self> {
        let puzzle: Self = serde_json::from_value(problem.gold.clone()).ok()?;
        let count = puzzle.0.len();
        ((2..=MOST).contains(&count) && puzzle.0.iter().all(|statement| statement.fits(count))).then_some(puzzle)
    }

    /// The only assignment under which knights say what is true and knaves what is not.
    pub(crate) fn solution(&self) -> Option<Vec<bool>> {
        let agrees = |kinds: &Vec<bool>| (0..kinds.len()).all(|who| self.0[who].holds(kinds) == kinds[who]);
        let mut agreeing = assignments(self.0.len()).filter(agrees);
        let solution = agreeing.next()?;
        agreeing.next().is_none().then_some(solution)
    }

    /// The same whoever of the people is called A, B and C, and however what they say is worded: of two people, "at
    /// least one of us is a knave" is "A is a knave or B is a knave".
    pub(crate) fn id(&self) -> String {
        let count = self.0.len();
        let wordings: Vec<(u8, Statement)> =
            Statement::all(count).into_iter().map(|statement| (statement.truth_table(count), statement)).collect();
        let first_wording = |statement: Statement| {
            let table = statement.truth_table(count);
            wordings.iter().find(|(other, _)| *other == table).map_or(statement, |(_, first)| *first)
        };
        let renamed = |names: &[usize]| {
            let mut statements = vec![Statement::SomeKnave; count];
            for (who, statement) in self.0.iter().enumerate() {
                statements[names[who]] = first_wording(statement.renamed(names));
            }
            statements
        };
        let least = permutations(count).iter().map(|names| renamed(names)).min().unwrap_or_default();
        let said: Vec<String> = least.into_iter().enumerate().map(|(who, statement)| statement.say(who)).collect();
        format!("{NAME}/{}", said.join("; "))
    }
}

/// All assignments, first that of knights alone, the last person's kind changing fastest.
pub(crate) fn assignments(count: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..1_usize << count).map(move |code| (0..count).map(|who| code >> (count - 1 - who) & 1 == 0).collect())
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let longer = |names: &Vec<usize>| {
            let rest: Vec<usize> = (0..count).filter(|name| !names.contains(name)).collect();
            let names = names.clone();
            rest.into_iter().map(move |name| [&names[..], &[name]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// `None` if no assignment agrees with what is said, or several do.
fn draw_problem(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    let [low, high] = config.people;
    let count = rng.random_range(low..=high);
    let puzzle = Puzzle((0..count).map(|who| Statement::draw(who, count, rng)).collect());
    puzzle.solution()?;
    let said: Vec<String> =
        puzzle.0.iter().enumerate().map(|(who, s)| format!("{} says: {}.", PEOPLE[who], s.say(who))).collect();
    let form: Vec<String> = PEOPLE[..count].iter().map(|who| format!("{who} knight")).collect();
    Some(Problem {
        id: puzzle.id(),
        task: NAME.to_owned(),
        prompt: format!(
            "Knights tell the truth, knaves lie. {} Who is what? Answer like {}.",
            said.join(" "),
            form.join(", ")
        ),
        gold: serde_json::json!(puzzle),
    })
}

/// `A knight, B knave`
pub(crate) fn write(kinds: &[bool]) -> String {
    let words: Vec<String> = kinds
        .iter()
        .zip(PEOPLE)
        .map(|(kind, who)| format!("{who} {}", if *kind { "knight" } else { "knave" }))
        .collect();
    words.join(", ")
}

/// Everybody once, in any order and case, as `A knight`, `A is a knight` or `A: knight`, parted by commas,
/// semicolons, `and` or lines.
fn read(answer: &str, count: usize) -> Result<Vec<bool>, &'static str> {
    if answer.len() > MAX_LEN {
        return Err("too long for a few people");
    }
    let text = answer.trim().trim_end_matches('.').to_lowercase().replace([',', ';', ':', '\n'], " ");
    let mut kinds: Vec<Option<bool>> = vec![None; count];
    let mut who: Option<usize> = None;
    for word in text.split_whitespace() {
        let person = PEOPLE[..count].iter().position(|p| p.to_ascii_lowercase().to_string() == word);
        match (who, word, person) {
            // `a` before a kind is an article, elsewhere the first person.
            (Some(_), "is" | "a", _) => {}
            (None, "and", _) => {}
            (Some(index), "knight" | "knave", _) => {
                if kinds[index].replace(word == "knight").is_some() {
                    return Err("somebody is named twice");
                }
                who = None;
            }
            (None, _, Some(index)) => who = Some(index),
            _ => return Err("not of the form A knight, B knave"),
        }
    }
    match who {
        Some(_) => Err("somebody's kind is not said"),
        None => kinds.into_iter().collect::<Option<_>>().ok_or("somebody is not named"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;
    use crate::task::Split;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    fn task() -> KnightsKnaves {
        KnightsKnaves::new(Config::default(), 0).unwrap()
    }

    fn posed(statements: &[Statement]) -> Problem {
        Problem {
            id: "knights_knaves/test".into(),
            task: NAME.into(),
            prompt: String::new(),
            gold: serde_json::json!(statements),
        }
    }

    #[test]
    fn traces_as_written() {
        // A: B is a knave. B: A and I are the same kind. Only the first can be true.
        let problem = posed(&[Statement::Is(1, false), Statement::Same(0, 1, true)]);
        let trace = task().trace(&problem).unwrap();
        assert_eq!(trace.thinking, "A knight, B knight: A no\nA knight, B knave: A yes B yes");
        assert_eq!(trace.answer, "A knight, B knave");
        let in_words = KnightsKnaves::new(Config { words: true, ..Config::default() }, 0).unwrap();
        assert_eq!(
            in_words.trace(&problem).unwrap().thinking,
            "If A knight, B knight: A says B knave: false, does not fit.\n\
             If A knight, B knave: A says B knave: true, fits. B says A like B: false, fits."
        );
    }

    #[test]
    fn statements_in_words() {
        for (statement, speaker, said) in [
            (Statement::Is(1, false), 0, "B is a knave"),
            (Statement::Same(2, 0, false), 0, "C and I are different kinds"),
            (Statement::Same(1, 2, true), 0, "B and C are the same kind"),
            (Statement::Either(1, true, 0, false), 0, "B is a knight or I am a knave"),
            (Statement::Both(1, true, 2, false), 0, "B is a knight and C is a knave"),
            (Statement::SomeKnave, 0, "at least one of us is a knave"),
            (Statement::OneKnight, 1, "exactly one of us is a knight"),
        ] {
            assert_eq!(statement.say(speaker), said);
        }
        for (statement, brief) in [
            (Statement::Same(2, 0, false), "C unlike A"),
            (Statement::Either(1, true, 0, false), "B knight or A knave"),
            (Statement::Both(1, true, 2, false), "B knight and C knave"),
            (Statement::SomeKnave, "some knave"),
            (Statement::OneKnight, "one knight"),
        ] {
            assert_eq!(statement.brief(), brief);
        }
    }

    #[test]
    fn ways_to_write_it() {
        let problem = posed(&[Statement::Is(1, false), Statement::Same(0, 1, true)]);
        for answer in [
            "A knight, B knave",
            "b KNAVE, a Knight.",
            "A is a knight and B is a knave",
            "A: knight; B: knave",
            "A knight\nB knave",
            "A a knight B a knave",
        ] {
            assert!(task().verify(&problem, answer).is_right(), "{answer}");
        }
        for answer in [
            "A knave, B knave",
            "A knight",
            "A knight, B knave, A knight",
            "A knight, B knave, B knight",
            "A knight, B knave, C knave",
            "A knight knave, B knave",
            "A knight, B knight or knave",
            "A not knave, B knave",
            "A knight, B",
            "knight, knave",
            "A",
            "a a a",
        ] {
            assert!(matches!(task().verify(&problem, answer), Verdict::Wrong(_)), "{answer}");
        }
    }

    #[test]
    fn names_make_no_new_puzzle() {
        let ours = Puzzle(vec![Statement::Is(1, false), Statement::Same(1, 2, true), Statement::SomeKnave]);
        // A is now called C, B A and C B.
        let theirs = Puzzle(vec![Statement::Same(1, 0, true), Statement::SomeKnave, Statement::Is(0, false)]);
        assert_eq!(ours.id(), theirs.id());
        let other = Puzzle(vec![Statement::Is(1, true), Statement::Same(1, 2, true), Statement::SomeKnave]);
        assert_ne!(ours.id(), other.id());
    }

    /// The truth tables of the statements under the names that make them least. The slow way: assignments are the bits
    /// of a number, and it is those that are renamed, not the statements.
    fn meaning(puzzle: &Puzzle) -> Vec<Vec<bool>> {
        let count = puzzle.0.len();
        let orders: &[&[usize]] = match count {
            2 => &[&[0, 1], &[1, 0]],
            _ => &[&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]],
        };
        let tables = |order: &&[usize]| -> Vec<Vec<bool>> {
            // `order[name]` is who of the puzzle has the name.
            let table = |&who: &usize| -> Vec<bool> {
                let kinds_of = |code: usize| -> Vec<bool> {
                    let name = |who: usize| order.iter().position(|&other| other == who).unwrap();
                    (0..count).map(|who| code & 1 << name(who) > 0).collect()
                };
                (0..1 << count).map(|code| puzzle.0[who].holds(&kinds_of(code))).collect()
            };
            order.iter().map(table).collect()
        };
        orders.iter().map(tables).min().unwrap()
    }

    /// Equal ids for equal meanings, other ids for others; how many meanings there were.
    fn ids_are_meanings(puzzles: impl Iterator<Item = Puzzle>) -> usize {
        let (mut id_of, mut meaning_of) = (HashMap::new(), HashMap::new());
        for puzzle in puzzles {
            let (id, meaning) = (puzzle.id(), meaning(&puzzle));
            assert_eq!(*id_of.entry(meaning.clone()).or_insert(id.clone()), id, "{:?}", puzzle.0);
            assert_eq!(*meaning_of.entry(id).or_insert(meaning.clone()), meaning, "{:?}", puzzle.0);
        }
        id_of.len()
    }

    #[test]
    fn words_make_no_new_puzzle() {
        let ours = Puzzle(vec![Statement::SomeKnave, Statement::OneKnight]);
        let theirs = Puzzle(vec![Statement::Either(1, false, 0, false), Statement::Same(1, 0, false)]);
        assert_eq!(ours.id(), theirs.id());
        // Of three people, these are two statements.
        let third = |first| Puzzle(vec![first, Statement::Is(2, true), Statement::Is(0, true)]);
        assert_ne!(third(Statement::SomeKnave).id(), third(Statement::Either(0, false, 1, false)).id());
        // All pairs of what two people can say, in either order of the two.
        let mut said = Statement::all(2);
        said.extend(said.clone().into_iter().map(|statement| match statement {
            Statement::Same(one, other, same) => Statement::Same(other, one, same),
            Statement::Either(one, kind, other, that) => Statement::Either(other, that, one, kind),
            Statement::Both(one, kind, other, that) => Statement::Both(other, that, one, kind),
            other => other,
        }));
        let pairs = said.iter().flat_map(|&one| said.iter().map(move |&other| Puzzle(vec![one, other])));
        // 14 meanings (4 of one, 2 of sameness, 4 of "or", 4 of "and"), and each pair has its mirror image.
        assert_eq!(ids_are_meanings(pairs), 14 * 14 / 2 + 7);
        let rng = &mut draw::rng(7, "test", 0, 0);
        let threes = (0..20_000).map(|_| Puzzle((0..3).map(|who| Statement::draw(who, 3, rng)).collect()));
        assert!(ids_are_meanings(threes) > 1000);
    }

    #[test]
    fn puzzles_have_one_solution() {
        // The slow way: walk all assignments by hand.
        for index in 0..500 {
            let problem = task().problem(Split::Train, index);
            let puzzle = Puzzle::of(&problem).unwrap();
            let mut solutions = HashSet::new();
            for code in 0..8_u8 {
                let kinds: Vec<bool> = (0..puzzle.0.len()).map(|who| code & 1 << who > 0).collect();
                if puzzle
                    .0
                    .iter()
                    .enumerate()
                    .all(|(who, s)| if kinds[who] { s.holds(&kinds) } else { !s.holds(&kinds) })
                {
                    solutions.insert(kinds);
                }
            }
            assert_eq!(solutions.len(), 1, "{}", problem.prompt);
            let solution = solutions.iter().next().unwrap();
            for kinds in assignments(puzzle.0.len()) {
                assert_eq!(task().verify(&problem, &write(&kinds)).is_right(), &kinds == solution);
            }
        }
    }

    #[test]
    fn always_the_same_answer_does_not_pay() {
        for (level, count) in [(0, 2), (1, 3)] {
            let mut right = vec![0; 1 << count];
            for index in 0..2000 {
                let solution = Puzzle::of(&task().problem_at(Split::Train, level, index)).unwrap().solution().unwrap();
                right[assignments(count).position(|kinds| kinds == solution).unwrap()] += 1;
            }
            assert!(right.iter().all(|right| *right < 1000), "{right:?}");
        }
    }

    #[test]
    fn dials_out_of_range_are_named() {
        for people in [[1, 2], [3, 2], [2, 4]] {
            let config = Config { people, ..Config::default() };
            let error = KnightsKnaves::new(config, 0).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("people") && error.contains("between 2 and 3"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(answer in "[ABCabc knightve,;:.\n]{0,80}", one: usize, other: usize) {
            for statements in [
                vec![Statement::Is(one, true), Statement::Same(one, other, true)],
                vec![Statement::Is(one % 3, true), Statement::Either(one % 3, true, other % 3, false)],
                vec![Statement::SomeKnave; one % 5],
            ] {
                let problem = posed(&statements);
                let _ = (task().verify(&problem, &answer), task().trace(&problem));
            }
        }
    }
}
