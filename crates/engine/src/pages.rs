//! Which pages of the cache are free. A page holds consecutive tokens of one sequence, in every layer.

/// Hands out page numbers below a limit.
pub(crate) struct Pages {
    free: Vec<u32>,
    next: u32,
    limit: u32,
    page_tokens: usize,
}

impl Pages {
    /// As many whole pages of `page_tokens` as hold `tokens`.
    pub(crate) fn new(tokens: usize, page_tokens: usize) -> Pages {
        let limit = u32::try_from(tokens / page_tokens).unwrap_or(u32::MAX);
        Pages { free: Vec::new(), next: 0, limit, page_tokens }
    }

    /// Tokens that all pages hold: the most that one sequence can ever get.
    pub(crate) fn tokens(&self) -> usize {
        (self.limit as usize).saturating_mul(self.page_tokens)
    }

    /// Pages that `tokens` tokens fill.
    fn needed(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.page_tokens)
    }

    /// Pages for `tokens` tokens, out of `freed` first, or none if there are not that many left.
    pub(crate) fn take(&mut self, tokens: usize, freed: &mut Vec<u32>) -> Option<Vec<u32>> {
        let count = self.needed(tokens);
        let reused = count.min(freed.len());
        let fresh = (count - reused).saturating_sub(self.free.len());
        if fresh > (self.limit - self.next) as usize {
            return None;
        }
        let mut pages = freed.split_off(freed.len() - reused);
        pages.extend(self.free.split_off(self.free.len() - (count - reused - fresh)));
        pages.extend(self.next..self.next + fresh as u32);
        self.next += fresh as u32;
        Some(pages)
    }

    /// Takes pages back.
    pub(crate) fn give(&mut self, pages: Vec<u32>) {
        self.free.extend(pages);
    }

    /// Pages that were in use and are not now.
    pub(crate) fn free(&self) -> &[u32] {
        &self.free
    }

    /// Tokens that the pages in use hold.
    pub(crate) fn tokens_used(&self) -> usize {
        (self.next as usize - self.free.len()) * self.page_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back() {
        let (mut pages, mut none) = (Pages::new(57, 10), Vec::new());
        assert_eq!(pages.tokens(), 50);
        let mut a = pages.take(21, &mut none).unwrap();
        assert!(a.len() == 3 && pages.take(30, &mut none).is_none());
        let b = pages.take(20, &mut none).unwrap();
        assert_eq!(pages.tokens_used(), 50);
        let one = pages.take(10, &mut a).unwrap();
        assert!(a.len() == 2 && !a.contains(&one[0]) && pages.take(30, &mut a).is_none());
        pages.give(a);
        pages.give(one);
        let c = pages.take(30, &mut none).unwrap();
        assert!(c.iter().all(|page| !b.contains(page)));
        assert!(pages.take(1, &mut none).is_none());
    }
}
