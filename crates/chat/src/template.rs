//! A model's chat template: Jinja from `tokenizer_config.json`, rendered as `transformers` renders it.
//!
//! A template is code from outside. It runs without access to files, network or clock, stops after [`FUEL`]
//! steps and has a stack for the deepest value that so many steps can build. What is not limited is the
//! memory that a hostile template can ask for by doubling a string: like the weights, it comes from
//! whoever published the model that you chose to run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::SystemTime;

use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use serde_json::Value as Json;

use crate::guard::Guards;
use crate::{Error, FunctionCall, Message, Result, Role, ToolCall, methods, python, source};

type Map = serde_json::Map<String, Json>;

/// Instructions that one rendering may execute. The templates of DeepSeek and Qwen3 take about 40 a message.
const FUEL: u64 = 1_000_000;

/// Bytes of a template's source at most. Published ones have up to about 20,000.
const MAX_SOURCE: usize = 1 << 18;

/// Stack of one rendering. A list in a list in a list … gets one level deeper in about eight steps, which
/// leaves 1000 bytes a level for freeing or printing it. Untouched pages cost nothing.
const STACK_BYTES: usize = 128 << 20;

/// The name of the template that is used unless another fits better.
const DEFAULT: &str = "default";

/// The name of the template for conversations with tools, where there is one.
const TOOL_USE: &str = "tool_use";

/// A compiled chat template, or several by name.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Each template's name and, once somebody had to know, how it is shown calls of tools.
    names: BTreeMap<String, OnceLock<CallStyle>>,
    /// `bos_token`, `eos_token`, … as the template's variables.
    special_tokens: BTreeMap<String, String>,
}

/// How a turn that calls tools is shown to a template.
#[derive(Clone, Copy, Debug, Default)]
struct CallStyle {
    /// The arguments are text, not an object.
    as_text: bool,
    /// What stands for content that is not there.
    content: Missing,
}

#[derive(Clone, Copy, Debug, Default)]
enum Missing {
    /// No key, as `transformers` has it.
    #[default]
    Absent,
    /// Python's `None`, by which DeepSeek's template knows a turn that only calls.
    Null,
    Empty,
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
    /// The date for templates that print one. Without it they use a fixed one, their own if they have it.
    pub now: Option<SystemTime>,
    /// End right behind the text of the last message, which is the assistant's, so that the answer goes on with it. Where
    /// that message has no content, the answer goes on with its thinking.
    pub continue_final_message: bool,
}

/// A rendered conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub text: String,
    /// The places in it, in bytes, across which there is no control token: somebody wrote what only looks like one.
    pub breaks: Vec<usize>,
}

impl ChatTemplate {
    /// Compiles one template. `special_tokens` are variables by name: `bos_token`, `eos_token`, ….
    pub fn new(source: &str, special_tokens: BTreeMap<String, String>) -> Result<Self> {
        Self::from_json(&source.into(), special_tokens)
    }

    /// Compiles the value of `chat_template`: a string, or a list of `{name, template}`.
    pub fn from_json(source: &serde_json::Value, special_tokens: BTreeMap<String, String>) -> Result<Self> {
        on_a_deep_stack(|| {
            let (mut environment, mut names) = (environment()?, BTreeMap::new());
            for (name, template) in named_templates(source)? {
                let bytes = template.len();
                if bytes > MAX_SOURCE {
                    let problem = format!("`{name}` has {bytes} bytes; a template may have {MAX_SOURCE} at most");
                    return Err(Error::Template(problem));
                }
                environment.add_template_owned(name.clone(), source::readable(&template))?;
                names.insert(name, OnceLock::new());
            }
            Ok(Self { environment, names, special_tokens })
        })
    }

