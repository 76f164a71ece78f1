//! Reinforcement learning with rewards by rules: GRPO as DeepSeek-R1 (section 2.2) does it.
//!
//! Each step asks questions, draws a group of answers to each from the current policy, scores them by rules, and takes
//! optimizer steps on the objective in [`grpo`](crate::grpo). A rollout's logprobs are the trainer's own, bit for bit,
//! because both come from the same parameters through the same code: the first minibatch's ratios are exactly 1.

use crate::error::Error;
use crate::grpo::{Objective, advantages, no_variance, token_weights};
use crate::lanes::Sequence;
use crate::recipe::{Recipe, RewardSource, Rl};
use crate::rollout::{Draw, Sample, judge, mix, prompts, roll_out};
use crate::training::{Outcome, Setting, Start, StepPlan, StepStats, Training};
use picnic_data::ChatFormat;
use picnic_engine::Finish;
use picnic_tasks::{Mixture, Problem, Reward, RewardWeights, Split, Task};
use picnic_tokenizer::Tokenizer;
use std::time::Instant;

/// RL's problems start here, so that they are not those of the cold start.
const FIRST_PROBLEM: u64 = 1 << 32;

/// One answer with what it needs to be learned from.
struct Experience {
    sequence: Sequence,
    /// Logprobs when it was drawn.
    old: Vec<f32>,
    /// Logprobs under the reference.
    reference: Vec<f32>,
    /// `None` if it could not be judged.
    advantage: Option<f64>,
}

/// Trains the policy of `start` into `setting.out`.
///
/// # Errors
/// A folder in use, a checkpoint that cannot be written, a loss that is no number.
pub fn rl(recipe: &Recipe<Rl>, setting: &Setting, start: Start, tokenizer: Tokenizer) -> Result<Outcome, Error> {
    let Recipe { common, stage } = recipe;
    let fingerprint = recipe.resolved_toml();
    if let Some(outcome) = setting.finished(&fingerprint)? {
        return Ok(outcome);
    }
    let tasks = Mixture::new(&common.tasks, common.seed)?;
    let mut run = Training::open("rl", setting, common, fingerprint, start, tokenizer)?;
    let mut display = setting.progress.stage("rl", stage.steps as u64);
    while run.step < stage.steps as u64 {
        let clock = Instant::now();
        if run.step.is_multiple_of(stage.reference_every as u64) {
            run.refresh_reference();
        }
        let first = FIRST_PROBLEM + run.step * stage.questions as u64;
        let problems: Vec<Problem> =
            (0..stage.questions as u64).map(|i| tasks.problem(Split::Train, first + i)).collect();
        let (samples, prompts) = answers(&mut run, recipe, &problems)?;
        let rewards = rewards(&run, recipe, &tasks, &problems, &samples)?;
        let experiences = experiences(&mut run, recipe, &samples, &prompts, &rewards);
        let mut numbers = Numbers::default();
        let mut expert_counts: Vec<Vec<u64>> = Vec::new();
        for part in 0..stage.minibatches {
            // Every minibatch has its share of every group.
            let part: Vec<&Experience> = experiences.iter().skip(part).step_by(stage.minibatches).collect();
            if part.is_empty() {
                continue;
            }
            let done = learn(&mut run, recipe, &part, &mut numbers)?;
            add_counts(&mut expert_counts, done.expert_counts);
        }
        // The router's bias rests while a rollout is learned from.
        run.balance_experts(&expert_counts, stage.router_bias_speed);
        let tokens: usize = experiences.iter().map(|e| e.sequence.ids.len()).sum();
        // Each token was generated once and, beside the training pass that `step` counts, read by the reference once.
        run.outcome.tokens += (tokens * if stage.kl_beta > 0.0 { 2 } else { 1 }) as u64;
        let values = curves(&numbers, &samples, &rewards, stage, tokens as f64 / clock.elapsed().as_secs_f64());
        run.end_step(&values, stage.checkpoint_every)?;
        display.step(run.step, &values);
    }
    display.finish();
    run.finish()
}

/// A group of answers to each problem, and the prompts.
fn answers(
    run: &mut Training,
    recipe: &Recipe<Rl>,
    problems: &[Problem],
) -> Result<(Vec<Sample>, Vec<Vec<u32>>), Error> {
    let Recipe { common, stage } = recipe;
    let prompts = prompts(&ChatFormat::new(&run.tokenizer)?, problems)?;
    let stop: Vec<u32> = run.tokenizer.eos().into_iter().collect();
    let draw = Draw {
        samples: stage.group_size,
        max_tokens: stage.max_tokens,
        temperature: stage.temperature,
        top_p: stage.top_p,
        seed: mix(common.seed, run.step),
    };
    Ok((roll_out(&mut run.lanes, &run.model, &run.params, &prompts, &stop, draw)?, prompts))
}

/// The reward of each sample.
fn rewards(
    run: &Training,
    recipe: &Recipe<Rl>,
    tasks: &Mixture,
    problems: &[Problem],
    samples: &[Sample],
) -> Result<Vec<Reward>, Error> {
    let chat = ChatFormat::new(&run.tokenizer)?;
    let judged = samples.iter().enumerate().map(|(i, sample)| {
        let mut reward = judge(tasks, &chat, problems, sample, RewardWeights::default());
        if recipe.stage.reward == RewardSource::Random {
            // The control: a fair coin that knows nothing of the answer.
            let coin = mix(mix(recipe.common.seed, !run.step), i as u64) & 1;
            reward.total = Some(coin as f32);
        }
        reward
    });
    Ok(judged.collect())
}

