//! A team of threads that split the outputs of one operation.
//!
//! Work is split by output rows, columns or heads, never within a reduction, so the size of the team changes no bit.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One or more threads that work on one operation at a time.
pub struct Team {
    pool: Option<rayon::ThreadPool>,
}

impl Team {
    /// A team of `threads`; one thread (or none) means the caller's own.
    ///
    /// # Errors
    /// If the system refuses to start the threads.
    pub fn new(threads: usize) -> Result<Team, std::io::Error> {
        let pool = (threads > 1)
            .then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build())
            .transpose()
            .map_err(std::io::Error::other)?;
        Ok(Team { pool })
    }

    /// The caller's own thread.
    pub fn solo() -> Team {
        Team { pool: None }
    }

    /// Threads in the team.
    pub fn size(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Calls `work` on disjoint ranges that cover `0..n`, each a multiple of `grain` long but for the last.
    pub fn split(&self, n: usize, grain: usize, work: impl Fn(Range<usize>) + Sync) {
        let pieces = n.div_ceil(grain.max(1)).min(self.size());
        let Some(pool) = self.pool.as_ref().filter(|_| pieces > 1) else {
            if n > 0 {
                work(0..n);
            }
            return;
        };
        let step = n.div_ceil(pieces).next_multiple_of(grain.max(1));
        let work = &work;
        pool.scope(|scope| {
            for start in (step..n).step_by(step) {
                scope.spawn(move |_| work(start..(start + step).min(n)));
            }
            work(0..step.min(n));
        });
    }

    /// Calls `work` on each of `0..units`; whoever of the team is free takes the next.
    pub fn share(&self, units: usize, work: impl Fn(usize) + Sync) {
        if units < 2 || self.size() < 2 {
            return (0..units).for_each(work);
        }
        let next = AtomicUsize::new(0);
        self.split(self.size().min(units), 1, |_| {
            loop {
                let unit = next.fetch_add(1, Ordering::Relaxed);
                if unit >= units {
                    return;
                }
                work(unit);
            }
        });
    }
}

/// A mutable slice whose disjoint parts several threads of a team may write.
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    life: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out parts only through `part`, whose caller promises that they don't overlap.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares `slice`.
    pub fn new(slice: &'a mut [T]) -> Self {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), life: std::marker::PhantomData }
    }

    /// The part `range`. Panics if it reaches past the end.
    ///
    /// # Safety
    /// No two parts in use at one time may overlap.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice by the assertion; unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Where the part `range` starts, for work on some of its values only. Panics if it reaches past the end.
    pub fn pointer(&self, range: Range<usize>) -> *mut T {
        assert!(range.start <= range.end && range.end <= self.len);
        self.start.wrapping_add(range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_once() {
        for threads in 1..5 {
            let team = Team::new(threads).unwrap();
            for n in [0, 1, 7, 12, 100] {
                let seen: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                team.split(n, 4, |range| {
                    assert_eq!(range.start % 4, 0);
                    range.for_each(|i| {
                        seen[i].fetch_add(1, Ordering::Relaxed);
                    });
                });
                assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }
}
