//! SentencePiece vocabularies: the ids are those of the `sentencepiece` package (`golden/pieces.py`), and text comes
//! back byte by byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use picnic_tokenizer::{DecodeStream, GgufParts, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/pieces").join(name)
}

fn expected(name: &str) -> Vec<(String, Vec<u32>, String)> {
    let lines = fs::read_to_string(golden(name).join("expected.jsonl")).unwrap();
    let case = |line: &str| {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap().to_owned();
        (text("text"), serde_json::from_value(case["ids"].clone()).unwrap(), text("decoded"))
    };
    lines.lines().map(case).collect()
}

static LLAMA: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_dir(golden("llama")).unwrap());

#[test]
fn ids_are_those_of_sentencepiece() {
    for name in ["llama", "gemma", "symbols", "unigram"] {
        let tokenizer = Tokenizer::from_dir(golden(name)).unwrap();
        assert_eq!(tokenizer.notes(), [""; 0]);
        for (text, ids, decoded) in expected(name) {
            assert_eq!(tokenizer.encode(&text, false).unwrap(), ids, "{name} {text:?}");
            // What is unknown decodes to the token's name here, to ⁇ there.
            if !decoded.contains('⁇') && !text.contains('▁') {
                assert_eq!(tokenizer.decode(&ids, false), decoded, "{name} {text:?}");
            }
        }
    }
}

#[test]
fn tokens_without_a_row_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    LLAMA.save(dir.path()).unwrap();
    let path = dir.path().join("tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let rows = LLAMA.vocab_size();
    config["pad_token"] = "<pad>".into();
    config["additional_special_tokens"] = json!(["<pad>", "<more>"]);
    fs::write(&path, config.to_string()).unwrap();
    let larger = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(larger.vocab_size(), rows + 2);
    let tokenizer = larger.clone().without_tokens_from(rows).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.bos(), tokenizer.eos()), (rows, LLAMA.bos(), LLAMA.eos()));
    assert!(tokenizer.notes().iter().any(|note| note.contains("<pad>") && note.contains("<more>")));
    assert_eq!(tokenizer.encode("a <pad> b", false).unwrap(), LLAMA.encode("a <pad> b", false).unwrap());
    assert_eq!(larger.clone().without_tokens_from(rows + 2).unwrap().vocab_size(), rows + 2);
}

#[test]
fn a_continuation_gets_no_space() {
    for name in ["llama", "gemma"] {
        let tokenizer = Tokenizer::from_dir(golden(name)).unwrap();
        for (text, _, decoded) in expected(name) {
            if decoded.contains('⁇') || text.contains('▁') {
                continue;
            }
            let mut ids = tokenizer.encode("so", false).unwrap();
            ids.extend(tokenizer.encode_continuation(&text).unwrap());
            assert_eq!(tokenizer.decode(&ids, false), format!("so{text}"), "{name} {text:?}");
        }
    }
    // By itself the same text begins with the piece for a space.
    let [whole, rest] = [LLAMA.encode("a", false).unwrap(), LLAMA.encode_continuation("a").unwrap()];
    assert!(LLAMA.id_to_token(whole[0]).unwrap().starts_with('▁'), "{whole:?}");
    assert!(!LLAMA.id_to_token(rest[0]).unwrap().starts_with('▁'), "{rest:?}");
}

#[test]
fn what_stands_around_a_text_comes_from_the_model() {
    for (name, text, ids) in [("llama", "", vec![1]), ("gemma", "", vec![2]), ("unigram", "", vec![2])] {
        assert_eq!(Tokenizer::from_dir(golden(name)).unwrap().encode(text, true).unwrap(), ids, "{name}");
    }
    let gemma = Tokenizer::from_dir(golden("gemma")).unwrap();
    assert_eq!((gemma.bos(), gemma.eos()), (Some(2), Some(1)));
    let turn = gemma.token_to_id("<turn>").unwrap();
    assert!(gemma.is_special(turn));
    assert_eq!(gemma.encode("<turn>", false).unwrap(), [turn]);
}

/// `legacy: false` and `add_prefix_space: false` of `tokenizer_config.json`.
#[test]
fn the_space_before_a_text_follows_the_folder() {
    let ids = |config: Value, text: &str| {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(golden("llama").join("tokenizer.model"), dir.path().join("tokenizer.model")).unwrap();
        fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        let tokens = tokenizer.encode(text, false).unwrap();
        tokens.into_iter().map(|id| tokenizer.id_to_token(id).unwrap()).collect::<Vec<_>>().join("|")
    };
    assert_eq!(ids(json!({}), "a</s>a"), "▁a|</s>|▁a");
    assert_eq!(ids(json!({"legacy": true}), "a</s>a"), "▁a|</s>|▁a");
    assert_eq!(ids(json!({"legacy": false}), "a</s>a"), "▁a|</s>|a");
    assert_eq!(ids(json!({"add_prefix_space": false}), "a</s>a"), "a|</s>|a");
}