/// Advantages by group, and the reference's logprobs.
fn experiences(
    run: &mut Training,
    recipe: &Recipe<Rl>,
    samples: &[Sample],
    prompts: &[Vec<u32>],
    rewards: &[Reward],
) -> Vec<Experience> {
    let Recipe { common, stage } = recipe;
    let sequence = |sample: &Sample| {
        let prompt = &prompts[sample.prompt];
        let ids = [&prompt[..], &sample.completion.tokens].concat();
        Sequence { ids, first_target: prompt.len() }
    };
    let sequences: Vec<Sequence> = samples.iter().map(sequence).collect();
    let reference: Vec<Vec<f32>> = if stage.kl_beta > 0.0 {
        run.reference_logprobs(common, &sequences).into_iter().map(|stats| stats.logprob).collect()
    } else {
        samples.iter().map(|sample| sample.completion.logprobs.clone()).collect()
    };
    let totals: Vec<Option<f64>> = rewards.iter().map(|r| r.total.map(f64::from)).collect();
    let advantages = totals.chunks(stage.group_size).flat_map(|group| advantages(group, stage.advantage));
    sequences
        .into_iter()
        .zip(samples)
        .zip(reference)
        .zip(advantages)
        .map(|(((sequence, sample), reference), advantage)| Experience {
            sequence,
            old: sample.completion.logprobs.clone(),
            reference,
            advantage,
        })
        .collect()
}

/// One optimizer step on some of the answers.
fn learn(
    run: &mut Training,
    recipe: &Recipe<Rl>,
    part: &[&Experience],
    numbers: &mut Numbers,
) -> Result<StepStats, Error> {
    let Recipe { common, stage } = recipe;
    let objective = Objective::of(stage);
    let sequences: Vec<Sequence> = part.iter().map(|e| e.sequence.clone()).collect();
    let lengths: Vec<usize> = sequences.iter().map(Sequence::targets).collect();
    let advantages: Vec<Option<f64>> = part.iter().map(|e| e.advantage).collect();
    let weights = token_weights(&lengths, &advantages, stage.loss);
    let token = |i: usize, t: usize, logprob: f32| {
        let e = part[i];
        let advantage = e.advantage.unwrap_or(0.0);
        objective.token(advantage, f64::from(logprob), f64::from(e.old[t]), f64::from(e.reference[t]))
    };
    let plan = StepPlan {
        optimizer: &stage.optimizer,
        steps: (stage.steps * stage.minibatches) as u64,
        balance_alpha: stage.balance_alpha,
        entropy: true,
    };
    let slope = |i: usize, t: usize, logprob: f32| {
        if weights[i] == 0.0 { 0.0 } else { (weights[i] * token(i, t, logprob).slope) as f32 }
    };
    let done = run.step(common, &sequences, plan, &slope)?;
    for (i, stats) in done.tokens.iter().enumerate() {
        for (t, (&logprob, &entropy)) in stats.logprob.iter().zip(&stats.entropy).enumerate() {
            let token = token(i, t, logprob);
            numbers.loss += weights[i] * token.loss;
            numbers.kl += token.kl;
            numbers.clipped += f64::from(u8::from(token.is_clipped));
            numbers.entropy += f64::from(entropy);
            numbers.tokens += 1.0;
        }
    }
    numbers.grad_norm += done.grad_norm;
    numbers.lr = done.lr;
    numbers.steps += 1.0;
    Ok(done)
}

/// Sums over the minibatches of a step.
#[derive(Default)]
struct Numbers {
    loss: f64,
    kl: f64,
    clipped: f64,
    entropy: f64,
    tokens: f64,
    grad_norm: f64,
    lr: f64,
    steps: f64,
}

/// What is shown and plotted of a step.
fn curves(
    numbers: &Numbers,
    samples: &[Sample],
    rewards: &[Reward],
    stage: &Rl,
    tokens_per_second: f64,
) -> Vec<(&'static str, f64)> {
    let mean = |f: &dyn Fn(usize) -> f64| (0..samples.len()).map(f).sum::<f64>() / samples.len().max(1) as f64;
    let share = |f: &dyn Fn(usize) -> bool| mean(&|i| f64::from(u8::from(f(i))));
    let groups: Vec<&[Reward]> = rewards.chunks(stage.group_size).collect();
    let flat = groups.iter().filter(|group| {
        let totals: Vec<Option<f64>> = group.iter().map(|r| r.total.map(f64::from)).collect();
        no_variance(&totals)
    });
    vec![
        ("reward", mean(&|i| rewards[i].total.map_or(0.0, f64::from))),
        ("accuracy reward", share(&|i| rewards[i].accuracy.is_right())),
        ("format reward", share(&|i| rewards[i].format)),
        ("length", mean(&|i| samples[i].completion.tokens.len() as f64)),
        ("truncated", share(&|i| samples[i].completion.finish == Finish::Length)),
        ("zero-variance groups", flat.count() as f64 / groups.len().max(1) as f64),
        ("could not judge", share(&|i| rewards[i].total.is_none())),
        ("kl", numbers.kl / numbers.tokens.max(1.0)),
        ("clip share", numbers.clipped / numbers.tokens.max(1.0)),
        ("entropy", numbers.entropy / numbers.tokens.max(1.0)),
        ("loss", numbers.loss / numbers.steps.max(1.0)),
        ("grad norm", numbers.grad_norm / numbers.steps.max(1.0)),
        ("lr", numbers.lr),
        ("tokens/s", tokens_per_second),
    ]
}

fn add_counts(sum: &mut Vec<Vec<u64>>, more: Vec<Vec<u64>>) {
    if sum.is_empty() {
        *sum = more;
    } else {
        for (sum, more) in sum.iter_mut().zip(more) {
            sum.iter_mut().zip(more).for_each(|(a, b)| *a += b);
        }
    }
}
