//! Reinforcement learning with rewards by rules: GRPO as DeepSeek-R1 (section 2.2) does it.
//!
//! Each step asks questions, draws a group of answers to each from the current policy, scores them by rules, and takes
//! optimizer steps on the objective in [`grpo`](crate::grpo). A rollout's logprobs are the trainer's own, bit for bit,
//! because both come from the same parameters through the same code: the first minibatch's ratios are exactly 1. Where
//! a rounded copy of the policy draws instead, [`importance`](crate::importance) weighs what it drew.
//! What later papers changed is a key of the recipe, and this file does not know which keys belong to whom.

use crate::error::Error;
use crate::grpo::{advantages, mean_log_ratio, no_variance, objective, overlong_punishment, token_weights};
use crate::importance::{self, Importance};
use crate::lanes::{BatchLoss, PolicySequence, Sequence};
use crate::progress::{Answer, Event};
use crate::recipe::{Recipe, RewardSource, Rl};
use crate::report::Verdict as Mark;
use crate::rollout::{Draw, Sample, judge, prompts, roll_out};
use crate::tokenizer::with_prompt_template;
use crate::training::{Opening, Outcome, Setting, Start, StepPlan, StepStats, Training};
use picnic_chat::ChatFormat;
use picnic_data::ProblemFormat;
use picnic_engine::Finish;
use picnic_model::layers::TokenStats;
use picnic_model::{Backend, SharedModel, add_counts, ops};
use picnic_tasks::{Curriculum, Mixture, Problem, Reward, RewardWeights, Split, Task};
use std::ops::Range;
use std::time::Instant;

/// RL's problems start here, so that they are not those of the cold start.
const FIRST_PROBLEM: u64 = 1 << 32;

/// Each further stage of RL in a chain asks others.
const ROUND: u64 = 1 << 40;

/// Those that take the place of others start here.
const FIRST_EXTRA_PROBLEM: u64 = 1 << 48;

/// Steps between answers that are shown.
const SHOWN_EVERY: u64 = 5;

/// The answers to one question.
struct Group {
    problem: Problem,
    prompt: Vec<u32>,
    samples: Vec<Sample>,
    rewards: Vec<Reward>,
    /// What the advantages are made of: the rewards' totals and, if asked for, the punishment for length. `None` for an
    /// answer that could not be judged.
    totals: Vec<Option<f64>>,
}

/// A step's groups, and what was drawn and not kept.
struct Rollout {
    groups: Vec<Group>,
    thrown_groups: usize,
    thrown_tokens: usize,
}

/// One answer with what it needs to be learned from.
struct Experience {
    sequence: Sequence,
    /// Logprobs under the policy as it was when the answer was drawn.
    old: Vec<f32>,
    /// What its tokens weigh where a copy of that policy drew them.
    importance: Option<Importance>,
    /// Logprobs under the reference.
    reference: Vec<f32>,
    /// `None` if it could not be judged.
    advantage: Option<f64>,
}

impl Experience {
    /// Whether there is anything to learn from it but nearness to the reference.
    fn teaches(&self) -> bool {
        self.advantage.is_some_and(|advantage| advantage != 0.0)
    }
}

