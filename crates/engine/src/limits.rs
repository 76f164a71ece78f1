//! How much an engine does at once, and what of it fits into memory.

use picnic_model::Model;
use picnic_model::ops::{AttentionShape, CacheForm, Ops};

/// How much the engine does at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sequences running at once.
    pub sequences: usize,
    /// Tokens in a step.
    pub batch_tokens: usize,
    /// Tokens that the cache holds, over all sequences, in whole pages.
    pub cache_tokens: usize,
    /// How many of these may be of requests that have ended, kept for whoever begins alike as long as nobody needs their
    /// room.
    pub kept_tokens: usize,
    /// Tokens that a sequence guesses at most and has checked in the same pass; 0 for no guessing. Answers do not depend
    /// on it. With guesses a model's module for multi-token prediction has a layer in the cache.
    pub draft_tokens: usize,
    /// How the cache keeps keys and values.
    pub cache: CacheForm,
}

impl Limits {
    /// An exact cache of which nothing is kept for others, and no guesses.
    pub const fn new(sequences: usize, batch_tokens: usize, cache_tokens: usize) -> Limits {
        Limits { sequences, batch_tokens, cache_tokens, kept_tokens: 0, draft_tokens: 0, cache: CacheForm::Exact }
    }

    /// Cache for `sequences` sequences of `tokens` tokens each on `O`.
    pub fn cache_for<O: Ops>(sequences: usize, tokens: usize) -> usize {
        tokens.div_ceil(O::PAGE_TOKENS).saturating_mul(O::PAGE_TOKENS).saturating_mul(sequences)
    }

    /// Tokens of cache for `model` that `bytes` hold under these limits, at least a page of them.
    pub fn cache_in<O: Ops>(&self, ops: &O, model: &Model, bytes: usize) -> usize {
        let page_bytes = ops.page_bytes(&self.layout(model), self.cache);
        (bytes / page_bytes.max(1)).max(1).saturating_mul(O::PAGE_TOKENS)
    }

    /// Whether the module of `model` for multi-token prediction reads along and guesses.
    pub(crate) fn asks_module(&self, model: &Model) -> bool {
        self.draft_tokens > 0 && model.has_mtp()
    }

    /// What the cache holds of a position in each layer of `model`, and of its module if that reads along.
    pub(crate) fn layout(&self, model: &Model) -> Vec<AttentionShape> {
        let mut layout = model.cache_layout(self.cache);
        if self.asks_module(model) {
            layout.extend(model.mtp_cache(self.cache));
        }
        layout
    }
}
