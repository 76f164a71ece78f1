//! What k samples of one problem say together: pass@k and the majority vote.

use std::collections::BTreeMap;

/// The chance that of `k` samples drawn without replacement at least one is right, if `right` of `samples` are: the
/// unbiased estimator 1 − C(n − c, k) / C(n, k) of Chen et al. 2021 (section 2.1), as a product that cannot overflow.
///
/// `k` is at most `samples`, `right` too.
pub fn pass_at_k(samples: usize, right: usize, k: usize) -> f64 {
    let none_right: f64 = (0..k).map(|i| (samples - right).saturating_sub(i) as f64 / (samples - i) as f64).product();
    1.0 - none_right
}

/// The values of k below `samples` that a report shows, and `samples` itself: 2, 4, 8, … pass@1 is the accuracy.
pub fn shown_ks(samples: usize) -> Vec<usize> {
    let mut ks: Vec<usize> = (1..).map(|power| 1usize << power).take_while(|&k| k < samples).collect();
    ks.extend((samples > 1).then_some(samples));
    ks
}

/// The sample whose answer wins the vote (DeepSeek-R1's cons@k): the first of those that gave the most frequent
/// answer, and among equally frequent ones of the answer that came first. `None` is no vote; `None` if nobody votes.
pub fn majority(answers: &[Option<String>]) -> Option<usize> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers.iter().flatten() {
        *votes.entry(answer).or_default() += 1;
    }
    let most = *votes.values().max()?;
    answers.iter().position(|answer| answer.as_deref().is_some_and(|answer| votes[answer] == most))
}

/// An answer as it is counted: without white space, and a plain number without what does not change its value (signs
/// of thousands, leading zeros, zeros at the end of a fraction).
pub fn counted_as(answer: &str) -> String {
    let text: String = answer.chars().filter(|c| !c.is_whitespace()).collect();
    let (sign, digits) = match text.strip_prefix(['-', '−']) {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_grouped = |whole: &str| {
        let mut groups = whole.split(',');
        groups.next().is_some_and(|first| (1..=3).contains(&first.len())) && groups.all(|group| group.len() == 3)
    };
    let only_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let plain = whole.replace(',', "");
    let is_number = only_digits(&plain)
        && only_digits(fraction)
        && !(plain.is_empty() && fraction.is_empty())
        && (!whole.contains(',') || is_grouped(whole));
    if !is_number {
        return text;
    }
    let (whole, fraction) = (plain.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{}.{fraction}", if whole.is_empty() { "0" } else { whole }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every choice of k samples, one by one: `right` of `n` are right, the first ones.
    fn slow_pass_at_k(n: usize, right: usize, k: usize) -> f64 {
        let choices = (0u32..1 << n).filter(|set| set.count_ones() as usize == k);
        let (mut hit, mut all) = (0, 0);
        for set in choices {
            all += 1;
            hit += u32::from(set & ((1 << right) - 1) != 0);
        }
        f64::from(hit) / f64::from(all)
    }

    #[test]
    fn pass_at_k_is_the_share_of_all_choices() {
        for n in 1..=9 {
            for right in 0..=n {
                for k in 1..=n {
                    let (fast, slow) = (pass_at_k(n, right, k), slow_pass_at_k(n, right, k));
                    // A product of at most 9 factors: a few units in the last place.
                    assert!((fast - slow).abs() < 1e-14, "{n} {right} {k}: {fast} {slow}");
                }
            }
        }
        assert_eq!(pass_at_k(4096, 0, 4096), 0.0);
        assert_eq!(pass_at_k(4096, 1, 4096), 1.0);
    }

    #[test]
    fn shown_ks_end_with_all_samples() {
        assert!(shown_ks(0).is_empty() && shown_ks(1).is_empty());
        assert_eq!(shown_ks(4), [2, 4]);
        assert_eq!(shown_ks(6), [2, 4, 6]);
    }

    #[test]
    fn the_most_frequent_answer_wins_and_the_first_of_equals() {
        let vote = |answers: &[&str]| {
            let answers: Vec<_> = answers.iter().map(|a| (*a != "-").then(|| (*a).to_owned())).collect();
            majority(&answers)
        };
        assert_eq!(vote(&["7", "8", "8"]), Some(1));
        assert_eq!(vote(&["7", "8", "8", "7"]), Some(0));
        assert_eq!(vote(&["-", "-", "-", "9"]), Some(3));
        assert_eq!(vote(&["-", "-"]), None);
        assert_eq!(vote(&[]), None);
    }

    #[test]
    fn equal_numbers_are_counted_together() {
        for (one, other) in [("7", " 07 "), ("1,080", "1080.0"), ("-3", "−3"), ("0", "-0.00"), (".5", "0.50")] {
            assert_eq!(counted_as(one), counted_as(other));
        }
        for (one, other) in [("1,2", "12"), ("(1+2)*3", "3*(1+2)"), ("7", "-7"), (".", "0"), ("", "0"), ("0.5", "5")] {
            assert_ne!(counted_as(one), counted_as(other));
        }
        assert_eq!(counted_as("( 1 + 2 ) * 3"), "(1+2)*3");
    }

    proptest! {
        #[test]
        fn a_vote_has_a_winner_that_nobody_beats(votes in prop::collection::vec(prop::option::of("[ab7]"), 0..12)) {
            let count = |answer: &Option<String>| votes.iter().filter(|v| *v == answer).count();
            match majority(&votes) {
                None => prop_assert!(votes.iter().all(Option::is_none)),
                Some(winner) => {
                    prop_assert!(votes[winner].is_some());
                    for (i, answer) in votes.iter().enumerate().filter(|(_, a)| a.is_some()) {
                        prop_assert!(count(answer) <= count(&votes[winner]));
                        prop_assert!(i >= winner || count(answer) < count(&votes[winner]));
                    }
                }
            }
        }

        #[test]
        fn counting_an_answer_twice_changes_nothing(answer in "[-0-9., a(+)]{0,12}") {
            prop_assert_eq!(counted_as(&counted_as(&answer)), counted_as(&answer));
        }
    }
}
