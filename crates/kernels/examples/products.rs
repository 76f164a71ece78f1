//! How fast the forward product is for each way of keeping a weight, in turns: billions of weights a second.
//!
//!     cargo run --release -p picnic-kernels --example products -- THREADS ROWS
//!
//! Shapes are those of SmolLM2-135M; so many copies of a weight take turns that they come from memory.

use picnic_kernels::panels::{self, Panels};
use picnic_kernels::stored::StoredType;
use picnic_kernels::weight::{Frozen, Stored, Weight, integer};
use picnic_kernels::{Cpu, linear};
use std::time::Instant;

/// Rounds, of which the second best fifth is reported: what else the machine does only ever adds time.
const ROUNDS: usize = 15;

fn main() {
    let argument = |i: usize, default: usize| std::env::args().nth(i).and_then(|x| x.parse().ok()).unwrap_or(default);
    let (threads, m) = (argument(1, 1), argument(2, 1));
    let cpu = Cpu::new(threads).expect("threads start");
    println!("{}, {threads} threads, {m} rows", cpu.isa.name());
    for (n, k, copies) in [(576, 576, 30), (1536, 576, 15), (576, 1536, 15), (49152, 576, 1)] {
        let x: Vec<f32> = (0..m * k).map(|i| (i % 13) as f32 / 13.0).collect();
        let mut y = vec![0.0; m * n];
        let mut rate = |name: &str, weights: &[Weight]| {
            let mut seconds: Vec<f64> = (0..ROUNDS)
                .map(|_| {
                    let start = Instant::now();
                    weights.iter().for_each(|&w| linear::forward(&cpu, &x, w, None, &mut y));
                    start.elapsed().as_secs_f64()
                })
                .collect();
            seconds.sort_by(f64::total_cmp);
            println!("{n:6} × {k:4} {name:11} {:6.2}", (n * k * weights.len()) as f64 / seconds[ROUNDS / 5] * 1e-9);
        };
        let values: Vec<Vec<f32>> = (0..copies).map(|_| vec![0.1; panels::len(n, k) + 16]).collect();
        let learning = values.iter().map(|v| {
            let start = v.as_ptr().align_offset(64);
            Weight::Learning(Panels::new(&v[start..start + panels::len(n, k)], n, k))
        });
        rate("learning", &learning.collect::<Vec<_>>());
        for ty in StoredType::ALL.into_iter().filter(|ty| ty.holds_weights()) {
            // Bytes of no meaning, but for that no scale is infinite.
            let Some(width) = ty.bytes(k) else { continue };
            let bytes: Vec<u8> = (0..n * width).map(|i| (i * i * 7919 / 256 % 64) as u8).collect();
            let row = |row: usize| &bytes[row * width..][..width];
            let source = Stored { ty, n, k, row: &row, scales: None };
            let frozen: Vec<Frozen> =
                (0..copies).map(|_| Frozen::repack(&cpu.team, &source).expect("there is memory")).collect();
            rate(ty.name(), &frozen.iter().map(Weight::Frozen).collect::<Vec<_>>());
            if integer::is_defined(ty) {
                rate(&format!("{} int", ty.name()), &frozen.iter().map(Weight::Integer).collect::<Vec<_>>());
            }
        }
    }
}
