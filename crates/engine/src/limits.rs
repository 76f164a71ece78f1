//! How much an engine does at once, and what of it fits into memory.

use picnic_model::Model;
use picnic_model::ops::Ops;

/// How much the engine does at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sequences running at once.
    pub sequences: usize,
    /// Tokens in a step.
    pub batch_tokens: usize,
    /// Tokens that the cache holds, over all sequences, in whole pages.
    pub cache_tokens: usize,
}

impl Limits {
    /// Cache for `sequences` sequences of `tokens` tokens each on `O`.
    pub fn cache_for<O: Ops>(sequences: usize, tokens: usize) -> usize {
        tokens.div_ceil(O::PAGE_TOKENS).saturating_mul(O::PAGE_TOKENS).saturating_mul(sequences)
    }

    /// As much cache for `model` as `bytes` hold, at least a page.
    pub fn cache_in<O: Ops>(ops: &O, model: &Model, bytes: usize) -> usize {
        let page_bytes = ops.page_bytes(&model.cache_layout());
        (bytes / page_bytes.max(1)).max(1).saturating_mul(O::PAGE_TOKENS)
    }
}
