//! Recipes: everything that decides what a run computes, in layered TOML.
//!
//! A recipe file holds the keys that all stages share ([`Common`]) beside those of its stage: one
//! of [`Pretrain`], [`Sft`], [`Rl`] and [`Eval`], or the whole chain [`R1`], in which each stage is
//! a table or the name of its file. `extends = "common.toml"` lays a file over another, dotted
//! `key=value` overrides go on top (`recipe/layers.rs`), a preset of RL lies below all of them
//! (`recipe/presets.rs`), and what comes out is read strictly (`recipe/read.rs`): an unknown key is
//! an error, and every error names the file that holds the key.
//!
//! Left out: what a run looks like from outside (folder, threads, display) belongs to the command
//! line, because it changes no bit of the result.

mod base;
mod layers;
mod presets;
mod read;
mod stages;

use std::fs;
use std::path::{Path, PathBuf};

use picnic_model::config::{ConfigError, ModelConfig};
use picnic_tasks::{Corpus, CorpusKind, CorpusPart, Mixture, TaskError, TaskSpec, default_parts};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::Error;
use crate::place;
use crate::run_folder::hash_of;
use layers::Layers;
pub use read::Fault;
use read::{keys_of, unknown_key, within};
pub use stages::{
    Advantage, Decay, Eval, KlEstimator, LossAverage, OnPolicy, Optimizer, Pretrain, R1, Ratio, Reject, RewardSource,
    Rl, RolloutWeights, Rule, Sft, Student, Surrogate,
};

/// The recipe of one stage, or with [`R1`] of the whole chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe<S> {
    /// The keys that all stages share.
    pub common: Common,
    /// The keys of this stage.
    pub stage: S,
}

/// The recipe of the whole chain.
pub type R1Recipe = Recipe<R1>;

/// What a recipe can be for.
pub trait Stage: Serialize + DeserializeOwned {
    /// The tables that hold the keys of [`Rl`], and so may name a preset; "" is the recipe itself.
    const RL: &'static [&'static str] = &[];

    /// The tables whose optimizer moves the weights of `base`; "" is the recipe itself.
    const TUNED: &'static [&'static str] = &[];

    /// Whether the stage has any use for the recipe's tasks.
    fn uses_tasks(&self) -> bool {
        true
    }

    /// Checks every value; `positions` is the longest sequence of the recipe's own model, `None`
    /// where a base model takes its place.
    ///
    /// # Errors
    /// The first value that no run can work with.
    fn check(&self, positions: Option<usize>) -> Result<(), Fault>;

    /// Checks the values that a model without multi-token prediction cannot follow.
    ///
    /// # Errors
    /// The first of them.
    fn check_without_mtp(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// What all stages of a run share.
///
/// Paths are relative to the folder in which the program runs, as on any command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// What the run is called in reports.
    pub name: String,
    /// Decides initialisation, data, order and samples.
    #[serde(default)]
    pub seed: u64,
    /// Gradients that are kept apart and summed by a fixed tree, 1 to 64. Part of the numerics;
    /// the number of threads is not.
    #[serde(default = "two")]
    pub lanes: usize,
    /// Tokens that a lane passes through the model at once. Part of the numerics; small enough,
    /// the activations stay in cache.
    pub micro_batch_tokens: usize,
    /// Keep only each layer's input for the backward and compute the rest again: about a third more arithmetic in
    /// training, and a fraction of the memory for activations. Changes no bit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recompute: bool,
    /// A model to start from: a Hugging Face folder, a GGUF file, or `nano`, the built-in model. `model`, `tokenizer` and
    /// pre-training are then not used.
    #[serde(default)]
    pub base: Option<PathBuf>,
    /// The file of every gsm8k task that names none.
    #[serde(default)]
    pub data: Option<PathBuf>,
    /// Tokens that a conversation with the model may have, answers included: as many as its stages teach. A base model's
    /// own bound stays without it, or else the model's positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_tokens: Option<usize>,
    /// The model to make, in the keys of `config.json`. `vocab_size` and the ids of special tokens
    /// come from the tokenizer.
    #[serde(default)]
    pub model: Option<Table>,
    /// The tokenizer to train.
    #[serde(default)]
    pub tokenizer: Option<TokenizerTraining>,
    /// The kinds of text that pre-training and the tokenizer's training read, by weight.
    #[serde(default = "default_parts")]
    pub corpus: Vec<CorpusPart>,
    /// The problems, as a weighted mixture.
    pub tasks: Vec<TaskSpec>,
}

