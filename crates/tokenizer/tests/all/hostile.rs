//! Files and ids from outside: any of them may be wrong, none may panic.

use picnic_tokenizer::{DecodeStream, Error, GgufParts, Tokenizer, TrainConfig};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::LazyLock;

static TINY: LazyLock<Tokenizer> = LazyLock::new(|| {
    let config = TrainConfig { vocab_size: 400, ..TrainConfig::default() };
    Tokenizer::train(["Grüße an alle, 世界! 12 + 30 = 42 🤖"; 3], &config).unwrap()
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn any_text_survives(text in any::<String>(), more in "\\PC*|[<|>/abehiknortu]{0,40}") {
        let text = text + &more;
        let ids = TINY.encode(&text, false).unwrap();
        prop_assert_eq!(TINY.decode(&ids, false), text);
    }

    #[test]
    fn any_ids_decode_streamed_as_whole(ids in prop::collection::vec(0u32..450, 0..60), skip: bool) {
        let mut stream = DecodeStream::new(skip);
        let pieces: String = ids.iter().map(|id| stream.push(&TINY, *id)).collect();
        prop_assert_eq!(pieces + &stream.finish(), TINY.decode(&ids, skip));
    }

    /// One change anywhere in a good file gives a tokenizer that works or an error.
    #[test]
    fn a_changed_file_is_read_or_refused(at in any::<prop::sample::Index>(), with in values()) {
        let mut json: Value = serde_json::from_str(&small_json()).unwrap();
        let mut places = Vec::new();
        pointers(&json, String::new(), &mut places);
        let place = at.get(&places);
        *json.pointer_mut(place).unwrap() = with;
        exercise(json.to_string().as_bytes());
    }

    #[test]
    fn a_cut_or_flipped_file_is_read_or_refused(cut in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = small_json().into_bytes();
        let at = cut.index(bytes.len());
        exercise(&bytes[..at]);
        bytes[at] = byte;
        exercise(&bytes);
    }
}

proptest! {
    // Fewer: each case compiles the patterns of a rule.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// A `tokenizer.model` with a change, or any bytes in its place.
    #[test]
    fn a_changed_protocol_buffer_is_read_or_refused(
        name in prop::sample::select(vec!["llama", "symbols", "unigram"]),
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..4),
        cut: bool,
    ) {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/pieces");
        let mut bytes = std::fs::read(golden.join(name).join("tokenizer.model")).unwrap();
        let at = at.index(bytes.len());
        let end = if cut { bytes.len() } else { bytes.len().min(at + with.len()) };
        bytes.splice(at..end, with);
        exercise_folder(&[("tokenizer.model", &bytes)]);
    }

    #[test]
    fn any_vocabulary_and_merges_are_read_or_refused(
        vocab in "\\{(\"[ab]{1,2}\":[0-9],){0,4}\"c\":[0-9]{1,11}\\}|\\PC{0,20}",
        merges in "([abc]{0,2} ?[abc#]{0,2}\\r?\n){0,6}|\\PC{0,20}",
        class in prop::sample::select(vec!["Qwen2Tokenizer", "GPT2Tokenizer", "Nobody"]),
        id in "[0-9]{1,10}",
    ) {
        let config = json!({
            "tokenizer_class": class, "added_tokens_decoder": {id: {"content": "<a>", "special": true}}
        });
        let files = [("vocab.json", &vocab), ("merges.txt", &merges), ("tokenizer_config.json", &config.to_string())];
        exercise_folder(&files.map(|(name, text)| (name, text.as_bytes())));
    }

    #[test]
    fn any_parts_of_a_gguf_file_are_read_or_refused(
        model in prop::sample::select(vec!["llama", "gpt2", "bert"]),
        pre in prop::option::of(prop::sample::select(vec!["default", "llama-bpe", "kimi-k2", "none such"])),
        tokens in prop::collection::vec("[ab▁<]{0,3}|<0x4[0-9]>", 0..12),
        token_types in prop::collection::vec(-1i32..8, 0..12),
        merges in prop::collection::vec("[ab]{0,2} ?[ab]{0,2}", 0..4),
        scores in prop::collection::vec(any::<f32>(), 0..12),
        ids in prop::array::uniform3(prop::option::of(0u32..14)),
        flag in any::<Option<bool>>(),
    ) {
        let all = |n: usize| if flag.is_some() { tokens.len() } else { n };
        let parts = GgufParts {
            model: model.to_owned(),
            pre: pre.map(str::to_owned),
            token_types: token_types.iter().copied().cycle().take(all(token_types.len())).collect(),
            scores: scores.iter().copied().cycle().take(all(scores.len())).collect(),
            tokens: tokens.clone(),
            merges,
            bos: ids[0],
            eos: ids[1],
            unknown: ids[2],
            add_bos: flag,
            add_eos: flag == Some(true),
            add_space_prefix: flag,
        };
        if let Ok(tokenizer) = Tokenizer::from_gguf(parts) {
            exercise_tokenizer(&tokenizer);
        }
    }
}

