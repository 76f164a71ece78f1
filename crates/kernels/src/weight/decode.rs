//! Panels of a frozen weight to f32.

use super::form::{Codes, Form, Scales};
use crate::simd::{LANES, Simd};
use crate::stored::e8m0_half;
use std::ops::Range;

crate::kernel! {
    /// `out` `[ks][32]` = the weights of inputs `ks` in a panel of `k` inputs.
    pub(super) fn decode<S>(s, form: &Form, panel: &[u8], k: usize, ks: Range<usize>, out: &mut [f32]) {
        assert!(ks.end <= k && out.len() == ks.len() * LANES, "inputs {ks:?} of {k} into {} values", out.len());
        let mut out = out.as_chunks_mut::<LANES>().0;
        let mut at = ks.start;
        while at < ks.end {
            let block = at / form.block;
            let (start, inputs) = form.block_at(block, k);
            let (header, planes) = panel[start..].split_at(form.header_bytes());
            let (low, high) = planes.split_at(inputs * form.low_bytes());
            let first = at - block * form.block;
            let group = first / form.group;
            let end = inputs.min((group + 1) * form.group).min(first + (ks.end - at));
            let (now, rest) = out.split_at_mut(end - first);
            let low = &low[first * form.low_bytes()..end * form.low_bytes()];
            let high = &high[first * form.high_bytes()..end * form.high_bytes()];
            decode_group(s, form, header, group, low, high, now);
            out = rest;
            at += end - first;
        }
    }
}

/// The inputs of one group, or some of them.
#[inline(always)]
fn decode_group<S: Simd>(
    s: S,
    form: &Form,
    header: &[u8],
    group: usize,
    low: &[u8],
    high: &[u8],
    out: &mut [[f32; LANES]],
) {
    // A macro, because a closure would be compiled without the instruction set.
    macro_rules! each {
        ($low:ident: $bytes:literal, $value:expr) => {{
            for ($low, out) in low.as_chunks::<$bytes>().0.iter().zip(out) {
                s.store(out, $value);
            }
        }};
        ($low:ident: $low_bytes:literal, $high:ident: $high_bytes:literal, $value:expr) => {{
            let planes = low.as_chunks::<$low_bytes>().0.iter().zip(high.as_chunks::<$high_bytes>().0);
            for (($low, $high), out) in planes.zip(out) {
                s.store(out, $value);
            }
        }};
    }
    if form.scales == Scales::None {
        match form.codes {
            Codes::F32 => {
                for (bytes, out) in low.as_chunks::<{ 4 * LANES }>().0.iter().zip(out) {
                    for (x, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                        *x = f32::from_le_bytes(*bytes);
                    }
                }
            }
            Codes::F16 => each!(x: 64, s.f16(x)),
            Codes::BF16 => each!(x: 64, s.bf16(x)),
            Codes::F8 => each!(x: 32, s.e4m3(x)),
            _ => unreachable!("codes without scales"),
        }
        return;
    }
    let (scale, min) = scales(s, form, header, group);
    match form.codes {
        Codes::Four(table) => each!(x: 16, s.fma(scale, s.signed(s.pick(table, s.unpack_4(x))), min)),
        Codes::FourOne(offset) => each!(x: 16, y: 4, {
            let code = s.join::<4>(s.unpack_4(x), s.unpack_1(y));
            s.fma(scale, s.signed(s.add_to_bytes(code, offset)), min)
        }),
        Codes::FourTwo(offset) => each!(x: 16, y: 8, {
            let code = s.join::<4>(s.unpack_4(x), s.unpack_2(y));
            s.fma(scale, s.signed(s.add_to_bytes(code, offset)), min)
        }),
        Codes::Two => each!(x: 8, s.fma(scale, s.signed(s.unpack_2(x)), min)),
        Codes::TwoOne(offset) => each!(x: 8, y: 4, {
            let code = s.join::<2>(s.unpack_2(x), s.unpack_1(y));
            s.fma(scale, s.signed(s.add_to_bytes(code, offset)), min)
        }),
        Codes::Eight => each!(x: 32, s.fma(scale, s.signed(s.bytes(x)), min)),
        Codes::F8 => each!(x: 32, s.fma(scale, s.e4m3(x), min)),
        Codes::F32 | Codes::F16 | Codes::BF16 => unreachable!("scales of plain floats"),
    }
}

/// Scales and minimums of the 32 outputs in a group. Where there is no minimum it is −0, which changes no sum.
#[inline(always)]
fn scales<S: Simd>(s: S, form: &Form, header: &[u8], group: usize) -> (S::V, S::V) {
    let none = s.splat(-0.0);
    let half = |i: usize| header[64 * i..].first_chunk::<64>().expect("a header has its scales");
    // 32 bytes behind so many bytes for each output.
    let run = |i: usize| header[LANES * i..].first_chunk::<LANES>().expect("a header has its scales");
    match form.scales {
        Scales::None => (s.splat(1.0), none),
        Scales::Half => (s.f16(half(0)), none),
        Scales::HalfAndMin => (s.f16(half(0)), s.f16(half(1))),
        Scales::Runs => (s.mul(s.f16(half(0)), s.signed(s.bytes(run(2 + group)))), none),
        Scales::RunsAndMins => {
            let groups = form.block / form.group;
            let scale = s.mul(s.f16(half(0)), s.signed(s.bytes(run(4 + group))));
            let min = s.mul(s.f16(half(1)), s.signed(s.bytes(run(4 + groups + group))));
            (scale, s.mul(min, s.splat(-1.0)))
        }
        Scales::Nibbles => {
            let (mut scales, mut mins) = ([0; LANES], [0; LANES]);
            for ((scale, min), both) in scales.iter_mut().zip(&mut mins).zip(run(4 + group)) {
                (*scale, *min) = (both & 15, both >> 4);
            }
            let scale = s.mul(s.f16(half(0)), s.signed(s.bytes(&scales)));
            let min = s.mul(s.f16(half(1)), s.signed(s.bytes(&mins)));
            (scale, s.mul(min, s.splat(-1.0)))
        }
        Scales::Exponent => {
            let mut scales = [0.0; LANES];
            for (scale, &exponent) in scales.iter_mut().zip(run(0)) {
                *scale = e8m0_half(exponent);
            }
            (s.load(&scales), none)
        }
        Scales::Single => {
            let mut scales = [0.0; LANES];
            for (scale, bytes) in scales.iter_mut().zip(header.as_chunks().0) {
                *scale = f32::from_le_bytes(*bytes);
            }
            (s.load(&scales), none)
        }
    }
}