    /// One prompt of a conversation.
    ///
    /// # Errors
    /// When the template refuses the conversation (`raise_exception`), asks for what is not there, or
    /// does not end.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        let none = (Map::new(), Vec::new());
        Ok(self.render_guarded(messages, options, &none.0, &none.1)?.text)
    }

    /// The same with variables `fixed` that whoever runs the model has set, and with guards in what reads like one of the
    /// tokens `control` but was written by somebody else.
    pub(crate) fn render_guarded(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        fixed: &Map,
        control: &[String],
    ) -> Result<Rendered> {
        on_a_deep_stack(|| self.guarded_here(messages, options, fixed, control))
    }

    fn guarded_here(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        fixed: &Map,
        control: &[String],
    ) -> Result<Rendered> {
        let (mut messages, end) = match options.continue_final_message {
            true => (self.messages(&with_open_end(messages)?, options), Some(END)),
            false => (self.messages(messages, options), None),
        };
        let mut tools = options.tools.to_vec().into();
        let mut variables = options.variables.cloned().unwrap_or_default().into();
        let guards = Guards::for_texts(control, &[&messages, &tools, &variables]);
        if let Some(guards) = &guards {
            guards.guard(&mut messages);
            guards.guard(&mut tools);
            variables.as_object_mut().into_iter().for_each(|members| guards.guard_members(members));
        }
        let (Json::Array(messages), Json::Array(tools), Json::Object(given)) = (messages, tools, variables) else {
            return Err(Error::Template("the conversation is no list".to_owned()));
        };
        let mut variables = fixed.clone();
        variables.extend(given);
        let messages = messages.into_iter().map(|message| Value::from(Serde(message))).collect();
        let options = ChatOptions {
            add_generation_prompt: options.add_generation_prompt && end.is_none(),
            tools: &tools,
            variables: Some(&variables),
            ..*options
        };
        let text = self.render_values(self.name(&options), messages, &options)?;
        let (text, breaks) = guards.map_or_else(|| (text.clone(), Vec::new()), |guards| guards.take_out(&text));
        let mut rendered = Rendered { text, breaks };
        if let Some(end) = end {
            let lost = "the template leaves out the message that the answer has to go on with";
            let at = rendered.text.rfind(end).ok_or_else(|| Error::Template(lost.to_owned()))?;
            rendered.text.truncate(at);
            rendered.breaks.retain(|&place| place < at);
        }
        Ok(rendered)
    }

    /// The sources of all templates, one after another.
    pub(crate) fn source(&self) -> String {
        let sources = self.names.keys().filter_map(|name| self.environment.get_template(name).ok());
        sources.map(|template| template.source().to_owned()).collect()
    }

    /// Whether there is a template of its own for conversations with tools.
    pub(crate) fn has_tool_use(&self) -> bool {
        self.names.contains_key(TOOL_USE)
    }

    /// The template that fits.
    fn name(&self, options: &ChatOptions) -> &'static str {
        if !options.tools.is_empty() && self.names.contains_key(TOOL_USE) { TOOL_USE } else { DEFAULT }
    }

    /// The messages as JSON, in the style of the template that fits.
    fn messages(&self, messages: &[Message], options: &ChatOptions) -> Json {
        let has_calls = messages.iter().any(|message| !message.tool_calls.is_empty());
        let style = if has_calls { self.call_style(self.name(options)) } else { CallStyle::default() };
        messages.iter().map(|message| as_json(message, style)).collect()
    }

    fn render_values(&self, name: &str, messages: Vec<Value>, options: &ChatOptions) -> Result<String> {
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, token) in &self.special_tokens {
            context.insert(name, token.into());
        }
        context.insert("documents", python::nothing());
        for (name, value) in options.variables.into_iter().flatten() {
            context.insert(name, Value::from(Serde(value)));
        }
        context.insert("strftime_now", python::strftime_now(options.now)?);
        // Last, so that a variable cannot take their place.
        context.insert("messages", Value::from(messages));
        context.insert("add_generation_prompt", options.add_generation_prompt.into());
        let tools = if options.tools.is_empty() { python::nothing() } else { Value::from(Serde(options.tools)) };
        context.insert("tools", tools);
        Ok(self.environment.get_template(name)?.render(Value::from_pairs(context))?)
    }

    /// How the template `name` is shown calls. Most write the arguments of an object as JSON or walk through its keys;
    /// some put text together with text. Some fail on content that is not there. So it is shown a call and watched,
    /// as llama.cpp does it: the first style in which the arguments come out is the one.
    fn call_style(&self, name: &str) -> CallStyle {
        let call = FunctionCall { name: "picnic".to_owned(), arguments: r#"{"basket": "full"}"#.to_owned() };
        let call = ToolCall { id: Some("picnic000".to_owned()), kind: "function".to_owned(), function: call };
        let calling = Message { role: Role::Assistant, tool_calls: vec![call], ..Message::default() };
        let writes = |style: &CallStyle| {
            let messages = [&Message::user("?"), &calling].map(|message| Value::from(Serde(as_json(message, *style))));
            let rendered = self.render_values(name, messages.to_vec(), &ChatOptions::default());
            rendered.is_ok_and(|text| text.contains("basket") && text.contains("full"))
        };
        let styles = [false, true].into_iter().flat_map(|as_text| {
            [Missing::Absent, Missing::Null, Missing::Empty].map(|content| CallStyle { as_text, content })
        });
        let probe = || styles.into_iter().find(writes).unwrap_or_default();
        self.names.get(name).map_or(CallStyle::default(), |known| *known.get_or_init(probe))
    }
}

