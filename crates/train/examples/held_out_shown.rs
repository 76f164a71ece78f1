//! Whether a run's Countdown accuracy is memory: how many of the held-out problems its text and its worked examples
//! solve in passing, and how the models do on those and on the others.
//!
//! ```text
//! cargo run --release -p picnic-train --example held_out_shown -- recipes/tiny/full.toml runs/tiny-full
//! ```
//!
//! No line is about a held-out problem. But a line of four numbers goes on from what three of them make, and a search
//! that misses its target makes another number out of the same ones: `25*3=75 +19=94 -2=92` would solve `94 from 3, 19,
//! 25` as it goes by, and `75` from all four. Such lines are left out of both, which this counts after the fact. Were any
//! there, the models would also have to be asked those that the text of other seeds solves and theirs does not: problems
//! with many solutions are both easy and often solved so. Left out: what RL, rejection sampling and the student see,
//! which are the models' own answers.

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;

use picnic_data::packed;
use picnic_tasks::Mixture;
use picnic_tokenizer::{EOS, Tokenizer};
use picnic_train::load::open;
use picnic_train::recipe::{Common, R1Recipe, Recipe};
use picnic_train::report::{self, Share, Stage};
use picnic_train::sft::examples;
use serde_json::Value;

/// Numbers in ascending order and what they make.
type Solved = (Vec<u32>, u32);

/// Seeds whose text the models have not read.
const OTHERS: u64 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, run, overrides @ ..] = &arguments[..] else {
        return Err("give an r1 recipe and the folder of its run, then overrides".into());
    };
    let (recipe, run) = (R1Recipe::load(Path::new(recipe), overrides)?, Path::new(run));
    let Recipe { common, stage } = &recipe;
    let chat = open(&run.join("base"))?.chat;
    let tokenizer = chat.tokenizer();
    let in_text = read(&recipe, tokenizer, common.seed)?;
    let mut elsewhere = HashSet::new();
    for other in 1..=OTHERS {
        elsewhere.extend(read(&recipe, tokenizer, common.seed + 1000 + other)?);
    }
    let sft = Recipe { common: common.clone(), stage: stage.sft.clone() };
    let worked = examples(&sft, None, &chat)?.0;
    let in_examples: HashSet<Solved> =
        worked.iter().flat_map(|example| solved_in(&tokenizer.decode(&example.ids, false))).collect();

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
    if (1..=5).contains(&count(&text)) {
        let shown = problems.iter().zip(&text).filter(|(_, is_in)| **is_in);
        shown.flat_map(|(problem, _)| problem).for_each(|(numbers, target)| println!("  {target} from {numbers:?}"));
    }
    let shown: Vec<bool> = text.iter().zip(&examples).map(|(a, b)| *a || *b).collect();
    if count(&shown) == 0 {
        return Ok(());
    }
    let would_be: Vec<bool> = is_shown(&elsewhere).iter().zip(&shown).map(|(there, here)| *there && !here).collect();
    let groups = [("solved in passing", &shown), ("by other seeds alone", &would_be)];

    println!("{:22} {:>22} {:>22}", "right, % (problems)", groups[0].0, groups[1].0);
    let report = report::read(run)?;
    for stage in [Stage::Zero, Stage::Sft, Stage::Rl, Stage::Sft2, Stage::Rl2, Stage::StudentDistilled] {
        let Some(scores) = report.stages.get(&stage).and_then(|result| result.scores.get("countdown")) else {
            continue;
        };
        let [here, there] = groups.map(|(_, group)| {
            let of = scores.iter().zip(group).filter_map(|(score, is_in)| score.filter(|_| *is_in));
            let of: Vec<f64> = of.map(f64::from).collect();
            let Share { value, ci95: [low, high] } = Share::of(&of, 0);
            format!("{:.1} [{:.1}, {:.1}] ({})", 100.0 * value, 100.0 * low, 100.0 * high, of.len())
        });
        println!("{:22} {here:>22} {there:>22}", stage.key());
    }
    Ok(())
}

/// The gold of a Countdown problem.
fn posed(gold: &Value) -> Option<Solved> {
    let mut numbers: Vec<u32> = serde_json::from_value(gold["numbers"].clone()).ok()?;
    numbers.sort_unstable();
    Some((numbers, serde_json::from_value(gold["target"].clone()).ok()?))
}

/// What the text of pre-training solves.
fn read(recipe: &R1Recipe, tokenizer: &Tokenizer, seed: u64) -> Result<HashSet<Solved>, Box<dyn Error>> {
    let corpus = Common { seed, ..recipe.common.clone() }.text()?;
    let pretrain = recipe.stage.pretrain.as_ref().ok_or("the recipe has no pre-training")?;
    let mut solved = HashSet::new();
    for index in 0..(pretrain.steps * pretrain.batch_sequences) as u64 {
        let ids = packed(tokenizer, index, pretrain.sequence_tokens + 1, |i| corpus.text(i))?;
        solved.extend(solved_in(&tokenizer.decode(&ids, false)));
    }
    Ok(solved)
}

/// What three or more numbers make, a step after the other: `25*3=75 +19=94` gives 94 from 3, 19 and 25, and 75 and 94
/// from all that were listed before (`With 25, 3, 19, 2:`).
fn solved_in(text: &str) -> Vec<Solved> {
    let (mut solved, mut numbers): (Vec<Solved>, Vec<u32>) = (Vec::new(), Vec::new());
    let (mut given, mut is_open): (Vec<u32>, bool) = (Vec::new(), false);
    for word in text.split_whitespace() {
        // The next document's steps are of other numbers.
        if word.contains(EOS) {
            given.clear();
        }
        // A step right behind a mark of the conversation begins after it.
        let word = word.rsplit('>').next().unwrap_or(word);
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        let goes_on = word.ends_with(',');
        if let (Ok(number), true) = (digits.parse::<u32>(), is_open || goes_on) {
            if !is_open {
                given.clear();
            }
            given.push(number);
        }
        is_open = goes_on && digits.len() + 1 == word.len();
        let Some((step, result)) = word.split_once('=') else { continue };
        let operands: Vec<&str> = step.split(['+', '-', '*', '/']).collect();
        // A step that begins with its sign goes on from the last result.
        if !operands[0].is_empty() {
            numbers.clear();
        }
        numbers.extend(operands.iter().filter_map(|operand| operand.parse::<u32>().ok()));
        let Ok(result) = result.parse() else { continue };
        for by in [&numbers, &given].into_iter().filter(|by| by.len() >= 3) {
            let mut by = by.clone();
            by.sort_unstable();
            solved.push((by, result));
        }
    }
    solved
}
