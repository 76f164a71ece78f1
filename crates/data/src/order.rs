//! The order of examples in an epoch.

use rand_chacha::rand_core::Rng;

/// `0..n` in an order of its own for each (seed, epoch): Fisher and Yates' shuffle.
pub fn shuffled(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = picnic_random::order(seed, epoch);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        // The remainder's bias is below n / 2⁶⁴.
        order.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_another_permutation() {
        let (a, b) = (shuffled(100, 1, 0), shuffled(100, 1, 1));
        assert_ne!(a, b);
        assert_eq!(a, shuffled(100, 1, 0));
        let mut sorted = b;
        sorted.sort();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
