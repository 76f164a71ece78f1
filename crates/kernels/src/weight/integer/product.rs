//! The integer product of panels, fast: the definition's bits on every instruction set, however rows and outputs are
//! shared out.
//!
//! Rows of inputs are rounded once, into tiles of a few rows, in which the four bytes of a quad of inputs stand row after
//! row. Then a panel of 32 outputs, which fits the second-level cache, is multiplied with a tile after the other: a quad of
//! weights is unpacked once for all rows of a tile, and a row's four bytes are multiplied with it in one instruction or a
//! few. Only where a group ends do sums become f32.

use super::GROUP;
use crate::Cpu;
use crate::scratch;
use crate::simd::{Dot, Isa, Kind, LANES, Scalar, Simd};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::simd::{FourAtOnce, InPairs};
use crate::team::{Shared, Team};
use crate::weight::Frozen;
use crate::weight::decode::{Quads, scales, visit_quads};
use crate::weight::form::{Form, QUAD, Scales};

/// Multiply-adds below which a product stays on the calling thread.
const SMALL: usize = 1 << 18;

/// Inputs whose codes are summed, which groups of weights have 16 or 32 of.
const PART: usize = 16;

/// Units of work for each thread, so that uneven ones even out.
const UNITS: usize = 4;

/// Bytes ahead of the codes that are multiplied: what memory takes to answer in the time that it takes.
const AHEAD: usize = 4096;

/// Panels of a unit at most.
const TOGETHER: usize = 8;

/// Numbers of rows that a tile may have, the largest first.
const TILES: [usize; 5] = [12, 8, 4, 2, 1];

/// Rows of a tile whose sums fit the registers.
fn most_rows(isa: Isa) -> usize {
    match isa.kind {
        Kind::Scalar => 1,
        #[cfg(target_arch = "x86_64")]
        Kind::ScalarFma => 1,
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => 2,
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => 12,
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => 2,
    }
}

/// `y` `[M, N]` = the integer product of `x` `[M, K]` with weights `[N, K]`, rows `offsets[i]..offsets[i + 1]` with the
/// i-th of them. Panics if the type of one has none, or if the sizes do not fit.
pub(crate) fn forward(cpu: &Cpu, x: &[f32], offsets: &[usize], weights: &[&Frozen], y: &mut [f32]) {
    let (Some(first), Some(&m)) = (weights.first(), offsets.last()) else { return };
    let (n, k) = (first.n(), first.k());
    for w in weights {
        assert!(w.n() == n && w.k() == k, "a weight of {} × {} beside one of {n} × {k}", w.n(), w.k());
    }
    assert!(y.len() == m * n && x.len() == m * k, "x {} and y {} for {m} rows of {n} × {k}", x.len(), y.len());
    if k == 0 {
        return y.fill(0.0);
    }
    let tiles = tiles(offsets, most_rows(cpu.isa));
    let y = Shared::new(y);
    let runs = tiles.chunk_by(|a, b| a.weight == b.weight);
    let products: Vec<Product> = runs.map(|tiles| Product { tiles, weight: weights[tiles[0].weight], y: &y }).collect();
    multiply_all(cpu, x, k, &tiles, &products);
}

/// Each of `ys` `[M, N]` = the integer product of all of `x` `[M, K]` with its weight `[N, K]`, for which the rows are
/// rounded once. Panics as [`forward`] does.
pub(crate) fn forward_each(cpu: &Cpu, x: &[f32], weights: &[&Frozen], ys: Vec<&mut [f32]>) {
    let Some(k) = weights.first().map(|first| first.k()).filter(|&k| k > 0) else { return };
    let m = x.len() / k;
    assert_eq!(ys.len(), weights.len(), "an output for each weight");
    for (w, y) in weights.iter().zip(&ys) {
        assert!(w.k() == k, "a weight of {} inputs beside one of {k}", w.k());
        assert!(y.len() == m * w.n() && x.len() == m * k, "x {} and y {} for {m} rows", x.len(), y.len());
    }
    let tiles = tiles(&[0, m], most_rows(cpu.isa));
    let ys: Vec<Shared<f32>> = ys.into_iter().map(Shared::new).collect();
    let product = |(weight, y)| Product { tiles: &tiles, weight, y };
    let products: Vec<Product> = weights.iter().copied().zip(&ys).map(product).collect();
    multiply_all(cpu, x, k, &tiles, &products);
}

