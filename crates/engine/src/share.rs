//! Some of the running sequences, which one thread takes some tokens further by itself.
//!
//! Threads that do not wait for each other after every token lose nothing to the slower one. A share admits requests in
//! the place of those of its own that ended, into their pages first: no page passes from one share to another meanwhile.

use crate::pass::Plan;
use crate::queue::Queue;
use crate::request::{Dropped, Event};
use crate::sequence::Sequence;
use picnic_model::ops::Ops;
use picnic_model::{Model, ParamStore};
use std::sync::{Mutex, PoisonError};

/// The part of a pass that prompts may take while others write: one in so many tokens.
const BESIDE_WRITERS: usize = 4;

/// Sequences with the cache that holds their pages.
pub(crate) struct Share<'c, O: Ops> {
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) cache: &'c mut O::Cache,
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
}

/// What a share came to.
#[derive(Default)]
pub(crate) struct Worked {
    /// The sequences that have not ended.
    pub(crate) sequences: Vec<Sequence>,
    /// The pages of those that have.
    pub(crate) freed: Vec<u32>,
    /// Tokens drawn, each with its round.
    pub(crate) events: Vec<(usize, Event)>,
    /// The request that came last of those that memory ran out for. All can be tried again as they are.
    pub(crate) refused: Option<Dropped>,
}

impl<O: Ops> Share<'_, O> {
    /// Goes on until the stint is over, all sequences have ended, or memory has.
    pub(crate) fn work(
        self,
        ops: &O,
        model: &Model,
        params: &ParamStore<O>,
        queue: &Mutex<Queue>,
        stint: Stint,
    ) -> Worked {
        let mut worked = Worked { sequences: self.sequences, ..Worked::default() };
        for round in 0..stint.rounds {
            if round > 0 && worked.sequences.len() < stint.sequences && !worked.freed.is_empty() {
                worked.admit(queue, stint.sequences);
            }
            let plan = plan(&mut worked.sequences, stint.batch_tokens);
            let Some(last) = plan.last_sequence() else { break };
            match plan.run(ops, model, params, self.cache) {
                Ok(done) => {
                    for done in done {
                        let event = worked.sequences[done.sequence].take(done);
                        worked.events.extend(event.map(|event| (round, event)));
                    }
                    let ended = worked.sequences.extract_if(.., |sequence| sequence.has_ended());
                    worked.freed.extend(ended.flat_map(|sequence| sequence.pages));
                }
                Err(source) => {
                    worked.refused = Some(Dropped { id: worked.sequences[last].id, source });
                    break;
                }
            }
        }
        worked
    }
}

impl Worked {
    /// Fills the places of sequences that ended.
    fn admit(&mut self, queue: &Mutex<Queue>, sequences: usize) {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        while self.sequences.len() < sequences
            && let Some(sequence) = queue.admit(&mut self.freed)
        {
            self.sequences.push(sequence);
        }
    }
}

/// The next tokens of the sequences, as many as fit into a pass.
///
/// Whoever writes has a token in every pass, and a pass in which somebody writes is a short one: it takes no more of the
/// prompts than a part of what it could hold. Prompts share what there is for them equally, so that a short one is read
/// at once beside a long one.
fn plan(sequences: &mut [Sequence], batch_tokens: usize) -> Plan {
    let mut counts = vec![0; sequences.len()];
    let mut left = batch_tokens;
    for (count, _) in counts.iter_mut().zip(&*sequences).filter(|(_, sequence)| sequence.unread() == 1) {
        *count = left.min(1);
        left -= *count;
    }
    if left < batch_tokens {
        left = left.min(batch_tokens.div_ceil(BESIDE_WRITERS));
    }
    let mut reading: Vec<usize> = (0..sequences.len()).filter(|&at| sequences[at].unread() > 1).collect();
    reading.sort_by_key(|&at| sequences[at].unread());
    for (done, &at) in reading.iter().enumerate() {
        // What a short one does not need falls to the longer ones behind it.
        counts[at] = sequences[at].unread().min(left.div_ceil(reading.len() - done));
        left -= counts[at];
    }
    let mut plan = Plan::default();
    for (at, (sequence, count)) in sequences.iter_mut().zip(counts).enumerate().filter(|(_, (_, count))| *count > 0) {
        sequence.join(&mut plan, at, count);
    }
    plan
}