/// How the tokenizer is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerTraining {
    /// Tokens at most: 256 bytes, the special tokens, then merges.
    pub vocab_size: usize,
    /// Documents of the pre-training text that it is trained on.
    pub documents: usize,
    /// Whether every character is a token of its own, so that a model sees the letters of words.
    #[serde(default)]
    pub characters: bool,
    /// With `characters`: how many of the most frequent words are tokens whole all the same, as far as `vocab_size` has
    /// room. Words that the task `letters` spells are not among them.
    #[serde(default)]
    pub words: usize,
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// A file or a key in it.
    #[error("{place}: {fault}")]
    Value {
        /// The file, or "command line".
        place: String,
        /// The key, as it is written there, and what is wrong with it.
        fault: Fault,
    },
    /// The tasks that the recipe asks for cannot be set up.
    #[error("{place}: {source}")]
    Tasks {
        /// The file that was asked for.
        place: String,
        /// What the task said.
        source: TaskError,
    },
}

impl<S: Stage> Recipe<S> {
    /// Reads a recipe with everything that it extends and names, puts the overrides (`rl.steps=3`)
    /// on top and checks every value. Also sets up the tasks once, which reads their data, so that a
    /// missing file is known now and not after the hours of an earlier stage.
    ///
    /// # Errors
    /// A file that cannot be read, `extends` in a circle, an unknown or missing key, a value of the
    /// wrong type or outside its range, a model or task that cannot be made.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, RecipeError> {
        let mut layers = Layers::read(path, keys_of::<Common>())?;
        for text in overrides {
            layers.set(text)?;
        }
        for table in S::RL {
            presets::lay_under(&mut layers, table).map_err(|fault| layers.locate(fault))?;
        }
        let recipe = Self::from_table(layers.table.clone()).map_err(|fault| layers.locate(fault))?;
        let common = &recipe.common;
        base::check_rates::<S>(common, &layers).map_err(|fault| layers.locate(fault))?;
        let set_up = || Mixture::new(&common.tasks, common.seed).and_then(|_| common.text().map(drop));
        match if recipe.stage.uses_tasks() { set_up() } else { Ok(()) } {
            Ok(()) => Ok(recipe),
            Err(source) => Err(RecipeError::Tasks { place: path.display().to_string(), source }),
        }
    }

    fn from_table(mut rest: Table) -> Result<Self, Fault> {
        let valid: Vec<_> = [keys_of::<Common>(), keys_of::<S>()].concat();
        if let Some(key) = rest.keys().find(|key| !valid.contains(&key.as_str())) {
            return Err(match command_of(&rest) {
                Some(command) => {
                    let cure = format!("run `picnic {command}`, or name a recipe of this command");
                    Fault::new(key, format!("is for `picnic {command}`, as is all of this recipe"), cure)
                }
                None => unknown_key(key, &valid),
            });
        }
        let mut shared: Table =
            keys_of::<Common>().iter().filter_map(|&key| Some((key.to_owned(), rest.remove(key)?))).collect();
        let stage: S = read::table(rest)?;
        match stage.uses_tasks() {
            true => give_data_to_tasks(&mut shared)?,
            false => shared.extend([("tasks".to_owned(), Value::Array(Vec::new()))]),
        }
        let recipe = Self { common: read::table(shared)?, stage };
        let model = recipe.common.check(recipe.stage.uses_tasks())?;
        recipe.stage.check(model.as_ref().map(|model| model.max_position_embeddings))?;
        if model.is_some_and(|model| model.num_nextn_predict_layers == 0) {
            recipe.stage.check_without_mtp()?;
        }
        Ok(recipe)
    }

    /// What a run must have in common with one that it goes on with: the resolved recipe, and the contents of the files
    /// that its tasks read, because others under the same name are another recipe.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn fingerprint(&self) -> Result<String, Error> {
        let mut fingerprint = self.resolved_toml();
        for task in &self.common.tasks {
            if let TaskSpec::Gsm8k(task) = task {
                let bytes = fs::read(&task.path).map_err(Error::reading(&task.path))?;
                fingerprint += &format!("# {} has the hash {}.\n", task.path.display(), hash_of(bytes));
            }
        }
        Ok(fingerprint)
    }

    /// The whole recipe with nothing left to look up. It stands beside a finished model and in every checkpoint;
    /// `--resume` compares it.
    pub fn resolved_toml(&self) -> String {
        // Every value in a recipe came from TOML, so it has a form in TOML.
        let table = |part: Result<Table, toml::ser::Error>| part.expect("a recipe has a TOML form");
        let mut all = table(Table::try_from(&self.common));
        all.extend(table(Table::try_from(&self.stage)));
        all.to_string()
    }
}

