//! Rows of stored bytes to the panels of a frozen weight, without loss.

use super::form::{Codes, Form, QUAD, Scales};
use super::stored::Stored;
use crate::simd::LANES;
use crate::stored::StoredType::{self, *};
use crate::stored::{iq4_xs_scale, q3_k_scale, scale_and_min};

/// Inputs whose codes are taken at a time: no block has more.
const MOST: usize = 256;

/// Lays rows `first..first + 32` of `source`, or as many as there are, out in `panel`, which is zero.
pub(super) fn panel(form: &Form, source: &Stored, first: usize, panel: &mut [u8]) {
    let ty = source.ty;
    let (mut rows, mut scales) = ([&[][..]; LANES], [&[][..]; LANES]);
    let lanes = LANES.min(source.n - first);
    for lane in 0..lanes {
        rows[lane] = source.bytes(first + lane);
        if let Some(from) = source.scales {
            scales[lane] = (from.row)(first + lane);
        }
    }
    let mut codes = [[0; MOST]; LANES];
    for block in 0..source.k.div_ceil(form.block) {
        let (start, inputs) = form.block_at(block, source.k);
        let at = block * form.block;
        let (header, lines) = panel[start..].split_at_mut(form.header_bytes());
        let lines = &mut lines[..inputs * (form.low_bytes() + form.high_bytes())];
        let bytes = ty.bytes(at).expect("whole blocks")..ty.bytes(at + inputs).expect("whole blocks");
        let mut blocks = [&[][..]; LANES];
        for lane in 0..lanes {
            blocks[lane] = &rows[lane][bytes.clone()];
        }
        match form.codes {
            Codes::F32 if ty == F64 => {
                place_floats(&blocks[..lanes], lines, |x: &[u8; 8]| (f64::from_le_bytes(*x) as f32).to_le_bytes());
            }
            Codes::F32 => place_floats(&blocks[..lanes], lines, |x: &[u8; 4]| *x),
            Codes::F16 | Codes::BF16 => place_floats(&blocks[..lanes], lines, |x: &[u8; 2]| *x),
            _ => {
                for lane in 0..lanes {
                    if let (Scales::Single, Some(from)) = (form.scales, source.scales) {
                        header[4 * lane..][..4].copy_from_slice(&scales[lane][at / from.block_k].to_le_bytes());
                    }
                    place_header(ty, form, blocks[lane], lane, header);
                    codes_of(ty, blocks[lane], &mut codes[lane][..inputs]);
                }
                place_codes(form, &codes, inputs, lines);
            }
        }
    }
}

/// The values of rows of `A` bytes each, made to `B` bytes, input after input.
fn place_floats<const A: usize, const B: usize>(rows: &[&[u8]], lines: &mut [u8], value: impl Fn(&[u8; A]) -> [u8; B]) {
    // A few inputs at a time, because rows may lie so that they keep each other out of the cache.
    for (block, lines) in lines.chunks_mut(16 * LANES * B).enumerate() {
        for (lane, row) in rows.iter().enumerate() {
            let values = &row.as_chunks::<A>().0[16 * block..];
            for (line, x) in lines.chunks_exact_mut(LANES * B).zip(values) {
                line.as_chunks_mut::<B>().0[lane] = value(x);
            }
        }
    }
}

/// The codes of 32 outputs, group after group.
fn place_codes(form: &Form, codes: &[[u8; MOST]; LANES], inputs: usize, lines: &mut [u8]) {
    if !form.is_in_quads() {
        for (i, line) in lines.chunks_exact_mut(LANES).enumerate() {
            for (byte, codes) in line.iter_mut().zip(codes) {
                *byte = codes[i];
            }
        }
        return;
    }
    // A plane of P bits has 16·P bytes for a quad of inputs.
    let (low_bytes, high_bytes) = (QUAD * form.low_bytes(), QUAD * form.high_bytes());
    let (low_bits, high_bits) = (low_bytes / 16, high_bytes / 16);
    for (group, planes) in lines.chunks_mut(form.group / QUAD * (low_bytes + high_bytes)).enumerate() {
        let first = group * form.group;
        let quads = form.group.min(inputs - first) / QUAD;
        let (low, high) = planes.split_at_mut(quads * low_bytes);
        for (i, low) in low.chunks_exact_mut(low_bytes).enumerate() {
            let mut quad = [0; QUAD * LANES];
            for (quad, codes) in quad.as_chunks_mut::<QUAD>().0.iter_mut().zip(codes) {
                quad.copy_from_slice(&codes[first + QUAD * i..][..QUAD]);
            }
            pack(low_bits, &quad, low);
            if high_bytes > 0 {
                quad.iter_mut().for_each(|code| *code >>= low_bits);
                pack(high_bits, &quad, &mut high[i * high_bytes..][..high_bytes]);
            }
        }
    }
}