/// Tiles by one weight.
struct Product<'a> {
    tiles: &'a [Tile],
    weight: &'a Frozen,
    y: &'a Shared<'a, f32>,
}

/// Does all `products` of the rows `x` of `tiles`, shared out over the team.
fn multiply_all(cpu: &Cpu, x: &[f32], k: usize, tiles: &[Tile], products: &[Product]) {
    for Product { weight, .. } in products {
        assert!(super::is_defined(weight.stored_type()), "{} has no integer product", weight.stored_type());
    }
    with_rounded(cpu, x, k, tiles, |rows| {
        let rows_of = |tiles: &[Tile]| tiles.iter().map(|tile| tile.rows).sum::<usize>();
        let multiply_adds: usize = products.iter().map(|product| rows_of(product.tiles) * product.weight.n() * k).sum();
        let alone = Team::solo();
        let team = if multiply_adds < SMALL { &alone } else { &cpu.team };
        // Runs of tiles; more than one run for each weight where the panels are too few for all threads.
        let panels = products.iter().map(|product| product.weight.n().div_ceil(LANES)).max().unwrap_or(1).max(1);
        let pieces = if team.size() > 1 { (UNITS * team.size()).div_ceil(panels) } else { 1 };
        let most = tiles.len().div_ceil(pieces).max(1);
        // Panels that follow each other in memory stay together, so that the next one is fetched while one is multiplied.
        let all: usize = products.iter().map(|product| product.weight.n().div_ceil(LANES)).sum();
        let width = (all / (UNITS * team.size())).clamp(1, TOGETHER) * LANES;
        let units: Vec<(&Product, &[Tile], usize)> = products
            .iter()
            .flat_map(|product| product.tiles.chunks(most).map(move |run| (product, run)))
            .flat_map(|(product, run)| (0..product.weight.n()).step_by(width).map(move |first| (product, run, first)))
            .collect();
        team.share(units.len(), |unit| {
            let (Product { weight, y, .. }, run, first) = units[unit];
            let n = weight.n();
            for column in (first..n.min(first + width)).step_by(LANES) {
                // Panels have columns of their own, and tiles rows of their own.
                multiply(cpu.isa, weight.form(), weight.panel(column), rows, run, &Columns { y, n, column });
            }
        });
    });
}

/// Rows that are multiplied together.
#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    rows: usize,
    weight: usize,
}

/// Rows `offsets[i]..offsets[i + 1]` for the i-th weight, cut into tiles of at most `most` rows.
fn tiles(offsets: &[usize], most: usize) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for (weight, ends) in offsets.windows(2).enumerate() {
        let mut first = ends[0];
        while first < ends[1] {
            let fits = |rows: &&usize| **rows <= most && first + **rows <= ends[1];
            let rows = *TILES.iter().find(fits).expect("a tile of one row fits");
            tiles.push(Tile { first, rows, weight });
            first += rows;
        }
    }
    tiles
}

/// Rows of inputs in 8 bits, tile after tile.
#[derive(Clone, Copy)]
struct Rows<'a> {
    /// Of a tile `[K/4, rows, 4]`.
    codes: &'a [i8],
    /// Of a tile `[K/32, rows]`.
    scales: &'a [f32],
    /// What 16 codes of a row add up to; of a tile `[K/16, rows]`.
    sums: &'a [i32],
    k: usize,
}

