//! Answers are put together of parts whose meaning is known, and read back however they are cut.

use super::*;
use crate::format::tests::bytes;
use crate::{ChatFormat, Piece, Reply};
use picnic_tokenizer::TrainConfig;
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;

/// Vocabularies in which marks are text, and in which they are special tokens.
pub(crate) static CHATS: LazyLock<[ChatFormat; 2]> = LazyLock::new(|| {
    let mut special = vec!["<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>", PYTHON_TAG];
    special.extend(CALL.iter().chain(&DEEPSEEK).chain(&MISTRAL).chain(&HARMONY));
    let config = TrainConfig {
        vocab_size: 256 + special.len() + 4,
        special_tokens: special.into_iter().map(str::to_owned).collect(),
        ..TrainConfig::default()
    };
    let calls = ["<|call|>", "<|return|>"];
    let tokenizer = Tokenizer::train([""], &config).unwrap();
    let ends: Vec<u32> = calls.iter().map(|end| tokenizer.token_to_id(end).unwrap()).collect();
    let chat = ChatFormat::picnic(tokenizer).with_end_tokens(ends);
    [ChatFormat::picnic(bytes()), chat]
});

pub(crate) fn tools() -> Vec<Value> {
    let parameters = json!({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}});
    ["f", "get_weather"]
        .map(|name| json!({"type": "function", "function": {"name": name, "parameters": parameters}}))
        .to_vec()
}

/// One call as a model of this format writes it.
pub(crate) fn written(format: ToolFormat, name: &str, arguments: &str) -> String {
    let [begin, end, call, call_end, sep] = DEEPSEEK;
    match format {
        ToolFormat::Hermes => {
            format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {arguments}}}\n</tool_call>")
        }
        ToolFormat::Xml => {
            let members: serde_json::Map<String, Value> = serde_json::from_str(arguments).unwrap();
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let parameter =
                |(key, value): (&String, &Value)| format!("<parameter={key}>\n{}\n</parameter>\n", text(value));
            let parameters: String = members.iter().map(parameter).collect();
            format!("<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>")
        }
        ToolFormat::DeepSeek => {
            format!("{begin}{call}function{sep}{name}\n```json\n{arguments}\n```{call_end}{end}")
        }
        ToolFormat::DeepSeekV31 => format!("{begin}{call}{name}{sep}{arguments}{call_end}{end}"),
        ToolFormat::Llama => format!("{PYTHON_TAG}{{\"name\": \"{name}\", \"parameters\": {arguments}}}"),
        ToolFormat::Mistral => format!("[TOOL_CALLS] [{{\"name\": \"{name}\", \"arguments\": {arguments}}}]"),
        ToolFormat::MistralArgs => format!("[TOOL_CALLS]{name}[ARGS]{arguments}"),
        ToolFormat::Harmony => {
            format!(
                "<|start|>assistant<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}"
            )
        }
    }
}

/// What the lexemes of `pieces` amount to.
fn read(format: ToolFormat, pieces: &[&str]) -> Piece {
    let (mut lexer, mut outs, tools) = (Lexer::new(format.marks().to_vec()), Vec::new(), tools());
    if format == ToolFormat::Harmony {
        let mut reader = HarmonyReader::after("", &tools, 7);
        for piece in pieces {
            lexer.push(piece).iter().for_each(|lexeme| reader.push(lexeme, &mut outs));
        }
        reader.push(&Lexeme::Text(lexer.finish()), &mut outs);
        reader.finish(false, &mut outs);
    } else {
        let mut reader = ToolReader::new(format, &tools, 7);
        for piece in pieces {
            lexer.push(piece).iter().for_each(|lexeme| reader.push(lexeme, &mut outs));
        }
        reader.push(&Lexeme::Text(lexer.finish()), &mut outs);
        reader.finish(false, &mut outs);
    }
    let mut whole = Piece::default();
    for out in outs {
        match out {
            Out::Reasoning(text) => whole.reasoning += &text,
            Out::Content(text) => whole.content += &text,
            Out::Call(call) => whole += Piece { calls: vec![call], ..Piece::default() },
        }
    }
    whole
}

