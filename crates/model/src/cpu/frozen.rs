//! Matrices that do not learn: weights in the layout of their product, and tables as their file has them.

use crate::checkpoint::StoredRows;
use crate::ops::OutOfMemory;
use picnic_kernels::weight::{Frozen, RowScales, Stored};
use picnic_kernels::{Cpu, embedding};

/// A frozen matrix.
pub enum CpuFrozen {
    /// What products multiply by; rows can be looked up in it too.
    Weight(Frozen),
    /// What rows are looked up in.
    Table(StoredRows),
}

impl CpuFrozen {
    pub(super) fn weight(cpu: &Cpu, stored: &StoredRows) -> Result<CpuFrozen, OutOfMemory> {
        let frozen = with_stored(stored, |stored| Frozen::repack(&cpu.team, stored));
        frozen.map(CpuFrozen::Weight).map_err(|_| OutOfMemory { operation: "a weight", bytes: stored.bytes() })
    }

    /// Rows `ids`, one after another.
    pub(super) fn look_up(&self, cpu: &Cpu, ids: &[u32], out: &mut [f32]) {
        match self {
            CpuFrozen::Weight(frozen) => embedding::forward_tied(cpu, frozen.into(), ids, out),
            CpuFrozen::Table(rows) => {
                with_stored(rows, |stored| embedding::forward_stored(cpu, stored, ids, out));
            }
        }
    }

    /// All rows.
    pub(super) fn rows(&self, cpu: &Cpu) -> Vec<f32> {
        let [n, k] = match self {
            CpuFrozen::Weight(frozen) => [frozen.n(), frozen.k()],
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
            CpuFrozen::Weight(frozen) => frozen.bytes(),
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
