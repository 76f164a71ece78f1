//! A walker draws evenly among the tokens that a guide allows. Wherever it stops, the text has to be of the form; an end
//! has to be allowed wherever the text is, and nowhere else.

mod calls;

use super::*;
use crate::format::tests::bytes;
use picnic_tokenizer::{Tokenizer, TrainConfig};
use proptest::prelude::*;
use regex::Regex;
use serde::de::IgnoredAny;
use std::path::Path;
use std::sync::LazyLock;

/// Tokens after which a walk counts as endless. The longest that was seen had some thousand.
const ENDLESS: usize = 50_000;

/// Single bytes, merged bytes, words and letters in two languages, SentencePiece's pieces with bytes to fall back on.
static CHATS: LazyLock<Vec<ChatFormat>> = LazyLock::new(|| {
    let text =
        r#"{"name": "Анна", "годы": [1, 20, 300], "a": {"b": null, "цвет": "красный"}} true, false; "#.repeat(20);
    let config = TrainConfig { vocab_size: 400, individual_digits: false, ..TrainConfig::default() };
    let merged = Tokenizer::train([text], &config).unwrap();
    vec![ChatFormat::picnic(bytes()), ChatFormat::picnic(merged), folder("models/nano"), folder("golden/pieces/llama")]
});

fn folder(name: &str) -> ChatFormat {
    ChatFormat::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

static GUIDANCES: LazyLock<Vec<Guidance>> =
    LazyLock::new(|| CHATS.iter().map(|chat| Guidance::new(chat).unwrap()).collect());

fn has(words: &[u32], token: u32) -> bool {
    words.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
}

fn members(words: &[u32]) -> Vec<u32> {
    (0..words.len() as u32 * 32).filter(|&id| has(words, id)).collect()
}

/// The ids of `text` that have no other meaning: the longest token that fits, and so on.
fn spell(chat: &ChatFormat, text: &str) -> Vec<u32> {
    let tokens: Vec<(u32, Vec<u8>)> = (0..chat.tokenizer().vocab_size() as u32)
        .filter_map(|id| Some((id, text_of(chat, id)?)))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    let (mut rest, mut ids) = (text.as_bytes(), Vec::new());
    while !rest.is_empty() {
        let fits = tokens.iter().filter(|(_, bytes)| rest.starts_with(bytes));
        let (id, bytes) = fits.max_by_key(|(_, bytes)| bytes.len()).unwrap();
        ids.push(*id);
        rest = &rest[bytes.len()..];
    }
    ids
}

/// Draws evenly until the answer is whole, and returns its bytes. At each step an end is allowed if and only if the
/// text so far `is_whole`.
fn walk(chat: &ChatFormat, guide: &mut Guide, seed: u64, is_whole: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut random = picnic_random::stream(seed);
    let mut text = Vec::new();
    for _ in 0..ENDLESS {
        let allowed = guide.allowed();
        assert_eq!(allowed, guide.allowed(), "asking changes nothing");
        let members = members(&allowed);
        let is_end = |id: &u32| chat.ends().contains(*id);
        assert_eq!(members.iter().any(is_end), is_whole(&text), "{}", String::from_utf8_lossy(&text));
        assert_eq!(members.iter().any(is_end), chat.ends().ids().iter().all(|&id| has(&allowed, id)));
        assert!(members.iter().all(|id| is_end(id) || !chat.tokenizer().is_added(*id)));
        let token = members[(picnic_random::uniform(&mut random) * members.len() as f64) as usize];
        let is_over = guide.accept(token);
        if !is_end(&token) {
            text.extend(chat.tokenizer().token_bytes(token).unwrap());
        }
        assert_eq!(guide.failure().reason(), None, "{}", String::from_utf8_lossy(&text));
        if is_over {
            assert!(is_whole(&text), "{}", String::from_utf8_lossy(&text));
            assert!(members_are_ends(chat, guide));
            return text;
        }
    }
    panic!("endless: {}", String::from_utf8_lossy(&text));
}

fn members_are_ends(chat: &ChatFormat, guide: &Guide) -> bool {
    members(&guide.allowed()) == chat.ends().ids()
}

/// Walks with every vocabulary.
fn walks(form: &Form, seeds: u64, is_whole: &dyn Fn(&[u8]) -> bool) {
    for (chat, guidance) in CHATS.iter().zip(&*GUIDANCES) {
        let guide = guidance.guide(form).unwrap();
        (0..seeds).for_each(|seed| drop(walk(chat, &mut guide.clone(), seed, is_whole)));
    }
}

/// Whether `value` is as `schema` says, for the keywords that stand here. `root` is what `$ref` begins at.
fn validates(root: &Value, schema: &Value, value: &Value) -> bool {
    let number = |key: &str| schema[key].as_f64();
    let keywords = schema.as_object().unwrap().keys();
    keywords.into_iter().all(|key| match (key.as_str(), &schema[key]) {
        ("$defs" | "description" | "title" | "additionalProperties", _) => true,
        ("$ref", to) => validates(root, root.pointer(to.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        ("type", kind) => match kind.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            "boolean" => value.is_boolean(),
            kind => kind == "null" && value.is_null(),
        },
        ("enum", options) => options.as_array().unwrap().contains(value),
        ("const", option) => option == value,
        ("anyOf", options) => options.as_array().unwrap().iter().any(|option| validates(root, option, value)),
        ("required", names) => names.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
        ("properties", properties) => value.as_object().unwrap().iter().all(|(name, member)| {
            match (properties.get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => validates(root, schema, member),
                (None, Value::Bool(false)) => false,
                (None, Value::Null | Value::Bool(true)) => true,
                (None, schema) => validates(root, schema, member),
            }
        }),
        ("items", items) => value.as_array().unwrap().iter().all(|item| validates(root, items, item)),
        ("minItems", _) => value.as_array().unwrap().len() as f64 >= number("minItems").unwrap(),
        ("maxItems", _) => value.as_array().unwrap().len() as f64 <= number("maxItems").unwrap(),
        ("minimum", _) => value.as_f64().unwrap() >= number("minimum").unwrap(),
        ("maximum", _) => value.as_f64().unwrap() <= number("maximum").unwrap(),
        ("minLength", _) => value.as_str().unwrap().chars().count() as f64 >= number("minLength").unwrap(),
        ("maxLength", _) => value.as_str().unwrap().chars().count() as f64 <= number("maxLength").unwrap(),
        ("pattern", pattern) => Regex::new(pattern.as_str().unwrap()).unwrap().is_match(value.as_str().unwrap()),
        (key, _) => panic!("the test does not know {key}"),
    })
}

#[test]
fn json_is_as_its_schema_says() {
    for schema in [
        json!({
            "type": "object", "additionalProperties": false, "required": ["name", "age", "is_tall"],
            "properties": {
                "name": {"type": "string", "maxLength": 12},
                "age": {"type": "integer", "minimum": 0, "maximum": 130},
                "is_tall": {"type": "boolean"},
                "note": {"type": "string", "minLength": 2, "maxLength": 5}
            }
        }),
        json!({"enum": ["красный", "синий", "зелёный", "c\"d\\e"]}),
        json!({
            "type": "array", "minItems": 2, "maxItems": 4,
            "items": {"type": "array", "items": {"enum": [1, "я", null]}, "maxItems": 3}
        }),
        json!({
            "type": "object", "required": ["x", "y"], "additionalProperties": false,
            "properties": {
                "x": {"type": "number", "minimum": -2.5, "maximum": 17.25},
                "y": {"type": "integer", "minimum": -12, "maximum": 305}
            }
        }),
        json!({
            "$ref": "#/$defs/tree",
            "$defs": {"tree": {
                "type": "object", "additionalProperties": false, "required": ["лист"],
                "properties": {
                    "лист": {"type": "boolean"},
                    "дети": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}
                }
            }}
        }),
        json!({"anyOf": [
            {"type": "null"}, {"const": {"a": [true, "b"]}}, {"type": "string", "pattern": "^[а-яё]{3}-[0-9]{2,4}$"}
        ]}),
        json!({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 9}, "properties": {}}),
    ] {
        let whole =
            |text: &[u8]| serde_json::from_slice::<Value>(text).is_ok_and(|value| validates(&schema, &schema, &value));
        walks(&Form::JsonSchema(schema.clone()), 6, &whole);
    }
}

