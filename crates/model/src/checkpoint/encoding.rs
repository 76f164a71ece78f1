//! What a file says a tensor is stored as: a type of weights (`picnic_kernels::stored`), 64-bit integers, or something
//! else, which is kept by name for the error that refuses it.

use std::fmt;

use picnic_kernels::stored::StoredType;

use super::error::quoted;

/// The stored form of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Floats, plain or in blocks.
    Stored(StoredType),
    I64,
    /// Anything else, by the name to show.
    Other(String),
}

impl Encoding {
    /// The type with ggml's `number`.
    pub(super) fn of_ggml(number: u32) -> Encoding {
        let other = || match GGML_NAMES.iter().find(|(n, _)| *n == number) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("ggml type {number}"),
        };
        StoredType::from_ggml(number).map_or_else(|| Encoding::Other(other()), Encoding::Stored)
    }

    /// The type that a safetensors header calls `dtype`.
    pub(super) fn of_safetensors(dtype: &str) -> Encoding {
        use StoredType::*;
        let floats = [F64, F32, F16, BF16, F8_E4M3, F8_E8M0];
        match floats.into_iter().find(|ty| ty.name() == dtype) {
            Some(ty) => Encoding::Stored(ty),
            None if dtype == "I64" => Encoding::I64,
            None => Encoding::Other(quoted(dtype)),
        }
    }

    /// Values and bytes of a block; `None` if unknown.
    pub(super) fn block(&self) -> Option<(usize, usize)> {
        match self {
            Encoding::Stored(ty) => Some((ty.block_len(), ty.block_bytes())),
            Encoding::I64 => Some((1, 8)),
            Encoding::Other(_) => None,
        }
    }

    /// The type of weights that it is, if it is one.
    pub(super) fn stored(&self) -> Option<StoredType> {
        match *self {
            Encoding::Stored(ty) => Some(ty),
            Encoding::I64 | Encoding::Other(_) => None,
        }
    }

    /// Decodes whole blocks, without scales that stand elsewhere; `None` for what holds no weights, or is not known.
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let ty = self.stored()?;
        let mut values = vec![0.0; bytes.len() / ty.block_bytes() * ty.block_len()];
        ty.decode(bytes, &mut values);
        Some(values)
    }
}

/// Types of ggml that we do not read.
const GGML_NAMES: [(u32, &str); 17] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Encoding::Stored(ty) => ty.fmt(f),
            Encoding::I64 => f.write_str("I64"),
            Encoding::Other(name) => f.write_str(name),
        }
    }
}
