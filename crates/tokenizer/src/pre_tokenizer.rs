//! [`PreTokenizer`]: how text is cut into words, within which alone byte-level BPE merges.
//!
//! A GGUF file names its rule (`tokenizer.ggml.pre`), a folder with `vocab.json` alone its class. Each rule here is a
//! list of patterns, each of which cuts the pieces that the one before left. The patterns are those of the models'
//! own tokenizer.json, or llama.cpp's where they are not at hand. Left out: rules that are code in llama.cpp
//! (`afmoe`, `superbpe`) and those of embedding models.

use serde_json::{Value, json};

/// A rule, by the name of a model that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreTokenizer {
    /// llama.cpp's, for files that name none: punctuation apart, digits in threes.
    Default,
    /// GPT-2: letters, numbers, other, each with a leading space.
    Gpt2,
    /// SmolLM, StarCoder, Command R: every digit alone, then as GPT-2.
    SmolLm,
    /// Llama 3: numbers in groups of up to three.
    Llama3,
    /// Qwen2 and Qwen3: every digit alone, text in NFC.
    Qwen2,
    /// Qwen3.5: as Qwen2, with combining marks among the letters.
    Qwen35,
    /// DeepSeek-V3 and R1: numbers in groups of up to three, Chinese and Japanese apart.
    DeepSeekV3,
    /// DeepSeek-LLM: cased letters, punctuation, Chinese and Korean, numbers.
    DeepSeekLlm,
    /// DeepSeek-Coder: as DeepSeek-LLM, every digit alone.
    DeepSeekCoder,
    /// Falcon: punctuation apart, digits in threes.
    Falcon,
    /// Poro and BLOOM: everything between spaces and punctuation.
    Poro,
    /// Viking: as Poro, every digit alone.
    Viking,
    /// Mistral's Tekken: words also cut between lower and upper case, every digit alone.
    Tekken,
    /// GPT-4o and Llama 4: as Tekken, numbers in groups of up to three.
    Gpt4o,
    /// Kimi K2: as GPT-4o, Chinese apart.
    KimiK2,
    /// Jais 2: as Llama 3, runs of spaces in powers of two.
    Jais2,
    /// Ling: as Qwen2, line breaks one by one.
    BailingMoe,
    /// Seed-Coder: as Qwen2, punctuation without the line break after it.
    SeedCoder,
    /// MiniCPM5: as Llama 3, numbers cut before everything else.
    MiniCpm5,
    /// Laguna: lines, each as Qwen2.
    Laguna,
}

/// Letters with a leading space, numbers, other: GPT-2's.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CHINESE_AND_JAPANESE: &str = r"[一-龥\u3040-ゟ゠-ヿ]+";
const CHINESE_AND_KOREAN: &str = r"[一-龥ࠀ-一가-\uD7FF]+";
/// DeepSeek-V3's words, with the punctuation before an English one.
const DEEPSEEK_WORDS: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##, r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// The letters that have case, as DeepSeek-LLM lists them.
const CASED_LETTERS: &str = concat!(
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ",
    r"Ὗ-\x{1F7D}ᾀ-ᾴᾶ-ᾼ\x{1FBE}ῂ-ῄῆ-ῌῐ-\x{1FD3}ῖ-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ",
    r"𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
);

impl PreTokenizer {
    /// The rule of a name in `tokenizer.ggml.pre`, or `None` when it is not known here.
    pub fn from_gguf_name(name: &str) -> Option<Self> {
        Some(match name {
            "default" => Self::Default,
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "gigachat" | "a.x-4.0"
            | "mellum" | "exaone4" | "roberta-bpe" | "modern-bert" => Self::Gpt2,
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => {
                Self::SmolLm
            }
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2"
            | "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" | "glm5" => Self::Llama3,
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "megrez" | "stablelm2" | "hunyuan" | "grok-2" | "solar-open" => {
                Self::Qwen2
            }
            "qwen35" => Self::Qwen35,
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" => Self::DeepSeekV3,
            "deepseek-llm" => Self::DeepSeekLlm,
            "deepseek-coder" => Self::DeepSeekCoder,
            "falcon" => Self::Falcon,
            "poro-chat" | "bloom" | "gpt3-finnish" => Self::Poro,
            "viking" => Self::Viking,
            "tekken" => Self::Tekken,
            "gpt-4o" | "llama4" | "kanana2" | "minimax-m2" => Self::Gpt4o,
            "kimi-k2" => Self::KimiK2,
            "jais-2" => Self::Jais2,
            "bailingmoe" | "bailingmoe2" | "llada-moe" => Self::BailingMoe,
            "seed-coder" => Self::SeedCoder,
            "minicpm5" => Self::MiniCpm5,
            "laguna" => Self::Laguna,
            _ => return None,
        })
    }

