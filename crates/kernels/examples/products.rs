//! How fast the products of a linear layer are, old and new layouts in turns: medians over several rounds.
use picnic_kernels::panels::{self, Panels};
use picnic_kernels::{Cpu, Isa, Team, linear};
use std::time::Instant;

/// Values on a cache line's border.
struct Aligned(Vec<f32>, usize, usize);
impl Aligned {
    fn new(n: usize) -> Self {
        let v: Vec<f32> = (0..n + 16).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5).collect();
        let start = v.as_ptr().align_offset(64);
        Aligned(v, start, n)
    }
    fn get(&self) -> &[f32] {
        &self.0[self.1..self.1 + self.2]
    }
    fn get_mut(&mut self) -> &mut [f32] {
        &mut self.0[self.1..self.1 + self.2]
    }
}

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |t| t.parse().unwrap());
    let cpu = Cpu { isa: Isa::detect(), team: Team::new(threads).unwrap() };
    println!("{} {} threads", cpu.isa.name(), threads);
    for (m, n, k) in [
        (4, 576, 576),
        (12, 576, 576),
        (32, 576, 576),
        (256, 576, 576),
        (512, 1536, 576),
        (512, 576, 1536),
        (256, 256, 256),
        (512, 192, 576),
        (256, 688, 256),
        (64, 1536, 576),
    ] {
        let (x, dy, w) = (Aligned::new(m * k), Aligned::new(m * n), Aligned::new(n * k));
        let mut wp = Aligned::new(panels::len(n, k));
        panels::from_rows(w.get(), n, k, wp.get_mut());
        let packed = linear::pack_weight(w.get(), n, k);
        let (mut y, mut dx, mut dw) = (Aligned::new(m * n), Aligned::new(m * k), Aligned::new(panels::len(n, k)));
        let reps = (20_000_000 / (m * n * k)).max(1);
        let mut times = vec![vec![]; 6];
        for _ in 0..100 {
            for (which, times) in times.iter_mut().enumerate() {
                let start = Instant::now();
                for _ in 0..reps {
                    match which {
                        0 => linear::forward(&cpu, x.get(), &packed, None, y.get_mut()),
                        1 => linear::forward(&cpu, x.get(), Panels::new(wp.get(), n, k), None, y.get_mut()),
                        2 => linear::backward_input_rows(&cpu, dy.get(), w.get(), dx.get_mut(), false),
                        3 => linear::backward_input(&cpu, dy.get(), Panels::new(wp.get(), n, k), dx.get_mut(), false),
                        4 => linear::backward_weight_rows(&cpu, x.get(), dy.get(), &mut dw.get_mut()[..n * k]),
                        _ => linear::backward_weight(&cpu, x.get(), dy.get(), dw.get_mut(), n, k),
                    }
                }
                times.push(start.elapsed().as_secs_f64() / reps as f64);
            }
        }
        let g = |t: &mut Vec<f64>| {
            t.sort_by(f64::total_cmp);
            2e-9 * (m * n * k) as f64 / t[t.len() / 10]
        };
        let r: Vec<f64> = times.iter_mut().map(g).collect();
        println!(
            "m {m:4} n {n:5} k {k:5}  y {:6.1} {:6.1}   dx {:6.1} {:6.1}   dW {:6.1} {:6.1} GFLOP/s",
            r[0], r[1], r[2], r[3], r[4], r[5]
        );
    }
}