/// Trains the policy of `start` into `setting.out`.
///
/// # Errors
/// A folder in use, a checkpoint that cannot be written, a loss that is no number.
pub fn rl(recipe: &Recipe<Rl>, setting: &Setting, start: Start, chat: ChatFormat) -> Result<Outcome, Error> {
    let Recipe { common, stage } = recipe;
    let fingerprint = recipe.fingerprint()?;
    if let Some(outcome) = setting.finished(&fingerprint)? {
        return Ok(outcome);
    }
    let tasks = Mixture::new(&common.tasks, common.seed)?;
    let chat = with_prompt_template(&chat, stage.template.as_deref())?;
    let opening = Opening {
        stage: "rl",
        mtp_weight: 0.0,
        rule: stage.optimizer.rule,
        fingerprint,
        teaches: Some(tasks.examples()),
    };
    let mut run = Training::open(opening, setting, common, start, chat)?;
    if stage.kl_beta > 0.0 && run.step > 0 && run.reference.is_none() {
        return Err(run.incomplete("the reference policy"));
    }
    if run.curriculum.is_none() {
        run.curriculum = stage.curriculum.map(|settings| Curriculum::new(tasks.arms(), settings, common.seed));
    }
    let mut display = run.open_display(stage.steps as u64, None);
    while run.step < stage.steps as u64 {
        let clock = Instant::now();
        if stage.kl_beta > 0.0 && run.step.is_multiple_of(stage.reference_every as u64) {
            run.refresh_reference()?;
        }
        let rollout = rollout(&mut run, recipe, &tasks)?;
        let experiences = experiences(&mut run, recipe, &rollout.groups)?;
        let mut numbers = Numbers::default();
        let mut expert_counts: Vec<Vec<u64>> = Vec::new();
        for minibatch in 0..stage.minibatches {
            // As many answers of each group, where the minibatches divide it.
            let part: Vec<&Experience> = experiences.iter().skip(minibatch).step_by(stage.minibatches).collect();
            if part.is_empty() {
                continue;
            }
            let done = learn(&mut run, recipe, &part, minibatch, &mut numbers)?;
            add_counts(&mut expert_counts, &done.expert_counts);
        }
        // The router's bias rests while a rollout is learned from, and also after one that taught nothing.
        if experiences.iter().any(Experience::teaches) {
            run.balance_experts(&expert_counts, stage.router_bias_speed);
        }
        let tokens: usize = experiences.iter().map(|e| e.sequence.ids.len()).sum();
        // Each token was generated once and, beside the training pass that `step` counts, read by the reference once,
        // and by the policy once where a copy of it had generated.
        let reads = usize::from(stage.kl_beta > 0.0) + usize::from(stage.importance_cap().is_some());
        run.outcome.read(tokens * (1 + reads) + rollout.thrown_tokens);
        let mut values = curves(&numbers, &rollout, stage, tokens as f64 / clock.elapsed().as_secs_f64());
        if stage.importance_cap().is_some() {
            values.extend(importance::curves(experiences.iter().filter_map(|e| e.importance.as_ref())));
        }
        if let Some(curriculum) = &run.curriculum {
            let rates = curriculum.arms().iter().zip(curriculum.pass_rates());
            for (arm, &rate) in rates {
                run.outcome.add(run.step + 1, &[(&format!("pass rate: {}, level {}", arm.task, arm.level), rate)]);
            }
        }
        run.end_step(&values, stage.checkpoint_every)?;
        display.step(run.step, &values);
        if run.step % SHOWN_EVERY == 1 {
            setting.progress.tell(&Event::Answer(shown(&run, &rollout.groups[0])?));
        }
    }
    run.finish()
}

/// The first answer of a group.
fn shown(run: &Training, group: &Group) -> Result<Answer, Error> {
    Ok(Answer {
        step: Some(run.step),
        task: group.problem.task.clone(),
        question: group.problem.prompt.clone(),
        text: ProblemFormat::new(&run.chat)?.text(&group.samples[0].completion.tokens),
        verdict: Mark::from(&group.rewards[0].accuracy),
    })
}

/// This step's groups. Those whose rewards are all equal are replaced by answers to new questions up to
/// `extra_rollouts` times; what is still without variance then stays (DAPO, section 3.2). A copy of the policy that
/// draws is made once and gone when all is drawn.
fn rollout(run: &mut Training, recipe: &Recipe<Rl>, tasks: &Mixture) -> Result<Rollout, Error> {
    let Rl { questions, extra_rollouts, .. } = recipe.stage;
    let first = FIRST_PROBLEM + recipe.stage.round * ROUND + run.step * questions as u64;
    let drawer = run.drawer(recipe.stage.rollout.form())?;
    let groups = answers(run, recipe, tasks, &drawer, first..first + questions as u64, 0)?;
    let mut rollout = Rollout { groups, thrown_groups: 0, thrown_tokens: 0 };
    for extra in 0..extra_rollouts {
        let flat: Vec<usize> = (0..questions).filter(|&i| no_variance(&rollout.groups[i].totals)).collect();
        if flat.is_empty() {
            break;
        }
        let before = run.step * extra_rollouts as u64 + extra as u64;
        let first = FIRST_EXTRA_PROBLEM + recipe.stage.round * ROUND + before * questions as u64;
        let groups = answers(run, recipe, tasks, &drawer, first..first + flat.len() as u64, 1 + extra as u64)?;
        for (i, group) in flat.into_iter().zip(groups) {
            let thrown = std::mem::replace(&mut rollout.groups[i], group);
            rollout.thrown_groups += 1;
            rollout.thrown_tokens +=
                thrown.samples.iter().map(|s| thrown.prompt.len() + s.completion.tokens.len()).sum::<usize>();
        }
    }
    Ok(rollout)
}

