//! Keys and values on the heap: `[page][layer]`, each allocated when it is first written.

use crate::ops::OutOfMemory;
use crate::pool::{Block, Pool};
use picnic_kernels::attention::Form;
use std::sync::Arc;

/// Pages of keys and values.
pub struct CpuCache {
    form: Form,
    /// Values that a page takes in each layer.
    page_lens: Vec<usize>,
    /// By number, the layers of each; a page that was never written, or is in another part, is empty. Parts that read one
    /// page hold it together.
    pages: Vec<Arc<Vec<Block>>>,
}

impl CpuCache {
    /// An empty cache of `form` for layers whose pages take `page_lens` values.
    pub(super) fn new(page_lens: Vec<usize>, form: Form) -> CpuCache {
        CpuCache { form, page_lens, pages: Vec::new() }
    }

    /// How its pages keep numbers.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// The values of `page` in `layer`, which were written.
    pub(super) fn page(&self, page: u32, layer: usize) -> &[f32] {
        &self.pages[page as usize][layer]
    }

    /// The values of `page` in `layer`, to be written.
    pub(super) fn page_mut(&mut self, page: u32, layer: usize, pool: &Pool) -> Result<&mut [f32], OutOfMemory> {
        let page = page as usize;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Arc::default);
        }
        let layers = Arc::get_mut(&mut self.pages[page]).expect("a page that several parts read is not written");
        // Layers are written in order, so at most the one asked for is missing.
        while layers.len() <= layer {
            layers
                .push(pool.block(self.page_lens[layers.len()]).map_err(|e| e.during("the cache of keys and values"))?);
        }
        Ok(&mut layers[layer])
    }

    /// The values of `page`, layer by layer, four bytes each whatever they stand for, the lowest first.
    pub(super) fn save(&self, page: u32) -> Vec<u8> {
        let layers = self.pages.get(page as usize).map_or(&[][..], |layers| &layers[..]);
        let mut bytes = vec![0; layers.iter().map(|layer| size_of_val(&layer[..])).sum()];
        let words = bytes.as_chunks_mut().0.iter_mut();
        // A value may be any bits, of which none is lost on the way.
        words.zip(layers.iter().flat_map(|layer| layer.iter())).for_each(|(word, x)| *word = x.to_bits().to_le_bytes());
        bytes
    }

    /// Writes what [`CpuCache::save`] gave to `page`.
    pub(super) fn restore(&mut self, page: u32, bytes: &[u8], pool: &Pool) -> Result<(), OutOfMemory> {
        let lens = self.page_lens.clone();
        assert_eq!(bytes.len(), lens.iter().sum::<usize>() * size_of::<f32>(), "bytes of a page");
        let mut words = bytes.as_chunks().0;
        for (layer, len) in lens.into_iter().enumerate() {
            let (own, rest) = words.split_at(len);
            words = rest;
            let values = self.page_mut(page, layer, pool)?;
            values.iter_mut().zip(own).for_each(|(x, word)| *x = f32::from_bits(u32::from_le_bytes(*word)));
        }
        Ok(())
    }

    /// A cache of its own for each of `parts`, with its pages, which leave this one.
    pub(super) fn split(&mut self, parts: &[Vec<u32>]) -> Vec<CpuCache> {
        let part = |numbers: &Vec<u32>| {
            let mut part = CpuCache::new(self.page_lens.clone(), self.form);
            for &page in numbers {
                let page = page as usize;
                if let Some(layers) = self.pages.get(page) {
                    part.pages.resize_with(part.pages.len().max(page + 1), Arc::default);
                    part.pages[page] = Arc::clone(layers);
                }
            }
            part
        };
        let split = parts.iter().map(part).collect();
        for &page in parts.iter().flatten() {
            if let Some(layers) = self.pages.get_mut(page as usize) {
                *layers = Arc::default();
            }
        }
        split
    }

    /// Takes the pages of `parts` back.
    pub(super) fn join(&mut self, parts: Vec<CpuCache>) {
        for part in parts {
            self.pages.resize_with(self.pages.len().max(part.pages.len()), Arc::default);
            for (mine, theirs) in self.pages.iter_mut().zip(part.pages).filter(|(_, theirs)| !theirs.is_empty()) {
                *mine = theirs;
            }
        }
    }
}
