//! Randomness by address, so that problem i needs no problem before it, and the hash that
//! splits train from held-out.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::task::{Problem, Split, TaskError};

/// The generator at one address: distinct (seed, purpose, stream, index) share no numbers.
pub(crate) fn rng(seed: u64, purpose: &str, stream: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, hash(purpose), stream, index];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Problem `index` of `split`, by drawing `candidate`s until one lies in the split.
///
/// Ends with probability one, because [`check_splits`] has seen a problem of each split.
pub(crate) fn problem(
    seed: u64,
    task: &str,
    split: Split,
    index: u64,
    mut candidate: impl FnMut(&mut ChaCha8Rng) -> Option<Problem>,
) -> Problem {
    let mut rng = rng(seed, task, split as u64, index);
    loop {
        if let Some(problem) = candidate(&mut rng)
            && Split::of(&problem.id) == split
        {
            return problem;
        }
    }
}

/// Refuses dials under which a split is empty, or so rare that drawing from it would stall.
pub(crate) fn check_splits(
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

/// 64-bit FNV-1a, then the finaliser of SplitMix64, whose low bits are well mixed. Fixed for
/// good: another hash would move problems between the splits of finished runs.
pub(crate) fn hash(text: &str) -> u64 {
    let mut h = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
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
