//! Requests that wait, and the pages that they wait for.

use crate::pages::Pages;
use crate::request::{Request, RequestId};
use crate::sequence::Sequence;
use std::collections::VecDeque;

/// Requests in the order in which they came.
pub(crate) struct Queue {
    pub(crate) waiting: VecDeque<(RequestId, Request)>,
    pub(crate) pages: Pages,
}

impl Queue {
    /// Starts the oldest request if there are pages for all that it may come to need, those of `freed` first.
    pub(crate) fn admit(&mut self, freed: &mut Vec<u32>) -> Option<Sequence> {
        let (_, request) = self.waiting.front()?;
        let pages = self.pages.take(request.prompt.len() + request.max_tokens, freed)?;
        let (id, request) = self.waiting.pop_front()?;
        Some(Sequence::new(id, request, pages))
    }
}
