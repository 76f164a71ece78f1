//! The engine and its disk: which pages it reads and writes there, and when.
//!
//! A request that starts takes all pages of its prompt, as ever. Those of them that are in memory it shares, and those
//! behind them that are on disk are read, while the request waits as it would for a neighbour that reads the same
//! beginning. What does not come is computed. Pages are handed to the disk when they become full. All copying is done
//! between two passes, [`IN_FLIGHT`] bytes at most in either direction; files are the disk's own thread's business.
//!
//! A page that arrives is used only where the page that it was read for still has the same name, and a page is written
//! under the name that it has when it is copied. As a name stands for all that a page's content follows from, nothing
//! else needs to be remembered of who asked.

use super::{Engine, empty_cache};
use crate::disk::{Arrival, DiskCache, DiskCounts, Ended, IN_FLIGHT, Key, Namespace};
use crate::pages::Pages;
use crate::request::RequestId;
use crate::sequence::Sequence;
use crate::share::Worked;
use picnic_model::layers::Past;
use picnic_model::ops::{CachedSpan, Ops, OutOfMemory, Position};
use picnic_model::{Batch, Tape};
use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

/// How long a step waits for the disk when nobody has anything else to do: no longer than whoever submits or cancels
/// requests between steps should.
const PATIENCE: Duration = Duration::from_millis(20);

/// The disk of an engine, and what it is asked for.
pub(super) struct Paging {
    disk: DiskCache,
    namespace: Namespace,
    page_bytes: usize,
    /// Pages to read, in order.
    wanted: VecDeque<Wanted>,
    /// Pages that are being read, by the numbers under which they were asked for.
    asked: HashMap<u64, Wanted>,
    next_ticket: u64,
}

/// A page that is to be read.
struct Wanted {
    page: u32,
    key: Key,
    /// Whose it is, and how many of its tokens are there with the page.
    request: RequestId,
    tokens: usize,
}

impl Paging {
    pub(super) fn namespace(&self) -> Namespace {
        self.namespace.clone()
    }

    pub(super) fn counts(&self) -> DiskCounts {
        self.disk.counts()
    }

    /// Says that `used` were used, the last one last: that of the beginning of a text, so that its end goes before it, as
    /// it does from memory. Said when a request starts, it keeps what the request writes from driving out what it read; said
    /// when it ends, it has its new pages in order too.
    fn touch<'p>(&self, used: impl Iterator<Item = &'p u32>, pages: &Pages) {
        self.disk.touch(used.filter_map(|page| pages.key(*page)).collect());
    }

    /// Asks the disk for pages, as many as may be read at once, and for one at least. `key` is the name of a page now.
    fn ask(&mut self, key: impl Fn(u32) -> Option<Key>) {
        while self.asked.is_empty() || (self.asked.len() + 1) * self.page_bytes <= IN_FLIGHT {
            let Some(wanted) = self.wanted.pop_front() else { break };
            // Whoever wanted it may be gone, and the page be another's.
            if key(wanted.page) == Some(wanted.key) {
                self.disk.read(self.next_ticket, wanted.key, self.page_bytes);
                self.asked.insert(self.next_ticket, wanted);
                self.next_ticket += 1;
            }
        }
    }
}

impl<O: Ops> Engine<O> {
    /// Has full pages that others may find kept on `disk`, and read from there before they are computed. The weights must
    /// be those of which `disk` was told, unchanged since they were loaded. If that cannot be, the disk is told why and
    /// dropped, and the engine goes on without it.
    pub fn attach(&mut self, disk: DiskCache) {
        let layouts = self.limits.layout(self.model.model());
        let page_bytes = self.ops.page_bytes(&layouts, self.limits.cache);
        if DiskCache::file_bytes(page_bytes) > disk.settings().bytes {
            return disk.say(&format!(
                "no cache on disk: it may take {} bytes, and one page of {} tokens takes {}; raise --cache-disk",
                disk.settings().bytes,
                O::PAGE_TOKENS,
                DiskCache::file_bytes(page_bytes),
            ));
        }
        if self.model.params().version() > 0 {
            return disk.say("no cache on disk: the weights were changed since they were loaded");
        }
        let sample = match self.sample_page() {
            Ok(sample) => sample,
            Err(source) => return disk.say(&format!("no cache on disk: {source}")),
        };
        let (config, settings) = (self.model.model().config(), disk.settings());
        let namespace = Namespace::new(&[
            &settings.weights,
            format!("{:?}", settings.form).as_bytes(),
            format!("{config:?}").as_bytes(),
            format!("{:?}", self.limits.cache).as_bytes(),
            format!("{layouts:?}").as_bytes(),
            &(O::PAGE_TOKENS as u64).to_le_bytes(),
            &(page_bytes as u64).to_le_bytes(),
            &sample,
        ]);
        self.queue_mut().pages.name(namespace.clone());
        let (wanted, asked) = (VecDeque::new(), HashMap::new());
        self.paging = Some(Paging { disk, namespace, page_bytes, wanted, asked, next_ticket: 0 });
    }

    /// Goes on without the disk, if there is one.
    pub(super) fn detach(&mut self, reason: &str) {
        if let Some(paging) = self.paging.take() {
            paging.disk.say(&format!("the cache on disk is not used any more: {reason}"));
            self.queue_mut().pages.forget_disk();
        }
    }