/// The lowest `bits` of each code: code i at bit bits·⌊i/P⌋ of byte i mod P, for P = 16·bits bytes.
fn pack(bits: usize, codes: &[u8; QUAD * LANES], plane: &mut [u8]) {
    if bits == 8 {
        plane.copy_from_slice(codes);
        return;
    }
    let mask = (1 << bits) - 1;
    for (shift, codes) in codes.chunks_exact(16 * bits).enumerate() {
        for (byte, code) in plane.iter_mut().zip(codes) {
            *byte |= (code & mask) << (shift * bits);
        }
    }
}

/// Where the F16 scales stand in a block of ggml's.
pub(super) fn half_scales(ty: StoredType) -> &'static [usize] {
    match ty {
        Q8_0 | Q4_0 | Q5_0 | IQ4_NL | IQ4_XS => &[0],
        Q4_1 | Q5_1 | Q4_K | Q5_K => &[0, 2],
        Q2_K => &[80, 82],
        Q3_K => &[108],
        Q6_K => &[208],
        _ => &[],
    }
}

/// The scales of a block of ggml's, for one output.
fn place_header(ty: StoredType, form: &Form, b: &[u8], lane: usize, header: &mut [u8]) {
    let halves = half_scales(ty);
    for (i, &at) in halves.iter().enumerate() {
        header[64 * i + 2 * lane..][..2].copy_from_slice(&b[at..at + 2]);
    }
    if halves.is_empty() && ty != MXFP4 {
        return;
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

/// The codes of a block, as unsigned numbers; signed bytes and 8-bit floats as they are.
pub(super) fn codes_of(ty: StoredType, b: &[u8], out: &mut [u8]) {
    out.fill(0);
    match ty {
        F8_E4M3 => out.copy_from_slice(b),
        Q8_0 => out.copy_from_slice(&b[2..]),
        Q4_0 | IQ4_NL => add_nibbles(&b[2..], out),
        Q4_1 => add_nibbles(&b[4..], out),
        MXFP4 => add_nibbles(&b[1..], out),
        Q5_0 => {
            add_nibbles(&b[6..], out);
            add_fifth_bits(&b[2..], out);
        }
        Q5_1 => {
            add_nibbles(&b[8..], out);
            add_fifth_bits(&b[4..], out);
        }
        Q2_K | Q3_K | Q4_K | Q5_K | Q6_K | IQ4_XS => {
            for (row, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                codes_of_row(ty, b, row, out);
            }
        }
        F64 | F32 | F16 | BF16 | F8_E8M0 => unreachable!("floats have no codes"),
    }
}

/// Row `row` of 32 codes among the 256 of a block.
fn codes_of_row(ty: StoredType, b: &[u8], row: usize, out: &mut [u8; 32]) {
    // Rows of 2, of 4 and of 1 bit behind byte `at`.
    let pairs = |at: usize| (&b[at + row / 4 * 32..], row % 4 * 2, 3);
    let nibbles = |at: usize| (&b[at + row / 2 * 32..], row % 2 * 4, 15);
    let bits = |at: usize| (&b[at..], row, 1);
    match ty {
        Q2_K => add_bits(pairs(16), 0, out),
        Q3_K => {
            add_bits(pairs(32), 0, out);
            add_bits(bits(0), 2, out);
        }
        Q4_K => add_bits(nibbles(16), 0, out),
        Q5_K => {
            add_bits(nibbles(48), 0, out);
            add_bits(bits(16), 4, out);
        }
        Q6_K => {
            // Each half of a block has two rows of bytes for four of values: 0 and 2 share one, 1 and 3 the other.
            add_bits((&b[row / 4 * 64 + row % 2 * 32..], row % 4 / 2 * 4, 15), 0, out);
            add_bits(pairs(128), 4, out);
        }
        _ => add_nibbles(&b[8 + 16 * row..], out),
    }
}

/// Adds to each code the bits of its byte above `shift` under `mask`, shifted left.
fn add_bits((bytes, shift, mask): (&[u8], usize, u8), left: usize, out: &mut [u8]) {
    for (out, byte) in out.iter_mut().zip(bytes) {
        *out |= (byte >> shift & mask) << left;
    }
}

/// 32 codes in 16 bytes, the first 16 in the lower halves.
fn add_nibbles(bytes: &[u8], out: &mut [u8]) {
    let (low, high) = out.split_at_mut(16);
    add_bits((bytes, 0, 15), 0, low);
    add_bits((&bytes[..16], 4, 15), 0, high);
}

/// The fifth bits of 32 codes.
fn add_fifth_bits(bytes: &[u8], out: &mut [u8]) {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    for (i, out) in out.iter_mut().enumerate() {
        *out |= (bits >> i & 1) as u8 * 16;
    }
}
