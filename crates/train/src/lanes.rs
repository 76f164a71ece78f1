//! Gradients of a batch: sequences to lanes, lanes to threads, and one sum at the end.
//!
//! Sequence i belongs to lane i mod `lanes`. A lane passes its sequences through the model in order, a micro-batch at a
//! time, into one gradient of its own; the lanes' gradients are summed by a fixed binary tree. Which thread runs a
//! lane, and how many threads share its operations, changes no bit; the number of lanes does and is part of the recipe.

use crate::watch;
use picnic_model::backend::BackendError;
use picnic_model::layers::{Past, Targets, TokenStats};
use picnic_model::ops::{Loss, Objective, PolicyLoss, Sample};
use picnic_model::{Backend, Balance, Batch, Grads, Model, Ops, OutOfMemory, ParamStore, Statistics, Tally, Tape};
use std::ops::Range;
use std::sync::Mutex;

/// Tokens of which those from `first_target` on are predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Index of the first predicted token, at least 1.
    pub first_target: usize,
}

impl Sequence {
    /// Number of predicted tokens.
    pub fn targets(&self) -> usize {
        self.ids.len().saturating_sub(self.first_target)
    }

    /// Number of tokens that multi-token prediction has to predict: the same, but the token after the first is none.
    pub fn mtp_targets(&self) -> usize {
        self.ids.len().saturating_sub(self.first_target.max(2))
    }

    /// What the model reads: all but the last token, which predicts nothing.
    fn inputs(&self) -> &[u32] {
        &self.ids[..self.ids.len().saturating_sub(1)]
    }
}

/// How a batch passes through the model.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Tokens of a micro-batch; a longer sequence is one by itself.
    pub micro_batch_tokens: usize,
    /// The sequence-wise balance loss.
    pub balance: Balance,
    /// Whether to compute entropies.
    pub entropy: bool,
    /// Whether a gradient keeps only each layer's input and computes the rest again.
    pub recompute: bool,
    /// What each token that multi-token prediction has to predict weighs in the loss; 0 to leave the module out.
    pub mtp_weight: f32,
}

impl Pass {
    /// A pass for log-probabilities alone, or the start of one that learns.
    pub fn new(micro_batch_tokens: usize) -> Pass {
        let balance = Balance::default();
        Pass { micro_batch_tokens, balance, entropy: false, recompute: false, mtp_weight: 0.0 }
    }
}

/// The loss of a batch of sequences, as data.
pub enum BatchLoss<'l> {
    /// The same derivative by every target's log-probability.
    Constant(f32),
    /// A derivative for each target of each sequence.
    PerTarget(&'l [Vec<f32>]),
    /// The objective of RL, with what belongs to each sequence.
    Policy(Objective, &'l [PolicySequence<'l>]),
}

/// What the objective of RL needs of a sequence.
pub struct PolicySequence<'l> {
    /// What its tokens share.
    pub sample: Sample,
    /// Log-probability of each target under the policy as it was when the sequence was drawn.
    pub old: &'l [f32],
    /// Log-probability of each target under the reference.
    pub reference: &'l [f32],
    /// What each target's loss is multiplied by where another policy drew it; `None` for all sequences of a batch or for
    /// none of them.
    pub importance: Option<&'l [f64]>,
}

impl BatchLoss<'_> {
    /// The part of the sequences `now`.
    fn of(&self, now: &[usize]) -> Loss {
        match self {
            BatchLoss::Constant(derivative) => Loss::Constant(*derivative),
            BatchLoss::PerTarget(all) => Loss::PerTarget(now.iter().flat_map(|&i| all[i].iter().copied()).collect()),
            BatchLoss::Policy(objective, all) => Loss::Policy(PolicyLoss {
                objective: *objective,
                samples: now.iter().map(|&i| (all[i].sample, all[i].old.len())).collect(),
                old: now.iter().flat_map(|&i| all[i].old).copied().collect(),
                reference: now.iter().flat_map(|&i| all[i].reference).copied().collect(),
                importance: now.iter().map(|&i| all[i].importance).collect::<Option<Vec<_>>>().map(|all| all.concat()),
            }),
        }
    }
}