/// The questions of these numbers, and of which arm of the curriculum each is.
fn questions(run: &Training, tasks: &Mixture, numbers: Range<u64>) -> (Vec<Problem>, Vec<usize>) {
    let Some(curriculum) = &run.curriculum else {
        return (numbers.map(|i| tasks.problem(Split::Train, i)).collect(), Vec::new());
    };
    let question = |i| {
        let arm = curriculum.draw(run.step, i);
        let problem = tasks.problem_of(&curriculum.arms()[arm], Split::Train, i);
        (problem.unwrap_or_else(|| tasks.problem(Split::Train, i)), arm)
    };
    numbers.map(question).unzip()
}

/// A group of judged answers of `drawer` to each question; `draw` counts the rollouts of the step.
fn answers(
    run: &mut Training,
    recipe: &Recipe<Rl>,
    tasks: &Mixture,
    drawer: &SharedModel<Backend>,
    numbers: Range<u64>,
    draw: u64,
) -> Result<Vec<Group>, Error> {
    let Recipe { common, stage } = recipe;
    let (problems, arms) = questions(run, tasks, numbers);
    let step = run.step + stage.round * ROUND;
    let format = ProblemFormat::new(&run.chat)?;
    let prompts = prompts(&format, &problems)?;
    let sampling = Draw {
        samples: stage.group_size,
        max_tokens: stage.max_tokens,
        temperature: stage.temperature,
        top_p: stage.top_p,
        seed: picnic_random::rollout(common.seed, step, draw),
    };
    let samples = roll_out(&run.ops, drawer, &prompts, run.chat.ends().ids(), stage.rollout.cache(), sampling)?;
    let coins = picnic_random::coins(common.seed, step, draw);
    let weights = RewardWeights { language: stage.language_weight as f32 };
    let judged = samples.into_iter().enumerate().map(|(i, sample)| {
        let mut reward = judge(tasks, &format, &problems, &sample, weights);
        let mut shape = overlong_punishment(sample.completion.tokens.len(), stage.max_tokens, stage.overlong_share);
        if stage.reward == RewardSource::Random {
            // The control: a fair coin that knows nothing of the answer, but that somebody could have judged it.
            reward.total = reward.total.map(|_| (picnic_random::child(coins, i as u64) & 1) as f32);
            shape = 0.0;
        }
        let total = reward.total.map(|total| f64::from(total) + shape);
        (sample, reward, total)
    });
    let mut judged = judged.collect::<Vec<_>>().into_iter();
    let group = |(problem, prompt): (Problem, Vec<u32>)| {
        let mut group = Group { problem, prompt, samples: Vec::new(), rewards: Vec::new(), totals: Vec::new() };
        for (sample, reward, total) in judged.by_ref().take(stage.group_size) {
            group.samples.push(sample);
            group.rewards.push(reward);
            group.totals.push(total);
        }
        group
    };
    let groups: Vec<Group> = problems.iter().cloned().zip(prompts).map(group).collect();
    if let Some(curriculum) = &mut run.curriculum {
        for (group, arm) in groups.iter().zip(arms) {
            curriculum.record(arm, pass_rate(group, stage.reward));
        }
    }
    Ok(groups)
}

/// The share of right answers among those that could be judged; no number where none could. A coin that stands for the
/// reward stands for this too.
fn pass_rate(group: &Group, source: RewardSource) -> f64 {
    let judged = || group.rewards.iter().zip(&group.totals).filter(|(_, total)| total.is_some());
    let right = judged().filter(|(reward, total)| match source {
        RewardSource::Rules => reward.accuracy.is_right(),
        RewardSource::Random => total.is_some_and(|total| total > 0.0),
    });
    right.count() as f64 / judged().count() as f64
}

