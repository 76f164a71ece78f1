//! The tokenizer of a Hugging Face folder as GGUF has it: `tokenizer.json`, `tokenizer_config.json`, and what else the
//! folder says of tokens that end a turn.
//!
//! GGUF names the rule that cuts text before merging instead of spelling it out; a rule without a name is refused, since
//! another would make other tokens of a text. Left out: WordPiece and Unigram vocabularies, and normalizers, which
//! llama.cpp ties to the rule.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::tokenizer::GgufTokenizer;
use crate::checkpoint::CheckpointError;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

impl GgufTokenizer {
    /// Reads the tokenizer of the folder `dir`, which a save of ours has written. `ends` are the tokens that end a turn,
    /// as far as they are known.
    ///
    /// # Errors
    /// A file that cannot be read, or a tokenizer that llama.cpp does not have.
    pub fn from_folder(dir: &Path, ends: &[u32]) -> Result<GgufTokenizer, CheckpointError> {
        let json = read(&dir.join("tokenizer.json"))?;
        let config = match dir.join("tokenizer_config.json") {
            file if file.exists() => read(&file)?,
            _ => Value::Object(Map::new()),
        };
        let mut tokenizer = vocabulary(&json, &config).map_err(|problem| {
            let what = format!("its tokenizer has no form in GGUF: {problem}");
            CheckpointError::refused(dir, what, "write a Hugging Face folder instead")
        })?;
        if let Ok(template) = std::fs::read_to_string(dir.join("chat_template.jinja")) {
            tokenizer.chat_template = Some(template);
        }
        let mut others = ends.iter().copied().filter(|&id| Some(id) != tokenizer.eos_token_id);
        tokenizer.eot_token_id = others.next();
        tokenizer.eom_token_id = others.next();
        Ok(tokenizer)
    }
}

fn read(file: &Path) -> Result<Value, CheckpointError> {
    let text = std::fs::read(file).map_err(|source| CheckpointError::Io {
        file: file.to_owned(),
        action: "read it",
        source,
        cure: "check the path and its permissions",
    })?;
    serde_json::from_slice(&text)
        .map_err(|e| CheckpointError::damaged(file, format!("is no JSON: {e}"), "fetch or write the file again"))
}

fn vocabulary(json: &Value, config: &Value) -> Result<GgufTokenizer, String> {
    let model = &json["model"];
    if model["type"] != "BPE" {
        return Err(format!("its model is of the type {}", model["type"]));
    }
    let vocab = model["vocab"].as_object().ok_or("it has no vocabulary")?;
    let (mut tokens, mut token_types) = by_id(vocab, json["added_tokens"].as_array())?;
    let merges = merges(&model["merges"])?;
    let id = |key: &str| -> Option<u32> {
        let value = &config[key];
        let token = value["content"].as_str().or(value.as_str())?;
        tokens.iter().position(|other| other == token).and_then(|id| u32::try_from(id).ok())
    };
    let (bos, eos, unknown, padding) = (id("bos_token"), id("eos_token"), id("unk_token"), id("pad_token"));
    let flag = |key: &str| config[key].as_bool();
    let [first, last] = around(&json["post_processor"]);
    let pieces = model["byte_fallback"] == true || json["decoder"]["type"] != "ByteLevel";
    let (pre, scores) = if pieces {
        if model["byte_fallback"] != true {
            return Err("it has no bytes for what it lacks, which llama.cpp counts on".to_owned());
        }
        if let Some(step) = other_normalizer(&json["normalizer"]) {
            return Err(format!("its normalizer has {step}, which llama.cpp's pieces do not know"));
        }
        let cut_out = cut_out(&json["pre_tokenizer"]);
        for (token, kind) in tokens.iter().zip(&mut token_types) {
            if *kind == NORMAL && cut_out.contains(token) {
                *kind = USER_DEFINED;
            }
        }
        for (id, token) in tokens.iter().enumerate() {
            if token_types[id] == NORMAL && token.len() == 6 && token.starts_with("<0x") && token.ends_with('>') {
                token_types[id] = BYTE;
            }
        }
        if let Some(unknown) = unknown {
            token_types[unknown as usize] = UNKNOWN;
        }
        ("default".to_owned(), scores(&tokens, &merges))
    } else {
        (rule(&json["pre_tokenizer"]).ok_or("the rule by which it cuts text has no name there")?, Vec::new())
    };
    tokens.iter_mut().zip(&token_types).filter(|(_, kind)| pieces && **kind == USER_DEFINED).for_each(|(token, _)| {
        *token = token.replace('▁', " ");
    });
    let (mut template, mut named_templates) = (config["chat_template"].as_str().map(str::to_owned), Vec::new());
    for one in config["chat_template"].as_array().into_iter().flatten() {
        match (one["name"].as_str(), one["template"].as_str()) {
            (Some("default"), Some(text)) => template = Some(text.to_owned()),
            (Some(name), Some(text)) => named_templates.push((name.to_owned(), text.to_owned())),
            _ => {}
        }
    }
    Ok(GgufTokenizer {
        model: if pieces { "llama" } else { "gpt2" }.to_owned(),
        pre: Some(pre),
        scores,
        merges: if pieces { Vec::new() } else { merges },
        add_bos: Some(bos.is_some() && (first == bos || flag("add_bos_token") == Some(true))),
        add_eos: eos.is_some() && (last == eos || flag("add_eos_token") == Some(true)),
        add_space_prefix: pieces.then(|| puts_space(json)),
        bos_token_id: bos,
        eos_token_id: eos,
        eot_token_id: None,
        eom_token_id: None,
        unknown_token_id: unknown,
        padding_token_id: padding,
        chat_template: template,
        named_templates,
        tokens,
        token_types,
    })
}

