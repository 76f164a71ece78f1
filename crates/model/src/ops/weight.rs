//! What linear layers multiply by, and what embeddings look rows up in.

use super::Ops;

/// The weight of a linear layer.
pub enum Weight<'a, O: Ops> {
    /// One that may learn, in the layout of its product.
    Learning(&'a O::Buffer),
    /// One as it was stored.
    Frozen(&'a O::Frozen),
}

/// The table of an embedding.
pub enum Table<'a, O: Ops> {
    /// Rows of its own.
    Rows(&'a O::Buffer),
    /// The head's weight, which may learn, in the layout of its product.
    Tied(&'a O::Buffer),
    /// As it was stored, whether it is the head too or not.
    Frozen(&'a O::Frozen),
}

impl<O: Ops> Copy for Weight<'_, O> {}

impl<O: Ops> Clone for Weight<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O: Ops> Copy for Table<'_, O> {}

impl<O: Ops> Clone for Table<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}
