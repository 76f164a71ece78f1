//! What people say, and the puzzle that it makes.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{MOST, NAME, PEOPLE};

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
    /// Exactly one of all is a knave.
    OneKnave,
    /// At least one of all is a knight.
    SomeKnight,
    /// All are of this kind.
    All(bool),
    /// No statement at all: who is silent may be of either kind.
    Nothing,
}

impl Statement {
    /// Whether it is true under an assignment; of people that are not there, nothing is. Silence is nothing untrue.
    pub(crate) fn holds(self, kinds: &[bool]) -> bool {
        let is = |who: usize, kind: bool| kinds.get(who) == Some(&kind);
        match self {
            Self::Is(who, kind) => is(who, kind),
            Self::Same(one, other, same) => (kinds.get(one) == kinds.get(other)) == same,
            Self::Either(one, kind, other, that) => is(one, kind) || is(other, that),
            Self::Both(one, kind, other, that) => is(one, kind) && is(other, that),
            Self::SomeKnave => kinds.contains(&false),
            Self::OneKnight => kinds.iter().filter(|kind| **kind).count() == 1,
            Self::OneKnave => kinds.iter().filter(|kind| !**kind).count() == 1,
            Self::SomeKnight => kinds.contains(&true),
            Self::All(kind) => kinds.iter().all(|other| *other == kind),
            Self::Nothing => true,
        }
    }

    /// Whether `speaker` can say it under an assignment: a knight what is true, a knave what is not, both nothing.
    pub(super) fn suits(self, speaker: usize, kinds: &[bool]) -> bool {
        self == Self::Nothing || kinds.get(speaker) == Some(&self.holds(kinds))
    }

    /// Bit `i` is whether it is true under assignment `i`: what it means, however it is worded. None of silence, which
    /// means something other than a statement that is always true.
    fn truth_table(self, count: usize) -> Option<u8> {
        let table = |table, (i, kinds): (usize, Vec<bool>)| table | u8::from(self.holds(&kinds)) << i;
        (self != Self::Nothing).then(|| assignments(count).enumerate().fold(0, table))
    }

    /// Those that speak of nobody in particular.
    const OF_ALL: [Self; 6] =
        [Self::SomeKnave, Self::OneKnight, Self::OneKnave, Self::SomeKnight, Self::All(false), Self::All(true)];

