//! Continuous batching: every step is a forward pass over new tokens of all running sequences.
//!
//! The engine holds its model: it cannot be called with another's parameters, and when whoever trains them changed them
//! since the last step, what was cached of them is computed again. Where threads share one processor and the model is
//! small, each thread takes a share of the sequences further by itself (`share.rs`): a row's bits are its own, so that
//! does not show.

use crate::limits::Limits;
use crate::pages::Pages;
use crate::queue::Queue;
use crate::request::{Dropped, Event, Request, RequestError, RequestId};
use crate::sequence::Sequence;
use crate::share::{Share, Stint, Worked};
use picnic_model::ops::Ops;
use picnic_model::{Model, ParamStore, SharedModel};
use std::collections::VecDeque;
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
    queue: Mutex<Queue>,
    /// In the order in which they were admitted.
    running: Vec<Sequence>,
    next_id: u64,
    /// Whether memory ran out in the last step, which nothing was dropped for.
    is_tight: bool,
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
    /// An engine for `model` with an empty cache.
    pub fn new(ops: O, model: SharedModel<O>, limits: Limits) -> Engine<O> {
        let version = model.params().version();
        Engine {
            cache: empty_cache(&ops, model.model()),
            version,
            queue: Mutex::new(empty_queue::<O>(limits)),
            running: Vec::new(),
            next_id: 0,
            is_tight: false,
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
        self.queue_mut().waiting.push_back((id, request));
        Ok(id)
    }

    /// Drops a request and frees its pages at once; one that ended already is ignored.
    pub fn cancel(&mut self, id: RequestId) {
        self.queue_mut().waiting.retain(|(waiting, _)| *waiting != id);
        if let Some(at) = self.running.iter().position(|s| s.id == id) {
            let sequence = self.running.remove(at);
            self.queue_mut().pages.give(sequence.pages);
        }
    }

    /// Drops all requests and the cache.
    pub fn clear(&mut self) {
        *self.queue_mut() = empty_queue::<O>(self.limits);
        self.running.clear();
        self.cache = empty_cache(&self.ops, self.model.model());
    }

    /// Whether nothing waits or runs.
    pub fn is_idle(&self) -> bool {
        self.queue().waiting.is_empty() && self.running.is_empty()
    }

    /// Tokens of cache in use.
    pub fn cache_tokens_used(&self) -> usize {
        self.queue().pages.tokens_used()
    }

    /// One token more for every sequence whose prompt has been read, as far as the limits allow.
    pub fn step(&mut self) -> Step {
        self.steps(1)
    }

    /// Up to `rounds` tokens more. Threads with shares of their own meet only once in the meantime, so that none waits
    /// for another after every token.
    ///
    /// When memory runs out, pages of requests that ended are given back. If the next step cannot do with that, the
    /// request that was admitted last of those that it ran out for is dropped.
    pub fn steps(&mut self, rounds: usize) -> Step {
        let model = self.model.clone();
        let params = model.params();
        if params.version() != self.version {
            self.version = params.version();
            self.running.iter_mut().for_each(Sequence::forget);
        }
        self.admit();
        let (mut events, mut refused) = (Vec::new(), Vec::new());
        for worked in self.work(model.model(), &params, rounds) {
            self.running.extend(worked.sequences);
            self.queue_mut().pages.give(worked.freed);
            events.extend(worked.events);
            refused.extend(worked.refused);
        }
        // Ids count up, so they are the order of admission.
        self.running.sort_by_key(|sequence| sequence.id);
        events.sort_by_key(|(round, event)| (*round, event.id));
        let mut step = Step { events: events.into_iter().map(|(_, event)| event).collect(), dropped: Vec::new() };
        let is_short = !refused.is_empty();
        if self.is_tight {
            refused.iter().for_each(|dropped| self.cancel(dropped.id));
            step.dropped = refused;
        }
        if is_short {
            let free = self.queue_mut().pages.free().to_vec();
            drop(self.ops.split_cache(&mut self.cache, &[free]));
        }
        self.is_tight = is_short && !self.is_tight;
        step
    }

    /// Works on all that runs, in shares of about as many tokens each.
    fn work(&mut self, model: &Model, params: &ParamStore<O>, rounds: usize) -> Vec<Worked> {
        let threads = if params.count() <= SMALL { self.ops.parallelism() } else { 1 };
        let count = threads.clamp(1, self.running.len().max(1));
        let of = |all: usize| (all / count).max(1);
        let stint = Stint { rounds, batch_tokens: of(self.limits.batch_tokens), sequences: of(self.limits.sequences) };
        let mut shares: Vec<(usize, Vec<Sequence>)> = Vec::new();
        shares.resize_with(count, Default::default);
        for sequence in std::mem::take(&mut self.running) {
            if let Some((tokens, share)) = shares.iter_mut().min_by_key(|(tokens, _)| *tokens) {
                *tokens += sequence.unread();
                share.push(sequence);
            }
        }
        let mut shares: Vec<Vec<Sequence>> = shares.into_iter().map(|(_, sequences)| sequences).collect();
        if count == 1 {
            let share = Share { sequences: shares.remove(0), cache: &mut self.cache };
            return vec![share.work(&self.ops, model, params, &self.queue, stint)];
        }
        let pages = |share: &Vec<Sequence>| share.iter().flat_map(|sequence| &sequence.pages).copied().collect();
        let pages: Vec<Vec<u32>> = shares.iter().map(pages).collect();
        let mut caches = self.ops.split_cache(&mut self.cache, &pages);
        let parts = shares.into_iter().zip(&mut caches).map(|(sequences, cache)| Share { sequences, cache }).collect();
        let queue = &self.queue;
        let worked = self.ops.in_parallel(parts, |share: Share<O>, ops| share.work(ops, model, params, queue, stint));
        self.ops.join_cache(&mut self.cache, caches);
        worked
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

    /// Starts waiting requests while there is room for all that they may come to need, oldest first.
    fn admit(&mut self) {
        while self.running.len() < self.limits.sequences
            && let Some(sequence) = self.queue_mut().admit(&mut Vec::new())
        {
            self.running.push(sequence);
        }
    }
}

fn empty_queue<O: Ops>(limits: Limits) -> Queue {
    Queue { waiting: VecDeque::new(), pages: Pages::new(limits.cache_tokens, O::PAGE_TOKENS) }
}

fn empty_cache<O: Ops>(ops: &O, model: &Model) -> O::Cache {
    ops.cache(&model.cache_layout())
}
