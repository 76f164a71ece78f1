//! Text that teaches what the younger tasks need: letters, truth, sequences, order.
//!
//! Like `pretrain.rs`, and as careful: no held-out word is spelled here, no held-out sequence is continued, and
//! what people can say in a line makes no held-out puzzle. Each line has people of its own: two lines of a document are
//! not looked at together. Stories with steps and Russian counting are beside their words, in `word_problems`.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::countdown;
use crate::knights_knaves::{self, Puzzle, Statement};
use crate::letters;
use crate::pretrain::until_held_out;
use crate::sequences;
use crate::task::{Language, Split};
use crate::words::{self, capitalised};

/// The letters of a word, or what they are by number.
pub(crate) fn spelling(rng: &mut ChaCha8Rng) -> String {
    loop {
        let language = if rng.random_bool(0.7) { Language::English } else { Language::Russian };
        // Those that a tokenizer may keep whole have to be learned by heart, capitals and all.
        let whole = rng.random_bool(1.0 / 3.0);
        let words = match (whole, language) {
            (true, _) => words::of_questions(language),
            (_, Language::English) => words::english(),
            (_, Language::Russian) => words::russian(),
        };
        let Some(word) = words.choose(rng) else { continue };
        if Split::of(&letters::id(word)) == Split::HeldOut {
            continue;
        }
        let word = if whole && rng.random_bool(0.2) { capitalised(word) } else { (*word).to_owned() };
        // Behind a blank, where the tokens of whole words are.
        let before = if whole { "word " } else { "" };
        let parts: Vec<String> = word.chars().map(String::from).collect();
        let (forth, numbered) = (parts.join("-"), letters::numbered(&parts));
        let place = rng.random_range(0..parts.len());
        return match rng.random_range(0..4) {
            0 => format!("{before}{word}: {forth}"),
            1 => format!("{before}{word}: {}", numbered.concat()),
            2 => format!("{before}{word}: number {} is {}", place + 1, parts[place]),
            _ => format!("{} {}", numbered.concat(), numbered.iter().rev().map(String::as_str).collect::<String>()),
        };
    }
}

/// Who is what, and what is true of them. What they can say makes no held-out puzzle, whose solution this would be.
pub(crate) fn statements(rng: &mut ChaCha8Rng) -> String {
    /// Nobody's number: the people are spoken of.
    const NOBODY: usize = usize::MAX;
    loop {
        let count = rng.random_range(2..=3);
        let kinds: Vec<bool> = (0..count).map(|_| rng.random_bool(0.5)).collect();
        // What each of them can say.
        let mut sayings = vec![Vec::new(); count];
        let judged: Vec<String> = (0..3)
            .map(|_| {
                let speaker = rng.random_range(0..count);
                let statement = Statement::draw(speaker, count, rng);
                if rng.random_bool(0.5) {
                    return format!("{}: {}.", statement.say(NOBODY), statement.holds(&kinds));
                }
                // Knights say what is true; whether this person could have said it.
                let who = knights_knaves::write(&kinds);
                let name = who.split(", ").nth(speaker).and_then(|person| person.split(' ').next()).unwrap_or("A");
                let can = statement.holds(&kinds) == kinds[speaker];
                if can {
                    sayings[speaker].push(statement);
                }
                format!("{name} {} say: {}.", if can { "can" } else { "cannot" }, statement.say(speaker))
            })
            .collect();
        if !make_held_out(&sayings) {
            return format!("{}. {}", knights_knaves::write(&kinds), judged.join(" "));
        }
    }
}

/// Whether one saying of each, or none, makes a held-out puzzle, be it of all the people or of two of three.
fn make_held_out(sayings: &[Vec<Statement>]) -> bool {
    let count = sayings.len();
    let held_out = |said: &Vec<Statement>| {
        let puzzle = Puzzle(said.clone());
        puzzle.solution().is_some() && Split::of(&puzzle.id()) == Split::HeldOut
    };
    (0..1_usize << count).any(|code| {
        let group: Vec<usize> = (0..count).filter(|who| code >> who & 1 == 1).collect();
        let mut choices = vec![Vec::new()];
        for &speaker in &group {
            let mut said = vec![Statement::Nothing];
            said.extend(sayings[speaker].iter().filter_map(|statement| statement.among(&group, count)));
            choices = choices
                .iter()
                .flat_map(|before: &Vec<Statement>| said.iter().map(move |&next| [&before[..], &[next]].concat()))
                .collect();
        }
        group.len() > 1 && choices.iter().any(held_out)
    })
}