#[test]
fn any_object_is_json() {
    // Without its numbers being read: those that nothing bounds may be too large for any type.
    let whole = |text: &[u8]| text.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok();
    walks(&Form::JsonObject, 6, &whole);
    walks(&Form::JsonSchema(json!({"type": "object"})), 2, &whole);
    let any = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    let chat = &CHATS[1];
    for schema in [json!({}), json!(true)] {
        // A number may always become longer, so its end is not forced.
        let mut guide = GUIDANCES[1].guide(&Form::JsonSchema(schema)).unwrap();
        let text = walk(chat, &mut guide, 3, &|text| any(text));
        assert!(any(&text));
    }
}

#[test]
fn texts_match_their_expression_from_end_to_end() {
    for expression in [
        "yes|no|maybe", "[а-яё]{2,5}[0-9]+", "(foo|bar)+-?[0-9]{1,3}", "a*", r"\p{Cyrillic}{3}|\p{Han}{1,2}",
        "[^\\x00-\\x7F]{1,4}", // two to four bytes each, which the vocabulary of bytes has one by one
        r"[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}T[0-9]{2}:[0-9]{2}", "^да/нет$", r"\\\{\n?\}",
    ] {
        let whole = Regex::new(&format!("^(?:{expression})$")).unwrap();
        let form = Form::Regex(expression.to_owned());
        walks(&form, 6, &|text| std::str::from_utf8(text).is_ok_and(|text| whole.is_match(text)));
    }
}

