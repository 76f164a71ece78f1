//! Continuous batching: every step is a forward pass over new tokens of all running sequences.
//!
//! The engine holds its model: it cannot be called with another's parameters, and when whoever trains them changed them
//! since the last step, what was cached of them is computed again. Where threads share one processor and the model is
//! small, each thread takes a share of the sequences further by itself (`share.rs`): a row's bits are its own, so that
//! does not show.

mod paging;

use crate::counters::Counters;
use crate::limits::Limits;
use crate::pages::Pages;
use crate::pass::Weights;
use crate::queue::Queue;
use crate::request::{Dropped, Event, Request, RequestError, RequestId};
use crate::sequence::{Depends, Sequence};
use crate::share::{Share, Stint, Worked};
use paging::Paging;
use picnic_model::layers::Absorbed;
use picnic_model::ops::{Ops, OutOfMemory};
use picnic_model::{Model, ParamStore, SharedModel};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parameters up to which each thread gets a share of the sequences: as many as fit into caches. Threads that share the
/// operations of one pass wait for each other some hundred times a token; threads with passes of their own all read every
/// weight.
const SMALL: usize = 8 << 20;

/// Requests under way on one model.
pub struct Engine<O: Ops> {
    ops: O,
    model: SharedModel<O>,
    limits: Limits,
    cache: O::Cache,
    /// Of the parameters that the cache was computed with.
    version: u64,
    /// What was made of them for this form of cache; `None` if they have changed since, or memory was short.
    absorbed: Option<Absorbed<O>>,
    queue: Mutex<Queue>,
    /// In the order in which they were admitted.
    running: Vec<Sequence>,
    next_id: u64,
    /// Whether memory ran out in the last step, which nothing was stopped for.
    is_tight: bool,
    /// Whether memory ran out and nobody has ended since: nobody else starts.
    is_held: bool,
    /// The disk that pages are kept on, if there is one.
    paging: Option<Paging>,
}

/// What a step came to.
#[derive(Debug, Default)]
pub struct Step {
    /// The tokens drawn, round by round in the order in which requests were admitted.
    pub events: Vec<Event>,
    /// Requests that ended without an answer because memory ran out. All others go on.
    pub dropped: Vec<Dropped>,
}

impl<O: Ops> Engine<O> {
    /// An engine for `model` with an empty cache. What the form of the cache has made of the weights is made here, so that
    /// the first request does not wait for it; if memory is short now, that request's step tries again.
    pub fn new(ops: O, model: SharedModel<O>, limits: Limits) -> Engine<O> {
        let params = model.params();
        let (version, absorbed) = (params.version(), absorb(&ops, model.model(), &params, limits).ok());
        drop(params);
        Engine {
            cache: empty_cache(&ops, model.model(), limits),
            version,
            absorbed,
            queue: Mutex::new(Queue::new(empty_pages::<O>(limits))),
            running: Vec::new(),
            next_id: 0,
            is_tight: false,
            is_held: false,
            paging: None,
            ops,
            model,
            limits,
        }
    }

    /// Queues a request.
    ///
    /// # Errors
    /// If it can never be served; the engine is unchanged.
    pub fn submit(&mut self, request: Request) -> Result<RequestId, RequestError> {
        self.check(&request)?;
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let model = self.model.model();
        let depends = Depends {
            on_length: model.config().rope.depends_on_length(),
            on_kind: model.cache_layout(self.limits.cache).iter().any(|layer| layer.latent),
        };
        let queue = self.queue_mut();
        queue.counters.submitted += 1;
        queue.push(Sequence::new(id, request, depends));
        Ok(id)
    }

    /// Drops a request and frees its pages at once; one that ended already is ignored.
    pub fn cancel(&mut self, id: RequestId) {
        if self.remove(id) {
            self.queue_mut().counters.cancelled += 1;
        }
    }

