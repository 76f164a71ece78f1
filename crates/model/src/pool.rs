//! Buffers that come back: a training step asks for the same memory again and again, and giving megabytes back to the
//! kernel at every step costs more than the arithmetic between.
//!
//! They are cut from large mappings: on huge pages, because a matrix product that walks rows otherwise waits for
//! address translation; each at the start of a cache line, because a register loaded from two lines takes twice as
//! long; and at different places in their pages, because a load waits for a store to the same place in another page.
//! What comes back joins its free neighbours, so that sequences of other lengths find the same memory whole.

use crate::ops::OutOfMemory;
use memmap2::{MmapMut, MmapRaw};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values in a mapping, unless a buffer needs more: 64 MiB, of which only what is used takes memory.
const MAPPING: usize = 16 << 20;

/// Values in a cache line.
const LINE: usize = 16;

/// Values in a page (4 KiB). Buffers of a page or more take whole pages and a quarter, so that four that lie side by
/// side differ in place.
const PAGE: usize = 1024;

/// More values than any buffer has; sums with it do not overflow.
const MOST: usize = isize::MAX as usize / 64;

/// Memory for buffers, perhaps only so much of it.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    memory: Arc<Mutex<Memory>>,
    budget: Arc<Budget>,
}

/// What several pools may take together.
#[derive(Default)]
struct Budget {
    /// Bytes that may be taken; `None` for as many as the system gives.
    limit: Option<usize>,
    /// Bytes of mappings and blocks.
    taken: AtomicUsize,
}

#[derive(Default)]
struct Memory {
    /// Raw, because a reference to a whole mapping would claim the buffers in it.
    mappings: Vec<MmapRaw>,
    /// Values of each free stretch, by where it starts: its mapping and the value in it. No two touch.
    free: BTreeMap<(usize, usize), usize>,
    /// The same stretches by their length, shortest first.
    by_length: BTreeSet<(usize, (usize, usize))>,
}

/// Where some values start that nobody else uses, in a mapping that lives as long as the pool.
struct Stretch(NonNull<f32>);

// SAFETY: a stretch has one owner, which gets it and gives it back under the pool's lock, and any thread may use
// memory.
unsafe impl Send for Stretch {}
// SAFETY: through a shared stretch values are only read.
unsafe impl Sync for Stretch {}

/// f32 values that return to their pool when dropped.
pub struct Buffer {
    start: Stretch,
    /// Its mapping, and the first of its values there.
    at: (usize, usize),
    /// Values of the stretch.
    capacity: usize,
    len: usize,
    pool: Pool,
}

impl Pool {
    /// `len` values, whatever they held before.
    pub(crate) fn take(&self, len: usize) -> Result<Buffer, OutOfMemory> {
        let refused = OutOfMemory { operation: "a buffer", bytes: len.saturating_mul(size_of::<f32>()) };
        if len > MOST {
            return Err(refused);
        }
        let capacity = capacity(len);
        let mut memory = self.lock();
        let (at, start) = memory.cut(capacity, &self.budget).ok_or(refused)?;
        Ok(Buffer { start, at, capacity, len, pool: self.clone() })
    }

    /// `len` zeros that go back to the system when they are dropped: for what is large, lives long and has a length that
    /// no buffer shares.
    pub(crate) fn block(&self, len: usize) -> Result<Block, OutOfMemory> {
        let bytes = len.saturating_mul(size_of::<f32>());
        let refused = OutOfMemory { operation: "a block", bytes };
        let mut values = Vec::new();
        if !self.budget.claim(bytes) {
            return Err(refused);
        }
        // Dropped on failure, it gives back what it claimed.
        let mut block = Block { values: Vec::new(), bytes, pool: self.clone() };
        values.try_reserve_exact(len).map_err(|_| refused)?;
        values.resize(len, 0.0);
        block.values = values;
        Ok(block)
    }

    /// A pool that takes `bytes` of memory at most.
    pub(crate) fn with_limit(bytes: usize) -> Pool {
        let budget = Budget { limit: Some(bytes), taken: AtomicUsize::new(0) };
        Pool { memory: Arc::default(), budget: Arc::new(budget) }
    }

