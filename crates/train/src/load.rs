//! A model from where it is named (`place.rs`): its weights, how it talks, and what was
//! guessed, repaired or left out on the way. The one loader of training, evaluation, chat and server.

use crate::error::Error;
use crate::place::Place;
use picnic_chat::{ChatFormat, ends_a_turn_by_name};
use picnic_model::checkpoint::{Checkpoint, CheckpointError, GgufTokenizer};
use picnic_model::config::ModelConfig;
use picnic_model::kernels::weight::integer::GROUP;
use picnic_model::{Model, Ops, ParamStore, WeightForm};
use picnic_tokenizer::{GgufParts, Tokenizer};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;

/// A model of which the headers are read, and how it talks, but no weights.
pub struct Source {
    /// Its tensors and configuration.
    pub checkpoint: Checkpoint,
    /// Its tokenizer, template and end tokens.
    pub chat: ChatFormat,
    /// Where it is; its files must last as long as they are read from.
    pub place: Place,
}

/// A model in memory.
pub struct Loaded<O: Ops> {
    /// The architecture.
    pub model: Model,
    /// Its parameters.
    pub params: ParamStore<O>,
    /// What a person should know of how they were read, a line each.
    pub notes: Vec<String>,
}

/// Opens the model that `model` names: a folder, a file, or `nano`.
///
/// # Errors
/// No model there, or no tokenizer that can be read.
pub fn open(model: &Path) -> Result<Source, Error> {
    let place = Place::of(model)?;
    let path = place.path.as_path();
    let checkpoint = Checkpoint::open(path)?;
    // A file of weights is read with what lies beside it.
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let has_tokenizer =
        ["tokenizer.json", "vocab.json", "tokenizer.model"].iter().any(|file| folder.join(file).exists());
    let chat = match checkpoint.gguf_tokenizer() {
        Some(parts) => gguf_format(parts)?,
        None if path.is_dir() || has_tokenizer => ChatFormat::from_dir(folder)?,
        None => {
            return Err(Error::Empty {
                what: format!("{} has no tokenizer", path.display()),
                cure: "give a GGUF file or a folder with tokenizer.json, vocab.json with merges.txt, or tokenizer.model",
            });
        }
    };
    let config = checkpoint.config()?;
    let chat = chat.without_tokens_from(config.vocab_size)?.with_end_tokens(config.eos_token_ids);
    Ok(Source { checkpoint, chat, place })
}

/// The weights of `checkpoint` for a model that talks in the format `chat`: to learn if `weights` is `None`, else in the
/// form that it names.
///
/// # Errors
/// Weights that cannot be read, or another model's tokenizer.
pub fn load<O: Ops>(
    ops: &O,
    checkpoint: &Checkpoint,
    chat: &ChatFormat,
    weights: Option<WeightForm>,
) -> Result<Loaded<O>, Error> {
    let (mut model, params) = picnic_model::load(ops, checkpoint, weights)?;
    check_vocabulary(chat, model.config(), checkpoint.path())?;
    // Saved again, the model says itself how it ends. An id without a row is never drawn and not written.
    let rows = model.config().vocab_size;
    model.set_end_tokens(chat.ends().ids().iter().copied().filter(|&id| (id as usize) < rows).collect());
    let said = checkpoint.notes().iter().map(String::as_str).chain(chat.notes());
    let endless = chat.ends().ids().is_empty().then_some("no token ends a turn: every answer runs to its limit");
    let exact = weights.and_then(|form| stay_exact(&model, form));
    let said = said.chain(endless).chain(exact.as_deref());
    let notes = said.map(|note| format!("{}: {note}", checkpoint.path().display()));
    let notes = notes.chain(unused(checkpoint, &model)).collect();
    Ok(Loaded { model, params, notes })
}

/// Says how many matrices a form that rounds leaves exact because their rows are no whole groups.
fn stay_exact(model: &Model, form: WeightForm) -> Option<String> {
    let widths = || model.specs().iter().filter_map(|spec| spec.product()).map(|dims| dims.k);
    let odd = widths().filter(|k| !k.is_multiple_of(GROUP)).count();
    (form != WeightForm::Exact && odd > 0)
        .then(|| format!("{odd} of {} matrices stay exact: their rows are no multiple of {GROUP}", widths().count()))
}

/// Types of tokens in a GGUF file.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

