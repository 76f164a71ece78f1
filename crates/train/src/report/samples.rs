//! The answers that a report shows from before and after RL, and the rule that chooses them.
//!
//! Every held-out question is a pair: the first answer before RL and the first after it. The pairs fall into four kinds,
//! and each kind is shown as often as it occurs, so that a page shows gains and losses in their true shares.

use serde::{Deserialize, Serialize};

/// One held-out problem, answered before and after RL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSet {
    /// The task the problem belongs to.
    pub task: String,
    /// The problem as posed.
    pub problem: String,
    /// The reference answer, or what a right answer must reach.
    pub gold: String,
    /// From the model that RL started from.
    pub before: Sample,
    /// From the model that RL made.
    pub after: Sample,
}

/// What a model wrote, and what the verifier said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The whole output, thinking included.
    pub text: String,
    /// The verifier's verdict.
    pub verdict: Verdict,
}

/// The three outcomes of a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer is right.
    Right,
    /// The answer is wrong or missing.
    Wrong,
    /// The verifier could not tell.
    CouldNotJudge,
}

impl From<&picnic_tasks::Verdict> for Verdict {
    fn from(verdict: &picnic_tasks::Verdict) -> Verdict {
        match verdict {
            picnic_tasks::Verdict::Right(_) => Verdict::Right,
            picnic_tasks::Verdict::Wrong(_) => Verdict::Wrong,
            picnic_tasks::Verdict::CouldNotJudge(_) => Verdict::CouldNotJudge,
        }
    }
}

/// How many pairs of answers there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairs {
    /// Wrong before RL, right after it.
    pub gained: usize,
    /// Right before RL, wrong after it.
    pub lost: usize,
    /// Right both times.
    pub kept: usize,
    /// Wrong both times.
    pub missed: usize,
    /// Pairs of which the verifier could not judge both answers; none of them is shown.
    pub not_judged: usize,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Wrong before RL, right after it.
    Gained,
    /// Right before RL, wrong after it.
    Lost,
    /// Right both times.
    Kept,
    /// Wrong both times.
    Missed,
}

impl Change {
    /// All, in the order in which they are shown.
    pub const ALL: [Change; 4] = [Change::Gained, Change::Lost, Change::Kept, Change::Missed];
}

impl SampleSet {
    /// What became of the question; `None` if an answer could not be judged.
    pub fn change(&self) -> Option<Change> {
        match (self.before.verdict, self.after.verdict) {
            (Verdict::Wrong, Verdict::Right) => Some(Change::Gained),
            (Verdict::Right, Verdict::Wrong) => Some(Change::Lost),
            (Verdict::Right, Verdict::Right) => Some(Change::Kept),
            (Verdict::Wrong, Verdict::Wrong) => Some(Change::Missed),
            _ => None,
        }
    }
}

impl Pairs {
    /// Counts the kinds of `sets`.
    pub fn count(sets: &[SampleSet]) -> Pairs {
        let of = |change| sets.iter().filter(|set| set.change() == change).count();
        Pairs {
            gained: of(Some(Change::Gained)),
            lost: of(Some(Change::Lost)),
            kept: of(Some(Change::Kept)),
            missed: of(Some(Change::Missed)),
            not_judged: of(None),
        }
    }

    /// How many pairs are of one kind.
    pub fn of(&self, change: Change) -> usize {
        match change {
            Change::Gained => self.gained,
            Change::Lost => self.lost,
            Change::Kept => self.kept,
            Change::Missed => self.missed,
        }
    }

    /// Pairs that were judged.
    pub fn judged(&self) -> usize {
        Change::ALL.iter().map(|&change| self.of(change)).sum()
    }