    /// A pool for another thread, which shares the limit and no buffers: those that a thread gives back are in its caches
    /// when it takes them again.
    pub(crate) fn beside(&self) -> Pool {
        Pool { memory: Arc::default(), budget: Arc::clone(&self.budget) }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A panic elsewhere leaves the lists whole: they are only pushed to and popped from.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// Counts `bytes` as taken, if there is room for them.
    fn claim(&self, bytes: usize) -> bool {
        let limit = self.limit.unwrap_or(usize::MAX);
        let claimed = |taken: usize| taken.checked_add(bytes).filter(|&taken| taken <= limit);
        self.taken.fetch_update(Relaxed, Relaxed, claimed).is_ok()
    }

    /// Counts `bytes` as given back.
    fn give(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Relaxed);
    }

    /// Bytes up to the limit.
    fn room(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.taken.load(Relaxed)))
    }
}

impl Memory {
    /// `capacity` values from the shortest free stretch that has as many, or from a mapping more; `None` if there is no
    /// memory.
    fn cut(&mut self, capacity: usize, budget: &Budget) -> Option<((usize, usize), Stretch)> {
        let shortest = |memory: &Memory| memory.by_length.range((capacity, (0, 0))..).next().copied();
        let (free, at) = match shortest(self) {
            Some(found) => found,
            None => {
                self.grow(capacity, budget)?;
                shortest(self)?
            }
        };
        self.remove(at, free);
        if free > capacity {
            self.insert((at.0, at.1 + capacity), free - capacity);
        }
        let start = self.mappings[at.0].as_mut_ptr().cast::<f32>();
        // SAFETY: the stretch lies within the mapping.
        let start = unsafe { start.add(at.1) };
        NonNull::new(start).map(|start| (at, Stretch(start)))
    }

    /// Takes a stretch back and joins it with free ones before and behind it.
    fn give(&mut self, mut at: (usize, usize), mut len: usize) {
        if let Some((&before, &free)) = self.free.range(..at).next_back()
            && before.0 == at.0
            && before.1 + free == at.1
        {
            self.remove(before, free);
            (at, len) = (before, free + len);
        }
        let behind = (at.0, at.1 + len);
        if let Some(&free) = self.free.get(&behind) {
            self.remove(behind, free);
            len += free;
        }
        self.insert(at, len);
    }

    fn insert(&mut self, at: (usize, usize), len: usize) {
        self.free.insert(at, len);
        self.by_length.insert((len, at));
    }

    fn remove(&mut self, at: (usize, usize), len: usize) {
        self.free.remove(&at);
        self.by_length.remove(&(len, at));
    }

    /// A mapping more, with room for `capacity` values; `None` if there is no memory.
    fn grow(&mut self, capacity: usize, budget: &Budget) -> Option<()> {
        // Near the limit a mapping leaves room for others.
        let len = capacity.max(MAPPING.min(budget.room() / size_of::<f32>() / 4));
        let bytes = len * size_of::<f32>();
        if !budget.claim(bytes) {
            return None;
        }
        let Some(map) = map(bytes) else {
            budget.give(bytes);
            return None;
        };
        self.mappings.push(map);
        self.insert((self.mappings.len() - 1, 0), len);
        Some(())
    }
}

/// A mapping of `bytes`, zero until written to; `None` if the system refuses.
fn map(bytes: usize) -> Option<MmapRaw> {
    let map = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    // Only a wish: without huge pages everything works, more slowly.
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(MmapRaw::from(map))
}

/// f32 values on the heap, counted in their pool.
pub(crate) struct Block {
    values: Vec<f32>,
    bytes: usize,
    pool: Pool,
}

impl Deref for Block {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.budget.give(self.bytes);
    }
}

