//! Which pages of the cache are free. A page holds 32 tokens of one sequence, in every layer.

/// Tokens in a page.
pub(crate) const PAGE: usize = picnic_model::kernels::attention::PAGE;

/// Hands out page numbers below a limit.
pub(crate) struct Pages {
    free: Vec<u32>,
    next: u32,
    limit: u32,
}

impl Pages {
    pub(crate) fn new(limit: usize) -> Pages {
        Pages { free: Vec::new(), next: 0, limit: u32::try_from(limit).unwrap_or(u32::MAX) }
    }

    /// Tokens that all pages hold: the most that one sequence can ever get.
    pub(crate) fn tokens(&self) -> usize {
        (self.limit as usize).saturating_mul(PAGE)
    }

    /// Pages that `tokens` tokens fill.
    pub(crate) fn needed(tokens: usize) -> usize {
        tokens.div_ceil(PAGE)
    }

    /// `count` pages, or none if there are not that many left.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u32>> {
        let fresh = count.saturating_sub(self.free.len());
        if fresh > (self.limit - self.next) as usize {
            return None;
        }
        let mut pages = self.free.split_off(self.free.len() - (count - fresh));
        pages.extend(self.next..self.next + fresh as u32);
        self.next += fresh as u32;
        Some(pages)
    }

    /// Takes pages back.
    pub(crate) fn give(&mut self, pages: Vec<u32>) {
        self.free.extend(pages);
    }

    /// Pages in use.
    pub(crate) fn used(&self) -> usize {
        self.next as usize - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back() {
        let mut pages = Pages::new(5);
        let a = pages.take(3).unwrap();
        assert!(pages.take(3).is_none());
        let b = pages.take(2).unwrap();
        assert_eq!(pages.used(), 5);
        pages.give(a);
        let c = pages.take(3).unwrap();
        assert!(c.iter().all(|page| !b.contains(page)));
        assert!(pages.take(1).is_none());
    }
}
