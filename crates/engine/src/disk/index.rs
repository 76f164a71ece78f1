//! Which pages a folder has, how many bytes they take, and in which order they were used.

use super::key::Key;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The pages of a folder. Whoever changes the folder changes this too.
#[derive(Default)]
pub(super) struct Index {
    pages: HashMap<Key, Kept>,
    /// By their last use, the longest ago first.
    by_use: BTreeSet<(u64, Key)>,
    bytes: u64,
    /// Of the last use of all.
    latest: u64,
}

/// A file.
struct Kept {
    bytes: u64,
    /// Nanoseconds since 1970.
    used: u64,
}

impl Index {
    pub(super) fn has(&self, key: Key) -> bool {
        self.pages.contains_key(&key)
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a file of `bytes` that was last used at `used`, in place of one of the same name.
    pub(super) fn add(&mut self, key: Key, bytes: u64, used: SystemTime) {
        self.remove(key);
        let used = used.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        self.pages.insert(key, Kept { bytes, used });
        self.by_use.insert((used, key));
        self.bytes = self.bytes.saturating_add(bytes);
        self.latest = self.latest.max(used);
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(Kept { bytes, used }) = self.pages.remove(&key) {
            self.by_use.remove(&(used, key));
            self.bytes -= bytes;
        }
    }

    /// Makes a page the one that was used last. Returns the time to write down for it; `None` if there is no such page.
    pub(super) fn touch(&mut self, key: Key) -> Option<SystemTime> {
        let bytes = self.pages.get(&key)?.bytes;
        let now = self.now();
        self.add(key, bytes, now);
        Some(now)
    }

    /// The page that was not used for the longest time.
    pub(super) fn oldest(&self) -> Option<Key> {
        self.by_use.first().map(|(_, key)| *key)
    }

    /// A time after all uses so far, also where the clock was set back.
    pub(super) fn now(&self) -> SystemTime {
        SystemTime::now().max(UNIX_EPOCH + Duration::from_nanos(self.latest.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Link, Namespace};
    use crate::pages::Space;

    #[test]
    fn uses_are_in_order_whatever_the_clock_says() {
        let key = |token| Namespace::new(&[]).key(Link::Start(Space::default()), &[token]);
        let mut index = Index::default();
        let future = SystemTime::now() + Duration::from_secs(3600);
        index.add(key(1), 10, future);
        index.add(key(2), 20, UNIX_EPOCH - Duration::from_secs(9));
        index.add(key(3), 30, SystemTime::now());
        assert_eq!((index.oldest(), index.bytes()), (Some(key(2)), 60));
        assert!(index.touch(key(2)).unwrap() > future && index.touch(key(4)).is_none());
        assert_eq!(index.oldest(), Some(key(3)));
        index.touch(key(3));
        assert_eq!(index.oldest(), Some(key(1)));
        // A page that is written again is counted once.
        index.add(key(1), 5, index.now());
        assert_eq!((index.oldest(), index.bytes()), (Some(key(2)), 55));
        [1, 2, 3, 4].into_iter().for_each(|token| index.remove(key(token)));
        assert!(index.oldest().is_none() && index.bytes() == 0 && !index.has(key(1)));
    }
}