thread_local! {
    /// Whether this thread is one with a deep stack.
    static IS_DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Compiling recurses as deep as the source is nested, rendering as deep as the values are.
fn on_a_deep_stack<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if IS_DEEP.get() { run() } else { with_deep_stack(run)? }
}

/// Runs something on a thread whose stack is deep enough for any template, so that what renders many conversations does
/// not start a thread for each.
///
/// # Errors
/// If there is no thread to be had, or the template engine panics.
pub fn with_deep_stack<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T> {
    let run = || {
        IS_DEEP.set(true);
        run()
    };
    std::thread::scope(|scope| {
        let name = "chat template".to_owned();
        let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn_scoped(scope, run);
        let failed = |what: String| Err(Error::Template(what));
        match thread.map(|thread| thread.join()) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => failed("the template engine panicked; report the template".to_owned()),
            Err(error) => failed(format!("no thread to render in: {error}")),
        }
    })
}

/// Jinja as `transformers` sets it up.
fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(methods::call);
    minijinja_contrib::add_to_environment(&mut environment);
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("percent", python::percent);
    environment.add_test("defined", python::is_defined);
    environment.add_test("undefined", |value: &Value| !python::is_defined(value));
    environment.add_test("none", python::is_none);
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

/// A message as templates see it. What is absent has no key, but for the content of a turn that calls.
fn as_json(message: &Message, style: CallStyle) -> Json {
    let mut json = serde_json::json!(message);
    if let Some(thinking) = &message.reasoning_content {
        // gpt-oss has this name for it.
        json["thinking"] = thinking.as_str().into();
    }
    if message.content.is_none() && !message.tool_calls.is_empty() {
        match style.content {
            Missing::Absent => {}
            Missing::Null => json["content"] = serde_json::Value::Null,
            Missing::Empty => json["content"] = "".into(),
        }
    }
    for (i, call) in message.tool_calls.iter().enumerate().filter(|_| !style.as_text) {
        let arguments = if call.function.arguments.trim().is_empty() { "{}" } else { &call.function.arguments };
        // What is no JSON stays text.
        if let Ok(parsed) = serde_json::from_str(arguments) {
            json["tool_calls"][i]["function"]["arguments"] = parsed;
        }
    }
    json
}

/// What marks the end of a message that an answer goes on with: a character that no text has a use for.
const END: char = '\u{fdef}';

