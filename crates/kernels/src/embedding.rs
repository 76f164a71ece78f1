//! Rows of a table: token embeddings forward and backward; also any other choice of rows.
//!
//! A table that is the head's weight as well (tied embeddings) is kept in the layout of its product; the others are
//! rows.
//!
//! V: rows of the table, T: rows taken, D: width.

use crate::Cpu;
use crate::panels;
use crate::simd::LANES;
use crate::team::Shared;
use crate::weight::{Stored, Weight};

/// `out` `[T, D]` = rows `ids` of `table` `[V, D]`. Panics if an id is not below V.
pub fn forward(cpu: &Cpu, table: &[f32], ids: &[u32], out: &mut [f32]) {
    let Some(dim) = width(table.len(), ids, out.len()) else {
        return;
    };
    let out = Shared::new(out);
    cpu.split_rows(ids.len(), dim, |rows| {
        // SAFETY: teams get disjoint rows.
        let out = unsafe { out.part(rows.start * dim..rows.end * dim) };
        for (row, &id) in out.chunks_exact_mut(dim).zip(&ids[rows]) {
            row.copy_from_slice(&table[id as usize * dim..][..dim]);
        }
    });
}

/// `dtable` `[V, D]` += each row of `dout` `[T, D]` to its row, tokens in ascending order.
pub fn backward(cpu: &Cpu, dout: &[f32], ids: &[u32], dtable: &mut [f32]) {
    let Some(dim) = width(dtable.len(), ids, dout.len()) else {
        return;
    };
    let dtable = Shared::new(dtable);
    // Two tokens may share a row, so the team shares out the columns.
    cpu.split_columns(ids.len(), dim, |columns| {
        for (row, &id) in dout.chunks_exact(dim).zip(ids) {
            let start = id as usize * dim;
            // SAFETY: teams get disjoint columns.
            let sum = unsafe { dtable.part(start + columns.start..start + columns.end) };
            for (sum, d) in sum.iter_mut().zip(&row[columns.clone()]) {
                *sum += d;
            }
        }
    });
}

/// [`forward`] from the weight `[V, D]` of a head.
pub fn forward_tied(cpu: &Cpu, table: Weight, ids: &[u32], out: &mut [f32]) {
    let dim = table.k();
    assert_eq!(out.len(), ids.len() * dim, "embedding: rows of {dim}");
    let out = Shared::new(out);
    cpu.split_rows(ids.len(), dim, |rows| {
        // SAFETY: teams get disjoint rows.
        let out = unsafe { out.part(rows.start * dim..rows.end * dim) };
        for (row, &id) in out.chunks_exact_mut(dim.max(1)).zip(&ids[rows]) {
            table.row(cpu.isa, id as usize, row);
        }
    });
}

/// [`forward`] from a table `[V, D]` as a file stores it.
pub fn forward_stored(cpu: &Cpu, table: &Stored, ids: &[u32], out: &mut [f32]) {
    let dim = table.k;
    assert_eq!(out.len(), ids.len() * dim, "embedding: rows of {dim}");
    let out = Shared::new(out);
    cpu.split_rows(ids.len(), dim, |rows| {
        // SAFETY: teams get disjoint rows.
        let out = unsafe { out.part(rows.start * dim..rows.end * dim) };
        for (row, &id) in out.chunks_exact_mut(dim.max(1)).zip(&ids[rows]) {
            table.decode_row(id as usize, row);
        }
    });
}

/// [`backward`] into the gradient of a head's weight `[vocabulary, D]`, which is in panels.
pub fn backward_tied(cpu: &Cpu, dout: &[f32], ids: &[u32], dtable: &mut [f32], vocabulary: usize) {
    let Some(dim) = dout.len().checked_div(ids.len()) else { return };
    assert_eq!(dout.len(), dim * ids.len(), "embedding: not one row an id");
    assert_eq!(dtable.len(), panels::len(vocabulary, dim), "embedding: panels of {vocabulary} × {dim}");
    ids.iter().for_each(|&id| assert!((id as usize) < vocabulary, "embedding: id {id} of {vocabulary}"));
    let dtable = Shared::new(dtable);
    // Two tokens may share a row, so the team shares out the columns, each of which is a line of its panel.
    cpu.split_columns(ids.len(), dim, |columns| {
        for (row, &id) in dout.chunks_exact(dim).zip(ids) {
            let (panel, lane) = (id as usize / LANES * dim, id as usize % LANES);
            // SAFETY: teams get disjoint lines.
            let lines = unsafe { dtable.part((panel + columns.start) * LANES..(panel + columns.end) * LANES) };
            for (line, d) in lines.as_chunks_mut::<LANES>().0.iter_mut().zip(&row[columns.clone()]) {
                line[lane] += d;
            }
        }
    });
}

