//! What a model was trained for, as far as whoever talks to it should know: `picnic` in `config.json`, an object of ours
//! that other programs ignore; in a GGUF file `picnic.conversation_tokens` and `picnic.taught`.

use std::path::Path;

use serde_json::{Value, json};

use super::{ConfigError, Contradiction, Keys, ModelConfig};

/// How long a conversation a model was trained for, and what it was taught.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Training {
    /// Tokens of the longest conversation that it was trained for, answers included; `None` where nobody has said.
    pub conversation_tokens: Option<usize>,
    /// Questions of the kinds that it was taught to answer, as a person would type them; empty where nobody has said.
    pub taught: Vec<String>,
}

impl Training {
    /// The object in `config.json`.
    pub(super) const SECTION: &str = "picnic";
    /// Questions at most.
    pub const MAX_TAUGHT: usize = 64;
    /// Characters of a question at most.
    pub const MAX_CHARS: usize = 400;

    /// Adds questions to those that were taught before, as far as they are new and there is room for them.
    pub fn teach(&mut self, questions: impl IntoIterator<Item = String>) {
        for question in questions {
            let fits = (1..=Self::MAX_CHARS).contains(&question.chars().count());
            if fits && self.taught.len() < Self::MAX_TAUGHT && !self.taught.contains(&question) {
                self.taught.push(question);
            }
        }
    }

    /// Reads the object `value`.
    pub(super) fn read(value: Option<&Value>, file: &Path) -> Result<Training, ConfigError> {
        let Some(value) = value else { return Ok(Training::default()) };
        let keys = Keys::new(value, Self::SECTION, file)?;
        Ok(Training { conversation_tokens: keys.size("conversation_tokens")?, taught: keys.texts("taught")? })
    }

    /// The object to write; `None` if there is nothing to say.
    pub(super) fn to_json(&self) -> Option<Value> {
        let mut object = json!({});
        if let Some(tokens) = self.conversation_tokens {
            object["conversation_tokens"] = json!(tokens);
        }
        if !self.taught.is_empty() {
            object["taught"] = json!(self.taught);
        }
        (*self != Training::default()).then_some(object)
    }

    pub(super) fn contradiction(&self, max_position_embeddings: usize) -> Option<Contradiction> {
        if let Some(tokens) = self.conversation_tokens.filter(|tokens| !(1..=max_position_embeddings).contains(tokens))
        {
            let problem = format!("{tokens} is not between 1 and max_position_embeddings, {max_position_embeddings}");
            return Some(("picnic.conversation_tokens", problem, "correct it, or remove the key"));
        }
        let count = self.taught.len();
        let is_odd = |question: &String| !(1..=Self::MAX_CHARS).contains(&question.chars().count());
        if count > Self::MAX_TAUGHT || self.taught.iter().any(is_odd) {
            let [most, chars] = [Self::MAX_TAUGHT, Self::MAX_CHARS];
            let problem = format!("is not a list of at most {most} texts of 1 to {chars} characters");
            return Some(("picnic.taught", problem, "shorten it, or remove the key"));
        }
        None
    }
}

impl ModelConfig {
    /// Tokens that a conversation with the model may have: as many as it was trained for, or else its positions.
    pub fn conversation_tokens(&self) -> usize {
        self.training.conversation_tokens.unwrap_or(usize::MAX).min(self.context())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(picnic: Value) -> Result<ModelConfig, String> {
        let config = json!({
            "model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 512, "picnic": picnic,
        });
        ModelConfig::from_value(&config, Path::new("config.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_said_is_kept_and_what_is_not_said_is_not_claimed() {
        for silent in [Value::Null, json!({}), json!({"taught": [], "of_a_later_release": 1})] {
            let config = read(silent).unwrap();
            assert_eq!((&config.training, config.conversation_tokens()), (&Training::default(), 512));
            assert_eq!(config.to_json().get("picnic"), None);
        }
        let picnic = json!({"conversation_tokens": 64, "taught": ["What is 12+7?"]});
        let config = read(picnic.clone()).unwrap();
        assert_eq!((config.conversation_tokens(), &config.training.taught[0][..]), (64, "What is 12+7?"));
        assert_eq!(config.to_json()["picnic"], picnic);
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_the_key() {
        for (picnic, key) in [
            (json!("yes"), "picnic: "),
            (json!({"conversation_tokens": "long"}), "picnic.conversation_tokens"),
            (json!({"conversation_tokens": 0}), "picnic.conversation_tokens"),
            (json!({"conversation_tokens": 513}), "picnic.conversation_tokens"),
            (json!({"taught": "sums"}), "picnic.taught"),
            (json!({"taught": [1]}), "picnic.taught"),
            (json!({"taught": [""]}), "picnic.taught"),
            (json!({"taught": ["x".repeat(401)]}), "picnic.taught"),
            (json!({"taught": vec!["x"; 65]}), "picnic.taught"),
        ] {
            let line = read(picnic).unwrap_err();
            assert!(line.starts_with(&format!("config.json: {key}")) && line.contains("; "), "{line}");
        }
    }

    #[test]
    fn lessons_add_up_within_bounds() {
        let mut training = Training::default();
        training.teach(["a", "b", "a", "", &"x".repeat(401)].map(str::to_owned));
        assert_eq!(training.taught, ["a", "b"]);
        training.teach((0..100).map(|i| i.to_string()));
        assert_eq!(training.taught.len(), Training::MAX_TAUGHT);
    }
}
