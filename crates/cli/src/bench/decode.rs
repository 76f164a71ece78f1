//! `picnic bench decode MODEL`: how fast a model reads and writes, and what its weights take.
//!
//! The prompt is made of token ids that go round the vocabulary, and the likeliest token is drawn, so that every run does
//! the same work. Reading is timed up to the first token, writing from there on.

use super::median;
use crate::load;
use crate::output::line;
use anyhow::{Result, ensure};
use clap::Args;
use picnic_engine::{Control, Engine, Limits, Request, Sampling, Wants};
use picnic_model::Backend;
use picnic_train::place::Place;
use picnic_train::r1::peak_rss_mb;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Arguments of `picnic bench decode`.
#[derive(Args)]
pub struct DecodeArgs {
    /// A Hugging Face folder, a GGUF file, or `nano`
    #[arg(default_value = load::NANO)]
    model: String,
    /// Tokens of each prompt
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens to write after each
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Sequences at once
    #[arg(long, default_value_t = 1)]
    parallel: usize,
    /// Rounds to measure; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// Loads, measures and prints.
pub fn run(args: &DecodeArgs) -> Result<()> {
    ensure!(
        args.prompt > 0 && args.tokens > 1 && args.parallel > 0,
        "take a prompt, two tokens and one sequence at least"
    );
    let place = Place::of(Path::new(&args.model))?;
    let clock = Instant::now();
    let loaded = load::load(&args.model)?;
    let seconds_to_load = clock.elapsed().as_secs_f64();
    let weights_bytes = loaded.model.params().bytes(&loaded.ops);
    let file_bytes = bytes_of(&place.path);
    let limits = Limits {
        sequences: args.parallel,
        batch_tokens: 512,
        cache_tokens: Limits::cache_for::<Backend>(args.parallel, args.prompt + args.tokens),
    };
    let vocabulary = loaded.model.model().config().vocab_size;
    let (mut reading, mut writing) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds.max(1) {
        let mut engine = Engine::new(loaded.ops.clone(), loaded.model.clone(), limits);
        for sequence in 0..args.parallel {
            let prompt = (0..args.prompt).map(|t| ((sequence * 7919 + t * 104_729) % vocabulary) as u32).collect();
            let (sampling, wants) = (Sampling::GREEDY, Wants::default());
            engine.submit(Request {
                prompt,
                max_tokens: args.tokens,
                stop: Vec::new(),
                sampling,
                control: Control::default(),
                wants,
            })?;
        }
        let (start, mut first, mut drawn) = (Instant::now(), None, 0);
        while !engine.is_idle() {
            let step = engine.step();
            if let Some(dropped) = step.dropped.into_iter().next() {
                return Err(dropped.into());
            }
            drawn += step.events.len();
            // Every sequence has its first token: from here on nothing is read any more.
            if first.is_none() && drawn >= args.parallel {
                first = Some((start.elapsed().as_secs_f64(), drawn));
            }
        }
        let Some((read, before)) = first else { continue };
        reading.push((args.parallel * args.prompt) as f64 / read);
        writing.push((drawn - before) as f64 / (start.elapsed().as_secs_f64() - read));
    }
    ensure!(!reading.is_empty(), "nothing was drawn");
    let (prefill, decode, memory) = (median(&mut reading), median(&mut writing), peak_rss_mb());
    if args.json {
        return line(json!({
            "prefill_tokens_per_second": prefill, "decode_tokens_per_second": decode, "parallel": args.parallel,
            "weights_bytes": weights_bytes, "file_bytes": file_bytes, "peak_rss_mb": memory,
            "seconds_to_load": seconds_to_load,
        }));
    }
    line(format_args!(
        "reads {prefill:.0} and writes {decode:.1} tokens/s; weights {:.1} MB of a file of {:.1} MB, {memory:.0} MB at most, \
         loaded in {seconds_to_load:.1} s",
        weights_bytes as f64 / 1e6,
        file_bytes as f64 / 1e6,
    ))
}

/// Bytes of the weights' files: of the file itself, its other shards, or what a folder holds of them.
fn bytes_of(path: &Path) -> u64 {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let of_shard =
        path.file_name().and_then(|name| Some(name.to_str()?.split_once("-of-")?.0.rsplit_once('-')?.0.to_owned()));
    let belongs = |name: &str| match &of_shard {
        _ if path.is_dir() => name.ends_with(".safetensors"),
        Some(stem) => name.starts_with(stem.as_str()) && name.contains("-of-"),
        None => path.file_name().is_some_and(|file| file == name),
    };
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = files.filter(|file| file.file_name().to_str().is_some_and(belongs));
    ours.filter_map(|file| std::fs::metadata(file.path()).ok()).map(|about| about.len()).sum()
}