/// Values of the stretch for a buffer of `len`: whole lines, and from a page on whole pages and a quarter.
fn capacity(len: usize) -> usize {
    if len < PAGE { len.next_multiple_of(LINE).max(LINE) } else { len.next_multiple_of(PAGE) + PAGE / 4 }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.lock().give(self.at, self.capacity);
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: the stretch has `capacity` ≥ `len` values, which are this buffer's until it is dropped; the pool,
        // which the buffer holds, keeps their mapping.
        unsafe { std::slice::from_raw_parts(self.start.0.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and the buffer is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.0.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A training step on sequences of `rows` rows: buffers of several widths, which come back in any order.
    fn step(pool: &Pool, rows: usize) -> usize {
        let mut buffers: Vec<Buffer> = (0..60).map(|i| pool.take(rows * (64 + 96 * (i % 5))).unwrap()).collect();
        buffers.iter_mut().enumerate().for_each(|(i, buffer)| buffer.fill(i as f32));
        assert!(buffers.iter().enumerate().all(|(i, buffer)| buffer.iter().all(|&x| x == i as f32)));
        while !buffers.is_empty() {
            buffers.swap_remove(buffers.len() * 5 / 7 % buffers.len());
        }
        pool.budget.taken.load(Relaxed)
    }

    #[test]
    fn sequences_of_other_lengths_find_the_same_memory() {
        let pool = Pool::default();
        let taken = step(&pool, 2000);
        assert!([1990, 700, 1301, 3, 1999, 1000].iter().all(|&rows| step(&pool, rows) == taken));
        // Everything is back in one piece a mapping.
        let memory = pool.lock();
        assert_eq!((memory.free.len(), memory.by_length.len()), (memory.mappings.len(), memory.mappings.len()));
        assert_eq!(memory.free.values().sum::<usize>() * size_of::<f32>(), taken);
    }

    #[test]
    fn buffers_are_apart_on_lines_of_their_own() {
        let pool = Pool::default();
        // The last ones are larger than a mapping, and none; together they need several.
        let lens = [1, 17, 1000, 1700, 1700, 4096, 4096, 0, 3 << 20, 3 << 20, 3 << 20, MAPPING + 1, 0, 5];
        let mut buffers: Vec<Buffer> = lens.iter().map(|&len| pool.take(len).unwrap()).collect();
        for (i, buffer) in buffers.iter_mut().enumerate() {
            assert!(buffer.as_ptr().addr().is_multiple_of(64) && buffer.iter().all(|&x| x == 0.0));
            buffer.fill(i as f32 + 1.0);
        }
        assert!(buffers.iter().enumerate().all(|(i, b)| b.len() == lens[i] && b.iter().all(|&x| x == i as f32 + 1.0)));
        let place = |i: usize| buffers[i].as_ptr().addr() % 4096;
        assert!(place(3) != place(4) && place(5) != place(6));
    }

    #[test]
    fn a_buffer_outlives_the_pool_that_gave_it() {
        let pool = Pool::default();
        let mut buffer = pool.take(10).unwrap();
        drop(pool);
        buffer.fill(3.0);
        assert_eq!(*buffer, [3.0; 10]);
    }

    #[test]
    fn what_is_over_the_limit_is_refused_and_the_rest_goes_on() {
        let pool = Pool::with_limit(1 << 20);
        let kept = pool.take(100_000).unwrap();
        let refused = pool.take(200_000).err().unwrap();
        assert_eq!(refused.bytes, 800_000);
        // What is free again is there for others, in smaller pieces too, and blocks count against the same limit.
        drop(kept);
        assert!(pool.take(100_000).is_ok() && pool.block(170_000).is_err());
        let pieces: Vec<Buffer> = (0..50).map_while(|_| pool.take(10_000).ok()).collect();
        assert!((20..50).contains(&pieces.len()), "{} pieces", pieces.len());
        let mut starts: Vec<usize> = pieces.iter().map(|piece| piece.as_ptr().addr()).collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 40_000), "they do not overlap");
        drop(pieces);
        let pool = Pool::with_limit(1 << 20);
        let block = pool.block(200_000).unwrap();
        assert!(block.iter().all(|&x| x == 0.0) && pool.block(200_000).is_err() && pool.take(200_000).is_err());
        drop(block);
        assert!(pool.block(200_000).is_ok());
        assert!(Pool::default().take(usize::MAX / 2).is_err() && Pool::default().block(usize::MAX / 2).is_err());
    }
}
