//! One number in a short answer: `1,080`, `$18`, `72 clips`, `12.50 dollars`, `40%`, `-3.`.
//!
//! Not here: picking a number out of prose. An answer that says two numbers says none.

use crate::task::Verdict;

/// Longest answer that is looked at, in bytes.
const MAX_LEN: usize = 80;
/// Most words of a unit after the number, as in `miles per hour`.
const MAX_UNIT_WORDS: usize = 3;

/// A decimal number of any size in normal form, so that equality is exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    negative: bool,
    /// No leading zeros; empty for zero.
    whole: String,
    /// No trailing zeros; empty for integers.
    fraction: String,
}

impl Number {
    /// Whether an answer is the number `gold`, with its unit or without.
    pub(crate) fn judge(answer: &str, gold: &str) -> Verdict {
        match (Self::parse(answer), Self::parse(gold)) {
            (Ok(answer), Ok(gold)) if answer == gold => Verdict::Right(1.0),
            (_, Err(fault)) => Verdict::CouldNotJudge(format!("the right answer is no number: {fault}")),
            (Ok(_), _) => Verdict::wrong("another number"),
            (Err(fault), _) => Verdict::wrong(fault),
        }
    }

    /// Reads an answer that is a single number, with an optional currency sign before it and
    /// `%` or a few words of unit after it. The error says what is wrong with the answer.
    pub(crate) fn parse(answer: &str) -> Result<Self, &'static str> {
        if answer.len() > MAX_LEN {
            return Err("too long for a number with its unit");
        }
        let (sign, rest) = split_sign(answer.trim());
        let rest = rest.trim_start_matches(['$', '€', '£']).trim_start();
        // `$-5` as well as `-$5`.
        let (inner_sign, rest) = if sign { (false, rest) } else { split_sign(rest) };

        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == ',' || c == '.')).unwrap_or(rest.len());
        let (digits, unit) = rest.split_at(end);
        check_unit(unit)?;

        // A full stop or comma that ends the sentence.
        let digits = digits.strip_suffix(['.', ',']).unwrap_or(digits);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err("not a single number");
        }
        let whole = without_commas(whole)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err("no number");
        }
        let whole = whole.trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        let zero = whole.is_empty() && fraction.is_empty();
        Ok(Self { negative: (sign || inner_sign) && !zero, whole, fraction })
    }
}

/// Whether a minus stands in front, and the text behind it.
fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    }
}

/// Commas only where they group thousands: otherwise `7,8,9` would be one number.
fn without_commas(whole: &str) -> Result<String, &'static str> {
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = whole.contains(',');
    if grouped && !(1..=3).contains(&first.len()) || groups.any(|group| group.len() != 3) {
        return Err("not a single number");
    }
    Ok(whole.replace(',', ""))
}

/// `%` or a few words without digits of any script.
fn check_unit(unit: &str) -> Result<(), &'static str> {
    let unit = unit.trim_start_matches('%');
    if unit.split_whitespace().count() > MAX_UNIT_WORDS {
        return Err("more than a number and its unit");
    }
    let is_unit = |c: char| c.is_alphabetic() || c.is_whitespace() || matches!(c, '/' | '.' | '°');
    if unit.chars().all(is_unit) { Ok(()) } else { Err("not a single number") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(a: &str, b: &str) -> bool {
        Number::parse(a).unwrap() == Number::parse(b).unwrap()
    }

    #[test]
    fn ways_to_write_a_number() {
        for (written, plain) in [
            ("1,080", "1080"),
            ("$18", "18"),
            ("$ 18.00", "18"),
            (" 72 clips.", "72"),
            ("40%", "40"),
            ("60 miles per hour", "60"),
            ("-$5", "-5"),
            ("$-5", "-5"),
            ("−5", "-5"),
            ("5.", "5"),
            (".5", "0.50"),
            ("007", "7"),
            ("-0", "0"),
            ("2,520,000 km/h", "2520000"),
        ] {
            assert!(same(written, plain), "{written}");
        }
        assert!(!same("5", "-5"));
        assert!(!same("5.01", "5"));
    }

    #[test]
    fn what_is_not_a_number() {
        for answer in [
            "", " ", "-", "$", ".", ",", "7,8,9", "1,00", "1234,567", "1.2.3", "7 8", "7 or 8",
            "72 clips and then some more", "5-3", "2+3", "1/2", "--5", "-$-5", "1e3", "٣", "７", "5²", "NaN", "inf",
            "answer: 5",
        ] {
            assert!(Number::parse(answer).is_err(), "{answer:?}");
        }
        assert!(Number::parse(&"9".repeat(1 << 20)).is_err());
    }

    proptest! {
        #[test]
        fn integers_read_back(n in any::<i64>()) {
            let parsed = Number::parse(&n.to_string()).unwrap();
            prop_assert_eq!(parsed.negative, n < 0);
            prop_assert_eq!(parsed.whole.parse().unwrap_or(0), n.unsigned_abs());
        }

        #[test]
        fn never_panics(text in "(?s).{0,100}") {
            let _ = Number::parse(&text);
        }

        #[test]
        fn never_panics_close_to_a_number(text in "[-−$%0-9., a/²]{0,20}") {
            let _ = Number::parse(&text);
        }
    }
}
