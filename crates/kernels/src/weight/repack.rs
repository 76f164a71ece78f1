//! Rows of stored bytes to the panels of a frozen weight, without loss.

use super::form::{Codes, Form, Scales};
use super::stored::Stored;
use crate::simd::LANES;
use crate::stored::StoredType::{self, *};
use crate::stored::{bit, four_bits, iq4_xs_scale, nibble, q3_k_scale, q6_k_low, scale_and_min, two_bits};

/// Lays rows `first..first + 32` of `source`, or as many as there are, out in `panel`, which is zero.
pub(super) fn panel(form: &Form, source: &Stored, first: usize, panel: &mut [u8]) {
    let rows = first..source.n.min(first + LANES);
    let (mut bytes, mut scales) = ([&[][..]; LANES], [&[][..]; LANES]);
    for (lane, row) in rows.clone().enumerate() {
        bytes[lane] = source.bytes(row);
        if let Some(from) = source.scales {
            scales[lane] = (from.row)(row);
        }
    }
    let stored_block = source.ty.block_len();
    for block in 0..source.k.div_ceil(form.block) {
        let (start, inputs) = form.block_at(block, source.k);
        let at = block * form.block;
        let (header, codes_of_block) = panel[start..].split_at_mut(form.header_bytes());
        let codes_of_block = &mut codes_of_block[..inputs * (form.low_bytes() + form.high_bytes())];
        for lane in 0..rows.len() {
            let width = source.ty.block_bytes();
            let bytes = &bytes[lane][at / stored_block * width..][..inputs / stored_block * width];
            if let (Scales::Single, Some(from)) = (form.scales, source.scales) {
                header[4 * lane..][..4].copy_from_slice(&scales[lane][at / from.block_k].to_le_bytes());
            }
            match form.codes {
                Codes::F32 => place_f32(source.ty, bytes, lane, codes_of_block),
                Codes::F16 | Codes::BF16 => {
                    for (two, line) in bytes.as_chunks::<2>().0.iter().zip(codes_of_block.chunks_exact_mut(2 * LANES)) {
                        line[2 * lane..][..2].copy_from_slice(two);
                    }
                }
                Codes::F8 => place(bytes, 8, lane, codes_of_block),
                codes => {
                    place_header(source.ty, form, bytes, lane, header);
                    let mut all = [0; 256];
                    let all = &mut all[..inputs];
                    codes_of(source.ty, bytes, all);
                    let (low_bits, high_bits) = match codes {
                        Codes::Four(_) => (4, 0),
                        Codes::FourOne(_) => (4, 1),
                        Codes::FourTwo(_) => (4, 2),
                        Codes::Two => (2, 0),
                        Codes::TwoOne(_) => (2, 1),
                        _ => (8, 0),
                    };
                    let width = form.low_bytes() + form.high_bytes();
                    let groups = codes_of_block.chunks_mut(form.group * width);
                    for (codes, planes) in all.chunks_mut(form.group).zip(groups) {
                        let (low, high) = planes.split_at_mut(codes.len() * form.low_bytes());
                        place(codes, low_bits, lane, low);
                        if high_bits > 0 {
                            codes.iter_mut().for_each(|code| *code >>= low_bits);
                            place(codes, high_bits, lane, high);
                        }
                    }
                }
            }
        }
    }
}

/// Puts the lowest `bits` of each code into its place in a plane.
fn place(codes: &[u8], bits: usize, lane: usize, plane: &mut [u8]) {
    let width = 4 * bits;
    let (byte, shift) = (lane % width, lane / width * bits);
    let mask = ((1u16 << bits) - 1) as u8;
    for (code, line) in codes.iter().zip(plane.chunks_exact_mut(width)) {
        line[byte] |= (code & mask) << shift;
    }
}

fn place_f32(ty: StoredType, bytes: &[u8], lane: usize, plane: &mut [u8]) {
    let lines = plane.chunks_exact_mut(4 * LANES);
    for (bytes, line) in bytes.chunks_exact(ty.block_bytes()).zip(lines) {
        let mut value = [0.0];
        ty.decode(bytes, &mut value);
        line[4 * lane..][..4].copy_from_slice(&value[0].to_le_bytes());
    }
}

/// The scales of a block of ggml's, for one output.
fn place_header(ty: StoredType, form: &Form, b: &[u8], lane: usize, header: &mut [u8]) {
    let halves: &[usize] = match ty {
        Q8_0 | Q4_0 | Q5_0 | IQ4_NL | IQ4_XS => &[0],
        Q4_1 | Q5_1 | Q4_K | Q5_K => &[0, 2],
        Q2_K => &[80, 82],
        Q3_K => &[108],
        Q6_K => &[208],
        _ => &[],
    };
    for (i, &at) in halves.iter().enumerate() {
        header[64 * i + 2 * lane..][..2].copy_from_slice(&b[at..at + 2]);
    }
    let groups = form.block / form.group;
    let runs = &mut header[64 * halves.len()..];
    for group in 0..groups {
        let run = match ty {
            Q2_K => b[group],
            Q3_K => q3_k_scale(&b[96..108], group) as u8,
            Q6_K => b[192 + group],
            IQ4_XS => iq4_xs_scale(b, group) as u8,
            MXFP4 => b[0],
            Q4_K | Q5_K => {
                let (scale, min) = scale_and_min(&b[4..16], group);
                runs[LANES * (groups + group) + lane] = min;
                scale
            }
            _ => return,
        };
        runs[LANES * group + lane] = run;
    }
}

/// The codes of a block of ggml's, as unsigned numbers; signed bytes as they are.
pub(super) fn codes_of(ty: StoredType, b: &[u8], out: &mut [u8]) {
    // A macro, because the choice of the type should not stand in the loop.
    macro_rules! each {
        ($i:ident, $code:expr) => {
            for ($i, out) in out.iter_mut().enumerate() {
                *out = $code;
            }
        };
    }
    match ty {
        Q8_0 => out.copy_from_slice(&b[2..]),
        Q4_0 | IQ4_NL => each!(i, nibble(&b[2..18], i)),
        Q4_1 => each!(i, nibble(&b[4..20], i)),
        MXFP4 => each!(i, nibble(&b[1..17], i)),
        Q5_0 => each!(i, nibble(&b[6..22], i) | bit(&b[2..6], i) << 4),
        Q5_1 => each!(i, nibble(&b[8..24], i) | bit(&b[4..8], i) << 4),
        Q2_K => each!(i, two_bits(&b[16..80], i)),
        Q3_K => each!(i, two_bits(&b[32..96], i) | (b[i % 32] >> (i / 32) & 1) << 2),
        Q4_K => each!(i, four_bits(&b[16..144], i)),
        Q5_K => each!(i, four_bits(&b[48..176], i) | (b[16 + i % 32] >> (i / 32) & 1) << 4),
        Q6_K => each!(i, q6_k_low(&b[..128], i) | two_bits(&b[128..192], i) << 4),
        IQ4_XS => each!(i, nibble(&b[8 + i / 32 * 16..], i % 32)),
        F64 | F32 | F16 | BF16 | F8_E4M3 | F8_E8M0 => unreachable!("floats have no codes"),
    }
}
