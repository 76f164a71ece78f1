//! Token ids to rows of a table.

use crate::ops::{Ops, OutOfMemory};
use crate::params::Param;
use crate::tape::{Tape, Var};

impl<'a, O: Ops> Tape<'a, O> {
    /// Rows `ids` of the table `[V, d]`. Panics if an id is past the table: callers check what comes from outside.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn embedding(&mut self, table: &'a Param<O>, ids: &[u32]) -> Result<Var<O>, OutOfMemory> {
        let dims = table.spec.dims();
        assert!(ids.iter().all(|&id| (id as usize) < dims.n), "token id past the vocabulary");
        let mut out = self.scratch("the embedding", ids.len() * dims.k)?;
        self.ops.embedding(table.table(), ids, &mut out, dims);
        let out = self.var(out, ids.len(), dims.k, self.learns(table));
        let ids = ids.to_vec();
        self.record(&out, move |gradients, d| {
            let ops = gradients.ops;
            if let Some(dtable) = gradients.param(table) {
                match table.spec.product() {
                    Some(dims) => ops.tied_embedding_backward(&d, &ids, dtable, dims),
                    None => ops.embedding_backward(&d, &ids, dtable),
                }
            }
            Ok(())
        });
        Ok(out)
    }
}
