//! A long time in a small cache: requests of random kinds arrive at random, and some are cancelled. Each that ends must
//! have the tokens that it has alone; in the end no page may be lost, and memory must not have grown.
//!
//!   cargo run --release -p picnic-engine --example soak -- [MODEL] [TOKENS]
//!
//! MODEL is a folder with a checkpoint, `golden/llama` by default; TOKENS, a million by default, is how many are drawn.

use picnic_engine::{Engine, Limits, Request, Sampling, generate};
use picnic_model::checkpoint::Checkpoint;
use picnic_model::{CpuOps, SharedModel, WeightForm, load};
use std::error::Error;
use std::time::Instant;

/// Kinds of requests, each with one right answer.
const KINDS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/llama").to_owned());
    let tokens: u64 = args.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let ops = CpuOps::with_threads(2)?;
    let (model, params) = load(&ops, &Checkpoint::open(&folder)?, Some(WeightForm::Exact))?;
    let vocabulary = model.config().vocab_size;
    let model = SharedModel::new(model, params);
    let mut random = picnic_random::stream(1);
    let mut below = move |n: usize| (picnic_random::uniform(&mut random) * n as f64) as usize;

    // Some begin alike, by up to 150 tokens.
    let mut kind = |kind: usize| {
        let (begins_as, common, own) = (kind % 8, below(150), 1 + below(60));
        let mut token = |at: usize| if at < common { begins_as * 31 + at * at } else { below(vocabulary) };
        let prompt = (0..common + own).map(|at| (token(at) % vocabulary) as u32).collect();
        let sampling = Sampling { temperature: (kind % 3) as f32 / 2.0, seed: kind as u64, ..Sampling::GREEDY };
        Request { sampling, tenant: (kind % 2) as u64, ..Request::new(prompt, 1 + kind % 90) }
    };
    let kinds: Vec<Request> = (0..KINDS).map(&mut kind).collect();
    let wide = Limits::new(1, 512, 1 << 16);
    let alone: Vec<Vec<u32>> =
        generate(&ops, &model, wide, kinds.clone())?.into_iter().map(|answer| answer.tokens).collect();

    // A third of what sixteen may come to need.
    let limits = Limits { kept_tokens: 640, draft_tokens: 4, ..Limits::new(16, 128, 1280) };
    let mut engine = Engine::new(ops, model, limits);
    let mut under_way = Vec::new();
    let (mut wrong, mut memory, start) = (0, Vec::new(), Instant::now());
    loop {
        let drawn = engine.counters().drawn;
        if drawn >= tokens && engine.is_idle() {
            break;
        }
        if drawn < tokens && under_way.len() < 40 {
            let kind = below(KINDS);
            let request = Request { priority: below(3) as i32, ..kinds[kind].clone() };
            under_way.push((engine.submit(request)?, kind, Vec::new()));
        }
        if below(100) == 0 && !under_way.is_empty() {
            let (id, ..) = under_way.swap_remove(below(under_way.len()));
            engine.cancel(id);
        }
        let step = engine.steps(1 + below(8));
        if let Some(dropped) = step.dropped.into_iter().next() {
            return Err(dropped.into());
        }
        for event in step.events {
            let Some(at) = under_way.iter().position(|(id, ..)| *id == event.id) else { continue };
            under_way[at].2.push(event.token);
            if event.finish.is_some() {
                let (_, kind, answer) = under_way.swap_remove(at);
                wrong += usize::from(answer != alone[kind]);
            }
        }
        if drawn * 20 / tokens >= memory.len() as u64 {
            memory.push(resident_mb());
        }
    }
    let counters = engine.counters();
    println!("{counters:#?}");
    let memory: Vec<String> = memory.iter().map(|mb| format!("{mb:.1}")).collect();
    println!(
        "{:.0} s; resident memory by twentieths of the way, MB: {}",
        start.elapsed().as_secs_f64(),
        memory.join(" ")
    );
    println!("{wrong} answers differ from those alone, {} requests are left", under_way.len());
    let is_clean = wrong == 0
        && under_way.is_empty()
        && counters.used_tokens == 0
        && counters.submitted == counters.finished + counters.cancelled;
    if is_clean { Ok(()) } else { Err("something was lost".into()) }
}

/// Resident memory of this process; 0 where the system does not say.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}
