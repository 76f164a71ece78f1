//! Against the definition, one number at a time; and the promises of the module's first page.

use super::*;
use crate::simd::{Isa, LANES};
use crate::testing::noise;
use crate::{Cpu, Team, math};
use proptest::prelude::*;
use std::ops::Range;

crate::kernel! {
    fn exp_lanes<S>(s, x: &mut [f32; LANES]) {
        let y = math::exp(s, s.load(x));
        s.store(x, y);
    }
}

fn exp(x: f32) -> f32 {
    let mut lanes = [x; LANES];
    exp_lanes(Isa::scalar(), &mut lanes);
    lanes[0]
}

/// The fixed tree over lanes that were each filled in ascending order.
fn lane_sum(mut lanes: [f32; LANES]) -> f32 {
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

fn chain(n: usize, from: f32, term: impl Fn(usize) -> (f32, f32)) -> f32 {
    (0..n).fold(from, |acc, i| {
        let (a, b) = term(i);
        a.mul_add(b, acc)
    })
}

/// A layer's inputs and the sequences among its rows.
struct Case {
    shape: Shape,
    spans: Vec<Range<usize>>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    dout: Vec<f32>,
}

impl Case {
    fn new(kv_heads: usize, group: usize, dk: usize, dv: usize, lens: &[usize], seed: u32) -> Case {
        let heads = kv_heads * group;
        let shape = Shape { heads, kv_heads, dk, dv, scale: 1.7 / (dk as f32).sqrt(), latent: false };
        let mut t = 0;
        let spans = lens
            .iter()
            .map(|len| {
                t += len;
                t - len..t
            })
            .collect();
        Case {
            shape,
            spans,
            q: noise(t * heads * dk, seed),
            k: noise(t * kv_heads * dk, seed ^ 1),
            v: noise(t * kv_heads * dv, seed ^ 2),
            dout: noise(t * heads * dv, seed ^ 3),
        }
    }

    fn tokens(&self) -> usize {
        self.spans.last().map_or(0, |span| span.end)
    }

    fn q(&self, t: usize, h: usize) -> &[f32] {
        &self.q[(t * self.shape.heads + h) * self.shape.dk..][..self.shape.dk]
    }

    fn k(&self, t: usize, h: usize) -> &[f32] {
        &self.k[(t * self.shape.kv_heads + h / self.shape.group()) * self.shape.dk..][..self.shape.dk]
    }

    fn v(&self, t: usize, h: usize) -> &[f32] {
        &self.v[(t * self.shape.kv_heads + h / self.shape.group()) * self.shape.dv..][..self.shape.dv]
    }

    /// Every (span, row, head).
    fn rows(&self) -> impl Iterator<Item = (Range<usize>, usize, usize)> {
        let heads = self.shape.heads;
        let rows = self.spans.iter().flat_map(|span| span.clone().map(|t| (span.clone(), t)));
        rows.flat_map(move |(span, t)| (0..heads).map(move |h| (span.clone(), t, h)))
    }

    /// out by the definition for pages that round: what the segments of keys give, merged one after another.
    fn slow_in_segments(&self) -> Vec<f32> {
        let Shape { dk, dv, scale, .. } = self.shape;
        let mut out = Vec::new();
        for (span, t, h) in self.rows() {
            let keys: Vec<usize> = (span.start..=t).collect();
            let parts = keys.chunks(SEGMENT).map(|keys| {
                let s: Vec<f32> =
                    keys.iter().map(|u| chain(dk, 0.0, |i| (self.q(t, h)[i], self.k(*u, h)[i])) * scale).collect();
                let max = s.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let p: Vec<f32> = s.iter().map(|s| exp(s - max)).collect();
                let mut lanes = [0.0; LANES];
                p.iter().enumerate().for_each(|(i, p)| lanes[i % LANES] += p);
                let sums: Vec<f32> =
                    (0..dv).map(|j| chain(keys.len(), 0.0, |i| (p[i], self.v(keys[i], h)[j]))).collect();
                (max, lane_sum(lanes), sums)
            });
            let merged = parts.reduce(|(max, total, sums), (later_max, later_total, later_sums)| {
                let most = max.max(later_max);
                let (kept, gained) = (exp(max - most), exp(later_max - most));
                let merge = |x: f32, later: f32| later.mul_add(gained, x * kept);
                (most, merge(total, later_total), sums.iter().zip(&later_sums).map(|(x, y)| merge(*x, *y)).collect())
            });
            let (_, total, sums) = merged.expect("a row sees itself");
            out.extend(sums.iter().map(|x| (x + 0.0) / total));
        }
        out
    }

    /// out and stats by the definition.
    fn slow_forward(&self) -> (Vec<f32>, Vec<f32>) {
        let Shape { heads, dk, dv, scale, .. } = self.shape;
        let (mut out, mut stats) = (Vec::new(), vec![0.0; self.tokens() * heads * 2]);
        for (span, t, h) in self.rows() {
            let seen = t + 1 - span.start;
            let s: Vec<f32> =
                (span.start..=t).map(|u| chain(dk, 0.0, |i| (self.q(t, h)[i], self.k(u, h)[i])) * scale).collect();
            let max = s.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let p: Vec<f32> = s.iter().map(|s| exp(s - max)).collect();
            let mut lanes = [0.0; LANES];
            p.iter().enumerate().for_each(|(i, p)| lanes[i % LANES] += p);
            let sum = lane_sum(lanes);
            stats[2 * (t * heads + h)..][..2].copy_from_slice(&[max, sum]);
            out.extend((0..dv).map(|j| chain(seen, 0.0, |i| (p[i], self.v(span.start + i, h)[j])) / sum));
        }
        (out, stats)
    }

    /// Gradients by the definition.
    fn slow_backward(&self, out: &[f32], stats: &[f32]) -> [Vec<f32>; 3] {
        let Shape { heads, dk, dv, scale, kv_heads, .. } = self.shape;
        let [mut dq, mut dkeys, mut dvalues] = [&self.q, &self.k, &self.v].map(|x| vec![0f32; x.len()]);
        for (span, t, h) in self.rows() {
            let row = t * heads + h;
            let (out, dout) = (&out[row * dv..][..dv], &self.dout[row * dv..][..dv]);
            let mut lanes = [0f32; LANES];
            for j in 0..dv {
                lanes[j % LANES] = out[j].mul_add(dout[j], lanes[j % LANES]);
            }
            let delta = lane_sum(lanes);
            for u in span.start..=t {
                let s = chain(dk, 0.0, |i| (self.q(t, h)[i], self.k(u, h)[i])) * scale;
                let p = exp(s - stats[2 * row]) * (1.0 / stats[2 * row + 1]);
                let dp = chain(dv, 0.0, |j| (dout[j], self.v(u, h)[j]));
                let ds = p * (dp - delta) * scale;
                let key = u * kv_heads + h / self.shape.group();
                for i in 0..dk {
                    dq[row * dk + i] = ds.mul_add(self.k(u, h)[i], dq[row * dk + i]);
                    dkeys[key * dk + i] = ds.mul_add(self.q(t, h)[i], dkeys[key * dk + i]);
                }
                for j in 0..dv {
                    dvalues[key * dv + j] = p.mul_add(dout[j], dvalues[key * dv + j]);
                }
            }
        }
        [dq, dkeys, dvalues]
    }

    fn forward(&self, cpu: &Cpu) -> (Vec<f32>, Vec<f32>) {
        let rows = self.tokens() * self.shape.heads;
        let (mut out, mut stats) = (vec![9.0; rows * self.shape.dv], vec![9.0; rows * 2]);
        forward(cpu, &self.shape, &self.q, &self.k, &self.v, &self.spans, &mut out, &mut stats);
        (out, stats)
    }

    fn backward(&self, cpu: &Cpu, out: &[f32], stats: &[f32]) -> [Vec<f32>; 3] {
        let [mut dq, mut dk, mut dv] = [&self.q, &self.k, &self.v].map(|x| vec![9.0; x.len()]);
        let Case { shape, spans, q, k, v, dout } = self;
        backward(cpu, shape, q, k, v, out, stats, dout, spans, &mut dq, &mut dk, &mut dv);
        [dq, dk, dv]
    }

    /// With keys and values given segment by segment, `step` tokens of every sequence at a time.
    fn given(&self, cpu: &Cpu, step: usize) -> Vec<f32> {
        let shape = &self.shape;
        let (k_width, v_width) = (shape.kv_heads * shape.dk, shape.kv_heads * shape.dv);
        let mut out = vec![9.0; self.tokens() * shape.heads * shape.dv];
        for span in &self.spans {
            for start in (0..span.len()).step_by(step) {
                let end = span.len().min(start + step);
                let mut sums = InSegments::new(shape, span.start + start..span.start + end, start);
                for from in (0..end).step_by(SEGMENT) {
                    let to = end.min(from + SEGMENT);
                    let tokens = span.start + from..span.start + to;
                    let k = &self.k[tokens.start * k_width..tokens.end * k_width];
                    let v = &self.v[tokens.start * v_width..tokens.end * v_width];
                    sums.add(cpu, shape, &self.q, (k, v), from..to);
                }
                sums.finish(cpu, shape, &mut out);
            }
        }
        out
    }

    /// Through a cache of `form`, `step` tokens of every sequence at a time.
    fn cached(&self, cpu: &Cpu, form: Form, step: usize) -> Vec<f32> {
        let shape = &self.shape;
        let (q_width, out_width) = (shape.heads * shape.dk, shape.heads * shape.dv);
        let (k_width, v_width) = (shape.kv_heads * shape.dk, shape.kv_heads * shape.dv);
        let mut out = vec![9.0; self.tokens() * out_width];
        // What a page held before must not matter.
        let mut pages: Vec<Vec<Vec<f32>>> =
            self.spans.iter().map(|s| vec![vec![f32::NAN; page_len(shape, form)]; s.len().div_ceil(PAGE)]).collect();
        let longest = self.spans.iter().map(Range::len).max().unwrap_or(0);
        for start in (0..longest).step_by(step) {
            let mut q = Vec::new();
            let mut rows = Vec::new();
            for (span, pages) in self.spans.iter().zip(&mut pages) {
                let tokens = start.min(span.len())..(start + step).min(span.len());
                for i in tokens.clone() {
                    let t = span.start + i;
                    let (k, v) = (&self.k[t * k_width..][..k_width], &self.v[t * v_width..][..v_width]);
                    append(shape, form, k, v, &mut pages[i / PAGE], i % PAGE);
                    q.extend(&self.q[t * q_width..][..q_width]);
                }
                rows.push(tokens);
            }
            let pages: Vec<Vec<&[f32]>> = pages.iter().map(|p| p.iter().map(Vec::as_slice).collect()).collect();
            let mut next = 0;
            let spans: Vec<CachedSpan> = rows
                .iter()
                .zip(&pages)
                .map(|(tokens, pages)| {
                    next += tokens.len();
                    CachedSpan { rows: next - tokens.len()..next, start: tokens.start, pages }
                })
                .collect();
            let mut part = vec![9.0; next * out_width];
            forward_cached(cpu, shape, form, &q, &spans, &mut part);
            for ((span, tokens), cached) in self.spans.iter().zip(&rows).zip(&spans) {
                let to = (span.start + tokens.start) * out_width..(span.start + tokens.end) * out_width;
                out[to].copy_from_slice(&part[cached.rows.start * out_width..cached.rows.end * out_width]);
            }
        }
        out
    }
}

/// `row` of one position and head as a page of `form` has it.
fn rounded(form: Form, row: &[f32]) -> Vec<f32> {
    match form {
        Form::F32 => row.to_vec(),
        Form::F16 => row.iter().map(|x| half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_f32()).collect(),
        Form::Q8 => {
            let scale = row.iter().fold(0_f32, |most, x| most.max(x.abs())) / 127.0;
            let code = |x: &f32| if scale > 0.0 { (x / scale).round_ties_even() } else { 0.0 };
            row.iter().map(|x| code(x) * scale).collect()
        }
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn equals_the_definition_bit_for_bit(kv_heads in 1usize..3, group in 1usize..4, dk in 1usize..70, dv in 1usize..70,
                                         lens in prop::collection::vec(0usize..80, 1..4), step in 1usize..50, seed: u32) {
        let case = Case::new(kv_heads, group, dk, dv, &lens, seed);
        let (out, stats) = case.slow_forward();
        let grads = case.slow_backward(&out, &stats);
        for isa in Isa::available() {
            for threads in 1..4 {
                let cpu = Cpu { isa, team: Team::new(threads).unwrap() };
                let (out2, stats2) = case.forward(&cpu);
                prop_assert!(same_bits(&out, &out2) && same_bits(&stats, &stats2), "forward on {}", isa.name());
                prop_assert!(same_bits(&out, &case.cached(&cpu, Form::F32, step)), "cached on {}", isa.name());
                let grads2 = case.backward(&cpu, &out, &stats);
                for i in 0..3 {
                    prop_assert!(same_bits(&grads[i], &grads2[i]), "gradient {i} on {}", isa.name());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn a_rounded_cache_is_the_definition_on_rounded_rows(
        kv_heads in 1usize..3, group in 1usize..4, dk in 1usize..70, dv in 1usize..70,
        lens in prop::collection::vec(0usize..80, 1..4), step in 1usize..50, seed: u32, large in 0u32..3,
    ) {
        for form in [Form::F16, Form::Q8] {
            let mut case = Case::new(kv_heads, group, dk, dv, &lens, seed);
            // Rows of zeros, and numbers beyond 16 bits.
            case.k.iter_mut().take(dk).for_each(|x| *x = 0.0);
            case.v.iter_mut().take(dv).for_each(|x| *x *= 10_f32.powi(3 * large as i32));
            let mut slow = Case::new(kv_heads, group, dk, dv, &lens, seed);
            slow.k = case.k.chunks_exact(dk).flat_map(|row| rounded(form, row)).collect();
            slow.v = case.v.chunks_exact(dv).flat_map(|row| rounded(form, row)).collect();
            let out = slow.slow_in_segments();
            for isa in Isa::available() {
                let cpu = Cpu { isa, team: Team::new(2).unwrap() };
                prop_assert!(same_bits(&out, &case.cached(&cpu, form, step)), "{form:?} on {}", isa.name());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn long_sequences_are_merged_from_segments(
        group in 1usize..4, dv in 1usize..40, lens in prop::collection::vec(0usize..700, 1..3), step in 1usize..400, seed: u32,
    ) {
        let mut case = Case::new(2, group, 9, dv, &lens, seed);
        // Later keys that matter far more or less than the ones before.
        case.k.iter_mut().enumerate().for_each(|(i, x)| *x *= 1.0 + (i / 2000) as f32 * if i % 3 == 0 { 4.0 } else { -1.0 });
        let mut slow = Case::new(2, group, 9, dv, &lens, seed);
        slow.k = case.k.chunks_exact(9).flat_map(|row| rounded(Form::F16, row)).collect();
        slow.v = case.v.chunks_exact(dv).flat_map(|row| rounded(Form::F16, row)).collect();
        let out = slow.slow_in_segments();
        for isa in Isa::available() {
            for threads in 1..4 {
                let cpu = Cpu { isa, team: Team::new(threads).unwrap() };
                prop_assert!(same_bits(&out, &case.cached(&cpu, Form::F16, step)), "{threads} threads of {}", isa.name());
                prop_assert!(same_bits(&out, &slow.given(&cpu, step)), "given, {threads} threads of {}", isa.name());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn latents_are_keys_whose_beginning_is_the_value(
        heads in 1usize..5, dv in 1usize..70, more in 0usize..20,
        lens in prop::collection::vec(0usize..80, 1..4), step in 1usize..50, seed: u32,
    ) {
        let dk = dv + more;
        for form in [Form::F32, Form::F16, Form::Q8] {
            let mut case = Case::new(1, heads, dk, dv, &lens, seed);
            case.v = case.k.chunks_exact(dk).flat_map(|key| key[..dv].to_vec()).collect();
            let mut slow = Case::new(1, heads, dk, dv, &lens, seed);
            let halves = |key: &[f32]| [rounded(form, &key[..dv]), rounded(form, &key[dv..])].concat();
            slow.k = case.k.chunks_exact(dk).flat_map(halves).collect();
            slow.v = case.v.chunks_exact(dv).flat_map(|row| rounded(form, row)).collect();
            let out = if form == Form::F32 { slow.slow_forward().0 } else { slow.slow_in_segments() };
            case.shape.latent = true;
            for isa in Isa::available() {
                let cpu = Cpu { isa, team: Team::new(2).unwrap() };
                prop_assert!(same_bits(&out, &case.cached(&cpu, form, step)), "{form:?} on {}", isa.name());
            }
        }
    }
}

#[test]
fn token_by_token_is_one_pass() {
    let case = Case::new(2, 2, 24, 40, &[70, 1, 33], 7);
    let cpu = Cpu { isa: Isa::detect(), team: Team::solo() };
    assert!(same_bits(&case.forward(&cpu).0, &case.cached(&cpu, Form::F32, 1)));
}

/// Central differences of Σ dout·out with h = 2⁻⁶: the third derivative's share is below h² = 2·10⁻⁴ relative to values
/// of order 1, the rounding of out (2⁻²³ relative, 180 terms of order 1) over 2h is below 10⁻³.
#[test]
fn backward_is_the_derivative() {
    let cpu = Cpu { isa: Isa::detect(), team: Team::solo() };
    let mut case = Case::new(2, 2, 5, 6, &[3, 4], 11);
    let (out, stats) = case.forward(&cpu);
    let grads = case.backward(&cpu, &out, &stats);
    let h = 1.0 / 64.0;
    fn input(case: &mut Case, which: usize) -> &mut Vec<f32> {
        match which {
            0 => &mut case.q,
            1 => &mut case.k,
            _ => &mut case.v,
        }
    }
    for (which, grad) in grads.iter().enumerate() {
        for (i, grad) in grad.iter().enumerate() {
            let mut loss = |h: f32| {
                input(&mut case, which)[i] += h;
                let (out, _) = case.forward(&cpu);
                input(&mut case, which)[i] -= h;
                out.iter().zip(&case.dout).map(|(o, d)| *o as f64 * *d as f64).sum::<f64>()
            };
            let slope = (loss(h) - loss(-h)) / (2.0 * h as f64);
            let grad = *grad as f64;
            assert!((grad - slope).abs() < 1e-3, "input {which}, element {i}: {grad}, not {slope}");
        }
    }
}
