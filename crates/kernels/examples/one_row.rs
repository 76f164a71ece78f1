//! One row through weights of SmolLM2's shapes: f32 panels and every stored type in turns.
use picnic_kernels::panels::{self, Panels};
use picnic_kernels::stored::StoredType;
use picnic_kernels::weight::{Frozen, Stored, Weight};
use picnic_kernels::{Cpu, Isa, Team, linear};
use std::time::Instant;

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |t| t.parse().unwrap());
    let m: usize = std::env::args().nth(2).map_or(1, |t| t.parse().unwrap());
    let cpu = Cpu { isa: Isa::detect(), team: Team::new(threads).unwrap() };
    println!("{} {} threads, {m} rows", cpu.isa.name(), threads);
    for (n, k, copies) in [(576, 512, 30), (1536, 512, 15), (512, 1536, 15), (49152, 512, 1)] {
        let rows: Vec<f32> = (0..n * k).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
        let mut aligned = vec![0.0f32; panels::len(n, k) + 16];
        let start = aligned.as_ptr().align_offset(64);
        let mut learning = Vec::new();
        for _ in 0..copies {
            panels::from_rows(&rows, n, k, &mut aligned[start..start + panels::len(n, k)]);
            learning.push(aligned.clone());
        }
        let types: Vec<StoredType> =
            StoredType::ALL.into_iter().filter(|t| t.holds_weights() && *t != StoredType::F64).collect();
        let frozen: Vec<Vec<Frozen>> = types
            .iter()
            .map(|&ty| {
                let mut bytes = vec![0u8; ty.bytes(k).unwrap() * n];
                let mut x = 1u32;
                for b in &mut bytes {
                    x = x.wrapping_mul(1664525).wrapping_add(1013904223);
                    *b = (x >> 24) as u8 & 0x3f;
                }
                let rb = ty.bytes(k).unwrap();
                let scale = vec![1.0f32; k / 128];
                let s = |_| &scale[..];
                let scales =
                    (ty == StoredType::F8_E4M3).then_some(picnic_kernels::weight::RowScales { row: &s, block_k: 128 });
                let row = |r: usize| &bytes[r * rb..][..rb];
                (0..copies)
                    .map(|_| Frozen::repack(&cpu.team, &Stored { ty, n, k, row: &row, scales }).unwrap())
                    .collect()
            })
            .collect();
        let x: Vec<f32> = (0..m * k).map(|i| (i % 13) as f32 / 13.0).collect();
        let mut y = vec![0.0; m * n];
        let mut times = vec![vec![]; types.len() + 1];
        for _ in 0..12 {
            for (which, times) in times.iter_mut().enumerate() {
                let begin = Instant::now();
                for copy in 0..copies {
                    if which == 0 {
                        let v = &learning[copy];
                        let start = v.as_ptr().align_offset(64);
                        linear::forward(
                            &cpu,
                            &x,
                            Panels::new(&v[start..start + panels::len(n, k)], n, k),
                            None,
                            &mut y,
                        );
                    } else {
                        linear::forward(&cpu, &x, Weight::Frozen(&frozen[which - 1][copy]), None, &mut y);
                    }
                }
                times.push(begin.elapsed().as_secs_f64());
            }
        }
        let weights = (n * k * copies) as f64;
        print!("{n}×{k}:");
        for (which, t) in times.iter_mut().enumerate() {
            t.sort_by(f64::total_cmp);
            let name = if which == 0 { "panels".into() } else { types[which - 1].to_string() };
            print!(" {name} {:.2}", weights / t[t.len() / 5] * 1e-9);
        }
        println!(" G weights/s");
    }
}
