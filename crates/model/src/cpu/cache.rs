//! Keys and values on the heap: `[page][layer]`, each allocated when it is first written.

use crate::ops::OutOfMemory;
use crate::pool::{Block, Pool};

/// Pages of keys and values.
pub struct CpuCache {
    /// Values that a page takes in each layer.
    page_lens: Vec<usize>,
    /// By number; a page that was never written, or is in another part, is empty.
    pages: Vec<Vec<Block>>,
}

impl CpuCache {
    /// An empty cache for layers whose pages take `page_lens` values.
    pub(super) fn new(page_lens: Vec<usize>) -> CpuCache {
        CpuCache { page_lens, pages: Vec::new() }
    }

    /// The values of `page` in `layer`, which were written.
    pub(super) fn page(&self, page: u32, layer: usize) -> &[f32] {
        &self.pages[page as usize][layer]
    }

    /// The values of `page` in `layer`, to be written.
    pub(super) fn page_mut(&mut self, page: u32, layer: usize, pool: &Pool) -> Result<&mut [f32], OutOfMemory> {
        let page = page as usize;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Vec::new);
        }
        let layers = &mut self.pages[page];
        // Layers are written in order, so at most the one asked for is missing.
        while layers.len() <= layer {
            layers
                .push(pool.block(self.page_lens[layers.len()]).map_err(|e| e.during("the cache of keys and values"))?);
        }
        Ok(&mut layers[layer])
    }

    /// Moves `pages` into a cache of their own.
    pub(super) fn take(&mut self, pages: &[u32]) -> CpuCache {
        let mut part = CpuCache::new(self.page_lens.clone());
        for &page in pages {
            let page = page as usize;
            if let Some(layers) = self.pages.get_mut(page).map(std::mem::take) {
                part.pages.resize_with(part.pages.len().max(page + 1), Vec::new);
                part.pages[page] = layers;
            }
        }
        part
    }

    /// Moves the pages of `part` back.
    pub(super) fn put(&mut self, part: CpuCache) {
        self.pages.resize_with(self.pages.len().max(part.pages.len()), Vec::new);
        for (mine, theirs) in self.pages.iter_mut().zip(part.pages).filter(|(_, theirs)| !theirs.is_empty()) {
            *mine = theirs;
        }
    }
}
