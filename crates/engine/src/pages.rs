//! The pages of the cache: who uses them, and what they hold that others can use.
//!
//! A page holds consecutive tokens of a sequence, in every layer. What is in it follows from the weights and from the
//! tokens up to its last one, so that sequences that begin alike share pages. A whole page is found by the page before it
//! and its own tokens, all of which are compared: no collision of hashes can show one request the past of another. Pages
//! that nobody uses any more stay to be found until their room is needed, the least recently used going first.

use crate::disk::{Key, Link, Namespace};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What stands before a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Before {
    /// Nothing: it is the first one, of a sequence in this space.
    Start(Space),
    /// The page that was entered under this number, which no other page ever gets.
    Page(u64),
}

/// Sequences that may share pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Space {
    /// Whose they are.
    pub(crate) tenant: u64,
    /// Tokens of the prompt, where keys depend on it.
    pub(crate) prompt: Option<usize>,
}

/// By what a page is found.
#[derive(PartialEq, Eq, Hash)]
struct Prefix {
    before: Before,
    tokens: Box<[u32]>,
}

/// Hands out page numbers below a limit.
pub(crate) struct Pages {
    page_tokens: usize,
    limit: usize,
    /// Pages without users that may be kept.
    kept: usize,
    /// By number, all that were ever handed out.
    pages: Vec<Page>,
    /// Without users, and nobody can find them.
    free: Vec<u32>,
    /// Without users, and to be found; by when they were given back.
    idle: BTreeMap<u64, u32>,
    index: HashMap<Arc<Prefix>, u32>,
    clock: u64,
    /// Idle pages that had to make room.
    evicted: u64,
    /// Where pages are kept on disk too.
    names: Option<Names>,
}

/// What pages are called on disk.
struct Names {
    namespace: Namespace,
    /// By the number under which a page was entered.
    keys: HashMap<u64, Key>,
    /// Pages that became full and were not taken away by [`Pages::take_complete`].
    complete: Vec<(u32, Key)>,
}

#[derive(Default)]
struct Page {
    users: u32,
    /// Tokens whose keys and values are in it; kept up to date for pages that can be found.
    filled: usize,
    entry: Option<Entry>,
    /// Whether it is being read from disk.
    is_loading: bool,
    given_back: u64,
}

/// A page in the index.
struct Entry {
    number: u64,
    prefix: Arc<Prefix>,
}

/// What a sequence begins with.
#[derive(Debug, PartialEq)]
pub(crate) struct Opened {
    /// Its first pages, as many as are full before its last token.
    pub(crate) pages: Vec<u32>,
    /// How many of them others have, or are reading now.
    pub(crate) reused: usize,
    /// How many of them can be found.
    pub(crate) entered: usize,
    /// What stands before the next one.
    pub(crate) before: Before,
}

impl Pages {
    /// As many whole pages of `page_tokens` as hold `tokens`, of which those for `kept` tokens may stay when nobody uses
    /// them.
    pub(crate) fn new(tokens: usize, kept: usize, page_tokens: usize) -> Pages {
        Pages {
            page_tokens,
            limit: (tokens / page_tokens).min(u32::MAX as usize),
            kept: kept / page_tokens,
            pages: Vec::new(),
            free: Vec::new(),
            idle: BTreeMap::new(),
            index: HashMap::new(),
            clock: 0,
            evicted: 0,
            names: None,
        }
    }

    /// Gives the pages that are entered from now on their names in `namespace`.
    pub(crate) fn name(&mut self, namespace: Namespace) {
        self.names = Some(Names { namespace, keys: HashMap::new(), complete: Vec::new() });
    }

    /// Tokens in a page.
    pub(crate) fn page_tokens(&self) -> usize {
        self.page_tokens
    }

    /// Tokens that all pages hold: the most that one sequence can ever get.
    pub(crate) fn tokens(&self) -> usize {
        self.limit.saturating_mul(self.page_tokens)
    }

    /// Tokens that the pages in use hold.
    pub(crate) fn tokens_used(&self) -> usize {
        (self.pages.len() - self.free.len() - self.idle.len()) * self.page_tokens
    }

    /// Tokens that the pages hold which nobody uses and somebody may find.
    pub(crate) fn tokens_idle(&self) -> usize {
        self.idle.len() * self.page_tokens
    }

    /// Idle pages that had to make room for others.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Pages that were in use and hold nothing now.
    pub(crate) fn free(&self) -> &[u32] {
        &self.free
    }

