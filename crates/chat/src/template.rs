//! A model's chat template: Jinja from `tokenizer_config.json`, rendered as `transformers` renders it.
//!
//! A template is code from outside. It runs without access to files, network or clock, stops after [`FUEL`]
//! steps and has a stack for the deepest value that so many steps can build. What is not limited is the
//! memory that a hostile template can ask for by doubling a string: like the weights, it comes from
//! whoever published the model that you chose to run.

use std::collections::BTreeMap;
use std::time::SystemTime;

use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};

use crate::{Error, Message, Result, python};

/// Instructions that one rendering may execute. The templates of DeepSeek and Qwen3 take about 40 a message.
const FUEL: u64 = 1_000_000;

/// Stack of one rendering. A list in a list in a list … gets one level deeper in about eight steps, which
/// leaves 1000 bytes a level for freeing or printing it. Untouched pages cost nothing.
const STACK_BYTES: usize = 128 << 20;

/// The name of the template that is used unless another fits better.
const DEFAULT: &str = "default";

/// A compiled chat template, or several by name.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// `bos_token`, `eos_token`, … as the template's variables.
    special_tokens: BTreeMap<String, String>,
}

/// What a rendering takes besides the messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatOptions<'a> {
    /// End with the opening of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Functions that the model may call, as JSON schemas in OpenAI's form.
    pub tools: &'a [serde_json::Value],
    /// More variables, such as `enable_thinking` (Qwen3) or `thinking` (DeepSeek-V3.1).
    pub variables: Option<&'a serde_json::Map<String, serde_json::Value>>,
    /// The date for templates that print one. Without it they use their own fixed date.
    pub now: Option<SystemTime>,
    /// Pass a message's missing content as `none` rather than leave the key out. DeepSeek-V3's
    /// template knows a turn that only calls tools by `content is none`; `transformers` leaves it out.
    pub null_content: bool,
}

impl ChatTemplate {
    /// Compiles one template. `special_tokens` are variables by name: `bos_token`, `eos_token`, ….
    pub fn new(source: &str, special_tokens: BTreeMap<String, String>) -> Result<Self> {
        Self::from_json(&source.into(), special_tokens)
    }

    /// Compiles the value of `chat_template`: a string, or a list of `{name, template}`.
    pub(crate) fn from_json(source: &serde_json::Value, special_tokens: BTreeMap<String, String>) -> Result<Self> {
        let mut environment = environment()?;
        for (name, template) in named_templates(source)? {
            environment.add_template_owned(name, template)?;
        }
        Ok(Self { environment, special_tokens })
    }

    /// One prompt of a conversation.
    ///
    /// # Errors
    /// When the template refuses the conversation (`raise_exception`), asks for what is not there, or
    /// does not end.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("chat template".to_owned())
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || self.render_here(messages, options));
            let failed = |what: String| Err(Error::Template(what));
            match thread.map(|thread| thread.join()) {
                Ok(Ok(rendered)) => rendered,
                Ok(Err(_)) => failed("the renderer panicked; report the template".to_owned()),
                Err(error) => failed(format!("no thread to render in: {error}")),
            }
        })
    }

    fn render_here(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        let messages: Vec<Value> = messages.iter().map(|message| as_value(message, options.null_content)).collect();
        let tools = (!options.tools.is_empty()).then(|| Value::from(Serde(options.tools)));
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, token) in &self.special_tokens {
            context.insert(name, token.into());
        }
        for (name, value) in options.variables.into_iter().flatten() {
            context.insert(name, Value::from(Serde(value)));
        }
        if let Some(now) = options.now {
            context.insert("strftime_now", python::strftime_now(now)?);
        }
        // Last, so that a variable cannot take their place.
        context.insert("messages", Value::from(messages));
        context.insert("add_generation_prompt", options.add_generation_prompt.into());
        context.insert("tools", tools.into());
        let name = if !options.tools.is_empty() && self.has("tool_use") { "tool_use" } else { DEFAULT };
        let template = self.environment.get_template(name)?;
        Ok(template.render(Value::from_pairs(context))?)
    }

    fn has(&self, name: &str) -> bool {
        self.environment.get_template(name).is_ok()
    }
}

/// Jinja as `transformers` sets it up.
fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", python::tojson);
    environment.add_function("raise_exception", python::raise_exception);
    Ok(environment)
}

/// Name and source of each template.
fn named_templates(source: &serde_json::Value) -> Result<Vec<(String, String)>> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Source {
        One(String),
        Named(Vec<Named>),
    }
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
        template: String,
    }
    use serde::Deserialize as _;
    let list = match Source::deserialize(source) {
        Ok(Source::One(template)) => return Ok(vec![(DEFAULT.to_owned(), template)]),
        Ok(Source::Named(list)) => list,
        Err(_) => {
            let problem = "must be a string or a list of {name, template}";
            return Err(Error::Template(problem.to_owned()));
        }
    };
    if !list.iter().any(|template| template.name == DEFAULT) {
        let names: Vec<_> = list.iter().map(|template| &template.name).collect();
        return Err(Error::Template(format!("the list has {names:?} but none named `{DEFAULT}`: add one")));
    }
    Ok(list.into_iter().map(|t| (t.name, t.template)).collect())
}

