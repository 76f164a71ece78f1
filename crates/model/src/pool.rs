//! Buffers that come back: a training step asks for the same sizes again and again, and giving megabytes back to the
//! kernel at every step costs more than the arithmetic between.
//!
//! They are cut from large mappings: on huge pages, because a matrix product that walks rows otherwise waits for
//! address translation; each at the start of a cache line, because a register loaded from two lines takes twice as
//! long; and at different places in their pages, because a load waits for a store to the same place in another page.

use memmap2::{MmapMut, MmapRaw};
use std::alloc::{Layout, handle_alloc_error};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values in a mapping, unless a buffer needs more: 32 MiB, of which only what is used takes memory.
const MAPPING: usize = 8 << 20;

/// Values in a cache line.
const LINE: usize = 16;

/// Values in a page (4 KiB). Buffers of a page or more lie whole pages and a quarter apart, so that four differ in
/// place.
const PAGE: usize = 1024;

/// More values than any buffer has; sums with it do not overflow.
const MOST: usize = isize::MAX as usize / 64;

/// Memory for buffers.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    /// Starts of free stretches, by their length.
    free: HashMap<usize, Vec<Stretch>>,
    /// The newest last; buffers are cut from that one. Raw, because a reference to a whole mapping would claim the
    /// buffers in it.
    mappings: Vec<MmapRaw>,
    /// Values of the newest mapping that have been cut off.
    used: usize,
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
    capacity: usize,
    len: usize,
    pool: Pool,
}

impl Pool {
    /// `len` values, whatever they held before.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let capacity = capacity(len);
        let mut memory = self.lock();
        let free = memory.free.get_mut(&capacity).and_then(Vec::pop);
        let start = free.unwrap_or_else(|| memory.cut(capacity));
        Buffer { start, capacity, len, pool: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A panic elsewhere leaves the lists whole: they are only pushed to and popped from.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// `capacity` values that were never used, all of them zero.
    fn cut(&mut self, capacity: usize) -> Stretch {
        let taken = if capacity < PAGE { capacity } else { capacity.next_multiple_of(PAGE) + PAGE / 4 };
        let fits = |map: &&MmapRaw| self.used + taken <= map.len() / size_of::<f32>();
        if self.mappings.last().filter(fits).is_none() {
            self.mappings.push(map(taken.max(MAPPING)));
            self.used = 0;
        }
        let map = self.mappings.last().expect("there is one that fits");
        // SAFETY: `used + taken` values fit into the mapping.
        let start = unsafe { map.as_mut_ptr().cast::<f32>().add(self.used) };
        self.used += taken;
        Stretch(NonNull::new(start).expect("a mapping is somewhere"))
    }
}

/// A mapping of `len` values, zero until written to. Like any allocation it ends the program when there is no memory.
fn map(len: usize) -> MmapRaw {
    let layout = Layout::array::<f32>(len).expect("the lengths of buffers are bounded");
    let map = MmapMut::map_anon(layout.size()).unwrap_or_else(|_| handle_alloc_error(layout));
    #[cfg(target_os = "linux")]
    // Only a wish: without huge pages everything works, more slowly.
    let _ = map.advise(memmap2::Advice::HugePage);
    MmapRaw::from(map)
}

/// `len` rounded up to a quarter of its power of two, so that lengths that vary share stretches; always whole lines.
fn capacity(len: usize) -> usize {
    assert!(len <= MOST, "a buffer of more than all memory");
    let quarter = (len.next_power_of_two() / 8).max(4 * LINE);
    len.next_multiple_of(quarter)
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let start = Stretch(self.start.0);
        self.pool.lock().free.entry(self.capacity).or_default().push(start);
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

    #[test]
    fn buffers_are_apart_on_lines_of_their_own() {
        let pool = Pool::default();
        // The last ones are larger than a mapping, and none; together they need several.
        let lens = [1, 17, 1000, 1700, 1700, 4096, 4096, 0, 3 << 20, 3 << 20, 3 << 20, MAPPING + 1, 0, 5];
        let mut buffers: Vec<Buffer> = lens.iter().map(|&len| pool.take(len)).collect();
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
        let mut buffer = pool.take(10);
        drop(pool);
        buffer.fill(3.0);
        assert_eq!(*buffer, [3.0; 10]);
    }
}