    /// Pages for a sequence of these tokens, but for the one that its last token is on: those that are there already, as
    /// far as the caller `holds` them, and new ones, which others find from now on. `None` if that would leave fewer than
    /// `reserve` pages. `ended` are pages in use that the caller is about to give back.
    ///
    /// Behind a page that is there and not held, all are the sequence's own until they are full: of two that share a page,
    /// both share all before it, and so wait for the same one.
    pub(crate) fn open(
        &mut self,
        space: Option<Space>,
        tokens: &[u32],
        reserve: usize,
        ended: &mut Vec<u32>,
        holds: impl Fn(u32) -> bool,
    ) -> Option<Opened> {
        let whole = tokens.len().saturating_sub(1) / self.page_tokens;
        let (mut before, mut pages, mut enters) =
            (Before::Start(space.unwrap_or_default()), Vec::with_capacity(whole + 1), space.is_some());
        for tokens in tokens.chunks_exact(self.page_tokens).take(if space.is_some() { whole } else { 0 }) {
            let Some(&page) = self.index.get(&Prefix { before, tokens: tokens.into() }) else { break };
            enters = holds(page);
            if !enters {
                break;
            }
            before = self.before(page);
            pages.push(page);
        }
        let reused = pages.len();
        pages.iter().for_each(|&page| self.join(page));
        let room = self.free.len() + self.idle.len() + (self.limit - self.pages.len());
        let spare = ended.iter().filter(|page| self.pages[**page as usize].users == 1).count();
        if room + spare < whole - reused + reserve {
            self.give(pages);
            return None;
        }
        for tokens in tokens.chunks_exact(self.page_tokens).take(whole).skip(reused) {
            let page = self.take(ended)?;
            if enters {
                before = self.enter(before, tokens, page);
            }
            pages.push(page);
        }
        let entered = if enters { whole } else { reused };
        Some(Opened { pages, reused, entered, before })
    }

    /// One page with nothing in it, if there is one; rather than none, one of `ended` that has no other user.
    pub(crate) fn take(&mut self, ended: &mut Vec<u32>) -> Option<u32> {
        let page = if let Some(page) = self.free.pop() {
            page
        } else if self.pages.len() < self.limit {
            self.pages.push(Page::default());
            self.pages.len() as u32 - 1
        } else if let Some((_, page)) = self.idle.pop_first() {
            self.evicted += 1;
            page
        } else {
            let at = ended.iter().position(|page| self.pages[*page as usize].users == 1)?;
            ended.swap_remove(at)
        };
        self.remove_entry(page);
        self.pages[page as usize] = Page { users: 1, ..Page::default() };
        Some(page)
    }

    /// Enters `page`, whose tokens are these, so that others find it; if there is one like it, that one stays. Returns
    /// what stands before the next page.
    pub(crate) fn enter(&mut self, before: Before, tokens: &[u32], page: u32) -> Before {
        let prefix = Arc::new(Prefix { before, tokens: tokens.into() });
        if let Some(&other) = self.index.get(&prefix) {
            return self.before(other);
        }
        self.clock += 1;
        let number = self.clock;
        if let Some(names) = &mut self.names {
            names.enter(number, before, tokens);
        }
        self.index.insert(Arc::clone(&prefix), page);
        let state = &mut self.pages[page as usize];
        state.entry = Some(Entry { number, prefix });
        if state.filled == self.page_tokens {
            self.complete(page);
        }
        Before::Page(number)
    }

    /// Tokens of `page` that are in the cache.
    pub(crate) fn filled(&self, page: u32) -> usize {
        self.pages[page as usize].filled
    }

    /// The first `count` tokens of `page` are in the cache now.
    pub(crate) fn fill(&mut self, page: u32, count: usize) {
        let filled = std::mem::replace(&mut self.pages[page as usize].filled, count);
        if filled < count && count == self.page_tokens {
            self.complete(page);
        }
    }

    /// The name on disk of `page`; `None` if it has none now.
    pub(crate) fn key(&self, page: u32) -> Option<Key> {
        let entry = self.pages.get(page as usize)?.entry.as_ref()?;
        self.names.as_ref()?.keys.get(&entry.number).copied()
    }

    /// Whether `page` can be found, and all of it is in the cache.
    pub(crate) fn is_whole(&self, page: u32) -> bool {
        self.pages.get(page as usize).is_some_and(|page| page.entry.is_some() && page.filled == self.page_tokens)
    }