    /// Everything that can be said of `count` people, in order, but for the order of two beside an "or" or "and".
    /// Silence is not among it.
    fn all(count: usize) -> Vec<Self> {
        let mut all = Self::OF_ALL.to_vec();
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
            _ => self,
        }
    }

    /// The statement among these of `count` people alone, who are numbered anew; `None` if it speaks of others.
    pub(crate) fn among(self, group: &[usize], count: usize) -> Option<Self> {
        if Self::OF_ALL.contains(&self) {
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
            _ => true,
        }
    }

    /// One that `speaker`, of `count` people, makes in a puzzle.
    fn draw_said(speaker: usize, count: usize, rng: &mut ChaCha8Rng) -> Self {
        let other = (speaker + rng.random_range(1..count)) % count;
        let said = match rng.random_range(0..20) {
            0..5 => Self::Is(other, rng.random_bool(0.5)),
            5 => Self::Is(speaker, true),
            6 => Self::All(rng.random_bool(0.3)),
            7 => Self::SomeKnight,
            8 => Self::OneKnave,
            _ => Self::draw(speaker, count, rng),
        };
        match said {
            // Whoever speaks may come first too: "I am a knave or B is a knight". Of two alike they say "B and I".
            Self::Either(..) | Self::Both(..) if rng.random_bool(0.5) => said.turned(),
            _ => said,
        }
    }

    /// The same with the two that it speaks of in the other order.
    fn turned(self) -> Self {
        match self {
            Self::Same(one, other, same) => Self::Same(other, one, same),
            Self::Either(one, kind, other, that) => Self::Either(other, that, one, kind),
            Self::Both(one, kind, other, that) => Self::Both(other, that, one, kind),
            _ => self,
        }
    }

    /// One that `speaker`, of `count` people, may make; some that only puzzles have are left out.
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
            Self::SomeKnight => "at least one of us is a knight".to_owned(),
            Self::OneKnight => "exactly one of us is a knight".to_owned(),
            Self::OneKnave => "exactly one of us is a knave".to_owned(),
            Self::All(kind) => format!("all of us are {}", if kind { "knights" } else { "knaves" }),
            Self::Nothing => "nothing".to_owned(),
        }
    }

    /// As the working repeats it, with nobody called I: `B- or A+`, `A=B`, `some -`. Silence is not repeated.
    pub(super) fn brief(self, initials: &[char]) -> String {
        let is = |who: usize, kind: bool| format!("{}{}", initials[who], sign(kind));
        match self {
            Self::Is(who, kind) => is(who, kind),
            Self::Same(one, other, true) => format!("{}={}", initials[one], initials[other]),
            Self::Same(one, other, false) => format!("{}!={}", initials[one], initials[other]),
            Self::Either(one, kind, other, that) => format!("{} or {}", is(one, kind), is(other, that)),
            Self::Both(one, kind, other, that) => format!("{} and {}", is(one, kind), is(other, that)),
            Self::SomeKnave => "some -".to_owned(),
            Self::SomeKnight => "some +".to_owned(),
            Self::OneKnight => "one +".to_owned(),
            Self::OneKnave => "one -".to_owned(),
            Self::All(kind) => format!("all {}", sign(kind)),
            Self::Nothing => String::new(),
        }
    }

    /// What has to be looked up under an assignment to judge the statement. The kinds of the people it speaks of, `B+ A-`;
    /// in a statement of two parts also whether each is true, `B+T A-F`; where it counts, all kinds, `+-+`.
    pub(super) fn parts(self, kinds: &[bool], initials: &[char]) -> String {
        let is = |who: usize| format!("{}{}", initials[who], sign(kinds[who]));
        let truth = |who: usize, kind: bool| format!("{}{}", is(who), if kinds[who] == kind { 'T' } else { 'F' });
        match self {
            Self::Is(who, _) => is(who),
            Self::Same(one, other, _) => format!("{} {}", is(one), is(other)),
            Self::Either(one, kind, other, that) | Self::Both(one, kind, other, that) => {
                format!("{} {}", truth(one, kind), truth(other, that))
            }
            Self::SomeKnave | Self::SomeKnight | Self::OneKnight | Self::OneKnave | Self::All(_) => {
                kinds.iter().map(|kind| sign(*kind)).collect()
            }
            Self::Nothing => String::new(),
        }
    }
}

/// As the working writes a kind.
pub(super) fn sign(kind: bool) -> char {
    if kind { '+' } else { '-' }
}

/// How often somebody is silent in a puzzle that is drawn. Fewer of these than of the others have one solution: of the
/// puzzles that are posed, a little more than a fifth have somebody who is silent.
const SILENT: f64 = 0.38;

/// The statements in the order of the people: the gold of this task's problems.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Puzzle(pub(crate) Vec<Statement>);

impl Puzzle {
    /// One with or without a solution. One of the people may be silent; if two of three were, no statement that people
    /// make here would tell who is what.
    pub(super) fn draw(count: usize, rng: &mut ChaCha8Rng) -> Self {
        let silent = rng.random_bool(SILENT).then(|| rng.random_range(0..count));
        let said = |who| match silent == Some(who) {
            true => Statement::Nothing,
            false => Statement::draw_said(who, count, rng),
        };
        Self((0..count).map(said).collect())
    }

    /// Whether somebody says something of everybody, without naming them.
    pub(super) fn speaks_of_all(&self) -> bool {
        self.0.iter().any(|statement| Statement::OF_ALL.contains(statement))
    }

    /// If it speaks of nobody who is not there.
    pub(super) fn checked(self) -> Option<Self> {
        let count = self.0.len();
        ((2..=MOST).contains(&count) && self.0.iter().all(|statement| statement.fits(count))).then_some(self)
    }

