//! `picnic bench generate MODEL`: how fast a model reads and writes, and what its weights take.
//!
//! The prompt is made of token ids that go round the vocabulary, and the likeliest token is drawn, so that every run does
//! the same work. Reading is timed up to the first token, writing from there on. The share of the bandwidth is what a pass
//! reads of the weights (of experts, as many as its tokens can meet), times passes a second, over what the memory gives in
//! the same run; keys and values come on top, and so do the module and the further rows of `--guesses`, which has tokens
//! guessed ahead as `picnic serve` does and says how many came true. With exact weights the products alone, of every token
//! by every weight (by the head, of those that something is drawn after), are also told as shares of what the crate `gemm`
//! reaches between the rounds ([`super::ceiling`]).

use super::{CEILING_BY, ceiling, median};
use crate::doctor::memory_bandwidth;
use crate::load::{self, Forms, Loaded};
use crate::output::line;
use anyhow::{Result, ensure};
use clap::Args;
use picnic_engine::{Counters, Engine, Limits, Request};
use picnic_model::{Backend, Ops, Param, WeightForm};
use picnic_train::place::Place;
use picnic_train::r1::peak_rss_mb;
use serde_json::json;
use std::fmt;
use std::path::Path;
use std::time::Instant;

/// Arguments of `picnic bench generate`.
#[derive(Args)]
pub struct GenerateArgs {
    /// A Hugging Face folder, a GGUF file, or `nano`
    #[arg(default_value = load::NANO)]
    model: String,
    /// Tokens of each prompt
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens to write after each
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Readers at once, each of a sequence of its own
    #[arg(long, default_value_t = 1)]
    readers: usize,
    /// Tokens to guess ahead at most
    #[arg(long, default_value_t = 0)]
    guesses: usize,
    /// Rounds to measure; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    forms: Forms,
}

/// Loads, measures and prints.
pub fn run(args: &GenerateArgs) -> Result<()> {
    ensure!(
        args.prompt > 0 && args.tokens > 1 && args.readers > 0,
        "take a prompt, two tokens and one sequence at least"
    );
    let place = Place::of(Path::new(&args.model))?;
    let clock = Instant::now();
    let loaded = load::load(&args.model, args.forms.weights())?;
    let seconds_to_load = clock.elapsed().as_secs_f64();
    let weights_bytes = loaded.model.params().bytes(&loaded.ops);
    let file_bytes = bytes_of(&place.path);
    let cache_tokens = Limits::cache_for::<Backend>(args.readers, args.prompt + args.tokens);
    let (cache, draft_tokens) = (args.forms.cache(), args.guesses);
    let limits = Limits { cache, draft_tokens, ..Limits::new(args.readers, 512, cache_tokens) };
    let vocabulary = loaded.model.model().config().vocab_size;
    let (mut reading, mut writing, mut passing) = (Vec::new(), Vec::new(), Vec::new());
    let exact = args.forms.weights() == WeightForm::Exact;
    let (mut ceilings, mut memory) = (Vec::new(), None);
    let mut guessed = Guessed::default();
    for _ in 0..args.rounds.max(1) {
        let mut engine = Engine::new(loaded.ops.clone(), loaded.model.clone(), limits);
        for sequence in 0..args.readers {
            let prompt = (0..args.prompt).map(|t| ((sequence * 7919 + t * 104_729) % vocabulary) as u32).collect();
            engine.submit(Request::new(prompt, args.tokens))?;
        }
        let (start, mut first, mut drawn, mut passes) = (Instant::now(), None, 0, 0);
        while !engine.is_idle() {
            let step = engine.step();
            passes += usize::from(first.is_some());
            if let Some(dropped) = step.dropped.into_iter().next() {
                return Err(dropped.into());
            }
            drawn += step.events.len();
            // Every sequence has its first token: from here on nothing is read any more.
            if first.is_none() && drawn >= args.readers {
                first = Some((start.elapsed().as_secs_f64(), drawn));
            }
        }
        let Some((read, before)) = first else { continue };
        let wrote = start.elapsed().as_secs_f64() - read;
        reading.push((args.readers * args.prompt) as f64 / read);
        writing.push((drawn - before) as f64 / wrote);
        passing.push(passes as f64 / wrote);
        guessed.add(engine.counters());
        // Before anything is measured with memory of its own, which is no memory of the model.
        memory.get_or_insert_with(peak_rss_mb);
        if exact {
            ceilings.push(ceiling(loaded.ops.parallelism()));
        }
    }
    ensure!(!reading.is_empty(), "nothing was drawn");
    let (prefill, decode, memory) = (median(&mut reading), median(&mut writing), memory.unwrap_or_default());
    let bytes_a_second = read_in_a_pass(&loaded, args.readers) * median(&mut passing);
    let products = exact.then(|| Products::of(&loaded, args, prefill, decode, median(&mut ceilings)));
    let share = memory_bandwidth(loaded.ops.parallelism()).map(|bandwidth| bytes_a_second / bandwidth);
    if args.json {
        return line(json!({
            "prefill_tokens_per_second": prefill, "decode_tokens_per_second": decode, "bandwidth_share": share,
            "weights_bytes": weights_bytes, "peak_rss_mb": memory, "file_bytes": file_bytes,
            "seconds_to_load": seconds_to_load, "drawn": guessed.drawn,
            "guessed_by_text": guessed.by_text[0], "guessed_by_text_right": guessed.by_text[1],
            "guessed_by_module": guessed.by_module[0], "guessed_by_module_right": guessed.by_module[1],
            "ceiling_gflops": products.map(|products| products.ceiling), "ceiling_by": exact.then_some(CEILING_BY),
            "prefill_share_of_ceiling": products.map(|products| products.reading / products.ceiling),
            "decode_share_of_ceiling": products.map(|products| products.writing / products.ceiling),
        }));
    }
    if args.guesses > 0 {
        line(&guessed)?;
    }
    line(format_args!(
        "reads {prefill:.0} and writes {decode:.1} tokens/s, at {} of the memory's bandwidth; weights {:.1} MB of a file of \
         {:.1} MB, {memory:.0} MB at most, loaded in {seconds_to_load:.1} s",
        share.map_or("an unknown share".to_owned(), |share| format!("{:.0} %", 100.0 * share)),
        weights_bytes as f64 / 1e6,
        file_bytes as f64 / 1e6,
    ))?;
    if let Some(Products { reading, writing, ceiling }) = products {
        line(format_args!(
            "its products: {reading:.0} GFLOP/s reading and {writing:.0} writing, {:.0} and {:.0} % of {ceiling:.0} ({CEILING_BY})",
            100.0 * reading / ceiling,
            100.0 * writing / ceiling,
        ))?;
    }
    Ok(())
}

