//! Frozen weights against the decoders of their types, and their products against those of the decoded weights.

use super::repack::half_scales;
use super::*;
use crate::linear;
use crate::stored::StoredType;
use crate::testing::*;
use crate::{Cpu, Team};
use proptest::prelude::*;

/// Bytes that could stand in a file, but for NaN and infinite scales: any codes, scales of all sizes.
pub(super) fn bytes(ty: StoredType, n: usize, k: usize, seed: u32) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = move || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x >> 16
    };
    let mut bytes: Vec<u8> = (0..ty.bytes(n * k).unwrap()).map(|_| next() as u8).collect();
    for block in bytes.chunks_mut(ty.block_bytes()) {
        for &at in half_scales(ty) {
            // Exponents 0 (subnormal) to 29.
            let half = (next() & 0x83ff | (next() % 30) << 10) as u16;
            block[at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
    }
    bytes
}

fn weights() -> impl Iterator<Item = StoredType> {
    StoredType::ALL.into_iter().filter(|ty| ty.holds_weights())
}

/// Equal bits, or both no number.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

fn check(source: &Stored) -> Frozen {
    let (n, k) = (source.n, source.k);
    let frozen = Frozen::repack(&Team::new(2).unwrap(), source).unwrap();
    let mut expected = vec![0.0; k];
    for row in 0..n {
        source.decode_row(row, &mut expected);
        for isa in Isa::available() {
            let mut ours = vec![9.0; k];
            frozen.row(isa, row, &mut ours);
            for i in 0..k {
                assert!(
                    same(ours[i], expected[i]),
                    "{} {} ({row}, {i}): {}, not {}",
                    source.ty,
                    isa.name(),
                    ours[i],
                    expected[i]
                );
            }
        }
    }
    frozen
}

/// Every code with every scale that a byte can give, and 33 outputs, so that one panel is almost empty.
#[test]
fn every_value_is_kept() {
    for ty in weights() {
        let (n, k) = (33, 1024);
        for seed in 0..4 {
            let bytes = bytes(ty, n, k, seed);
            let row_bytes = bytes.len() / n;
            let row = |row: usize| &bytes[row * row_bytes..][..row_bytes];
            let frozen = check(&Stored { ty, n, k, row: &row, scales: None });
            assert_eq!((frozen.n(), frozen.k(), frozen.stored_type()), (n, k, ty));
        }
    }
}

/// All pairs of bytes as f16 and bf16, infinities and NaN too, and all bytes as 8-bit floats.
#[test]
fn every_float_is_kept() {
    let pairs: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for ty in [StoredType::F16, StoredType::BF16] {
        check(&Stored { ty, n: 64, k: 1024, row: &|row| &pairs[2048 * row..][..2048], scales: None });
    }
    let single: Vec<u8> = (0..=255).collect();
    check(&Stored { ty: StoredType::F8_E4M3, n: 2, k: 256, row: &|_| &single, scales: None });
}

/// Scales of the largest and smallest sizes, signed zeros and no numbers, with every code.
#[test]
fn extreme_scales_are_kept() {
    for ty in weights().filter(|ty| !half_scales(*ty).is_empty()) {
        for half in [0u16, 0x8000, 1, 0x8001, 0x3ff, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00] {
            for min in [half, 0x8000, 0x3c00] {
                let mut bytes = bytes(ty, 32, 256, u32::from(half));
                for block in bytes.chunks_mut(ty.block_bytes()) {
                    for (&at, half) in half_scales(ty).iter().zip([half, min]) {
                        block[at..at + 2].copy_from_slice(&half.to_le_bytes());
                    }
                }
                let row_bytes = bytes.len() / 32;
                check(&Stored { ty, n: 32, k: 256, row: &|row| &bytes[row * row_bytes..][..row_bytes], scales: None });
            }
        }
    }
    // Every exponent of MXFP4.
    let bytes: Vec<u8> = (0..=255u8)
        .flat_map(|exponent| {
            let codes = (0..16u8).map(move |i| i << 4 | i.wrapping_add(exponent) & 15);
            std::iter::once(exponent).chain(codes)
        })
        .collect();
    check(&Stored { ty: StoredType::MXFP4, n: 32, k: 256, row: &|row| &bytes[136 * row..][..136], scales: None });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Rows permuted, 8-bit floats with scales on a grid of odd blocks.
    #[test]
    fn eight_bit_floats_have_scales(n in 1usize..80, k in 1usize..400, block_n in 1usize..80, block_k in 1usize..500, seed: u32) {
        let bytes = bytes(StoredType::F8_E4M3, n, k, seed);
        let columns = k.div_ceil(block_k);
        let mut grid = noise(n.div_ceil(block_n) * columns, seed);
        grid[0] = f32::MIN_POSITIVE / 4.0;
        let stored_row = |row: usize| (row * 7 + seed as usize % 5) % n;
        let scales = RowScales { row: &|row| &grid[stored_row(row) / block_n * columns..][..columns], block_k };
        let row = |row: usize| &bytes[stored_row(row) * k..][..k];
        check(&Stored { ty: StoredType::F8_E4M3, n, k, row: &row, scales: Some(scales) });
    }

    /// The three products are those of the decoded weight, bit for bit.
    #[test]
    fn products_are_those_of_the_values(which in 0..18usize, m in prop_oneof![2 => 1usize..4, 1 => 10usize..40], n in 1usize..100,
                                        blocks in 1usize..4, seed: u32) {
        let ty = weights().nth(which).unwrap();
        let k = if ty.block_len() == 1 { blocks * 111 } else { blocks * ty.block_len() };
        let mut bytes = bytes(ty, n, k, seed);
        if matches!(ty, StoredType::F64 | StoredType::F32 | StoredType::F16 | StoredType::BF16 | StoredType::F8_E4M3) {
            bytes.iter_mut().for_each(|byte| *byte &= 0x3f);
        }
        let row_bytes = bytes.len() / n;
        let row = |row: usize| &bytes[row * row_bytes..][..row_bytes];
        let source = Stored { ty, n, k, row: &row, scales: None };
        let mut values = vec![0.0; n * k];
        values.chunks_mut(k).enumerate().for_each(|(row, out)| source.decode_row(row, out));
        let mut in_panels = vec![0.0; crate::panels::len(n, k)];
        crate::panels::from_rows(&values, n, k, &mut in_panels);
        let frozen = Frozen::repack(&Team::solo(), &source).unwrap();
        let (x, dy, dx0) = (noise(m * k, seed), noise(m * n, seed ^ 1), noise(m * k, seed ^ 2));
        let products = |cpu: &Cpu, w: Weight| {
            let (mut y, mut dx) = (vec![9.0; m * n], dx0.clone());
            linear::forward(cpu, &x, w, None, &mut y);
            linear::backward_input(cpu, &dy, w, &mut dx, true);
            [y, dx]
        };
        let expected = products(&plain(), Panels::new(&in_panels, n, k).into());
        let ours = same_everywhere(|cpu| products(cpu, Weight::Frozen(&frozen)));
        for (ours, expected) in ours.iter().flatten().zip(expected.iter().flatten()) {
            prop_assert!(same(*ours, *expected), "{}: {}, not {}", ty, ours, expected);
        }
    }
}

#[test]
fn bytes_stay_near_those_stored() {
    for ty in weights().filter(|&ty| ty != StoredType::F64) {
        let (n, k) = (512, 2048);
        let bytes = vec![0; ty.bytes(k).unwrap()];
        let scales = vec![1.0; k / 128];
        let row = |_| &scales[..];
        let scales = (ty == StoredType::F8_E4M3).then_some(RowScales { row: &row, block_k: 128 });
        let frozen = Frozen::repack(&Team::solo(), &Stored { ty, n, k, row: &|_| &bytes, scales }).unwrap();
        let (ours, stored) = (frozen.bytes() as f64, (n * bytes.len()) as f64);
        println!("{ty}: {:.3} of what is stored", ours / stored);
        assert!(ours <= 1.04 * stored, "{ty}: {ours} bytes for {stored}");
    }
}