/// Tokens and their types by id. Ids without a token are unused.
fn by_id(vocab: &Map<String, Value>, added: Option<&Vec<Value>>) -> Result<(Vec<String>, Vec<i32>), String> {
    let added = added.map_or(&[][..], Vec::as_slice);
    let mut found: HashMap<u64, (&str, i32)> = HashMap::new();
    for (token, id) in vocab {
        found.insert(id.as_u64().ok_or("an id is no number")?, (token, NORMAL));
    }
    for token in added {
        let id = token["id"].as_u64().ok_or("an added token has no id")?;
        let kind = if token["special"] == true { CONTROL } else { USER_DEFINED };
        found.insert(id, (token["content"].as_str().ok_or("an added token has no content")?, kind));
    }
    let last = found.keys().max().copied().unwrap_or(0);
    // A wrong id must not fill the memory.
    if last as usize > 2 * found.len() + 65_536 {
        return Err(format!("it has {} tokens, but an id of {last}", found.len()));
    }
    let token = |id| match found.get(&id) {
        Some((token, kind)) => ((*token).to_owned(), *kind),
        None => (format!("[PAD{id}]"), UNUSED),
    };
    Ok((0..=last).map(token).unzip())
}

/// Each merge as two tokens with a space between. In lists of pairs a token may have a space itself, which the alphabet
/// of bytes writes as `Ġ`.
fn merges(merges: &Value) -> Result<Vec<String>, String> {
    let one = |merge: &Value| match merge {
        Value::String(merge) => Some(merge.clone()),
        Value::Array(pair) => {
            let [a, b] = pair.as_slice() else { return None };
            Some(format!("{} {}", a.as_str()?.replace(' ', "Ġ"), b.as_str()?.replace(' ', "Ġ")))
        }
        _ => None,
    };
    merges
        .as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(|merge| one(merge).ok_or_else(|| "a merge is no pair".to_owned()))
        .collect()
}

/// A score for each token of a vocabulary of pieces: llama.cpp joins first what scores highest, so the result of the
/// first merge scores highest. What no merge makes is never joined, and its score never looked at.
fn scores(tokens: &[String], merges: &[String]) -> Vec<f32> {
    let mut rank: HashMap<String, usize> = HashMap::new();
    for (i, merge) in merges.iter().enumerate() {
        rank.entry(merge.replacen(' ', "", 1)).or_insert(i);
    }
    tokens.iter().map(|token| rank.get(token).map_or(0.0, |&rank| -(rank as f32))).collect()
}

