//! A request under way: its tokens, how far the model has read them, and what is to come.

use crate::drafts::{Bars, Drafts, GRAM};
use crate::pages::{Before, Opened, Pages, Space};
use crate::pass::{Done, Part, Plan};
use crate::queue::{Place, Queue};
use crate::request::{Event, Finish, Reading, Request, RequestId, Wants};
use crate::sampler::Sampler;
use picnic_model::ops::Drawn;
use std::cmp::Reverse;
use std::ops::Range;

/// Set in what stands for a token of an answer where pages depend on it. No vocabulary has so many tokens.
const ANSWER: u32 = 1 << 31;

/// What the content of a page depends on beside its tokens and those before them.
#[derive(Clone, Copy)]
pub(crate) struct Depends {
    /// On how many tokens the prompt has.
    pub(crate) on_length: bool,
    /// On which of the tokens are the prompt's and which an answer's.
    pub(crate) on_kind: bool,
}

/// A request that was submitted.
pub(crate) struct Sequence {
    pub(crate) id: RequestId,
    priority: i32,
    space: Option<Space>,
    depends: Depends,
    tokens: Vec<u32>,
    prompt: usize,
    /// Tokens whose keys and values are in the cache.
    cached: usize,
    /// Those of the prompt that nobody reads for it alone; unknown before it starts.
    reused: Option<usize>,
    pub(crate) pages: Vec<u32>,
    /// Pages at the beginning that others may fill or have been told of.
    entered: usize,
    /// What stands before the page after these.
    before: Before,
    max_tokens: usize,
    stop: Vec<u32>,
    sampler: Sampler,
    drafts: Drafts,
    /// Tokens that the pass under way tries out.
    tried: Vec<u32>,
    wants: Wants,
    reading: Reading,
    has_ended: bool,
}

impl Sequence {
    /// `request`, which holds no page yet.
    pub(crate) fn new(id: RequestId, request: Request, depends: Depends) -> Sequence {
        let prompt = request.prompt.len();
        let space = Space { tenant: request.tenant, prompt: depends.on_length.then_some(prompt) };
        Sequence {
            id,
            priority: request.priority,
            // What is wanted of a token, is read with it: it cannot be there already.
            space: (request.wants == Wants::default()).then_some(space),
            depends,
            prompt,
            sampler: Sampler::new(request.sampling, request.control, &request.prompt),
            tokens: request.prompt,
            cached: 0,
            reused: None,
            pages: Vec::new(),
            entered: 0,
            before: Before::Start(space),
            max_tokens: request.max_tokens,
            stop: request.stop,
            drafts: Drafts::default(),
            tried: Vec::new(),
            wants: request.wants,
            reading: Reading::default(),
            has_ended: false,
        }
    }

    /// Its place in the queue.
    pub(crate) fn place(&self) -> Place {
        (Reverse(self.priority), self.id)
    }

    /// Whose pages it may share; `None` if it reads everything itself.
    pub(crate) fn space(&self) -> Option<Space> {
        self.space
    }

    /// Prompt and answer so far, the tokens as pages with them are found.
    pub(crate) fn findable(&self) -> Vec<u32> {
        self.findable_at(0..self.tokens.len()).collect()
    }

    fn findable_at(&self, positions: Range<usize>) -> impl Iterator<Item = u32> {
        let answer = if self.depends.on_kind { self.prompt } else { usize::MAX };
        positions.map(move |at| if at < answer { self.tokens[at] } else { self.tokens[at] | ANSWER })
    }

    /// Tokens of its prompt.
    pub(crate) fn prompt(&self) -> usize {
        self.prompt
    }

