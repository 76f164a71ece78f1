//! What all stages that train share: a model in memory, one optimizer step, and a checkpoint that can be resumed.
//!
//! A stage's folder holds the finished model (a Hugging Face folder), its recipe and `outcome.json`, and, until then,
//! `checkpoints/step-N/`: the model in f32 and in `training/` the optimizer's moments, the reference policy if there is
//! one, and `state.json`. A checkpoint is written to a temporary folder, then renamed, so it is whole or not there.
//! Everything that is random is a function of (seed, step), so the step is all the cursor there is.

mod checkpoint;

use crate::error::Error;
use crate::lanes::{BatchLoss, Lanes, Pass, Sequence};
use crate::load::{Loaded, load};
use crate::locked_folder::LockedFolder;
use crate::optimizer::{Optimizer, learning_rate, move_router_biases};
use crate::place::Place;
use crate::progress::{Event, Opened, Progress, StageProgress};
use crate::recipe::{Common, Optimizer as Settings, Rule, config_error};
use crate::report::Curve;
use crate::run_folder::{
    CHECKPOINTS, OUTCOME, RECIPE, latest, read_json, remove_halves, same_recipe, sync_folder, write_file, write_json,
};
use crate::watch;
use picnic_chat::ChatFormat;
use picnic_model::checkpoint::{Checkpoint, FloatType, SHARD_BYTES};
use picnic_model::layers::TokenStats;
use picnic_model::{
    Backend, Balance, Model, Ops, OutOfMemory, ParamStore, SharedModel, WeightForm, backend, initialise, save,
};
use picnic_tasks::Curriculum;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// How and where a stage runs: nothing here changes a bit of what it computes.
pub struct Setting<'s> {
    /// The stage's folder.
    pub out: LockedFolder,
    /// Threads in all.
    pub threads: usize,
    /// Go on from the last checkpoint, if there is one.
    pub resume: bool,
    /// What is shown.
    pub progress: &'s Progress,
}

impl Setting<'_> {
    /// What the stage was, if an earlier run finished it: there is nothing left to do.
    ///
    /// # Errors
    /// [`Error::Occupied`] if nobody asked to resume; a record that cannot be read or is another recipe's.
    pub fn finished(&self, fingerprint: &str) -> Result<Option<Outcome>, Error> {
        let Some(outcome) = read_json(&self.out.join(OUTCOME))? else { return Ok(None) };
        if !self.resume {
            return Err(Error::Occupied(self.out.to_owned()));
        }
        same_recipe(&self.out.join(RECIPE), fingerprint)?;
        Ok(Some(outcome))
    }

    /// Whether a run, of whatever recipe, came to its end here.
    pub(crate) fn is_finished(&self) -> bool {
        self.out.join(OUTCOME).exists()
    }
}

/// Where a stage's weights come from.
pub enum Start<'s> {
    /// A Hugging Face folder, a GGUF file or `nano`.
    From(&'s Path),
    /// The recipe's own model with fresh weights.
    Fresh,
}

/// What a stage was and cost, kept beside its model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Curves for the report.
    pub curves: Vec<Curve>,
    /// Tokens that went through a model, as often as they did.
    pub tokens: u64,
    /// The same in forward passes of a token: one that is learned from takes three.
    pub passes: u64,
    /// Seconds up to the last checkpoint of each interrupted run, and of the one that finished.
    pub seconds: f64,
    /// Seconds times the threads that there were.
    pub core_seconds: f64,
    /// Steps taken.
    pub steps: u64,
}

impl Outcome {
    /// Counts tokens that a model read or wrote.
    pub(crate) fn read(&mut self, tokens: usize) {
        self.tokens += tokens as u64;
        self.passes += tokens as u64;
    }

    /// Counts tokens that were learned from: forward, and backward for twice that.
    fn learned(&mut self, tokens: usize) {
        self.tokens += tokens as u64;
        self.passes += 3 * tokens as u64;
    }

    /// Adds a point to each named curve.
    pub(crate) fn add(&mut self, step: u64, values: &[(&str, f64)]) {
        for &(name, value) in values {
            let at = self.curves.iter().position(|curve| curve.name == name).unwrap_or_else(|| {
                self.curves.push(Curve { name: name.into(), unit: unit(name).into(), points: Vec::new() });
                self.curves.len() - 1
            });
            self.curves[at].points.push((step, value));
        }
    }
}

