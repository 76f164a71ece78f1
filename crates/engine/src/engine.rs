//! Continuous batching: every step is one forward pass over new tokens of all running sequences.

use crate::pages::Pages;
use crate::request::{Completion, Event, Finish, Request, RequestError, RequestId, Sampling};
use crate::sampler::Sampler;
use picnic_model::layers::Past;
use picnic_model::ops::{CachedSpan, Ops};
use picnic_model::{Batch, Model, ParamStore, Tape};
use std::collections::{HashMap, VecDeque};

/// How much the engine does at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sequences running at once.
    pub sequences: usize,
    /// Tokens in one forward pass.
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

/// Requests under way on one model.
pub struct Engine<O: Ops> {
    limits: Limits,
    cache: O::Cache,
    pages: Pages,
    waiting: VecDeque<(RequestId, Request)>,
    running: Vec<Sequence>,
    next_id: u64,
    vocabulary: usize,
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
}

impl<O: Ops> Engine<O> {
    /// An engine for `model` with an empty cache.
    pub fn new(ops: &O, model: &Model, limits: Limits) -> Engine<O> {
        let config = model.config();
        Engine {
            cache: ops.cache(&model.cache_layout()),
            pages: Pages::new(limits.cache_tokens, O::PAGE_TOKENS),
            waiting: VecDeque::new(),
            running: Vec::new(),
            next_id: 0,
            vocabulary: config.vocab_size,
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

    /// Whether nothing waits or runs.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Tokens of cache in use.
    pub fn cache_tokens_used(&self) -> usize {
        self.pages.tokens_used()
    }

    /// One forward pass. Returns the tokens drawn, in the order in which requests were admitted.
    pub fn step(&mut self, ops: &O, model: &Model, params: &ParamStore<O>) -> Vec<Event> {
        self.admit();
        let Some(Plan { batch, spans, ready }) = self.plan() else { return Vec::new() };
        let rows: Vec<u32> = ready.iter().map(|&(_, row)| row).collect();
        let mut tape = Tape::inference(ops);
        let hidden = model.forward(&mut tape, params, &batch, &mut Past::Cached(&mut self.cache, &spans));
        if ready.is_empty() {
            return Vec::new();
        }
        let logits = tape.logits(&hidden, model.head(params), &rows);
        drop(hidden);
        let temperatures: Vec<f32> = ready.iter().map(|&(s, _)| self.running[s].sampler.inv_temperature()).collect();
        let weights = ops.sampling_weights(logits.value(), &temperatures);
        let drawn: Vec<u32> = ready
            .iter()
            .zip(weights.chunks_exact(self.vocabulary))
            .map(|(&(s, _), weights)| self.running[s].sampler.draw(weights))
            .collect();
        let mut stats = ops.scratch(2 * drawn.len());
        let logprobs = ops.logprobs(logits.value(), &drawn, &mut stats);
        let mut events = Vec::with_capacity(drawn.len());
        for ((&(s, _), token), logprob) in ready.iter().zip(drawn).zip(logprobs) {
            let sequence = &mut self.running[s];
            sequence.tokens.push(token);
            events.push(Event { id: sequence.id, token, logprob, finish: sequence.finish(token) });
        }
        for event in events.iter().filter(|event| event.finish.is_some()) {
            self.cancel(event.id);
        }
        events
    }

    fn check(&self, request: &Request) -> Result<(), RequestError> {
        let vocabulary = self.vocabulary;
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
            });
        }
    }

    /// The next tokens of the running sequences, as many as fit into a pass; none if nothing runs.
    fn plan(&mut self) -> Option<Plan> {
        let (mut ids, mut positions, mut spans, mut ready) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (s, sequence) in self.running.iter_mut().enumerate() {
            let room = self.limits.batch_tokens.max(1) - ids.len();
            let count = (sequence.tokens.len() - sequence.cached).min(room);
            if count == 0 {
                break;
            }
            let (start, rows) = (sequence.cached, ids.len()..ids.len() + count);
            sequence.cached += count;
            ids.extend_from_slice(&sequence.tokens[start..sequence.cached]);
            positions.extend((start..sequence.cached).map(|p| p as u32));
            if sequence.cached == sequence.tokens.len() {
                ready.push((s, rows.end as u32 - 1));
            }
            spans.push(CachedSpan { rows, start, pages: sequence.pages.clone() });
        }
        let rows = spans.iter().map(|span| span.rows.clone()).collect();
        (!ids.is_empty()).then(|| Plan { batch: Batch { ids, positions: positions.into(), spans: rows }, spans, ready })
    }
}

/// One forward pass: its tokens, where they go, and which sequences get a token from which row.
struct Plan {
    batch: Batch,
    spans: Vec<CachedSpan>,
    ready: Vec<(usize, u32)>,
}

impl Sequence {
    fn finish(&self, token: u32) -> Option<Finish> {
        if self.stop.contains(&token) {
            return Some(Finish::Stop);
        }
        (self.tokens.len() - self.prompt >= self.max_tokens).then_some(Finish::Length)
    }
}

/// Answers all `requests`, in their order.
///
/// # Errors
/// If one of them cannot be served.
pub fn generate<O: Ops>(
    ops: &O,
    model: &Model,
    params: &ParamStore<O>,
    limits: Limits,
    requests: Vec<Request>,
) -> Result<Vec<Completion>, RequestError> {
    generate_counted(ops, model, params, limits, requests, |_| ())
}

/// [`generate`], calling `finished` after every forward pass with the number of answers that are whole.
///
/// # Errors
/// If one of the requests cannot be served.
pub fn generate_counted<O: Ops>(
    ops: &O,
    model: &Model,
    params: &ParamStore<O>,
    limits: Limits,
    requests: Vec<Request>,
    mut finished: impl FnMut(usize),
) -> Result<Vec<Completion>, RequestError> {
    let mut engine = Engine::new(ops, model, limits);
    let mut places = HashMap::new();
    let mut answers = Vec::with_capacity(requests.len());
    for (place, request) in requests.into_iter().enumerate() {
        places.insert(engine.submit(request)?, place);
        answers.push(Completion { tokens: Vec::new(), logprobs: Vec::new(), finish: Finish::Length });
    }
    let mut whole = 0;
    while !engine.is_idle() {
        for event in engine.step(ops, model, params) {
            whole += usize::from(event.finish.is_some());
            let answer = &mut answers[places[&event.id]];
            answer.tokens.push(event.token);
            answer.logprobs.push(event.logprob);
            answer.finish = event.finish.unwrap_or(answer.finish);
        }
        finished(whole);
    }
    Ok(answers)
}
