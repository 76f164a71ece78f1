//! Pre-training: the next token of generated text, which has numbers and the look of problems but, unless the recipe's
//! `corpus` says otherwise, no thinking format.

use crate::error::Error;
use crate::lanes::{BatchLoss, Sequence};
use crate::load::check_positions;
use crate::recipe::{Pretrain, Recipe};
use crate::training::{Opening, Outcome, Setting, Start, StepPlan, Training};
use picnic_chat::ChatFormat;
use picnic_data::packed;
use picnic_tasks::Corpus;
use picnic_tokenizer::Tokenizer;
use std::time::Instant;

/// Trains a fresh model into `setting.out`.
///
/// # Errors
/// A folder in use, a checkpoint that cannot be written, a loss that is no number.
pub fn pretrain(
    recipe: &Recipe<Pretrain>,
    setting: &Setting,
    start: Start,
    chat: ChatFormat,
) -> Result<Outcome, Error> {
    let Recipe { common, stage } = recipe;
    let fingerprint = recipe.fingerprint()?;
    if let Some(outcome) = setting.finished(&fingerprint)? {
        return Ok(outcome);
    }
    let corpus = common.text()?;
    let opening = Opening {
        stage: "pretrain",
        mtp_weight: stage.mtp_weight,
        rule: stage.optimizer.rule,
        fingerprint,
        teaches: None,
    };
    let mut run = Training::open(opening, setting, common, start, chat)?;
    check_positions("a sequence", stage.sequence_tokens, run.policy.model().config().max_position_embeddings)?;
    let mut display = run.open_display(stage.steps as u64, None);
    while run.step < stage.steps as u64 {
        let clock = Instant::now();
        let sequences = batch(run.chat.tokenizer(), &corpus, recipe, run.step)?;
        let targets: usize = sequences.iter().map(Sequence::targets).sum();
        let loss = BatchLoss::Constant(-1.0 / targets.max(1) as f32);
        let plan = StepPlan {
            optimizer: &stage.optimizer,
            step: run.step,
            steps: stage.steps as u64,
            balance_alpha: stage.balance_alpha,
            entropy: false,
            teaches: true,
        };
        let done = run.step(common, &sequences, plan, &loss)?;
        run.balance_experts(&done.expert_counts, stage.router_bias_speed);
        let sum: f64 = done.tokens.iter().flat_map(|t| &t.logprob).map(|&l| f64::from(l)).sum();
        let speed = targets as f64 / clock.elapsed().as_secs_f64();
        let mut values = vec![
            ("loss", -sum / targets.max(1) as f64),
            ("lr", done.lr),
            ("grad norm", done.grad_norm),
            ("tokens/s", speed),
        ];
        values.extend(done.mtp_loss.map(|loss| ("mtp loss", loss)));
        run.end_step(&values, stage.checkpoint_every)?;
        display.step(run.step, &values);
    }
    run.finish()
}

/// The sequences of a step.
fn batch(tokenizer: &Tokenizer, corpus: &Corpus, recipe: &Recipe<Pretrain>, step: u64) -> Result<Vec<Sequence>, Error> {
    let stage = &recipe.stage;
    let first = step * stage.batch_sequences as u64;
    let sequence = |i| {
        // One more than the model reads: the last is only predicted.
        let ids = packed(tokenizer, first + i, stage.sequence_tokens + 1, |i| corpus.text(i))?;
        Ok(Sequence { ids, first_target: 1 })
    };
    (0..stage.batch_sequences as u64).map(sequence).collect()
}
