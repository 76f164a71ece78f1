//! Encoding a text in which some tokens must not be found: what a person wrote into a conversation is text, even where
//! it reads like a token that the chat template writes.
//!
//! A *break* is a place in a text, in bytes, across which no control token is found. The text is cut at its added tokens
//! here, by the library's rules (leftmost and longest, `single_word`, `lstrip`, `rstrip`, before and after
//! normalisation); all the rest is the library's. Without breaks [`Tokenizer::encode`] is called, so that a text without
//! any is encoded as ever. Left out: what a post-processor adds around a whole text, since a prompt has it already.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use tokenizers::tokenizer::normalizer::Range;
use tokenizers::{Model, NormalizedString, Normalizer, OffsetType, PreTokenizedString, PreTokenizer, Token};

use crate::library::contained;
use crate::{Error, Result, Tokenizer};

/// Added tokens by their text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patterns {
    tokens: HashMap<String, Pattern>,
    /// The lengths of those that begin with a byte, longest first.
    lengths: HashMap<u8, Vec<usize>>,
}

#[derive(Clone, Copy, Debug)]
struct Pattern {
    id: u32,
    is_control: bool,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
}

/// The patterns that are looked for before normalisation, and after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddedPatterns {
    raw: Patterns,
    normalized: Patterns,
    /// The texts of all control tokens.
    control: Vec<String>,
}

impl AddedPatterns {
    fn of(tokenizer: &Tokenizer) -> AddedPatterns {
        let library = &tokenizer.library;
        let mut all = AddedPatterns::default();
        for (&id, token) in library.get_added_vocabulary().get_added_tokens_decoder() {
            let is_control = tokenizer.is_control(id);
            if is_control {
                all.control.push(token.content.clone());
            }
            let (single_word, lstrip, rstrip) = (token.single_word, token.lstrip, token.rstrip);
            let pattern = Pattern { id, is_control, single_word, lstrip, rstrip };
            if !token.normalized {
                all.raw.add(token.content.clone(), pattern);
                continue;
            }
            let mut text = NormalizedString::from(token.content.as_str());
            let is_normal = library.get_normalizer().is_none_or(|normalizer| normalizer.normalize(&mut text).is_ok());
            let text = if is_normal { text.get().to_owned() } else { token.content.clone() };
            all.normalized.add(text, pattern);
        }
        all.control.sort_unstable();
        all
    }
}

impl Patterns {
    fn add(&mut self, text: String, pattern: Pattern) {
        let Some(&first) = text.as_bytes().first() else { return };
        let lengths = self.lengths.entry(first).or_default();
        if let Err(at) = lengths.binary_search_by(|length| text.len().cmp(length)) {
            lengths.insert(at, text.len());
        }
        self.tokens.insert(text, pattern);
    }