    /// Whether, under a name of `tokenizer.ggml.pre`, a word that is a token whole is taken without merging.
    pub(crate) fn ignores_merges(name: &str) -> bool {
        let rule = Self::from_gguf_name(name);
        matches!(rule, Some(Self::Llama3 | Self::Tekken | Self::MiniCpm5))
            && !matches!(name, "dbrx" | "smaug-bpe" | "chatglm-bpe")
    }

    /// Whether, under a name of `tokenizer.ggml.pre`, texts begin with `bos` in files that are silent on it.
    pub(crate) fn begins_with_bos(name: &str) -> bool {
        Self::ignores_merges(name) && !matches!(name, "glm4" | "glm5" | "minicpm5")
    }

    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub(crate) fn to_json(self, add_prefix_space: bool) -> Value {
        let isolated = |regex: String| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let byte_level = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true,
                "use_regex": use_regex
            })
        };
        let steps: Vec<Value> = match self {
            Self::Gpt2 => vec![byte_level(true)],
            Self::SmolLm => vec![json!({"type": "Digits", "individual_digits": true}), byte_level(true)],
            _ => self.patterns().into_iter().map(isolated).chain([byte_level(false)]).collect(),
        };
        json!({"type": "Sequence", "pretokenizers": steps})
    }

    /// What cuts the text, in order.
    fn patterns(self) -> Vec<String> {
        let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        match self {
            Self::Gpt2 => owned(&[GPT2]),
            Self::SmolLm => owned(&[r"\p{N}", GPT2]),
            Self::Default => owned(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
            Self::Falcon => owned(&[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"]),
            Self::Llama3 => vec![words(r"\p{L}+", r"\p{N}{1,3}")],
            Self::Qwen2 => vec![words(r"\p{L}+", r"\p{N}")],
            Self::Qwen35 => vec![format!(
                r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{SPACES}"
            )],
            Self::DeepSeekV3 => owned(&[r"\p{N}{1,3}", CHINESE_AND_JAPANESE, DEEPSEEK_WORDS]),
            Self::DeepSeekLlm => owned(&[
                r"[\r\n]", CASED_LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", CHINESE_AND_KOREAN, r"\p{N}+",
            ]),
            Self::DeepSeekCoder => owned(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CHINESE_AND_KOREAN, r"\p{N}"]),
            Self::Poro => owned(&[BETWEEN_PUNCTUATION]),
            Self::Viking => owned(&[BETWEEN_PUNCTUATION, r"\p{N}"]),
            Self::Tekken => vec![cased_words("", "", r"\p{N}")],
            Self::Gpt4o => vec![cased_words("", &format!("{CONTRACTION}?"), r"\p{N}{1,3}")],
            Self::KimiK2 => {
                let words = cased_words(r"&&[^\p{Han}]", &format!("{CONTRACTION}?"), r"\p{N}{1,3}");
                vec![format!(r"[\p{{Han}}]+|{}", words.replace(r"[\r\n/]*", r"[\r\n]*"))]
            }
            Self::Jais2 => {
                let runs: Vec<String> =
                    [512, 256, 128, 64, 32, 16, 8, 4].iter().map(|n| format!(r"\s{{{n}}}(?!\S)")).collect();
                let rest = format!(r"{}|\s{{1,2}}(?!\S)|\s", runs.join("|"));
                vec![words(r"\p{L}+", r"\p{N}{1,3}").replace(r"\s+(?!\S)|\s+", &rest)]
            }
            Self::BailingMoe => vec![format!(
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
            )],
            Self::SeedCoder => vec![format!(
                r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{SPACES}"
            )],
            Self::MiniCpm5 => vec![r"\p{N}{1,3}".to_owned(), words(r"\p{L}+", r"\p{N}+")],
            Self::Laguna => vec![r"[^\n]+|[\n]+".to_owned(), words(r"\p{L}+", r"\p{N}")],
        }
    }

    /// The `normalizer` of a `tokenizer.json`, from what the models' own have.
    pub(crate) fn normalizer(self) -> Value {
        match self {
            Self::Qwen2 | Self::Qwen35 => json!({"type": "NFC"}),
            _ => Value::Null,
        }
    }
}

const CONTRACTION: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES: &str = r"\s*[\r\n]+|\s+(?!\S)|\s+";
const BETWEEN_PUNCTUATION: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// The pattern that Llama 3 and Qwen2 share, but for the letters of a word and the digits that stay together.
fn words(letters: &str, digits: &str) -> String {
    format!(r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?{letters}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{SPACES}")
}

/// The pattern that Tekken and GPT-4o share: a word is capitals and then small letters. `but` narrows the classes of
/// letters, `end` may follow a word.
fn cased_words(but: &str, end: &str, digits: &str) -> String {
    let (upper, lower) = (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}");
    format!(
        r"[^\r\n\p{{L}}\p{{N}}]?{upper}{but}]*{lower}{but}]+{end}|[^\r\n\p{{L}}\p{{N}}]?{upper}{but}]+{lower}{but}]*{end}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{SPACES}"
    )
}
