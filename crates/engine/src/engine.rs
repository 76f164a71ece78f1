//! Continuous batching: every step is one forward pass over new tokens of all running sequences.
//!
//! The engine holds its model: it cannot be called with another's parameters, and when whoever trains them changed them
//! since the last step, what was cached of them is computed again. Where threads share one processor and the model is
//! small, a step runs as several passes at once, each over some of the sequences: a row's bits are its own, so that
//! does not show.

use crate::limits::Limits;
use crate::pages::Pages;
use crate::pass::{Done, Plan};
use crate::request::{Dropped, Event, Request, RequestError, RequestId, Sampling};
use crate::sequence::Sequence;
use picnic_model::ops::{Ops, OutOfMemory};
use picnic_model::{Model, ParamStore, SharedModel};
use std::collections::VecDeque;

/// Parameters up to which a step is cut into a pass for each thread: as many as fit into caches. Threads that share the
/// operations of one pass wait for each other some hundred times a token; threads with a pass each all read every weight.
const SMALL: usize = 8 << 20;

/// Requests under way on one model.
pub struct Engine<O: Ops> {
    ops: O,
    model: SharedModel<O>,
    limits: Limits,
    cache: O::Cache,
    /// Of the parameters that the cache was computed with.
    version: u64,
    pages: Pages,
    waiting: VecDeque<(RequestId, Request)>,
    /// In the order in which they were admitted.
    running: Vec<Sequence>,
    next_id: u64,
}

impl<O: Ops> Engine<O> {
    /// An engine for `model` with an empty cache.
    pub fn new(ops: O, model: SharedModel<O>, limits: Limits) -> Engine<O> {
        let version = model.params().version();
        Engine {
            cache: empty_cache(&ops, model.model()),
            version,
            pages: Pages::new(limits.cache_tokens, O::PAGE_TOKENS),
            waiting: VecDeque::new(),
            running: Vec::new(),
            next_id: 0,
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
        self.waiting.push_back((id, request));
        Ok(id)
    }

    /// Drops a request and frees its pages at once; one that ended already is ignored.
    pub fn cancel(&mut self, id: RequestId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        if let Some(at) = self.running.iter().position(|s| s.id == id) {
            let sequence = self.running.remove(at);
            self.pages.give(sequence.pages);
        }
    }

    /// Drops all requests and the cache.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.running.clear();
        self.cache = empty_cache(&self.ops, self.model.model());
        self.pages = Pages::new(self.limits.cache_tokens, O::PAGE_TOKENS);
    }

    /// Whether nothing waits or runs.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Tokens of cache in use.
    pub fn cache_tokens_used(&self) -> usize {
        self.pages.tokens_used()
    }

    /// One token more for every sequence whose prompt has been read, as far as the limits allow. Returns the tokens
    /// drawn, in the order in which requests were admitted.
    ///
    /// # Errors
    /// If memory ran out: of the requests that took part the one that was admitted last is then dropped, and nothing else
    /// has changed.
    pub fn step(&mut self) -> Result<Vec<Event>, Dropped> {
        let model = self.model.clone();
        let params = model.params();
        if params.version() != self.version {
            self.version = params.version();
            self.running.iter_mut().for_each(Sequence::forget);
        }
        self.admit();
        let done = self.pass(model.model(), &params).or_else(|_| {
            // Pages of requests that ended may hold what is missing.
            drop(self.ops.split_cache(&mut self.cache, &[self.pages.free().to_vec()]));
            self.pass(model.model(), &params)
        });
        let mut done = done.map_err(|(last, source)| {
            let id = self.running[last].id;
            self.cancel(id);
            Dropped { id, source }
        })?;
        done.sort_by_key(|done| done.sequence);
        let events: Vec<Event> = done.into_iter().filter_map(|done| self.running[done.sequence].take(done)).collect();
        events.iter().filter(|event| event.finish.is_some()).for_each(|event| self.cancel(event.id));
        Ok(events)
    }

    /// Reads the next tokens of the running sequences. After an error, which names the last sequence that took part, the
    /// same can be tried again.
    fn pass(&mut self, model: &Model, params: &ParamStore<O>) -> Result<Vec<Done>, (usize, OutOfMemory)> {
        let plans = self.plan(params);
        let last = plans.iter().filter_map(Plan::last_sequence).max().unwrap_or(0);
        self.run(model, params, plans).map_err(|source| (last, source))
    }

    /// Runs the plans, at once if there are several.
    fn run(&mut self, model: &Model, params: &ParamStore<O>, plans: Vec<Plan>) -> Result<Vec<Done>, OutOfMemory> {
        if plans.len() <= 1 {
            let done = plans.into_iter().map(|plan| plan.run(&self.ops, model, params, &mut self.cache));
            return Ok(done.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect());
        }
        let pages: Vec<Vec<u32>> = plans.iter().map(Plan::pages).collect();
        let caches = self.ops.split_cache(&mut self.cache, &pages);
        let parts = plans.into_iter().zip(caches).collect();
        let done = self.ops.in_parallel(parts, |(plan, mut cache): (Plan, O::Cache), ops| {
            (plan.run(ops, model, params, &mut cache), cache)
        });
        let (done, caches): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        self.ops.join_cache(&mut self.cache, caches);
        Ok(done.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
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
        let (needed, limit) = (request.prompt.len().saturating_add(request.max_tokens), self.pages.tokens());
        if needed > limit {
            return Err(RequestError::TooLong { needed, limit });
        }
        let Sampling { temperature, top_p, .. } = request.sampling;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(RequestError::Sampling { name: "temperature", value: temperature, range: "0 or more" });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(RequestError::Sampling { name: "top_p", value: top_p, range: "above 0 and at most 1" });
        }
        Ok(())
    }

    /// Starts waiting requests while there is room for all that they may come to need, oldest first.
    fn admit(&mut self) {
        while self.running.len() < self.limits.sequences
            && let Some((_, request)) = self.waiting.front()
            && let Some(pages) = self.pages.take(request.prompt.len() + request.max_tokens)
            && let Some((id, request)) = self.waiting.pop_front()
        {
            self.running.push(Sequence::new(id, request, pages));
        }
    }

    /// The next tokens of the running sequences, as many as fit into a step, in passes of about as many rows each; none
    /// if nothing runs.
    fn plan(&mut self, params: &ParamStore<O>) -> Vec<Plan> {
        let at_once = if params.count() <= SMALL { self.ops.parallelism() } else { 1 };
        let mut plans: Vec<Plan> = Vec::new();
        plans.resize_with(at_once.clamp(1, self.running.len().max(1)), Plan::default);
        let mut room = self.limits.batch_tokens.max(1);
        for (s, sequence) in self.running.iter_mut().enumerate() {
            let count = sequence.unread().min(room);
            if count == 0 {
                break;
            }
            room -= count;
            if let Some(plan) = plans.iter_mut().min_by_key(|plan| plan.len()) {
                sequence.join(plan, s, count);
            }
        }
        plans.retain(|plan| plan.len() > 0);
        plans
    }
}

fn empty_cache<O: Ops>(ops: &O, model: &Model) -> O::Cache {
    ops.cache(&model.cache_layout())
}
