//! Answers that are held to a form: what `response_format` asks for, and a [`Guide`] as the engine knows it.
//!
//! The engine has the trait and no text, [`picnic_chat`] has the text and no engine; here they meet.

use crate::error::ApiError;
use crate::wire::ResponseFormat;
use picnic_chat::{Form, Guide};
use picnic_engine::Constraint;
use picnic_model::ops::AllowedTokens;

/// A guide for the engine.
#[derive(Clone, Debug)]
pub(crate) struct Held(pub Guide);

impl Constraint for Held {
    fn allowed(&mut self) -> AllowedTokens {
        AllowedTokens::Of(self.0.allowed())
    }

    fn accept(&mut self, token: u32) -> bool {
        self.0.accept(token)
    }

    fn boxed(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

impl ResponseFormat {
    /// The form that is asked for, if any is.
    pub(crate) fn form(&self) -> Result<Option<Form>, ApiError> {
        let ResponseFormat { kind, json_schema, schema } = self;
        let schema = json_schema.as_ref().and_then(|named| named.schema.as_ref()).or(schema.as_ref());
        match (kind.as_str(), schema) {
            ("text", _) => Ok(None),
            ("json_object", None) => Ok(Some(Form::JsonObject)),
            ("json_object" | "json_schema", Some(schema)) => Ok(Some(Form::JsonSchema(schema.clone()))),
            ("json_schema", None) => {
                Err(ApiError::parameter("response_format", "must have the schema as `json_schema.schema`"))
            }
            _ => {
                let problem = "must be of the type `text`, `json_object` or `json_schema`";
                Err(ApiError::parameter("response_format", problem))
            }
        }
    }
}
