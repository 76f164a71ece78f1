//! What linear layers multiply by, and what embeddings look rows up in.

use super::{Dims, Ops};

/// How the weights of a model that does not learn are kept and multiplied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WeightForm {
    /// They stay as the file has them, and each product is exact: the bits of training.
    #[default]
    Exact,
    /// Floats, be they of 8 bits, are rounded to Q8_0; ggml's other block types stay as the file has them. Products are of
    /// integers, for which inputs are rounded to 8 bits as well.
    Q8,
    /// Floats and Q8_0 are rounded to Q4_0, those of the head to Q8_0; all else is as for [`Q8`](WeightForm::Q8).
    Q4,
}

/// The weight of a linear layer.
pub enum Weight<'a, O: Ops> {
    /// One that may learn, in the layout of its product.
    Learning(&'a O::Buffer),
    /// One as it was stored.
    Frozen(&'a O::Frozen),
}

/// One of several linear layers that read the same rows.
pub struct Linear<'a, O: Ops> {
    /// Its weight.
    pub weight: Weight<'a, O>,
    /// What is added to each row, `[n]`.
    pub bias: Option<&'a O::Buffer>,
    /// Where its outputs go, `[T, n]`.
    pub y: &'a mut O::Buffer,
    /// Outputs and inputs of the weight.
    pub dims: Dims,
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