/// A model while it is trained.
pub struct Training<'s> {
    /// What the stage is called.
    pub stage: &'static str,
    /// The policy.
    pub policy: SharedModel<Backend>,
    /// A frozen copy that RL keeps near.
    pub reference: Option<ParamStore<Backend>>,
    /// How it is talked to.
    pub chat: ChatFormat,
    /// Where gradients come from.
    pub lanes: Lanes,
    /// Steps of the stage done.
    pub step: u64,
    /// Curves and costs so far.
    pub outcome: Outcome,
    /// RL's pass rates, if it follows them.
    pub curriculum: Option<Curriculum>,
    /// What computes, on all threads.
    pub ops: Backend,
    optimizer: Optimizer,
    mtp_weight: f64,
    setting: &'s Setting<'s>,
    fingerprint: String,
    started: Instant,
}

/// What a stage is called and what it makes of a model, for [`Training::open`].
pub struct Opening {
    /// What the stage is called.
    pub stage: &'static str,
    /// With 0 the module of multi-token prediction, if there is one, is frozen: it stays as it is, decay included, and
    /// costs nothing but its memory.
    pub mtp_weight: f64,
    /// What moves the weights.
    pub rule: Rule,
    /// The resolved recipe; a checkpoint made by another one is refused.
    pub fingerprint: String,
    /// The questions that it teaches to answer; `None` where it teaches no conversations.
    pub teaches: Option<Vec<String>>,
}

/// One optimizer step's numbers.
pub struct StepStats {
    /// Logprobs (and entropies) of every sequence's targets before the step.
    pub tokens: Vec<TokenStats>,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    pub lr: f64,
    /// Load of every expert, by MoE layer.
    pub expert_counts: Vec<Vec<u64>>,
    /// Mean cross-entropy of multi-token prediction, in nats; `None` where it does not learn.
    pub mtp_loss: Option<f64>,
}

/// How a step passes its batch and moves the weights.
pub struct StepPlan<'p> {
    /// The optimizer's settings.
    pub optimizer: &'p Settings,
    /// Which optimizer step of the stage this is, from 0.
    pub step: u64,
    /// How many there are, which the schedule runs over.
    pub steps: u64,
    /// α of the balance loss.
    pub balance_alpha: f64,
    /// Whether to compute entropies.
    pub entropy: bool,
    /// Whether there is anything to learn from the batch. If not, and without a gradient, nothing moves: neither by what
    /// is left of older gradients nor by decay.
    pub teaches: bool,
}

impl<'s> Training<'s> {
    /// Opens the stage's folder: its last checkpoint when resuming, else the weights of `start`.
    ///
    /// # Errors
    /// An occupied folder without `resume`, weights that cannot be read, an `mtp_weight` for a model without a module,
    /// or longer conversations than the model has positions for.
    pub fn open(
        opening: Opening,
        setting: &'s Setting<'s>,
        common: &Common,
        start: Start,
        chat: ChatFormat,
    ) -> Result<Self, Error> {
        let Opening { stage, mtp_weight, rule, fingerprint, teaches } = opening;
        let _opening = watch::at(format!("checkpoint: reading where {} left off", setting.out.display()));
        let checkpoint = latest(&setting.out)?;
        // Also somebody else's model must not be written over.
        let holds_model = ["model.safetensors", "config.json"].iter().any(|file| setting.out.join(file).exists());
        if !setting.resume && (checkpoint.is_some() || holds_model) {
            return Err(Error::Occupied(setting.out.to_owned()));
        }
        if holds_model && checkpoint.is_none() {
            // One of this recipe's own, killed while it wrote its model, may be written again.
            let path = setting.out.join(RECIPE);
            if !path.exists() {
                let problem = "is not there, so the model in this folder is not one of this run".into();
                return Err(Error::Resume { path, problem });
            }
            same_recipe(&path, &fingerprint)?;
        }
        let ops = backend::with_threads(setting.threads)?;
        let lanes = Lanes::new(&ops, common.lanes)?;
        let Loaded { mut model, mut params, notes } = match (&checkpoint, start) {
            (Some((_, folder)), _) => load(&ops, &Checkpoint::open(folder)?, &chat, None)?,
            (None, Start::From(model)) => {
                let place = Place::of(model)?;
                load(&ops, &Checkpoint::open(&place.path)?, &chat, None)?
            }
            (None, Start::Fresh) => {
                let mut config = common.model_config(chat.tokenizer().vocab_size())?;
                config.bos_token_id = chat.tokenizer().bos();
                config.eos_token_ids = chat.ends().ids().to_vec();
                let model = Model::new(config);
                let params = initialise(&ops, &model, common.seed)?;
                Loaded { model, params, notes: Vec::new() }
            }
        };
        notes.iter().for_each(|note| setting.progress.note(note));
        if let Some(questions) = teaches {
            teach(&mut model, common, questions)?;
        }
        if mtp_weight == 0.0 {
            params.freeze(model.mtp_params());
        } else if model.mtp_params().next().is_none() {
            return Err(Error::NoMtp { stage, mtp_weight });
        }
        let optimizer = Optimizer::new(&ops, &params, rule)?;
        let mut training = Training {
            stage,
            policy: SharedModel::new(model, params),
            reference: None,
            chat,
            lanes,
            step: 0,
            outcome: Outcome::default(),
            curriculum: None,
            ops,
            optimizer,
            mtp_weight,
            setting,
            fingerprint,
            started: Instant::now(),
        };
        if let Some((_, folder)) = checkpoint {
            training.restore(&folder)?;
        }
        Ok(training)
    }