#[test]
fn texts_are_of_their_grammar() {
    let grammar = r#"
        # Sums in brackets: "<" here and in strings names no token.
        start: sum // <neither>
        sum: term (("+" | "<") term)*
        term: NUMBER | "(" sum ")"
        NUMBER: /[0-9]{1,2}/
    "#;
    /// The rest of `text` after a sum.
    fn sum(text: &[u8]) -> Option<&[u8]> {
        let mut rest = term(text)?;
        while let [b'+' | b'<', more @ ..] = rest {
            rest = term(more)?;
        }
        Some(rest)
    }
    fn term(text: &[u8]) -> Option<&[u8]> {
        if let [b'(', inner @ ..] = text {
            return sum(inner)?.strip_prefix(b")");
        }
        let digits = text.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
        (digits > 0).then(|| &text[digits..])
    }
    walks(&Form::Grammar(grammar.to_owned()), 6, &|text| sum(text).is_some_and(<[u8]>::is_empty));
}

#[test]
fn a_copy_goes_on_the_same_way() {
    let form = Form::JsonObject;
    for (chat, guidance) in CHATS.iter().zip(&*GUIDANCES) {
        let ids = spell(chat, r#"{"имя": "Аня", "a": [1.5e3, {"b": null}, "\n"]}"#);
        let mut guide = guidance.guide(&form).unwrap();
        let (mut copies, mut seen) = (Vec::new(), Vec::new());
        for (at, &id) in ids.iter().enumerate() {
            copies.push(guide.clone());
            seen.push(guide.allowed());
            assert!(has(&guide.allowed(), id), "{at}");
            assert_eq!(guide.accept(id), at + 1 == ids.len());
        }
        for (from, mut copy) in copies.into_iter().enumerate().rev() {
            for (at, &id) in ids.iter().enumerate().skip(from) {
                assert_eq!(copy.allowed(), seen[at], "copied at {from}, at {at}");
                assert_eq!(copy.accept(id), at + 1 == ids.len());
            }
        }
    }
}

#[test]
fn the_form_begins_after_the_thinking() {
    let (chat, guidance) = (&CHATS[0], &GUIDANCES[0]);
    let (open, close) = chat.thinking_tokens("").unwrap();
    let open = open.unwrap();
    let end = chat.ends().ids()[0];
    let [x, brace] = ["x", "{"].map(|text| spell(chat, text)[0]);
    let may = |guide: &Guide, ids: [u32; 5]| ids.map(|id| has(&guide.allowed(), id));
    let ids = [open, close, brace, x, end];

    let mut guide = guidance.guide(&Form::JsonObject).unwrap().after_thinking(Some(open), close);
    assert_eq!(may(&guide, ids), [true, false, true, false, false]);
    let mut direct = guide.clone();
    assert!(!guide.accept(open));
    assert_eq!(may(&guide, ids), [true, true, true, true, false]);
    assert!(!guide.accept(x) && !guide.clone().accept(open));
    assert!(!guide.accept(close));
    let answer = [false, false, true, false, false];
    assert_eq!(may(&guide, ids), answer);
    // An answer that begins with another token does not think any more.
    assert!(!direct.accept(brace));
    assert_eq!(may(&direct, ids), [false; 5]);
    // The prompt has opened the thinking.
    let mut opened = guidance.guide(&Form::JsonObject).unwrap().after_thinking(None, close);
    assert_eq!(may(&opened, ids), [true, true, true, true, false]);
    assert!(!opened.accept(close));
    assert_eq!(may(&opened, ids), answer);
    let whole = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    walk(chat, &mut opened, 1, &whole);
    // An end that comes all the same ends the answer.
    assert!(guidance.guide(&Form::JsonObject).unwrap().after_thinking(None, close).accept(end));
}

#[test]
fn an_answer_that_cannot_go_on_ends_and_says_why() {
    let (chat, guidance) = (&CHATS[0], &GUIDANCES[0]);
    let x = spell(chat, "x")[0];
    // Every x leaves another rule open: llguidance gives up after some hundred.
    let mut guide = guidance.guide(&Form::Grammar("start: many\nmany: \"x\" many | \"x\"\n".to_owned())).unwrap();
    let failure = guide.failure();
    let is_over = (0..ENDLESS).any(|_| guide.accept(x));
    assert!(is_over && failure.reason().is_some_and(|reason| reason.contains("items")), "{failure:?}");
    assert!(members_are_ends(chat, &guide));
    assert!(guide.accept(x) && guide.clone().accept(chat.ends().ids()[0]) && members_are_ends(chat, &guide));

    // A token that is not allowed, which no engine draws.
    let mut guide = guidance.guide(&Form::JsonObject).unwrap();
    assert!(guide.accept(x) && guide.failure().reason().is_some() && members_are_ends(chat, &guide));
    let mut guide = guidance.guide(&Form::JsonObject).unwrap();
    assert!(guide.accept(u32::MAX) && members_are_ends(chat, &guide));
}

#[test]
fn what_cannot_be_kept_to_is_refused_by_name() {
    let refused = |form: Form| GUIDANCES[0].guide(&form).unwrap_err().to_string();
    let schema = |schema: Value| refused(Form::JsonSchema(schema));
    let deep = (0..200).fold(json!({"type": "null"}), |inner, _| json!({"type": "array", "items": inner}));
    for (error, named) in [
        (schema(json!({"not": {"type": "string"}})), "\"not\""),
        (schema(json!({"type": "array", "uniqueItems": true})), "uniqueItems"),
        (schema(json!({"type": "text"})), "text"),
        (schema(json!({"type": "string", "format": "isbn"})), "isbn"),
        (schema(json!({"$ref": "https://example.org/schema"})), "example.org"),
        (schema(json!({"$ref": "#/$defs/nowhere"})), "nowhere"),
        (schema(json!({"type": "integer", "minimum": 3, "maximum": 2})), "JSON schema"),
        (schema(json!(false)), "object"),
        (schema(json!(7)), "object"),
        (schema(json!({"minimum": "ы".repeat(200)})), "llguidance fails"),
        (schema(json!({"enum": ["x".repeat(MAX_SCHEMA)]})), "65536"),
        (refused(Form::Regex("(".to_owned())), "regular expression"),
        (refused(Form::Regex(r"a(?!b)".to_owned())), "regular expression"),
        (refused(Form::Regex(r"a\".to_owned())), "backslash"),
        (refused(Form::Regex(String::new())), "empty"),
        (refused(Form::Regex("a".repeat(MAX_GRAMMAR + 1))), "32768"),
        (refused(Form::Grammar("begin: \"a\"".to_owned())), "start"),
        (refused(Form::Grammar("start: a".to_owned())), "unknown"),
        (refused(Form::Grammar("start: \"<a>\"\n   | <[7]>".to_owned())), "line 2"),
        (refused(Form::Grammar("start: /[<\\/]/ <|eos|>".to_owned())), "line 1"),
        (refused(Form::Grammar("start: @other".to_owned())), "other"),
    ] {
        assert!(error.contains(named) && error.len() < 1000 && !error.contains('\n'), "{named}: {error}");
    }
    // Nested as deep as it may be, which serde_json does not read, but a caller may build.
    assert!(GUIDANCES[0].guide(&Form::JsonSchema(deep)).is_ok());
    let endless = ChatFormat::new(Tokenizer::from_bytes(bytes_json()).unwrap());
    let error = Guidance::new(&endless).err().unwrap().to_string();
    assert!(error.contains("eos_token_id"), "{error}");
}

#[test]
fn what_the_vocabulary_cannot_spell_does_not_come() {
    // Some symbols, and no bytes to spell others with.
    let chat = folder("golden/pieces/symbols");
    let guidance = Guidance::new(&chat).unwrap();
    let guide = |expression: &str| guidance.guide(&Form::Regex(expression.to_owned()));
    let error = guide("🤖").unwrap_err().to_string();
    assert!(error.contains("none of the model's tokens"), "{error}");
    let mut guide = guide("a🤖").unwrap();
    assert!(guide.accept(spell(&chat, "a")[0]) && members_are_ends(&chat, &guide));
    assert!(guide.failure().reason().is_some_and(|reason| reason.contains("none of the model's tokens")));
}

/// A tokenizer without its settings, and so without an end.
fn bytes_json() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    bytes().save(folder.path()).unwrap();
    std::fs::read(folder.path().join("tokenizer.json")).unwrap()
}

/// Whatever comes of a form, some tokens of an answer by it may be drawn.
fn survives(form: &Form, seed: u64) {
    let Ok(mut guide) = GUIDANCES[1].guide(form) else { return };
    let mut random = picnic_random::stream(seed);
    for step in 0..30 {
        if step == 3 {
            guide = guide.clone();
        }
        let members = members(&guide.allowed());
        let token = members[(picnic_random::uniform(&mut random) * members.len() as f64) as usize];
        if guide.accept(token) {
            return;
        }
    }
}

/// What nests deeply, refers in circles or multiplies, as large as it may be.
#[test]
fn no_form_is_too_much() {
    let chain = |count: usize, rule: &dyn Fn(usize) -> String| (0..count).map(rule).collect::<String>();
    let fit = |part: &str| part.repeat(MAX_GRAMMAR / part.len());
    let brackets = |n: usize, inner: &str| format!("{}{inner}{}", "(".repeat(n), ")".repeat(n));
    for expression in [
        brackets(200, "a"),
        brackets(MAX_GRAMMAR / 2 - 1, "a"),
        "(".repeat(MAX_GRAMMAR),
        "((a{1,1000}){1,1000}){1,1000}".to_owned(),
        "(.*a){30}b".to_owned(),
        "(a|b)*a(a|b){200}".to_owned(),
        fit("a?"),
        fit("[ab][cd]"),
        fit("я|"),
        fit(r"\w"),
        fit("(?:a*)*"),
        fit("(.*)"),
        r"[\w\W]{0,100000}".to_owned(),
        "(?P<stop>a)b".to_owned(),
    ] {
        survives(&Form::Regex(expression), 1);
    }
    let name = |n: usize| format!("r{n:x}");
    for grammar in [
        chain(MAX_GRAMMAR / 11, &|n| {
            format!("{}:{}\n", if n == 0 { "start".to_owned() } else { name(n) }, name(n + 1))
        }),
        format!("start: T0\n{}T2000: \"a\"", chain(2000, &|n| format!("T{n}: T{}\n", n + 1))),
        format!("start: {}", brackets(10_000, "\"a\"")),
        "start: start start | \"a\" | \"\"".to_owned(),
        "start: start".to_owned(),
        "start: a{1000000} b{0,1000000}\na: \"x\"\nb: /y/".to_owned(),
        format!("start: a0\n{}a20: \"x\"", chain(20, &|n| format!("a{n}: a{m} a{m}\n", m = n + 1))),
        format!("start: {}", "\"a\" | ".repeat(3000).trim_end_matches(" | ")),
        "start[max_tokens=3]: /.*/".to_owned(),
        "start[stop=\"\"]: /x+/".to_owned(),
        "start[stop=\"ab\"]: /x+/".to_owned(),
        "start: %json {\"type\": \"string\"} %lark { start: \"a\" }".to_owned(),
        "%llguidance {\"allow_invalid_utf8\": true}\nstart: /[\\x80-\\xff]+/".to_owned(),
        "%llguidance {\"no_forcing\": 7}\nstart: \"a\"".to_owned(),
        "%import common.INT\nstart: INT".to_owned(),
    ] {
        survives(&Form::Grammar(grammar), 1);
    }
    let names = |n: usize, value: &dyn Fn(usize) -> Value| -> Value {
        Value::Object((0..n).map(|i| (format!("d{i}"), value(i))).collect())
    };
    let objects = |n: usize| -> Value {
        (0..n).map(|i| json!({"type": "object", "properties": {format!("p{i}"): {"type": "string"}}})).collect()
    };
    for schema in [
        json!({"$ref": "#/$defs/d0", "$defs": names(1800, &|i| json!({"$ref": format!("#/$defs/d{}", i + 1)}))}),
        json!({"$ref": "#/$defs/d0", "$defs": {"d0": {"$ref": "#/$defs/d0"}}}),
        json!({"$ref": "#/$defs/d0", "$defs": {"d0": {"$ref": "#/$defs/d0", "type": "object"}}}),
        json!({"$ref": "#"}),
        json!({"allOf": (0..12).map(|_| json!({"anyOf": objects(20)})).collect::<Value>()}),
        json!({"oneOf": objects(500)}),
        json!({"enum": (0..6000).collect::<Vec<_>>()}),
        json!({"enum": (0..2500).map(|i| format!("слово {i}")).collect::<Vec<_>>()}),
        json!({"type": "object", "properties": names(2000, &|_| json!({}))}),
        json!({"type": "object", "minProperties": 2, "properties": names(500, &|_| json!({}))}),
        json!({"type": "string", "minLength": u64::MAX}),
        json!({"type": "string", "minLength": 100_000, "maxLength": 1_000_000}),
        json!({"type": "array", "minItems": u64::MAX, "items": {"const": 1}}),
        json!({"type": "array", "prefixItems": vec![json!({}); 2000], "items": false}),
        json!({"type": "number", "multipleOf": 1e-300}),
        json!({"type": "number", "multipleOf": 0}),
        json!({"type": "integer", "multipleOf": 1_000_003}),
        json!({"type": "integer", "minimum": -1e300, "maximum": 1e300}),
        json!({"type": "number", "minimum": 1e-300, "maximum": 2e-300}),
        json!({"type": "string", "pattern": "(a{1,1000}){1,1000}"}),
        json!({"patternProperties": {"^a": {}, "^[ab]": {}}}),
        json!({"type": "object", "x-guidance": {"whitespace_pattern": "("}}),
        json!({"const": {"a": {"b": [1, {"c": null}]}}}),
        json!({"required": vec!["a"; 5000]}),
        json!({"properties": 7}),
        json!({"type": []}),
        json!({"enum": []}),
    ] {
        survives(&Form::JsonSchema(schema), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn no_text_breaks_a_form(bytes in prop::collection::vec(any::<u8>(), 0..60), seed: u64) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        survives(&Form::Regex(text.clone()), seed);
        survives(&Form::Grammar(format!("start: {text}")), seed);
        survives(&Form::Grammar(text.clone()), seed);
        survives(&Form::JsonSchema(serde_json::from_str(&text).unwrap_or(json!({"pattern": text}))), seed);
    }

    #[test]
    fn no_mixture_of_parts_breaks_a_form(
        expression in prop::collection::vec(prop::sample::select(vec![
            "(", ")", "[", "]", "^", "$", "a", "я", "\\", "d", "-", "|", "*", "+", "?", "{", "}", "2", ",", ".", "/", "<",
            "(?i)", "(?:", "&", "~", "\n", "\"", "#",
        ]), 0..20),
        grammar in prop::collection::vec(prop::sample::select(vec![
            "start", ":", "a", "A", "\n", "\"x\"", "\"\"", "/y+/", "|", "(", ")", "[", "]", "*", "+", "?", "{1,3}", "<a>",
            "%ignore ", "%json ", "{}", "%llguidance ", "lazy", "stop", "=", "~", "&", "..", "@", "::", "%import common.INT", " ",
        ]), 0..24),
        seed: u64,
    ) {
        survives(&Form::Regex(expression.concat()), seed);
        survives(&Form::Grammar(format!("start: a A\na: \"b\"\nA: /c/\n{}", grammar.concat())), seed);
        survives(&Form::Grammar(format!("start: {}\na: \"b\"\nA: /c/\n", grammar.concat())), seed);
    }

    #[test]
    fn no_mixture_of_keywords_breaks_a_schema(schema in schemas(), seed: u64) {
        survives(&Form::JsonSchema(schema), seed);
    }
}

/// Keywords with values that are often, but not always, of their kind.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-3i64..20).prop_map(Value::from),
        prop::sample::select(vec![0.5, -1e300, 1e-9]).prop_map(Value::from),
        prop::sample::select(vec![
            "", "a", "я\"", "#", "#/$defs/a", "string", "object", "array", "integer", "date", "^a+$"
        ])
        .prop_map(Value::from),
        Just(json!({})),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keyword = prop::sample::select(vec![
            "type", "enum", "const", "properties", "required", "additionalProperties", "patternProperties", "items",
            "prefixItems", "minItems", "maxItems", "minimum", "exclusiveMaximum", "multipleOf", "minLength",
            "maxLength", "pattern", "format", "anyOf", "oneOf", "allOf", "$ref", "$defs", "not", "a", "minProperties",
            "$schema",
        ]);
        prop_oneof![
            prop::collection::vec((keyword, inner.clone()), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}
