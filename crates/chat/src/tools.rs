//! Tools: in which form a model calls them, and what a call is on its way to whoever asked.
//!
//! | format | a call |
//! |---|---|
//! | [`Hermes`](ToolFormat::Hermes): Qwen, SmolLM, Hermes | `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, also a list of such objects |
//! | [`Xml`](ToolFormat::Xml): Qwen3-Coder | `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>` |
//! | [`DeepSeek`](ToolFormat::DeepSeek): R1, V3 | `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME`, a fenced block of JSON, `<｜tool▁call▁end｜><｜tool▁calls▁end｜>` |
//! | [`DeepSeekV31`](ToolFormat::DeepSeekV31) | the same marks around `NAME<｜tool▁sep｜>{…}` |
//! | [`Llama`](ToolFormat::Llama): 3.1 and later | `{"name": …, "parameters": {…}}`, perhaps after `<|python_tag|>` |
//! | [`Mistral`](ToolFormat::Mistral) | `[TOOL_CALLS][{"name": …, "arguments": {…}}]` |
//! | [`MistralArgs`](ToolFormat::MistralArgs) | `[TOOL_CALLS]NAME[ARGS]{…}` |
//! | [`Harmony`](ToolFormat::Harmony): gpt-oss | `<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>` |
//!
//! A reader takes the siblings of its format too: Hermes' reads Qwen3-Coder's form and the other way round, and so do the
//! two of DeepSeek and of Mistral. Qwen3-Coder's reader takes a call without the first mark as well, which that model
//! forgets, if it calls what there is. A model whose template and vocabulary say nothing of tools is asked for Hermes'
//! form, and so is one whose template writes calls in a form that is not here: DSML of DeepSeek-V3.2, Pythonic calls, and
//! those of GLM, Kimi, MiniMax, Cohere, Gemma 4 and others.

mod harmony;
mod json;
mod reader;
#[cfg(test)]
pub(crate) mod tests;
mod xml;

pub(crate) use harmony::HarmonyReader;
pub(crate) use reader::{Lexeme, Lexer, Out, ToolReader};

use picnic_tokenizer::Tokenizer;
use serde_json::Value;

/// In which form a model calls tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolFormat {
    /// JSON between `<tool_call>` and `</tool_call>`.
    #[default]
    Hermes,
    /// Parameters between tags.
    Xml,
    /// DeepSeek-R1's and V3's, with the arguments in a fenced block.
    DeepSeek,
    /// DeepSeek-V3.1's.
    DeepSeekV31,
    /// Llama's since 3.1: the bare object.
    Llama,
    /// Mistral's list of objects.
    Mistral,
    /// Mistral's name and arguments.
    MistralArgs,
    /// gpt-oss's channels. In this format thinking and answer stand in channels too, with and without tools.
    Harmony,
}

/// A part of a call, as it grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallDelta {
    /// Which call of the reply this belongs to, from 0.
    pub index: usize,
    /// In the call's first part: what a tool's answer refers to.
    pub id: Option<String>,
    /// In the call's first part: the function.
    pub name: Option<String>,
    /// More of the arguments, a JSON text.
    pub arguments: String,
}

pub(crate) const CALL: [&str; 2] = ["<tool_call>", "</tool_call>"];
pub(crate) const DEEPSEEK: [&str; 5] = [
    "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>",
];
pub(crate) const PYTHON_TAG: &str = "<|python_tag|>";
pub(crate) const MISTRAL: [&str; 3] = ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"];
pub(crate) const HARMONY: [&str; 7] =
    ["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>", "<|return|>"];

impl ToolFormat {
    /// Every form.
    pub const ALL: [ToolFormat; 8] = [
        ToolFormat::Hermes,
        ToolFormat::Xml,
        ToolFormat::DeepSeek,
        ToolFormat::DeepSeekV31,
        ToolFormat::Llama,
        ToolFormat::Mistral,
        ToolFormat::MistralArgs,
        ToolFormat::Harmony,
    ];

