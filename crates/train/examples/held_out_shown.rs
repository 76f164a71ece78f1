//! Whether a run's Countdown accuracy is memory: how many of the held-out problems its text and its worked examples
//! solve in passing, and how the models do on those and on the others.
//!
//! ```text
//! cargo run --release -p picnic-train --example held_out_shown -- recipes/tiny/full.toml runs/tiny-full
//! ```
//!
//! No line is about a held-out problem. But a line of four numbers goes on from what three of them make, and a search
//! that misses its target makes another number out of the same ones: `25*3=75 +19=94 -2=92` solves `94 from 3, 19, 25`
//! as it goes by. Left out: what RL, rejection sampling and the student see, which are the models' own answers.

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;

use picnic_data::packed;
use picnic_tasks::Mixture;
use picnic_tokenizer::Tokenizer;
use picnic_train::recipe::{R1Recipe, Recipe};
use picnic_train::report::{self, Stage};
use picnic_train::sft::examples;
use picnic_train::tokenizer::load_tokenizer;
use serde_json::Value;

/// Numbers in ascending order and what they make.
type Solved = (Vec<u32>, u32);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, run, overrides @ ..] = &arguments[..] else {
        return Err("give an r1 recipe and the folder of its run, then overrides".into());
    };
    let (recipe, run) = (R1Recipe::load(Path::new(recipe), overrides)?, Path::new(run));
    let Recipe { common, stage } = &recipe;
    let tokenizer = load_tokenizer(&run.join("base"))?;
    let pretrain = stage.pretrain.as_ref().ok_or("the recipe has no pre-training")?;

    let corpus = common.text()?;
    let mut in_text = HashSet::new();
    for index in 0..(pretrain.steps * pretrain.batch_sequences) as u64 {
        let ids = packed(&tokenizer, index, pretrain.sequence_tokens + 1, |i| corpus.text(i))?;
        in_text.extend(solved_in(&text(&tokenizer, &ids)));
    }
    let sft = Recipe { common: common.clone(), stage: stage.sft.clone() };
    let worked = examples(&sft, None, &tokenizer)?.0;
    let in_examples: HashSet<Solved> =
        worked.iter().flat_map(|example| solved_in(&text(&tokenizer, &example.ids))).collect();

    let tasks = Mixture::new(&common.tasks, stage.eval.problem_seed)?;
    let countdown = tasks.tasks().find(|task| task.name() == "countdown").ok_or("the recipe has no Countdown")?;
    let problems: Vec<Option<Solved>> =
        countdown.held_out(stage.eval.problems)?.iter().map(|problem| posed(&problem.gold)).collect();
    let is_shown = |by: &HashSet<Solved>| -> Vec<bool> {
        problems.iter().map(|problem| problem.as_ref().is_some_and(|problem| by.contains(problem))).collect()
    };
    let (text, examples) = (is_shown(&in_text), is_shown(&in_examples));
    let count = |shown: &[bool]| shown.iter().filter(|shown| **shown).count();
    println!("of {} held-out problems {} are solved in passing by the text of pre-training,", text.len(), count(&text));
    println!("{} by the worked examples of the cold start", count(&examples));
    let either: Vec<bool> = text.iter().zip(&examples).map(|(a, b)| *a || *b).collect();

    println!("{:22} {:>9} {:>9}", "right, %", "shown", "others");
    let report = report::read(run)?;
    for stage in [Stage::Zero, Stage::Sft, Stage::Rl, Stage::Sft2, Stage::Rl2, Stage::StudentDistilled] {
        let Some(scores) = report.stages.get(&stage).and_then(|result| result.scores.get("countdown")) else {
            continue;
        };
        let mean = |wanted: bool| {
            let of: Vec<f32> =
                scores.iter().zip(&either).filter(|(_, shown)| **shown == wanted).filter_map(|(s, _)| *s).collect();
            100.0 * of.iter().sum::<f32>() / of.len() as f32
        };
        println!("{:22} {:>9.1} {:>9.1}", stage.key(), mean(true), mean(false));
    }
    Ok(())
}

/// The gold of a Countdown problem.
fn posed(gold: &Value) -> Option<Solved> {
    let mut numbers: Vec<u32> = serde_json::from_value(gold["numbers"].clone()).ok()?;
    numbers.sort_unstable();
    Some((numbers, serde_json::from_value(gold["target"].clone()).ok()?))
}

fn text(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    tokenizer.decode(ids, false)
}

/// What three or more numbers make, a step after the other: `25*3=75 +19=94` gives 94 from 3, 19 and 25.
fn solved_in(text: &str) -> Vec<Solved> {
    let (mut solved, mut numbers): (Vec<Solved>, Vec<u32>) = (Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        let Some((step, result)) = word.split_once('=') else { continue };
        let operands: Vec<&str> = step.split(['+', '-', '*', '/']).collect();
        // A step that begins with its sign goes on from the last result.
        if !operands[0].is_empty() {
            numbers.clear();
        }
        numbers.extend(operands.iter().filter_map(|operand| operand.parse::<u32>().ok()));
        if let (3.., Ok(result)) = (numbers.len(), result.parse()) {
            let mut used = numbers.clone();
            used.sort_unstable();
            solved.push((used, result));
        }
    }
    solved
}
