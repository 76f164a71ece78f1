//! The types in which files store weights, and what their bytes mean as f32.
//!
//! A block type keeps a row in blocks of 32 or 256 values that share scales; a block never crosses rows. The layouts
//! are those of ggml's `block_*` structs, and each decoder repeats the order of operations of ggml's reference, so the
//! values are equal bit for bit. Left out: names of types and scales outside of the bytes, which are the file's
//! business (`checkpoint` in the model crate), and products with stored weights (`weight`).

mod codebook;
mod float;
mod k_quant;
mod legacy;
#[cfg(test)]
mod tests;

use std::fmt;

pub use codebook::{IQ4_VALUES, MXFP4_VALUES};
pub(crate) use codebook::{e8m0_half, iq4_xs_scale};
pub(crate) use float::f16_at;
pub(crate) use k_quant::{q3_k_scale, scale_and_min};

/// How a weight's bytes are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(non_camel_case_types)]
pub enum StoredType {
    /// 64-bit float, rounded to f32 when read.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE 16-bit float.
    F16,
    /// The upper half of an f32.
    BF16,
    /// 8-bit float of 4 exponent and 3 mantissa bits, largest value 448, NaN but no infinity. Its values are to be
    /// multiplied by scales that a file keeps elsewhere.
    F8_E4M3,
    /// A power of two, 2^(byte − 127); 255 is NaN. A type of scales, not of weights.
    F8_E8M0,
    /// 32 values of 8 bits with a scale.
    Q8_0,
    /// 32 values of 4 bits with a scale.
    Q4_0,
    /// 32 values of 4 bits with a scale and a minimum.
    Q4_1,
    /// 32 values of 5 bits with a scale.
    Q5_0,
    /// 32 values of 5 bits with a scale and a minimum.
    Q5_1,
    /// 256 values of 2 bits; 16 runs with 4-bit scales and minimums.
    Q2_K,
    /// 256 values of 3 bits; 16 runs with 6-bit scales.
    Q3_K,
    /// 256 values of 4 bits; 8 runs with 6-bit scales and minimums.
    Q4_K,
    /// 256 values of 5 bits; 8 runs with 6-bit scales and minimums.
    Q5_K,
    /// 256 values of 6 bits; 16 runs with 8-bit scales.
    Q6_K,
    /// 32 values out of 16 unevenly spaced ones, with a scale.
    IQ4_NL,
    /// 256 values out of 16 unevenly spaced ones; 8 runs with 6-bit scales.
    IQ4_XS,
    /// 32 values of a 4-bit float (OCP Microscaling) with a power of two as scale.
    MXFP4,
}

use StoredType::*;

impl StoredType {
    /// Every type.
    pub const ALL: [StoredType; 19] = [
        F64, F32, F16, BF16, F8_E4M3, F8_E8M0, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL,
        IQ4_XS, MXFP4,
    ];

    /// The type that GGUF files give the number `number`; `None` for one that we do not read.
    pub fn from_ggml(number: u32) -> Option<StoredType> {
        StoredType::ALL.into_iter().find(|ty| ty.ggml() == Some(number))
    }

    /// Its number in GGUF files; `None` for a type that they do not have.
    pub fn ggml(self) -> Option<u32> {
        Some(match self {
            F32 => 0,
            F16 => 1,
            Q4_0 => 2,
            Q4_1 => 3,
            Q5_0 => 6,
            Q5_1 => 7,
            Q8_0 => 8,
            Q2_K => 10,
            Q3_K => 11,
            Q4_K => 12,
            Q5_K => 13,
            Q6_K => 14,
            IQ4_NL => 20,
            IQ4_XS => 23,
            F64 => 28,
            BF16 => 30,
            MXFP4 => 39,
            F8_E4M3 | F8_E8M0 => return None,
        })
    }

