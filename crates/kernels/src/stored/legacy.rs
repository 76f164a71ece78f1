//! ggml's first block types: 32 values of 4, 5 or 8 bits with an f16 scale, some with an f16 minimum.
//!
//! Bytes of a block: scale, minimum if any, upper bits if any (bit i belongs to value i), then the codes. Of 4-bit
//! codes byte i has value i in its lower and value i + 16 in its upper half.

use super::f16_at;
use half::f16;

pub(super) fn q4_0(b: &[u8; 18], out: &mut [f32; 32]) {
    let scale = f16_at(b, 0);
    for (i, out) in out.iter_mut().enumerate() {
        *out = scale * (f32::from(nibble(&b[2..], i)) - 8.0);
    }
}

pub(super) fn q4_1(b: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, min) = (f16_at(b, 0), f16_at(b, 2));
    for (i, out) in out.iter_mut().enumerate() {
        *out = scale * f32::from(nibble(&b[4..], i)) + min;
    }
}

pub(super) fn q5_0(b: &[u8; 22], out: &mut [f32; 32]) {
    let scale = f16_at(b, 0);
    for (i, out) in out.iter_mut().enumerate() {
        let code = nibble(&b[6..], i) | bit(&b[2..6], i) << 4;
        *out = scale * (f32::from(code) - 16.0);
    }
}

pub(super) fn q5_1(b: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, min) = (f16_at(b, 0), f16_at(b, 2));
    for (i, out) in out.iter_mut().enumerate() {
        let code = nibble(&b[8..], i) | bit(&b[4..8], i) << 4;
        *out = scale * f32::from(code) + min;
    }
}

pub(super) fn q8_0(b: &[u8; 34], out: &mut [f32; 32]) {
    let scale = f16_at(b, 0);
    for (&code, out) in b[2..].iter().zip(out) {
        *out = scale * f32::from(code as i8);
    }
}

/// scale = amax/127; codes round half away from zero. They are made with the scale before its rounding to f16, as in
/// the reference.
pub(super) fn encode_q8_0(values: &[f32; 32]) -> [u8; 34] {
    let amax = values.iter().fold(0f32, |amax, x| amax.max(x.abs()));
    let scale = amax / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; 34];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (code, x) in block[2..].iter_mut().zip(values) {
        *code = (x * inverse).round() as i8 as u8;
    }
    block
}

/// scale = x/−8 for the first x of largest magnitude, so that x itself is met exactly; codes round half up.
pub(super) fn encode_q4_0(values: &[f32; 32]) -> [u8; 18] {
    let largest = values.iter().fold(0f32, |best, &x| if x.abs() > best.abs() { x } else { best });
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; 18];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    let code = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    for (i, byte) in block[2..].iter_mut().enumerate() {
        *byte = code(values[i]) | code(values[i + 16]) << 4;
    }
    block
}

/// Value `i` of 32.
pub(super) fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i % 16] >> (i / 16 * 4) & 15
}

fn bit(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 8] >> (i % 8) & 1
}
