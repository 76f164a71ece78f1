//! Memory that is not there.

/// An allocation that the device, or the limit that it was given, refused. Nothing is changed by it: whoever asked can
/// give up that much and go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "out of memory: there are no {} MiB for {operation}; take shorter or fewer sequences at once (in training also a smaller \
     micro_batch_tokens or recompute = true), a smaller model, or close other programs",
    .bytes.div_ceil(1 << 20)
)]
pub struct OutOfMemory {
    /// What the memory was for.
    pub operation: &'static str,
    /// Bytes asked for.
    pub bytes: usize,
}

impl OutOfMemory {
    /// The same refusal, met while doing `operation`.
    pub fn during(self, operation: &'static str) -> OutOfMemory {
        OutOfMemory { operation, ..self }
    }
}