    /// Drops all requests and the cache.
    pub fn clear(&mut self) {
        let mut pages = empty_pages::<O>(self.limits);
        if let Some(paging) = &self.paging {
            pages.name(paging.namespace());
        }
        let queue = self.queue_mut();
        queue.waiting.clear();
        queue.pages = pages;
        self.running.clear();
        (self.is_tight, self.is_held) = (false, false);
        self.cache = empty_cache(&self.ops, self.model.model(), self.limits);
    }

    /// Whether nothing waits or runs.
    pub fn is_idle(&self) -> bool {
        self.queue().waiting.is_empty() && self.running.is_empty()
    }

    /// Tokens of cache in use.
    pub fn cache_tokens_used(&self) -> usize {
        self.queue().pages.tokens_used()
    }

    /// What was done so far, and what is there now.
    pub fn counters(&self) -> Counters {
        let queue = self.queue();
        let disk = self.paging.as_ref().map(Paging::counts).unwrap_or_default();
        Counters {
            waiting: queue.waiting.len(),
            running: self.running.len(),
            cache_tokens: queue.pages.tokens(),
            used_tokens: queue.pages.tokens_used(),
            idle_tokens: queue.pages.tokens_idle(),
            evicted_pages: queue.pages.evicted(),
            disk_pages_written: disk.written,
            disk_pages_unwritten: queue.counters.disk_pages_unwritten + disk.unwritten,
            disk_pages_refused: disk.refused,
            disk_bytes: disk.bytes,
            ..queue.counters
        }
    }

    /// One token more for every sequence whose prompt has been read, as far as the limits allow; more for one whose next
    /// tokens were guessed.
    pub fn step(&mut self) -> Step {
        self.steps(1)
    }

    /// Up to `rounds` passes more. Threads with shares of their own meet only once in the meantime, so that none waits
    /// for another after every token.
    ///
    /// When pages run out, the request that came last gives its own back, waits, and is read again when there is room;
    /// nothing of it is lost. When memory runs out, pages that nobody uses are given back, then those of the request that
    /// it ran out for; one that does not fit although nobody else runs is dropped.
    pub fn steps(&mut self, rounds: usize) -> Step {
        let model = self.model.clone();
        let params = model.params();
        if params.version() != self.version {
            self.version = params.version();
            self.absorbed = None;
            self.detach("the weights were changed, so that its pages are not theirs any more");
            self.forget();
        }
        let absorb = || absorb(&self.ops, model.model(), &params, self.limits);
        let absorbed = match self.absorbed.take().map_or_else(absorb, Ok) {
            Ok(absorbed) => absorbed,
            Err(source) => return self.drop_all(source),
        };
        self.admit();
        self.load_pages();
        let (mut events, mut refused, mut is_short) = (Vec::new(), Vec::new(), false);
        let asks_module = self.limits.asks_module(model.model());
        let weights = Weights { model: model.model(), params: &params, absorbed: &absorbed, asks_module };
        let worked = self.work(&weights, rounds);
        self.save_pages(&worked);
        for worked in worked {
            self.running.extend(worked.sequences);
            self.queue_mut().pages.give(worked.ended);
            events.extend(worked.events);
            refused.extend(worked.refused);
            is_short |= worked.is_short;
        }
        self.absorbed = Some(absorbed);
        // Ids count up, so they are the order of admission.
        self.running.sort_by_key(|sequence| sequence.id);
        events.sort_by_key(|(round, event)| (*round, event.id));
        let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
        self.is_held &= !self.running.is_empty() && events.iter().all(|event| event.finish.is_none());
        if is_short && self.running.len() > 1 {
            self.preempt_last();
        }
        Step { events, dropped: self.make_room(refused) }
    }

