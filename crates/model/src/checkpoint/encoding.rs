//! How stored bytes become f32: plain floats, and the block types of ggml.
//!
//! A block type stores a row in blocks of 32 or 256 values with scales of their own. The layouts
//! are those of ggml's `block_*` structs; each decoder repeats the reference's order of
//! operations, so that the values are equal bit for bit. Left out: rarer types, which are named in
//! the error that refuses them.

use std::fmt;

use half::{bf16, f16};

/// The stored form of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoding {
    F32,
    F16,
    Bf16,
    I64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q6K,
    /// Anything else, by the name to show.
    Other(String),
}

impl Encoding {
    /// Values and bytes of a block; `None` if unknown.
    pub(super) fn block(&self) -> Option<(usize, usize)> {
        Some(match self {
            Encoding::F32 => (1, 4),
            Encoding::F16 | Encoding::Bf16 => (1, 2),
            Encoding::I64 => (1, 8),
            Encoding::Q4_0 => (32, 18),
            Encoding::Q4_1 => (32, 20),
            Encoding::Q5_0 => (32, 22),
            Encoding::Q5_1 => (32, 24),
            Encoding::Q8_0 => (32, 34),
            Encoding::Q4K => (256, 144),
            Encoding::Q6K => (256, 210),
            Encoding::Other(_) => return None,
        })
    }

    /// Decodes whole blocks; `None` for a type that holds no floats or that we do not know.
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            Encoding::F32 => blocks(bytes, 1, |b: &[u8; 4], out| {
                out.push(f32::from_le_bytes(*b));
            }),
            Encoding::F16 => blocks(bytes, 1, |b: &[u8; 2], out| {
                out.push(f16::from_le_bytes(*b).to_f32());
            }),
            Encoding::Bf16 => blocks(bytes, 1, |b: &[u8; 2], out| {
                out.push(bf16::from_le_bytes(*b).to_f32());
            }),
            Encoding::Q4_0 => blocks(bytes, 32, |b: &[u8; 18], out| {
                let scale = half_at(b, 0);
                out.extend((0..32).map(|i| scale * (nibble(&b[2..], i) as f32 - 8.0)));
            }),
            Encoding::Q4_1 => blocks(bytes, 32, |b: &[u8; 20], out| {
                let (scale, min) = (half_at(b, 0), half_at(b, 2));
                out.extend((0..32).map(|i| scale * nibble(&b[4..], i) as f32 + min));
            }),
            Encoding::Q5_0 => blocks(bytes, 32, |b: &[u8; 22], out| {
                let scale = half_at(b, 0);
                let five = |i| nibble(&b[6..], i) | bit(&b[2..6], i) << 4;
                out.extend((0..32).map(|i| scale * (five(i) as f32 - 16.0)));
            }),
            Encoding::Q5_1 => blocks(bytes, 32, |b: &[u8; 24], out| {
                let (scale, min) = (half_at(b, 0), half_at(b, 2));
                let five = |i| nibble(&b[8..], i) | bit(&b[4..8], i) << 4;
                out.extend((0..32).map(|i| scale * five(i) as f32 + min));
            }),
            Encoding::Q8_0 => blocks(bytes, 32, |b: &[u8; 34], out| {
                let scale = half_at(b, 0);
                out.extend(b[2..].iter().map(|&q| scale * f32::from(q as i8)));
            }),
            Encoding::Q4K => blocks(bytes, 256, q4_k),
            Encoding::Q6K => blocks(bytes, 256, q6_k),
            Encoding::I64 | Encoding::Other(_) => return None,
        })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Encoding::Other(name) => f.write_str(name),
            Encoding::Bf16 => f.write_str("BF16"),
            Encoding::Q4K => f.write_str("Q4_K"),
            Encoding::Q6K => f.write_str("Q6_K"),
            plain => write!(f, "{plain:?}"),
        }
    }
}

/// Applies `decode` to each block of `B` bytes; each gives `values` values.
fn blocks<const B: usize>(bytes: &[u8], values: usize, decode: impl Fn(&[u8; B], &mut Vec<f32>)) -> Vec<f32> {
    let (blocks, _) = bytes.as_chunks::<B>();
    let mut out = Vec::with_capacity(blocks.len() * values);
    for block in blocks {
        decode(block, &mut out);
    }
    out
}

/// Eight runs of 32 values; each run has a 6-bit scale and a 6-bit minimum. Byte layout: f16 scale
/// of the scales, f16 scale of the minimums, 12 bytes of both, 128 bytes of nibbles.
fn q4_k(b: &[u8; 144], out: &mut Vec<f32>) {
    let (scale, min_scale) = (half_at(b, 0), half_at(b, 2));
    let packed = &b[4..16];
    for run in 0..8 {
        // Runs 0–3 keep their six bits together; runs 4–7 have four at the end of the twelve bytes
        // and two on top of those of runs 0–3.
        let (s, m) = if run < 4 {
            (packed[run] & 63, packed[run + 4] & 63)
        } else {
            let low = packed[run + 4];
            let (high_s, high_m) = (packed[run - 4] >> 6, packed[run] >> 6);
            (low & 15 | high_s << 4, low >> 4 | high_m << 4)
        };
        let (scale, min) = (scale * f32::from(s), min_scale * f32::from(m));
        // Two runs share 32 bytes: the first has the low nibbles, the second the high ones.
        let bytes = &b[16 + run / 2 * 32..][..32];
        let shift = run % 2 * 4;
        out.extend(bytes.iter().map(|q| scale * f32::from(q >> shift & 15) - min));
    }
}

/// Sixteen runs of 16 values, each with an 8-bit scale. Byte layout: 128 bytes of low nibbles,
/// 64 bytes of upper bit pairs, 16 signed scales, f16 scale of the scales.
fn q6_k(b: &[u8; 210], out: &mut Vec<f32>) {
    let scale = half_at(b, 208);
    for i in 0..256 {
        // Each half of the block interleaves four rows of 32: rows 0 and 2 share the nibble bytes
        // of one row, 1 and 3 those of the next; all four share one row of bit pairs.
        let (part, row, column) = (i / 128, i / 32 % 4, i % 32);
        let low = b[part * 64 + row % 2 * 32 + column] >> (row / 2 * 4) & 15;
        let high = b[128 + part * 32 + column] >> (row * 2) & 3;
        let q = f32::from(low | high << 4) - 32.0;
        let run = f32::from(b[192 + i / 16] as i8);
        out.push(scale * run * q);
    }
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Value `i` of 32 whose first half lies in the low nibbles of 16 bytes, the second in the high.
fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i % 16] >> (i / 16 * 4) & 15
}

fn bit(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 8] >> (i % 8) & 1
}