/// The common width of table and rows; `None` where there is nothing to do.
fn width(table: usize, ids: &[u32], rows: usize) -> Option<usize> {
    if ids.is_empty() || rows == 0 {
        assert_eq!(rows, 0, "embedding: rows without ids");
        return None;
    }
    let dim = rows / ids.len();
    assert_eq!(rows, dim * ids.len(), "embedding: not one row an id");
    assert_eq!(table % dim, 0, "embedding: table is not rows of {dim}");
    let vocabulary = table / dim;
    for &id in ids {
        assert!((id as usize) < vocabulary, "embedding: id {id} of {vocabulary}");
    }
    Some(dim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panels::Panels;
    use crate::testing::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn equals_the_definition(tokens in 0usize..300, dim in 1usize..200, vocabulary in 1u32..50, seed: u32, cut in 0usize..300) {
            let table = noise(vocabulary as usize * dim, seed);
            let ids: Vec<u32> = (0..tokens as u32).map(|i| (i * i + seed % 97) % vocabulary).collect();
            let dout = noise(tokens * dim, seed ^ 1);
            let n = vocabulary as usize;
            let mut values = vec![0.0; panels::len(n, dim)];
            panels::from_rows(&table, n, dim, &mut values);
            let [out, dtable, tied, dtied] = same_everywhere(|cpu| {
                let (mut out, mut dtable) = (vec![0.0; tokens * dim], table.clone());
                forward(cpu, &table, &ids, &mut out);
                backward(cpu, &dout, &ids, &mut dtable);
                let (mut tied, mut dtied, mut rows) = (vec![0.0; tokens * dim], values.clone(), vec![0.0; n * dim]);
                forward_tied(cpu, Panels::new(&values, n, dim).into(), &ids, &mut tied);
                backward_tied(cpu, &dout, &ids, &mut dtied, n);
                panels::to_rows(&plain(), Panels::new(&dtied, n, dim), &mut rows);
                [out, dtable, tied, rows]
            });
            assert_same_bits("tied", &tied, &out);
            assert_same_bits("dtied", &dtied, &dtable);
            let (mut slow_out, mut slow_dtable) = (Vec::new(), table.clone());
            for (t, &id) in ids.iter().enumerate() {
                for i in 0..dim {
                    slow_out.push(table[id as usize * dim + i]);
                    slow_dtable[id as usize * dim + i] += dout[t * dim + i];
                }
            }
            assert_same_bits("out", &out, &slow_out);
            assert_same_bits("dtable", &dtable, &slow_dtable);
            let mut chunked = table.clone();
            let at = cut.min(tokens);
            for rows in [0..at, at..tokens] {
                backward(&cpus()[0], &dout[rows.start * dim..rows.end * dim], &ids[rows], &mut chunked);
            }
            assert_same_bits("dtable in chunks", &chunked, &dtable);
        }
    }

    #[test]
    #[should_panic(expected = "id 7 of 3")]
    fn an_id_past_the_table_is_named() {
        forward(&plain(), &[0.0; 6], &[7], &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "id 7 of 3")]
    fn so_is_one_past_a_tied_gradient() {
        backward_tied(&plain(), &[0.0; 2], &[7], &mut [0.0; 64], 3);
    }

    #[test]
    fn backward_is_the_derivative() {
        let (ids, dim) = ([2, 0, 2, 3], 5);
        let (table, dout) = (noise(4 * dim, 1), noise(ids.len() * dim, 2));
        let mut dtable = vec![0.0; table.len()];
        backward(&plain(), &dout, &ids, &mut dtable);
        let expected = linear_gradient(&table, &dout, |table| {
            let mut out = vec![0.0; dout.len()];
            forward(&plain(), table, &ids, &mut out);
            out
        });
        assert_close("dtable", &dtable, &expected, 1e-6);
    }
}
