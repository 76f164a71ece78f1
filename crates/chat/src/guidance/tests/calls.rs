//! Answers that are held to calls of tools, in all forms that models have for them.

use super::*;
use crate::tools::tests::CHATS;
use crate::{Piece, Reply};

/// Random answers that are held to calls, read back by the reader of replies.
#[test]
fn calls_are_what_the_reader_reads() {
    let parameters = json!({"type": "object", "properties": {
        "place": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "unit": {"$ref": "#/$defs/unit"}}, "required": ["place", "unit"], "additionalProperties": false,
        "$defs": {"unit": {"enum": ["C", "F"]}}});
    let function = |name: &str, parameters: &Value| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    let empty = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let tools = [function("get_weather", &parameters), function("stop_now", &empty)];
    let mut specs = ToolSpec::of(&tools);
    assert!(Form::Calls { tools: specs.clone(), choice: ToolChoice::Auto, parallel: true }.is_free());
    let (mut lengths, mut seen) = ([0; 3], Vec::new());
    for (chat, format) in CHATS.iter().flat_map(|chat| ToolFormat::ALL.map(|format| (chat, format))) {
        let chat = chat.clone().with_tool_format(format);
        let guidance = Guidance::new(&chat).unwrap();
        let choices = [ToolChoice::Required, ToolChoice::Named("get_weather".to_owned()), ToolChoice::Auto];
        for (c, choice) in choices.into_iter().enumerate() {
            specs.iter_mut().for_each(|spec| spec.strict = c == 2);
            let form = Form::Calls { tools: specs.clone(), choice: choice.clone(), parallel: c == 0 };
            let guide = guidance.guide(&form).unwrap_or_else(|error| panic!("{format:?} {choice:?}: {error}"));
            for seed in 0..6 {
                let (mut guide, mut random) = (guide.clone(), picnic_random::stream(seed));
                let mut reply = Reply::held("", Vec::new(), None).with_tools(format, &tools, seed);
                let (mut whole, mut said, mut drawn) = (Piece::default(), Vec::new(), 0);
                while !reply.is_stopped() && drawn < 3000 {
                    let members = members(&guide.allowed());
                    // Ends as soon as it may, after a while.
                    let end = members.iter().copied().find(|&id| chat.ends().contains(id)).filter(|_| drawn > 20);
                    let at = (picnic_random::uniform(&mut random) * members.len() as f64) as usize;
                    let token = end.unwrap_or(members[at]);
                    drawn += 1;
                    guide.accept(token);
                    assert_eq!(guide.failure().reason(), None, "{format:?}");
                    whole += reply.push(&chat, token);
                    said.push(token);
                }
                // Random thinking and random tags go on for ever.
                if !reply.is_stopped() {
                    continue;
                }
                let text = chat.tokenizer().decode(&said, false);
                assert!(c == 2 || !whole.calls.is_empty(), "{format:?} {choice:?} {text}");
                assert!(c == 0 || whole.calls.len() <= 1, "{text}");
                lengths[c] += whole.calls.len();
                seen.push((format, c));
                for call in &whole.calls {
                    let name = call.name.as_deref().unwrap();
                    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| panic!("{text}"));
                    assert!(c != 1 || name == "get_weather");
                    let schema = if name == "get_weather" { &parameters } else { &empty };
                    // Tags hold free text.
                    assert!(format == ToolFormat::Xml || validates(schema, schema, &arguments), "{format:?} {text}");
                }
                assert!(c == 2 || whole.content.trim().is_empty(), "{format:?} {text}");
            }
        }
    }
    // Each form came to its end.
    for (format, c) in ToolFormat::ALL.iter().flat_map(|format| (0..3).map(move |c| (*format, c))) {
        // What ends a parameter does not come by chance.
        assert!(format == ToolFormat::Xml || seen.contains(&(format, c)), "{format:?} {c}");
    }
    assert!(lengths[0] > 60 && lengths[1] > 60, "{lengths:?}");
    // A call as it is usually written.
    for (chat, format) in CHATS.iter().flat_map(|chat| ToolFormat::ALL.map(|format| (chat, format))) {
        let chat = chat.clone().with_tool_format(format);
        let form = Form::Calls { tools: specs.clone(), choice: ToolChoice::Required, parallel: false };
        let mut guide = Guidance::new(&chat).unwrap().guide(&form).unwrap();
        let call = crate::tools::tests::written(format, "get_weather", r#"{"place":"a<b>","unit":"C"}"#);
        let call = call.trim_start_matches("<|start|>assistant").trim_start_matches(crate::tools::PYTHON_TAG);
        for id in chat.tokenizer().encode(&call.replace("[TOOL_CALLS] ", "[TOOL_CALLS]"), false).unwrap() {
            assert!(has(&guide.allowed(), id), "{format:?} {:?} {call}", chat.tokenizer().id_to_token(id));
            guide.accept(id);
        }
        assert!(chat.ends().ids().iter().all(|&id| has(&guide.allowed(), id)), "{format:?}");
    }
    let refused = |choice: ToolChoice, tools: Vec<ToolSpec>| {
        GUIDANCES[0].guide(&Form::Calls { tools, choice, parallel: false }).unwrap_err().to_string()
    };
    assert!(refused(ToolChoice::Named("x".to_owned()), specs.clone()).contains("no tool \"x\""));
    assert!(refused(ToolChoice::Required, Vec::new()).contains("no tools"));
    specs[0].parameters = Some(json!({"properties": {"a": {"not": {}}}}));
    assert!(refused(ToolChoice::Required, specs).contains("not"));
}
