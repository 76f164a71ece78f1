//! The fields by which both completions say how tokens are drawn and what an answer has to be.

use crate::error::ApiError;
use crate::hall::Drawing;
use crate::openapi::by_hand;
use picnic_chat::Form;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How tokens are drawn: OpenAI's fields, and by the names of vLLM and llama.cpp what OpenAI has not.
#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct DrawingFields {
    #[schema(minimum = 0, maximum = 2)]
    pub(crate) temperature: Option<f32>,
    #[schema(exclusive_minimum = 0, maximum = 1)]
    pub(crate) top_p: Option<f32>,
    pub(crate) seed: Option<i64>,
    #[schema(minimum = -2, maximum = 2)]
    pub(crate) frequency_penalty: Option<f32>,
    #[schema(minimum = -2, maximum = 2)]
    pub(crate) presence_penalty: Option<f32>,
    /// By token id, in digits.
    #[schema(value_type = Option<by_hand::LogitBias>)]
    pub(crate) logit_bias: Option<BTreeMap<String, f32>>,
    /// 0 and −1 are all.
    #[schema(minimum = -1)]
    pub(crate) top_k: Option<i64>,
    #[schema(minimum = 0, maximum = 1)]
    pub(crate) min_p: Option<f32>,
    #[schema(exclusive_minimum = 0, maximum = 1)]
    pub(crate) typical_p: Option<f32>,
    #[schema(exclusive_minimum = 0, maximum = 10)]
    pub(crate) repetition_penalty: Option<f32>,
    /// Another name for `repetition_penalty`, which goes before it where both are sent.
    #[schema(exclusive_minimum = 0, maximum = 10)]
    pub(crate) repeat_penalty: Option<f32>,
}

/// One stop string or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`stop` must be a string or a list of strings")]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

/// What an answer has to be. Whether it is to be `strict` is not asked: it always is.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ResponseFormat {
    #[serde(rename = "type")]
    #[schema(value_type = by_hand::FormatKind)]
    pub(crate) kind: Option<String>,
    pub(crate) json_schema: Option<NamedSchema>,
    /// Beside `json_object`, where llama.cpp takes it.
    #[schema(value_type = Option<by_hand::JsonSchema>)]
    pub(crate) schema: Option<Value>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct NamedSchema {
    #[schema(value_type = Option<by_hand::JsonSchema>)]
    pub(crate) schema: Option<Value>,
}

/// The same by vLLM's names.
#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct GuidedFields {
    #[schema(value_type = Option<by_hand::JsonSchema>)]
    guided_json: Option<Value>,
    guided_regex: Option<String>,
    #[schema(min_items = 1)]
    guided_choice: Option<Vec<String>>,
    guided_grammar: Option<String>,
}

/// Fields that we know, do not offer, and that would change the answer: they are read so that they can be refused.
#[derive(Default, Deserialize)]
pub(crate) struct RefusedFields {
    functions: Option<Value>,
    function_call: Option<Value>,
    audio: Option<Value>,
    web_search_options: Option<Value>,
    min_tokens: Option<Value>,
    stop_token_ids: Option<Value>,
    ignore_eos: Option<Value>,
    best_of: Option<Value>,
    use_beam_search: Option<Value>,
    bad_words: Option<Value>,
    grammar: Option<Value>,
    structured_outputs: Option<Value>,
    dry_multiplier: Option<Value>,
    xtc_probability: Option<Value>,
    truncate_prompt_tokens: Option<Value>,
    prompt_logprobs: Option<Value>,
    chat_template: Option<Value>,
    json_schema: Option<Value>,
    top_n_sigma: Option<Value>,
    mirostat: Option<Value>,
}

impl DrawingFields {
    pub(crate) fn drawing(self) -> Result<Drawing, ApiError> {
        let bias = self.logit_bias.iter().flatten().map(|(token, bias)| Some((token.parse().ok()?, *bias)));
        let Some(bias) = bias.collect::<Option<Vec<(u32, f32)>>>() else {
            return Err(ApiError::parameter("logit_bias", "must have token ids for its keys, in digits"));
        };
        Ok(Drawing {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            typical_p: self.typical_p,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty.or(self.repeat_penalty),
            seed: self.seed,
            bias,
        })
    }
}

impl Stop {
    pub(crate) fn strings(stop: Option<Stop>) -> Vec<String> {
        match stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Many(stops)) => stops,
        }
    }
}