/// The lanes of a run and the threads that work on them.
pub struct Lanes {
    lanes: Vec<Lane>,
    workers: usize,
}

struct Lane {
    ops: Backend,
    grads: Option<Grads<Backend>>,
}

impl Lanes {
    /// `lanes` lanes in the memory of `ops` and on as many threads: with more threads than lanes, teams share a lane's
    /// operations.
    ///
    /// # Errors
    /// If the system refuses to start the threads.
    pub fn new(ops: &Backend, lanes: usize) -> Result<Lanes, BackendError> {
        let threads = ops.parallelism();
        let workers = threads.clamp(1, lanes.max(1));
        let lanes = (0..lanes.max(1))
            .map(|_| Ok(Lane { ops: ops.with_team(threads / workers)?, grads: None }))
            .collect::<Result<_, BackendError>>()?;
        Ok(Lanes { lanes, workers })
    }

    /// Number of lanes.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Log-probabilities of every sequence's targets, and in [`Lanes::grads`] the gradient of `loss`.
    ///
    /// # Errors
    /// If memory runs out; there is no gradient then.
    pub fn gradient(
        &mut self,
        model: &Model,
        params: &ParamStore<Backend>,
        sequences: &[Sequence],
        pass: Pass,
        loss: &BatchLoss,
    ) -> Result<(Vec<TokenStats>, Statistics), OutOfMemory> {
        let stats = self.run(sequences.len(), |lane, mine| {
            let Lane { ops, grads } = lane;
            let grads = match grads {
                Some(grads) => {
                    grads.clear(ops);
                    grads
                }
                None => grads.insert(Grads::new(ops, params)?),
            };
            pass_through(ops, model, params, sequences, mine, pass, Some((grads, loss)))
        });
        let stats = gather(stats)?;
        self.sum();
        Ok(stats)
    }

