//! Text that teaches what the younger tasks need: letters, truth, sequences, order.
//!
//! Like `pretrain.rs`, and as careful: no held-out text stands here backwards, no held-out sequence is continued, and
//! statements are judged but no puzzle is posed. Stories with steps and Russian counting are beside their words, in
//! `word_problems`.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::knights_knaves::{self, Statement};
use crate::reverse_text::{self, WORDS};
use crate::sequences;
use crate::task::Split;

/// A line about the letters of a word, or the order of some letters or words.
pub(crate) fn spelling(rng: &mut ChaCha8Rng) -> String {
    loop {
        let count = rng.random_range(2..=8);
        let word = WORDS.choose(rng).copied().unwrap_or(WORDS[0]);
        let parts: Vec<String> = match rng.random_range(0..3) {
            0 => word.chars().map(String::from).collect(),
            1 => (0..count).map(|_| char::from(rng.random_range(b'a'..=b'z')).to_string()).collect(),
            _ => (0..count.min(4)).filter_map(|_| WORDS.choose(rng)).map(|word| (*word).to_owned()).collect(),
        };
        let backwards: Vec<String> = parts.iter().rev().cloned().collect();
        let number =
            |parts: &[String]| -> Vec<String> { (1..).zip(parts).map(|(i, part)| format!("{i}{part}")).collect() };
        let (forth, numbered) = (parts.join("-"), number(&parts));
        let place = rng.random_range(0..parts.len());
        let is_word = parts.concat() == word;
        let line = match rng.random_range(0..6) {
            0 if is_word => format!("{word}: {forth}"),
            1 if is_word => format!("{word} has {} letters: {}", parts.len(), numbered.concat()),
            0 | 2 => format!("{forth}: {}", numbered.concat()),
            1 | 3 => format!("{forth}: number {} is {}", place + 1, parts[place]),
            // Both ways are problems, and each gives the other away.
            _ if [&parts, &backwards].iter().any(|parts| Split::of(&reverse_text::id(parts)) == Split::HeldOut) => {
                continue;
            }
            4 => format!("{forth} backwards is {}", backwards.join("-")),
            _ => format!("{} {}", numbered.concat(), numbered.iter().rev().map(String::as_str).collect::<String>()),
        };
        return line;
    }
}

/// Who is what, and what is true of them.
pub(crate) fn statements(rng: &mut ChaCha8Rng) -> String {
    /// Nobody's number: the people are spoken of.
    const NOBODY: usize = usize::MAX;
    let count = rng.random_range(2..=3);
    let kinds: Vec<bool> = (0..count).map(|_| rng.random_bool(0.5)).collect();
    let judged: Vec<String> = (0..3)
        .map(|_| {
            let speaker = rng.random_range(0..count);
            let statement = Statement::draw(speaker, count, rng);
            match rng.random_bool(0.5) {
                true => format!("{}: {}.", statement.say(NOBODY), statement.holds(&kinds)),
                // Knights say what is true; whether this person could have said it.
                false => {
                    let who = knights_knaves::write(&kinds);
                    let name = who.split(", ").nth(speaker).and_then(|person| person.split(' ').next()).unwrap_or("A");
                    let can = if statement.holds(&kinds) == kinds[speaker] { "can" } else { "cannot" };
                    format!("{name} {can} say: {}.", statement.say(speaker))
                }
            }
        })
        .collect();
    format!("{}. {}", knights_knaves::write(&kinds), judged.join(" "))
}

/// A sequence with its working. No part of it is a held-out problem with its answer.
pub(crate) fn sequence(rng: &mut ChaCha8Rng) -> String {
    loop {
        let (kind, terms, next) = sequences::example(rng);
        let all = [&terms[..], &[next]].concat();
        let shows_none = (4..all.len())
            .flat_map(|length| all[..all.len() - 1].windows(length))
            .all(|shown| Split::of(&sequences::id(shown)) == Split::Train);
        if shows_none && let Some(lines) = sequences::working(kind, &terms, next) {
            return format!("{}\n{}", sequences::list(&all), lines.join("\n"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    fn texts(kind: fn(&mut ChaCha8Rng) -> String) -> impl Iterator<Item = String> {
        (0..3000).map(move |i| kind(&mut draw::rng(7, "test", 0, i)))
    }

    #[test]
    fn no_held_out_text_stands_backwards() {
        let mut reversed = 0;
        for line in texts(spelling) {
            let Some((text, back)) = line.split_once(" backwards is ") else { continue };
            let parts: Vec<String> = text.split('-').map(str::to_owned).collect();
            assert!(parts.iter().rev().map(String::as_str).eq(back.split('-')), "{line}");
            assert_eq!(Split::of(&format!("reverse_text/{text}")), Split::Train);
            assert_eq!(Split::of(&format!("reverse_text/{back}")), Split::Train);
            reversed += 1;
        }
        assert!(reversed > 300, "{reversed}");
    }

    #[test]
    fn no_held_out_sequence_is_continued() {
        for text in texts(sequence) {
            let terms: Vec<i64> = text.lines().next().unwrap().split(", ").map(|t| t.parse().unwrap()).collect();
            for end in 4..terms.len() {
                for start in 0..=end - 4 {
                    let shown: Vec<String> = terms[start..end].iter().map(i64::to_string).collect();
                    assert_eq!(Split::of(&format!("sequences/{}", shown.join(","))), Split::Train, "{text}");
                }
            }
        }
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
