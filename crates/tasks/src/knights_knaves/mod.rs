//! Knights, who say only what is true, and knaves, who say only what is false: who is which?
//!
//! Everybody makes one statement, or one of the people is silent, and exactly one assignment agrees with all that is
//! said, which is counted out before a puzzle is posed. The working writes down who says what, with `+` for a knight
//! and the people's initials, so that the question is read once: `A says B-, B says A=B`. Who is silent is listed
//! too, for the assignments have everybody: `A says all -, B`. Then it tries the assignments in a fixed order, one a
//! line. A line goes from person to person until one does not fit: what they are, what they say, the kinds of the
//! people they speak of, whether the statement is true, and whether that fits: `A+ B-: A+ B-: B- true ok, B- A=B: A+
//! B- false ok`. Who is silent fits either way and is passed over. Not here: spies, more than three people, two whose
//! names begin alike, two of three who are silent.

mod statement;
mod telling;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Drawn;
use crate::task::{Problem, Source, Task, TaskError, Trace, Verdict};
pub(crate) use statement::{Puzzle, Statement};
use statement::{assignments, sign};
use telling::Telling;

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
}

impl Default for Config {
    fn default() -> Self {
        Self { weight: 1.0, people: [2, 3] }
    }
}

/// Who is a knight and who a knave.
pub struct KnightsKnaves {
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
        Ok(Self { source: Drawn::new(NAME, seed, config, levels, draw_problem)? })
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

    fn examples(&self) -> Vec<String> {
        vec!["A says: B is a knave. B says: A and I are the same kind. Who is what?".to_owned()]
    }

    fn trace(&self, problem: &Problem) -> Option<Trace> {
        let Posed { says, telling } = Posed::of(problem)?;
        let solution = says.solution()?;
        let initials = telling.initials();
        let is = |who: usize, kind: bool| format!("{}{}", initials[who], sign(kind));
        let said = says.0.iter().zip(&initials).map(|(said, who)| match said {
            Statement::Nothing => who.to_string(),
            _ => format!("{who} says {}", said.brief(&initials)),
        });
        let mut lines = vec![said.collect::<Vec<_>>().join(", ")];
        for kinds in assignments(says.0.len()) {
            let assumed: Vec<String> = kinds.iter().enumerate().map(|(who, kind)| is(who, *kind)).collect();
            let mut judged = Vec::new();
            let speak = |(_, statement): &(usize, &Statement)| **statement != Statement::Nothing;
            for (who, statement) in says.0.iter().enumerate().filter(speak) {
                let (looked_up, holds) = (statement.parts(&kinds, &initials), statement.holds(&kinds));
                let fits = statement.suits(who, &kinds);
                judged.push(format!(
                    "{} {}: {looked_up} {holds} {}",
                    is(who, kinds[who]),
                    statement.brief(&initials),
                    if fits { "ok" } else { "no" }
                ));
                if !fits {
                    break;
                }
            }
            lines.push(format!("{}: {}", assumed.join(" "), judged.join(", ")));
            if kinds == solution {
                break;
            }
        }
        Some(Trace { thinking: lines.join("\n"), answer: telling.answer(&solution) })
    }

    fn verify(&self, problem: &Problem, answer: &str) -> Verdict {
        let Some(Posed { says, telling }) = Posed::of(problem) else {
            return Verdict::foreign(NAME, problem);
        };
        match (says.solution(), read(answer, &telling.people(says.0.len()))) {
            (None, _) => Verdict::foreign(NAME, problem),
            (_, Err(fault)) => Verdict::wrong(fault),
            (Some(solution), Ok(kinds)) if kinds == solution => Verdict::Right(1.0),
            _ => Verdict::wrong("somebody is of the other kind"),
        }
    }
}

/// A puzzle and how it is told.
struct Posed {
    says: Puzzle,
    telling: Telling,
}

impl Posed {
    /// The gold of this task's problems is a list of statements, or an object with them in `says` beside the telling.
    fn of(problem: &Problem) -> Option<Self> {
        let (says, telling) = match problem.gold.get("says") {
            Some(says) => (says, serde_json::from_value(problem.gold.clone()).ok()?),
            None => (&problem.gold, Telling::default()),
        };
        let says = serde_json::from_value::<Puzzle>(says.clone()).ok()?.checked()?;
        let telling = telling.checked(says.0.len())?;
        Some(Self { says, telling })
    }
}

