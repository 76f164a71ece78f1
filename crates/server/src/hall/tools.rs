//! Tools as all contracts have them in the end: functions in OpenAI's form, and which of them may or must be called.

use crate::error::ApiError;
use picnic_chat::{Form, ToolChoice, ToolSpec};
use serde_json::Value;

/// Functions that a model may call.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tools {
    /// In OpenAI's form, for the template.
    pub(crate) functions: Vec<Value>,
    pub(crate) choice: ToolChoice,
    /// Whether there may be several calls in one answer.
    pub(crate) parallel: bool,
}

impl Tools {
    /// `functions` by `tool_choice` as OpenAI has it; without any where none is to be called.
    pub(crate) fn of(functions: Vec<Value>, choice: Option<&Value>, parallel: Option<bool>) -> Result<Tools, ApiError> {
        let refuse = |problem: &str| Err(ApiError::parameter("tool_choice", problem));
        let choice = match choice {
            None | Some(Value::Null) => ToolChoice::Auto,
            Some(Value::String(word)) => match word.as_str() {
                "auto" => ToolChoice::Auto,
                "none" => return Ok(Tools::default()),
                "required" | "any" => ToolChoice::Required,
                _ => return refuse("must be `auto`, `none`, `required` or name a function"),
            },
            Some(named) => {
                let name = named.pointer("/function/name").or(named.get("name")).and_then(Value::as_str);
                match name {
                    Some(name) => ToolChoice::Named(name.to_owned()),
                    None => return refuse("must be `auto`, `none`, `required` or name a function"),
                }
            }
        };
        // Whoever names a function wants it called once.
        let parallel = parallel.unwrap_or(true) && !matches!(choice, ToolChoice::Named(_));
        let tools = Tools { functions, choice, parallel };
        for (at, function) in tools.functions.iter().enumerate() {
            if name_of(function).is_none_or(str::is_empty) {
                let problem = format!(
                    "has no `function.name` at {at}: describe each tool as {{\"type\": \"function\", \"function\": {{\"name\": …}}}}"
                );
                return Err(ApiError::parameter("tools", problem));
            }
        }
        match &tools.choice {
            ToolChoice::Auto => Ok(tools),
            _ if tools.functions.is_empty() => refuse("asks for a call, but there are no `tools`"),
            ToolChoice::Named(name) if !tools.names().any(|known| known == name) => {
                refuse("names a function that is not among the `tools`")
            }
            _ => Ok(tools),
        }
    }

    /// What holds an answer to a call, if it has to be one.
    pub(crate) fn form(&self) -> Option<Form> {
        let (tools, choice) = (ToolSpec::of(&self.functions), self.choice.clone());
        let form = Form::Calls { tools, choice, parallel: self.parallel };
        (!self.functions.is_empty() && !form.is_free()).then_some(form)
    }

    /// The names of the functions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().filter_map(name_of)
    }
}

fn name_of(function: &Value) -> Option<&str> {
    function.pointer("/function/name").and_then(Value::as_str)
}
