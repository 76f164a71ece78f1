//! Requests that wait, and the pages that they wait for.

use crate::counters::Counters;
use crate::drafts::Cost;
use crate::pages::Pages;
use crate::request::RequestId;
use crate::sequence::Sequence;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A place in the queue: higher priorities first, then who came first.
pub(crate) type Place = (Reverse<i32>, RequestId);

/// Requests in the order in which they start, those that had to give their pages back among them, and what all shares
/// know in common.
pub(crate) struct Queue {
    pub(crate) waiting: BTreeMap<Place, Sequence>,
    pub(crate) pages: Pages,
    /// Of passes that only write.
    pub(crate) cost: Cost,
    /// Of guesses by the model's module.
    pub(crate) guessing: Cost,
    /// Without what can be seen of the engine at any time.
    pub(crate) counters: Counters,
}

impl Queue {
    pub(crate) fn new(pages: Pages) -> Queue {
        let (cost, guessing) = (Cost::default(), Cost::default());
        Queue { waiting: BTreeMap::new(), pages, cost, guessing, counters: Counters::default() }
    }

    /// Has `sequence` wait.
    pub(crate) fn push(&mut self, sequence: Sequence) {
        self.waiting.insert(sequence.place(), sequence);
    }

    /// Starts the first request if there are pages for what it has so far and one for each of `running` others, which may
    /// need one next. It shares those that `holds` says can be read; `ended` are pages about to be given back.
    pub(crate) fn admit(
        &mut self,
        running: usize,
        ended: &mut Vec<u32>,
        holds: impl Fn(u32) -> bool,
    ) -> Option<Sequence> {
        let (_, sequence) = self.waiting.first_key_value()?;
        let opened = self.pages.open(sequence.space(), &sequence.findable(), running + 1, ended, holds)?;
        let (_, mut sequence) = self.waiting.pop_first()?;
        if let Some(reused) = sequence.open(opened, &self.pages) {
            self.counters.prompt_tokens += sequence.prompt() as u64;
            self.counters.reused_tokens += reused as u64;
        }
        Some(sequence)
    }

    /// Takes the pages of a running sequence back and has it wait; they are read again when it goes on.
    pub(crate) fn preempt(&mut self, mut sequence: Sequence) {
        self.counters.preempted += 1;
        self.pages.give(sequence.close());
        self.push(sequence);
    }
}
