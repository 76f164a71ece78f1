//! Continuous batching: every step is one forward pass over new tokens of all running sequences.
//!
//! The engine holds its model: it cannot be called with another's parameters, and when whoever trains them changed them
//! since the last step, what was cached of them is computed again. Where threads share one processor and the model is
//! small, a step runs as several passes at once, each over some of the sequences: a row's bits are its own, so that
//! does not show.

use crate::pages::Pages;
use crate::pass::{Done, Part, Plan};
use crate::request::{Dropped, Event, Finish, Reading, Request, RequestError, RequestId, Sampling, Wants};
use crate::sampler::Sampler;
use picnic_model::ops::{Ops, OutOfMemory};
use picnic_model::{Model, ParamStore, SharedModel};
use std::collections::VecDeque;

/// How much the engine does at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sequences running at once.
    pub sequences: usize,
    /// Tokens in a step.
    pub batch_tokens: usize,
    /// Tokens that the cache holds, over all sequences, in whole pages.
    pub cache_tokens: usize,
}

impl Limits {
    /// Cache for `sequences` sequences of `tokens` tokens each on `O`.
    pub fn cache_for<O: Ops>(sequences: usize, tokens: usize) -> usize {
        tokens.div_ceil(O::PAGE_TOKENS).saturating_mul(O::PAGE_TOKENS).saturating_mul(sequences)
    }

    /// As much cache for `model` as `bytes` hold, at least a page.
    pub fn cache_in<O: Ops>(ops: &O, model: &Model, bytes: usize) -> usize {
        let page_bytes = ops.page_bytes(&model.cache_layout());
        (bytes / page_bytes.max(1)).max(1).saturating_mul(O::PAGE_TOKENS)
    }
}

/// Parameters up to which a step is cut into a pass for each thread. Threads that share each operation of a pass wait
/// for each other some hundred times a token, and read every weight once instead of once each: that pays as soon as
/// the weights do not fit into caches.
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

struct Sequence {
    id: RequestId,
    tokens: Vec<u32>,
    prompt: usize,
    /// Tokens whose keys and values are in the cache.
    cached: usize,
    pages: Vec<u32>,
    max_tokens: usize,
    stop: Vec<u32>,
    sampler: Sampler,
    wants: Wants,
    reading: Reading,
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
    /// If memory ran out: the request that was admitted last is then dropped, and nothing else has changed.
    pub fn step(&mut self) -> Result<Vec<Event>, Dropped> {
        let model = self.model.clone();
        let params = model.params();
        if params.version() != self.version {
            self.version = params.version();
            self.running.iter_mut().for_each(Sequence::forget);
        }
        self.admit();
        let plans = self.plan(&params);
        let last = plans.iter().filter_map(Plan::last_sequence).max();
        match self.run(model.model(), &params, plans) {
            Ok(mut done) => {
                done.sort_by_key(|done| done.sequence);
                let events: Vec<Event> =
                    done.into_iter().filter_map(|done| self.running[done.sequence].take(done)).collect();
                events.iter().filter(|event| event.finish.is_some()).for_each(|event| self.cancel(event.id));
                Ok(events)
            }
            Err(source) => {
                let id = self.running[last.expect("without rows nothing can fail")].id;
                self.cancel(id);
                Err(Dropped { id, source })
            }
        }
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
            self.running.push(Sequence {
                id,
                prompt: request.prompt.len(),
                tokens: request.prompt,
                cached: 0,
                pages,
                max_tokens: request.max_tokens,
                stop: request.stop,
                sampler: Sampler::new(request.sampling),
                wants: request.wants,
                reading: Reading::default(),
            });
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
            let count = (sequence.tokens.len() - sequence.cached).min(room);
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

impl Sequence {
    /// Adds the next `count` tokens to `plan`.
    fn join(&mut self, plan: &mut Plan, sequence: usize, count: usize) {
        let (start, end) = (self.cached, self.cached + count);
        let is_ready = end == self.tokens.len();
        let draw = is_ready.then(|| self.sampler.next());
        let predicted = if self.wants.prompt_logprobs { start + 1..(end + 1).min(self.prompt) } else { 0..0 };
        plan.add(&self.tokens[start..end], start, &self.pages, |rows| {
            let row = |position: usize| (rows.start + position - start) as u32;
            let wanted = self.wants.hidden.iter().filter(|position| (start..end).contains(position));
            Part {
                sequence,
                start,
                draw,
                predict: predicted.map(|position| (row(position - 1), self.tokens[position])).collect(),
                hidden: wanted.map(|&position| row(position)).collect(),
                rows,
            }
        });
    }

    /// Takes what a pass came to.
    fn take(&mut self, done: Done) -> Option<Event> {
        self.cached += done.rows;
        self.reading.prompt_logprobs.extend(done.reading.prompt_logprobs);
        self.reading.hidden.extend(done.reading.hidden);
        let drawn = done.drawn?;
        self.sampler.drawn();
        self.tokens.push(drawn.token);
        let finish = self.finish(drawn.token);
        let wanted = finish.is_some() && self.wants != Wants::default();
        let reading = wanted.then(|| Box::new(std::mem::take(&mut self.reading)));
        Some(Event { id: self.id, token: drawn.token, logprob: drawn.logprob, finish, reading })
    }

    /// Has everything read again: the parameters are not those any more that read it.
    fn forget(&mut self) {
        self.cached = 0;
        self.reading = Reading::default();
    }

    fn finish(&self, token: u32) -> Option<Finish> {
        if self.stop.contains(&token) {
            return Some(Finish::Stop);
        }
        (self.tokens.len() - self.prompt >= self.max_tokens).then_some(Finish::Length)
    }
}
