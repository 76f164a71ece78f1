//! Panels of a frozen weight to f32.

use super::form::{Codes, Form, QUAD, Scales};
use crate::simd::{LANES, Simd};
use crate::stored::e8m0_half;
use std::ops::Range;

/// Bytes between the codes that are decoded and those that are asked for from memory.
pub(super) const AHEAD: usize = 1024;

/// Bytes of the longest group for which that is done.
const MOST_AHEAD: usize = 768;

crate::kernel! {
    /// `out` `[ks][32]` = the weights of inputs `ks` in a panel of `k` inputs.
    pub(super) fn decode<S>(s, form: &Form, panel: &[u8], k: usize, ks: Range<usize>, out: &mut [f32]) {
        assert!(ks.end <= k && out.len() == ks.len() * LANES, "inputs {ks:?} of {k} into {} values", out.len());
        visit(s, form, panel, k, ks, &mut Store(out.as_chunks_mut().0));
    }
}

crate::kernel! {
    /// The chains of one row `x` `[k]` through a panel, from what `c` holds: the same as decoding the panel and
    /// multiplying by it, but each weight is used where it is decoded.
    pub(super) fn row_product<S>(s, form: &Form, panel: &[u8], x: &[f32], c: &mut [f32; LANES]) {
        let mut chain = Chain { x, sum: s.load(c) };
        visit(s, form, panel, x.len(), 0..x.len(), &mut chain);
        s.store(c, chain.sum);
    }
}

/// Where decoded weights go: `value` belongs to the `i`-th input asked for.
trait Sink<S: Simd> {
    fn take(&mut self, s: S, i: usize, value: S::V);
}

struct Store<'a>(&'a mut [[f32; LANES]]);

impl<S: Simd> Sink<S> for Store<'_> {
    #[inline(always)]
    fn take(&mut self, s: S, i: usize, value: S::V) {
        s.store(&mut self.0[i], value);
    }
}

struct Chain<'a, S: Simd> {
    x: &'a [f32],
    sum: S::V,
}

impl<S: Simd> Sink<S> for Chain<'_, S> {
    #[inline(always)]
    fn take(&mut self, s: S, i: usize, value: S::V) {
        self.sum = s.fma(s.splat(self.x[i]), value, self.sum);
    }
}

/// Gives the weights of inputs `ks` in a panel of `k` inputs to `sink`, in order.
#[inline(always)]
fn visit<S: Simd>(s: S, form: &Form, panel: &[u8], k: usize, ks: Range<usize>, sink: &mut impl Sink<S>) {
    let is_whole = !form.is_in_quads() || ks.start.is_multiple_of(QUAD) && ks.end.is_multiple_of(QUAD);
    assert!(is_whole, "inputs {ks:?} are no whole quads");
    let mut at = ks.start;
    while at < ks.end {
        let block = at / form.block;
        let (start, inputs) = form.block_at(block, k);
        let (header, codes) = panel[start..].split_at(form.header_bytes());
        let group = (at - block * form.block) / form.group;
        let (codes, inputs) = form.group_of(group, inputs, codes);
        let (low, high) = codes.split_at(inputs * form.low_bytes());
        let first = at - block * form.block - group * form.group;
        let end = inputs.min(first + (ks.end - at));
        // Short groups of several parts are read here and there, which prefetchers do not expect. (Asking for much at
        // once makes what is needed now wait.)
        if codes.len() <= MOST_AHEAD {
            let header = if group == 0 { header.len() } else { 0 };
            for line in (0..codes.len() + header).step_by(64) {
                s.prefetch(codes.as_ptr().wrapping_add(line + AHEAD).cast());
            }
        }
        let low = &low[first * form.low_bytes()..end * form.low_bytes()];
        let high = &high[first * form.high_bytes()..end * form.high_bytes()];
        visit_group(s, form, header, group, low, high, at - ks.start, sink);
        at += end - first;
    }
}

/// The inputs of one group, or some of them, the first of which is the `at`-th asked for.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn visit_group<S: Simd>(
    s: S,
    form: &Form,
    header: &[u8],
    group: usize,
    low: &[u8],
    high: &[u8],
    at: usize,
    sink: &mut impl Sink<S>,
) {
    // A macro, because a closure would be compiled without the instruction set.
    macro_rules! each {
        ($x:ident: $bytes:literal, $value:expr) => {
            for (i, $x) in low.as_chunks::<$bytes>().0.iter().enumerate() {
                sink.take(s, at + i, $value);
            }
        };
    }
    match (form.codes, form.scales) {
        (Codes::F32, _) => each!(x: 128, {
            let mut values = [0.0; LANES];
            for (value, bytes) in values.iter_mut().zip(x.as_chunks().0) {
                *value = f32::from_le_bytes(*bytes);
            }
            s.load(&values)
        }),
        (Codes::F16, _) => each!(x: 64, s.f16(x)),
        (Codes::BF16, _) => each!(x: 64, s.bf16(x)),
        (Codes::F8, Scales::None) => each!(x: 32, s.e4m3(x)),
        (Codes::F8, _) => {
            let (scale, min) = scales(s, form, header, group);
            each!(x: 32, s.fma(scale, s.e4m3(x), min));
        }
        (codes, _) => {
            let (scale, min) = scales(s, form, header, group);
            visit_quads(s, codes, low, high, &mut Values { sink, scale, min, at });
        }
    }
}