/// Calls `work` with the rows of `x` `[M, K]` rounded.
fn with_rounded(cpu: &Cpu, x: &[f32], k: usize, tiles: &[Tile], work: impl FnOnce(Rows)) {
    let m = x.len() / k;
    let [codes, scales, sums] = [m * k / size_of::<f32>(), m * k / GROUP, m * k / PART];
    scratch::with(codes + scales + sums, |room| {
        let (codes, rest) = room.split_at_mut(codes);
        let (scales, sums) = rest.split_at_mut(scales);
        // SAFETY: every pattern of bits is a number of either type, and neither is larger or more aligned than f32.
        let codes = unsafe { std::slice::from_raw_parts_mut(codes.as_mut_ptr().cast::<i8>(), m * k) };
        // SAFETY: as above.
        let sums = unsafe { std::slice::from_raw_parts_mut(sums.as_mut_ptr().cast::<i32>(), sums.len()) };
        let parts = (Shared::new(codes), Shared::new(scales), Shared::new(sums));
        let rows_of_a_tile = m.div_ceil(tiles.len().max(1));
        cpu.split_rows(tiles.len(), rows_of_a_tile * k, |of_mine| {
            for tile in &tiles[of_mine] {
                let (start, end) = (tile.first * k, (tile.first + tile.rows) * k);
                // SAFETY: tiles have rows of their own.
                let (codes, scales, sums) = unsafe {
                    (
                        parts.0.part(start..end),
                        parts.1.part(start / GROUP..end / GROUP),
                        parts.2.part(start / PART..end / PART),
                    )
                };
                round(cpu.isa, &x[start..end], k, codes, scales, sums);
            }
        });
        work(Rows { codes, scales, sums, k });
    });
}

/// Where the outputs of a panel go.
struct Columns<'a> {
    y: &'a Shared<'a, f32>,
    n: usize,
    column: usize,
}

