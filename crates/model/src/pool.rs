//! Buffers that come back: a training step asks for the same sizes again and again, and giving megabytes back to the
//! kernel at every step costs more than the arithmetic between.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

/// Free vectors by capacity.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    free: Arc<Mutex<HashMap<usize, Vec<Vec<f32>>>>>,
}

/// f32 values that return to their pool when dropped.
pub struct Buffer {
    values: Vec<f32>,
    len: usize,
    pool: Pool,
}

impl Pool {
    /// `len` values, whatever they held before.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let capacity = capacity(len);
        let free = self.lock().get_mut(&capacity).and_then(Vec::pop);
        Buffer { values: free.unwrap_or_else(|| vec![0.0; capacity]), len, pool: self.clone() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<Vec<f32>>>> {
        // A panic elsewhere leaves the map whole: it is only pushed to and popped from.
        self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// `len` rounded up to a quarter of its power of two, so that lengths that vary share vectors.
fn capacity(len: usize) -> usize {
    let quarter = (len.next_power_of_two() / 8).max(64);
    len.next_multiple_of(quarter)
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        self.pool.lock().entry(values.len()).or_default().push(values);
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.values[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_nearby_share_memory() {
        let pool = Pool::default();
        let first = pool.take(1000);
        let at = first.as_ptr();
        drop(first);
        let second = pool.take(990);
        assert_eq!((second.as_ptr(), second.len()), (at, 990));
        assert!((1..100_000).step_by(37).all(|len| (len..=len.max(256) * 3 / 2).contains(&capacity(len))));
    }
}
