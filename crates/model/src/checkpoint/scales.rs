//! Scales that stand beside a tensor: one factor for each block of its rows and columns.
//!
//! DeepSeek-V3's FP8 files have `NAME_scale_inv` beside `NAME` for blocks of 128 × 128 (§3.3.2 of the report; the
//! value is the factor itself, its name notwithstanding), in F32, in BF16, or as powers of two in F8_E8M0.

use std::ops::Range;

use super::encoding::Encoding;
use super::mapped::MappedFile;

/// Factors on the blocks of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Scales {
    values: Vec<f32>,
    layout: Layout,
}

/// Which factor belongs to which value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    /// Blocks in a row of blocks.
    columns: usize,
    /// Rows and columns of a block; the last of either may be smaller.
    block: [usize; 2],
    /// How many rows of the scaled tensor come before the first of ours.
    first: usize,
}

/// Scales that have not been read yet. Their range has been checked against their file.
#[derive(Debug, Clone)]
pub(super) struct StoredScales {
    file: usize,
    encoding: Encoding,
    bytes: Range<usize>,
    layout: Layout,
}

impl Scales {
    /// The factors of row `row`: one for each [`Scales::width`] columns, the last of which may be fewer. Panics past
    /// the last row.
    pub fn row(&self, row: usize) -> &[f32] {
        let Layout { columns, block, first } = self.layout;
        &self.values[(first + row) / block[0] * columns..][..columns]
    }

    /// How many columns share a factor.
    pub fn width(&self) -> usize {
        self.layout.block[1]
    }

    /// Multiplies the values of row `row`.
    pub(super) fn apply(&self, row: usize, values: &mut [f32]) {
        for (values, scale) in values.chunks_mut(self.width()).zip(self.row(row)) {
            values.iter_mut().for_each(|x| *x *= scale);
        }
    }
}

impl StoredScales {
    /// `count` scales in `bytes` of the file `file`, for blocks of a matrix `[n, k]`; `None` if they are not as many
    /// as it has blocks.
    pub(super) fn new(
        (file, encoding, bytes): (usize, Encoding, Range<usize>),
        count: usize,
        [n, k]: [usize; 2],
        block: [usize; 2],
    ) -> Option<StoredScales> {
        if block.contains(&0) {
            return None;
        }
        let columns = k.div_ceil(block[1]);
        let fits = count == n.div_ceil(block[0]).checked_mul(columns)?;
        fits.then_some(StoredScales { file, encoding, bytes, layout: Layout { columns, block, first: 0 } })
    }

    /// The scales of the rows from `start` on.
    pub(super) fn rows_from(&self, start: usize) -> StoredScales {
        let mut rows = self.clone();
        rows.layout.first += start;
        rows
    }

    /// Reads them; `None` for a stored type that holds no floats.
    pub(super) fn read(&self, files: &[MappedFile]) -> Option<Scales> {
        let values = self.encoding.decode(&files[self.file].bytes()[self.bytes.clone()])?;
        Some(Scales { values, layout: self.layout })
    }
}
