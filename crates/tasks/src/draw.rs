//! Problems by address, so that problem i needs no problem before it, and on which side of the split each lies.

pub(crate) use picnic_random::{hash, problem as rng};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::task::{Problem, Source, Split, TaskError};

/// A task's problems by address: under all of its dials, or at one level of difficulty.
pub(crate) struct Drawn<C> {
    name: &'static str,
    seed: u64,
    dials: C,
    /// Narrower dials, the easiest first; none for a task that has no levels.
    levels: Vec<C>,
    candidate: fn(&C, &mut ChaCha8Rng) -> Option<Problem>,
}

impl<C> Drawn<C> {
    /// `candidate` draws a problem under the dials that it is given, or nothing.
    ///
    /// # Errors
    /// [`TaskError::NoProblems`] if `dials` leave a split empty. A level that does is left out.
    pub(crate) fn new(
        name: &'static str,
        seed: u64,
        dials: C,
        levels: impl IntoIterator<Item = C>,
        candidate: fn(&C, &mut ChaCha8Rng) -> Option<Problem>,
    ) -> Result<Self, TaskError> {
        let check = |dials: &C| check_splits(seed, name, |rng| candidate(dials, rng));
        check(&dials)?;
        let levels = levels.into_iter().filter(|dials| check(dials).is_ok()).collect();
        Ok(Self { name, seed, dials, levels, candidate })
    }

    /// All of the dials.
    pub(crate) fn dials(&self) -> &C {
        &self.dials
    }
}

impl<C: Send + Sync> Source for Drawn<C> {
    fn problem(&self, split: Split, index: u64) -> Problem {
        problem(self.seed, self.name, split, index, |rng| (self.candidate)(&self.dials, rng))
    }

    fn levels(&self) -> u8 {
        u8::try_from(self.levels.len().max(1)).unwrap_or(u8::MAX)
    }

    fn problem_at(&self, split: Split, level: u8, index: u64) -> Problem {
        // Without levels, all is of one.
        let Some(last) = self.levels.len().checked_sub(1) else { return Source::problem(self, split, index) };
        let level = usize::from(level).min(last);
        // Streams 0 and 1 are the splits with all levels mixed.
        let stream = 2 * (level as u64 + 1) + split as u64;
        let mut rng = rng(self.seed, self.name, stream, index);
        first_in(split, &mut rng, |rng| (self.candidate)(&self.levels[level], rng))
    }
}

/// Problem `index` of `split`.
pub(crate) fn problem(
    seed: u64,
    task: &str,
    split: Split,
    index: u64,
    candidate: impl FnMut(&mut ChaCha8Rng) -> Option<Problem>,
) -> Problem {
    first_in(split, &mut rng(seed, task, split as u64, index), candidate)
}

/// The first candidate that lies in the split.
///
/// Ends with probability one, because [`check_splits`] has seen a problem of each split.
fn first_in(
    split: Split,
    rng: &mut ChaCha8Rng,
    mut candidate: impl FnMut(&mut ChaCha8Rng) -> Option<Problem>,
) -> Problem {
    loop {
        if let Some(problem) = candidate(rng)
            && Split::of(&problem.id) == split
        {
            return problem;
        }
    }
}

/// A place in `weights`, each as often as its weight says; the weights are positive.
pub(crate) fn weighted(weights: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let total: f64 = weights.iter().sum();
    let mut point = rng.random::<f64>() * total;
    for (place, weight) in weights.iter().enumerate() {
        if point < *weight {
            return place;
        }
        point -= weight;
    }
    weights.len().saturating_sub(1)
}

/// Refuses dials under which a split is empty, or so rare that drawing from it would stall.
fn check_splits(
    seed: u64,
    task: &'static str,
    mut candidate: impl FnMut(&mut ChaCha8Rng) -> Option<Problem>,
) -> Result<(), TaskError> {
    const MOST_DRAWS: usize = 10_000;
    for split in [Split::Train, Split::HeldOut] {
        let mut rng = rng(seed, task, split as u64, 0);
        let found = (0..MOST_DRAWS).filter_map(|_| candidate(&mut rng)).any(|problem| Split::of(&problem.id) == split);
        if !found {
            return Err(TaskError::NoProblems { task, split });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_stays_as_it_is() {
        // FNV-1a of "" is the offset basis; the finaliser then maps it as below. These pin
        // the split of every problem ever made.
        assert_eq!(hash(""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(Split::of("countdown/3,19,25=41"), Split::Train);
    }

    #[test]
    fn one_in_eight_is_held_out() {
        let held_out = (0..80_000).filter(|i| Split::of(&format!("arithmetic/{i}+1")) == Split::HeldOut).count();
        // Binomial(80 000, 1/8): mean 10 000, sd 94; five of them.
        assert!((held_out as i64 - 10_000).abs() < 470, "{held_out}");
    }
}
