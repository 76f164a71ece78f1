//! The tokenizer of a run: trained on the run's own pre-training text, or read with the base model.

use crate::error::Error;
use crate::recipe::Common;
use picnic_model::checkpoint::Checkpoint;
use picnic_tasks::pretrain_text;
use picnic_tokenizer::{BpeParts, PreTokenizer, TokenType, Tokenizer, TrainConfig};
use std::path::Path;

/// Trains the recipe's tokenizer.
///
/// # Errors
/// If the recipe has no `[tokenizer]` or its vocabulary is too small.
pub fn train_tokenizer(common: &Common) -> Result<Tokenizer, Error> {
    let Some(settings) = &common.tokenizer else {
        return Err(Error::Empty {
            what: "no [tokenizer]".into(),
            cure: "add one, or start from a model by base=MODEL",
        });
    };
    let config = TrainConfig { vocab_size: settings.vocab_size, ..TrainConfig::default() };
    let texts = (0..settings.documents as u64).map(|i| pretrain_text(common.seed, i));
    Ok(Tokenizer::train(texts, &config)?)
}

/// The tokenizer of a Hugging Face folder or GGUF file.
///
/// # Errors
/// If there is none or it cannot be read.
pub fn load_tokenizer(model: &Path) -> Result<Tokenizer, Error> {
    if model.is_dir() {
        return Ok(Tokenizer::from_dir(model)?);
    }
    let checkpoint = Checkpoint::open(model)?;
    let Some(parts) = checkpoint.gguf_tokenizer() else {
        return Err(Error::Empty {
            what: format!("{} has no tokenizer", model.display()),
            cure: "give a GGUF file or a folder with tokenizer.json",
        });
    };
    Ok(Tokenizer::from_bpe(BpeParts {
        tokens: parts.tokens.clone(),
        merges: parts.merges.clone(),
        token_types: parts.token_types.iter().map(|&t| TokenType::from(t)).collect(),
        pre_tokenizer: parts.pre.as_deref().unwrap_or("default").parse::<PreTokenizer>()?,
        bos: parts.bos_token_id,
        eos: parts.eos_token_id,
        add_bos: parts.add_bos,
        chat_template: parts.chat_template.clone(),
    })?)
}
