//! `picnic bench`: how fast this machine is. `generate` reads and writes with a model (`bench/generate.rs`); `train` is the
//! training speed of a yardstick model beside the ceiling that the crate `gemm` reaches.
//!
//! As it comes, that crate has AVX2 kernels on x86 and ours have AVX-512 too, so the share can exceed 1; the output
//! says which kernels made the ceiling. Like with like: `PICNIC_ISA=avx2`, or a build with `--features avx512-ceiling`.

mod generate;

use crate::output::line;
use anyhow::Result;
use clap::{Args, Subcommand};
use gemm_common::Parallelism;
use picnic_model::config::ModelConfig;
use picnic_model::{Model, backend, initialise};
use picnic_train::lanes::{BatchLoss, Lanes, Pass, Sequence};
use picnic_train::optimizer::Optimizer;
use picnic_train::r1::peak_rss_mb;
use picnic_train::recipe::Optimizer as Settings;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Arguments of `picnic bench`.
#[derive(Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tokens per second that a model reads and writes, and what its weights take
    Generate(generate::GenerateArgs),
    /// Tokens per second of a whole training step
    Train {
        /// Threads [default: all cores]
        #[arg(long, value_parser = crate::train::threads)]
        threads: Option<usize>,
        /// Steps to measure; the median counts
        #[arg(long, default_value_t = 5)]
        steps: usize,
        /// One line of JSON
        #[arg(long)]
        json: bool,
    },
}

/// What the ceiling was computed with.
const CEILING_BY: &str = match cfg!(feature = "avx512-ceiling") {
    true => "gemm with its AVX-512 kernels",
    false => "gemm as it comes",
};

/// Vocabulary 4096, width 256, 6 layers, 8 heads, SwiGLU 704, 256 tokens × 16 sequences.
const SEQUENCES: usize = 16;
const TOKENS: usize = 256;

/// Runs the subcommand.
pub fn run(args: &BenchArgs) -> Result<()> {
    let (threads, steps, json) = match &args.command {
        Command::Generate(args) => return generate::run(args),
        Command::Train { threads, steps, json } => (*threads, *steps, *json),
    };
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let config = json!({
        "model_type": "llama", "vocab_size": 4096, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6,
        "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false,
    });
    let model = Model::new(ModelConfig::from_value(&config, Path::new("bench"))?);
    let ops = backend::with_threads(threads)?;
    let mut params = initialise(&ops, &model, 1)?;
    let mut lanes = Lanes::new(&ops, threads.max(1))?;
    let settings: Settings = serde_json::from_value(json!({"lr": 1e-4}))?;
    let mut optimizer = Optimizer::new(&ops, &params, settings.rule)?;
    // A sequence of 257 ids is read without its last, so 256 rows: two of them make a micro-batch.
    let pass = Pass::new(2 * TOKENS);
    let id = |sequence: usize, t: usize| ((sequence * 7919 + t * 104_729) % 4096) as u32;
    let sequences: Vec<Sequence> =
        (0..SEQUENCES).map(|s| Sequence { ids: (0..=TOKENS).map(|t| id(s, t)).collect(), first_target: 1 }).collect();
    let loss = BatchLoss::Constant(-1.0 / (SEQUENCES * TOKENS) as f32);
    let mut seconds = Vec::with_capacity(steps);
    let mut ceilings = Vec::with_capacity(steps);
    // The first step fills the pools.
    for step in 0..=steps.max(1) {
        let clock = Instant::now();
        lanes.gradient(&model, &params, &sequences, pass, &loss)?;
        if let Some(grads) = lanes.grads() {
            optimizer.step(&ops, &mut params, grads, &settings, settings.lr);
        }
        if step > 0 {
            seconds.push(clock.elapsed().as_secs_f64());
            ceilings.push(ceiling(threads));
        }
    }
    let layers = 6.0;
    let flops_per_token = 6.0 * model.matmul_params() + 12.0 * TOKENS as f64 * 256.0 * layers;
    let tokens_per_second = (SEQUENCES * TOKENS) as f64 / median(&mut seconds);
    let (gflops, ceiling) = (tokens_per_second * flops_per_token / 1e9, median(&mut ceilings));
    let (share, memory) = (gflops / ceiling, peak_rss_mb());
    if json {
        line(json!({"tokens_per_second": tokens_per_second, "gflops": gflops, "ceiling_gflops": ceiling,
                    "ceiling_by": CEILING_BY, "share_of_ceiling": share, "peak_rss_mb": memory}))
    } else {
        line(format_args!(
            "{tokens_per_second:.0} tokens/s, {gflops:.1} GFLOP/s of {ceiling:.1} ({:.0} %, {CEILING_BY}), {memory:.0} MB",
            100.0 * share
        ))
    }
}

/// GFLOP/s of the crate `gemm` on 1024³, the best of three: one product on all threads, or one on each at once,
/// whichever is faster.
fn ceiling(threads: usize) -> f64 {
    if threads == 1 {
        return best_rate(Parallelism::None);
    }
    let together = best_rate(Parallelism::Rayon(threads));
    let apart: f64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| best_rate(Parallelism::None))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0.0)).sum()
    });
    together.max(apart)
}

/// GFLOP/s of the best of three products of 1024³.
fn best_rate(parallelism: Parallelism) -> f64 {
    const N: usize = 1024;
    let (a, b, mut c) = (vec![0.5f32; N * N], vec![0.25f32; N * N], vec![0f32; N * N]);
    let n = N as isize;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let clock = Instant::now();
        // SAFETY: three matrices of N × N values, columns of N, which is the layout that `gemm` brings others to.
        unsafe {
            gemm_f32::gemm::f32::get_gemm_fn()(
                N,
                N,
                N,
                c.as_mut_ptr(),
                n,
                1,
                false,
                a.as_ptr(),
                n,
                1,
                b.as_ptr(),
                n,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
        best = best.min(clock.elapsed().as_secs_f64());
    }
    2.0 * (N * N * N) as f64 / best / 1e9
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