#[test]
fn ids_beyond_the_vocabulary_give_no_text() {
    assert_eq!(TINY.decode(&[u32::MAX, 1 << 20], false), "");
    assert_eq!(TINY.token_bytes(u32::MAX), None);
    assert!(!TINY.is_special(u32::MAX));
}

#[test]
fn a_folder_without_a_tokenizer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_dir(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

#[test]
fn a_wrong_config_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    TINY.save(dir.path()).unwrap();
    let refused = |config: &str| {
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        Tokenizer::from_dir(dir.path()).unwrap_err().to_string()
    };
    assert!(refused("[]").contains("tokenizer_config.json"));
    assert!(refused("{").contains("tokenizer_config.json"));
    assert!(refused(r#"{"eos_token": "<nowhere>"}"#).contains("<nowhere>"));
}

#[test]
fn other_kinds_of_tokenizer_are_refused_by_name() {
    let refused = |json: &Value| Tokenizer::from_bytes(json.to_string()).unwrap_err().to_string();
    let mut json: Value = serde_json::from_str(&small_json()).unwrap();
    json["decoder"] = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    assert!(refused(&json).contains("WordPiece"), "{}", refused(&json));
    json["model"] = json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"});
    assert!(refused(&json).contains("WordLevel"), "{}", refused(&json));
}

/// Reads a file and, where that works, uses what was read.
fn exercise(json: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_bytes(json) {
        exercise_tokenizer(&tokenizer);
    }
}

fn exercise_folder(files: &[(&str, &[u8])]) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    if let Ok(tokenizer) = Tokenizer::from_dir(dir.path()) {
        exercise_tokenizer(&tokenizer);
    }
}

fn exercise_tokenizer(tokenizer: &Tokenizer) {
    if let Ok(ids) = tokenizer.encode("Hello <|bos|> ab 12 é", true) {
        tokenizer.decode(&ids, true);
    }
    tokenizer.decode(&[0, 1, 2, 300, u32::MAX], false);
    tokenizer.to_json().unwrap();
}

/// A good file with few tokens, so that changes hit what matters.
fn small_json() -> String {
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 0, "content": "<|bos|>", "special": true, "single_word": false,
                          "lstrip": false, "rstrip": false, "normalized": false}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\p{N}|\\s+(?!\\S)"}, "behavior": "Isolated", "invert": false},
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|bos|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [0], "tokens": ["<|bos|>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"<|bos|>": 0, "a": 1, "b": 2, "ab": 3, "l": 4, "o": 5, "Ġ": 6},
            "merges": [["a", "b"]]}
    })
    .to_string()
}

/// The place of every value in a document.
fn pointers(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                pointers(value, format!("{place}/{key}"), places);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                pointers(value, format!("{place}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(place);
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0i64), Just(-1), Just(u32::MAX.into()), Just(i64::MAX), any::<i64>()].prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["", "a", "b", "é", "<|bos|>", "ByteLevel", "(", "a*", "(a*)*b", "NFKC"])
            .prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["a", "b", "c"])),
        Just(json!({"a": 4294967295u32, "b": 4294967295u32})),
    ]
}
