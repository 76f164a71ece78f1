//! A request under way: its tokens, how far the model has read them, and what is to come.

use crate::pass::{Done, Part, Plan};
use crate::request::{Event, Finish, Reading, Request, RequestId, Wants};
use crate::sampler::Sampler;
use picnic_model::ops::Drawn;

/// A request that was admitted.
pub(crate) struct Sequence {
    pub(crate) id: RequestId,
    tokens: Vec<u32>,
    prompt: usize,
    /// Tokens whose keys and values are in the cache.
    cached: usize,
    pub(crate) pages: Vec<u32>,
    max_tokens: usize,
    stop: Vec<u32>,
    sampler: Sampler,
    wants: Wants,
    reading: Reading,
    has_ended: bool,
}

impl Sequence {
    /// Starts `request` in `pages`.
    pub(crate) fn new(id: RequestId, request: Request, pages: Vec<u32>) -> Sequence {
        Sequence {
            id,
            prompt: request.prompt.len(),
            sampler: Sampler::new(request.sampling, request.control, &request.prompt),
            tokens: request.prompt,
            cached: 0,
            pages,
            max_tokens: request.max_tokens,
            stop: request.stop,
            wants: request.wants,
            reading: Reading::default(),
            has_ended: false,
        }
    }

    /// Whether its last token has come.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Tokens that the model has not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.tokens.len() - self.cached
    }

    /// Adds the next `count` tokens to `plan`.
    pub(crate) fn join(&mut self, plan: &mut Plan, sequence: usize, count: usize) {
        let (start, end) = (self.cached, self.cached + count);
        let is_ready = end == self.tokens.len();
        let draw = is_ready.then(|| self.sampler.next());
        let predicted = if self.wants.prompt_logprobs { start + 1..(end + 1).min(self.prompt) } else { 0..0 };
        plan.add(&self.tokens[start..end], (start, self.prompt), &self.pages, |rows| {
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
    pub(crate) fn take(&mut self, done: Done) -> Option<Event> {
        self.cached += done.rows;
        self.reading.prompt_logprobs.extend(done.reading.prompt_logprobs);
        self.reading.hidden.extend(done.reading.hidden);
        let drawn = done.drawn?;
        let is_whole = self.sampler.drawn(drawn.token);
        self.tokens.push(drawn.token);
        let finish = if is_whole { Some(Finish::Stop) } else { self.finish(drawn.token) };
        self.has_ended = finish.is_some();
        let wanted = finish.is_some() && self.wants != Wants::default();
        let reading = wanted.then(|| Box::new(std::mem::take(&mut self.reading)));
        let Drawn { token, logprob, likeliest } = drawn;
        Some(Event { id: self.id, token, logprob, likeliest, finish, reading })
    }

    /// Has everything read again: the parameters are not those any more that read it.
    pub(crate) fn forget(&mut self) {
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