/// `None` if no assignment agrees with what is said, or several do.
fn draw_problem(config: &Config, rng: &mut ChaCha8Rng) -> Option<Problem> {
    let [low, high] = config.people;
    let count = rng.random_range(low..=high);
    let says = Puzzle::draw(count, rng);
    says.solution()?;
    let telling = Telling::draw(count, rng);
    Some(Problem {
        id: says.id(),
        task: NAME.to_owned(),
        prompt: telling.tell(&says, rng),
        gold: serde_json::json!({"says": says, "names": telling.names, "liars": telling.liars}),
    })
}

/// `A knight, B knave`
pub(crate) fn write(kinds: &[bool]) -> String {
    Telling::default().answer(kinds)
}

/// Everybody once, in any order and case, as `A knight`, `A is a knight` or `A: knight`, parted by commas,
/// semicolons, `and` or lines; people by their names in small letters.
fn read(answer: &str, people: &[String]) -> Result<Vec<bool>, &'static str> {
    if answer.len() > MAX_LEN {
        return Err("too long for a few people");
    }
    let text = answer.trim().trim_end_matches('.').to_lowercase().replace([',', ';', ':', '\n'], " ");
    let mut kinds: Vec<Option<bool>> = vec![None; people.len()];
    let mut who: Option<usize> = None;
    for word in text.split_whitespace() {
        let person = people.iter().position(|person| person == word);
        match (who, word, person) {
            // `a` before a kind is an article, elsewhere the first person.
            (Some(_), "is" | "a", _) => {}
            (None, "and", _) => {}
            (Some(index), "knight" | "knave" | "truth-teller" | "liar", _) => {
                if kinds[index].replace(matches!(word, "knight" | "truth-teller")).is_some() {
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
    use crate::task::Split;
    use proptest::prelude::*;
    use std::collections::HashSet;

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
        let lines =
            ["A says B-, B says A=B", "A+ B+: A+ B-: B+ false no", "A+ B-: A+ B-: B- true ok, B- A=B: A+ B- false ok"];
        assert_eq!(trace.thinking, lines.join("\n"));
        assert_eq!(trace.answer, "A knight, B knave");
        let mut named = problem;
        named.gold = serde_json::json!({"says": named.gold, "names": ["Tom", "Carol"]});
        let trace = task().trace(&named).unwrap();
        assert_eq!(trace.thinking.lines().last(), Some("T+ C-: T+ C-: C- true ok, C- T=C: T+ C- false ok"));
        assert_eq!(trace.answer, "Tom is a knight, Carol is a knave");
        named.gold["liars"] = true.into();
        assert_eq!(task().trace(&named).unwrap().answer, "Tom is a truth-teller, Carol is a liar");
        for answer in ["carol knave, tom knight", "Tom is a knight and Carol is a liar", "Tom: knight; Carol: knave"] {
            assert!(task().verify(&named, answer).is_right(), "{answer}");
        }
        for answer in ["A knight, B knave", "T knight, C knave", "Tom knight, Carol knight", "Tom is a knight"] {
            assert!(matches!(task().verify(&named, answer), Verdict::Wrong(_)), "{answer}");
        }
        for names in [serde_json::json!(["Tom"]), serde_json::json!(["Tom", "Tim"]), serde_json::json!(["", "Tom"])] {
            named.gold["names"] = names;
            assert_eq!(task().trace(&named), None);
        }
    }

    #[test]
    fn whoever_is_silent_is_not_judged() {
        let both_knaves = posed(&[Statement::All(false), Statement::Nothing]);
        let trace = task().trace(&both_knaves).unwrap();
        let lines = [
            "A says all -, B", "A+ B+: A+ all -: ++ false no", "A+ B-: A+ all -: +- false no",
            "A- B+: A- all -: -+ false ok",
        ];
        assert_eq!(trace.thinking, lines.join("\n"));
        assert_eq!(trace.answer, "A knave, B knight");
        for answer in ["A knave", "A knave, B knave", "A knight, B knight"] {
            assert!(!task().verify(&both_knaves, answer).is_right(), "{answer}");
        }
        // X: we are all knaves. Z: Q is a knight and X is a knave.
        let mut problem = posed(&[Statement::All(false), Statement::Nothing, Statement::Both(1, true, 0, false)]);
        problem.gold = serde_json::json!({"says": problem.gold, "names": ["X", "Q", "Z"]});
        let trace = task().trace(&problem).unwrap();
        let lines: Vec<&str> = trace.thinking.lines().collect();
        assert_eq!((lines.len(), lines[0]), (6, "X says all -, Q, Z says Q+ and X-"));
        assert_eq!(lines[5], "X- Q+ Z+: X- all -: -++ false ok, Z+ Q+ and X-: Q+T X-T true ok");
        assert_eq!(trace.answer, "X is a knave, Q is a knight, Z is a knight");
    }

    #[test]
    fn a_letter_may_be_a_name() {
        let mut problem = posed(&[Statement::Is(1, false), Statement::Same(0, 1, true)]);
        problem.gold = serde_json::json!({"says": problem.gold, "names": ["Q", "A"]});
        let trace = task().trace(&problem).unwrap();
        assert_eq!(trace.thinking.lines().next(), Some("Q says A-, A says Q=A"));
        assert_eq!(trace.answer, "Q is a knight, A is a knave");
        for answer in [&*trace.answer, "A is a knave and Q is a knight", "Q knight, A knave", "a: a knave; q: a knight"]
        {
            assert!(task().verify(&problem, answer).is_right(), "{answer}");
        }
        for answer in ["Q is a knight, A is a knight", "Q is a knight", "P knight, A knave", "Q is A, A is a knave"] {
            assert!(!task().verify(&problem, answer).is_right(), "{answer}");
        }
    }

    #[test]
    fn everybody_is_named() {
        for level in 0..2 {
            let (mut silent, mut told) = (0, 0);
            for index in 0..2000 {
                let problem = task().problem_at(Split::Train, level, index);
                let Posed { says, telling } = Posed::of(&problem).unwrap();
                let prompt = problem.prompt.to_lowercase();
                let words: Vec<&str> = prompt.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).collect();
                // `A knight` is nobody's name.
                let is_article = |next: Option<&&str>| {
                    next.is_some_and(|next| ["knight", "knave", "truth", "liar", "riddle"].contains(next))
                };
                for person in telling.people(says.0.len()) {
                    let is_named = (0..words.len())
                        .any(|i| words[i] == person && !(person == "a" && is_article(words.get(i + 1))));
                    assert!(is_named, "{person}: {}", problem.prompt);
                }
                if says.0.contains(&Statement::Nothing) {
                    silent += 1;
                    let ways = ["nothing", "silent", "anything"];
                    told += usize::from(ways.iter().any(|way| words.contains(way)));
                }
            }
            // About a fifth have somebody who is silent, and of half of those it is not said.
            assert!((300..560).contains(&silent) && (silent / 3..silent * 2 / 3).contains(&told), "{silent} {told}");
        }
    }

    #[test]
    fn ways_to_write_it() {
        let problem = posed(&[Statement::Is(1, false), Statement::Same(0, 1, true)]);
        for answer in [
            "A knight, B knave", "b KNAVE, a Knight.", "A is a knight and B is a knave", "A: knight; B: knave",
            "A knight\nB knave", "A a knight B a knave",
        ] {
            assert!(task().verify(&problem, answer).is_right(), "{answer}");
        }
        for answer in [
            "A knave, B knave", "A knight", "A knight, B knave, A knight", "A knight, B knave, B knight",
            "A knight, B knave, C knave", "A knight knave, B knave", "A knight, B knight or knave",
            "A not knave, B knave", "A knight, B", "knight, knave", "A", "a a a",
        ] {
            assert!(matches!(task().verify(&problem, answer), Verdict::Wrong(_)), "{answer}");
        }
    }

    #[test]
    fn puzzles_have_one_solution() {
        // The slow way: walk all assignments by hand.
        for index in 0..500 {
            let problem = task().problem(Split::Train, index);
            let Posed { says: puzzle, telling } = Posed::of(&problem).unwrap();
            let mut solutions = HashSet::new();
            for code in 0..8_u8 {
                let kinds: Vec<bool> = (0..puzzle.0.len()).map(|who| code & 1 << who > 0).collect();
                if puzzle.0.iter().enumerate().all(|(who, said)| match said {
                    Statement::Nothing => true,
                    said if kinds[who] => said.holds(&kinds),
                    said => !said.holds(&kinds),
                }) {
                    solutions.insert(kinds);
                }
            }
            assert_eq!(solutions.len(), 1, "{}", problem.prompt);
            let solution = solutions.iter().next().unwrap();
            for kinds in assignments(puzzle.0.len()) {
                assert_eq!(task().verify(&problem, &telling.answer(&kinds)).is_right(), &kinds == solution);
            }
        }
    }

    #[test]
    fn always_the_same_answer_does_not_pay() {
        for (level, count) in [(0, 2), (1, 3)] {
            let mut right = vec![0; 1 << count];
            for index in 0..2000 {
                let posed = Posed::of(&task().problem_at(Split::Train, level, index)).unwrap();
                let solution = posed.says.solution().unwrap();
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