/// Exact products beside their ceiling, in GFLOP/s.
#[derive(Clone, Copy)]
struct Products {
    reading: f64,
    writing: f64,
    ceiling: f64,
}

impl Products {
    /// Those of `prefill` and `decode` tokens a second. The head takes the last token of each prompt alone.
    fn of(loaded: &Loaded, args: &GenerateArgs, prefill: f64, decode: f64, ceiling: f64) -> Products {
        let model = loaded.model.model();
        let (all, head) = (model.matmul_params(), model.head(&loaded.model.params()).spec.len() as f64);
        let read = all - head + head / args.prompt as f64;
        Products { reading: 2e-9 * prefill * read, writing: 2e-9 * decode * all, ceiling }
    }
}

/// How guesses did in all rounds.
#[derive(Default)]
struct Guessed {
    /// Tokens of answers.
    drawn: u64,
    /// Guesses by what the text had before, and those that came true.
    by_text: [u64; 2],
    /// The same by the model's module.
    by_module: [u64; 2],
}

impl Guessed {
    fn add(&mut self, counters: Counters) {
        let module = [counters.guessed_by_module, counters.guessed_by_module_right];
        let all = [counters.guessed, counters.guessed_right];
        self.drawn += counters.drawn;
        for at in 0..2 {
            self.by_module[at] += module[at];
            self.by_text[at] += all[at] - module[at];
        }
    }
}

impl fmt::Display for Guessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Guessed { drawn, by_text: [text, text_right], by_module: [module, module_right] } = self;
        write!(
            f,
            "of {drawn} tokens, {text_right} were guessed by the text in {text} guesses, and {module_right} by the model's \
             module in {module}"
        )
    }
}

/// Bytes of weights that a pass over one token of each reader multiplies by.
fn read_in_a_pass(loaded: &Loaded, readers: usize) -> f64 {
    let params = loaded.model.params();
    let met = (readers as f64 * loaded.model.model().visited_share()).min(1.0);
    let bytes = |param: &Param<Backend>| {
        let share = if param.spec.name.contains(".experts.") { met } else { 1.0 };
        share * param.bytes(&loaded.ops) as f64
    };
    let own = params.iter().count() - loaded.model.model().mtp_params().count();
    params.iter().take(own).filter(|param| param.spec.product().is_some()).map(bytes).sum()
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