    /// Whether only one sequence uses `page` and nothing is in it.
    pub(crate) fn is_untouched(&self, page: u32) -> bool {
        let Page { users, filled, is_loading, .. } = self.pages[page as usize];
        users == 1 && filled == 0 && !is_loading
    }

    /// Says whether `page` is being read from disk, so that nobody computes it meanwhile.
    pub(crate) fn set_loading(&mut self, page: u32, is_loading: bool) {
        self.pages[page as usize].is_loading = is_loading;
    }

    /// Whether `page` is being read from disk.
    pub(crate) fn is_loading(&self, page: u32) -> bool {
        self.pages[page as usize].is_loading
    }

    /// All of `page` came from disk.
    pub(crate) fn loaded(&mut self, page: u32) {
        self.pages[page as usize].filled = self.page_tokens;
    }

    /// The pages with names that became full since the last call, those that came from disk left out.
    pub(crate) fn take_complete(&mut self) -> Vec<(u32, Key)> {
        self.names.as_mut().map_or_else(Vec::new, |names| std::mem::take(&mut names.complete))
    }

    /// Has [`Pages::take_complete`] give these again.
    pub(crate) fn put_back_complete(&mut self, pages: Vec<(u32, Key)>) {
        if let Some(names) = &mut self.names {
            names.complete = pages;
        }
    }

    /// There is no disk any more, and nothing to wait for.
    pub(crate) fn forget_disk(&mut self) {
        self.names = None;
        self.pages.iter_mut().for_each(|page| page.is_loading = false);
    }

    /// Takes a sequence's pages back, the last ones first: they are found by the ones before them, and go before them.
    pub(crate) fn give(&mut self, pages: impl IntoIterator<Item = u32, IntoIter: DoubleEndedIterator>) {
        for page in pages.into_iter().rev() {
            let state = &mut self.pages[page as usize];
            state.users -= 1;
            if state.users > 0 {
                continue;
            }
            if state.entry.is_some() && state.filled == self.page_tokens && self.kept > 0 {
                self.clock += 1;
                state.given_back = self.clock;
                self.idle.insert(self.clock, page);
                if self.idle.len() > self.kept {
                    self.evict_one();
                }
            } else {
                self.remove_entry(page);
                self.free.push(page);
            }
        }
    }

    /// Makes every idle page a free one.
    pub(crate) fn evict_idle(&mut self) {
        while !self.idle.is_empty() {
            self.evict_one();
        }
    }

    /// What the pages hold is worth nothing any more, and nobody finds them.
    pub(crate) fn forget(&mut self) {
        self.free.extend(std::mem::take(&mut self.idle).into_values());
        self.index.clear();
        self.pages.iter_mut().for_each(|page| page.entry = None);
        if let Some(Names { keys, complete, .. }) = &mut self.names {
            keys.clear();
            complete.clear();
        }
    }

    fn evict_one(&mut self) {
        if let Some((_, page)) = self.idle.pop_first() {
            self.evicted += 1;
            self.remove_entry(page);
            self.free.push(page);
        }
    }

    /// One user more for a page that was found.
    fn join(&mut self, page: u32) {
        let state = &mut self.pages[page as usize];
        if state.users == 0 {
            self.idle.remove(&state.given_back);
        }
        state.users += 1;
    }

    /// What stands before the page that follows `page`, which is in the index.
    fn before(&self, page: u32) -> Before {
        let number = self.pages[page as usize].entry.as_ref().map_or(0, |entry| entry.number);
        Before::Page(number)
    }

    fn remove_entry(&mut self, page: u32) {
        if let Some(entry) = self.pages[page as usize].entry.take() {
            self.index.remove(&entry.prefix);
            if let Some(names) = &mut self.names {
                names.keys.remove(&entry.number);
            }
        }
    }

    /// `page` has just become full.
    fn complete(&mut self, page: u32) {
        if let Some(key) = self.key(page)
            && let Some(names) = &mut self.names
        {
            names.complete.push((page, key));
        }
    }
}

