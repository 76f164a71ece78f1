//! Matrices that do not learn: weights in the layout of their product, and tables as their file has them.

use crate::checkpoint::StoredRows;
use crate::ops::{OutOfMemory, WeightForm};
use half::f16;
use picnic_kernels::stored::StoredType;
use picnic_kernels::weight::{Frozen, RowScales, Stored, integer};
use picnic_kernels::{Cpu, embedding};

/// A frozen matrix.
pub enum CpuFrozen {
    /// What products multiply by exactly, as it was stored; rows can be looked up in it too.
    Weight(Frozen),
    /// The same in a block type, to which it may have been rounded, multiplied in integers.
    Integer(Frozen),
    /// What rows are looked up in.
    Table(StoredRows),
}

impl CpuFrozen {
    pub(super) fn weight(cpu: &Cpu, stored: &StoredRows, form: WeightForm) -> Result<CpuFrozen, OutOfMemory> {
        let (ty, [_, k]) = (stored.stored(), stored.shape());
        let is_integer = form != WeightForm::Exact && k.is_multiple_of(integer::GROUP);
        let rounded = match form {
            _ if !is_integer => None,
            WeightForm::Q4 if !integer::is_defined(ty) || ty == StoredType::Q8_0 => Some(StoredType::Q4_0),
            _ => (!integer::is_defined(ty)).then_some(StoredType::Q8_0),
        };
        let frozen = with_stored(stored, |stored| match rounded {
            None => Frozen::repack(&cpu.team, stored),
            Some(ty) => Frozen::encode(&cpu.team, stored, ty),
        });
        let frozen = frozen.map_err(|_| OutOfMemory { operation: "a weight", bytes: stored.bytes() })?;
        Ok(if is_integer { CpuFrozen::Integer(frozen) } else { CpuFrozen::Weight(frozen) })
    }

    /// Rows `[n, k]` in 16-bit floats.
    pub(super) fn rounded(cpu: &Cpu, rows: &[f32], n: usize, k: usize) -> Result<CpuFrozen, OutOfMemory> {
        let bytes: Vec<u8> = rows.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        let row = |row: usize| &bytes[2 * row * k..][..2 * k];
        let stored = Stored { ty: StoredType::F16, n, k, row: &row, scales: None };
        let frozen = Frozen::repack(&cpu.team, &stored);
        frozen.map(CpuFrozen::Weight).map_err(|_| OutOfMemory { operation: "a weight", bytes: bytes.len() })
    }

    /// Rows `ids`, one after another.
    pub(super) fn look_up(&self, cpu: &Cpu, ids: &[u32], out: &mut [f32]) {
        match self {
            CpuFrozen::Weight(frozen) | CpuFrozen::Integer(frozen) => {
                embedding::forward_tied(cpu, frozen.into(), ids, out);
            }
            CpuFrozen::Table(rows) => {
                with_stored(rows, |stored| embedding::forward_stored(cpu, stored, ids, out));
            }
        }
    }

    /// All rows.
    pub(super) fn rows(&self, cpu: &Cpu) -> Vec<f32> {
        let [n, k] = match self {
            CpuFrozen::Weight(frozen) | CpuFrozen::Integer(frozen) => [frozen.n(), frozen.k()],
            CpuFrozen::Table(rows) => rows.shape(),
        };
        let mut out = vec![0.0; n * k];
        let ids: Vec<u32> = (0..n as u32).collect();
        self.look_up(cpu, &ids, &mut out);
        out
    }

    /// Bytes that it keeps.
    pub(super) fn bytes(&self) -> usize {
        match self {
            CpuFrozen::Weight(frozen) | CpuFrozen::Integer(frozen) => frozen.bytes(),
            CpuFrozen::Table(rows) => rows.bytes(),
        }
    }
}

/// Calls `work` with the rows as kernels see them.
fn with_stored<T>(rows: &StoredRows, work: impl FnOnce(&Stored) -> T) -> T {
    let [n, k] = rows.shape();
    let row = |n: usize| rows.row(n);
    let scales = rows.scales();
    let scale_row = |n: usize| scales.map_or(&[][..], |scales| scales.row(n));
    let row_scales = scales.map(|scales| RowScales { row: &scale_row, block_k: scales.width() });
    work(&Stored { ty: rows.stored(), n, k, row: &row, scales: row_scales })
}
