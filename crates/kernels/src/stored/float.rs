//! Plain floats of 64, 32, 16 and 8 bits.

use half::{bf16, f16};

pub(super) fn f64(b: &[u8; 8], out: &mut [f32; 1]) {
    out[0] = f64::from_le_bytes(*b) as f32;
}

pub(super) fn f32(b: &[u8; 4], out: &mut [f32; 1]) {
    out[0] = f32::from_le_bytes(*b);
}

pub(super) fn f16(b: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = f16::from_le_bytes(*b).to_f32();
}

pub(super) fn bf16(b: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = bf16::from_le_bytes(*b).to_f32();
}

/// Sign, exponent with bias 7, three mantissa bits; all ones but for the sign is NaN.
pub(super) fn f8_e4m3(b: &[u8; 1], out: &mut [f32; 1]) {
    let sign = u32::from(b[0] >> 7) << 31;
    let magnitude = match u32::from(b[0] & 0x7f) {
        0x7f => f32::NAN,
        subnormal @ 0..8 => subnormal as f32 / 512.0,
        normal => f32::from_bits((normal << 20) + (120 << 23)),
    };
    out[0] = f32::from_bits(magnitude.to_bits() | sign);
}

/// 2^(byte − 127), the smallest of which is subnormal; 255 is NaN.
pub(super) fn f8_e8m0(b: &[u8; 1], out: &mut [f32; 1]) {
    out[0] = f32::from_bits(match b[0] {
        0 => 1 << 22,
        255 => f32::NAN.to_bits(),
        exponent => u32::from(exponent) << 23,
    });
}

/// The f16 at byte `at`.
pub(crate) fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}