/// Advantages by group, the logprobs of policy and reference, and what tokens weigh that a copy of the policy drew.
fn experiences(run: &mut Training, recipe: &Recipe<Rl>, groups: &[Group]) -> Result<Vec<Experience>, Error> {
    let Recipe { common, stage } = recipe;
    let samples: Vec<(&Group, &Sample)> =
        groups.iter().flat_map(|group| group.samples.iter().map(move |sample| (group, sample))).collect();
    let sequence = |(group, sample): &(&Group, &Sample)| {
        let ids = [&group.prompt[..], &sample.completion.tokens].concat();
        Sequence { ids, first_target: group.prompt.len() }
    };
    let sequences: Vec<Sequence> = samples.iter().map(sequence).collect();
    let logprobs = |stats: Vec<TokenStats>| -> Vec<Vec<f32>> { stats.into_iter().map(|s| s.logprob).collect() };
    let drawn = || samples.iter().map(|(_, sample)| &sample.completion.logprobs);
    let cap = stage.importance_cap();
    // Where the policy itself drew, what it said then is what it would say now.
    let old = match cap {
        Some(_) => logprobs(run.policy_logprobs(common, &sequences)?),
        None => drawn().cloned().collect(),
    };
    let importance: Vec<Option<Importance>> =
        old.iter().zip(drawn()).map(|(old, drawn)| Some(Importance::new(old, drawn, cap?))).collect();
    let reference = match stage.kl_beta > 0.0 {
        true => logprobs(run.reference_logprobs(common, &sequences)?),
        false => old.clone(),
    };
    let advantages = groups.iter().flat_map(|group| advantages(&group.totals, stage.advantage));
    let known = old.into_iter().zip(importance).zip(reference);
    let experience = |((sequence, ((old, importance), reference)), advantage)| Experience {
        sequence,
        old,
        importance,
        reference,
        advantage,
    };
    Ok(sequences.into_iter().zip(known).zip(advantages).map(experience).collect())
}

