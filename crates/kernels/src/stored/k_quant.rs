//! ggml's K-quants: 256 values with f16 scales, in runs of 16 or 32 whose own scales are small integers.
//!
//! A value is (d·scale)·code or (d·scale)·code − (dmin·min). Codes lie in rows of 32, several to a byte: one row takes
//! the lowest bits, the next the bits above.

use super::f16_at;

/// Bytes: 16 of 4-bit scales (lower half) and minimums (upper), 64 of codes, d, dmin. Runs of 16 values.
pub(super) fn q2_k(b: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at(b, 80), f16_at(b, 82));
    for (run, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let (scale, min) = (d * f32::from(b[run] & 15), dmin * f32::from(b[run] >> 4));
        for (i, out) in out.iter_mut().enumerate() {
            *out = scale * f32::from(two_bits(&b[16..80], 16 * run + i)) - min;
        }
    }
}

/// Bytes: 32 of upper bits, 64 of lower bit pairs, 12 of scales, d. Runs of 16 values; a code is −4 to 3.
pub(super) fn q3_k(b: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16_at(b, 108);
    for (run, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(q3_k_scale(&b[96..108], run));
        for (j, out) in out.iter_mut().enumerate() {
            let i = 16 * run + j;
            let code = two_bits(&b[32..96], i) | (b[i % 32] >> (i / 32) & 1) << 2;
            *out = scale * (f32::from(code) - 4.0);
        }
    }
}

/// Bytes: d, dmin, 12 of scales and minimums, 128 of codes. Runs of 32 values.
pub(super) fn q4_k(b: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at(b, 0), f16_at(b, 2));
    for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_and_min(&b[4..16], run);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (i, out) in out.iter_mut().enumerate() {
            *out = scale * f32::from(four_bits(&b[16..], 32 * run + i)) - min;
        }
    }
}

/// Bytes: d, dmin, 12 of scales and minimums, 32 of upper bits, 128 of lower halves. Runs of 32 values.
pub(super) fn q5_k(b: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at(b, 0), f16_at(b, 2));
    for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_and_min(&b[4..16], run);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (i, out) in out.iter_mut().enumerate() {
            let code = four_bits(&b[48..], 32 * run + i) | (b[16 + i] >> run & 1) << 4;
            *out = scale * f32::from(code) - min;
        }
    }
}

/// Bytes: 128 of lower halves, 64 of upper bit pairs, 16 signed scales, d. Runs of 16 values; a code is −32 to 31.
pub(super) fn q6_k(b: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at(b, 208);
    for (run, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(b[192 + run] as i8);
        for (j, out) in out.iter_mut().enumerate() {
            let i = 16 * run + j;
            let code = q6_k_low(&b[..128], i) | two_bits(&b[128..192], i) << 4;
            *out = scale * (f32::from(code) - 32.0);
        }
    }
}

/// Value `i` of rows of 32 values of 2 bits, four rows to 32 bytes.
fn two_bits(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3
}

/// Value `i` of rows of 32 values of 4 bits, two rows to 32 bytes.
fn four_bits(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15
}

/// The lower four bits of value `i` of a block of Q6_K. Each half of the block has four rows of 32: rows 0 and 2 share
/// the bytes of one, 1 and 3 those of the next.
fn q6_k_low(bytes: &[u8], i: usize) -> u8 {
    let (half, row, column) = (i / 128, i / 32 % 4, i % 32);
    bytes[64 * half + 32 * (row % 2) + column] >> (row / 2 * 4) & 15
}

/// The 6-bit scale and minimum of `run` 0 to 7. Runs 0 to 3 keep their six bits together; those of runs 4 to 7 are four
/// bits at the end of the twelve bytes and two above those of runs 0 to 3.
pub(crate) fn scale_and_min(packed: &[u8], run: usize) -> (u8, u8) {
    if run < 4 {
        return (packed[run] & 63, packed[run + 4] & 63);
    }
    let low = packed[run + 4];
    (low & 15 | packed[run - 4] >> 6 << 4, low >> 4 | packed[run] >> 6 << 4)
}

/// The scale of `run` 0 to 15, −32 to 31: four bits among the first eight bytes, two in the last four.
pub(crate) fn q3_k_scale(packed: &[u8], run: usize) -> i8 {
    let low = packed[run % 8] >> (run / 8 * 4) & 15;
    let high = packed[8 + run % 4] >> (run / 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}