/// A sequence with its working. No part of it is a held-out problem with its answer, of sequences or of sums.
pub(crate) fn sequence(rng: &mut ChaCha8Rng) -> String {
    loop {
        let (kind, terms, next) = sequences::example(rng);
        let all = [&terms[..], &[next]].concat();
        let shows_none = (4..all.len())
            .flat_map(|length| all[..all.len() - 1].windows(length))
            .all(|shown| Split::of(&sequences::id(shown)) == Split::Train);
        if shows_none && let Some(lines) = sequences::working(kind, &terms, next, Language::English) {
            let text = format!("{}\n{}", sequences::list(&all), lines.join("\n"));
            // Its subtractions are no held-out sums either.
            if until_held_out(&text) == text {
                return text;
            }
        }
    }
}

/// Two or three numbers in order.
pub(crate) fn comparison(rng: &mut ChaCha8Rng) -> String {
    let largest = if rng.random_bool(0.5) { 50 } else { 200 };
    let (a, b, c) = (rng.random_range(1..=largest), rng.random_range(1..=largest), rng.random_range(1..=largest));
    let (more, less): (u32, u32) = (a.max(b), a.min(b));
    match rng.random_range(0..4) {
        _ if more == less => format!("{a} and {b} are equal."),
        0 => format!("{more} is more than {less}."),
        1 => format!("{less} is less than {more}."),
        2 => format!("The larger of {a} and {b} is {more}."),
        _ => {
            let mut sorted = [a, b, c];
            sorted.sort_unstable();
            format!("{a}, {b}, {c} in order: {}, {}, {}.", sorted[0], sorted[1], sorted[2])
        }
    }
}