/// The same through the tokens of a vocabulary and a [`Reply`].
fn reply(chat: &ChatFormat, format: ToolFormat, said: &str) -> Piece {
    let (mut reply, mut whole) = (Reply::new("", Vec::new()).with_tools(format, &tools(), 7), Piece::default());
    for id in chat.tokenizer().encode(said, false).unwrap() {
        if !reply.is_stopped() {
            whole += reply.push(chat, id);
        }
    }
    whole += reply.finish();
    assert_eq!(reply.has_calls(), !whole.calls.is_empty());
    whole
}

fn calls(piece: &Piece) -> Vec<(&str, &str)> {
    piece.calls.iter().map(|call| (call.name.as_deref().unwrap(), call.arguments.as_str())).collect()
}

#[test]
fn every_format_is_read() {
    let long = format!(r#"{{"a":"{}"}}"#, "x</tool_call> [ARGS] é\\n".repeat(100));
    for format in ToolFormat::ALL {
        for arguments in ["{}", r#"{"a":"</tool_call>\"}{ <think>","n":1}"#, &long] {
            for chat in &*CHATS {
                // A special token cannot stand in a string.
                let arguments = match chat.tokenizer().token_to_id(CALL[0]) {
                    Some(_) => arguments.replace("</tool_call>", "t").replace("[ARGS]", "a"),
                    None => arguments.to_owned(),
                };
                let said = written(format, "f", &arguments);
                let whole = reply(chat, format, &said);
                let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                assert_eq!(whole.calls.len(), 1, "{format:?} {said} {whole:?}");
                assert_eq!(whole.calls[0].name.as_deref(), Some("f"));
                assert_eq!(parsed(&whole.calls[0].arguments), parsed(&arguments), "{format:?}");
                assert_eq!((whole.content.as_str(), whole.reasoning.as_str()), ("", ""), "{format:?}");
                let id = whole.calls[0].id.clone().unwrap();
                let is_short = matches!(format, ToolFormat::Mistral | ToolFormat::MistralArgs);
                assert_eq!(id.len(), if is_short { 9 } else { 29 }, "{id}");
            }
        }
    }
}

#[test]
fn several_calls_beside_text() {
    let two = |format| written(format, "f", r#"{"n":1}"#) + "\n" + &written(format, "get_weather", r#"{"n":2}"#);
    for format in ToolFormat::ALL {
        let whole = read(format, &[&two(format)]);
        assert_eq!(calls(&whole), [("f", r#"{"n":1}"#), ("get_weather", r#"{"n":2}"#)], "{format:?}");
        assert_eq!((whole.calls[0].index, whole.calls[1].index), (0, 1));
        assert_ne!(whole.calls[0].id, whole.calls[1].id);
        let said = format!("Let me see.\n{}", written(format, "f", "{}"));
        let whole = read(format, &[&said]);
        assert_eq!(whole.calls.len(), 1, "{format:?}");
        assert_eq!(whole.content.trim(), "Let me see.");
    }
    let [begin, end, call, call_end, sep] = DEEPSEEK;
    let many = format!("{begin}{call}f{sep}{{}}{call_end}\n{call}f{sep}{{}}{call_end}{end}");
    for (format, said, count) in [
        (ToolFormat::DeepSeek, many.as_str(), 2),
        (
            ToolFormat::Hermes,
            r#"<tool_call>[{"name":"f","arguments":{}}, {"name":"g","arguments":"{\"a\":1}"}]</tool_call>"#,
            2,
        ),
        (ToolFormat::Hermes, "<tool_call>{\"name\":\"f\"}\n{\"name\":\"f\",\"arguments\":null}</tool_call>", 2),
        (ToolFormat::Hermes, r#"<tool_call>{"type":"function","function":{"name":"f","arguments":{}}}"#, 1),
        (ToolFormat::Hermes, "<tool_call><function=f></function></tool_call>", 1),
        (ToolFormat::Llama, r#"{"name":"f","parameters":{}}; {"name":"f","parameters":{}}"#, 2),
        (ToolFormat::Llama, "\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}", 1),
        (ToolFormat::MistralArgs, "[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{}", 1),
    ] {
        let whole = read(format, &[said]);
        assert_eq!((whole.calls.len(), whole.content.as_str()), (count, ""), "{said} {whole:?}");
    }
}

#[test]
fn what_is_no_call_is_content() {
    for (format, said) in [
        (ToolFormat::Hermes, "<tool_call>{\"name\": \"f\", \"arguments\": {bad}}</tool_call>"),
        (ToolFormat::Hermes, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\""),
        (ToolFormat::Hermes, "a <tool_call>no JSON</tool_call> b"),
        (ToolFormat::Hermes, "<tool_call>{\"arguments\": {}}"),
        (ToolFormat::Hermes, "<tool_call>[1]"),
        (ToolFormat::Hermes, "<tool_call>{\"name\": \"f\", \"arguments\": \"text\"}"),
        (ToolFormat::Hermes, "</tool_call> <tool"),
        (ToolFormat::Xml, "<tool_call>\n<function=f>\n<parameter=a"),
        (ToolFormat::Xml, "<function=unknown>\n<parameter=a>x</parameter></function>"),
        (ToolFormat::Xml, "It writes <function=f, as models do"),
        (ToolFormat::Xml, "<tool_call><function=f>text</function>"),
        (ToolFormat::DeepSeek, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{bad"),
        (ToolFormat::Llama, r#"{"name": "unknown", "parameters": {}}"#),
        (ToolFormat::Llama, r#"{"an": "answer in JSON"}"#),
        (ToolFormat::Llama, "<|python_tag|>print(1)"),
        (ToolFormat::Mistral, "[TOOL_CALLS][{\"name\": 1}]"),
        (ToolFormat::MistralArgs, "[TOOL_CALLS]f[ARGS]{bad"),
        (ToolFormat::Harmony, "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{bad"),
    ] {
        let whole = read(format, &[said]);
        assert_eq!((whole.calls.as_slice(), whole.content.as_str()), ([].as_slice(), said));
    }
    // White space names nothing, however long the call is.
    for arguments in ["{}".to_owned(), format!("{{\"a\": \"{}\"}}", "x".repeat(1000))] {
        let said = written(ToolFormat::Hermes, " ", &arguments);
        let whole = read(ToolFormat::Hermes, &[&said]);
        assert_eq!((whole.calls.as_slice(), whole.content.as_str()), ([].as_slice(), said.as_str()));
    }
    // The first argument is out, and the rest goes to it.
    let long = format!("{{\"a\": \"{}", "x".repeat(1000));
    for format in [ToolFormat::Hermes, ToolFormat::DeepSeekV31, ToolFormat::Harmony] {
        let said = written(format, "f", &long);
        let cut = said.find(&long).unwrap() + long.len();
        assert_eq!(calls(&read(format, &[&said[..cut]])), [("f", long.as_str())], "{format:?}");
    }
}

/// What is out after each character of an answer.
fn streamed(format: ToolFormat, said: &str) -> Vec<Piece> {
    let mut reply = Reply::new("", Vec::new()).with_tools(format, &tools(), 7);
    let mut pieces: Vec<Piece> = said.chars().map(|c| reply.push_text(&CHATS[0], c.encode_utf8(&mut [0; 4]))).collect();
    pieces.push(reply.finish());
    pieces
}

#[test]
fn arguments_come_as_they_are_written() {
    for format in ToolFormat::ALL {
        let pieces = streamed(format, &written(format, "f", r#"{"a": "12345678", "n": 7}"#));
        let count = pieces.iter().filter(|piece| !piece.calls.is_empty()).count();
        match format {
            ToolFormat::Mistral => assert_eq!(count, 1, "a list may still be none"),
            _ => assert!(count > 8, "{format:?} {count}"),
        }
        assert!(pieces.iter().all(|piece| piece.content.is_empty()), "{format:?}");
    }
}

#[test]
fn what_is_cut_off_leaves_no_marks() {
    for format in ToolFormat::ALL {
        let said = written(format, "f", r#"{"a": "x"}"#);
        for cut in (0..said.len()).filter(|&cut| said.is_char_boundary(cut)) {
            let mut whole = Piece::default();
            streamed(format, &said[..cut]).into_iter().for_each(|piece| whole += piece);
            // Of two characters nobody knows what they would have been.
            assert!(whole.content.chars().count() <= 2, "{format:?} {} {whole:?}", &said[..cut]);
            assert!(whole.calls.len() <= 1 && calls(&whole).iter().all(|(name, _)| *name == "f"), "{whole:?}");
            // The arguments so far, and not closed before the model has closed them.
            let arguments = whole.calls.first().map_or("", |call| &call.arguments);
            let is_whole = serde_json::from_str::<Value>(arguments).is_ok();
            assert!(!is_whole || said[..cut].contains("x\"}") || said[..cut].contains("</function>"), "{whole:?}");
        }
    }
    // An answer in JSON is one, even if it is cut off.
    for said in ["{\"ti", "{\"name\": \"Bob\", \"age\": 3", "{\"name\": \"Bo"] {
        let mut whole = Piece::default();
        streamed(ToolFormat::Llama, said).into_iter().for_each(|piece| whole += piece);
        assert_eq!((whole.content.as_str(), whole.calls.len()), (said, 0));
    }
}

#[test]
fn marks_that_models_forget() {
    let call = "<function=f>\n<parameter=a>\nx\n</parameter>\n</function>";
    for said in [
        format!("{call}\n</tool_call>"),
        call.to_owned(),
        format!("I look.\n{call}\n</tool_call>"),
        format!("<tool_call>\n{call}"),
        "<tool_call>\n<function=f>\n<parameter=a>\nx\n</function>\n</tool_call>".to_owned(),
        "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</tool_call>".to_owned(),
    ] {
        let content = if said.starts_with('I') { "I look." } else { "" };
        let whole = read(ToolFormat::Xml, &[&said]);
        assert_eq!((calls(&whole), whole.content.trim()), (vec![("f", r#"{"a":"x"}"#)], content), "{said}");
        // Where the marks are tokens.
        let whole = reply(&CHATS[1], ToolFormat::Xml, &format!("{said}<|eos|>"));
        assert_eq!((calls(&whole), whole.content.trim()), (vec![("f", r#"{"a":"x"}"#)], content), "{said}");
    }
    let two = read(ToolFormat::Xml, &[&format!("<tool_call>\n{call}\n{call}\n</tool_call>")]);
    assert_eq!(two.calls.len(), 2, "{two:?}");
}

/// The recipient may stand before the channel, where an answer begins with it too.
#[test]
fn recipients_stand_on_either_side_of_the_channel() {
    let thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant";
    for chat in &*CHATS {
        for header in [
            " to=functions.f<|channel|>commentary json", " to=functions.f<|channel|>commentary <|constrain|>json",
            "to=f<|channel|>commentary", "<|channel|>commentary to=functions.f <|constrain|>json",
            "<|channel|>analysis to=functions.f code", "<|channel|>commentary to=functions.fjson",
        ] {
            for before in ["", thought] {
                let said = format!("{before}{header}<|message|>{{\"n\": 1}}<|call|>");
                let whole = reply(chat, ToolFormat::Harmony, &said);
                assert_eq!(calls(&whole), [("f", "{\"n\": 1}")], "{said}");
                let reasoning = if before.is_empty() { "" } else { "Hm." };
                assert_eq!((whole.reasoning.as_str(), whole.content.as_str()), (reasoning, ""), "{said}");
            }
        }
        for said in ["to be", " to=", "too", "t"] {
            let whole = reply(chat, ToolFormat::Harmony, &format!("{said}<|return|>"));
            assert_eq!(whole.content, said.trim_start(), "no header");
        }
    }
}

#[test]
fn channels_are_thinking_content_and_calls() {
    let chat = &CHATS[1];
    let said = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>\
        <|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"n\": 1}<|call|>";
    let whole = reply(chat, ToolFormat::Harmony, said);
    assert_eq!((whole.reasoning.as_str(), whole.content.as_str()), ("Hm.", "I look."));
    assert_eq!(calls(&whole), [("f", r#"{"n": 1}"#)]);
    // Without tools too, as the vocabulary says how such a model talks.
    let mut reply = Reply::new("", vec!["m.".to_owned(), "4".to_owned()]);
    let mut whole = Piece::default();
    let said = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>2+2=4!<|return|>";
    for id in chat.tokenizer().encode(said, false).unwrap() {
        if !reply.is_stopped() {
            whole += reply.push(chat, id);
        }
    }
    assert_eq!((whole.reasoning.as_str(), whole.content.as_str()), ("Hm.", "2+2="));
    assert!(reply.reasoning_tokens() > 3 && reply.is_stopped());
    // An answer that goes on with a message.
    for (prompt, reasoning, content) in [
        ("<|start|>assistant<|channel|>analysis<|message|>So", " a", "b"),
        ("<|start|>assistant<|channel|>final<|message|>So", "", " ab"),
        ("<|channel|>final<|message|>x<|end|><|start|>assistant", "", "ab"),
    ] {
        let (mut reply, mut whole) = (Reply::new(prompt, Vec::new()), Piece::default());
        let said = if reasoning.is_empty() { " ab" } else { " a<|end|><|start|>assistant<|channel|>final<|message|>b" };
        for id in chat.tokenizer().encode(&format!("{said}<|return|>"), false).unwrap() {
            whole += reply.push(chat, id);
        }
        assert_eq!((whole.reasoning.as_str(), whole.content.as_str()), (reasoning, content), "{prompt}");
    }
}

#[test]
fn thinking_ends_where_a_call_begins() {
    let call = written(ToolFormat::Hermes, "f", "{}");
    for chat in &*CHATS {
        let whole = reply(chat, ToolFormat::Hermes, &format!("<think>a</think>\n{call}<|eos|>"));
        assert_eq!((whole.reasoning.as_str(), whole.content.as_str(), calls(&whole).len()), ("a", "", 1));
        // Also where it was never closed.
        let whole = reply(chat, ToolFormat::Hermes, &format!("<think>a\n{call}<|eos|>"));
        assert_eq!(calls(&whole), [("f", "{}")]);
        assert!(whole.reasoning.starts_with('a'));
    }
    let mut reply = Reply::new("", vec!["\"".to_owned(), "b".to_owned()]).with_tools(ToolFormat::Hermes, &tools(), 1);
    let mut whole = Piece::default();
    for id in CHATS[0].tokenizer().encode(&format!("a{call}abc"), false).unwrap() {
        whole += reply.push(&CHATS[0], id);
    }
    assert_eq!((whole.content.as_str(), whole.calls.len()), ("aa", 1), "stop strings end content, not calls");
}

/// Parts of answers, right and wrong.
fn parts(format: ToolFormat) -> impl Strategy<Value = String> {
    let long = format!(r#"{{"a":"{}","n":[1]}}"#, "y\\\"".repeat(300));
    let call = written(format, "f", r#"{"a":"é}","n":-1.5}"#);
    let mut known = vec![call.clone(), written(format, "get_weather", &long), format!("{call}\n")];
    known.extend(format.marks().iter().map(|mark| (*mark).to_owned()));
    let pieces = [
        "{\"name\": \"f\", \"arguments\": {", "}", "}}", "\"", "[", "]", "\n", " ", "text", "functions.f", "analysis",
        "final", "```json\n", "<function=f>", "<parameter=a>1</parameter>", "</function>", "é", "<",
        "{\"name\":\"f\"}",
    ];
    known.extend(pieces.map(str::to_owned));
    let cut =
        |text: &String, at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    prop_oneof![
        3 => prop::sample::select(known),
        1 => (0usize..900).prop_map(move |at| call[..cut(&call, at % call.len())].to_owned()),
        1 => (0usize..900).prop_map(move |at| {
            let text = written(format, "f", &long);
            text[..cut(&text, at)].to_owned()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_cut_of_the_stream_gives_the_same(
        (format, parts) in prop::sample::select(&ToolFormat::ALL[..])
            .prop_flat_map(|format| (Just(format), prop::collection::vec(parts(format), 0..7))),
        cuts in prop::collection::vec(0usize..2000, 0..20),
    ) {
        let text = parts.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
        let whole = read(format, &[&text]);
        prop_assert_eq!(&read(format, &pieces), &whole);
        let single: Vec<String> = text.chars().map(String::from).collect();
        prop_assert_eq!(&read(format, &single.iter().map(String::as_str).collect::<Vec<_>>()), &whole);
        // Through tokens of one byte each.
        let whole = reply(&CHATS[0], format, &text);
        let mut in_one = Reply::new("", Vec::new()).with_tools(format, &tools(), 7);
        let mut sum = in_one.push_text(&CHATS[0], &text);
        sum += in_one.finish();
        prop_assert_eq!(sum, whole);
    }

    /// Calls and text of known meaning: each comes out as what it is, in order, and nothing else does.
    #[test]
    fn what_was_put_in_comes_out(
        format in prop::sample::select(&ToolFormat::ALL[..]),
        sequence in prop::collection::vec(prop_oneof![
            ("[a-z .]{0,8}[a-z]").prop_map(Err),
            (prop::sample::select(&["f", "get_weather"][..]), "[a-zé <>/{}\\[\\]\\\\\"\n]{0,12}", any::<i64>(), any::<bool>())
                .prop_map(|(name, text, n, long)| {
                    let text = if long { text.repeat(80) } else { text };
                    Ok((name, json!({"a": text, "n": n}).to_string()))
                }),
        ], 0..5),
    ) {
        let (mut said, mut content, mut expected) = (String::new(), String::new(), Vec::new());
        for part in &sequence {
            match part {
                Err(text) if format == ToolFormat::Harmony => {
                    said += &format!("<|start|>assistant<|channel|>final<|message|>{text}<|end|>");
                    content += text;
                }
                Err(text) => {
                    said += text;
                    content += text;
                }
                Ok((name, arguments)) => {
                    said += &written(format, name, arguments);
                    expected.push((*name, serde_json::from_str::<Value>(arguments).unwrap()));
                }
            }
        }
        let whole = read(format, &[&said]);
        let found: Vec<(&str, Value)> =
            calls(&whole).into_iter().map(|(name, json)| (name, serde_json::from_str(json).unwrap())).collect();
        // Tags of parameters trim a line break at either end.
        if format != ToolFormat::Xml {
            prop_assert_eq!(found, expected, "{}", said);
        } else {
            prop_assert_eq!(found.len(), expected.len(), "{}", said);
        }
        prop_assert_eq!(whole.content.replace(' ', ""), content.replace(' ', ""));
    }

    #[test]
    fn nothing_is_lost_where_nothing_is_a_call(text in "[a-z {}\":,<>\n]{0,60}") {
        for format in ToolFormat::ALL {
            let whole = read(format, &[&text]);
            prop_assert_eq!((whole.calls.len(), whole.content.trim()), (0, text.trim()));
        }
    }
}
