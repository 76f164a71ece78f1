//! Rejection sampling: answers of a trained model, of which the right ones in the right form become the next
//! fine-tuning set (DeepSeek-R1, section 2.3.3).
//!
//! Each batch of problems is written when it is done, so a resumed run draws only what is missing. Left out: a judge
//! for answers without a rule, and the general data that R1 mixes in.

use crate::error::Error;
use crate::eval::{Forms, Judged};
use crate::progress::{Event, Opened};
use crate::recipe::{Recipe, Reject};
use crate::rollout::{Draw, judge, prompts};
use crate::run_folder::{OUTCOME, claim, read_json, sync_folder, write_file, write_json};
use crate::traces::Trace;
use crate::training::{Outcome, Setting};
use picnic_chat::ChatFormat;
use picnic_data::ProblemFormat;
use picnic_tasks::{Mixture, Problem, RewardWeights, Split, Task};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// The file with what was kept, in the stage's folder.
pub const TRACES: &str = "traces.jsonl";

/// Problems start here, so that they are neither the cold start's nor RL's.
const FIRST_PROBLEM: u64 = 2 << 32;

/// One batch of problems, as it is kept for a resumed run.
#[derive(Serialize, Deserialize)]
struct Batch {
    kept: Vec<Trace>,
    right: u64,
    answers: u64,
    tokens: usize,
    seconds: f64,
    core_seconds: f64,
}

/// Draws answers of the model in `model` and writes those that the rules find right, which may be none, to
/// `traces.jsonl` in `setting.out`.
///
/// # Errors
/// A model that cannot be read, a folder in use or that cannot be written.
pub fn reject(recipe: &Recipe<Reject>, setting: &Setting, model: &Path, chat: ChatFormat) -> Result<Outcome, Error> {
    let Recipe { common, stage } = recipe;
    let fingerprint = recipe.fingerprint()?;
    if let Some(outcome) = setting.finished(&fingerprint)? {
        return Ok(outcome);
    }
    let batches = setting.out.join("batches");
    claim(&setting.out, setting.resume, &fingerprint)?;
    fs::create_dir_all(&batches).map_err(Error::writing(&batches))?;
    let tasks = Mixture::new(&common.tasks, common.seed)?;
    let mut teacher = Judged::open(model, chat, Forms::default(), common.lanes, setting.threads)?;
    let count = stage.questions.div_ceil(stage.batch_questions) as u64;
    let file = |number: u64| batches.join(format!("{number:08}.json"));
    let done = (0..count).take_while(|&number| file(number).exists()).count() as u64;
    let opened = Opened { stage: "reject".into(), done, total: count, tokens: None };
    let mut display = setting.progress.open(opened);
    let (mut outcome, mut kept, mut lines) = (Outcome::default(), 0, String::new());
    for number in 0..count {
        let path = file(number);
        let batch = match read_json(&path)? {
            Some(batch) => batch,
            None => {
                let batch = draw(recipe, &tasks, &mut teacher, number, setting.threads)?;
                write_json(&path, &batch)?;
                batch
            }
        };
        let Batch { kept: traces, right, answers, tokens, seconds, core_seconds } = batch;
        kept += traces.len();
        for trace in &traces {
            lines += &serde_json::to_string(trace).map_err(|e| Error::writing(&path)(e.into()))?;
            lines.push('\n');
        }
        outcome.read(tokens);
        outcome.seconds += seconds;
        outcome.core_seconds += core_seconds;
        outcome.steps += 1;
        let values = [
            ("right", right as f64 / answers.max(1) as f64),
            ("kept", kept as f64),
            ("tokens/s", tokens as f64 / seconds),
        ];
        outcome.add(number + 1, &values);
        display.step(number + 1, &values);
        setting.progress.tell(&Event::Saved(number + 1));
    }
    if kept == 0 {
        setting.progress.note("no right answer was found; give it a better model, easier tasks or more samples");
    }
    write_file(&setting.out.join(TRACES), &lines)?;
    write_json(&setting.out.join(OUTCOME), &outcome)?;
    sync_folder(&setting.out)?;
    fs::remove_dir_all(&batches).map_err(Error::writing(&batches))?;
    Ok(outcome)
}

/// The answers to batch `number` of the problems.
fn draw(
    recipe: &Recipe<Reject>,
    tasks: &Mixture,
    teacher: &mut Judged,
    number: u64,
    threads: usize,
) -> Result<Batch, Error> {
    let Recipe { common, stage } = recipe;
    let clock = Instant::now();
    let first = number * stage.batch_questions as u64;
    let last = (first + stage.batch_questions as u64).min(stage.questions as u64);
    let problems: Vec<Problem> = (first..last).map(|i| tasks.problem(Split::Train, FIRST_PROBLEM + i)).collect();
    let draw = Draw {
        samples: stage.samples,
        max_tokens: stage.max_tokens,
        temperature: stage.temperature,
        top_p: stage.top_p,
        seed: picnic_random::part(common.seed, FIRST_PROBLEM, number),
    };
    let samples = teacher.answer(&problems, draw)?;
    let format = ProblemFormat::new(&teacher.chat)?;
    let prompts = prompts(&format, &problems)?;
    let mut batch =
        Batch { kept: Vec::new(), right: 0, answers: samples.len() as u64, tokens: 0, seconds: 0.0, core_seconds: 0.0 };
    for group in samples.chunks(stage.samples) {
        let mut distinct = HashSet::new();
        for sample in group {
            batch.tokens += prompts[sample.prompt].len() + sample.completion.tokens.len();
            let problem = &problems[sample.prompt];
            let text = format.text(&sample.completion.tokens);
            let Some(parts) = format.layout.parse(&text) else { continue };
            if !judge(tasks, &format, &problems, sample, RewardWeights::default()).accuracy.is_right() {
                continue;
            }
            batch.right += 1;
            if distinct.len() < stage.keep && distinct.insert(text.clone()) {
                batch.kept.push(Trace {
                    id: problem.id.clone(),
                    prompt: problem.prompt.clone(),
                    thinking: parts.thinking.to_owned(),
                    answer: parts.answer.to_owned(),
                });
            }
        }
    }
    batch.seconds = clock.elapsed().as_secs_f64();
    batch.core_seconds = batch.seconds * threads as f64;
    Ok(batch)
}