    /// Log-probabilities alone, as a reference policy gives them.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn logprobs(
        &mut self,
        model: &Model,
        params: &ParamStore<Backend>,
        sequences: &[Sequence],
        pass: Pass,
    ) -> Result<Vec<TokenStats>, OutOfMemory> {
        let read = |lane: &mut Lane, mine| pass_through(&lane.ops, model, params, sequences, mine, pass, None);
        Ok(gather(self.run(sequences.len(), read))?.0)
    }

    /// The summed gradient.
    pub fn grads(&self) -> Option<&Grads<Backend>> {
        self.lanes[0].grads.as_ref()
    }

    fn run<T: Send>(&mut self, n: usize, work: impl Fn(&mut Lane, Vec<usize>) -> T + Sync) -> Vec<T> {
        let count = self.lanes.len();
        let share = |lane: usize| (lane..n).step_by(count).collect::<Vec<_>>();
        let (workers, work) = (self.workers, &work);
        if workers == 1 {
            return self.lanes.iter_mut().enumerate().map(|(i, lane)| work(lane, share(i))).collect();
        }
        let queue = Mutex::new(self.lanes.iter_mut().enumerate());
        let results = Mutex::new(Vec::with_capacity(count));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let next = lock(&queue).next();
                        let Some((i, lane)) = next else { break };
                        let result = work(lane, share(i));
                        lock(&results).push((i, result));
                    }
                });
            }
        });
        let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        results.sort_by_key(|(i, _)| *i);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Lane 0 gets the sum of all: neighbours first, then neighbours of those.
    fn sum(&mut self) {
        let mut stride = 1;
        while stride < self.lanes.len() {
            for pair in self.lanes.chunks_mut(2 * stride) {
                if let (left, [right, ..]) = pair.split_at_mut(stride.min(pair.len()))
                    && let (Some(sum), Some(other)) = (&mut left[0].grads, &right.grads)
                {
                    sum.add(&left[0].ops, other);
                }
            }
            stride *= 2;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

type LaneResult = Result<(Vec<(usize, TokenStats)>, Statistics), OutOfMemory>;

/// Passes the sequences `mine` through the model, micro-batch by micro-batch.
fn pass_through(
    ops: &Backend,
    model: &Model,
    params: &ParamStore<Backend>,
    sequences: &[Sequence],
    mine: Vec<usize>,
    pass: Pass,
    mut learn: Option<(&mut Grads<Backend>, &BatchLoss)>,
) -> LaneResult {
    let (mut results, mut tally) = (Vec::with_capacity(mine.len()), Tally::default());
    let loss = learn.as_ref().map(|(_, loss)| *loss);
    let learn_mtp = learn.is_some() && pass.mtp_weight > 0.0;
    let (lane, what) = (mine.first().copied().unwrap_or(0), if learn.is_some() { "gradient" } else { "logprobs" });
    let mark = watch::counting(format!("{what}: lane {lane} has done"), mine.len(), "sequences");
    let mut rest = &mine[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(micro_batch(sequences, rest, pass.micro_batch_tokens));
        rest = later;
        let batch = Batch::sequences(now.iter().map(|&i| sequences[i].inputs()));
        let (rows, ids) = predicted(sequences, now, &batch, 1);
        let mut tape = match &mut learn {
            Some((grads, _)) => Tape::recording(ops, grads, pass.balance),
            None => Tape::inference(ops),
        };
        let hidden = if pass.recompute && tape.is_recording() {
            model.forward_recomputing(&mut tape, params, &batch)?
        } else {
            model.forward(&mut tape, params, &batch, &mut Past::Within(batch.spans.clone()))?
        };
        let targets = Targets { rows: &rows, ids: &ids, entropy: pass.entropy };
        let loss = loss.map_or(Loss::Constant(0.0), |loss| loss.of(now));
        let said = tape.token_loss(&hidden, model.head(params), targets, loss)?;
        if learn_mtp && let Some((second, batch)) = model.mtp(&mut tape, params, &hidden, &batch)? {
            let (rows, ids) = predicted(sequences, now, &batch, 2);
            let targets = Targets { rows: &rows, ids: &ids, entropy: false };
            let said = tape.token_loss(&second, model.head(params), targets, Loss::Constant(-pass.mtp_weight))?;
            tape.tally.mtp_loss -= said.logprob.iter().map(|&l| f64::from(l)).sum::<f64>();
        }
        drop(hidden);
        tally.add(ops, tape.backward()?);
        let mut at = 0;
        for &i in now {
            let mine: Range<usize> = at..at + sequences[i].targets();
            at = mine.end;
            let entropy = said.entropy.get(mine.clone()).unwrap_or_default().to_vec();
            results.push((i, TokenStats { logprob: said.logprob[mine].to_vec(), entropy }));
        }
        mark.done(results.len() as u64);
    }
    Ok((results, tally.read(ops)))
}

/// The tokens that sequences `now` have to predict `ahead` tokens before, and the rows of `batch`, one for each of
/// their tokens from the first, that predict them.
fn predicted(sequences: &[Sequence], now: &[usize], batch: &Batch, ahead: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut rows, mut ids) = (Vec::new(), Vec::new());
    for (&i, span) in now.iter().zip(batch.spans.iter()) {
        let Sequence { ids: tokens, first_target } = &sequences[i];
        for (place, &token) in tokens.iter().enumerate().skip(*first_target.max(&ahead)) {
            rows.push((span.start + place - ahead) as u32);
            ids.push(token);
        }
    }
    (rows, ids)
}

/// How many of `rest` make the next micro-batch.
fn micro_batch(sequences: &[Sequence], rest: &[usize], tokens: usize) -> usize {
    let mut sum = 0;
    let fits = rest.iter().take_while(|&&i| {
        sum += sequences[i].inputs().len();
        sum <= tokens
    });
    fits.count().max(1)
}

/// Puts the lanes' results into the order of the batch.
fn gather(lanes: Vec<LaneResult>) -> Result<(Vec<TokenStats>, Statistics), OutOfMemory> {
    let (mut all, mut statistics) = (Vec::new(), Statistics::default());
    for of_lane in lanes {
        let (results, more) = of_lane?;
        all.extend(results);
        statistics.add(&more);
    }
    all.sort_by_key(|(i, _)| *i);
    Ok((all.into_iter().map(|(_, stats)| stats).collect(), statistics))
}
