//! Some of the running sequences, which one thread takes some tokens further by itself.
//!
//! Threads that do not wait for each other after every token lose nothing to the slower one. A share admits requests in
//! the place of those of its own that ended. No page passes from one share to another meanwhile: those that are given
//! back are so at the end of the stint, and a share that needs one before takes it from what it has to give.

use crate::drafts::Bars;
use crate::pass::{Plan, Weights};
use crate::queue::Queue;
use crate::request::{Dropped, Event};
use crate::sequence::Sequence;
use picnic_model::ops::Ops;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The part of a pass that prompts may take while others write: one in so many tokens.
const BESIDE_WRITERS: usize = 4;

/// Sequences with the cache that holds their pages.
pub(crate) struct Share<'c, O: Ops> {
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) cache: &'c mut O::Cache,
    /// Whether `cache` is all there is, and not only what these sequences have.
    pub(crate) is_whole: bool,
}

/// How far a share goes.
#[derive(Clone, Copy)]
pub(crate) struct Stint {
    /// Passes at most.
    pub(crate) rounds: usize,
    /// Tokens in a pass.
    pub(crate) batch_tokens: usize,
    /// Sequences at once.
    pub(crate) sequences: usize,
    /// Tokens that a sequence guesses at most.
    pub(crate) draft_tokens: usize,
}

/// What a share came to.
#[derive(Default)]
pub(crate) struct Worked {
    /// The sequences that have not ended.
    pub(crate) sequences: Vec<Sequence>,
    /// The pages of those that have, the first ones of each first.
    pub(crate) ended: Vec<u32>,
    /// Tokens drawn, each with its round.
    pub(crate) events: Vec<(usize, Event)>,
    /// The request that came last of those that memory ran out for. All can be tried again as they are.
    pub(crate) refused: Option<Dropped>,
    /// Whether a sequence was left without the pages that it needs.
    pub(crate) is_short: bool,
}

impl<O: Ops> Share<'_, O> {
    /// Goes on until the stint is over, all sequences have ended, or pages or memory have.
    pub(crate) fn work(self, ops: &O, weights: &Weights<O>, queue: &Mutex<Queue>, stint: Stint) -> Worked {
        let mut worked = Worked { sequences: self.sequences, ..Worked::default() };
        for round in 0..stint.rounds {
            let (plan, bars) = {
                let mut queue = lock(queue);
                if round > 0 {
                    worked.admit(&mut queue, stint.sequences, self.is_whole);
                }
                worked.plan(&mut queue, stint)
            };
            let Some(last) = plan.last_sequence() else { break };
            // A pass in which every row is drawn from reads no prompt.
            let (rows, only_writes, clock) = (plan.len(), plan.draws() == plan.len(), Instant::now());
            let wants_guess = |sequence: usize, came: &[u32]| worked.sequences[sequence].wants_guess(came, bars);
            let passed = match plan.run(ops, weights, self.cache, wants_guess) {
                Ok(passed) => passed,
                Err(source) => {
                    worked.refused = Some(Dropped { id: worked.sequences[last].id, source });
                    break;
                }
            };
            let took = clock.elapsed();
            let mut queue = lock(queue);
            if passed.guesses > 0 {
                queue.guessing.observe(passed.guesses, passed.guessing);
            }
            if only_writes {
                queue.cost.observe(rows, took.saturating_sub(passed.guessing));
            }
            queue.counters.passes += 1;
            queue.counters.rows += rows as u64;
            let Worked { sequences, events, .. } = &mut worked;
            for done in passed.done {
                sequences[done.sequence].take(done, &mut queue, |event| events.push((round, event)));
            }
            let ended = worked.sequences.extract_if(.., |sequence| sequence.has_ended());
            worked.ended.extend(ended.flat_map(|sequence| sequence.pages));
            if worked.is_short {
                break;
            }
        }
        worked
    }
}

impl Worked {
    /// Fills the places of sequences that ended.
    fn admit(&mut self, queue: &mut Queue, sequences: usize, is_whole: bool) {
        while self.sequences.len() < sequences {
            let Worked { sequences, ended, .. } = self;
            // Given back later, they are in this share's cache until then.
            let own: HashSet<u32> = match is_whole {
                true => HashSet::new(),
                false => sequences.iter().flat_map(|sequence| &sequence.pages).chain(&*ended).copied().collect(),
            };
            let holds = |page| is_whole || own.contains(&page);
            let Some(sequence) = queue.admit(sequences.len(), ended, holds) else { break };
            sequences.push(sequence);
        }
    }

    /// The next tokens of the sequences, as many as fit into a pass, in pages of their own.
    ///
    /// Whoever writes has a token in every pass, and a pass in which somebody writes is a short one: it takes no more of
    /// the prompts than a part of what it could hold. Prompts share what there is for them equally, so that a short one is
    /// read at once beside a long one. Of prompts that begin alike one is read as far as they do, and the others wait.
    ///
    /// Also says how likely guesses must be to pay.
    fn plan(&mut self, queue: &mut Queue, stint: Stint) -> (Plan, Bars) {
        let Worked { sequences, ended, is_short, .. } = self;
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&at| sequences[at].place());
        let (mut writing, mut reading, mut claimed) = (Vec::new(), Vec::new(), HashSet::<u32>::new());
        for &at in &order {
            sequences[at].catch_up(&queue.pages);
            if sequences[at].waits_for_disk(&queue.pages) {
                continue;
            }
            let common = sequences[at].common(queue.pages.page_tokens());
            if common.first().is_none_or(|page| !claimed.contains(page)) {
                claimed.extend(common);
                if sequences[at].unread() == 1 { writing.push(at) } else { reading.push(at) }
            }
        }
        let mut counts = vec![0; sequences.len()];
        let mut left = stint.batch_tokens;
        for &at in &writing {
            counts[at] = left.min(1);
            left -= counts[at];
        }
        // Beside prompts a guess has no row to itself: they fill the pass.
        let most = if reading.is_empty() { stint.draft_tokens } else { 0 };
        let bars = queue.cost.bars(writing.len(), &queue.guessing);
        for &at in &order {
            let most = if counts[at] == 0 { 0 } else { most.min(left) };
            left -= sequences[at].draft(most, bars.grams);
        }
        if !writing.is_empty() {
            left = left.min(stint.batch_tokens.div_ceil(BESIDE_WRITERS));
        }
        reading.sort_by_key(|&at| sequences[at].unread());
        for (done, &at) in reading.iter().enumerate() {
            // What a short one does not need falls to the longer ones behind it.
            counts[at] = sequences[at].unread().min(left.div_ceil(reading.len() - done));
            left -= counts[at];
        }
        for &at in &order {
            let count = sequences[at].reserve(counts[at], &mut queue.pages, ended);
            *is_short |= count < counts[at];
            counts[at] = count;
        }
        let mut plan = Plan::default();
        let counted = sequences.iter_mut().zip(counts).enumerate().filter(|(_, (_, count))| *count > 0);
        for (at, (sequence, count)) in counted {
            sequence.join(&mut plan, at, count);
        }
        (plan, bars)
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // A panic elsewhere leaves the queue whole.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
