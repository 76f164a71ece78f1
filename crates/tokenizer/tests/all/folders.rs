//! Tokenizers in folders as they are found: which file is the vocabulary, and what the files beside it add.

use std::fs;
use std::path::Path;

use picnic_tokenizer::{Tokenizer, TrainConfig};
use serde_json::{Value, json};

/// The letters a to e and three merges, and the files that a test adds.
fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in files {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn vocab() -> Value {
    json!({"a": 0, "b": 1, "c": 2, "Ġ": 3, "1": 4, "ab": 5, "Ġa": 6, "Ã": 7, "«": 8, "Ì": 9, "Ī": 10, "e": 11, "<": 12, ">": 13})
}

const MERGES: &str = "#version: 0.2\na b\n\nĠ a\n";

fn tokens(tokenizer: &Tokenizer, text: &str) -> String {
    let ids = tokenizer.encode(text, false).unwrap();
    ids.into_iter().map(|id| tokenizer.id_to_token(id).unwrap()).collect::<Vec<_>>().join("|")
}

#[test]
fn vocab_and_merges_are_read_by_their_class() {
    let read = |config: Value| {
        let files = [("vocab.json", vocab()), ("merges.txt", MERGES.into()), ("tokenizer_config.json", config)];
        Tokenizer::from_dir(folder(&files).path()).unwrap()
    };
    let gpt2 = read(json!({"tokenizer_class": "GPT2Tokenizer"}));
    assert_eq!(gpt2.notes(), [""; 0]);
    assert_eq!(tokens(&gpt2, "ab a 11"), "ab|Ġa|Ġ|1|1");
    // Decomposed ë stays as it is, or is composed.
    assert_eq!(tokens(&gpt2, "e\u{308}"), "e|Ì|Ī");
    let qwen2 = read(json!({"tokenizer_class": "Qwen2Tokenizer"}));
    assert_eq!(tokens(&qwen2, "e\u{308}"), "Ã|«");
    assert_eq!(tokens(&qwen2, "ab a"), "ab|Ġa");
    let prefixed = read(json!({"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": true}));
    assert_eq!(tokens(&prefixed, "a"), "Ġa");
    let unknown = read(json!({}));
    assert!(unknown.notes()[0].contains("GPT-2"), "{:?}", unknown.notes());
}

#[test]
fn the_model_type_stands_in_for_a_missing_class() {
    let files =
        [("vocab.json", vocab()), ("merges.txt", MERGES.into()), ("config.json", json!({"model_type": "qwen2"}))];
    let tokenizer = Tokenizer::from_dir(folder(&files).path()).unwrap();
    assert_eq!(tokens(&tokenizer, "e\u{308}"), "Ã|«");
    assert!(tokenizer.notes()[0].contains("model_type"));
}

#[test]
fn what_was_read_from_other_files_is_saved_as_tokenizer_json() {
    let config = json!({
        "tokenizer_class": "GPT2Tokenizer", "eos_token": "<end>",
        "added_tokens_decoder": {"14": {"content": "<end>", "special": true}}
    });
    let files = [("vocab.json", vocab()), ("merges.txt", MERGES.into()), ("tokenizer_config.json", config)];
    let before = Tokenizer::from_dir(folder(&files).path()).unwrap();
    let saved = tempfile::tempdir().unwrap();
    before.save(saved.path()).unwrap();
    let json: Value = serde_json::from_slice(&fs::read(saved.path().join("tokenizer.json")).unwrap()).unwrap();
    assert_eq!(json["model"]["type"], "BPE");
    assert_eq!(json["model"]["merges"], json!([["a", "b"], ["Ġ", "a"]]));
    assert_eq!(json["added_tokens"][0]["content"], "<end>");
    assert_eq!(json["added_tokens"][0]["id"], 14);
    assert_eq!(json["decoder"]["type"], "ByteLevel");
    let after = Tokenizer::from_dir(saved.path()).unwrap();
    assert_eq!((after.eos(), after.vocab_size()), (Some(14), 15));
    assert_eq!(after.encode("ab a<end>", false).unwrap(), before.encode("ab a<end>", false).unwrap());
}

/// A tokenizer.json of ours, 264 tokens, with the settings that a test adds.
fn with_config(config: Value, more: &[(&str, Value)]) -> picnic_tokenizer::Result<Tokenizer> {
    let tokenizer = Tokenizer::train::<&str>([], &TrainConfig { vocab_size: 264, ..TrainConfig::default() }).unwrap();
    let json: Value = serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap();
    let files = [("tokenizer.json", json), ("tokenizer_config.json", config)];
    Tokenizer::from_dir(folder(&[&files[..], more].concat()).path())
}

#[test]
fn tokens_that_only_the_config_has_are_added() {
    let tokenizer = with_config(
        json!({"added_tokens_decoder": {
            "265": {"content": "<b>", "special": false, "normalized": false},
            "264": {"content": "<a>", "special": true}
        }}),
        &[],
    )
    .unwrap();
    assert_eq!(tokenizer.encode("<a><b>", false).unwrap(), [264, 265]);
    assert!(tokenizer.is_special(264) && !tokenizer.is_special(265));
    assert_eq!(tokenizer.decode(&[264, 265], true), "<b>");
    assert_eq!(tokenizer.notes(), [""; 0]);
}

/// Where the vocabulary's own added tokens lie behind its words, the library counts them anew.
#[test]
fn an_id_after_a_gap_is_kept_and_moves_no_other() {
    let words = json!({"a": 0, "b": 1});
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    let json = json!({
        "added_tokens": [added(2, "<x>"), added(3, "<y>")],
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": words, "merges": []}
    });
    let config = json!({"added_tokens_decoder": {"300": {"content": "<a>", "special": true}}});
    let dir = folder(&[("tokenizer.json", json), ("tokenizer_config.json", config)]);
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.encode("a<x><y><a>b", false).unwrap(), [0, 2, 3, 300, 1]);
    assert_eq!(tokenizer.vocab_size(), 301);
    let again = Tokenizer::from_bytes(tokenizer.to_json().unwrap()).unwrap();
    assert_eq!(again.encode("a<x><y><a>b", false).unwrap(), [0, 2, 3, 300, 1]);
}

