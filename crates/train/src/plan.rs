//! What a run has to do, known from its recipe alone: the parts of the chain in order, and how much each computes.
//!
//! It is there for displays, which tell from it what comes next and how long it takes. Nothing that is computed depends
//! on it, and what a recipe cannot say (how long answers are) is left to whoever has measured it.

use crate::load::open;
use crate::recipe::{Common, Eval, OnPolicy, Pretrain, R1Recipe, Reject, Rl, Sft};
use crate::report::Stage;
use picnic_model::Model;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The part that makes the vocabulary.
pub const TOKENIZER: &str = "tokenizer";
/// The part that draws answers and keeps the right ones.
pub const TRACES: &str = "traces";

/// What a run has to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What the recipe calls the run.
    pub name: String,
    /// The folder of the run.
    pub folder: PathBuf,
    /// The parts in order.
    pub parts: Vec<Part>,
}

/// A stage with the evaluation of what it made, or one of these alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name: the key of a [`Stage`], [`TOKENIZER`] or [`TRACES`]; of a stage that runs alone, its command.
    pub name: String,
    /// Steps of training; 0 if there is nothing to train.
    pub steps: u64,
    /// What a step computes.
    pub step: Work,
    /// What the evaluation computes, if there is one.
    pub evaluation: Option<Work>,
}

impl Part {
    /// Whether it is there only for RL to be held against.
    pub fn is_control(&self) -> bool {
        self.name.starts_with("control_") || self.name == Stage::BaseTemplate.key()
    }
}

/// Work that takes the same time again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// What is done, as far as it decides the speed.
    pub kind: Kind,
    /// Sequences that the model reads or writes.
    pub sequences: f64,
    /// Their length.
    pub length: Length,
    /// Forward passes that a token of them takes: three if it is learned from, one if it is only read or written.
    pub passes: f64,
    /// Floating-point operations of a token's forward pass.
    pub operations: f64,
}

/// Kinds of work that run at different speeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Learning from text that is there.
    #[default]
    Learning,
    /// Drawing answers, reading them again and learning from them.
    Reinforcing,
    /// Drawing answers.
    Drawing,
}

/// Tokens of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// As many.
    Exactly(f64),
    /// A worked example of at most so many.
    Example(f64),
    /// An answer of at most so many.
    Answer(f64),
}

impl Default for Length {
    fn default() -> Self {
        Length::Exactly(0.0)
    }
}

/// What a stage computes.
pub trait Planned {
    /// Its steps.
    fn steps(&self) -> u64;
    /// What a step computes on a model of which a token's forward pass takes so many operations.
    fn step(&self, operations: f64) -> Work;
}

impl Planned for Pretrain {
    fn steps(&self) -> u64 {
        self.steps as u64
    }
    fn step(&self, operations: f64) -> Work {
        let length = Length::Exactly(self.sequence_tokens as f64);
        Work { kind: Kind::Learning, sequences: self.batch_sequences as f64, length, passes: 3.0, operations }
    }
}

impl Planned for Sft {
    fn steps(&self) -> u64 {
        self.steps as u64
    }
    fn step(&self, operations: f64) -> Work {
        let length = Length::Example(self.max_tokens as f64);
        Work { kind: Kind::Learning, sequences: self.batch_examples as f64, length, passes: 3.0, operations }
    }
}

impl Planned for Rl {
    fn steps(&self) -> u64 {
        self.steps as u64
    }
    fn step(&self, operations: f64) -> Work {
        // Drawn, learned from; read by the reference if there is one, and by the policy if another one draws.
        let reads = [self.kl_beta > 0.0, self.importance_cap().is_some()];
        let passes = 1.0 + 3.0 + reads.into_iter().filter(|&read| read).count() as f64;
        let (sequences, length) = ((self.questions * self.group_size) as f64, Length::Answer(self.max_tokens as f64));
        Work { kind: Kind::Reinforcing, sequences, length, passes, operations }
    }
}

impl Planned for OnPolicy {
    fn steps(&self) -> u64 {
        self.steps as u64
    }
    fn step(&self, operations: f64) -> Work {
        let (sequences, length) = ((self.questions * self.samples) as f64, Length::Answer(self.max_tokens as f64));
        Work { kind: Kind::Reinforcing, sequences, length, passes: 5.0, operations }
    }
}

impl Planned for Reject {
    fn steps(&self) -> u64 {
        self.questions.div_ceil(self.batch_questions) as u64
    }
    fn step(&self, operations: f64) -> Work {
        let questions = self.batch_questions.min(self.questions);
        let (sequences, length) = ((questions * self.samples) as f64, Length::Answer(self.max_tokens as f64));
        Work { kind: Kind::Drawing, sequences, length, passes: 1.0, operations }
    }
}