/// The messages with [`END`] behind what an answer goes on with.
fn with_open_end(messages: &[Message]) -> Result<Vec<Message>> {
    let mut messages = messages.to_vec();
    let Some(last) = messages.last_mut().filter(|last| last.role == Role::Assistant && last.tool_calls.is_empty())
    else {
        let problem = "only a last message of the assistant, without calls of tools, can be gone on with";
        return Err(Error::Template(problem.to_owned()));
    };
    let content = last.content.get_or_insert_default();
    match &mut last.reasoning_content {
        Some(reasoning) if content.is_empty() && !reasoning.is_empty() => {
            *reasoning = reasoning.replace(END, "") + &END.to_string();
        }
        _ => *content = content.replace(END, "") + &END.to_string(),
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let absent = "{{ tools is none }} {{ tools is defined }} {{ documents or 'no' }} {{ strftime_now is defined }}";
        assert_eq!(render(absent, &ChatOptions::default()), "True False no False");
    }

    #[test]
    fn blocks_leave_no_lines_behind() {
        let source = "{% if true %}\n    {% set x = 1 %}\na\n{% endif %}\n";
        assert_eq!(render(source, &ChatOptions::default()), "a\n");
    }

    #[test]
    fn a_source_nested_as_deep_as_its_length_allows_does_not_overflow_the_stack() {
        let many = |open: &str, close: &str| {
            let n = (MAX_SOURCE - 10) / (open.len() + close.len());
            format!("{{{{ {}1{} }}}}", open.repeat(n), close.repeat(n))
        };
        let sources = [
            many("(", ")"),
            many("[", "]"),
            many("-", ""),
            many("not ", ""),
            many("1+", ""),
            many("1~", ""),
            many("1 if 1 else ", ""),
            many("1**", ""),
            format!("{{{{ a{} }}}}", ".a".repeat(MAX_SOURCE / 2 - 10)),
            format!("{{{{ a{} }}}}", "|e".repeat(MAX_SOURCE / 2 - 10)),
            format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(MAX_SOURCE / 12 - 10)),
            "{% if 1 %}".repeat(MAX_SOURCE / 10),
        ];
        for source in sources {
            // Whether it compiles is up to the engine.
            if let Ok(template) = ChatTemplate::new(&source, BTreeMap::new()) {
                let _either = template.render(&[], &ChatOptions::default());
            }
        }
        let line = ChatTemplate::new(&" ".repeat(MAX_SOURCE + 1), BTreeMap::new()).unwrap_err().to_string();
        assert!(line.contains("at most"), "{line}");
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

    /// A turn without content that calls `f` with `arguments`.
    fn calling(arguments: &str) -> Message {
        let function = FunctionCall { name: "f".to_owned(), arguments: arguments.to_owned() };
        let call = ToolCall { id: None, kind: "function".to_owned(), function };
        Message { role: Role::Assistant, tool_calls: vec![call], ..Message::default() }
    }

    #[test]
    fn missing_content_is_what_the_template_can_bear() {
        let writes = "{{ m.tool_calls[0].function.arguments | tojson if m.tool_calls }}";
        let render = |content: &str| {
            let source = format!("{{% for m in messages %}}{content}{writes}{{% endfor %}}");
            template(&source).render(&[calling(r#"{"a": 1}"#)], &ChatOptions::default()).unwrap()
        };
        assert_eq!(render("{{ m.content is defined }}"), r#"False{"a": 1}"#);
        assert_eq!(render("{{ raise_exception('') if m.content is not defined }}"), r#"{"a": 1}"#);
        assert_eq!(render("{{ m.content.strip() }}"), r#"{"a": 1}"#);
    }

    #[test]
    fn missing_content_is_absent() {
        let template = template(
            "{{ messages[0].content is defined }} {{ messages[0].content is none }} \
             {{ messages[0].tool_calls[0].function.name }} {{ 'name' in messages[0] }}",
        );
        let rendered = template.render(&[calling("{}")], &ChatOptions::default()).unwrap();
        assert_eq!(rendered, "False False f False");
    }

    #[test]
    fn tools_that_are_not_there_equal_none() {
        for source in [
            "{{ tools == none }}",
            "{{ tools == None }}",
            "{{ none == tools }}",
            "{{ not tools != none }}",
            "{% set t = tools %}{{ (t) == none }}",
            "{% macro f(t) %}{{ t == none }}{% endmacro %}{{ f(tools) }}",
        ] {
            assert_eq!(template(source).render(&[], &ChatOptions::default()).unwrap(), "True", "{source}");
            let tools = [serde_json::json!({"name": "f"})];
            let given = ChatOptions { tools: &tools, ..ChatOptions::default() };
            assert_eq!(template(source).render(&[], &given).unwrap(), "False", "{source}");
        }
        assert_eq!(template("{{ tools | tojson }}").render(&[], &ChatOptions::default()).unwrap(), "null");
    }

    #[test]
    fn arguments_are_what_the_template_can_write() {
        let render = |write: &str, arguments: &str| {
            let source = format!(
                "{{% for m in messages %}}{{% for c in m.tool_calls or [] %}}{{% set a = c.function.arguments %}}\
                 {write}{{% endfor %}}{{% endfor %}}"
            );
            template(&source).render(&[calling(arguments)], &ChatOptions::default()).unwrap()
        };
        let (json, iterated) = ("{{ a | tojson }}", "{% for k, v in a | items %}{{ k }}:{{ v }};{% endfor %}");
        assert_eq!(render(json, r#"{"b":1, "a": [2]}"#), r#"{"b": 1, "a": [2]}"#);
        assert_eq!(render(json, ""), "{}");
        assert_eq!(render(json, "{not json"), r#""{not json""#);
        assert_eq!(render(iterated, r#"{"b":1,"a":"x"}"#), "b:1;a:x;");
        let joined = "{{ '<' + a + '>' }}";
        assert_eq!(render(joined, r#"{"b":1}"#), r#"<{"b":1}>"#);
        // Where both go, it is an object.
        let either = "{% if a is string %}{{ a }}{% else %}{{ a | tojson }}{% endif %}";
        assert_eq!(render(either, r#"{"b":1}"#), r#"{"b": 1}"#);
    }
}
