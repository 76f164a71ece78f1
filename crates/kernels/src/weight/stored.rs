//! A weight as a file has it: rows of bytes that are decoded on demand.
//!
//! It is what a frozen weight is made from, and as it stands the table of an embedding that is no head.

use crate::stored::StoredType;

/// A matrix `[N, K]` in rows. Where its rows come from is the owner's business: they may be permuted, or taken from
/// several tensors.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// The type of its values.
    pub ty: StoredType,
    /// Rows: outputs, or tokens.
    pub n: usize,
    /// Values of a row, a whole number of blocks.
    pub k: usize,
    /// The bytes of a row, `ty.bytes(k)` many.
    pub row: &'a (dyn Fn(usize) -> &'a [u8] + Sync),
    /// Scales beside the bytes, as DeepSeek's 8-bit floats have them; for [`StoredType::F8_E4M3`] alone.
    pub scales: Option<RowScales<'a>>,
}

/// Factors of the values of a matrix.
#[derive(Clone, Copy)]
pub struct RowScales<'a> {
    /// The factors of a row, one for every `block_k` values.
    pub row: &'a (dyn Fn(usize) -> &'a [f32] + Sync),
    /// Values that share a factor; the last ones may be fewer.
    pub block_k: usize,
}

impl<'a> Stored<'a> {
    /// Decodes row `n`. Panics if there is none, or if its bytes are not as many as its values want.
    pub fn decode_row(&self, n: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.k, "rows have {} values", self.k);
        self.ty.decode(self.bytes(n), out);
        if let Some(scales) = self.scales {
            for (out, scale) in out.chunks_mut(scales.block_k).zip((scales.row)(n)) {
                out.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }

    /// The bytes of row `n`.
    pub(super) fn bytes(&self, n: usize) -> &'a [u8] {
        assert!(n < self.n, "row {n} of {}", self.n);
        let bytes = (self.row)(n);
        assert_eq!(Some(bytes.len()), self.ty.bytes(self.k), "bytes of a row of {} {}", self.k, self.ty);
        bytes
    }

    /// Panics if the scales do not fit the type or the rows.
    pub(super) fn check(&self) {
        if let Some(scales) = self.scales {
            assert!(self.ty == StoredType::F8_E4M3, "scales beside {}", self.ty);
            assert!(scales.block_k > 0, "scales of no values");
            let found = if self.n == 0 { 0 } else { (scales.row)(0).len() };
            assert!(self.n == 0 || found == self.k.div_ceil(scales.block_k), "{found} scales for {} values", self.k);
        }
    }
}