/// One optimizer step on some of the answers.
fn learn(
    run: &mut Training,
    recipe: &Recipe<Rl>,
    part: &[&Experience],
    minibatch: usize,
    numbers: &mut Numbers,
) -> Result<StepStats, Error> {
    let Recipe { common, stage } = recipe;
    let objective = objective(stage);
    let sequences: Vec<Sequence> = part.iter().map(|e| e.sequence.clone()).collect();
    let lengths: Vec<usize> = sequences.iter().map(Sequence::targets).collect();
    let advantages: Vec<Option<f64>> = part.iter().map(|e| e.advantage).collect();
    let weights = token_weights(&lengths, &advantages, stage.loss, stage.max_tokens);
    let sample =
        |(a, &weight): (&Option<f64>, &f64)| ops::Sample { weight, advantage: a.unwrap_or(0.0), log_ratio: 0.0 };
    let mut shared: Vec<ops::Sample> = advantages.iter().zip(&weights).map(sample).collect();
    // A pass of its own: the gradient of a sample's first token is wanted before its last one has been read. The policy
    // that drew the samples needs none, all its ratios being exactly 1.
    if objective.needs_log_ratios() && minibatch > 0 {
        let now = run.policy_logprobs(common, &sequences)?;
        for ((shared, now), e) in shared.iter_mut().zip(&now).zip(part) {
            shared.log_ratio = mean_log_ratio(&now.logprob, &e.old);
        }
        run.outcome.read(sequences.iter().map(|s| s.ids.len()).sum());
    }
    let teaches = part.iter().any(|e| e.teaches());
    let plan = StepPlan {
        optimizer: &stage.optimizer,
        step: run.step * stage.minibatches as u64 + minibatch as u64,
        steps: (stage.steps * stage.minibatches) as u64,
        // Adam makes full steps of the smallest gradient: alone, the balance loss would carry the policy away.
        balance_alpha: if teaches { stage.balance_alpha } else { 0.0 },
        entropy: true,
        teaches,
    };
    let policy: Vec<PolicySequence> = (shared.iter().zip(part))
        .map(|(&sample, e)| PolicySequence {
            sample,
            old: &e.old,
            reference: &e.reference,
            importance: e.importance.as_ref().map(|importance| &importance.weights[..]),
        })
        .collect();
    let done = run.step(common, &sequences, plan, &BatchLoss::Policy(objective, &policy))?;
    for (i, stats) in done.tokens.iter().enumerate() {
        let (sample, e) = (shared[i], part[i]);
        for (t, (&logprob, &entropy)) in stats.logprob.iter().zip(&stats.entropy).enumerate() {
            let [logprob, old, reference] = [logprob, e.old[t], e.reference[t]].map(f64::from);
            let token = objective.token(sample, logprob, old, reference);
            let importance = e.importance.as_ref().map_or(1.0, |importance| importance.weights[t]);
            numbers.loss += sample.weight * importance * token.loss;
            numbers.kl += token.kl;
            numbers.clipped_low += f64::from(u8::from(token.clipped == Some(ops::Side::Low)));
            numbers.clipped_high += f64::from(u8::from(token.clipped == Some(ops::Side::High)));
            numbers.entropy += f64::from(entropy);
            numbers.tokens += 1.0;
        }
        numbers.masked += f64::from(u8::from(objective.is_masked(sample)));
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
    clipped_low: f64,
    clipped_high: f64,
    entropy: f64,
    tokens: f64,
    masked: f64,
    grad_norm: f64,
    lr: f64,
    steps: f64,
}

/// What is shown and plotted of a step (docs/grpo.md says what each is), without what the recipe does not use.
fn curves(numbers: &Numbers, rollout: &Rollout, stage: &Rl, tokens_per_second: f64) -> Vec<(&'static str, f64)> {
    let groups = &rollout.groups;
    let samples: Vec<&Sample> = groups.iter().flat_map(|group| &group.samples).collect();
    let rewards: Vec<&Reward> = groups.iter().flat_map(|group| &group.rewards).collect();
    let totals: Vec<Option<f64>> = groups.iter().flat_map(|group| group.totals.iter().copied()).collect();
    let mean = |f: &dyn Fn(usize) -> f64| (0..samples.len()).map(f).sum::<f64>() / samples.len().max(1) as f64;
    // What nobody judged is no wrong answer; no number where all of them are so.
    let judged: Vec<f64> = totals.iter().copied().flatten().collect();
    let of_judged = |sum: f64| sum / judged.len() as f64;
    let share = |f: &dyn Fn(usize) -> bool| mean(&|i| f64::from(u8::from(f(i))));
    let length = |i: usize| samples[i].completion.tokens.len();
    let flat = groups.iter().filter(|group| no_variance(&group.totals)).count();
    let mut values = vec![
        ("reward", of_judged(judged.iter().sum())),
        ("accuracy reward", of_judged(rewards.iter().filter(|reward| reward.accuracy.is_right()).count() as f64)),
        ("format reward", share(&|i| rewards[i].format)),
        ("language reward", mean(&|i| f64::from(rewards[i].language))),
        ("length", mean(&|i| length(i) as f64)),
        ("truncated", share(&|i| samples[i].completion.finish == Finish::Length)),
        ("zero-variance groups", flat as f64 / groups.len().max(1) as f64),
        ("could not judge", share(&|i| rewards[i].total.is_none())),
        ("kl", numbers.kl / numbers.tokens.max(1.0)),
        ("clip share low", numbers.clipped_low / numbers.tokens.max(1.0)),
        ("clip share high", numbers.clipped_high / numbers.tokens.max(1.0)),
        ("entropy", numbers.entropy / numbers.tokens.max(1.0)),
        ("loss", numbers.loss / numbers.steps.max(1.0)),
        ("grad norm", numbers.grad_norm / numbers.steps.max(1.0)),
        ("lr", numbers.lr),
        ("tokens/s", tokens_per_second),
    ];
    if stage.overlong_share > 0.0 {
        let punishment = |i| overlong_punishment(length(i), stage.max_tokens, stage.overlong_share);
        values.push(("overlong punishment", mean(&punishment)));
    }
    if stage.off_policy_delta.is_some() {
        values.push(("masked", numbers.masked / samples.len().max(1) as f64));
    }
    if stage.extra_rollouts > 0 {
        values.push(("thrown groups", rollout.thrown_groups as f64));
        values.push(("thrown tokens", rollout.thrown_tokens as f64));
    }
    values
}
