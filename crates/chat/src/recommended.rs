//! How a model's makers would have its answers drawn: what `generation_config.json` says of it.

use crate::ChatFormat;
use serde_json::Value;

/// Settings for drawing answers, as far as the model's folder has them and they make sense.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recommended {
    /// Divides the logits; 0 where the folder says `"do_sample": false`.
    pub temperature: Option<f32>,
    /// So many of the likeliest tokens; 0 for all.
    pub top_k: Option<usize>,
    /// The likeliest tokens of this probability together.
    pub top_p: Option<f32>,
    /// Those with at least this share of the likeliest one's probability.
    pub min_p: Option<f32>,
    /// Those of usual surprise with this probability together.
    pub typical_p: Option<f32>,
    /// For tokens that the prompt or the answer has; 1 for nothing.
    pub repetition_penalty: Option<f32>,
}

impl ChatFormat {
    /// What the model's folder says about drawing its answers. Whoever asks it may say otherwise.
    pub fn recommended(&self) -> Recommended {
        let number = |key: &str, makes_sense: fn(f32) -> bool| {
            let value = self.generation.get(key)?.as_f64()? as f32;
            makes_sense(value).then_some(value)
        };
        let share = |value: f32| value > 0.0 && value <= 1.0;
        let is_greedy = self.generation.get("do_sample") == Some(&Value::Bool(false));
        Recommended {
            temperature: if is_greedy { Some(0.0) } else { number("temperature", |t| t.is_finite() && t >= 0.0) },
            top_k: self.generation.get("top_k").and_then(Value::as_u64).and_then(|k| usize::try_from(k).ok()),
            top_p: number("top_p", share),
            min_p: number("min_p", |p| (0.0..=1.0).contains(&p)),
            typical_p: number("typical_p", share),
            repetition_penalty: number("repetition_penalty", |p| p.is_finite() && p > 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::bytes;
    use serde_json::json;

    fn recommended(generation: &Value) -> Recommended {
        let mut chat = ChatFormat::picnic(bytes());
        chat.generation = generation.as_object().unwrap().clone();
        chat.recommended()
    }

    #[test]
    fn what_makes_sense_is_taken() {
        assert_eq!(recommended(&json!({"eos_token_id": 1})), Recommended::default());
        // As R1's distilled models have it, and Qwen3.
        let r1 = recommended(&json!({"do_sample": true, "temperature": 0.6, "top_p": 0.95}));
        assert_eq!(r1, Recommended { temperature: Some(0.6), top_p: Some(0.95), ..Recommended::default() });
        let qwen3 = recommended(&json!({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95}));
        assert_eq!(qwen3, Recommended { top_k: Some(20), ..r1 });
        // The other settings of a greedy model mean nothing to its temperature.
        let greedy = recommended(&json!({"do_sample": false, "temperature": 0.7, "repetition_penalty": 1.05}));
        assert_eq!((greedy.temperature, greedy.repetition_penalty), (Some(0.0), Some(1.05)));
        let nonsense =
            json!({"temperature": -1, "top_p": 0, "top_k": -3, "min_p": 2, "typical_p": "x", "repetition_penalty": 0});
        assert_eq!(recommended(&nonsense), Recommended::default());
    }
}
