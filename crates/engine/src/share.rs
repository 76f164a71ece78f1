//! Some of the running sequences, which one thread takes some tokens further by itself.
//!
//! Threads that do not wait for each other after every token lose nothing to the slower one.

use crate::pass::Plan;
use crate::request::{Dropped, Event};
use crate::sequence::Sequence;
use picnic_model::ops::Ops;
use picnic_model::{Model, ParamStore};

/// Sequences with the cache that holds their pages.
pub(crate) struct Share<'c, O: Ops> {
    /// Each with its place among all that run.
    pub(crate) sequences: Vec<(usize, Sequence)>,
    /// Their pages.
    pub(crate) cache: &'c mut O::Cache,
}

/// What a share came to.
pub(crate) struct Worked {
    /// The sequences again.
    pub(crate) sequences: Vec<(usize, Sequence)>,
    /// Tokens drawn, each with its round and its sequence's place.
    pub(crate) events: Vec<(usize, usize, Event)>,
    /// The request that came last of those that memory ran out for. The others can be tried again as they are.
    pub(crate) refused: Option<Dropped>,
}

impl<O: Ops> Share<'_, O> {
    /// Goes `rounds` passes of at most `batch_tokens` tokens ahead, or less if all sequences end or memory does.
    pub(crate) fn work(
        self,
        ops: &O,
        model: &Model,
        params: &ParamStore<O>,
        rounds: usize,
        batch_tokens: usize,
    ) -> Worked {
        let Share { mut sequences, cache } = self;
        let (mut events, mut refused) = (Vec::new(), None);
        for round in 0..rounds {
            let plan = plan(&mut sequences, batch_tokens);
            let Some(last) = plan.last_sequence() else { break };
            match plan.run(ops, model, params, cache) {
                Ok(done) => {
                    for done in done {
                        let (place, sequence) = &mut sequences[done.sequence];
                        events.extend(sequence.take(done).map(|event| (round, *place, event)));
                    }
                }
                Err(source) => {
                    refused = Some(Dropped { id: sequences[last].1.id, source });
                    break;
                }
            }
        }
        Worked { sequences, events, refused }
    }
}

/// The next tokens of the sequences that have not ended, as many as fit into a pass.
fn plan(sequences: &mut [(usize, Sequence)], batch_tokens: usize) -> Plan {
    let mut plan = Plan::default();
    for (at, (_, sequence)) in sequences.iter_mut().enumerate().filter(|(_, (_, sequence))| !sequence.has_ended()) {
        let count = sequence.unread().min(batch_tokens - plan.len());
        if count == 0 {
            break;
        }
        sequence.join(&mut plan, at, count);
    }
    plan
}
