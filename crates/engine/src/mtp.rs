//! A model's own module for multi-token prediction beside the main model, to guess one token ahead (DeepSeek-V3, sections
//! 2.2 and 5.4.3).
//!
//! From the main model's hidden state at one token and from the token after it, the module says what comes after that
//! one. Its keys and values are one layer more in the pages of the cache, written for every row of every pass, so that all
//! that holds for pages holds for them: they are shared, given back, read again and counted with the others. Reading
//! along takes no attention, no feed-forward and no head. Those run only for the last row of a sequence that wants a guess.
//!
//! The key of a page's last token depends on the token after the page, by which the page is not found. So of sequences
//! that share it and go on differently, all but one find a key that is not quite theirs. A guess may be worse for it; what
//! is answered never depends on a guess.

use crate::pass::Weights;
use picnic_model::arch::Followed;
use picnic_model::layers::Past;
use picnic_model::ops::{CachedSpan, Draw, Ops, OutOfMemory, Position};
use picnic_model::{Batch, Tape, Var};
use std::ops::Range;
use std::time::{Duration, Instant};

/// What the module hears of a pass: its rows, each with the token that follows it.
#[derive(Default)]
pub(crate) struct Heard {
    /// Rows that are only read.
    read: Rows,
    /// Rows that are guessed from.
    ask: Rows,
    /// For each sequence, whether one of those is its own.
    asked: Vec<bool>,
}

/// What the module said.
#[derive(Default)]
pub(crate) struct Said {
    /// For each sequence the token after those that came, if it was asked.
    pub(crate) guesses: Vec<Option<u32>>,
    /// How many it was asked for.
    pub(crate) count: usize,
    /// What that took, without reading along.
    pub(crate) took: Duration,
}

impl Heard {
    /// Adds the rows of the next sequence that `next` follow, the first ones of `span`, in a pass over `positions`. The last
    /// of them is asked for a guess if `asks`.
    pub(crate) fn add(&mut self, span: &CachedSpan, positions: &[Position], next: &[u32], asks: bool) {
        let read = next.len() - usize::from(asks);
        self.read.add(span, positions, next, 0..read);
        self.ask.add(span, positions, next, read..next.len());
        self.asked.push(asks);
    }

    /// Has the module read the rows of the pass, whose `hidden` states these are, and guess.
    pub(crate) fn say<'m, O: Ops>(
        self,
        tape: &mut Tape<'m, O>,
        weights: &Weights<'m, O>,
        cache: &mut O::Cache,
        hidden: &Var<O>,
    ) -> Result<Said, OutOfMemory> {
        let Weights { model, params, absorbed, .. } = *weights;
        if let Some((followed, spans)) = self.read.followed() {
            model.mtp_keep(tape, params, hidden, &followed, &mut Past::Cached(cache, &spans, absorbed))?;
        }
        let Some((followed, spans)) = self.ask.followed() else {
            return Ok(Said { guesses: vec![None; self.asked.len()], ..Said::default() });
        };
        let (clock, count) = (Instant::now(), spans.len());
        let states = model.mtp_rows(tape, params, hidden, &followed, &mut Past::Cached(cache, &spans, absorbed))?;
        let rows: Vec<u32> = (0..count as u32).collect();
        let logits = tape.logits(&states, model.head(params), &rows)?;
        let mut said = tape.ops.sample(logits.value(), &vec![Draw::GREEDY; count])?.into_iter();
        let guesses = self.asked.iter().map(|&asked| if asked { Some(said.next()?.token) } else { None }).collect();
        Ok(Said { guesses, count, took: clock.elapsed() })
    }
}

/// Rows of several sequences.
#[derive(Default)]
struct Rows {
    rows: Vec<u32>,
    ids: Vec<u32>,
    positions: Vec<Position>,
    spans: Vec<CachedSpan>,
}

impl Rows {
    /// Adds the rows `part` of `span`, counted from its first.
    fn add(&mut self, span: &CachedSpan, positions: &[Position], next: &[u32], part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        let (first, start) = (span.rows.start + part.start, self.rows.len());
        self.rows.extend((first..first + part.len()).map(|row| row as u32));
        self.positions.extend(&positions[first..first + part.len()]);
        self.ids.extend(&next[part.clone()]);
        let (rows, start) = (start..self.rows.len(), span.start + part.start);
        self.spans.push(CachedSpan { rows, start, ..span.clone() });
    }

    /// The rows with what they go on from; `None` if there is none.
    fn followed(self) -> Option<(Followed, Vec<CachedSpan>)> {
        let spans = self.spans.iter().map(|span| span.rows.clone()).collect();
        let next = Batch { ids: self.ids, positions: self.positions.into(), spans };
        (!self.rows.is_empty()).then_some((Followed { rows: self.rows, next }, self.spans))
    }
}