impl Names {
    /// Names the page that is entered as `number`. Behind a page whose name is forgotten none has one: it is found in
    /// memory as long as it is there, and not on disk.
    fn enter(&mut self, number: u64, before: Before, tokens: &[u32]) {
        let link = match before {
            Before::Start(space) => Some(Link::Start(space)),
            Before::Page(before) => self.keys.get(&before).map(|key| Link::After(*key)),
        };
        if let Some(link) = link {
            self.keys.insert(number, self.namespace.key(link, tokens));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(pages: &mut Pages, tokens: &[u32], reserve: usize) -> Option<Opened> {
        pages.open(Some(Space::default()), tokens, reserve, &mut Vec::new(), |_| true)
    }

    /// Opens a sequence, fills its pages and gives them back.
    fn leave(pages: &mut Pages, tokens: &[u32]) -> Vec<u32> {
        let opened = open(pages, tokens, 0).unwrap();
        opened.pages.iter().for_each(|&page| pages.fill(page, 4));
        pages.give(opened.pages.clone());
        opened.pages
    }

    #[test]
    fn pages_come_back() {
        let (mut pages, mut none) = (Pages::new(23, 0, 4), Vec::new());
        assert_eq!(pages.tokens(), 20);
        // The page of the last token is not among them, but room for it is asked for.
        let a = open(&mut pages, &[1; 9], 1).unwrap().pages;
        assert_eq!((a.len(), pages.tokens_used()), (2, 8));
        assert!(open(&mut pages, &[2; 17], 0).is_none() && open(&mut pages, &[2; 13], 1).is_none());
        let b = open(&mut pages, &[2; 13], 0).unwrap().pages;
        assert!(pages.take(&mut none).is_none() && b.iter().all(|page| !a.contains(page)));
        // What its owner is about to give back can be taken as long as nobody else uses it.
        let same = open(&mut pages, &[2; 5], 0).unwrap().pages;
        assert_eq!(same, b[..1]);
        let mut ended = b.clone();
        let taken = [pages.take(&mut ended), pages.take(&mut ended), pages.take(&mut ended)];
        assert!(taken.iter().flatten().count() == 2 && !taken.contains(&Some(b[0])) && ended == [b[0]]);
        pages.give(taken.into_iter().flatten());
        pages.give(ended);
        pages.give(same);
        pages.give(a);
        assert_eq!((pages.tokens_used(), pages.tokens_idle(), pages.free().len()), (0, 0, 5));
    }

    #[test]
    fn what_begins_alike_is_shared() {
        let mut pages = Pages::new(40, 40, 4);
        let a = open(&mut pages, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 0).unwrap();
        let b = open(&mut pages, &[1, 2, 3, 4, 5, 6, 7, 0, 9], 0).unwrap();
        assert!(a.pages[0] == b.pages[0] && a.pages[1] != b.pages[1] && a.before != b.before);
        // A last token is always left to be read.
        assert!(open(&mut pages, &[1, 2, 3, 4], 0).unwrap().pages.is_empty());
        // Another tenant, another length of prompt where keys depend on it, or nothing to be shared.
        for space in [Some(Space { tenant: 1, prompt: None }), Some(Space { tenant: 0, prompt: Some(5) }), None] {
            let other = pages.open(space, &[1, 2, 3, 4, 5], 0, &mut Vec::new(), |_| true).unwrap();
            assert_ne!(other.pages[0], a.pages[0]);
            pages.give(other.pages);
        }
        // Where it cannot be read, all from there on are the sequence's own, and nobody finds them before they are full.
        let tokens = [1, 2, 3, 4, 9, 9, 9, 9, 9];
        let apart = pages.open(Some(Space::default()), &tokens, 0, &mut Vec::new(), |_| false).unwrap();
        assert!(apart.pages.len() == 2 && apart.pages[0] != a.pages[0]);
        assert_eq!((apart.reused, apart.entered), (0, 0));
        let first = pages.enter(apart.before, &tokens[..4], apart.pages[0]);
        pages.enter(first, &tokens[4..8], apart.pages[1]);
        let after = open(&mut pages, &tokens, 0).unwrap();
        assert_eq!(after.pages, [a.pages[0], apart.pages[1]]);
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_end_before_the_beginning() {
        let mut pages = Pages::new(16, 16, 4);
        let a = leave(&mut pages, &[1; 9]);
        let b = leave(&mut pages, &[2; 9]);
        assert_eq!((pages.tokens_used(), pages.tokens_idle()), (0, 16));
        assert_eq!(leave(&mut pages, &[1; 9]), a, "they are found, and used last now");
        let mut none = Vec::new();
        let taken = [pages.take(&mut none), pages.take(&mut none), pages.take(&mut none)].map(Option::unwrap);
        assert_eq!(taken, [b[1], b[0], a[1]]);
        assert_eq!(pages.evicted(), 3);
        assert_eq!(open(&mut pages, &[1; 5], 0).unwrap().pages, a[..1]);
        assert!(pages.take(&mut none).is_none());
    }

    #[test]
    fn what_was_never_filled_or_is_worth_nothing_is_not_found() {
        let mut pages = Pages::new(40, 40, 4);
        let opened = open(&mut pages, &[1; 5], 0).unwrap();
        pages.fill(opened.pages[0], 3);
        pages.give(opened.pages);
        assert_eq!(pages.tokens_idle(), 0);
        let kept = leave(&mut pages, &[1; 5]);
        pages.forget();
        assert_eq!((pages.tokens_idle(), pages.free()), (0, &kept[..]));
        // No more than may be kept.
        let mut pages = Pages::new(40, 4, 4);
        leave(&mut pages, &[1; 5]);
        let last = leave(&mut pages, &[2; 5]);
        assert_eq!((pages.tokens_idle(), pages.evicted()), (4, 1));
        assert_eq!(open(&mut pages, &[2; 5], 0).unwrap().pages, last);
    }

    #[test]
    fn pages_are_named_by_all_up_to_their_end() {
        let namespace = Namespace::new(&[]);
        let mut pages = Pages::new(40, 40, 4);
        pages.name(namespace.clone());
        let first = namespace.key(Link::Start(Space::default()), &[1; 4]);
        let second = namespace.key(Link::After(first), &[1; 4]);
        let opened = open(&mut pages, &[1; 9], 0).unwrap();
        let [a, b] = opened.pages[..] else { panic!("two pages") };
        assert_eq!((pages.key(a), pages.key(b), pages.key(7)), (Some(first), Some(second), None));
        assert!(pages.take_complete().is_empty() && pages.is_untouched(a) && !pages.is_whole(a));
        // What came from disk is not said to be complete: it need not be written.
        pages.loaded(a);
        pages.fill(b, 3);
        pages.fill(b, 4);
        pages.fill(b, 4);
        let complete = pages.take_complete();
        assert_eq!(complete, [(b, second)]);
        pages.put_back_complete(complete);
        // A page that is entered when it is full already.
        let own = pages.take(&mut Vec::new()).unwrap();
        pages.fill(own, 4);
        assert_eq!(pages.key(own), None);
        pages.enter(opened.before, &[3; 4], own);
        let third = namespace.key(Link::After(second), &[3; 4]);
        assert_eq!(pages.take_complete(), [(b, second), (own, third)]);
        // A page that others got has another name or none.
        pages.give([a, b, own]);
        pages.evict_idle();
        assert_eq!(pages.take(&mut Vec::new()).map(|page| pages.key(page)), Some(None));
        pages.set_loading(a, true);
        pages.forget_disk();
        assert!(!pages.is_loading(a) && open(&mut pages, &[1; 5], 0).is_some_and(|o| pages.key(o.pages[0]).is_none()));
    }

    /// Random sequences that come and go: no page has two contents, and in the end none is lost.
    #[test]
    fn no_page_is_lost() {
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let mut pages = Pages::new(80, 40, 4);
        let mut open_now: Vec<Vec<u32>> = Vec::new();
        for _ in 0..5_000 {
            match next(3) {
                0 if !open_now.is_empty() => {
                    let at = next(open_now.len());
                    let given = open_now.swap_remove(at);
                    pages.give(given);
                }
                1 => {
                    let mut own = Vec::new();
                    if let Some(page) = pages.take(&mut own) {
                        open_now.push(vec![page]);
                    }
                }
                _ => {
                    let tokens: Vec<u32> = (0..1 + next(20)).map(|_| next(2) as u32).collect();
                    if let Some(opened) = open(&mut pages, &tokens, next(2)) {
                        opened.pages.iter().for_each(|&page| pages.fill(page, 4));
                        open_now.push(opened.pages);
                    }
                }
            }
            let mut used: Vec<u32> = open_now.iter().flatten().copied().collect();
            used.sort_unstable();
            used.dedup();
            assert_eq!(pages.tokens_used(), 4 * used.len());
            assert!(pages.tokens_used() + pages.tokens_idle() <= 80);
        }
        open_now.into_iter().for_each(|given| pages.give(given));
        assert_eq!(pages.tokens_used(), 0);
        assert!(pages.index.values().all(|page| pages.pages[*page as usize].users == 0));
        assert_eq!(pages.index.len(), pages.idle.len());
    }
}