impl Common {
    /// The configuration of the model to make, with a tokenizer of `vocab_size` tokens.
    ///
    /// # Errors
    /// The recipe has no `[model]`, or it describes none that we can run.
    pub fn model_config(&self, vocab_size: usize) -> Result<ModelConfig, ConfigError> {
        match &self.model {
            Some(model) => model_config(model, vocab_size),
            None => {
                let cure = "add [model], in the keys of config.json, or give base=MODEL";
                Err(config_error("model", "is missing", cure))
            }
        }
    }

    /// The text for pre-training and for the tokenizer.
    ///
    /// # Errors
    /// Parts that make no text, or tasks that cannot be set up for it.
    pub fn text(&self) -> Result<Corpus, TaskError> {
        Corpus::new(&self.corpus, &self.tasks, self.seed)
    }

    /// Whether the base model is one that this recipe pre-trains on text without the format of the answers: judged in
    /// that format it cannot be right.
    pub fn hides_the_format(&self) -> bool {
        let has_pages = self.corpus.iter().any(|part| part.kind == CorpusKind::Dialogues && part.weight > 0);
        self.base.is_none() && !has_pages
    }

    /// Checks every value, and gives the recipe's own model.
    fn check(&self, uses_tasks: bool) -> Result<Option<ModelConfig>, Fault> {
        if self.name.trim().is_empty() {
            return Err(Fault::new("name", "is empty", "give the run a name"));
        }
        // Runs are kept in a folder of this name.
        if self.name.contains(['/', '\\']) || self.name.starts_with('.') {
            return Err(Fault::new("name", "is no name of a folder", "leave out slashes and dots at the start"));
        }
        within("lanes", self.lanes, 1..=64)?;
        within("micro_batch_tokens", self.micro_batch_tokens, 1..=1 << 24)?;
        within("conversation_tokens", self.conversation_tokens.unwrap_or(1), 1..=1 << 24)?;
        if uses_tasks && self.tasks.is_empty() {
            return Err(Fault::new("tasks", "has no task", "name at least one in [[tasks]]"));
        }
        if uses_tasks && self.data.is_some() && !self.tasks.iter().any(|task| matches!(task, TaskSpec::Gsm8k(_))) {
            return Err(Fault::new("data", "is given, but no task reads a file", "remove it or add a gsm8k task"));
        }
        if let Some(base) = &self.base {
            return is_a_model("base", base).map(|()| None);
        }
        let (Some(model), Some(tokenizer)) = (&self.model, &self.tokenizer) else {
            let cure = "give base=MODEL, or both [model] and [tokenizer]";
            return Err(Fault::new("base", "there is no model to start from", cure));
        };
        within("tokenizer.vocab_size", tokenizer.vocab_size, 256 + 8..=1 << 20)?;
        within("tokenizer.documents", tokenizer.documents, 1..=10_000_000)?;
        if tokenizer.words > 0 && !tokenizer.characters {
            let problem = "is given, but characters are merged, so that frequent words become tokens by themselves";
            return Err(Fault::new("tokenizer.words", problem, "remove it, or add characters = true"));
        }
        let model = check_model(model, tokenizer.vocab_size)?;
        if let Some(tokens) = self.conversation_tokens {
            within("conversation_tokens", tokens, 1..=model.max_position_embeddings)?;
        }
        Ok(Some(model))
    }
}

/// Refuses a name under which there is no model.
fn is_a_model(key: &str, model: &Path) -> Result<(), Fault> {
    match place::missing(model) {
        Some(Error::NoModel { problem, known }) => Err(Fault::new(key, problem, known)),
        _ => Ok(()),
    }
}

