//! Where a tensor lies in its files, and how its rows come out of them.
//!
//! Upstream stores a tensor on its own, as a slice of a larger one (experts in a stack, fused projections), with the
//! rows of each head in another order, or with scales beside it. All of that is said here once, so that the rest of
//! the program sees plain matrices under Hugging Face names. Left out: which tensor is stored how, which the tables of
//! `gguf/` and `folder/` say, and the product of a stored weight with anything.

use std::ops::Range;

use picnic_kernels::stored::StoredType;

use super::encoding::Encoding;
use super::mapped::{MappedFile, SharedBytes};
use super::scales::{Scales, StoredScales};

/// A tensor as the model's code sees it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Sizes, the fastest-running last.
    pub(super) shape: Vec<usize>,
    pub(super) source: Source,
}

/// What a tensor is made of.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Consecutive rows of a file.
    Slice(Slice),
    /// MLA's `kv_b_proj` from llama.cpp's two parts: per head the keys' rows, transposed, then the values'.
    KeysAndValues {
        /// `[heads, kv_lora_rank, qk_nope_head_dim]`.
        keys: Slice,
        /// `[heads, v_head_dim, kv_lora_rank]`.
        values: Slice,
        /// Number of heads.
        heads: usize,
    },
}

/// Consecutive rows of a file. The range has been checked against the file.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    /// Index of the file.
    pub(super) file: usize,
    pub(super) encoding: Encoding,
    pub(super) bytes: Range<usize>,
    /// Set where a head's rows are stored in rotary pairs: the rows of a head.
    pub(super) paired: Option<usize>,
    /// What the stored values are multiplied by, where that does not stand among them.
    pub(super) scales: Option<StoredScales>,
}

/// A matrix as it is stored: its type, and the bytes of each row, without passing through f32.
#[derive(Debug)]
pub struct StoredRows {
    stored: StoredType,
    shape: [usize; 2],
    data: SharedBytes,
    paired: Option<usize>,
    scales: Option<Scales>,
}

impl StoredRows {
    /// Rows of f32 that no file holds, such as those of a weight that learns.
    ///
    /// # Panics
    /// If they are not n·k `values`.
    pub(crate) fn of_values(values: &[f32], [n, k]: [usize; 2]) -> StoredRows {
        assert_eq!(values.len(), n * k, "rows of {n} × {k}");
        let mut bytes = vec![0; size_of_val(values)];
        bytes.as_chunks_mut().0.iter_mut().zip(values).for_each(|(bytes, x)| *bytes = x.to_le_bytes());
        StoredRows {
            stored: StoredType::F32,
            shape: [n, k],
            data: SharedBytes::Made(bytes),
            paired: None,
            scales: None,
        }
    }

    /// The type that says what the bytes mean.
    pub fn stored(&self) -> StoredType {
        self.stored
    }

    /// Outputs n and inputs k.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The bytes of row `row` of the matrix that the model sees, wherever it lies in the file. Panics past the last.
    pub fn row(&self, row: usize) -> &[u8] {
        let width = self.data.len() / self.shape[0];
        let at = self.paired.map_or(row, |head| stored_row(row, head));
        &self.data[at * width..][..width]
    }

    /// Bytes of all rows, without scales that stand beside them.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Factors on the values of each row; `None` where the stored type has its scales among the values.
    pub fn scales(&self) -> Option<&Scales> {
        self.scales.as_ref()
    }
}

impl Entry {
    /// A tensor that lies in its file as the model sees it.
    pub(super) fn plain(file: usize, encoding: Encoding, shape: Vec<usize>, bytes: Range<usize>) -> Entry {
        Entry { shape, source: Source::Slice(Slice { file, encoding, bytes, paired: None, scales: None }) }
    }

    /// Rows `rows` of `shape[0]`, as a tensor of their own; `None` where they are no slice of a file.
    pub(super) fn slice(&self, rows: Range<usize>) -> Option<Entry> {
        let Source::Slice(whole) = &self.source else { return None };
        let (&n, rest) = self.shape.split_first()?;
        let rest: usize = rest.iter().product();
        // A row must be whole blocks; a type of unknown size has no rows.
        whole.encoding.block().filter(|(values, _)| rest > 0 && rest.is_multiple_of(*values))?;
        if n == 0 || whole.paired.is_some() || rows.start > rows.end || rows.end > n {
            return None;
        }
        let width = whole.bytes.len() / n;
        let start = whole.bytes.start;
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        let scales = whole.scales.as_ref().map(|scales| scales.rows_from(rows.start));
        let bytes = start + rows.start * width..start + rows.end * width;
        Some(Entry { shape, source: Source::Slice(Slice { bytes, scales, ..whole.clone() }) })
    }

