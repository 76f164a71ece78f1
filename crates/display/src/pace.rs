//! How long work takes, from counted tokens and the speeds that were measured so far.
//!
//! A recipe says how much there is to compute ([`Work`]) but for the length of examples and answers. Those are taken
//! from what was last seen, and before that guessed at a third of what is allowed.

use picnic_train::plan::{Kind, Length, Work};
use std::collections::BTreeMap;

/// Of the tokens that an answer or example may have, the part that it has where none has been seen. In the tiny recipe
/// examples have a quarter, answers a third.
const USUAL_PART: f64 = 1.0 / 3.0;

/// Speeds and lengths so far.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Operations and the seconds that they took.
    measured: BTreeMap<Kind, (f64, f64)>,
    /// Mean tokens of an example.
    pub example: Option<f64>,
    /// Mean tokens of an answer.
    pub answer: Option<f64>,
}

impl Pace {
    /// Notes that `work` took so long. What earlier runs did must not come here: its time is not known.
    pub fn took(&mut self, work: &Work, seconds: f64) {
        let operations = self.operations(work);
        if seconds > 0.0 && operations > 0.0 {
            let (of_kind, time) = self.measured.entry(work.kind).or_default();
            *of_kind += operations;
            *time += seconds;
        }
    }

    /// How long `work` takes: at the speed of its kind, or where that has not been measured at that of all others.
    /// `None` if nothing has been.
    pub fn seconds(&self, work: &Work) -> Option<f64> {
        let operations = self.operations(work);
        if operations == 0.0 {
            return Some(0.0);
        }
        let all = || self.measured.values().fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
        let (done, time) = self.measured.get(&work.kind).copied().unwrap_or_else(all);
        (done > 0.0).then(|| operations * time / done)
    }

    fn operations(&self, work: &Work) -> f64 {
        let tokens = match work.length {
            Length::Exactly(tokens) => tokens,
            Length::Example(most) => self.example.unwrap_or(most * USUAL_PART).min(most),
            Length::Answer(most) => self.answer.unwrap_or(most * USUAL_PART).min(most),
        };
        work.sequences * tokens * work.passes * work.operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(kind: Kind, length: Length) -> Work {
        Work { kind, sequences: 10.0, length, passes: 3.0, operations: 1e6 }
    }

    #[test]
    fn work_not_begun_is_timed_by_its_operations() {
        let mut pace = Pace::default();
        let text = work(Kind::Learning, Length::Exactly(100.0));
        assert_eq!(pace.seconds(&text), None);
        pace.took(&text, 2.0);
        // RL has not been measured: three times the tokens take three times as long.
        let answers = work(Kind::Reinforcing, Length::Answer(900.0));
        assert_eq!(pace.seconds(&answers), Some(6.0));
        // Once it has, its own speed counts, and the length that was seen.
        pace.took(&answers, 60.0);
        pace.answer = Some(150.0);
        assert_eq!(pace.seconds(&answers), Some(30.0));
        assert_eq!(pace.seconds(&text), Some(2.0));
        // A model of a tenth of the operations takes a tenth of the time.
        assert_eq!(pace.seconds(&Work { operations: 1e5, ..answers }), Some(3.0));
    }
}
