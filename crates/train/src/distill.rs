//! On-policy distillation: a student answers, a teacher that reads along says how likely it finds every token.
//!
//! The loss is the reverse divergence KL(student ‖ teacher) at the tokens that the student visits, estimated by the
//! token that was drawn: its gradient is (ln π_S − ln π_T) · ∇ ln π_S, with the bracket held fixed (Agarwal et al.
//! 2024, generalised knowledge distillation, with the student's data and the reverse divergence; Gu et al. 2024,
//! MiniLLM, by policy gradient). In the words of RL every token has the reward ln π_T − ln π_S, and nothing is passed
//! back from later tokens. Answers need not be right, and no rule judges them.
//!
//! Distillation on a teacher's answers (DeepSeek-R1, section 2.4) is [`reject`](mod@crate::reject) and then
//! [`sft`](mod@crate::sft).

use crate::error::Error;
use crate::lanes::Sequence;
use crate::recipe::{OnPolicy, Recipe};
use crate::rollout::{Draw, mix, prompts, roll_out};
use crate::tokenizer::load_tokenizer;
use crate::training::{Outcome, Setting, Start, StepPlan, Training, reading};
use picnic_data::ChatFormat;
use picnic_model::checkpoint::Checkpoint;
use picnic_model::{CpuOps, load};
use picnic_tasks::{Mixture, Problem, Split, Task};
use picnic_tokenizer::Tokenizer;
use std::path::Path;
use std::time::Instant;

/// Problems start here, so that they are neither the cold start's nor RL's nor those of the traces.
const FIRST_PROBLEM: u64 = 3 << 32;

/// Trains the student of `start` on answers of its own into `setting.out`, by what `teacher` thinks of them.
///
/// # Errors
/// A teacher that cannot be read or has another vocabulary; a folder in use, a checkpoint that cannot be written, a
/// loss that is no number.
pub fn distill(
    recipe: &Recipe<OnPolicy>,
    setting: &Setting,
    start: Start,
    teacher: &Path,
    tokenizer: Tokenizer,
) -> Result<Outcome, Error> {
    let Recipe { common, stage } = recipe;
    let fingerprint = recipe.resolved_toml();
    if let Some(outcome) = setting.finished(&fingerprint)? {
        return Ok(outcome);
    }
    let tasks = Mixture::new(&common.tasks, common.seed)?;
    let (wise, wisdom) = load(&CpuOps::with_threads(1).map_err(Error::Threads)?, &Checkpoint::open(teacher)?, false)?;
    let mut run = Training::open("distill", setting, common, 0.0, fingerprint, start, tokenizer)?;
    if wise.config().vocab_size != run.model.config().vocab_size
        || !same_words(&load_tokenizer(teacher)?, &run.tokenizer)
    {
        let what = format!("{} has another vocabulary than the student", teacher.display());
        return Err(Error::Empty { what, cure: "distil by its answers instead: reject, then sft" });
    }
    let mut display = setting.progress.stage("distill", stage.steps as u64);
    while run.step < stage.steps as u64 {
        let clock = Instant::now();
        let first = FIRST_PROBLEM + run.step * stage.questions as u64;
        let problems: Vec<Problem> =
            (0..stage.questions as u64).map(|i| tasks.problem(Split::Train, first + i)).collect();
        let prompts = prompts(&ChatFormat::new(&run.tokenizer)?, &problems)?;
        let stop: Vec<u32> = run.tokenizer.eos().into_iter().collect();
        let draw = Draw {
            samples: stage.samples,
            max_tokens: stage.max_tokens,
            temperature: stage.temperature,
            top_p: stage.top_p,
            seed: mix(mix(common.seed, FIRST_PROBLEM), run.step),
        };
        let samples = roll_out(&mut run.lanes, &run.model, &run.params, &prompts, &stop, draw)?;
        let sequence = |prompt: &Vec<u32>, tokens: &[u32]| Sequence {
            ids: [&prompt[..], tokens].concat(),
            first_target: prompt.len(),
        };
        let sequences: Vec<Sequence> =
            samples.iter().map(|s| sequence(&prompts[s.prompt], &s.completion.tokens)).collect();
        let wanted = run.lanes.logprobs(&wise, &wisdom, &sequences, reading(common));

        let targets = sequences.iter().map(Sequence::targets).sum::<usize>().max(1) as f64;
        let surprise = |i: usize, t: usize, logprob: f32| f64::from(logprob) - f64::from(wanted[i].logprob[t]);
        let plan = StepPlan {
            optimizer: &stage.optimizer,
            steps: stage.steps as u64,
            balance_alpha: stage.balance_alpha,
            entropy: true,
        };
        let slope = |i: usize, t: usize, logprob: f32| (surprise(i, t, logprob) / targets) as f32;
        let done = run.step(common, &sequences, plan, &slope)?;
        run.balance_experts(&done.expert_counts, stage.router_bias_speed);

        let (mut kl, mut entropy) = (0.0, 0.0);
        for (i, stats) in done.tokens.iter().enumerate() {
            kl += stats.logprob.iter().enumerate().map(|(t, &l)| surprise(i, t, l)).sum::<f64>();
            entropy += stats.entropy.iter().map(|&e| f64::from(e)).sum::<f64>();
        }
        let tokens: usize = sequences.iter().map(|s| s.ids.len()).sum();
        // Drawn once and read by the teacher once, beside the training pass that `step` counts.
        run.outcome.read(2 * tokens);
        let values = [
            ("kl", kl / targets),
            ("entropy", entropy / targets),
            ("length", targets / samples.len().max(1) as f64),
            ("lr", done.lr),
            ("grad norm", done.grad_norm),
            ("tokens/s", tokens as f64 / clock.elapsed().as_secs_f64()),
        ];
        run.end_step(&values, stage.checkpoint_every)?;
        display.step(run.step, &values);
    }
    display.finish();
    run.finish()
}

/// Whether every id stands for the same token.
fn same_words(one: &Tokenizer, other: &Tokenizer) -> bool {
    one.vocab_size() == other.vocab_size()
        && (0..one.vocab_size() as u32).all(|id| one.id_to_token(id) == other.id_to_token(id))
}