/// The command whose recipe this is, if there is one that knows every key.
fn command_of(recipe: &Table) -> Option<&'static str> {
    let commands = [
        ("r1", keys_of::<R1>()),
        ("pretrain", keys_of::<Pretrain>()),
        ("sft", keys_of::<Sft>()),
        ("rl", keys_of::<Rl>()),
        ("reject", keys_of::<Reject>()),
        ("distill", keys_of::<OnPolicy>()),
        ("eval", keys_of::<Eval>()),
    ];
    let knows_all = |keys: &[&str]| {
        recipe.keys().all(|key| keys.contains(&key.as_str()) || keys_of::<Common>().contains(&key.as_str()))
    };
    commands.into_iter().find(|(_, keys)| knows_all(keys)).map(|(command, _)| command)
}

/// The configuration that a table in the keys of `config.json` describes.
fn model_config(model: &Table, vocab_size: usize) -> Result<ModelConfig, ConfigError> {
    // JSON has no such number: it would silently count as absent.
    if let Some((key, _)) = model.iter().find(|(_, value)| value.as_float().is_some_and(|x| !x.is_finite())) {
        return Err(config_error(&read::shorten(key), "is not finite", "give a finite number"));
    }
    let Ok(mut json) = serde_json::to_value(model) else {
        return Err(config_error("model", "has no form in JSON", "use the keys of config.json"));
    };
    json["vocab_size"] = vocab_size.into();
    let config = ModelConfig::from_value(&json, Path::new("recipe"))?;
    if config.num_nextn_predict_layers > 1 {
        let problem = format!("{} modules are not supported", config.num_nextn_predict_layers);
        return Err(config_error("num_nextn_predict_layers", &problem, "give 0 or 1"));
    }
    Ok(config)
}

pub(crate) fn config_error(key: &str, problem: &str, cure: &str) -> ConfigError {
    ConfigError { file: "recipe".into(), key: key.to_owned(), problem: problem.to_owned(), cure: cure.to_owned() }
}

/// Checks a table that describes a model, and gives the model.
fn check_model(model: &Table, vocab_size: usize) -> Result<ModelConfig, Fault> {
    let fault = |e: ConfigError| Fault::new(&e.key, e.problem, e.cure);
    let in_model = |fault: Fault| if fault.key == "model" { fault } else { fault.under("model") };
    let config = model_config(model, vocab_size).map_err(|e| in_model(fault(e)))?;
    check_model_keys(model, &config).map_err(in_model)?;
    Ok(config)
}

/// Real `config.json` files hold keys that say nothing about the computation, so their reader lets
/// unknown ones pass; in a recipe they are typing errors.
fn check_model_keys(model: &Table, config: &ModelConfig) -> Result<(), Fault> {
    const ROPE: [&str; 11] = [
        "rope_type", "type", "rope_theta", "factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
        "original_max_position_embeddings", "attention_factor", "truncate",
    ];
    const FROM_TOKENIZER: [&str; 3] = ["vocab_size", "bos_token_id", "eos_token_id"];
    let json = config.to_json();
    let mut valid: Vec<&str> = json.as_object().into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
    valid.extend(["rope_theta", "rope_scaling", "rope_parameters"]);
    valid.retain(|key| !FROM_TOKENIZER.contains(key));
    for (key, value) in model {
        if FROM_TOKENIZER.contains(&key.as_str()) {
            return Err(Fault::new(key, "is the tokenizer's to say", "remove it"));
        }
        if !valid.contains(&key.as_str()) {
            return Err(unknown_key(key, &valid));
        }
        if let Some(inner) = value.as_table().and_then(|rope| rope.keys().find(|key| !ROPE.contains(&key.as_str()))) {
            return Err(unknown_key(inner, &ROPE).under(key));
        }
    }
    Ok(())
}

/// Gives every gsm8k task without a file the recipe's `data`.
fn give_data_to_tasks(shared: &mut Table) -> Result<(), Fault> {
    let data = shared.get("data").cloned();
    for task in shared.get_mut("tasks").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(task) = task.as_table_mut()
            && task.get("name").and_then(Value::as_str) == Some("gsm8k")
            && !task.contains_key("path")
        {
            let Some(data) = &data else {
                return Err(Fault::new("data", "is missing, and the gsm8k task has no path", "give data=FILE.jsonl"));
            };
            task.insert("path".into(), data.clone());
        }
    }
    Ok(())
}

fn two() -> usize {
    2
}

#[cfg(test)]
mod tests;