    /// Frees memory for the next step after one in which `refused` ran out of it. Returns those that can never go on.
    fn make_room(&mut self, refused: Vec<Dropped>) -> Vec<Dropped> {
        let is_short = !refused.is_empty();
        let mut dropped = Vec::new();
        if self.is_tight {
            for refused in refused {
                if self.running.len() > 1 {
                    if let Some(at) = self.running.iter().position(|sequence| sequence.id == refused.id) {
                        let sequence = self.running.remove(at);
                        self.queue_mut().preempt(sequence);
                        self.is_held = true;
                    }
                } else if self.remove(refused.id) {
                    self.queue_mut().counters.dropped += 1;
                    dropped.push(refused);
                }
            }
        }
        if is_short {
            let pages = &mut self.queue_mut().pages;
            pages.evict_idle();
            let free = pages.free().to_vec();
            drop(self.ops.split_cache(&mut self.cache, &[free]));
        }
        self.is_tight = is_short && !self.is_tight;
        dropped
    }

    /// Ends every request: without memory for the weights none can go on.
    fn drop_all(&mut self, source: OutOfMemory) -> Step {
        let waiting: Vec<RequestId> = self.queue().waiting.values().map(|sequence| sequence.id).collect();
        let ids: Vec<RequestId> = self.running.iter().map(|sequence| sequence.id).chain(waiting).collect();
        ids.iter().for_each(|&id| _ = self.remove(id));
        self.queue_mut().counters.dropped += ids.len() as u64;
        let dropped = ids.into_iter().map(|id| Dropped { id, source: source.clone() }).collect();
        Step { events: Vec::new(), dropped }
    }

    /// Has the request that comes last of all that run give its pages back and wait.
    fn preempt_last(&mut self) {
        let last = (0..self.running.len()).max_by_key(|&at| self.running[at].place());
        if let Some(at) = last {
            let sequence = self.running.remove(at);
            self.queue_mut().preempt(sequence);
        }
    }

    /// The weights are others: nothing that was read is worth anything.
    fn forget(&mut self) {
        let running = std::mem::take(&mut self.running);
        let queue = self.queue_mut();
        queue.pages.forget();
        for mut sequence in running {
            queue.pages.give(sequence.close());
            queue.push(sequence);
        }
    }

    /// Whether there was such a request, which there is not any more.
    fn remove(&mut self, id: RequestId) -> bool {
        let running = self.running.iter().position(|sequence| sequence.id == id);
        if let Some(at) = running {
            let mut sequence = self.running.remove(at);
            self.queue_mut().pages.give(sequence.close());
            self.is_held = false;
            return true;
        }
        let waiting = &mut self.queue_mut().waiting;
        let count = waiting.len();
        waiting.retain(|_, sequence| sequence.id != id);
        waiting.len() < count
    }

    /// Works on all that runs, in shares of about as many tokens each.
    fn work(&mut self, weights: &Weights<O>, rounds: usize) -> Vec<Worked> {
        let threads = if weights.params.count() <= SMALL { self.ops.parallelism() } else { 1 };
        let count = threads.clamp(1, self.running.len().max(1));
        let of = |all: usize| (all / count).max(1);
        let stint = Stint {
            rounds,
            batch_tokens: of(self.limits.batch_tokens),
            sequences: of(self.limits.sequences),
            draft_tokens: self.limits.draft_tokens,
        };
        let mut shares = self.shares(count);
        let queue = &self.queue;
        if count == 1 {
            let share = Share { sequences: shares.remove(0), cache: &mut self.cache, is_whole: true };
            return vec![share.work(&self.ops, weights, queue, stint)];
        }
        let pages = |share: &Vec<Sequence>| share.iter().flat_map(|sequence| &sequence.pages).copied().collect();
        let pages: Vec<Vec<u32>> = shares.iter().map(pages).collect();
        let mut caches = self.ops.split_cache(&mut self.cache, &pages);
        let part = |(sequences, cache)| Share { sequences, cache, is_whole: false };
        let parts = shares.into_iter().zip(&mut caches).map(part).collect();
        let worked = self.ops.in_parallel(parts, |share: Share<O>, ops| share.work(ops, weights, queue, stint));
        self.ops.join_cache(&mut self.cache, caches);
        worked
    }