    /// Its name as files and people write it.
    pub fn name(self) -> &'static str {
        match self {
            F64 => "F64",
            F32 => "F32",
            F16 => "F16",
            BF16 => "BF16",
            F8_E4M3 => "F8_E4M3",
            F8_E8M0 => "F8_E8M0",
            Q8_0 => "Q8_0",
            Q4_0 => "Q4_0",
            Q4_1 => "Q4_1",
            Q5_0 => "Q5_0",
            Q5_1 => "Q5_1",
            Q2_K => "Q2_K",
            Q3_K => "Q3_K",
            Q4_K => "Q4_K",
            Q5_K => "Q5_K",
            Q6_K => "Q6_K",
            IQ4_NL => "IQ4_NL",
            IQ4_XS => "IQ4_XS",
            MXFP4 => "MXFP4",
        }
    }

    /// Whether it is a type of weights, not of their scales.
    pub fn holds_weights(self) -> bool {
        self != F8_E8M0
    }

    /// Values in a block; a row is a whole number of blocks.
    pub fn block_len(self) -> usize {
        match self {
            F64 | F32 | F16 | BF16 | F8_E4M3 | F8_E8M0 => 1,
            Q8_0 | Q4_0 | Q4_1 | Q5_0 | Q5_1 | IQ4_NL | MXFP4 => 32,
            Q2_K | Q3_K | Q4_K | Q5_K | Q6_K | IQ4_XS => 256,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            F64 => 8,
            F32 => 4,
            F16 | BF16 => 2,
            F8_E4M3 | F8_E8M0 => 1,
            MXFP4 => 17,
            Q4_0 | IQ4_NL => 18,
            Q4_1 => 20,
            Q5_0 => 22,
            Q5_1 => 24,
            Q8_0 => 34,
            Q2_K => 84,
            Q3_K => 110,
            IQ4_XS => 136,
            Q4_K => 144,
            Q5_K => 176,
            Q6_K => 210,
        }
    }

    /// Bytes of `values` values; `None` if they are no whole number of blocks, or more than memory has addresses.
    pub fn bytes(self, values: usize) -> Option<usize> {
        if !values.is_multiple_of(self.block_len()) {
            return None;
        }
        (values / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Decodes the blocks in `bytes`. Panics if they are not as many as `out` has values.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        let expected = self.bytes(out.len());
        assert_eq!(expected, Some(bytes.len()), "{self}: bytes of {} values", out.len());
        match self {
            F64 => each(bytes, out, float::f64),
            F32 => each(bytes, out, float::f32),
            F16 => each(bytes, out, float::f16),
            BF16 => each(bytes, out, float::bf16),
            F8_E4M3 => each(bytes, out, float::f8_e4m3),
            F8_E8M0 => each(bytes, out, float::f8_e8m0),
            Q8_0 => each(bytes, out, legacy::q8_0),
            Q4_0 => each(bytes, out, legacy::q4_0),
            Q4_1 => each(bytes, out, legacy::q4_1),
            Q5_0 => each(bytes, out, legacy::q5_0),
            Q5_1 => each(bytes, out, legacy::q5_1),
            Q2_K => each(bytes, out, k_quant::q2_k),
            Q3_K => each(bytes, out, k_quant::q3_k),
            Q4_K => each(bytes, out, k_quant::q4_k),
            Q5_K => each(bytes, out, k_quant::q5_k),
            Q6_K => each(bytes, out, k_quant::q6_k),
            IQ4_NL => each(bytes, out, codebook::iq4_nl),
            IQ4_XS => each(bytes, out, codebook::iq4_xs),
            MXFP4 => each(bytes, out, codebook::mxfp4),
        }
    }

    /// Encodes values with the rounding of ggml's reference; `None` for a type that we do not write (all but F32, F16,
    /// BF16, Q8_0 and Q4_0). Panics if `values` are no whole number of blocks.
    pub fn encode(self, values: &[f32]) -> Option<Vec<u8>> {
        assert!(values.len().is_multiple_of(self.block_len()), "{self}: {} values are no blocks", values.len());
        Some(match self {
            F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            F16 => values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
            BF16 => values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            Q8_0 => values.as_chunks().0.iter().flat_map(legacy::encode_q8_0).collect(),
            Q4_0 => values.as_chunks().0.iter().flat_map(legacy::encode_q4_0).collect(),
            _ => return None,
        })
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Decodes each block of `B` bytes to `L` values.
fn each<const B: usize, const L: usize>(bytes: &[u8], out: &mut [f32], decode: impl Fn(&[u8; B], &mut [f32; L])) {
    for (block, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        decode(block, out);
    }
}