/// A row of numbers, then some that are looked up in it as Countdown's workings do: `22 16 57 | 41: 16:16 26:22`. Most
/// that are not there differ in a digit from one that is, so that nothing less than every digit tells.
pub(crate) fn lookup(rng: &mut ChaCha8Rng) -> String {
    let largest = if rng.random_bool(0.7) { 99 } else { 300 };
    let row: Vec<u32> = (0..rng.random_range(2..=5)).map(|_| rng.random_range(1..=largest)).collect();
    let asked: Vec<String> = (0..rng.random_range(3..=6))
        .map(|_| {
            let member = row.choose(rng).copied().unwrap_or_default();
            let number = match rng.random_range(0..6) {
                0..3 => member,
                3 => rng.random_range(1..=largest),
                4 => member / 10 * 10 + rng.random_range(0..10),
                _ => member % 10 + 10 * rng.random_range(0..=largest / 10),
            };
            let alike = countdown::alike(number, row.iter().copied());
            format!("{number}:{}", alike.map_or_else(String::new, |alike| alike.to_string()))
        })
        .collect();
    let row: Vec<String> = row.iter().map(u32::to_string).collect();
    format!("{} | {}", row.join(" "), asked.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    fn texts(kind: fn(&mut ChaCha8Rng) -> String) -> impl Iterator<Item = String> {
        many_texts(3000, kind)
    }

    fn many_texts(count: u64, kind: fn(&mut ChaCha8Rng) -> String) -> impl Iterator<Item = String> {
        (0..count).map(move |i| kind(&mut draw::rng(7, "test", 0, i)))
    }

    #[test]
    fn no_held_out_word_is_spelled() {
        let mut named = 0;
        for line in many_texts(6000, spelling) {
            let Some((word, _)) = line.split_once(':') else { continue };
            assert_eq!(Split::of(&letters::id(word.trim_start_matches("word "))), Split::Train);
            named += 1;
        }
        assert!(named > 3000, "{named}");
    }

    #[test]
    fn no_held_out_sequence_is_continued() {
        let mut large = 0;
        for text in texts(sequence) {
            let terms: Vec<i64> = text.lines().next().unwrap().split(", ").map(|t| t.parse().unwrap()).collect();
            for end in 4..terms.len() {
                for start in 0..=end - 4 {
                    let shown: Vec<String> = terms[start..end].iter().map(i64::to_string).collect();
                    assert_eq!(Split::of(&format!("sequences/{}", shown.join(","))), Split::Train, "{text}");
                }
            }
            for (sum, _) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
                let Some((a, b)) = sum.split_once('-') else { continue };
                let (Ok(a), Ok(b)) = (a.parse::<u32>(), b.parse::<u32>()) else { continue };
                if a.max(b) >= 100 {
                    assert_eq!(Split::of(&format!("arithmetic/{a}-{b}")), Split::Train, "{text}");
                    large += 1;
                }
            }
        }
        assert!(large > 300, "{large}");
    }

    /// What `speaker` says, from its words.
    fn heard(speaker: usize, words: &str) -> Statement {
        let who = |name: &str| if name == "I" { speaker } else { "ABC".find(name).unwrap() };
        let is = |kind: &str| kind == "knight";
        match words.split(' ').collect::<Vec<_>>()[..] {
            [one, _, "a", kind] => Statement::Is(who(one), is(kind)),
            [one, "and", other, "are", .., last] => Statement::Same(who(one), who(other), last == "kind"),
            [one, _, "a", kind, "or", other, _, "a", that] => {
                Statement::Either(who(one), is(kind), who(other), is(that))
            }
            [one, _, "a", kind, "and", other, _, "a", that] => {
                Statement::Both(who(one), is(kind), who(other), is(that))
            }
            ["at", "least", ..] => Statement::SomeKnave,
            ["exactly", "one", ..] => Statement::OneKnight,
            _ => panic!("{words}"),
        }
    }

    #[test]
    fn no_held_out_puzzle_is_solved() {
        // The slow way, from the words of the line: every set of its sentences, every assignment.
        let (mut of_all, mut of_two) = (0, 0);
        for text in many_texts(12_000, statements) {
            let (people, judged) = text.split_once(". ").unwrap();
            let count = people.split(", ").count();
            let said: Vec<(&str, &str)> =
                judged.split_terminator('.').filter_map(|sentence| sentence.trim().split_once(" can say: ")).collect();
            for set in 0..1_usize << said.len() {
                let mut said: Vec<(&str, &str)> =
                    (0..said.len()).filter(|i| set & 1 << i > 0).map(|i| said[i]).collect();
                said.sort_unstable();
                let speakers: Vec<&str> = said.iter().map(|(speaker, _)| *speaker).collect();
                let everybody = said.len() == count;
                let of_others = |words: &str| {
                    words.contains(|c| "ABC".contains(c) && !speakers.concat().contains(c))
                        || words.contains(" of us ") && !everybody
                };
                let twice = speakers.windows(2).any(|pair| pair[0] == pair[1]);
                if said.len() < 2 || twice || said.iter().any(|(_, words)| of_others(words)) {
                    continue;
                }
                // Whoever speaks is called A, B and C in order.
                let name = |c: char| speakers.concat().find(c).map_or(c, |i| char::from(b"ABC"[i]));
                let renamed = said.iter().map(|(_, words)| words.chars().map(name).collect::<String>());
                let puzzle: Vec<Statement> = (0..).zip(renamed).map(|(who, words)| heard(who, &words)).collect();
                let agrees = |code: &usize| {
                    let kinds: Vec<bool> = (0..said.len()).map(|who| code & 1 << who > 0).collect();
                    (0..said.len()).all(|who| puzzle[who].holds(&kinds) == kinds[who])
                };
                if (0..1 << said.len()).filter(agrees).count() == 1 {
                    assert_eq!(Split::of(&Puzzle(puzzle).id()), Split::Train, "{text}");
                    *(if everybody { &mut of_all } else { &mut of_two }) += 1;
                }
            }
        }
        assert!(of_all > 100 && of_two > 5, "{of_all} {of_two}");
    }

    #[test]
    fn what_is_said_to_be_true_is() {
        let mut judged = 0;
        for text in texts(statements) {
            let (people, said) = text.split_once(". ").unwrap();
            let is = |who: &str, kind: &str| people.contains(&format!("{who} {kind}"));
            for sentence in said.split_terminator('.') {
                // The plain ones: `B is a knave: false`, `A cannot say: B is a knave`.
                let words: Vec<&str> = sentence.split([' ', ':']).filter(|word| !word.is_empty()).collect();
                let (holds, claimed) = match words[..] {
                    [who, "is", "a", kind, truth] => (is(who, kind), truth == "true"),
                    [speaker, can, "say", who, "is", "a", kind] => {
                        (is(who, kind) == is(speaker, "knight"), can == "can")
                    }
                    _ => continue,
                };
                assert_eq!(holds, claimed, "{text}: {sentence}");
                judged += 1;
            }
        }
        assert!(judged > 1000, "{judged}");
    }

    #[test]
    fn orders_are_in_order() {
        let mut sorted = 0;
        for line in texts(comparison) {
            let Some((_, order)) = line.trim_end_matches('.').split_once(" in order: ") else { continue };
            assert!(order.split(", ").map(|n| n.parse::<u32>().unwrap()).is_sorted(), "{line}");
            sorted += 1;
        }
        assert!(sorted > 300, "{sorted}");
    }
}