    /// The form that a vocabulary has tokens for, or else the one that the source of a template shows.
    pub(crate) fn of(tokenizer: &Tokenizer, template: Option<&str>) -> ToolFormat {
        let has = |token: &str| tokenizer.token_to_id(token).is_some_and(|id| tokenizer.is_added(id));
        let source = template.unwrap_or_default();
        if has(HARMONY[0]) && has(HARMONY[1]) && has(HARMONY[5]) {
            ToolFormat::Harmony
        } else if template.is_some_and(|template| !template.contains("tool")) {
            // It was never taught with this template, whatever its vocabulary has.
            ToolFormat::Hermes
        } else if has(DEEPSEEK[0]) || source.contains(DEEPSEEK[0]) {
            let is_newer = source.contains(DEEPSEEK[4]) && !source.contains("```");
            if is_newer { ToolFormat::DeepSeekV31 } else { ToolFormat::DeepSeek }
        } else if source.contains("<function=") {
            ToolFormat::Xml
        } else if source.contains(CALL[0]) {
            ToolFormat::Hermes
        } else if has(MISTRAL[0]) || source.contains(MISTRAL[0]) {
            if has(MISTRAL[1]) || source.contains(MISTRAL[1]) { ToolFormat::MistralArgs } else { ToolFormat::Mistral }
        } else if has(PYTHON_TAG) || source.contains(PYTHON_TAG) {
            ToolFormat::Llama
        } else {
            ToolFormat::Hermes
        }
    }

    /// The marks of this form, wherever they may stand.
    pub(crate) fn marks(self) -> &'static [&'static str] {
        match self {
            ToolFormat::Hermes => &CALL,
            ToolFormat::Xml => &[CALL[0], CALL[1], xml::FUNCTION],
            ToolFormat::DeepSeek | ToolFormat::DeepSeekV31 => &DEEPSEEK,
            ToolFormat::Llama => &[PYTHON_TAG],
            ToolFormat::Mistral | ToolFormat::MistralArgs => &MISTRAL,
            ToolFormat::Harmony => &HARMONY,
        }
    }

    /// Whether a mark begins calls.
    pub(crate) fn opens(self, mark: &str) -> bool {
        match self {
            ToolFormat::DeepSeek | ToolFormat::DeepSeekV31 => mark == DEEPSEEK[0] || mark == DEEPSEEK[2],
            ToolFormat::Harmony => false,
            _ => mark == self.marks()[0],
        }
    }
}

/// The marks of all formats.
pub(crate) fn all_marks() -> impl Iterator<Item = &'static str> {
    CALL.into_iter().chain(DEEPSEEK).chain([PYTHON_TAG]).chain(MISTRAL).chain(HARMONY)
}

/// Name and JSON schema of each function of `tools`, which are in OpenAI's form, or in that of its Responses API without
/// `function` around them.
pub(crate) fn functions(tools: &[Value]) -> impl Iterator<Item = (&str, Option<&Value>)> {
    tools.iter().filter_map(|tool| {
        let function = tool.get("function").unwrap_or(tool);
        let schema = function.get("parameters").or_else(|| function.get("input_schema"));
        Some((function.get("name")?.as_str()?, schema))
    })
}

/// A call's id: letters and digits that follow from the reply's seed and the call's number.
pub(crate) fn id(format: ToolFormat, seed: u64, index: usize) -> String {
    const SIGNS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // Mistral's templates refuse any other length.
    let (prefix, length) = match format {
        ToolFormat::Mistral | ToolFormat::MistralArgs => ("", 9),
        _ => ("call_", 24),
    };
    let mut state = seed ^ (index as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    let signs = (0..length).map(|_| {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        char::from(SIGNS[((word ^ word >> 31) % 62) as usize])
    });
    prefix.to_owned() + &signs.collect::<String>()
}
