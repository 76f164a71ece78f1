//! Causal attention with grouped queries (Vaswani et al. 2017, §3.2; GQA: Ainslie et al. 2023), forward and backward.
//!
//! out = softmax(scale · Q·Kᵀ, causal) · V. Keys may be wider than values, as in MLA without absorption (DeepSeek-V2,
//! §2.1), where every head has its own keys; with absorption all heads have one key, and its beginning is the value.
//!
//! Arithmetic, for one query row: s = (chain q·k) · scale; the maximum of s; p = exp(s − max); their sum by 32 lanes of
//! the key's position; then (chain over keys in order of p·v) / sum. Masked keys have p = +0. So a row's bits are the
//! same computed in one pass, in chunks or token by token from a cache, alone or in a batch. Over pages that round, the
//! keys are taken in segments of 256 positions, each with a maximum m and sums of its own; a later segment is merged into
//! the earlier ones by x·exp(m − M) + x'·exp(m' − M), M being the larger maximum, and the division comes last.
//!
//! [`pages`] holds keys and values in the layout of the products, [`forward`](mod@forward) attends to them and
//! [`backward`](mod@backward) is the gradient. Left out: attention that is not causal, sliding windows and sinks.
//!
//! T: rows (tokens of all sequences), H: query heads.

pub mod backward;
pub mod forward;
pub mod pages;
mod rows;
pub mod segments;
#[cfg(test)]
mod tests;

pub use backward::backward;
pub use forward::{CachedSpan, forward, forward_cached};
pub use pages::{Form, PAGE, append, page_len, read_keys};
pub use segments::{InSegments, SEGMENT};

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; `heads` is a multiple, and query head h reads head h / (heads / kv_heads).
    pub kv_heads: usize,
    /// Width of a query or key.
    pub dk: usize,
    /// Width of a value.
    pub dv: usize,
    /// What q·k is multiplied by, usually dk^−½.
    pub scale: f32,
    /// Whether a value is the first `dv` numbers of its key, and pages keep keys alone (MLA's latents).
    pub latent: bool,
}

impl Shape {
    /// Query heads for each key/value head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn check(&self) {
        assert!(
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            "{} heads are not shared out over {} key/value heads",
            self.heads,
            self.kv_heads
        );
        assert!(!self.latent || self.dv <= self.dk, "values of {} within keys of {}", self.dv, self.dk);
    }
}
