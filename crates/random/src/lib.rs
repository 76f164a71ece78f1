//! Random numbers by address: every number that a run draws is a function of the run's seed and of what it is for.
//!
//! Nothing draws from a stream that something else advances, so a resumed run needs no generator's state, and a batch
//! may be computed in any order. Each function below is one kind of address. They are fixed for good: another scheme
//! would change the models of every recipe. Left out: what is made of the numbers (weights, problems, tokens).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The starting values of the tensor called `name`, whichever tensors stand beside it.
pub fn tensor(seed: u64, name: &str) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name.bytes()))
}

/// Document or problem `index` of `purpose`; distinct addresses share no numbers.
pub fn problem(seed: u64, purpose: &str, stream: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, hash(purpose), stream, index];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The order of examples in `epoch`.
pub fn order(seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    rng
}

/// A stream that belongs to one owner alone: the tokens of a request, the resamples of an interval.
pub fn stream(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// The seed of rollout `draw` of RL's step `step`. The first rollout of a step (0) has the step's own seed; the further
/// ones count down from the end of the numbers, where no sample's is.
pub fn rollout(seed: u64, step: u64, draw: u64) -> u64 {
    again(child(seed, step), draw)
}

/// The seed of the coins that replace the rewards of the same rollout in the control with random rewards.
pub fn coins(seed: u64, step: u64, draw: u64) -> u64 {
    again(child(seed, !step), draw)
}

fn again(seed: u64, draw: u64) -> u64 {
    if draw == 0 { seed } else { child(seed, u64::MAX - draw) }
}

/// The seed of part `number` of the stage whose problems begin at `first_problem`.
pub fn part(seed: u64, first_problem: u64, number: u64) -> u64 {
    child(child(seed, first_problem), number)
}

/// The seed of child `i` of `seed`: a rollout's samples, an evaluation's tasks (Steele et al. 2014, SplitMix64).
pub fn child(seed: u64, i: u64) -> u64 {
    finalise(seed.wrapping_add(i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// A uniform number from 0 (included) to 1 (excluded), of 53 bits.
pub fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits: tells contents apart that nobody made to collide.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// [`fnv1a`], then the finaliser of SplitMix64, whose low bits are well mixed.
pub fn hash(text: &str) -> u64 {
    finalise(fnv1a(text.bytes()))
}

/// The finaliser of SplitMix64.
fn finalise(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that SplitMix64's author publishes for the seed 1234567, and FNV's own for "a".
    #[test]
    fn as_published() {
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([0, 1, 2].map(|i| child(1_234_567, i)), published);
        assert_eq!(fnv1a(*b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(*b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    /// Pins what finished runs drew.
    #[test]
    fn addresses_stay_as_they_are() {
        assert_eq!(hash(""), 0xf52a_15e9_a9b5_e89b);
        let first = |mut rng: ChaCha8Rng| rng.next_u64();
        assert_eq!(first(tensor(3, "w")), first(stream(3 ^ fnv1a(*b"w"))));
        assert_eq!(first(order(3, 0)), first(stream(3)));
        assert_ne!(first(order(3, 0)), first(order(3, 1)));
        assert_ne!(first(problem(3, "a", 0, 1)), first(problem(3, "a", 1, 0)));
        assert_eq!(rollout(7, 5, 0), child(7, 5));
        assert_eq!(rollout(7, 5, 2), child(child(7, 5), u64::MAX - 2));
        assert_ne!(rollout(7, 5, 0), coins(7, 5, 0));
    }

    #[test]
    fn uniform_numbers_lie_below_one() {
        let mut rng = stream(1);
        let numbers: Vec<f64> = (0..1000).map(|_| uniform(&mut rng)).collect();
        assert!(numbers.iter().all(|u| (0.0..1.0).contains(u)));
        // The mean of 1,000 has a standard deviation of 0.009; five of them.
        assert!((numbers.iter().sum::<f64>() / 1e3 - 0.5).abs() < 0.046);
    }
}