    /// The only assignment under which knights say what is true and knaves what is not.
    pub(crate) fn solution(&self) -> Option<Vec<bool>> {
        let agrees = |kinds: &Vec<bool>| (0..kinds.len()).all(|who| self.0[who].suits(who, kinds));
        let mut agreeing = assignments(self.0.len()).filter(agrees);
        let solution = agreeing.next()?;
        agreeing.next().is_none().then_some(solution)
    }

    /// The same whoever of the people is called A, B and C, and however what they say is worded: of two people, "at
    /// least one of us is a knave" is "A is a knave or B is a knave".
    pub(crate) fn id(&self) -> String {
        let count = self.0.len();
        let wordings: Vec<(Option<u8>, Statement)> =
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;
    use std::collections::HashMap;

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
            (Statement::Nothing, 1, "nothing"),
        ] {
            assert_eq!(statement.say(speaker), said);
        }
        for (statement, brief, parts) in [
            (Statement::Is(1, false), "B-", "B-"),
            (Statement::Same(2, 0, false), "C!=A", "C- A+"),
            (Statement::Same(0, 1, true), "A=B", "A+ B-"),
            (Statement::Either(1, true, 0, true), "B+ or A+", "B-F A+T"),
            (Statement::Both(1, false, 2, false), "B- and C-", "B-T C-T"),
            (Statement::SomeKnave, "some -", "+--"),
            (Statement::OneKnave, "one -", "+--"),
            (Statement::All(true), "all +", "+--"),
        ] {
            let said = (statement.brief(&PEOPLE), statement.parts(&[true, false, false], &PEOPLE));
            assert_eq!((&*said.0, &*said.1), (brief, parts));
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

    /// The truth tables of the statements under the names that make them least; an empty one of silence. The slow way:
    /// assignments are the bits of a number, and it is those that are renamed, not the statements.
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
                let codes = if puzzle.0[who] == Statement::Nothing { 0..0 } else { 0..1 << count };
                codes.map(|code| puzzle.0[who].holds(&kinds_of(code))).collect()
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
    fn silence_suits_either_kind() {
        let kinds = [true, false];
        assert!((0..2).all(|who| Statement::Nothing.suits(who, &kinds)));
        assert!(Statement::SomeKnave.suits(0, &kinds) && !Statement::SomeKnave.suits(1, &kinds));
        // A knight would not say that both are knaves, and if a knave does, the other is none.
        let puzzle = Puzzle(vec![Statement::All(false), Statement::Nothing]);
        assert_eq!(puzzle.solution(), Some(vec![false, true]));
        let other = Puzzle(vec![Statement::Nothing, Statement::Both(0, false, 1, false)]);
        assert_eq!((other.id(), other.solution()), (puzzle.id(), Some(vec![true, false])));
        assert_eq!(Puzzle(vec![Statement::Is(1, true), Statement::Nothing]).solution(), None);
        assert_eq!(Puzzle(vec![Statement::Nothing; 2]).solution(), None);
        // Of three people, one statement never tells who is what.
        for said in Statement::all(3) {
            let alone = Puzzle(vec![said, Statement::Nothing, Statement::Nothing]);
            assert_eq!(alone.solution(), None, "{said:?}");
        }
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
        said.extend(said.clone().into_iter().map(Statement::turned));
        said.push(Statement::Nothing);
        let pairs = said.iter().flat_map(|&one| said.iter().map(move |&other| Puzzle(vec![one, other])));
        // 14 meanings (4 of one, 2 of sameness, 4 of "or", 4 of "and") and silence, and each pair has its mirror image.
        assert_eq!(ids_are_meanings(pairs), (15 * 15 + 15) / 2);
        let rng = &mut draw::rng(7, "test", 0, 0);
        let threes = (0..20_000).map(|_| Puzzle::draw(3, rng));
        assert!(ids_are_meanings(threes) > 1000);
    }
}
