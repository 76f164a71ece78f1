//! Where frozen weights lie: one after another in large mappings, on huge pages. Whoever writes a token walks through
//! all of them, and on pages of 4 KiB would wait for the address translation of each and for a prefetcher that stops at
//! its end.
//!
//! A mapping lives as long as a weight in it: weights come and go by whole models.

use memmap2::{MmapMut, MmapRaw};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes of a mapping, unless a weight needs more; of these only what is written to takes memory.
const MAPPING: usize = 32 << 20;

/// Bytes of a cache line: weights start on one.
const LINE: usize = 64;

/// There is no memory for a weight.
#[derive(Debug)]
pub struct OutOfMemory {
    /// What was asked for.
    pub bytes: usize,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for a weight of {} bytes", self.bytes)
    }
}

impl std::error::Error for OutOfMemory {}

/// The mapping that the last weight went into, while that lives, and its first free byte.
static LAST: Mutex<(Weak<MmapRaw>, usize)> = Mutex::new((Weak::new(), 0));

/// Bytes of one weight, zero until written to.
pub(super) struct Bytes {
    /// Raw, because a reference to the whole mapping would claim other weights.
    mapping: Arc<MmapRaw>,
    start: usize,
    len: usize,
}

impl Bytes {
    /// `len` bytes from the start of a cache line on, all zero.
    pub(super) fn new(len: usize) -> Result<Bytes, OutOfMemory> {
        let taken = len.checked_next_multiple_of(LINE).filter(|taken| *taken <= isize::MAX as usize);
        let taken = taken.ok_or(OutOfMemory { bytes: len })?.max(LINE);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let (mapping, start) = match last.0.upgrade() {
            Some(mapping) if mapping.len() - last.1 >= taken => (mapping, last.1),
            _ => (Arc::new(map(taken.max(MAPPING)).ok_or(OutOfMemory { bytes: len })?), 0),
        };
        *last = (Arc::downgrade(&mapping), start + taken);
        Ok(Bytes { mapping, start, len })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: these bytes of the mapping are this weight's alone, and `&mut self` alone writes to them.
        unsafe { std::slice::from_raw_parts(self.mapping.as_ptr().add(self.start), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.as_mut_ptr().add(self.start), self.len) }
    }
}

/// A mapping of `bytes`; `None` if the system refuses.
fn map(bytes: usize) -> Option<MmapRaw> {
    let map = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    // Only a wish: without huge pages everything works, more slowly.
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(MmapRaw::from(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_zero_apart_and_on_lines() {
        let mut all: Vec<Bytes> = [1, 64, 65, 4096, MAPPING + 1, 0, 700].map(|len| Bytes::new(len).unwrap()).into();
        for (i, bytes) in all.iter_mut().enumerate() {
            assert!(bytes.as_slice().iter().all(|byte| *byte == 0) && bytes.as_slice().as_ptr().addr() % LINE == 0);
            bytes.as_mut_slice().fill(i as u8 + 1);
        }
        for (i, bytes) in all.iter().enumerate() {
            assert!(bytes.as_slice().iter().all(|byte| *byte == i as u8 + 1), "of {i}");
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        for len in [usize::MAX, usize::MAX - LINE, isize::MAX as usize] {
            assert_eq!(Bytes::new(len).err().map(|refused| refused.bytes), Some(len));
        }
    }
}