    /// Cuts `text` into added tokens and what lies between them. No control token goes across one of `breaks`, which
    /// are sorted.
    fn cut(&self, text: NormalizedString, breaks: &[usize]) -> Vec<(NormalizedString, Option<Vec<Token>>)> {
        let whole = text.get();
        let (mut parts, mut done, mut at) = (Vec::new(), 0, 0);
        while at < whole.len() {
            let Some((length, pattern)) = self.longest(whole, at, breaks) else {
                at += whole[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            let (mut start, mut end) = (at, at + length);
            at = end;
            if pattern.single_word && (ends_in_word(&whole[..start]) || begins_with_word(&whole[end..])) {
                continue;
            }
            if pattern.lstrip {
                start = whole[..start].trim_end().len().max(done);
            }
            if pattern.rstrip {
                end = whole.len() - whole[end..].trim_start().len();
            }
            parts.push((done..start, None));
            parts.push((start..end, Some(pattern.id)));
            done = end;
        }
        parts.push((done..whole.len(), None));
        let slice = |(range, id): (std::ops::Range<usize>, Option<u32>)| {
            let part = text.slice(Range::Normalized(range)).filter(|part| !part.is_empty())?;
            let token = id.map(|id| vec![Token::new(id, part.get().to_owned(), (0, part.len()))]);
            Some((part, token))
        };
        parts.into_iter().filter_map(slice).collect()
    }

    /// The longest token that `text` has at `at`, with its length in bytes.
    fn longest(&self, text: &str, at: usize, breaks: &[usize]) -> Option<(usize, Pattern)> {
        let lengths = self.lengths.get(text.as_bytes().get(at)?)?;
        // The first break behind `at`.
        let next = breaks.get(breaks.partition_point(|&place| place <= at));
        lengths.iter().find_map(|&length| {
            let pattern = *self.tokens.get(text.get(at..at + length)?)?;
            let is_broken = pattern.is_control && next.is_some_and(|&place| place < at + length);
            (!is_broken).then_some((length, pattern))
        })
    }
}

/// Where the places `breaks` of a text, which are sorted, lie in what was made of it: before the first character that comes
/// from behind them.
fn normalized(text: &NormalizedString, breaks: &[usize]) -> Vec<usize> {
    let (mut places, mut left) = (Vec::with_capacity(breaks.len()), breaks);
    for (at, c) in text.get().char_indices().take_while(|_| !breaks.is_empty()) {
        let came_from = text.convert_offsets(Range::Normalized(at..at + c.len_utf8()));
        let Some(came_from) = came_from else { continue };
        while let [place, rest @ ..] = left
            && *place <= came_from.start
        {
            places.push(at);
            left = rest;
        }
    }
    places
}

/// The first character of a text, if it belongs to a word.
static BEGINS_WITH_WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\w").ok());

fn begins_with_word(text: &str) -> bool {
    BEGINS_WITH_WORD.as_ref().is_some_and(|word| word.is_match(text))
}

fn ends_in_word(text: &str) -> bool {
    text.char_indices().next_back().is_some_and(|(last, _)| begins_with_word(&text[last..]))
}

impl Tokenizer {
    /// Whether a token steers a conversation, so that a person's text must not make it: a special one, or an added one
    /// that is written between bars, as DeepSeek's `<｜User｜>`. Marks that models write as a part of their text, such as
    /// `<think>`, are none.
    pub fn is_control(&self, id: u32) -> bool {
        let added = self.library.get_added_vocabulary().get_added_tokens_decoder();
        added.get(&id).is_some_and(|token| {
            let text = token.content.trim();
            token.special || text.starts_with(['<', '[']) && text.len() > 4 && text.contains(['|', '｜'])
        })
    }

    /// The texts of all tokens that steer a conversation ([`Self::is_control`]).
    pub fn control_tokens(&self) -> &[String] {
        &self.added_patterns().control
    }

    fn added_patterns(&self) -> &AddedPatterns {
        self.patterns.get_or_init(|| AddedPatterns::of(self))
    }

    /// The ids of `text`, in which no control token is found across one of the places `breaks`, given in bytes. Where a
    /// break is no boundary of a character, or there are none, nothing changes.
    ///
    /// # Errors
    /// When the vocabulary is broken; never because of the text alone.
    pub fn encode_with_breaks(&self, text: &str, breaks: &[usize]) -> Result<Vec<u32>> {
        if breaks.is_empty() {
            return self.encode(text, false);
        }
        let mut breaks = breaks.to_vec();
        breaks.sort_unstable();
        self.encode_in_parts(text, &breaks)
    }

    /// [`Self::encode_with_breaks`] by our own cutting, also without breaks.
    pub(crate) fn encode_in_parts(&self, text: &str, breaks: &[usize]) -> Result<Vec<u32>> {
        let (library, patterns) = (&self.library, self.added_patterns());
        let encoding = contained(|| {
            let mut parts = PreTokenizedString::from(text);
            parts.split(|_, part| Ok(patterns.raw.cut(part, breaks)))?;
            parts.split(|_, mut part| {
                // Where the part lies in the whole, and then where its own breaks are.
                let (from, to) = part.offsets_original();
                let first = breaks.partition_point(|&place| place <= from);
                let inside = breaks[first..].iter().take_while(|&&place| place < to);
                let mut inside: Vec<usize> = inside.map(|place| place - from).collect();
                if let Some(normalizer) = library.get_normalizer() {
                    normalizer.normalize(&mut part)?;
                    inside = normalized(&part, &inside);
                }
                Ok(patterns.normalized.cut(part, &inside))
            })?;
            if let Some(pre_tokenizer) = library.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut parts)?;
            }
            parts.tokenize(|part| library.get_model().tokenize(part.get()))?;
            let encoding = parts.into_encoding(None, 0, OffsetType::None)?;
            library.post_process(encoding, None, false)
        });
        Ok(encoding.map_err(Error::Encode)?.get_ids().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainConfig;
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::Path;

    /// Bytes with tokens of several families, and SentencePiece's two kinds with what stands before a text.
    static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
        let special = ["<|eos|>", "<|user|>", "<|im_start|>", "<|im_start|>x"].map(str::to_owned).to_vec();
        let config =
            TrainConfig { vocab_size: 300, special_tokens: special, bos: None, eos: None, ..TrainConfig::default() };
        let trained = Tokenizer::train(["a word and another word"], &config).unwrap();
        let folder = |name: &str| {
            let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/pieces");
            Tokenizer::from_dir(golden.join(name)).unwrap()
        };
        let mut flags = serde_json::from_str::<serde_json::Value>(&trained.to_json().unwrap()).unwrap();
        let next = trained.vocab_size();
        let added = flags["added_tokens"].as_array_mut().unwrap();
        for (i, (content, key)) in
            [("<｜User｜>", "normalized"), ("[W]", "single_word"), ("<|l|>", "lstrip"), ("<|r|>", "rstrip")]
                .into_iter()
                .enumerate()
        {
            let mut token = json!({"id": next + i, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": false});
            token[key] = true.into();
            added.push(token);
        }
        flags["normalizer"] = json!({"type": "NFC"});
        let flags = Tokenizer::from_bytes(flags.to_string()).unwrap();
        vec![trained, flags, folder("llama"), folder("gemma"), folder("unigram")]
    });

    fn texts() -> impl Strategy<Value = String> {
        let marks = vec![
            "<|eos|>", "<|user|>", "<|im_start|>", "<|im_start|>x", "<think>", "<｜User｜>", "[W]", "<|l|>", "<|r|>",
            "<s>", "</s>", "<bos>", "e\u{301}", " ", "word",
        ];
        let part = prop_oneof![prop::sample::select(marks).prop_map(str::to_owned), "[ a-z<|>\n🤖é]{0,5}"];
        prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

        #[test]
        fn our_cutting_is_the_library_s(text in texts()) {
            for tokenizer in &*TOKENIZERS {
                prop_assert_eq!(tokenizer.encode_in_parts(&text, &[]).unwrap(), tokenizer.encode(&text, false).unwrap());
            }
        }

        #[test]
        fn breaks_change_nothing_where_there_are_no_control_tokens(
            text in "[ a-zéü🤖\n<]{0,30}", breaks in prop::collection::vec(0usize..40, 0..6),
        ) {
            for tokenizer in &*TOKENIZERS {
                let ids = tokenizer.encode_with_breaks(&text, &breaks).unwrap();
                prop_assert_eq!(ids, tokenizer.encode(&text, false).unwrap());
            }
        }

        #[test]
        fn no_control_token_goes_across_a_break(text in texts()) {
            let everywhere: Vec<usize> = (1..text.len()).collect();
            for tokenizer in &TOKENIZERS[..2] {
                let ids = tokenizer.encode_with_breaks(&text, &everywhere).unwrap();
                prop_assert!(text.len() < 2 || !ids.iter().any(|&id| tokenizer.is_control(id)), "{:?}", ids);
            }
        }
    }

    #[test]
    fn a_broken_token_is_text_and_a_whole_one_beside_it_is_not() {
        let tokenizer = &TOKENIZERS[0];
        let [eos, user] = ["<|eos|>", "<|user|>"].map(|token| tokenizer.token_to_id(token).unwrap());
        let text = "a<|eos|>b<|user|>c<|eos|>";
        let ids = tokenizer.encode_with_breaks(text, &[2]).unwrap();
        assert_eq!(ids.iter().filter(|&&id| id == eos).count(), 1);
        assert_eq!(ids.iter().filter(|&&id| id == user).count(), 1);
        assert_eq!((ids.last(), tokenizer.decode(&ids, false).as_str()), (Some(&eos), text));
        // The shorter token is found where the longer one would go across a break.
        let ids = tokenizer.encode_with_breaks("<|im_start|>x", &[12]).unwrap();
        assert_eq!(ids[0], tokenizer.token_to_id("<|im_start|>").unwrap());
        // Breaks at the borders, inside of characters and beyond the end.
        assert_eq!(tokenizer.encode_with_breaks("<|eos|>é", &[0, 7, 8, 99]).unwrap()[0], eos);
    }
}