    /// Whether its last token has come.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Tokens that the model has not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.tokens.len() - self.cached
    }

    /// Starts in the pages that were found or taken for it. Returns how much of its prompt was there, the first time.
    pub(crate) fn open(&mut self, opened: Opened, pages: &Pages) -> Option<usize> {
        // Those of its neighbours too that they are about to read for it.
        self.entered = opened.entered;
        let reused = opened.reused * pages.page_tokens();
        (self.pages, self.before) = (opened.pages, opened.before);
        self.catch_up(pages);
        let is_first = self.reused.is_none();
        is_first.then(|| *self.reused.insert(reused.min(self.prompt)))
    }

    /// The first `count` tokens were found on disk. Returns how many more of its prompt are there than was known.
    pub(crate) fn found(&mut self, count: usize) -> usize {
        // A request that goes on has read its prompt already.
        let Some(reused) = self.reused.as_mut().filter(|_| self.tokens.len() == self.prompt) else { return 0 };
        let more = count.min(self.prompt).saturating_sub(*reused);
        *reused += more;
        more
    }

    /// Stops, and has everything read again when it goes on. Returns its pages.
    pub(crate) fn close(&mut self) -> Vec<u32> {
        self.cached = 0;
        self.entered = 0;
        self.reading = Reading::default();
        std::mem::take(&mut self.pages)
    }

    /// Passes over what others have read for it.
    pub(crate) fn catch_up(&mut self, pages: &Pages) {
        let size = pages.page_tokens();
        while let Some(page) = self.common(size).first() {
            let filled = pages.filled(*page);
            if filled <= self.cached % size {
                break;
            }
            self.cached = self.cached / size * size + filled;
        }
    }

    /// The pages that it is to fill next and others wait for as well.
    pub(crate) fn common(&self, page_tokens: usize) -> &[u32] {
        self.pages.get(self.cached / page_tokens..self.entered).unwrap_or_default()
    }

    /// Pages at its beginning that others may find.
    pub(crate) fn entered(&self) -> &[u32] {
        &self.pages[..self.entered]
    }

    /// Whether pages of it are being read from disk. It is not read any further meanwhile: that could compute them too.
    pub(crate) fn waits_for_disk(&self, pages: &Pages) -> bool {
        self.common(pages.page_tokens()).iter().any(|page| pages.is_loading(*page))
    }

    /// Takes pages, one by one, until `count` more tokens and what it tries out fit, of which it leaves out what does not.
    /// Returns how many tokens do fit.
    pub(crate) fn reserve(&mut self, count: usize, pages: &mut Pages, ended: &mut Vec<u32>) -> usize {
        let size = pages.page_tokens();
        while self.pages.len() * size < self.cached + count + self.tried.len()
            && let Some(page) = pages.take(ended)
        {
            self.pages.push(page);
        }
        let room = self.pages.len() * size - self.cached;
        self.tried.truncate(room.saturating_sub(count));
        count.min(room)
    }

    /// Guesses at what comes next, at most `most` tokens likelier to be right than `bar`, for the next pass to try out.
    /// Returns how many.
    pub(crate) fn draft(&mut self, most: usize, bar: f64) -> usize {
        // The last token of all is drawn from the row before it.
        let left = match self.sampler.can_look_ahead() {
            true => (self.prompt + self.max_tokens).saturating_sub(self.tokens.len() + 1),
            false => 0,
        };
        self.tried = self.drafts.next(&self.tokens, most.min(left), bar);
        self.tried.len()
    }

    /// Whether the model's module is to guess what comes after the tokens `came`, which a pass drew for it.
    pub(crate) fn wants_guess(&self, came: &[u32], bars: Bars) -> bool {
        // The last token of all is drawn from the row before it.
        let has_next = self.tokens.len() + came.len() + 1 < self.prompt + self.max_tokens;
        if !has_next || !self.sampler.can_look_ahead() || came.iter().any(|token| self.stop.contains(token)) {
            return false;
        }
        let end = [&self.tokens[self.tokens.len().saturating_sub(GRAM)..], came].concat();
        self.drafts.wants_module(&end, bars)
    }

    /// Adds the next `count` tokens to `plan`, and behind the last one what it tries out.
    pub(crate) fn join(&mut self, plan: &mut Plan, sequence: usize, count: usize) {
        let (start, end) = (self.cached, self.cached + count);
        let is_ready = end == self.tokens.len();
        if !is_ready {
            self.tried.clear();
        }
        let draws = if is_ready { self.sampler.draws(&self.tried) } else { Vec::new() };
        let predicted = if self.wants.prompt_logprobs { start + 1..(end + 1).min(self.prompt) } else { 0..0 };
        let ids = [&self.tokens[start..end], &self.tried].concat();
        plan.add(&ids, (start, self.prompt), &self.pages, |rows| {
            let row = |position: usize| (rows.start + position - start) as u32;
            let states = if self.wants.prompt_states { row(start)..row(end.min(self.prompt).max(start)) } else { 0..0 };
            Part {
                sequence,
                draws,
                follows: self.tokens.get(end).copied(),
                likeliest: self.wants.prompt_likeliest,
                predict: predicted.map(|position| (row(position - 1), self.tokens[position])).collect(),
                states,
                rows,
            }
        });
    }

    /// Takes what a pass came to, and tells the tokens that came.
    pub(crate) fn take(&mut self, done: Done, queue: &mut Queue, mut tell: impl FnMut(Event)) {
        let (tried, before) = (std::mem::take(&mut self.tried), self.cached);
        self.cached += done.rows - tried.len();
        self.reading.prompt_logprobs.extend(done.predicted);
        self.reading.prompt_likeliest.extend(done.likeliest);
        for state in done.states.chunks_exact(done.width) {
            self.reading.prompt_states.resize(done.width, 0.0);
            self.reading.prompt_states.iter_mut().zip(state).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        for (at, drawn) in done.drawn.into_iter().enumerate() {
            let is_as_tried = tried.get(at) == Some(&drawn.token);
            tell(self.push(drawn));
            queue.counters.drawn += 1;
            if self.has_ended || !is_as_tried {
                let right = at + usize::from(is_as_tried);
                self.drafts.learn(right, tried.len());
                queue.counters.guessed += tried.len() as u64;
                queue.counters.guessed_right += right as u64;
                if self.drafts.is_by_module() {
                    queue.counters.guessed_by_module += tried.len() as u64;
                    queue.counters.guessed_by_module_right += right as u64;
                }
                break;
            }
            // What was tried out came: its keys and values are those of the answer.
            self.cached += 1;
        }
        self.drafts.hear(done.guess);
        queue.counters.finished += u64::from(self.has_ended);
        self.enter(before, &mut queue.pages);
    }

    /// A token more for the answer.
    fn push(&mut self, Drawn { token, logprob, likeliest }: Drawn) -> Event {
        let is_whole = self.sampler.drawn(token);
        self.tokens.push(token);
        let finish = if is_whole { Some(Finish::Stop) } else { self.finish(token) };
        self.has_ended = finish.is_some();
        let wanted = finish.is_some() && self.wants != Wants::default();
        let reading = wanted.then(|| Box::new(std::mem::take(&mut self.reading)));
        Event { id: self.id, token, logprob, likeliest, finish, reading, reused: self.reused.unwrap_or(0) }
    }

    /// Says what is in its pages from position `from` on, so that others find it.
    fn enter(&mut self, from: usize, pages: &mut Pages) {
        if self.space.is_none() {
            return;
        }
        let size = pages.page_tokens();
        for at in from / size..self.entered.min(self.cached.div_ceil(size)) {
            pages.fill(self.pages[at], (self.cached - at * size).min(size));
        }
        while (self.entered + 1) * size <= self.cached {
            let (start, page) = (self.entered * size, self.pages[self.entered]);
            pages.fill(page, size);
            let tokens: Vec<u32> = self.findable_at(start..start + size).collect();
            self.before = pages.enter(self.before, &tokens, page);
            self.entered += 1;
        }
    }

    fn finish(&self, token: u32) -> Option<Finish> {
        if self.stop.contains(&token) {
            return Some(Finish::Stop);
        }
        (self.tokens.len() - self.prompt >= self.max_tokens).then_some(Finish::Length)
    }
}
