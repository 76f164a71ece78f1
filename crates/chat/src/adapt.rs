//! What a template does not know, said in what it does know.
//!
//! Clients send roles and calls of tools that many templates have never heard of. So a template is shown a short
//! conversation with each and watched. What does not come out is rewritten before the real conversation is rendered:
//!
//! * `developer` becomes `system` where the template does not name it.
//! * Tools that the template does not list are described in the system message, with the form of a call
//!   ([`ToolFormat`]); where a template refuses a system message, in the first question.
//! * Calls in an assistant's turn become text of that form, and a tool's result becomes a turn of the user between
//!   `<tool_response>` and `</tool_response>`, where the template does not write them.
//! * Content that is not there is the empty text in a turn that calls nothing.
//! * A template may write calls in a form that is not read here. Then the model would call and nobody would notice: it
//!   is told of tools in words instead, and asked for Hermes' form.
//! * Mistral's templates refuse ids that are not nine letters and digits: other ids become such.
//!
//! A conversation that needs none of this is rendered as it came.

use crate::tools::{HarmonyReader, Lexeme, Lexer, Out, ToolReader};
use crate::{ChatOptions, ChatTemplate, FunctionCall, Message, Role, ToolCall, ToolFormat, python, tools};
use serde_json::{Value, json};

/// What a template writes of what it is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    developer: bool,
    tools: bool,
    calls: bool,
    results: bool,
}

impl Known {
    /// Shows `template` one of each. What it writes of tools does not count unless its calls are read (`reads_calls`).
    pub(crate) fn of(template: &ChatTemplate, reads_calls: bool) -> Known {
        let source = template.source();
        let writes = |messages: &[Message], tools: &[Value], words: &[&str]| {
            let options = ChatOptions { tools, ..ChatOptions::default() };
            let rendered = template.render(messages, &options);
            rendered.is_ok_and(|text| words.iter().all(|word| text.contains(word)))
        };
        let mentions_tools = reads_calls && source.contains("tool");
        let (tools, turns) = shown();
        let calls = mentions_tools && writes(&turns[..2], &tools, &["picnic_tool", "basket", "full"]);
        Known {
            developer: source.contains("developer"),
            tools: reads_calls && template.has_tool_use()
                || mentions_tools && writes(&turns[..1], &tools, &["picnic_tool"]),
            calls,
            results: calls && writes(&turns, &tools, &["Picnic's result"]),
        }
    }

    /// Whether the template has to be told of `tools` in words.
    pub(crate) fn describes(self, tools: &[Value]) -> bool {
        !tools.is_empty() && !self.tools
    }

    /// `messages` in what the template knows, but for the tools themselves.
    pub(crate) fn adapted(self, format: ToolFormat, messages: &[Message]) -> Vec<Message> {
        let mut adapted: Vec<Message> = Vec::with_capacity(messages.len());
        let mut after_result = false;
        for message in messages {
            let mut message = message.clone();
            if message.role == Role::Developer && !self.developer {
                message.role = Role::System;
            }
            if message.tool_calls.is_empty() {
                message.content.get_or_insert_default();
            } else if !self.calls {
                let calls = std::mem::take(&mut message.tool_calls);
                let content = message.content.get_or_insert_default();
                for call in calls {
                    if !content.is_empty() {
                        content.push('\n');
                    }
                    content.push_str(&written(format, &call.function));
                }
            }
            if matches!(format, ToolFormat::Mistral | ToolFormat::MistralArgs) {
                let ids = message.tool_calls.iter_mut().map(|call| &mut call.id);
                ids.chain([&mut message.tool_call_id]).flatten().for_each(shorten);
            }
            let is_result = message.role == Role::Tool && !self.results;
            if is_result {
                let text = message.content.unwrap_or_default();
                let text = format!("<tool_response>\n{text}\n</tool_response>");
                // Results of several calls are one turn.
                match adapted.last_mut().and_then(|last| last.content.as_mut()).filter(|_| after_result) {
                    Some(content) => {
                        content.push('\n');
                        content.push_str(&text);
                    }
                    None => adapted.push(Message::user(text)),
                }
            } else {
                adapted.push(message);
            }
            after_result = is_result;
        }
        adapted
    }
}