/// The ids that stand before and after every text.
fn around(post_processor: &Value) -> [Option<u32>; 2] {
    let steps = match &post_processor["processors"] {
        Value::Array(steps) => steps.as_slice(),
        _ => std::slice::from_ref(post_processor),
    };
    let Some(template) = steps.iter().find(|step| step["type"] == "TemplateProcessing") else { return [None; 2] };
    let special = |place: Option<&Value>| {
        let name = place?["SpecialToken"]["id"].as_str()?;
        let id = template["special_tokens"][name]["ids"].get(0)?.as_u64()?;
        u32::try_from(id).ok()
    };
    let single = template["single"].as_array().map_or(&[][..], Vec::as_slice);
    [special(single.first()), special(single.last())]
}

/// Whether a vocabulary of pieces puts a space before every text.
fn puts_space(json: &Value) -> bool {
    let normalizers = match &json["normalizer"]["normalizers"] {
        Value::Array(steps) => steps.as_slice(),
        _ => std::slice::from_ref(&json["normalizer"]),
    };
    let metaspace = &json["pre_tokenizer"];
    normalizers.iter().any(|step| step["type"] == "Prepend")
        || metaspace["type"] == "Metaspace" && metaspace["prepend_scheme"] != "never"
}

/// A step of a normalizer of pieces that does more than write spaces as `▁`.
fn other_normalizer(normalizer: &Value) -> Option<String> {
    let steps = match &normalizer["normalizers"] {
        Value::Array(steps) => steps.as_slice(),
        _ => std::slice::from_ref(normalizer),
    };
    let is_usual = |step: &&Value| match step["type"].as_str() {
        None | Some("Prepend") => true,
        Some("Replace") => step["pattern"]["String"] == " " && step["content"] == "▁",
        _ => false,
    };
    let other = steps.iter().find(|step| !is_usual(step))?;
    Some(other["type"].as_str().unwrap_or("an unknown step").to_owned())
}

/// The tokens that a rule cuts out of the text before anything is joined: SentencePiece's user-defined ones.
fn cut_out(pre_tokenizer: &Value) -> HashSet<String> {
    let steps = pre_tokenizer["pretokenizers"].as_array().map_or(&[][..], Vec::as_slice);
    let patterns = steps.iter().filter(|step| step["type"] == "Split").filter_map(|s| s["pattern"]["Regex"].as_str());
    let mut tokens = HashSet::new();
    for pattern in patterns {
        let (mut token, mut characters) = (String::new(), pattern.chars());
        while let Some(c) = characters.next() {
            match c {
                '\\' => token.extend(characters.next()),
                '|' => drop(tokens.insert(std::mem::take(&mut token))),
                c => token.push(c),
            }
        }
        tokens.insert(token);
    }
    tokens
}

/// llama.cpp's name of the rule that cuts text, if it has one.
fn rule(pre_tokenizer: &Value) -> Option<String> {
    let steps = match &pre_tokenizer["pretokenizers"] {
        Value::Array(steps) => steps.as_slice(),
        _ => std::slice::from_ref(pre_tokenizer),
    };
    let described: Vec<String> = steps.iter().map(describe).collect::<Option<_>>()?;
    let described: Vec<&str> = described.iter().map(String::as_str).collect();
    let found = RULES.iter().find(|(_, rule)| *rule == described.as_slice());
    found.map(|(name, _)| (*name).to_owned())
}

/// A step of a pre-tokenizer on a line; `None` for one that no rule of ours has.
fn describe(step: &Value) -> Option<String> {
    match step["type"].as_str()? {
        "ByteLevel" if step["add_prefix_space"] == true => None,
        "ByteLevel" if step["use_regex"] == false => Some("bytes".into()),
        "ByteLevel" => Some("gpt-2".into()),
        "Digits" if step["individual_digits"] == true => Some("digits".into()),
        "Split" if step["behavior"] == "Isolated" && step["invert"] != true => {
            Some(step["pattern"]["Regex"].as_str()?.to_owned())
        }
        _ => None,
    }
}

/// Names in `tokenizer.ggml.pre`, and the steps that they stand for.
const RULES: [(&str, &[&str]); 6] = [
    ("gpt-2", &["gpt-2"]),
    ("smollm", &["digits", "gpt-2"]),
    (
        "llama-bpe",
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            "bytes",
        ],
    ),
    (
        "qwen2",
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            "bytes",
        ],
    ),
    ("deepseek-v3", &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_WORDS, "bytes"]),
    ("deepseek-v3", &[r"\p{N}{1,3}", r"[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK_WORDS, "bytes"]),
];

const DEEPSEEK_WORDS: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##, r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