#[test]
fn a_saved_tokenizer_is_the_same() {
    for name in ["llama", "gemma", "symbols", "unigram"] {
        let before = Tokenizer::from_dir(golden(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        before.save(dir.path()).unwrap();
        let after = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(before.to_json().unwrap(), after.to_json().unwrap());
        assert_eq!((before.bos(), before.eos()), (after.bos(), after.eos()));
        for (text, ids, _) in expected(name) {
            assert_eq!(after.encode(&text, false).unwrap(), ids, "{name} {text:?}");
            assert_eq!(after.encode(&text, true).unwrap(), before.encode(&text, true).unwrap(), "{name} {text:?}");
        }
    }
    // Another class would make `transformers` build normaliser and cuts of its own.
    let dir = tempfile::tempdir().unwrap();
    LLAMA.save(dir.path()).unwrap();
    let config = fs::read(dir.path().join("tokenizer_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
    let json: Value = serde_json::from_str(&LLAMA.to_json().unwrap()).unwrap();
    assert_eq!(json["model"]["byte_fallback"], true);
    assert_eq!(json["normalizer"]["normalizers"][0]["type"], "Prepend");
    assert_eq!(json["decoder"]["decoders"][3]["type"], "Strip");
}

/// A GGUF file of the same model: pieces, scores and types.
fn gguf(name: &str) -> GgufParts {
    let json: Value = serde_json::from_str(&Tokenizer::from_dir(golden(name)).unwrap().to_json().unwrap()).unwrap();
    let mut pieces: Vec<(&String, u64)> =
        json["model"]["vocab"].as_object().unwrap().iter().map(|(piece, id)| (piece, id.as_u64().unwrap())).collect();
    pieces.sort_by_key(|(_, id)| *id);
    let merges: Vec<String> = json["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| format!("{}{}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    // SentencePiece's BPE scores are the negated order in which pieces were made.
    let score = |piece: &str| -(merges.iter().position(|merged| merged == piece).unwrap_or(merges.len()) as f32);
    let kind = |piece: &str| match piece {
        "<unk>" => 2,
        "<s>" | "</s>" => 3,
        _ if piece.starts_with("<0x") => 6,
        _ => 1,
    };
    GgufParts {
        model: "llama".to_owned(),
        tokens: pieces.iter().map(|(piece, _)| (*piece).clone()).collect(),
        token_types: pieces.iter().map(|(piece, _)| kind(piece)).collect(),
        scores: pieces.iter().map(|(piece, _)| score(piece)).collect(),
        ..GgufParts::default()
    }
}

#[test]
fn scores_of_a_gguf_file_give_the_same_ids() {
    let tokenizer = Tokenizer::from_gguf(gguf("llama")).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    for (text, ids, decoded) in expected("llama") {
        assert_eq!(tokenizer.encode(&text, false).unwrap(), ids, "{text:?}");
        if !text.contains('▁') {
            assert_eq!(tokenizer.decode(&ids, false), decoded);
        }
    }
    assert_eq!(tokenizer.encode("", true).unwrap(), [1]);
    let plain = Tokenizer::from_gguf(GgufParts { add_space_prefix: Some(false), ..gguf("llama") }).unwrap();
    let a = plain.token_to_id("a").unwrap();
    assert_eq!(plain.encode("a", false).unwrap(), [a]);
    assert_eq!(plain.decode(&plain.encode(" a", false).unwrap(), false), " a");
}

#[test]
fn what_a_gguf_file_leaves_open_is_noted() {
    let tokenizer = Tokenizer::from_gguf(GgufParts { scores: Vec::new(), ..gguf("llama") }).unwrap();
    assert!(tokenizer.notes()[0].contains("scores"), "{:?}", tokenizer.notes());
    let bpe = |pre: Option<&str>| {
        let parts = GgufParts {
            model: "gpt2".to_owned(),
            pre: pre.map(str::to_owned),
            tokens: ["a", "b", "ab"].map(str::to_owned).to_vec(),
            merges: vec!["a b".to_owned()],
            ..GgufParts::default()
        };
        Tokenizer::from_gguf(parts).unwrap().notes().to_vec()
    };
    assert!(bpe(None)[0].contains("missing"));
    assert!(bpe(Some("of tomorrow"))[0].contains("of tomorrow"));
    assert_eq!(bpe(Some("default")), [""; 0]);
    let error = Tokenizer::from_gguf(GgufParts { model: "bert".to_owned(), ..GgufParts::default() }).unwrap_err();
    assert!(error.to_string().contains("bert"), "{error}");
    let error = Tokenizer::from_gguf(GgufParts { scores: vec![0.0], ..gguf("llama") }).unwrap_err();
    assert!(error.to_string().contains("scores"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// Spaces, bytes and the space before a text included. (After `<s>` in a text there is another.)
    #[test]
    fn any_text_survives(text in any::<String>(), more in " {0,3}[ a-z>é世🤖\n]{0,20}") {
        let text = (text + &more).replace('▁', " ");
        let ids = LLAMA.encode(&text, false).unwrap();
        prop_assert_eq!(LLAMA.decode(&ids, false), text);
    }

    #[test]
    fn any_ids_decode_streamed_as_whole(ids in prop::collection::vec(0u32..430, 0..60), skip: bool) {
        let mut stream = DecodeStream::new(skip);
        let pieces: Vec<String> = ids.iter().map(|id| stream.push(&LLAMA, *id)).collect();
        prop_assert_eq!(pieces.concat() + &stream.finish(), LLAMA.decode(&ids, skip));
    }

    /// Between the tokens of a real text a stream shows only what will stay: no U+FFFD that a later byte mends.
    #[test]
    fn a_text_streams_without_half_characters(text in "[ a-c]{0,5}[é世🤖ไ]{0,9}[ a-c]{0,5}") {
        let ids = LLAMA.encode(&text, false).unwrap();
        let mut stream = DecodeStream::new(false);
        let mut shown = String::new();
        for id in ids {
            shown += &stream.push(&LLAMA, id);
            prop_assert!(text.starts_with(&shown), "{:?} {:?}", text, shown);
        }
        prop_assert_eq!(shown, text);
    }
}
