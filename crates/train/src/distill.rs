//! On-policy distillation: a student answers, a teacher that reads along says how likely it finds every token.
//!
//! The loss is the reverse divergence KL(student ‖ teacher) at the tokens that the student visits, estimated by the
//! token that was drawn: its gradient is (ln π_S − ln π_T) · ∇ ln π_S, with the bracket held fixed (Agarwal et al.
//! 2024, generalised knowledge distillation, with the student's data and the reverse divergence; Gu et al. 2024,
//! MiniLLM, by policy gradient). In the words of RL every token has the reward ln π_T − ln π_S; with `discount` it is
//! also paid for what comes after it, so that a token that leads where the teacher would not go is avoided. Answers need
//! not be right, and no rule judges them.
//!
//! Distillation on a teacher's answers (DeepSeek-R1, section 2.4) is [`reject`](mod@crate::reject) and then
//! [`sft`](mod@crate::sft).

use crate::error::Error;
use crate::lanes::{BatchLoss, Pass, Sequence};
use crate::load::{Loaded, load, open};
use crate::recipe::{OnPolicy, Recipe};
use crate::rollout::{Draw, prompts, roll_out};
use crate::training::{Opening, Outcome, Setting, Start, StepPlan, Training};
use crate::watch;
use picnic_chat::ChatFormat;
use picnic_data::ProblemFormat;
use picnic_model::{CacheForm, WeightForm, backend};
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
    chat: ChatFormat,
) -> Result<Outcome, Error> {
    let Recipe { common, stage } = recipe;
    let fingerprint = recipe.fingerprint()?;
    if let Some(outcome) = setting.finished(&fingerprint)? {
        return Ok(outcome);
    }
    let tasks = Mixture::new(&common.tasks, common.seed)?;
    let reading_teacher = watch::at(format!("teacher: reading {}", teacher.display()));
    let source = open(teacher)?;
    let ops = backend::with_threads(1)?;
    let loaded = load(&ops, &source.checkpoint, &source.chat, Some(WeightForm::Exact))?;
    let Loaded { model: teacher_model, params: teacher_params, notes } = loaded;
    notes.iter().for_each(|note| setting.progress.note(note));
    let opening = Opening {
        stage: "distill",
        mtp_weight: 0.0,
        rule: stage.optimizer.rule,
        fingerprint,
        teaches: Some(tasks.examples()),
    };
    let mut run = Training::open(opening, setting, common, start, chat)?;
    if teacher_model.config().vocab_size != run.policy.model().config().vocab_size
        || !same_words(source.chat.tokenizer(), run.chat.tokenizer())
    {
        let what = format!("{} has another vocabulary than the student", teacher.display());
        return Err(Error::Empty { what, cure: "distil by its answers instead: reject, then sft" });
    }
    let positions = teacher_model.config().max_position_embeddings;
    if positions < run.policy.model().config().max_position_embeddings {
        let what = format!("{} reads {positions} positions, fewer than the student", teacher.display());
        return Err(Error::Empty { what, cure: "distil by its answers instead: reject, then sft" });
    }
    drop(reading_teacher);
    let mut display = run.open_display(stage.steps as u64, None);
    while run.step < stage.steps as u64 {
        let clock = Instant::now();
        let first = FIRST_PROBLEM + run.step * stage.questions as u64;
        let problems: Vec<Problem> =
            (0..stage.questions as u64).map(|i| tasks.problem(Split::Train, first + i)).collect();
        let prompts = prompts(&ProblemFormat::new(&run.chat)?, &problems)?;
        let draw = Draw {
            samples: stage.samples,
            max_tokens: stage.max_tokens,
            temperature: stage.temperature,
            top_p: stage.top_p,
            seed: picnic_random::part(common.seed, FIRST_PROBLEM, run.step),
        };
        let samples = roll_out(&run.ops, &run.policy, &prompts, run.chat.ends().ids(), CacheForm::Exact, draw)?;
        let sequence = |prompt: &Vec<u32>, tokens: &[u32]| Sequence {
            ids: [&prompt[..], tokens].concat(),
            first_target: prompt.len(),
        };
        let sequences: Vec<Sequence> =
            samples.iter().map(|s| sequence(&prompts[s.prompt], &s.completion.tokens)).collect();
        let pass = Pass::new(common.micro_batch_tokens);
        let wanted = run.lanes.logprobs(&teacher_model, &teacher_params, &sequences, pass)?;

        let targets = sequences.iter().map(Sequence::targets).sum::<usize>().max(1) as f64;
        let surprises: Vec<Vec<f64>> = samples
            .iter()
            .zip(&wanted)
            .map(|(sample, wanted)| {
                let both = sample.completion.logprobs.iter().zip(&wanted.logprob);
                both.map(|(&own, &teachers)| f64::from(own) - f64::from(teachers)).collect()
            })
            .collect();
        let costs = costs(&surprises, stage.discount);
        let plan = StepPlan {
            optimizer: &stage.optimizer,
            step: run.step,
            steps: stage.steps as u64,
            balance_alpha: stage.balance_alpha,
            entropy: true,
            teaches: true,
        };
        let derivatives: Vec<Vec<f32>> =
            costs.iter().map(|costs| costs.iter().map(|cost| (cost / targets) as f32).collect()).collect();
        let done = run.step(common, &sequences, plan, &BatchLoss::PerTarget(&derivatives))?;
        run.balance_experts(&done.expert_counts, stage.router_bias_speed);

        let kl: f64 = surprises.iter().flatten().sum();
        let entropy: f64 = done.tokens.iter().flat_map(|stats| &stats.entropy).map(|&entropy| f64::from(entropy)).sum();
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
    run.finish()
}

/// What each token costs: its own surprise, and what the later ones of its answer do beyond the step's mean, each
/// discounted once more. The mean takes away variance; being made of the same answers it also leans a little towards
/// what was drawn, by an amount of the order of one over their number.
fn costs(surprises: &[Vec<f64>], discount: f64) -> Vec<Vec<f64>> {
    let mut later: Vec<Vec<f64>> = surprises.iter().map(|answer| vec![0.0; answer.len()]).collect();
    for (answer, later) in surprises.iter().zip(&mut later) {
        for t in (1..answer.len()).rev() {
            later[t - 1] = discount * (answer[t] + later[t]);
        }
    }
    let count = later.iter().map(Vec::len).sum::<usize>().max(1);
    let mean = later.iter().flatten().sum::<f64>() / count as f64;
    let cost = |(own, later): (&f64, &f64)| own + later - mean;
    surprises.iter().zip(&later).map(|(answer, later)| answer.iter().zip(later).map(cost).collect()).collect()
}

/// Whether every id stands for the same token.
fn same_words(one: &Tokenizer, other: &Tokenizer) -> bool {
    one.vocab_size() == other.vocab_size()
        && (0..one.vocab_size() as u32).all(|id| one.id_to_token(id) == other.id_to_token(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_pays_for_what_comes_after_it() {
        let surprises = [vec![1.0, 2.0, 4.0], vec![8.0], vec![]];
        assert_eq!(costs(&surprises, 0.0), surprises);
        // Later: 0.5·2 + 0.25·4 = 2, 0.5·4 = 2, 0 and 0; their mean is 1.
        assert_eq!(costs(&surprises, 0.5), [vec![2.0, 3.0, 3.0], vec![7.0], vec![]]);
    }
}
