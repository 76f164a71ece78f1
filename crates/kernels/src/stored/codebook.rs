//! Types whose 4-bit code picks one of 16 values: ggml's IQ4 types, and the 4-bit floats of OCP Microscaling.
//!
//! Codes lie as in the legacy types: in 16 bytes, byte i has value i in its lower and value i + 16 in its upper half.

use super::f16_at;
use super::legacy::nibble;

/// What the codes of IQ4_NL and IQ4_XS stand for.
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice what the codes of MXFP4 stand for: sign, two exponent bits, one mantissa bit.
pub const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Bytes: f16 scale, 16 of codes.
pub(super) fn iq4_nl(b: &[u8; 18], out: &mut [f32; 32]) {
    decode(f16_at(b, 0), &IQ4_VALUES, &b[2..], out);
}

/// Bytes: f16 scale, 16 upper bit pairs of the runs' scales, 4 bytes of their lower halves, 128 of codes. Runs of 32.
pub(super) fn iq4_xs(b: &[u8; 136], out: &mut [f32; 256]) {
    for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let scale = f16_at(b, 0) * f32::from(iq4_xs_scale(b, run));
        decode(scale, &IQ4_VALUES, &b[8 + 16 * run..], out);
    }
}

/// Bytes: the scale's exponent, 16 of codes.
pub(super) fn mxfp4(b: &[u8; 17], out: &mut [f32; 32]) {
    decode(e8m0_half(b[0]), &MXFP4_VALUES, &b[1..], out);
}

fn decode(scale: f32, values: &[i8; 16], codes: &[u8], out: &mut [f32; 32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = scale * f32::from(values[usize::from(nibble(codes, i))]);
    }
}

/// The scale of `run` 0 to 7 of a block of IQ4_XS, −32 to 31.
pub(crate) fn iq4_xs_scale(block: &[u8], run: usize) -> i8 {
    let low = block[4 + run / 2] >> (run % 2 * 4) & 15;
    let high = block[2 + run / 4] >> (run % 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}

/// Half of 2^(exponent − 127), which makes up for [`MXFP4_VALUES`] being doubled. As in ggml, 255 is no NaN.
pub(crate) fn e8m0_half(exponent: u8) -> f32 {
    f32::from_bits(if exponent < 2 { 0x20_0000 << exponent } else { u32::from(exponent - 1) << 23 })
}