    /// The matrices of a stack `[count, …]`; `None` where they are no slices of a file, or none.
    pub(super) fn unstacked(&self) -> Option<Vec<Entry>> {
        let &[count, n, ref rest @ ..] = self.shape.as_slice() else { return None };
        let mut flat = Entry { shape: vec![count.checked_mul(n)?], source: self.source.clone() };
        flat.shape.extend(rest);
        (0..count).map(|i| flat.slice(i * n..(i + 1) * n)).collect()
    }

    /// The slices of files that the tensor is made of.
    pub(super) fn slices(&self) -> impl Iterator<Item = &Slice> {
        let (first, second) = match &self.source {
            Source::Slice(slice) => (slice, None),
            Source::KeysAndValues { keys, values, .. } => (keys, Some(values)),
        };
        std::iter::once(first).chain(second)
    }

    /// The values in row-major order; `None` for a stored type that holds no floats or that we do not know.
    pub(super) fn values(&self, files: &[MappedFile]) -> Option<Vec<f32>> {
        match &self.source {
            Source::Slice(slice) => slice.values(files, &self.shape),
            Source::KeysAndValues { keys, values, heads } => {
                let (keys, values) = (keys.decoded(files)?, values.decoded(files)?);
                Some(join_keys_and_values(&keys, &values, *heads, *self.shape.last()?))
            }
        }
    }

    /// The rows as they are stored; `None` where the tensor is no matrix, or none of floats that we know. A tensor that
    /// is no slice of a file is decoded, so its rows are F32.
    pub(super) fn stored(&self, files: &[MappedFile]) -> Option<StoredRows> {
        let shape: [usize; 2] = self.shape.as_slice().try_into().ok()?;
        match &self.source {
            Source::Slice(slice) => {
                // Powers of two are scales of other tensors, not weights.
                let stored = slice.encoding.stored().filter(|&ty| ty != StoredType::F8_E8M0)?;
                let scales = match &slice.scales {
                    None => None,
                    Some(scales) => Some(scales.read(files)?),
                };
                let data = files[slice.file].shared(slice.bytes.clone());
                Some(StoredRows { stored, shape, data, paired: slice.paired, scales })
            }
            Source::KeysAndValues { .. } => Some(StoredRows::of_values(&self.values(files)?, shape)),
        }
    }
}

impl Slice {
    pub(super) fn bytes<'a>(&self, files: &'a [MappedFile]) -> &'a [u8] {
        &files[self.file].bytes()[self.bytes.clone()]
    }

    /// The stored values in the order of the file, without scales.
    fn decoded(&self, files: &[MappedFile]) -> Option<Vec<f32>> {
        self.encoding.decode(self.bytes(files))
    }

    fn values(&self, files: &[MappedFile], shape: &[usize]) -> Option<Vec<f32>> {
        let mut values = self.decoded(files)?;
        if let Some(scales) = &self.scales {
            let scales = scales.read(files)?;
            let width = shape.last().copied().unwrap_or(1);
            for (row, values) in values.chunks_exact_mut(width.max(1)).enumerate() {
                scales.apply(row, values);
            }
        }
        let Some(head) = self.paired else { return Some(values) };
        let rows = shape.first().copied().unwrap_or(0);
        let width = values.len() / rows.max(1);
        let order = (0..rows).flat_map(|row| &values[stored_row(row, head) * width..][..width]);
        Some(order.copied().collect())
    }
}

/// Where the file has row `row` of heads of `head` rows that are stored in rotary pairs: llama.cpp rotates adjacent
/// pairs, so its converter puts row s·(head/2)+i of a head at 2i+s.
fn stored_row(row: usize, head: usize) -> usize {
    let (start, row) = (row - row % head, row % head);
    let (side, pair) = (row / (head / 2), row % (head / 2));
    start + 2 * pair + side
}

/// Which row of the model a file has at `stored`: the other way of [`stored_row`].
pub(super) fn model_row(stored: usize, head: usize) -> usize {
    let (start, stored) = (stored - stored % head, stored % head);
    start + stored % 2 * (head / 2) + stored / 2
}

/// `kv_b_proj` `[heads · (nope + v), rank]` from keys `[heads, rank, nope]` and values `[heads, v, rank]`.
fn join_keys_and_values(keys: &[f32], values: &[f32], heads: usize, rank: usize) -> Vec<f32> {
    let nope = keys.len() / (heads * rank);
    let mut joined = Vec::with_capacity(keys.len() + values.len());
    for (keys, values) in keys.chunks_exact(rank * nope).zip(values.chunks_exact(values.len() / heads)) {
        for row in 0..nope {
            joined.extend(keys.iter().skip(row).step_by(nope));
        }
        joined.extend_from_slice(values);
    }
    joined
}