    /// A page as this model computes it now, of tokens that are always the same. Its bits are part of every name: should
    /// another build, device or instruction set compute others, it looks for other files.
    fn sample_page(&self) -> Result<Vec<u8>, OutOfMemory> {
        let (model, params, tokens) = (self.model.model(), self.model.params(), O::PAGE_TOKENS);
        let absorbed = model.absorb(&self.ops, &params, self.limits.cache)?;
        let ids = (0..tokens).map(|i| ((1 + i * 7919) % model.config().vocab_size) as u32).collect();
        let positions = Position::range(0, tokens, tokens).collect();
        let batch = Batch { ids, positions, spans: std::iter::once(0..tokens).collect() };
        let spans = [CachedSpan { rows: 0..tokens, start: 0, prompt: tokens, pages: vec![0] }];
        let mut cache = empty_cache(&self.ops, model, self.limits);
        let mut past = Past::Cached(&mut cache, &spans, &absorbed);
        model.forward(&mut Tape::inference(&self.ops), &params, &batch, &mut past)?;
        Ok(self.ops.save_page(&cache, 0))
    }

    /// Finds the pages on disk that follow those which `sequence`, about to run, has in memory.
    pub(super) fn look_up(&mut self, sequence: &Sequence) {
        let Engine { paging: Some(paging), queue, .. } = self else { return };
        let pages = &mut queue.get_mut().unwrap_or_else(PoisonError::into_inner).pages;
        let size = pages.page_tokens();
        for (at, &page) in sequence.entered().iter().enumerate() {
            // Others have read or are reading what is full or has other users.
            if !pages.is_untouched(page) {
                continue;
            }
            let Some(key) = pages.key(page).filter(|key| paging.disk.has(*key)) else { break };
            pages.set_loading(page, true);
            paging.wanted.push_back(Wanted { page, key, request: sequence.id, tokens: (at + 1) * size });
        }
        paging.touch(sequence.entered().iter().rev(), pages);
    }

    /// Asks for the pages that are wanted, and takes those that have come. Waits for one if all that runs waits for the
    /// disk.
    pub(super) fn load_pages(&mut self) {
        let Engine { paging: Some(paging), queue, running, .. } = self else { return };
        let pages = &queue.get_mut().unwrap_or_else(PoisonError::into_inner).pages;
        paging.ask(|page| pages.key(page));
        let waits = |sequence: &mut Sequence| {
            sequence.catch_up(pages);
            sequence.waits_for_disk(pages)
        };
        let is_stalled = !paging.asked.is_empty() && !running.is_empty() && running.iter_mut().all(waits);
        let mut arrival = paging.disk.wait(if is_stalled { PATIENCE } else { Duration::ZERO });
        loop {
            match arrival {
                Ok(Some(arrived)) => self.take_page(arrived),
                Ok(None) => break,
                Err(Ended) => return self.detach("the thread that reads and writes it has ended"),
            }
            let Some(paging) = &self.paging else { return };
            arrival = paging.disk.arrival();
        }
        let Engine { paging: Some(paging), queue, .. } = self else { return };
        let pages = &queue.get_mut().unwrap_or_else(PoisonError::into_inner).pages;
        paging.ask(|page| pages.key(page));
    }

    /// Puts a page that was read where it is wanted.
    fn take_page(&mut self, Arrival { ticket, content }: Arrival) {
        let Engine { paging: Some(paging), queue, running, ops, cache, .. } = self else { return };
        let queue = queue.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(Wanted { page, key, request, tokens }) = paging.asked.remove(&ticket) else { return };
        if queue.pages.key(page) != Some(key) {
            return;
        }
        queue.pages.set_loading(page, false);
        let Some(content) = content else { return };
        // It may have been computed after all. Where memory runs out it will be, or the pass that does so is refused.
        if queue.pages.is_whole(page) || ops.restore_page(cache, page, &content).is_err() {
            return;
        }
        queue.pages.loaded(page);
        queue.counters.disk_pages_read += 1;
        if let Some(sequence) = running.iter_mut().find(|sequence| sequence.id == request) {
            queue.counters.reused_tokens += sequence.found(tokens) as u64;
        }
    }

    /// Hands pages to the disk that became full, and says which of them requests used that have ended. What the disk has
    /// no room for now is tried again later.
    pub(super) fn save_pages(&mut self, worked: &[Worked]) {
        let Engine { paging: Some(paging), queue, ops, cache, .. } = self else { return };
        let queue = queue.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut complete = VecDeque::from(queue.pages.take_complete());
        let mut copied = 0;
        while let Some(&(page, key)) = complete.front()
            && (copied == 0 || copied + paging.page_bytes <= IN_FLIGHT)
            && paging.disk.has_room(paging.page_bytes)
        {
            complete.pop_front();
            if paging.disk.has(key) {
                continue;
            }
            let content = match queue.pages.key(page) == Some(key) && queue.pages.is_whole(page) {
                true => ops.save_page(cache, page),
                false => Vec::new(),
            };
            copied += content.len();
            match content.len() == paging.page_bytes {
                true => paging.disk.write(key, content),
                // It had to make room for another before there was time to write it.
                false => queue.counters.disk_pages_unwritten += 1,
            }
        }
        queue.pages.put_back_complete(complete.into());
        paging.touch(worked.iter().flat_map(|worked| worked.ended.iter().rev()), &queue.pages);
    }
}