    /// Deals the running sequences out to `count` shares. Those that wait for the same page go together: one of them fills
    /// it.
    fn shares(&mut self, count: usize) -> Vec<Vec<Sequence>> {
        let mut shares: Vec<(usize, Vec<Sequence>)> = Vec::new();
        shares.resize_with(count, Default::default);
        let mut share_of: HashMap<u32, usize> = HashMap::new();
        let running = std::mem::take(&mut self.running);
        let pages = &self.queue_mut().pages;
        for mut sequence in running {
            sequence.catch_up(pages);
            let page = sequence.common(pages.page_tokens()).first().copied();
            let lightest = (0..count).min_by_key(|&at| shares[at].0).unwrap_or(0);
            let at = page.map_or(lightest, |page| *share_of.entry(page).or_insert(lightest));
            shares[at].0 += sequence.unread();
            shares[at].1.push(sequence);
        }
        shares.into_iter().map(|(_, sequences)| sequences).collect()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere leaves the queue whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue_mut(&mut self) -> &mut Queue {
        self.queue.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, request: &Request) -> Result<(), RequestError> {
        let vocabulary = self.model.model().config().vocab_size;
        if request.prompt.is_empty() {
            return Err(RequestError::EmptyPrompt);
        }
        if request.max_tokens == 0 {
            return Err(RequestError::NoTokens);
        }
        if let Some((index, &id)) = request.prompt.iter().enumerate().find(|&(_, &id)| id as usize >= vocabulary) {
            return Err(RequestError::UnknownToken { index, id, vocabulary });
        }
        let (needed, limit) = (request.prompt.len().saturating_add(request.max_tokens), self.queue().pages.tokens());
        if needed > limit {
            return Err(RequestError::TooLong { needed, limit });
        }
        request.sampling.check()?;
        let is_wrong = |(_, bias): &&(u32, f32)| bias.is_nan() || *bias == f32::INFINITY;
        if let Some(&(token, value)) = request.control.bias.iter().find(is_wrong) {
            return Err(RequestError::Bias { token, value });
        }
        Ok(())
    }

    /// Starts waiting requests while there is room for what they have so far, and for those that come before others in
    /// the place of these.
    fn admit(&mut self) {
        while !self.is_held {
            let running = self.running.len();
            let has_place = running < self.limits.sequences;
            if has_place && let Some(sequence) = self.queue_mut().admit(running, &mut Vec::new(), |_| true) {
                self.look_up(&sequence);
                self.running.push(sequence);
                continue;
            }
            let Some(first) = self.queue().waiting.first_key_value().map(|(place, _)| place.0) else { break };
            match self.running.iter().map(|sequence| sequence.place().0).max() {
                // The lower the priority, the later the place.
                Some(last) if last > first => self.preempt_last(),
                _ => break,
            }
        }
        self.running.sort_by_key(|sequence| sequence.id);
    }
}

/// What layers multiply by where the cache has this form, the module's among them if it reads along.
fn absorb<O: Ops>(ops: &O, model: &Model, params: &ParamStore<O>, limits: Limits) -> Result<Absorbed<O>, OutOfMemory> {
    let absorbed = model.absorb(ops, params, limits.cache)?;
    match limits.asks_module(model) {
        true => model.absorb_mtp(ops, params, limits.cache, absorbed),
        false => Ok(absorbed),
    }
}

fn empty_pages<O: Ops>(limits: Limits) -> Pages {
    Pages::new(limits.cache_tokens, limits.kept_tokens, O::PAGE_TOKENS)
}

fn empty_cache<O: Ops>(ops: &O, model: &Model, limits: Limits) -> O::Cache {
    ops.cache(&limits.layout(model), limits.cache)
}