/// The plan of a stage that runs alone.
pub fn of_stage(command: &str, common: &Common, stage: &impl Planned, folder: &Path) -> Plan {
    let step = stage.step(operations(common));
    let part = Part { name: command.to_owned(), steps: stage.steps(), step, evaluation: None };
    Plan { name: common.name.clone(), folder: folder.to_owned(), parts: vec![part] }
}

/// The plan of the whole chain, in the order of [`r1`](mod@crate::r1).
pub fn of_chain(recipe: &R1Recipe, folder: &Path) -> Plan {
    let (common, stage) = (&recipe.common, &recipe.stage);
    let mut chain = Chain { parts: Vec::new(), operations: operations(common), eval: &stage.eval, common };
    match (&common.base, &stage.pretrain) {
        (None, Some(pretrain)) => {
            let nothing = Work::default();
            chain.parts.push(Part { name: TOKENIZER.into(), steps: 0, step: nothing, evaluation: None });
            chain.stage(Stage::Base, pretrain);
        }
        _ => chain.evaluation(Stage::Base),
    }
    if let Some(zero) = &stage.zero {
        if stage.controls {
            chain.evaluation(Stage::BaseTemplate);
        }
        chain.stage(Stage::Zero, zero);
    }
    chain.stage(Stage::Sft, &stage.sft);
    chain.stage(Stage::Rl, &stage.rl);
    if stage.controls {
        // As many forward passes as RL takes, in steps whose number is known when RL is done.
        let rl = Work { kind: Kind::Learning, ..stage.rl.step(chain.operations) };
        chain.part(Stage::ControlSftMore.key(), stage.rl.steps(), rl, true);
        chain.stage(Stage::ControlRandomReward, &stage.rl);
    }
    if let Some(reject) = &stage.reject {
        chain.part(TRACES.into(), reject.steps(), reject.step(chain.operations), false);
        if let Some(sft2) = &stage.sft2 {
            chain.stage(Stage::Sft2, sft2);
            stage.rl2.iter().for_each(|rl2| chain.stage(Stage::Rl2, rl2));
        }
    }
    if let (Some(student), Some(pretrain), None) = (&stage.student, &stage.pretrain, &common.base) {
        chain.operations = operations(&Common { model: Some(student.model.clone()), ..common.clone() });
        chain.stage(Stage::StudentBase, pretrain);
        chain.stage(Stage::StudentSft, &stage.sft);
        chain.stage(Stage::StudentRl, &stage.rl);
        if let (Some(_), Some(distill)) = (&stage.reject, &stage.distill) {
            chain.stage(Stage::StudentDistilled, distill);
            stage.on_policy.iter().for_each(|on_policy| chain.stage(Stage::StudentOnPolicy, on_policy));
        }
    }
    Plan { name: common.name.clone(), folder: folder.to_owned(), parts: chain.parts }
}

/// The parts so far, on a model of which a token's forward pass takes `operations`.
struct Chain<'r> {
    parts: Vec<Part>,
    operations: f64,
    eval: &'r Eval,
    common: &'r Common,
}

impl Chain<'_> {
    fn stage(&mut self, stage: Stage, settings: &impl Planned) {
        self.part(stage.key(), settings.steps(), settings.step(self.operations), true);
    }

    fn evaluation(&mut self, stage: Stage) {
        self.part(stage.key(), 0, Work::default(), true);
    }

    fn part(&mut self, name: String, steps: u64, step: Work, is_evaluated: bool) {
        let answers = self.common.tasks.len() * self.eval.problems * self.eval.samples;
        let evaluation = Work {
            kind: Kind::Drawing,
            sequences: answers as f64,
            length: Length::Answer(self.eval.max_tokens as f64),
            passes: 1.0,
            operations: self.operations,
        };
        self.parts.push(Part { name, steps, step, evaluation: is_evaluated.then_some(evaluation) });
    }
}

/// Floating-point operations of a token's forward pass, two for each weight that it visits. A model that cannot be read
/// has its error where it is used; until then one number is as good as another.
fn operations(common: &Common) -> f64 {
    let config = match &common.base {
        Some(base) => open(base).and_then(|source| Ok(source.checkpoint.config()?)).ok(),
        None => common.tokenizer.as_ref().and_then(|tokenizer| common.model_config(tokenizer.vocab_size).ok()),
    };
    config.map_or(1.0, |config| 2.0 * Model::new(config).matmul_params())
}
