//! What a run can consist of: the whole chain or one stage, and the models that come of it.

use serde::{Deserialize, Serialize};

/// What ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// `picnic r1`: all stages that the recipe asks for, each evaluated.
    #[default]
    Chain,
    /// `picnic pretrain`.
    Pretrain,
    /// `picnic sft`.
    Sft,
    /// `picnic rl`.
    Rl,
    /// `picnic reject`.
    Reject,
    /// `picnic distill`.
    Distill,
    /// `picnic eval`.
    Eval,
}

impl RunKind {
    /// The command.
    pub fn command(self) -> &'static str {
        match self {
            RunKind::Chain => "r1",
            RunKind::Pretrain => "pretrain",
            RunKind::Sft => "sft",
            RunKind::Rl => "rl",
            RunKind::Reject => "reject",
            RunKind::Distill => "distill",
            RunKind::Eval => "eval",
        }
    }

    /// The stage that a run of this kind enters its results under; `None` of the chain, which has many.
    pub fn stage(self) -> Option<Stage> {
        match self {
            RunKind::Chain => None,
            RunKind::Pretrain => Some(Stage::Base),
            RunKind::Sft => Some(Stage::Sft),
            RunKind::Rl => Some(Stage::Rl),
            RunKind::Reject => Some(Stage::Traces),
            RunKind::Distill => Some(Stage::StudentOnPolicy),
            RunKind::Eval => Some(Stage::Judged),
        }
    }
}

/// What a run made or judged. The order is the order of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// After pre-training, or the model that the run was given.
    Base,
    /// The same model, asked in R1-Zero's template.
    BaseTemplate,
    /// R1-Zero: RL from the base model, without a cold start.
    Zero,
    /// After cold-start SFT, where RL starts.
    Sft,
    /// After RL with verifiable rewards.
    Rl,
    /// The base model fine-tuned on answers of the RL model that rejection sampling kept.
    Sft2,
    /// After RL on that.
    Rl2,
    /// A smaller dense model after pre-training.
    StudentBase,
    /// The small model after the same cold start.
    StudentSft,
    /// The small model after a cold start and RL of its own.
    StudentRl,
    /// The small model fine-tuned on answers of the large one.
    StudentDistilled,
    /// The same, distilled further on answers of its own.
    StudentOnPolicy,
    /// Control: SFT continued for the compute that RL took.
    ControlSftMore,
    /// Control: RL with a reward that does not look at the answer.
    ControlRandomReward,
    /// Rejection sampling, which makes answers and no model: only its curves are reported.
    Traces,
    /// A model that `picnic eval` judged, whatever made it.
    Judged,
}

impl Stage {
    /// The name in `report.json`.
    pub fn key(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// How large a model is, as [`ModelConfig::num_parameters`](picnic_model::config::ModelConfig::num_parameters) counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// All weights.
    pub all: u64,
    /// Those that take part in each token.
    pub active: u64,
}
