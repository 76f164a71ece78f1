//! Two rates that decide how fast Picnic is: matrix products, which training and reading a prompt consist of, and the
//! bandwidth of the memory, which every token that a model writes waits for. Each takes a fraction of a second, so
//! another program that works at the same time shows in it.

use picnic_model::kernels::linear;
use picnic_model::kernels::panels::{self, Panels};
use picnic_model::kernels::weight::Weight;
use picnic_model::kernels::{Cpu, Isa, Team};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rows, columns and length of the product: its operands stay in the second-level cache or near it.
const SIDE: usize = 512;

/// Values that the memory is read for, 256 MiB: more than most caches hold.
const VALUES: usize = 32 << 20;

/// GFLOP/s of a product in f32: the best of those that fit into the time.
pub fn product(isa: Isa, threads: usize, time: Duration) -> std::io::Result<f64> {
    let cpu = Cpu { isa, team: Team::new(threads)? };
    let x = vec![0.5f32; SIDE * SIDE];
    let mut y = vec![0f32; SIDE * SIDE];
    // Panels begin at a cache line.
    let values = vec![0.25f32; panels::len(SIDE, SIDE) + 16];
    let start = values.as_ptr().align_offset(64);
    let weight = Panels::new(&values[start..start + panels::len(SIDE, SIDE)], SIDE, SIDE);
    let seconds = best(time, || linear::forward(&cpu, &x, Weight::Learning(weight), None, black_box(&mut y)));
    Ok(2.0 * (SIDE * SIDE * SIDE) as f64 / seconds / 1e9)
}

/// Bytes a second, in 10⁹, that the threads together read from memory; `None` if there is too little of it to tell.
pub fn bandwidth(threads: usize, available: u64, time: Duration) -> Option<f64> {
    if available < 4 * (VALUES * size_of::<u64>()) as u64 {
        return None;
    }
    // Written once, so that the pages are there.
    let values: Vec<u64> = (0..VALUES as u64).collect();
    let seconds = best(time, || {
        std::thread::scope(|scope| {
            for part in values.chunks(VALUES.div_ceil(threads)) {
                scope.spawn(move || black_box(part.iter().fold(0u64, |sum, value| sum.wrapping_add(*value))));
            }
        });
    });
    Some((VALUES * size_of::<u64>()) as f64 / seconds / 1e9)
}

/// Seconds of the fastest of as many calls as fit into the time, two at least.
fn best(time: Duration, mut work: impl FnMut()) -> f64 {
    let started = Instant::now();
    let mut best = f64::INFINITY;
    for calls in 1.. {
        let clock = Instant::now();
        work();
        best = best.min(clock.elapsed().as_secs_f64());
        if calls > 1 && started.elapsed() >= time {
            break;
        }
    }
    best
}
