//! Token ids to rows of a table.

use crate::ops::Ops;
use crate::params::Param;
use crate::tape::{Tape, Var};

impl<'a, O: Ops> Tape<'a, O> {
    /// Rows `ids` of the table `[V, d]`. Panics if an id is past the table: callers check what comes from outside.
    pub fn embedding(&mut self, table: &'a Param<O>, ids: &[u32]) -> Var<O> {
        let [vocabulary, width] = table.spec.shape[..] else { unreachable!("a table has two sizes") };
        assert!(ids.iter().all(|&id| (id as usize) < vocabulary), "token id past the vocabulary");
        let mut out = self.ops.scratch(ids.len() * width);
        self.ops.embedding(table.value(), ids, &mut out);
        let out = self.var(out, ids.len(), width, self.learns(table));
        let ids = ids.to_vec();
        self.record(&out, move |flow, d| {
            let ops = flow.ops;
            if let Some(dtable) = flow.param(table) {
                ops.embedding_backward(&d, &ids, dtable);
            }
        });
        out
    }
}
