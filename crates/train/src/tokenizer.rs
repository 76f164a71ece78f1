//! The tokenizer of a run: trained on the run's own pre-training text, or read with the base model.

use crate::error::Error;
use crate::recipe::Common;
use crate::watch;
use picnic_model::checkpoint::{Checkpoint, CheckpointError};
use picnic_model::config::ModelConfig;
use picnic_tokenizer::{GgufParts, R1_ZERO, Tokenizer, TrainConfig, page_template};
use std::path::Path;

/// Trains the recipe's tokenizer.
///
/// # Errors
/// If the recipe has no `[tokenizer]`, its vocabulary is too small, or there is no text.
pub fn train_tokenizer(common: &Common) -> Result<Tokenizer, Error> {
    let Some(settings) = &common.tokenizer else {
        return Err(Error::Empty {
            what: "no [tokenizer]".into(),
            cure: "add one, or start from a model by base=MODEL",
        });
    };
    let _training = watch::at(format!("tokenizer: training on {} documents", settings.documents));
    let config = TrainConfig { vocab_size: settings.vocab_size, ..TrainConfig::default() };
    let corpus = common.text()?;
    let texts = (0..settings.documents as u64).map(|i| corpus.text(i));
    Ok(Tokenizer::train(texts, &config)?)
}

/// The tokenizer of a Hugging Face folder or GGUF file.
///
/// # Errors
/// If there is none, it is of a kind that is not supported, or it cannot be read.
pub fn load_tokenizer(model: &Path) -> Result<Tokenizer, Error> {
    if model.is_dir() {
        if !["tokenizer.json", "vocab.json", "tokenizer.model"].iter().any(|name| model.join(name).exists()) {
            // Most often not only that is missing: say first if this is no model at all.
            Checkpoint::open(model)?;
        }
        return Ok(Tokenizer::from_dir(model)?);
    }
    let checkpoint = Checkpoint::open(model)?;
    let Some(parts) = checkpoint.gguf_tokenizer() else {
        return Err(Error::Empty {
            what: format!("{} has no tokenizer", model.display()),
            cure: "give a GGUF file or a folder with tokenizer.json, vocab.json with merges.txt, or tokenizer.model",
        });
    };
    Ok(Tokenizer::from_gguf(GgufParts {
        model: parts.model.clone(),
        pre: parts.pre.clone(),
        tokens: parts.tokens.clone(),
        token_types: parts.token_types.clone(),
        merges: parts.merges.clone(),
        scores: parts.scores.clone(),
        bos: parts.bos_token_id,
        eos: parts.eos_token_id,
        unknown: parts.unknown_token_id,
        add_bos: parts.add_bos,
        add_eos: parts.add_eos,
        add_space_prefix: parts.add_space_prefix,
        chat_template: parts.chat_template.clone(),
    })?)
}

/// The tokenizer as a stage uses it that poses its problems in `template`: `None` for the model's own chat template,
/// `r1-zero`, or a page of text with `{question}` in it. A model that is saved with it is asked in the same way.
///
/// # Errors
/// A page without `{question}`.
pub fn asking(tokenizer: &Tokenizer, template: Option<&str>) -> Result<Tokenizer, Error> {
    let page = match template {
        None => return Ok(tokenizer.clone()),
        Some("r1-zero") => R1_ZERO,
        Some(page) => page,
    };
    Ok(tokenizer.with_chat_template(&page_template(page)?)?)
}

/// Whether `tokenizer` fits the model `config` that was read from `path`: no id past the embedding, and one that ends a
/// turn.
///
/// # Errors
/// If it does not.
pub fn check_vocabulary(tokenizer: &Tokenizer, config: &ModelConfig, path: &Path) -> Result<(), Error> {
    let (known, rows) = (tokenizer.vocab_size(), config.vocab_size);
    if known > rows {
        let problem = format!("the tokenizer has {known} ids, but the model has {rows}");
        return Err(unfit(path, problem, "use the tokenizer that came with these weights"));
    }
    if tokenizer.eos().is_none() {
        return Err(unfit(path, "the tokenizer has no token that ends a turn".into(), "name its eos_token"));
    }
    Ok(())
}

/// Refuses sequences that are longer than a model's positions, beyond which it has never been trained.
///
/// # Errors
/// `what` is `tokens` long, and the model has fewer positions.
pub fn check_positions(what: &'static str, tokens: usize, config: &ModelConfig) -> Result<(), Error> {
    let positions = config.max_position_embeddings;
    if tokens > positions { Err(Error::TooLong { what, tokens, positions }) } else { Ok(()) }
}

fn unfit(path: &Path, problem: String, cure: &str) -> Error {
    CheckpointError::Damaged { file: path.to_owned(), problem, cure: cure.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        let known = tokenizer.vocab_size();
        check_vocabulary(&tokenizer, &config(known), path).unwrap();
        let error = check_vocabulary(&tokenizer, &config(known - 1), path).unwrap_err().to_string();
        assert!(error.contains("model: the tokenizer has"), "{error}");
        let silent = Tokenizer::from_bytes(tokenizer.to_json().unwrap()).unwrap();
        let error = check_vocabulary(&silent, &config(known), path).unwrap_err().to_string();
        assert!(error.contains("eos_token"), "{error}");
    }
}