/// What codes of a group are made to: inputs `at` and on of those asked for.
struct Values<'a, S: Simd, T> {
    sink: &'a mut T,
    scale: S::V,
    min: S::V,
    at: usize,
}

impl<S: Simd, T: Sink<S>> Quads<S> for Values<'_, S, T> {
    #[inline(always)]
    fn unsigned(&mut self, s: S, i: usize, codes: S::Q, offset: i8) {
        self.signed(s, i, s.add_to_bytes(codes, offset));
    }

    #[inline(always)]
    fn signed(&mut self, s: S, i: usize, codes: S::Q) {
        let Values { scale, min, .. } = *self;
        let at = self.at + QUAD * i;
        self.sink.take(s, at, s.fma(scale, s.input::<0>(codes), min));
        self.sink.take(s, at + 1, s.fma(scale, s.input::<1>(codes), min));
        self.sink.take(s, at + 2, s.fma(scale, s.input::<2>(codes), min));
        self.sink.take(s, at + 3, s.fma(scale, s.input::<3>(codes), min));
    }
}

/// Where codes go, four inputs of 32 outputs at a time: the `i`-th quad of a group.
pub(super) trait Quads<S: Simd> {
    /// Codes of at most 63, to each of which `offset` is to be added.
    fn unsigned(&mut self, s: S, i: usize, codes: S::Q, offset: i8);
    /// Codes that are signed bytes.
    fn signed(&mut self, s: S, i: usize, codes: S::Q);
}

/// Gives the codes of planes of a group to `sink`, in order.
#[inline(always)]
pub(super) fn visit_quads<S: Simd>(s: S, codes: Codes, low: &[u8], high: &[u8], sink: &mut impl Quads<S>) {
    macro_rules! each {
        ($i:ident, $low:ident: $bytes:literal, $take:expr) => {
            for ($i, $low) in low.as_chunks::<$bytes>().0.iter().enumerate() {
                $take;
            }
        };
        ($i:ident, $low:ident: $low_bytes:literal, $high:ident: $high_bytes:literal, $take:expr) => {
            let planes = low.as_chunks::<$low_bytes>().0.iter().zip(high.as_chunks::<$high_bytes>().0);
            for ($i, ($low, $high)) in planes.enumerate() {
                $take;
            }
        };
    }
    match codes {
        Codes::Eight => each!(i, x: 128, sink.signed(s, i, s.quads(x))),
        Codes::Four(offset) => each!(i, x: 64, sink.unsigned(s, i, s.quads_4(x), offset)),
        Codes::Picked(table) => each!(i, x: 64, sink.signed(s, i, s.pick(table, s.quads_4(x)))),
        Codes::FourOne(offset) => {
            each!(i, x: 64, y: 16, sink.unsigned(s, i, s.join::<4>(s.quads_4(x), s.quads_1(y)), offset));
        }
        Codes::FourTwo(offset) => {
            each!(i, x: 64, y: 32, sink.unsigned(s, i, s.join::<4>(s.quads_4(x), s.quads_2(y)), offset));
        }
        Codes::Two => each!(i, x: 32, sink.unsigned(s, i, s.quads_2(x), 0)),
        Codes::TwoOne(offset) => {
            each!(i, x: 32, y: 16, sink.unsigned(s, i, s.join::<2>(s.quads_2(x), s.quads_1(y)), offset));
        }
        Codes::F32 | Codes::F16 | Codes::BF16 | Codes::F8 => unreachable!("floats stand input by input"),
    }
}

/// Scales and minimums of the 32 outputs in a group. Where there is no minimum it is −0, which changes no sum.
#[inline(always)]
pub(super) fn scales<S: Simd>(s: S, form: &Form, header: &[u8], group: usize) -> (S::V, S::V) {
    let none = s.splat(-0.0);
    let half = |i: usize| header[64 * i..].first_chunk::<64>().expect("a header has its scales");
    // 32 bytes behind so many bytes for each output.
    let run = |i: usize| header[LANES * i..].first_chunk::<LANES>().expect("a header has its scales");
    match form.scales {
        Scales::None => (s.splat(1.0), none),
        Scales::Half => (s.f16(half(0)), none),
        Scales::HalfAndMin => (s.f16(half(0)), s.f16(half(1))),
        Scales::Runs => (s.mul(s.f16(half(0)), s.signed(run(2 + group))), none),
        Scales::RunsAndMins => {
            let groups = form.block / form.group;
            let scale = s.mul(s.f16(half(0)), s.signed(run(4 + group)));
            let min = s.mul(s.f16(half(1)), s.signed(run(4 + groups + group)));
            (scale, s.mul(min, s.splat(-1.0)))
        }
        Scales::Nibbles => {
            let (mut scales, mut mins) = ([0; LANES], [0; LANES]);
            for ((scale, min), both) in scales.iter_mut().zip(&mut mins).zip(run(4 + group)) {
                (*scale, *min) = (both & 15, both >> 4);
            }
            let scale = s.mul(s.f16(half(0)), s.signed(&scales));
            let min = s.mul(s.f16(half(1)), s.signed(&mins));
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