    /// Says that `steps` begin, or go on; `tokens` are the mean of a sequence, where it is known.
    pub fn open_display(&self, steps: u64, tokens: Option<f64>) -> StageProgress {
        let opened = Opened { stage: self.stage.to_owned(), done: self.step, total: steps, tokens };
        self.setting.progress.open(opened)
    }

    /// Makes the current policy the reference.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn refresh_reference(&mut self) -> Result<(), OutOfMemory> {
        // The one before goes first: there need not be room for three.
        self.reference = None;
        self.reference = Some(self.policy.params().frozen_copy(&self.ops)?);
        Ok(())
    }

    /// Who draws the answers of a rollout: the policy itself, or a copy of what it is now with weights in `form`, which
    /// takes memory until its last handle is dropped.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn drawer(&self, form: WeightForm) -> Result<SharedModel<Backend>, OutOfMemory> {
        Ok(match form {
            WeightForm::Exact => self.policy.clone(),
            _ => self.policy.with_params(self.policy.params().copy_in_form(&self.ops, form)?),
        })
    }

    /// One optimizer step on `sequences` under `loss`. The router's bias stays where it is.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a logprob or the gradient is no number, [`Error::Memory`] if memory runs out; the weights
    /// are then unchanged.
    pub fn step(
        &mut self,
        common: &Common,
        sequences: &[Sequence],
        plan: StepPlan,
        loss: &BatchLoss,
    ) -> Result<StepStats, Error> {
        let alpha_per_sequence = plan.balance_alpha as f32 / sequences.len().max(1) as f32;
        let mtp_targets = sequences.iter().map(Sequence::mtp_targets).sum::<usize>().max(1) as f64;
        let pass = Pass {
            micro_batch_tokens: common.micro_batch_tokens,
            balance: Balance { alpha_per_sequence },
            entropy: plan.entropy,
            recompute: common.recompute,
            mtp_weight: (self.mtp_weight / mtp_targets) as f32,
        };
        let gradient = self.lanes.gradient(self.policy.model(), &self.policy.params(), sequences, pass, loss);
        let (tokens, statistics) = gradient?;
        self.outcome.learned(sequences.iter().map(|s| s.ids.len()).sum());
        if let Some(bad) = tokens.iter().flat_map(|t| &t.logprob).find(|l| !l.is_finite()) {
            return Err(self.not_finite(self.step + 1, "log-probability of a token", f64::from(*bad)));
        }
        let mtp_loss = (self.mtp_weight > 0.0).then_some(statistics.mtp_loss / mtp_targets);
        if let Some(bad) = mtp_loss.filter(|loss| !loss.is_finite()) {
            return Err(self.not_finite(self.step + 1, "loss of multi-token prediction", bad));
        }
        let lr = learning_rate(plan.optimizer, plan.step, plan.steps);
        let grads = self.lanes.grads().expect("a gradient was just computed");
        let grad_norm = match plan.teaches || grads.norm(&self.ops) != 0.0 {
            true => self.policy.change(|_, params| self.optimizer.step(&self.ops, params, grads, plan.optimizer, lr)),
            false => 0.0,
        };
        if !grad_norm.is_finite() {
            return Err(self.not_finite(self.step + 1, "gradient's norm", grad_norm));
        }
        Ok(StepStats { tokens, grad_norm, lr, expert_counts: statistics.expert_counts, mtp_loss })
    }

    /// Moves the router's bias by the load of the experts.
    pub fn balance_experts(&mut self, expert_counts: &[Vec<u64>], speed: f64) {
        let ops = &self.ops;
        self.policy.change(|model, params| move_router_biases(ops, model, params, expert_counts, speed as f32));
    }

    /// Logprobs of the reference policy.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn reference_logprobs(
        &mut self,
        common: &Common,
        sequences: &[Sequence],
    ) -> Result<Vec<TokenStats>, OutOfMemory> {
        let reference = self.reference.as_ref().expect("the first step has made one");
        self.lanes.logprobs(self.policy.model(), reference, sequences, Pass::new(common.micro_batch_tokens))
    }

    /// Logprobs of the policy as it is now, the same bits as the next [`Training::step`] on these sequences finds.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn policy_logprobs(&mut self, common: &Common, sequences: &[Sequence]) -> Result<Vec<TokenStats>, OutOfMemory> {
        let pass = Pass::new(common.micro_batch_tokens);
        self.lanes.logprobs(self.policy.model(), &self.policy.params(), sequences, pass)
    }

    /// Ends a step: adds `values` to the curves, and writes a checkpoint every `checkpoint_every` steps.
    ///
    /// # Errors
    /// If the checkpoint cannot be written or is not finite; the one before stays.
    pub fn end_step(&mut self, values: &[(&str, f64)], checkpoint_every: usize) -> Result<(), Error> {
        self.step += 1;
        self.outcome.add(self.step, values);
        if self.step.is_multiple_of(checkpoint_every as u64) {
            self.checkpoint()?;
            self.setting.progress.tell(&Event::Saved(self.step));
        }
        Ok(())
    }

    /// Writes the finished model into the stage's folder and takes the checkpoints away.
    ///
    /// # Errors
    /// If it cannot be written or is not finite; the checkpoints stay.
    pub fn finish(mut self) -> Result<Outcome, Error> {
        self.check_weights()?;
        self.tick();
        let out = &self.setting.out;
        let _writing = watch::at(format!("model: writing {}", out.display()));
        // First, so that a model half written is known to be this run's.
        write_file(&out.join(RECIPE), &self.fingerprint)?;
        remove_halves(out)?;
        self.chat.save(out)?;
        save(&self.ops, self.policy.model(), &self.policy.params(), out, FloatType::F32, SHARD_BYTES)?;
        self.outcome.steps = self.step;
        write_json(&out.join(OUTCOME), &self.outcome)?;
        // Checkpoints go when nothing needs them any more, after a power cut too.
        sync_folder(out)?;
        let checkpoints = out.join(CHECKPOINTS);
        if checkpoints.exists() {
            fs::remove_dir_all(&checkpoints).map_err(Error::writing(&checkpoints))?;
        }
        Ok(self.outcome)
    }

    /// What to say of a checkpoint without `part`.
    pub fn incomplete(&self, part: &str) -> Error {
        Error::Resume { path: self.setting.out.join(CHECKPOINTS), problem: format!("lacks {part}") }
    }

    fn not_finite(&self, step: u64, what: &'static str, value: f64) -> Error {
        let checkpoint = latest(&self.setting.out).ok().flatten().map(|(_, folder)| folder);
        Error::NotFinite { stage: self.stage, step, what, value, checkpoint }
    }

    /// An update that overflows shows in the next step's loss, which is too late to keep it out of a checkpoint.
    fn check_weights(&self) -> Result<(), Error> {
        let params = self.policy.params();
        let squares = self.ops.sum_of_squares(&params.iter().filter_map(|p| p.learning()).collect::<Vec<_>>());
        if squares.is_finite() { Ok(()) } else { Err(self.not_finite(self.step, "sum of squared weights", squares)) }
    }

    /// Adds the time since the last tick to the cost.
    fn tick(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.outcome.seconds += seconds;
        self.outcome.core_seconds += seconds * self.setting.threads as f64;
        self.started = Instant::now();
    }
}

/// Notes down what a stage teaches: what the base model was taught before stays, and so does its bound on conversations
/// unless the recipe gives one.
fn teach(model: &mut Model, common: &Common, questions: Vec<String>) -> Result<(), Error> {
    let mut training = model.config().training.clone();
    if let Some(tokens) = common.conversation_tokens {
        let positions = model.config().max_position_embeddings;
        if tokens > positions {
            let problem = format!("{tokens} tokens are too many for the {positions} positions of the model");
            return Err(config_error("conversation_tokens", &problem, "lower it or choose another model").into());
        }
        training.conversation_tokens = Some(tokens);
    }
    training.teach(questions);
    model.set_training(training);
    Ok(())
}

/// What a curve is measured in.
fn unit(name: &str) -> &'static str {
    match name {
        "loss" | "mtp loss" | "entropy" | "kl" | "rollout gap" => "nats per token",
        "length" => "tokens",
        "tokens/s" => "tokens per second",
        _ => "",
    }
}