impl ResponseFormat {
    /// The form that is asked for, if any is.
    pub(crate) fn form(self) -> Result<Option<Form>, ApiError> {
        let refuse = |problem: &str| Err(ApiError::parameter("response_format", problem));
        let ResponseFormat { kind, json_schema, schema } = self;
        let schema = json_schema.and_then(|named| named.schema).or(schema);
        match (kind.as_deref(), schema) {
            (Some("text"), _) => Ok(None),
            (Some("json_object"), None) => Ok(Some(Form::JsonObject)),
            (Some("json_object" | "json_schema"), Some(schema)) => Ok(Some(Form::JsonSchema(schema))),
            (Some("json_schema"), None) => refuse("must have the schema as `json_schema.schema`"),
            (None, _) => Err(ApiError::Malformed {
                problem: "`response_format` has no `type`: it is `text`, `json_object` or `json_schema`".to_owned(),
                param: Some("response_format".to_owned()),
            }),
            _ => refuse("must be of the type `text`, `json_object` or `json_schema`"),
        }
    }
}

impl GuidedFields {
    /// The form that is asked for, if any is.
    pub(crate) fn form(self) -> Option<Form> {
        let GuidedFields { guided_json, guided_regex, guided_choice, guided_grammar } = self;
        // A schema may come as text.
        let parsed = |json: Value| match &json {
            Value::String(text) => serde_json::from_str(text).unwrap_or(json),
            _ => json,
        };
        let choices = |choices: Vec<String>| {
            let quoted: Vec<String> = choices.iter().map(|choice| Value::from(choice.as_str()).to_string()).collect();
            Form::Grammar(format!("start: {}", quoted.join(" | ")))
        };
        guided_json
            .map(|json| Form::JsonSchema(parsed(json)))
            .or(guided_regex.map(Form::Regex))
            .or(guided_grammar.map(Form::Grammar))
            .or(guided_choice.map(choices))
    }
}

impl RefusedFields {
    /// # Errors
    /// The first of them that asks for something.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let asks = |value: &Option<Value>| match value {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(values)) => !values.is_empty(),
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(_) => true,
        };
        let is_one =
            |value: &Option<Value>| matches!(value, Some(Value::Number(number)) if number.as_f64() == Some(1.0));
        let named = [
            ("functions", &self.functions, "is not supported: send `tools`"),
            ("function_call", &self.function_call, "is not supported: send `tool_choice`"),
            ("audio", &self.audio, NOT_SUPPORTED),
            ("web_search_options", &self.web_search_options, NOT_SUPPORTED),
            ("min_tokens", &self.min_tokens, NOT_SUPPORTED),
            ("stop_token_ids", &self.stop_token_ids, "is not supported: send `stop` with strings"),
            ("ignore_eos", &self.ignore_eos, NOT_SUPPORTED),
            ("use_beam_search", &self.use_beam_search, NOT_SUPPORTED),
            ("bad_words", &self.bad_words, "is not supported: send `logit_bias`"),
            ("grammar", &self.grammar, "is not supported: send `guided_grammar` with a grammar in Lark's form"),
            ("structured_outputs", &self.structured_outputs, "is not supported: send `response_format`"),
            ("dry_multiplier", &self.dry_multiplier, NOT_SUPPORTED),
            ("xtc_probability", &self.xtc_probability, NOT_SUPPORTED),
            ("mirostat", &self.mirostat, NOT_SUPPORTED),
            ("truncate_prompt_tokens", &self.truncate_prompt_tokens, NOT_SUPPORTED),
            (
                "prompt_logprobs",
                &self.prompt_logprobs,
                "is not supported: send `echo` and `logprobs` to /v1/completions",
            ),
            ("chat_template", &self.chat_template, NOT_SUPPORTED),
            ("json_schema", &self.json_schema, "is not supported: send `response_format`"),
            ("top_n_sigma", &self.top_n_sigma, NOT_SUPPORTED),
        ];
        let best_of = [("best_of", &self.best_of, "must be 1: send `n` for more answers")];
        let refused = named.into_iter().chain(best_of.into_iter().filter(|(_, value, _)| !is_one(value)));
        match refused.into_iter().find(|(_, value, _)| asks(value)) {
            Some((param, _, problem)) => Err(ApiError::parameter(param, problem)),
            None => Ok(()),
        }
    }
}

const NOT_SUPPORTED: &str = "is not supported: leave it out";