#[test]
fn ids_that_contradict_the_vocabulary_are_noted() {
    let tokenizer = with_config(
        json!({"added_tokens_decoder": {
            "7": {"content": "<new>", "special": true},
            "999": {"content": "<think>", "special": true}
        }}),
        &[],
    )
    .unwrap();
    assert_eq!(tokenizer.token_to_id("<new>"), None);
    assert_eq!(tokenizer.token_to_id("<think>"), Some(4));
    // The flags are those of the config all the same, as in `transformers`.
    assert!(tokenizer.is_special(4));
    let notes = tokenizer.notes().join("\n");
    assert!(notes.contains("<new>") && notes.contains("999") && notes.lines().count() == 2, "{notes}");
}

#[test]
fn named_and_listed_tokens_are_special() {
    let config = json!({
        "bos_token": {"content": "<|bos|>", "lstrip": false}, "eos_token": "</answer>",
        "additional_special_tokens": ["<think>", "<extra>"], "pad_token": "[PAD]",
        "extra_special_tokens": {"answer_token": "<answer>"}
    });
    let tokenizer = with_config(config, &[]).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(0), Some(7)));
    assert!(tokenizer.is_special(4) && tokenizer.is_special(6) && tokenizer.is_special(7) && !tokenizer.is_special(5));
    assert_eq!(tokenizer.encode("<extra>", false).unwrap(), [264]);
    assert!(tokenizer.notes()[0].contains("<extra>"), "{:?}", tokenizer.notes());
}

#[test]
fn old_folders_have_two_more_files() {
    let old = [
        ("special_tokens_map.json", json!({"eos_token": {"content": "<end>", "normalized": false}})),
        ("added_tokens.json", json!({"<end>": 264, "<tool>": 265})),
    ];
    let tokenizer = with_config(json!({"eos_token": "<|eos|>"}), &old).unwrap();
    assert_eq!(tokenizer.eos(), Some(264));
    assert_eq!(tokenizer.encode("<tool><end>", false).unwrap(), [265, 264]);
    assert!(tokenizer.is_special(264) && !tokenizer.is_special(265));
    // `added_tokens_decoder` came after them and holds where it is there.
    let new = json!({"eos_token": "<|eos|>", "added_tokens_decoder": {}});
    assert_eq!(with_config(new, &old).unwrap().eos(), Some(1));
}

#[test]
fn both_ends_follow_the_config() {
    let named = json!({"bos_token": "<|bos|>", "eos_token": "<|eos|>", "add_bos_token": true, "add_eos_token": true});
    let tokenizer = with_config(named, &[]).unwrap();
    assert_eq!(tokenizer.encode("", true).unwrap(), [0, 1]);
    assert_eq!(tokenizer.encode("", false).unwrap(), [0; 0]);
}

#[test]
fn broken_settings_are_refused_by_name() {
    let refused = |config: Value, more: &[(&str, Value)]| with_config(config, more).unwrap_err().to_string();
    assert!(refused(json!({"added_tokens_decoder": {"x": {"content": "a"}}}), &[]).contains("\"x\""));
    assert!(refused(json!({"added_tokens_decoder": {"5": {}}}), &[]).contains("\"5\""));
    assert!(refused(json!({"additional_special_tokens": [5]}), &[]).contains("additional_special_tokens"));
    assert!(refused(json!({}), &[("added_tokens.json", json!({"<a>": "b"}))]).contains("added_tokens.json"));
    assert!(refused(json!({}), &[("special_tokens_map.json", json!([]))]).contains("special_tokens_map.json"));
}

#[test]
fn other_kinds_of_vocabulary_are_refused_by_name() {
    let refused = |dir: &Path| Tokenizer::from_dir(dir).unwrap_err().to_string();
    for (file, word) in [("vocab.txt", "WordPiece"), ("tekken.json", "Mistral"), ("qwen.tiktoken", "tiktoken")] {
        assert!(refused(folder(&[(file, "".into())]).path()).contains(word), "{file}");
    }
    assert!(refused(folder(&[("tokenizer.model", "IQ== 0\nIg== 1\n".into())]).path()).contains("tiktoken"));
    assert!(refused(folder(&[("vocab.json", vocab())]).path()).contains("merges.txt"));
    let clip = json!({"tokenizer_class": "CLIPTokenizer"});
    let files = [("vocab.json", vocab()), ("merges.txt", MERGES.into()), ("tokenizer_config.json", clip)];
    assert!(refused(folder(&files).path()).contains("CLIP"));
}