    /// How many of each kind of [`Change::ALL`] stand for their shares if `shown` are shown in all: by largest remainder
    /// (Hamilton), of equal remainders that of the kind which flatters RL less.
    pub fn shares(&self, shown: usize) -> [usize; 4] {
        let judged = self.judged();
        let shown = shown.min(judged);
        let exact = Change::ALL.map(|change| self.of(change) * shown);
        let mut shares = exact.map(|product| product / judged.max(1));
        let left = shown - shares.iter().sum::<usize>();
        let mut by_remainder = [1, 3, 2, 0];
        by_remainder.sort_by_key(|&kind| std::cmp::Reverse(exact[kind] % judged.max(1)));
        by_remainder.iter().take(left).for_each(|&kind| shares[kind] += 1);
        shares
    }
}

/// Counts the pairs and keeps `shown` of them, each kind in its share and within a kind those whose question has the
/// least hash: nobody chose them, and the same questions stand in every report.
pub fn choose(mut sets: Vec<SampleSet>, shown: usize) -> (Pairs, Vec<SampleSet>) {
    let pairs = Pairs::count(&sets);
    sets.sort_by_cached_key(|set| picnic_random::fnv1a(set.task.bytes().chain([b'\n']).chain(set.problem.bytes())));
    let of_kind = |(change, count): (Change, usize)| {
        sets.iter().filter(move |set| set.change() == Some(change)).take(count).cloned()
    };
    (pairs, Change::ALL.into_iter().zip(pairs.shares(shown)).flat_map(of_kind).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(counts: [usize; 4]) -> Vec<SampleSet> {
        use Verdict::{Right, Wrong};
        let kinds = [(Wrong, Right), (Right, Wrong), (Right, Right), (Wrong, Wrong)];
        let sample = |verdict| Sample { text: String::new(), verdict };
        let set = |number: usize, (before, after)| SampleSet {
            task: "sums".to_owned(),
            problem: format!("{number}+{number}?"),
            gold: String::new(),
            before: sample(before),
            after: sample(after),
        };
        let kinds = kinds.into_iter().zip(counts).flat_map(|(kind, count)| std::iter::repeat_n(kind, count));
        kinds.enumerate().map(|(number, kind)| set(number, kind)).collect()
    }

    fn shown(counts: [usize; 4], shown: usize) -> [usize; 4] {
        let (pairs, chosen) = choose(sets(counts), shown);
        assert_eq!(Change::ALL.map(|change| pairs.of(change)), counts);
        Change::ALL.map(|change| chosen.iter().filter(|set| set.change() == Some(change)).count())
    }

    #[test]
    fn each_kind_is_shown_in_its_share() {
        assert_eq!(shown([100, 40, 160, 100], 10), [2, 1, 4, 3], "2.5, 1, 4 and 2.5");
        assert_eq!(shown([40, 100, 160, 100], 10), [1, 3, 4, 2]);
        assert_eq!(shown([0, 0, 0, 7], 10), [0, 0, 0, 7], "no more than there are");
        assert_eq!(shown([1, 0, 0, 99], 10), [0, 0, 0, 10], "a hundredth has no tenth");
        assert_eq!(shown([0; 4], 10), [0; 4]);
    }

    #[test]
    fn the_order_of_the_questions_does_not_choose() {
        let mut reversed = sets([9, 5, 8, 3]);
        reversed.reverse();
        assert_eq!(choose(reversed, 6), choose(sets([9, 5, 8, 3]), 6));
        let first: Vec<String> = sets([9, 5, 8, 3]).into_iter().take(2).map(|set| set.problem).collect();
        let chosen: Vec<String> = choose(sets([9, 5, 8, 3]), 6).1.into_iter().take(2).map(|set| set.problem).collect();
        assert_ne!(chosen, first);
    }

    #[test]
    fn what_was_not_judged_is_counted_and_not_shown() {
        let mut sets = sets([2, 1, 1, 1]);
        sets[0].after.verdict = Verdict::CouldNotJudge;
        let (pairs, chosen) = choose(sets, 10);
        assert_eq!((pairs.gained, pairs.not_judged, pairs.judged()), (1, 1, 4));
        assert_eq!(chosen.len(), 4);
    }
}