/// Defines `fn name(isa, …)` from a body generic over [`Simd`] and [`Dot`], as [`kernel!`](crate::kernel) does for the
/// former alone.
macro_rules! integer_kernel {
    ($(#[$meta:meta])* fn $name:ident<$S:ident, $D:ident>($s:ident, $d:ident $(, $arg:ident : $ty:ty)* $(,)?) $body:block) => {
        $(#[$meta])*
        fn $name(isa: Isa, $($arg: $ty),*) {
            #[inline(always)]
            fn generic<$S: Simd, $D: Dot<$S>>($s: $S, $d: $D, $($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx,fma")]
            fn scalar_fma($($arg: $ty),*) {
                generic(Scalar, Scalar, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($arg: $ty),*) {
                // SAFETY: this function has the features.
                let s = unsafe { crate::simd::Avx2::new() };
                generic(s, InPairs::new(s), $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avxvnni,avx2,fma,f16c")]
            fn avx_vnni($($arg: $ty),*) {
                // SAFETY: this function has the features.
                let (s, d) = unsafe { (crate::simd::Avx2::new(), FourAtOnce::new(crate::simd::Avx2::new())) };
                generic(s, d, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
            fn avx512($($arg: $ty),*) {
                // SAFETY: this function has the features.
                let s = unsafe { crate::simd::Avx512::new() };
                generic(s, InPairs::new(s), $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx2,fma,f16c")]
            fn avx512_vnni($($arg: $ty),*) {
                // SAFETY: this function has the features.
                let (s, d) = unsafe { (crate::simd::Avx512::new(), FourAtOnce::new(crate::simd::Avx512::new())) };
                generic(s, d, $($arg),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            fn neon($($arg: $ty),*) {
                generic(crate::simd::Neon, InPairs::new(crate::simd::Neon), $($arg),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon,dotprod")]
            fn neon_dot($($arg: $ty),*) {
                // SAFETY: this function has the features.
                generic(crate::simd::Neon, unsafe { FourAtOnce::new(crate::simd::Neon) }, $($arg),*)
            }
            match (isa.kind, isa.four_at_once) {
                (Kind::Scalar, _) => generic(Scalar, Scalar, $($arg),*),
                // SAFETY: an `Isa` other than plain scalar exists only where detection found its features.
                #[cfg(target_arch = "x86_64")]
                (Kind::ScalarFma, _) => unsafe { scalar_fma($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Kind::Avx2, false) => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Kind::Avx2, true) => unsafe { avx_vnni($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Kind::Avx512, false) => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Kind::Avx512, true) => unsafe { avx512_vnni($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                (Kind::Neon, false) => unsafe { neon($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                (Kind::Neon, true) => unsafe { neon_dot($($arg),*) },
            }
        }
    };
}

integer_kernel! {
    /// The definition's first step, for the rows `x` of a tile, each of `k` inputs in whole groups.
    fn round<S, D>(s, d, x: &[f32], k: usize, codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
        let rows = x.len() / k;
        for (row, x) in x.chunks_exact(k).enumerate() {
            for (group, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
                let v = s.load(x);
                let amax = d.magnitude(v);
                let inverse = 127.0 / amax;
                let (scale, rounded) = match amax.is_finite() {
                    true if inverse.is_finite() => (amax / 127.0, d.rounded(s.mul(v, s.splat(inverse)))),
                    true => (0.0, [0; GROUP]),
                    false => (f32::NAN, [0; GROUP]),
                };
                scales[group * rows + row] = scale;
                for (part, codes) in rounded.as_chunks::<PART>().0.iter().enumerate() {
                    let sum = codes.iter().map(|code| i32::from(*code)).sum();
                    sums[(GROUP / PART * group + part) * rows + row] = sum;
                }
                for (quad, four) in rounded.as_chunks::<QUAD>().0.iter().enumerate() {
                    let at = (GROUP / QUAD * group + quad) * rows + row;
                    codes[QUAD * at..][..QUAD].copy_from_slice(four);
                }
            }
        }
    }
}

integer_kernel! {
    /// Tiles by a panel.
    fn multiply<S, D>(s, d, form: &Form, panel: &[u8], x: Rows, tiles: &[Tile], to: &Columns) {
        let mut is_first = true;
        for tile in tiles {
            match tile.rows {
                12 => rows::<S, D, 12>(s, d, form, panel, x, tile.first, to, is_first),
                8 => rows::<S, D, 8>(s, d, form, panel, x, tile.first, to, is_first),
                4 => rows::<S, D, 4>(s, d, form, panel, x, tile.first, to, is_first),
                2 => rows::<S, D, 2>(s, d, form, panel, x, tile.first, to, is_first),
                _ => rows::<S, D, 1>(s, d, form, panel, x, tile.first, to, is_first),
            }
            is_first = false;
        }
    }
}

/// The `R` rows of the tile that starts at `first`; `is_first` says that the panel comes from memory.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn rows<S: Simd, D: Dot<S>, const R: usize>(
    s: S,
    d: D,
    form: &Form,
    panel: &[u8],
    x: Rows,
    first: usize,
    to: &Columns,
    is_first: bool,
) {
    let k = x.k;
    let codes = &x.codes[first * k..(first + R) * k];
    let scales_of_rows = &x.scales[first * k / GROUP..(first + R) * k / GROUP];
    let sums_of_rows = &x.sums[first * k / PART..(first + R) * k / PART];
    let (header_bytes, low_bytes, high_bytes) = (form.header_bytes(), form.low_bytes(), form.high_bytes());
    let group_bytes = form.group * (low_bytes + high_bytes);
    let block_bytes = header_bytes + form.block * (low_bytes + high_bytes);
    let has_min = matches!(form.scales, Scales::HalfAndMin | Scales::RunsAndMins | Scales::Nibbles);
    let offset = form.offset().map_or(-D::BIAS, i32::from);
    let mut chains = [s.splat(0.0); R];
    let mut at = 0;
    // Types that have this product are kept in whole blocks.
    for block in panel.chunks_exact(block_bytes) {
        let (header, planes) = block.split_at(header_bytes);
        for (group, planes) in planes.chunks_exact(group_bytes).enumerate() {
            if is_first {
                for line in (0..group_bytes).step_by(64) {
                    s.prefetch(planes.as_ptr().wrapping_add(line + AHEAD).cast());
                }
            }
            let (low, high) = planes.split_at(form.group * low_bytes);
            // What codes of inputs add up to: of one part or of two.
            let mut sums = [0; R];
            sums.copy_from_slice(&sums_of_rows[at / PART * R..][..R]);
            if form.group > PART {
                for (sum, more) in sums.iter_mut().zip(&sums_of_rows[(at / PART + 1) * R..][..R]) {
                    *sum += more;
                }
            }
            let mut products = Products { d, sums: [d.start(0); R], x: &codes[at * R..(at + form.group) * R] };
            for (products, sum) in products.sums.iter_mut().zip(&sums) {
                *products = d.start(offset * sum);
            }
            visit_quads(s, form.codes, low, high, &mut products);
            let (scale, min) = scales(s, form, header, group);
            let scales: &[f32; R] = scales_of_rows[at / GROUP * R..].first_chunk().expect("a scale for each row");
            for r in 0..R {
                chains[r] = s.fma(s.mul(scale, s.splat(scales[r])), d.to_f32(s, products.sums[r]), chains[r]);
            }
            if has_min {
                for r in 0..R {
                    chains[r] = s.fma(s.mul(min, s.splat(scales[r])), s.splat(sums[r] as f32), chains[r]);
                }
            }
            at += form.group;
        }
    }
    let width = LANES.min(to.n - to.column);
    for (r, chain) in chains.iter().enumerate() {
        let start = (first + r) * to.n + to.column;
        // SAFETY: panels have columns of their own, and tiles rows of their own.
        s.store_partial(unsafe { to.y.part(start..start + width) }, *chain);
    }
}

/// The sums of a group for `R` rows.
struct Products<'a, S: Simd, D: Dot<S>, const R: usize> {
    d: D,
    sums: [D::Sums; R],
    /// The group's quads of inputs `[quads, R, 4]`.
    x: &'a [i8],
}

impl<S: Simd, D: Dot<S>, const R: usize> Products<'_, S, D, R> {
    #[inline(always)]
    fn add<const SIGNED: bool>(&mut self, i: usize, codes: D::Codes) {
        debug_assert!((i + 1) * R * QUAD <= self.x.len());
        let x = self.x.as_ptr().wrapping_add(i * R * QUAD).cast::<i32>();
        for r in 0..R {
            // SAFETY: a group of weights has as many quads as its inputs.
            let x = i32::from_le(unsafe { x.add(r).read_unaligned() });
            self.sums[r] = self.d.add::<SIGNED>(self.sums[r], codes, x);
        }
    }
}

impl<S: Simd, D: Dot<S>, const R: usize> Quads<S> for Products<'_, S, D, R> {
    #[inline(always)]
    fn unsigned(&mut self, _: S, i: usize, codes: S::Q, _: i8) {
        self.add::<false>(i, self.d.unsigned(codes));
    }

    #[inline(always)]
    fn signed(&mut self, _: S, i: usize, codes: S::Q) {
        self.add::<true>(i, self.d.signed(codes));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, forward as defined, is_defined};
    use super::*;
    use crate::stored::StoredType;
    use crate::testing::*;
    use crate::weight::repack::half_scales;
    use crate::weight::tests::bytes;
    use crate::weight::{Stored, Weight};
    use crate::{grouped, linear};
    use proptest::prelude::*;

    /// Every way in which this processor multiplies bytes.
    fn every() -> impl Iterator<Item = Isa> {
        let both = |isa: Isa| if isa == isa.in_pairs() { vec![isa] } else { vec![isa, isa.in_pairs()] };
        Isa::available().into_iter().flat_map(both)
    }

    fn assert_defined(x: &[f32], source: &Stored) {
        let (n, k) = (source.n, source.k);
        let m = x.len() / k;
        let mut expected = vec![0.0; m * n];
        defined(&Inputs::new(x), source, &mut expected);
        let frozen = Frozen::repack(&Team::solo(), source).unwrap();
        for isa in every() {
            for threads in 1..4 {
                let cpu = Cpu { isa, team: Team::new(threads).unwrap() };
                let mut y = vec![9.0; m * n];
                linear::forward(&cpu, x, Weight::Integer(&frozen), None, &mut y);
                for (i, (y, e)) in y.iter().zip(&expected).enumerate() {
                    let same = y.to_bits() == e.to_bits() || y.is_nan() && e.is_nan();
                    assert!(same, "{} {isa:?}: [{i}] is {y}, not {e}", source.ty);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn equals_the_definition_bit_for_bit(which in 0..13usize, m in prop_oneof![3 => 1usize..6, 1 => 12usize..30],
                                             n in 1usize..100, blocks in 1usize..5, seed: u32) {
            let ty = StoredType::ALL.into_iter().filter(|&ty| is_defined(ty)).nth(which).unwrap();
            let k = blocks * ty.block_len();
            let bytes = bytes(ty, n, k, seed);
            let width = bytes.len() / n;
            let row = |row: usize| &bytes[row * width..][..width];
            let mut x = noise(m * k, seed);
            // Groups of nothing, of tiny numbers and of no numbers among the others.
            for (i, value) in [(0, 0.0), (1, 1e-39), (2, f32::NAN), (3, f32::NEG_INFINITY)] {
                let group = (seed as usize >> (4 * i)) % (m * k / GROUP);
                if seed as usize >> (20 + i) & 1 == 1 {
                    x[group * GROUP..][..if i < 2 { GROUP } else { 1 }].fill(value);
                }
            }
            assert_defined(&x, &Stored { ty, n, k, row: &row, scales: None });
        }
    }

    #[test]
    fn experts_have_the_bits_of_linear() {
        let (ty, n, k, offsets) = (StoredType::Q4_K, 70, 512, [0, 3, 3, 17, 18]);
        let x = noise(18 * k, 5);
        let frozen: Vec<Frozen> = (0..4)
            .map(|seed| {
                let bytes = bytes(ty, n, k, seed);
                let width = bytes.len() / n;
                let row = |row: usize| &bytes[row * width..][..width];
                Frozen::repack(&Team::solo(), &Stored { ty, n, k, row: &row, scales: None }).unwrap()
            })
            .collect();
        let weights: Vec<Weight> = frozen.iter().map(Weight::Integer).collect();
        let [y] = same_everywhere(|cpu| {
            let mut y = vec![9.0; 18 * n];
            grouped::forward(cpu, &x, &offsets, &weights, &mut y);
            [y]
        });
        for (rows, w) in offsets.windows(2).zip(weights) {
            let mut alone = vec![9.0; (rows[1] - rows[0]) * n];
            linear::forward(&plain(), &x[rows[0] * k..rows[1] * k], w, None, &mut alone);
            assert_same_bits("an expert", &y[rows[0] * n..rows[1] * n], &alone);
        }
    }

    #[test]
    fn several_at_once_have_the_bits_of_each() {
        let k = 512;
        let frozen: Vec<Frozen> = [(StoredType::Q4_K, 70), (StoredType::Q8_0, 5), (StoredType::Q4_0, 33)]
            .map(|(ty, n)| {
                let bytes = bytes(ty, n, k, 7);
                let width = bytes.len() / n;
                let row = |row: usize| &bytes[row * width..][..width];
                Frozen::repack(&Team::solo(), &Stored { ty, n, k, row: &row, scales: None }).unwrap()
            })
            .into();
        for m in [1, 3, 40] {
            let (x, bias) = (noise(m * k, 5), noise(33, 6));
            let ys = same_everywhere(|cpu| {
                let mut ys = [70, 5, 33].map(|n| vec![9.0; m * n]);
                let mut layers: Vec<linear::Layer> = frozen
                    .iter()
                    .zip(&mut ys)
                    .map(|(w, y)| {
                        let bias = (w.n() == 33).then_some(&bias[..]);
                        linear::Layer { weight: Weight::Integer(w), bias, y }
                    })
                    .collect();
                linear::forward_each(cpu, &x, &mut layers);
                ys
            });
            for (w, y) in frozen.iter().zip(&ys) {
                let mut alone = vec![9.0; m * w.n()];
                let bias = (w.n() == 33).then_some(&bias[..]);
                linear::forward(&plain(), &x, Weight::Integer(w), bias, &mut alone);
                assert_same_bits("one of three", y, &alone);
            }
        }
    }

    /// The largest codes of both sides with all signs: what would overflow 16 bits does it here.
    #[test]
    fn the_largest_codes_do_not_overflow() {
        for ty in StoredType::ALL.into_iter().filter(|&ty| is_defined(ty)) {
            let k = 2 * ty.block_len();
            for code in [0x00, 0x80, 0x7f, 0xff, 0x88, 0x77] {
                let mut bytes = bytes(ty, 32, k, 1);
                for block in bytes.chunks_mut(ty.block_bytes()) {
                    block.fill(code);
                    for &at in half_scales(ty) {
                        block[at..at + 2].copy_from_slice(&0x3c00_u16.to_le_bytes());
                    }
                }
                let width = bytes.len() / 32;
                let row = |row: usize| &bytes[row * width..][..width];
                let x: Vec<f32> = (0..3 * k).map(|i| if i / 3 % 2 == i / k % 2 { 1.0 } else { -1.0 }).collect();
                assert_defined(&x, &Stored { ty, n: 32, k, row: &row, scales: None });
            }
        }
    }
}
