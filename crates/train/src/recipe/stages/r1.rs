//! The keys of the whole chain.

use serde::{Deserialize, Serialize};
use toml::Table;

use super::super::check_model;
use super::{Eval, Fault, OnPolicy, Pretrain, Reject, Rl, Sft, Stage};

/// The stages of the chain that may stand in files of their own.
pub const NAMES: [&str; 10] =
    ["pretrain", "zero", "sft", "rl", "reject", "sft2", "rl2", "distill", "on_policy", "eval"];

/// The whole chain: pre-training, cold start, reinforcement learning, evaluation after each; and
/// where the recipe has them, the other models of DeepSeek-R1's paper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct R1 {
    /// Whether to run the controls that RL is held against: fine-tuning continued for RL's compute,
    /// RL with a random reward, and the base model asked in R1-Zero's template.
    #[serde(default = "default::yes")]
    pub controls: bool,
    /// Not needed, and not used, where the run starts from a base model.
    #[serde(default)]
    pub pretrain: Option<Pretrain>,
    /// R1-Zero: RL from the base model, without a cold start.
    #[serde(default)]
    pub zero: Option<Rl>,
    /// The cold start.
    pub sft: Sft,
    /// Reinforcement learning.
    pub rl: Rl,
    /// Rejection sampling from the model that RL made.
    #[serde(default)]
    pub reject: Option<Reject>,
    /// Fine-tuning of the base model on what rejection sampling kept.
    #[serde(default)]
    pub sft2: Option<Sft>,
    /// Reinforcement learning after that.
    #[serde(default)]
    pub rl2: Option<Rl>,
    /// A smaller model that learns from the large one, and for comparison by itself: it takes the
    /// chain's `pretrain`, `sft` and `rl`. Not used where the run starts from a base model.
    #[serde(default)]
    pub student: Option<Student>,
    /// The student's fine-tuning on what rejection sampling kept.
    #[serde(default)]
    pub distill: Option<Sft>,
    /// The student's distillation on answers of its own, after that.
    #[serde(default)]
    pub on_policy: Option<OnPolicy>,
    /// How every model of the chain is evaluated.
    pub eval: Eval,
}

/// A small model beside the large one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Student {
    /// The model to make, in the keys of `config.json`.
    pub model: Table,
}

impl Stage for R1 {
    const RL: &'static [&'static str] = &["zero", "rl", "rl2"];
    const TUNED: &'static [&'static str] = &["zero", "sft", "rl", "sft2", "rl2"];

    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        match &self.pretrain {
            Some(pretrain) => pretrain.check(positions).map_err(|fault| fault.under("pretrain"))?,
            None if positions.is_some() => {
                let cure = "add pretrain = \"FILE\" or a table, or start from a model with base=MODEL";
                return Err(Fault::new("pretrain", "is missing", cure));
            }
            None => {}
        }
        self.check_order()?;
        let rounds = [("rl", Some(&self.rl)), ("rl2", self.rl2.as_ref())];
        if let Some((key, _)) = rounds.iter().find(|(_, rl)| rl.is_some_and(|rl| rl.template.is_some())) {
            let cure = "leave it to zero, or run that stage alone";
            return Err(Fault::new("template", "is not that of the stages around it", cure).under(key));
        }
        let given = [
            ("sft2", "traces", self.sft2.as_ref().is_some_and(|sft| sft.traces.is_some())),
            ("distill", "traces", self.distill.as_ref().is_some_and(|sft| sft.traces.is_some())),
            ("on_policy", "teacher", self.on_policy.as_ref().is_some_and(|stage| stage.teacher.is_some())),
        ];
        if let Some((stage, key, _)) = given.iter().find(|(_, _, is_given)| *is_given) {
            let problem = "is not used in the chain, which makes its own";
            return Err(Fault::new(key, problem, "leave it out, or run that stage alone").under(stage));
        }
        if let (Some(student), Some(_)) = (&self.student, positions) {
            student.check(positions).map_err(|fault| fault.under("student"))?;
        }
        check("zero", self.zero.as_ref(), positions)?;
        check("sft", Some(&self.sft), positions)?;
        check("rl", Some(&self.rl), positions)?;
        check("reject", self.reject.as_ref(), positions)?;
        check("sft2", self.sft2.as_ref(), positions)?;
        check("rl2", self.rl2.as_ref(), positions)?;
        check("distill", self.distill.as_ref(), positions)?;
        check("on_policy", self.on_policy.as_ref(), positions)?;
        check("eval", Some(&self.eval), positions)
    }

    fn check_without_mtp(&self) -> Result<(), Fault> {
        if let Some(pretrain) = &self.pretrain {
            pretrain.check_without_mtp().map_err(|fault| fault.under("pretrain"))?;
        }
        if let Some(sft2) = &self.sft2 {
            sft2.check_without_mtp().map_err(|fault| fault.under("sft2"))?;
        }
        self.sft.check_without_mtp().map_err(|fault| fault.under("sft"))
    }
}

impl Student {
    /// The student reads what the large model writes, so it must not be shorter.
    fn check(&self, positions: Option<usize>) -> Result<(), Fault> {
        // Any vocabulary will do: the tokenizer decides it later.
        let own = check_model(&self.model, 256)?.max_position_embeddings;
        match positions {
            Some(positions) if own < positions => {
                let problem = format!("{own} positions are fewer than the {positions} of the large model");
                Err(Fault::new("model.max_position_embeddings", problem, "give it as many"))
            }
            _ => Ok(()),
        }
    }
}

impl R1 {
    /// Whether every stage has the one that it learns from.
    fn check_order(&self) -> Result<(), Fault> {
        let needs = [
            ("sft2", self.sft2.is_some(), "reject", self.reject.is_some()),
            ("rl2", self.rl2.is_some(), "sft2", self.sft2.is_some()),
            ("distill", self.distill.is_some(), "student", self.student.is_some()),
            ("distill", self.distill.is_some(), "reject", self.reject.is_some()),
            ("on_policy", self.on_policy.is_some(), "distill", self.distill.is_some()),
        ];
        match needs.iter().find(|(_, is_there, _, has)| *is_there && !has) {
            Some((stage, _, missing, _)) => {
                let cure = format!("add {missing}, or leave out {stage}");
                Err(Fault::new(stage, format!("needs {missing}, which is missing"), cure))
            }
            None => Ok(()),
        }
    }
}

fn check<S: Stage>(key: &str, stage: Option<&S>, positions: Option<usize>) -> Result<(), Fault> {
    stage.map_or(Ok(()), |stage| stage.check(positions).map_err(|fault| fault.under(key)))
}

mod default {
    pub fn yes() -> bool {
        true
    }
}