/// A tool, and a conversation in which it is called and answers.
fn shown() -> ([Value; 1], [Message; 3]) {
    let parameters = json!({"type": "object", "properties": {"basket": {"type": "string", "description": "b"}}});
    let function = json!({"name": "picnic_tool", "description": "d", "parameters": parameters});
    let call = FunctionCall { name: "picnic_tool".to_owned(), arguments: r#"{"basket": "full"}"#.to_owned() };
    let call = ToolCall { id: Some("picnic000".to_owned()), kind: "function".to_owned(), function: call };
    let calling = Message { role: Role::Assistant, tool_calls: vec![call], ..Message::default() };
    let result = Message { tool_call_id: Some("picnic000".to_owned()), ..Message::new(Role::Tool, "Picnic's result") };
    ([json!({"type": "function", "function": function})], [Message::user("Picnic's question"), calling, result])
}

/// The form of the calls that `template` writes: `guess`, if a call in it is read so, or the first other one in which
/// it is; `None` if it is not read at all. A template that writes no calls leaves it at `guess`, unless it lists tools
/// and says nothing of that form: then the model has one of its own.
pub(crate) fn form(template: &ChatTemplate, guess: ToolFormat) -> Option<ToolFormat> {
    let (tools, turns) = shown();
    let written = [[].as_slice(), &tools].into_iter().find_map(|tools| {
        let options = ChatOptions { tools, ..ChatOptions::default() };
        let asking = ChatOptions { add_generation_prompt: true, ..options };
        let prompt = template.render(&turns[..1], &asking).ok()?;
        let whole = template.render(&turns[..2], &options).ok()?;
        let is_written = ["picnic_tool", "basket", "full"].iter().all(|word| whole.contains(word));
        is_written.then_some((prompt, whole))
    });
    let Some((prompt, whole)) = written else {
        let source = template.source();
        let is_shown = guess != ToolFormat::Hermes || guess.marks().iter().any(|mark| source.contains(mark));
        let options = ChatOptions { tools: &tools, ..ChatOptions::default() };
        let lists = || template.render(&turns[..1], &options).is_ok_and(|text| text.contains("picnic_tool"));
        return (is_shown || !lists()).then_some(guess);
    };
    // What goes beyond the prompt, its marks whole, or else what stands behind the question.
    let same = prompt.chars().zip(whole.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum();
    let begun = whole[..same].rfind(['<', '[']).filter(|&at| !whole[at..same].contains(['>', ']', ' ', '\n']));
    let behind = whole.rfind("Picnic's question").unwrap_or(0);
    let answers = [&whole[begun.unwrap_or(same)..], &whole[behind..]];
    // Qwen3-Coder's form without its mark is another one, and is taken for it only where a known tool is called.
    let known = |format: ToolFormat| if format == ToolFormat::Xml { &[] } else { tools.as_slice() };
    let is_read = |format: &ToolFormat| answers.iter().any(|answer| calls(*format, answer, known(*format)));
    let all = std::iter::once(guess).chain(ToolFormat::ALL);
    all.into_iter().find(is_read)
}

/// Whether the call of [`shown`] is what is read in `answer`.
fn calls(format: ToolFormat, answer: &str, tools: &[Value]) -> bool {
    let (mut lexer, mut outs) = (Lexer::new(format.marks().to_vec()), Vec::new());
    let mut lexemes = lexer.push(answer);
    lexemes.push(Lexeme::Text(lexer.finish()));
    if format == ToolFormat::Harmony {
        let mut reader = HarmonyReader::after("", tools, 0);
        lexemes.iter().for_each(|lexeme| reader.push(lexeme, &mut outs));
        reader.finish(false, &mut outs);
    } else {
        let mut reader = ToolReader::new(format, tools, 0);
        lexemes.iter().for_each(|lexeme| reader.push(lexeme, &mut outs));
        reader.finish(false, &mut outs);
    }
    let (mut names, mut arguments) = (Vec::new(), String::new());
    for out in outs {
        if let Out::Call(call) = out {
            names.extend(call.name);
            arguments += &call.arguments;
        }
    }
    let arguments: Option<Value> = serde_json::from_str(&arguments).ok();
    names == ["picnic_tool"] && arguments == Some(json!({"basket": "full"}))
}

/// `messages` with `instructions` in the system message.
pub(crate) fn with_system(mut messages: Vec<Message>, instructions: &str) -> Vec<Message> {
    match messages.first_mut().filter(|first| matches!(first.role, Role::System | Role::Developer)) {
        Some(first) => {
            let content = first.content.get_or_insert_default();
            *content = [content.as_str(), instructions].join(if content.is_empty() { "" } else { "\n\n" });
        }
        None => messages.insert(0, Message::system(instructions)),
    }
    messages
}

/// `messages` with `instructions` before the first question, for templates that refuse a system message.
pub(crate) fn with_question(mut messages: Vec<Message>, instructions: &str) -> Vec<Message> {
    match messages.iter_mut().find(|message| message.role == Role::User) {
        Some(message) => {
            let question = message.content.get_or_insert_default();
            *question = format!("{instructions}\n\n{question}");
        }
        None => messages.push(Message::user(instructions)),
    }
    messages
}

/// What a model is told of `tools` whose template lists none.
pub(crate) fn instructions(format: ToolFormat, tools: &[Value]) -> String {
    let listed: Vec<String> = tools.iter().filter_map(|tool| python::dumps(tool).ok()).collect();
    let example = FunctionCall { name: "NAME".to_owned(), arguments: r#"{"PARAMETER": "VALUE"}"#.to_owned() };
    format!(
        "You can call these functions, each described by a line of JSON:\n<tools>\n{}\n</tools>\n\
         To call one, write this with the function's name and an object of its arguments, and nothing after it:\n{}\n\
         You may make several such calls in a row. Each result comes back between <tool_response> and </tool_response>. \
         If you need no function, answer in words.",
        listed.join("\n"),
        written(format, &example)
    )
}

/// A call as text of the form.
fn written(format: ToolFormat, call: &FunctionCall) -> String {
    let FunctionCall { name, arguments } = call;
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments.trim() };
    let object = |key: &str| format!("{{\"name\": {}, \"{key}\": {arguments}}}", Value::from(name.as_str()));
    let [begin, end, call_begin, call_end, sep] = tools::DEEPSEEK;
    match format {
        ToolFormat::Hermes | ToolFormat::Harmony => format!("<tool_call>\n{}\n</tool_call>", object("arguments")),
        ToolFormat::Xml => match serde_json::from_str::<serde_json::Map<String, Value>>(arguments) {
            Ok(members) => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let parameter = |(key, value)| format!("<parameter={key}>\n{}\n</parameter>\n", text(value));
                let parameters: String = members.iter().map(parameter).collect();
                format!("<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>")
            }
            Err(_) => format!("<tool_call>\n{}\n</tool_call>", object("arguments")),
        },
        ToolFormat::DeepSeek => {
            format!("{begin}{call_begin}function{sep}{name}\n```json\n{arguments}\n```{call_end}{end}")
        }
        ToolFormat::DeepSeekV31 => format!("{begin}{call_begin}{name}{sep}{arguments}{call_end}{end}"),
        ToolFormat::Llama => object("parameters"),
        ToolFormat::Mistral => format!("[TOOL_CALLS][{}]", object("arguments")),
        ToolFormat::MistralArgs => format!("[TOOL_CALLS]{name}[ARGS]{arguments}"),
    }
}

/// Makes nine letters and digits of an id that is something else.
fn shorten(id: &mut String) {
    if id.len() != 9 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        // FNV-1a.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        *id = tools::id(ToolFormat::Mistral, id.bytes().fold(0xcbf2_9ce4_8422_2325, hash), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChatFormat;
    use crate::format::tests::bytes;

    const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}\
        {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    fn conversation() -> Vec<Message> {
        serde_json::from_value(json!([
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
                {"id": "2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "1", "content": "sun"},
            {"role": "tool", "tool_call_id": "2", "content": null},
            {"role": "assistant", "content": null},
            {"role": "user", "content": "Again?"}
        ]))
        .unwrap()
    }

    fn tools() -> Vec<Value> {
        vec![json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}})]
    }

    fn prompt(chat: &ChatFormat, messages: &[Message], tools: &[Value]) -> String {
        let options = ChatOptions { add_generation_prompt: true, tools, ..ChatOptions::default() };
        chat.prompt(messages, &options).unwrap().text
    }

    /// A template that lists tools and writes calls as `call` says.
    fn with_calls(call: &str) -> String {
        format!(
            "{{% for t in tools or [] %}}{{{{ t | tojson }}}}{{% endfor %}}{{% for m in messages %}}\
             {{{{ '<|user|>' if m.role == 'user' else '<|assistant|>' }}}}{{{{ m.content or '' }}}}\
             {{% for c in m.tool_calls or [] %}}{{% set f = c.function %}}{call}{{% endfor %}}{{% endfor %}}\
             {{% if add_generation_prompt %}}<|assistant|>{{% endif %}}"
        )
    }

    #[test]
    fn a_form_is_what_the_template_writes() {
        let json = "{{ f.arguments | tojson }}";
        let object = |key: &str| format!("{{\"name\": \"{{{{ f.name }}}}\", \"{key}\": {json}}}");
        let tags = "<function={{ f.name }}>{% for k in f.arguments %}<parameter={{ k }}>\n{{ f.arguments[k] }}\n</parameter>\
            {% endfor %}</function>";
        let pairs = "<k>{{ k }}</k>{{ f.arguments[k] }}";
        for (call, form) in [
            (format!("<tool_call>\n{}\n</tool_call>", object("arguments")), Some(ToolFormat::Hermes)),
            (format!("<tool_call>\n{tags}\n</tool_call>"), Some(ToolFormat::Xml)),
            (format!("[TOOL_CALLS][{}]", object("arguments")), Some(ToolFormat::Mistral)),
            (format!("[TOOL_CALLS]{{{{ f.name }}}}[ARGS]{json}"), Some(ToolFormat::MistralArgs)),
            // Nothing in the source tells this one, only what it writes.
            (object("parameters"), Some(ToolFormat::Llama)),
            // Marks that are known around what is not.
            (format!("<tool_call>{{{{ f.name }}}}{{% for k in f.arguments %}}{pairs}{{% endfor %}}</tool_call>"), None),
            (format!("<calls>[{}]</calls>", object("arguments")), None),
            (format!("<calls>{tags}</calls>"), None),
            // Tools are listed, and how they are called is not said.
            (String::new(), None),
            ("{# <tool_call> #}".to_owned(), Some(ToolFormat::Hermes)),
        ] {
            let chat = ChatFormat::new(bytes()).with_template(&with_calls(&call)).unwrap();
            assert_eq!(chat.tool_format(), form.unwrap_or_default(), "{call}");
            let is_said = chat.notes().any(|note| note.contains("not read here"));
            assert_eq!(is_said, form.is_none(), "{call}");
            // The model is told of tools by its template, or in words with the form that is read.
            let text = prompt(&chat, &conversation()[1..3], &tools());
            assert_eq!(text.contains("You can call these functions"), form.is_none(), "{call} {text}");
            let in_words = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}";
            assert!(form.is_some() || text.contains(in_words), "{text}");
        }
    }

    #[test]
    fn templates_without_tools_are_told_in_words() {
        let called = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n\
            <tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>";
        let results = "<tool_response>\nsun\n</tool_response>\n<tool_response>\n\n</tool_response>";
        let picnic = ChatFormat::picnic(bytes());
        let text = prompt(&picnic, &conversation(), &tools());
        let head = "<|bos|>Be brief.\n\nYou can call these functions";
        assert!(text.starts_with(head) && text.contains(r#""name": "f""#), "{text}");
        let tail = format!(
            "<|user|>Weather?<|assistant|>{called}<|eos|><|user|>{results}<|assistant|><|eos|><|user|>Again?<|assistant|>"
        );
        assert!(text.ends_with(&tail), "{text}");
        let chatml = picnic.with_template(CHATML).unwrap();
        let text = prompt(&chatml, &conversation(), &tools());
        assert!(text.starts_with("<|im_start|>system\nBe brief.\n\nYou can"), "{text}");
        assert!(
            text.contains(&format!("<|im_start|>assistant\n{called}<|im_end|>\n<|im_start|>user\n{results}<|im_end|>"))
        );
        // Without tools, nothing is said of them.
        assert!(prompt(&chatml, &conversation(), &[]).starts_with("<|im_start|>system\nBe brief.<|im_end|>"));
        let refusing =
            "{% for m in messages %}{{ raise_exception('no') if m.role == 'system' }}[{{ m.content }}]{% endfor %}";
        let text = prompt(&picnic.with_template(refusing).unwrap(), &[Message::user("q")], &tools());
        assert!(text.starts_with("[You can") && text.ends_with("q]"), "{text}");
    }

    #[test]
    fn what_a_template_knows_it_gets() {
        let knowing = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<{{ m.role }}>\
            {% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% else %}{{ m.content }}\
            {% endfor %}{% endfor %}{# developer #}";
        let text = prompt(&ChatFormat::picnic(bytes()).with_template(knowing).unwrap(), &conversation(), &tools());
        assert!(text.starts_with(r#"[{"type": "function""#) && text.contains("<developer>Be brief."), "{text}");
        assert!(text.contains("<tool>sun<tool><assistant><user>Again?"), "{text}");
    }

    #[test]
    fn ids_are_what_mistral_takes() {
        let refusing = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ raise_exception('id') if c.id | length != 9 }}\
            [TOOL_CALLS]{{ c | tojson }}{% endfor %}{{ m.content }}{{ m.tool_call_id }}{% endfor %}";
        let text = prompt(&ChatFormat::picnic(bytes()).with_template(refusing).unwrap(), &conversation(), &[]);
        let id = text.split("\"id\": \"").nth(1).unwrap()[..9].to_owned();
        assert!(text.contains(&format!("sun{id}")), "{text}");
    }
}