/// How the model of a GGUF file talks.
fn gguf_format(parts: &GgufTokenizer) -> Result<ChatFormat, Error> {
    // As llama.cpp does: converters have given such tokens the type of words.
    let (mut token_types, mut retyped) = (parts.token_types.clone(), Vec::new());
    for (kind, token) in token_types.iter_mut().zip(&parts.tokens) {
        if *kind == NORMAL && ends_a_turn_by_name(token) {
            *kind = CONTROL;
            retyped.push(token.as_str());
        }
    }
    let mut tokenizer = Tokenizer::from_gguf(GgufParts {
        model: parts.model.clone(),
        pre: parts.pre.clone(),
        tokens: parts.tokens.clone(),
        token_types,
        merges: parts.merges.clone(),
        scores: parts.scores.clone(),
        bos: parts.bos_token_id,
        eos: parts.eos_token_id,
        unknown: parts.unknown_token_id,
        add_bos: parts.add_bos,
        add_eos: parts.add_eos,
        add_space_prefix: parts.add_space_prefix,
    })?;
    if let Some(template) = &parts.chat_template {
        let named = |name: &str, template: &str| json!({"name": name, "template": template});
        let more = parts.named_templates.iter().map(|(name, template)| named(name, template));
        tokenizer.set(
            "chat_template",
            match parts.named_templates.is_empty() {
                true => template.as_str().into(),
                false => std::iter::once(named("default", template)).chain(more).collect(),
            },
        );
    }
    let chat = ChatFormat::new(tokenizer).with_end_tokens_by_name();
    Ok(match retyped.is_empty() {
        true => chat,
        false => {
            chat.with_note(format!("typed as words, but taken for tokens that end a turn: {}", retyped.join(", ")))
        }
    })
}

/// Says which tensors of the checkpoint the architecture has no place for. Copies of embedding and head beside the
/// module of multi-token prediction, a tied head and stored rotary frequencies are expected.
fn unused(checkpoint: &Checkpoint, model: &Model) -> Option<String> {
    let config = model.config();
    let copies = model.mtp_copies();
    let expected = |name: &str| {
        copies.iter().any(|(copy, _)| copy == name)
            || name.ends_with("rotary_emb.inv_freq")
            || (config.tie_word_embeddings && name == "lm_head.weight")
    };
    let used: HashSet<&str> = model.specs().iter().map(|spec| spec.name.as_str()).collect();
    let unused: Vec<&str> = checkpoint.tensor_names().filter(|name| !used.contains(name) && !expected(name)).collect();
    let first = unused.first()?;
    Some(format!("{} tensors of {} are not used, {first:?} first", unused.len(), checkpoint.path().display()))
}

/// Whether `chat` fits the model `config` that was read from `path`: no id past the embedding.
///
/// # Errors
/// If it does not.
fn check_vocabulary(chat: &ChatFormat, config: &ModelConfig, path: &Path) -> Result<(), Error> {
    let (known, rows) = (chat.tokenizer().vocab_size(), config.vocab_size);
    if known > rows {
        let problem = format!("the tokenizer has {known} ids, but the model has {rows}");
        return Err(unfit(path, problem, "use the tokenizer that came with these weights"));
    }
    Ok(())
}

/// Refuses sequences that are longer than a model's positions, beyond which it has never been trained. What learns and
/// what judges stay within `max_position_embeddings`, what only reads and talks within [`ModelConfig::context`]: under
/// dynamic scaling an answer beyond the former would be written by other frequencies than it is learned by.
///
/// # Errors
/// `what` is `tokens` long, and the model has fewer positions.
pub fn check_positions(what: &'static str, tokens: usize, positions: usize) -> Result<(), Error> {
    if tokens > positions { Err(Error::TooLong { what, tokens, positions }) } else { Ok(()) }
}

fn unfit(path: &Path, problem: String, cure: &str) -> Error {
    CheckpointError::Damaged { file: path.to_owned(), problem, cure: cure.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_tokenizer::TrainConfig;

    #[test]
    fn tokenizers_of_other_models_are_refused() {
        let path = Path::new("model");
        let tokenizer =
            Tokenizer::train(["a b c"], &TrainConfig { vocab_size: 300, ..TrainConfig::default() }).unwrap();
        let config = |rows: usize| {
            let config = json!({
                "model_type": "llama", "vocab_size": rows, "hidden_size": 8, "intermediate_size": 8,
                "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
                "max_position_embeddings": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            });
            ModelConfig::from_value(&config, path).unwrap()
        };
        let chat = ChatFormat::new(tokenizer);
        let known = chat.tokenizer().vocab_size();
        check_vocabulary(&chat, &config(known), path).unwrap();
        let error = check_vocabulary(&chat, &config(known - 1), path).unwrap_err().to_string();
        assert!(error.contains("model: the tokenizer has"), "{error}");
    }
}
