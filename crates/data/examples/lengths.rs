//! What each task costs in tokens: mean length of prompts and worked solutions under two tokenizers, one of single
//! characters and one with merges, trained on text of every kind, with the number of held-out problems and the share of
//! solutions that the verifier accepts.
//!
//! ```text
//! cargo run --release -p picnic-data --example lengths
//! cargo run --release -p picnic-data --example lengths -- show    # a few problems and texts to read
//! ```

use std::collections::HashSet;
use std::error::Error;

use picnic_chat::ChatFormat;
use picnic_data::ProblemFormat;
use picnic_tasks::{Corpus, CorpusKind, CorpusPart, Mixture, Split, Task, TaskSpec, default_parts};
use picnic_tokenizer::{Tokenizer, TrainConfig};
use serde_json::json;

const PROBLEMS: u64 = 1000;
/// Held-out problems drawn to count the distinct ones; where nearly all are distinct there are far more.
const DRAWS: u64 = 50_000;
const NAMES: &[&str] = &[
    "arithmetic", "calculations", "countdown", "letters", "larger", "sequences", "knights_knaves", "word_problems",
    "word_problems_ru", "small_talk", "beyond",
];

fn main() -> Result<(), Box<dyn Error>> {
    let tasks: Vec<TaskSpec> = NAMES
        .iter()
        .map(|name| match *name {
            "countdown" => serde_json::from_value(json!({"name": name, "numbers": [2, 3], "exhaustive": true})),
            _ => serde_json::from_value(json!({ "name": name })),
        })
        .collect::<Result<_, _>>()?;
    let mixture = Mixture::new(&tasks, 0)?;
    let corpus = Corpus::new(&every_kind(), &tasks, 0)?;
    if std::env::args().any(|word| word == "show") {
        return show(&mixture);
    }
    let tokenizers = [true, false].map(|individual_characters| {
        let config = TrainConfig { vocab_size: 1024, individual_characters, ..TrainConfig::default() };
        Tokenizer::train((0..6000).map(|i| corpus.text(i)), &config)
    });
    let [small, large] = tokenizers;
    let (small, large) = (ChatFormat::picnic(small?), ChatFormat::picnic(large?));
    println!(
        "task              levels  held out of {DRAWS} draws | right | characters: prompt trace max | 1024: prompt trace max"
    );
    for task in mixture.tasks() {
        let held_out: HashSet<String> = (0..DRAWS).map(|i| task.problem(Split::HeldOut, i).id).collect();
        let problems: Vec<_> = (0..PROBLEMS).map(|i| task.problem(Split::Train, i)).collect();
        let right = problems
            .iter()
            .filter(|problem| task.trace(problem).is_some_and(|trace| task.verify(problem, &trace.answer).is_right()))
            .count();
        print!("{:17} {:6} {:26} | {right:5}", task.name(), task.levels(), held_out.len());
        for chat in [&small, &large] {
            let format = ProblemFormat::new(chat)?;
            let (mut prompts, mut traces, mut longest) = (0, 0, 0);
            for problem in &problems {
                let Some(worked) = task.sft_example(problem) else { continue };
                let example = format.example(&worked)?;
                let trace = example.ids.len() - example.prompt;
                prompts += example.prompt;
                traces += trace;
                longest = longest.max(trace);
            }
            let mean = |sum: usize| sum as f64 / PROBLEMS as f64;
            print!(" | {:10.1} {:7.1} {longest:5}", mean(prompts), mean(traces));
        }
        println!();
    }
    Ok(())
}

/// The default text for a half, and as much of each other kind that has no answers in it.
fn every_kind() -> Vec<CorpusPart> {
    use CorpusKind::{Comparisons, CountingRu, Sequences, Spelling, Statements, Steps};
    let more = [Spelling, Steps, Statements, Sequences, CountingRu, Comparisons];
    let more = more.map(|kind| CorpusPart { kind, weight: 16 });
    [default_parts(), more.to_vec()].concat()
}

fn show(mixture: &Mixture) -> Result<(), Box<dyn Error>> {
    for arm in mixture.arms() {
        let Some(problem) = mixture.problem_of(&arm, Split::Train, 0) else { continue };
        let Some(trace) = mixture.trace(&problem) else { continue };
        println!("{} {}: {}\n{}\n=> {}\n", arm.task, arm.level, problem.prompt, trace.thinking, trace.answer);
    }
    for part in every_kind() {
        let corpus = Corpus::new(&[part], &[], 0)?;
        println!("{:?}\n{}\n{}\n", part.kind, corpus.text(0), corpus.text(1));
    }
    Ok(())
}
