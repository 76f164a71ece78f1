//! Weights that do not learn, in panels made of what the file stores: about as many bytes, each value the same; or of
//! what it is encoded to on the way.
//!
//! Left out: changing them (whoever trains adapters leaves them as they are), and products in integers
//! ([`integer`](super::integer)).

use super::decode::{decode, row_product};
use super::form::{Codes, Form};
use super::memory::{Bytes, OutOfMemory};
use super::{Stored, repack};
use crate::panels::Panels;
use crate::scratch;
use crate::simd::{Isa, LANES};
use crate::stored::StoredType;
use crate::team::{Shared, Team};
use std::ops::Range;

/// Inputs that are decoded at a time where one row of a weight is asked for.
const CHUNK: usize = 64;

/// A weight `[N, K]` in the type in which it was stored.
pub struct Frozen {
    ty: StoredType,
    form: Form,
    n: usize,
    k: usize,
    panels: Bytes,
}

impl Frozen {
    /// Takes the rows of `source`, each once, into panels, which the team shares out.
    ///
    /// # Errors
    /// If there is no memory for them.
    ///
    /// # Panics
    /// If the source's rows or scales have other lengths than their type and number want, or its type is one of scales.
    pub fn repack(team: &Team, source: &Stored) -> Result<Frozen, OutOfMemory> {
        source.check();
        let Stored { ty, n, k, scales, .. } = *source;
        let form = Form::of(ty, scales.map(|scales| scale_block(scales.block_k, k)));
        Frozen::with_panels(team, ty, form, n, k, |form, first, panel| repack::panel(form, source, first, panel))
    }

    /// A weight whose panels, which are zero, `lay_out` fills: each by its first output.
    fn with_panels(
        team: &Team,
        ty: StoredType,
        form: Form,
        n: usize,
        k: usize,
        lay_out: impl Fn(&Form, usize, &mut [u8]) + Sync,
    ) -> Result<Frozen, OutOfMemory> {
        let (panels, panel_bytes) = (n.div_ceil(LANES), form.panel_bytes(k));
        let mut frozen = Frozen { ty, form, n, k, panels: Bytes::new(panels * panel_bytes)? };
        let bytes = Shared::new(frozen.panels.as_mut_slice());
        team.share(panels, |panel| {
            // SAFETY: each panel is one unit of the work.
            let bytes = unsafe { bytes.part(panel * panel_bytes..(panel + 1) * panel_bytes) };
            lay_out(&form, panel * LANES, bytes);
        });
        Ok(frozen)
    }

    /// The same from rows that are encoded to `ty` on the way, a panel at a time.
    ///
    /// # Errors
    /// If there is no memory for them.
    ///
    /// # Panics
    /// As [`Frozen::repack`], or if rows are no whole blocks of `ty`, or [nobody writes it](StoredType::encode).
    pub fn encode(team: &Team, source: &Stored, ty: StoredType) -> Result<Frozen, OutOfMemory> {
        source.check();
        let Stored { n, k, .. } = *source;
        Frozen::with_panels(team, ty, Form::of(ty, None), n, k, |form, first, panel| {
            let mut values = vec![0.0; k];
            let rows: Vec<Vec<u8>> = (first..n.min(first + LANES))
                .map(|row| {
                    source.decode_row(row, &mut values);
                    ty.encode(&values).expect("a type that is written")
                })
                .collect();
            let row = |row: usize| &rows[row][..];
            repack::panel(form, &Stored { ty, n: rows.len(), k, row: &row, scales: None }, 0, panel);
        })
    }

    /// The type in which it was stored, or to which it was encoded.
    pub fn stored_type(&self) -> StoredType {
        self.ty
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes that it keeps in memory.
    pub fn bytes(&self) -> usize {
        self.panels.as_slice().len()
    }

    /// Row `n`, the weights of one output, as f32. It decodes the panel of 32 outputs that the row belongs to.
    pub fn row(&self, isa: Isa, n: usize, out: &mut [f32]) {
        assert!(n < self.n && out.len() == self.k, "row {n} of {} × {}", self.n, self.k);
        scratch::with(CHUNK * LANES, |values| {
            for (i, out) in out.chunks_mut(CHUNK).enumerate() {
                let values = &mut values[..out.len() * LANES];
                self.decode(isa, n, i * CHUNK..i * CHUNK + out.len(), values);
                for (out, lanes) in out.iter_mut().zip(values.as_chunks::<LANES>().0) {
                    *out = lanes[n % LANES];
                }
            }
        });
    }

    /// The panels, if they are f32 and can be read as they are.
    pub(crate) fn as_f32(&self) -> Option<Panels<'_>> {
        let len = crate::panels::len(self.n, self.k);
        let values = || {
            let bytes = &self.panels.as_slice()[..size_of::<f32>() * len];
            // SAFETY: so many bytes there are, from the start of a cache line on; every pattern of bits is an f32.
            unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<f32>(), len) }
        };
        (self.form.codes == Codes::F32).then(|| Panels::new(values(), self.n, self.k))
    }

    /// The weights of inputs `ks` in the panel of output `n`, `[ks][32]`.
    #[inline(always)]
    pub(crate) fn decode(&self, isa: Isa, n: usize, ks: Range<usize>, out: &mut [f32]) {
        decode(isa, &self.form, self.panel(n), self.k, ks, out);
    }

    /// `c` += x·Wᵀ for one row `x` `[K]` and the outputs of the panel of output `n`.
    #[inline(always)]
    pub(crate) fn row_product(&self, isa: Isa, n: usize, x: &[f32], c: &mut [f32; LANES]) {
        assert_eq!(x.len(), self.k, "a row of {} inputs", self.k);
        row_product(isa, &self.form, self.panel(n), x, c);
    }

    /// How the panels are laid out.
    pub(super) fn form(&self) -> &Form {
        &self.form
    }

    /// The panel of output `n`.
    pub(super) fn panel(&self, n: usize) -> &[u8] {
        let panel_bytes = self.form.panel_bytes(self.k);
        &self.panels.as_slice()[n / LANES * panel_bytes..][..panel_bytes]
    }
}

/// Inputs of a block of 8-bit floats whose scales hold for `block_k` of `k` inputs: all of those, or a part of them that
/// makes blocks of a few hundred.
fn scale_block(block_k: usize, k: usize) -> usize {
    if block_k >= k {
        256
    } else {
        (1..=block_k.min(256)).rev().find(|part| block_k.is_multiple_of(*part)).unwrap_or(1)
    }
}