fn as_value(message: &Message, null_content: bool) -> Value {
    let value = Value::from(Serde(message));
    if message.content.is_none() && null_content {
        let none = minijinja::context! { content => Value::from(()) };
        return minijinja::context! { ..none, ..value };
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FunctionCall, Role, ToolCall};
    use serde_json::json;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(source, BTreeMap::new()).unwrap()
    }

    fn render(source: &str, options: &ChatOptions) -> String {
        template(source).render(&[Message::user("hi")], options).unwrap()
    }

    #[test]
    fn a_template_that_does_not_end_is_an_error() {
        let squares = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        for source in [squares, recursion] {
            let result = template(source).render(&[], &ChatOptions::default());
            assert!(matches!(result, Err(Error::Template(_))), "{source}");
        }
    }

    #[test]
    fn a_value_as_deep_as_the_fuel_allows_does_not_overflow_the_stack() {
        let deepest = "{% set ns = namespace(x=1) %}{% for a in range(9999) %}{% for b in range(9999) %}\
                       {% set ns.x = [ns.x] %}{% endfor %}{% endfor %}";
        let result = template(deepest).render(&[], &ChatOptions::default());
        assert!(matches!(result, Err(Error::Template(_))));
        // As deep as it gets with fuel left to print it.
        let printed = deepest.replacen("9999", "20", 1).replacen("9999", "5000", 1);
        for filter in ["tojson", "string", "length"] {
            let source = format!("{printed}{{{{ ns.x | {filter} }}}}");
            assert!(template(&source).render(&[], &ChatOptions::default()).is_ok());
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for source in ["{% if %}", "{{", "{{ 1 +", "{% nonsense %}", "{% for x in %}"] {
            let result = ChatTemplate::new(source, BTreeMap::new());
            assert!(matches!(result, Err(Error::Template(_))), "{source}");
        }
        let deep = format!("{{{{ {}1 }}}}", "(".repeat(100_000));
        assert!(ChatTemplate::new(&deep, BTreeMap::new()).is_err());
        for source in ["{{ x.y.z }}", "{{ messages[0] + 1 }}", "{{ 1 // 0 }}", "{% include 'x' %}"] {
            let result = template(source).render(&[], &ChatOptions::default());
            assert!(result.is_err(), "{source}");
        }
    }

    #[test]
    fn the_template_can_refuse() {
        let result = template("{{ raise_exception('no system message') }}").render(&[], &ChatOptions::default());
        let error = result.unwrap_err().to_string();
        assert!(error.contains("no system message"), "{error}");
    }

    #[test]
    fn variables_and_tools_reach_the_template() {
        let variables = json!({"enable_thinking": false, "messages": "mine"});
        let tools = [json!({"z": 1, "a": [true, null, "<ü>'"]})];
        let options = ChatOptions { variables: variables.as_object(), tools: &tools, ..ChatOptions::default() };
        let source = "{{ enable_thinking }} {{ messages[0].content }} {{ tools[0] | tojson }}";
        let expected = r#"False hi {"z": 1, "a": [true, null, "<ü>'"]}"#;
        assert_eq!(render(source, &options), expected);
        let absent = "{{ tools is none }} {{ strftime_now is defined }}";
        assert_eq!(render(absent, &ChatOptions::default()), "True False");
    }

    #[test]
    fn blocks_leave_no_lines_behind() {
        let source = "{% if true %}\n    {% set x = 1 %}\na\n{% endif %}\n";
        assert_eq!(render(source, &ChatOptions::default()), "a\n");
    }

    #[test]
    fn named_templates_are_chosen_by_the_presence_of_tools() {
        let list = json!([{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]);
        let template = ChatTemplate::from_json(&list, BTreeMap::new()).unwrap();
        let tools = [json!({})];
        let with_tools = ChatOptions { tools: &tools, ..ChatOptions::default() };
        assert_eq!(template.render(&[], &with_tools).unwrap(), "t");
        assert_eq!(template.render(&[], &ChatOptions::default()).unwrap(), "d");
        for wrong in [json!(7), json!([{"name": "x", "template": "x"}]), json!({})] {
            assert!(ChatTemplate::from_json(&wrong, BTreeMap::new()).is_err());
        }
    }

    #[test]
    fn missing_content_is_absent_or_none() {
        let message = Message {
            role: Role::Assistant,
            tool_calls: vec![ToolCall {
                id: None,
                kind: "function".to_owned(),
                function: FunctionCall { name: "f".to_owned(), arguments: "{}".to_owned() },
            }],
            ..Message::default()
        };
        let template = template(
            "{{ messages[0].content is defined }} {{ messages[0].content is none }} \
             {{ messages[0].tool_calls[0].function.name }} {{ 'name' in messages[0] }}",
        );
        let render = |null_content| {
            let options = ChatOptions { null_content, ..ChatOptions::default() };
            template.render(std::slice::from_ref(&message), &options).unwrap()
        };
        assert_eq!(render(false), "False False f False");
        assert_eq!(render(true), "True True f False");
    }
}
