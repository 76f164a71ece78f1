//! The chat format of a run that starts from nothing, with a tokenizer trained on the run's own pre-training text; and
//! the template in which a stage poses its problems.

use crate::error::Error;
use crate::recipe::Common;
use crate::watch;
use picnic_chat::{ChatFormat, R1_ZERO, page_template};
use picnic_tasks::{Mixture, Split, Task, letters};
use picnic_tokenizer::{Tokenizer, TrainConfig};

/// Trains the recipe's tokenizer; its model talks in Picnic's own format.
///
/// # Errors
/// If the recipe has no `[tokenizer]`, its vocabulary is too small, or there is no text.
pub fn train_tokenizer(common: &Common) -> Result<ChatFormat, Error> {
    let Some(settings) = &common.tokenizer else {
        return Err(Error::Empty {
            what: "no [tokenizer]".into(),
            cure: "add one, or start from a model by base=MODEL",
        });
    };
    let _training = watch::at(format!("tokenizer: training on {} documents", settings.documents));
    let config = TrainConfig {
        vocab_size: settings.vocab_size,
        individual_characters: settings.characters,
        whole_words: settings.words,
        spelled_words: letters::spelled_words().collect(),
        ..TrainConfig::default()
    };
    let corpus = common.text()?;
    let documents = 0..settings.documents as u64;
    let texts = documents.clone().map(|i| corpus.text(i));
    if settings.words == 0 {
        return Ok(ChatFormat::picnic(Tokenizer::train(texts, &config)?));
    }
    // A question begins without the blank that it has before it in the text, and its first word is another then.
    let tasks = Mixture::new(&common.tasks, common.seed)?;
    let questions = documents.map(|i| tasks.problem(Split::Train, i).prompt);
    Ok(ChatFormat::picnic(Tokenizer::train(texts.chain(questions), &config)?))
}

/// The format of a stage that poses its problems in `template`: `None` for the model's own chat template, `r1-zero`, or
/// a page of text with `{question}` in it. A model that is saved with it is asked in the same way.
///
/// # Errors
/// A page without `{question}`.
pub fn with_prompt_template(chat: &ChatFormat, template: Option<&str>) -> Result<ChatFormat, Error> {
    let page = match template {
        None => return Ok(chat.clone()),
        Some("r1-zero") => R1_ZERO,
        Some(page) => page,
    };
    Ok(chat.with_template(&page_template(page)?)?)
}
