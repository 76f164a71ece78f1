//! Training of a byte-level BPE vocabulary (Sennrich et al. 2016, algorithm 1, over bytes as in GPT-2).
//!
//! Written here because the library's trainer depends on the order of its hash maps when two merges make the
//! same token, and we promise the same bytes for the same texts. Ties go to the pair with the smaller ids.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use tokenizers::tokenizer::{OffsetReferential, OffsetType, PreTokenizer as _};

use crate::byte_level::{byte_to_char, token_to_bytes};
use crate::{BpeParts, Error, PreTokenizer, Result, TokenType, Tokenizer, picnic};

/// A pair that occurs only once saves too little to be worth a token.
const MIN_COUNT: u64 = 2;

/// What to train.
#[derive(Clone, Debug)]
pub struct TrainConfig {
    /// Tokens at most, all kinds together. Fewer when the texts have no pair left that occurs twice.
    pub vocab_size: usize,
    /// Tokens that are no text, such as the end of a turn. They take the first ids.
    pub special_tokens: Vec<String>,
    /// Text that is always one token, such as `<think>`. It takes the next ids.
    pub added_tokens: Vec<String>,
    /// The special token that begins every sequence.
    pub bos: Option<String>,
    /// The special token that ends every sequence or turn.
    pub eos: Option<String>,
    /// Never merge digits: arithmetic is easier to learn.
    pub individual_digits: bool,
    /// Never merge characters at all, but for the bytes of each: spelling is easier to learn, and texts in words take about
    /// twice as many tokens.
    pub individual_characters: bool,
    /// Where characters stay single: how many of the most frequent words are tokens whole all the same, as far as there is
    /// room. A word has the blank or mark before it that Llama 3's cutting leaves there: ` what`, `(what` and `what` are
    /// three. A word is seen whole or by its letters then, never in pieces.
    pub whole_words: usize,
    /// Words in small letters that are never whole, however they are capitalised: those whose spelling is to be read off
    /// and not remembered.
    pub spelled_words: HashSet<String>,
}

impl Default for TrainConfig {
    /// Picnic's own special tokens and marks, 4096 tokens in all.
    fn default() -> Self {
        let owned = |tokens: [&str; 4]| tokens.map(str::to_owned).to_vec();
        Self {
            vocab_size: 4096,
            special_tokens: owned([picnic::BOS, picnic::EOS, picnic::USER, picnic::ASSISTANT]),
            added_tokens: owned(picnic::MARKS),
            bos: Some(picnic::BOS.to_owned()),
            eos: Some(picnic::EOS.to_owned()),
            individual_digits: true,
            individual_characters: false,
            whole_words: 0,
            spelled_words: HashSet::new(),
        }
    }
}

impl Tokenizer {
    /// Trains on `texts`. Every byte is a token, so any UTF-8 survives encoding and decoding. The same
    /// texts in any order give the same tokenizer.
    ///
    /// # Errors
    /// When `vocab_size` has no room for the bytes and the named tokens, `bos` or `eos` is not special, or words are to be
    /// whole where characters merge.
    pub fn train<S: AsRef<str>>(texts: impl IntoIterator<Item = S>, config: &TrainConfig) -> Result<Self> {
        let mut parts = config.untrained()?;
        let untrained = Self::from_bpe(parts.clone())?;
        let mut words: BTreeMap<String, u64> = BTreeMap::new();
        for text in texts {
            count_words(&untrained, text.as_ref(), &mut words)?;
        }
        if config.individual_characters {
            learn_merges(&characters(&words), config.vocab_size, &mut parts);
            take_whole_words(words, config, &mut parts);
        } else {
            learn_merges(&words, config.vocab_size, &mut parts);
        }
        Self::from_bpe(parts)
    }
}

impl TrainConfig {
    /// The vocabulary before any merge: special tokens, added tokens, bytes.
    fn untrained(&self) -> Result<BpeParts> {
        let named = self.special_tokens.len() + self.added_tokens.len();
        if self.vocab_size < named + 256 {
            return Err(Error::Train(format!(
                "vocab_size {} is too small: {named} named tokens and 256 bytes need {}",
                self.vocab_size,
                named + 256
            )));
        }
        if self.whole_words > 0 && !self.individual_characters {
            return Err(Error::Train("words are whole only where characters stay single".to_owned()));
        }
        if self.whole_words > 0 && !self.individual_characters {
            return Err(Error::Train("words are whole only where characters stay single".to_owned()));
        }
        let id = |key: &str, token: &Option<String>| match token {
            None => Ok(None),
            Some(token) => match self.special_tokens.iter().position(|s| s == token) {
                Some(id) => Ok(Some(id as u32)),
                None => Err(Error::Train(format!("`{key}` is {token:?}, which is not among the special tokens"))),
            },
        };
        let (bos, eos) = (id("bos", &self.bos)?, id("eos", &self.eos)?);
        let named_tokens = self.special_tokens.iter().chain(&self.added_tokens).cloned();
        let bytes = (0..=255).map(|byte| byte_to_char(byte).to_string());
        let mut token_types = vec![TokenType::Control; self.special_tokens.len()];
        token_types.resize(named, TokenType::UserDefined);
        token_types.resize(named + 256, TokenType::Normal);
        Ok(BpeParts {
            tokens: named_tokens.chain(bytes).collect(),
            merges: Vec::new(),
            token_types,
            pre_tokenizer: match (self.whole_words, self.individual_digits) {
                // The one that takes whole words from the vocabulary wherever it is read. No two digits merge there
                // either, as no word has one.
                (1.., _) => PreTokenizer::Llama3,
                (0, true) => PreTokenizer::SmolLm,
                (0, false) => PreTokenizer::Gpt2,
            },
            ignore_merges: self.whole_words > 0,
            bos,
            eos,
            add_bos: self.bos.is_some(),
            add_eos: false,
        })
    }
}

/// Cuts `text` as encoding does and counts the words, which are in the alphabet of byte-level BPE.
fn count_words(tokenizer: &Tokenizer, text: &str, words: &mut BTreeMap<String, u64>) -> Result<()> {
    let library = &tokenizer.library;
    let mut pieces = library.get_added_vocabulary().extract_and_normalize(library.get_normalizer(), text);
    if let Some(pre_tokenizer) = library.get_pre_tokenizer() {
        let cut = pre_tokenizer.pre_tokenize(&mut pieces);
        cut.map_err(|error| Error::Train(error.to_string()))?;
    }
    // A piece that already is a token is a named one.
    for (word, _, token) in pieces.get_splits(OffsetReferential::Original, OffsetType::None) {
        if token.is_some() {
            continue;
        }
        match words.get_mut(word) {
            Some(count) => *count += 1,
            None => drop(words.insert(word.to_owned(), 1)),
        }
    }
    Ok(())
}

/// The characters of several bytes in `words`, each as if it were a word.
fn characters(words: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut characters: BTreeMap<String, u64> = BTreeMap::new();
    let mut bytes = [0; 4];
    for (word, count) in words {
        for character in text_of(word).chars().filter(|character| character.len_utf8() > 1) {
            let character = character.encode_utf8(&mut bytes).bytes().map(byte_to_char).collect();
            *characters.entry(character).or_default() += count;
        }
    }
    characters
}

/// Makes tokens of the most frequent words of two letters or more.
fn take_whole_words(words: BTreeMap<String, u64>, config: &TrainConfig, parts: &mut BpeParts) {
    let may_be_whole = |word: &str| {
        let letters: String = text_of(word).chars().filter(|character| character.is_alphabetic()).collect();
        letters.chars().count() > 1 && !config.spelled_words.contains(&letters.to_lowercase())
    };
    let mut words: Vec<(String, u64)> = words.into_iter().collect();
    words.retain(|(word, count)| *count >= MIN_COUNT && may_be_whole(word));
    words.sort_by_key(|(_, count)| Reverse(*count));
    words.truncate(config.whole_words.min(config.vocab_size - parts.tokens.len()));
    parts.token_types.resize(parts.tokens.len() + words.len(), TokenType::Normal);
    parts.tokens.extend(words.into_iter().map(|(word, _)| word));
}

/// The text of a word in the alphabet of byte-level BPE.
fn text_of(word: &str) -> String {
    String::from_utf8_lossy(&token_to_bytes(word)).into_owned()
}

type Pair = (u32, u32);

/// Merges the most frequent pair until the vocabulary is full or no pair is frequent enough.
fn learn_merges(words: &BTreeMap<String, u64>, vocab_size: usize, parts: &mut BpeParts) {
    let named: HashSet<String> = named_tokens(parts);
    let mut ids: HashMap<String, u32> = (0..).zip(&parts.tokens).map(|(id, t)| (t.clone(), id)).collect();
    let mut words: Vec<(Vec<u32>, u64)> = words
        .iter()
        .map(|(word, count)| (word.chars().map(|byte| ids[byte.to_string().as_str()]).collect(), *count))
        .collect();
    let mut pairs: HashMap<Pair, Occurrences> = HashMap::new();
    for (index, (word, count)) in words.iter().enumerate() {
        for pair in word.windows(2) {
            pairs.entry((pair[0], pair[1])).or_default().add(*count, index);
        }
    }
    let mut queue: BinaryHeap<(u64, Reverse<Pair>)> =
        pairs.iter().map(|(pair, found)| (found.count, Reverse(*pair))).collect();
    // A pair comes back when another merge makes one of its halves again; its rule stands already.
    let mut done: HashSet<Pair> = HashSet::new();
    while parts.tokens.len() < vocab_size {
        let Some((count, Reverse(pair))) = queue.pop() else {
            break;
        };
        if count < MIN_COUNT {
            break;
        }
        let found = pairs.get_mut(&pair).map(std::mem::take).unwrap_or_default();
        // A count in the queue is never too small, so one that is right is the largest of all.
        if found.count != count {
            if found.count > 0 {
                queue.push((found.count, Reverse(pair)));
                pairs.insert(pair, found);
            }
            continue;
        }
        let (left, right) = (&parts.tokens[pair.0 as usize], &parts.tokens[pair.1 as usize]);
        let token = format!("{left}{right}");
        if named.contains(&token) {
            continue;
        }
        let rule = format!("{left} {right}");
        if done.insert(pair) {
            parts.merges.push(rule);
        }
        // Two ways may lead to one token: "a" + "bc" and "ab" + "c".
        let id = *ids.entry(token.clone()).or_insert_with(|| {
            parts.tokens.push(token);
            parts.token_types.push(TokenType::Normal);
            parts.tokens.len() as u32 - 1
        });
        let mut grown: HashSet<Pair> = HashSet::new();
        for index in found.words {
            let (word, count) = &mut words[index];
            let merged = merge(word, pair, id);
            for old in word.windows(2) {
                if let Some(found) = pairs.get_mut(&(old[0], old[1])) {
                    found.count = found.count.saturating_sub(*count);
                }
            }
            for new in merged.windows(2) {
                let new = (new[0], new[1]);
                let found = pairs.entry(new).or_default();
                if new.0 == id || new.1 == id {
                    found.add(*count, index);
                    grown.insert(new);
                } else {
                    found.count += *count;
                }
            }
            *word = merged;
        }
        queue.extend(grown.into_iter().map(|pair| (pairs[&pair].count, Reverse(pair))));
    }
}

/// Where a pair occurs.
#[derive(Default)]
struct Occurrences {
    /// How often, over all words.
    count: u64,
    /// The words that hold it or once did. A word may stand here twice.
    words: Vec<usize>,
}

impl Occurrences {
    fn add(&mut self, count: u64, word: usize) {
        self.count += count;
        if self.words.last() != Some(&word) {
            self.words.push(word);
        }
    }
}

fn named_tokens(parts: &BpeParts) -> HashSet<String> {
    let kinds = parts.tokens.iter().zip(&parts.token_types);
    kinds.filter(|(_, kind)| **kind != TokenType::Normal).map(|(token, _)| token.clone()).collect()
}

/// Replaces `pair` by `id` from left to right.
fn merge(word: &[u32], pair: Pair, id: u32) -> Vec<u32> {
    let mut merged = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, tail @ ..] = rest {
        if *first == pair.0 && tail.first() == Some(&pair.1) {
            merged.push(id);
            rest = &tail[1..];
        } else {
            merged.push(*first);
            rest = tail;
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: count everything anew before each merge.
    fn learn_merges_slowly(words: &BTreeMap<String, u64>, vocab_size: usize, parts: &mut BpeParts) {
        let named = named_tokens(parts);
        let mut words: Vec<(Vec<String>, u64)> =
            words.iter().map(|(word, count)| (word.chars().map(String::from).collect(), *count)).collect();
        while parts.tokens.len() < vocab_size {
            let id = |token: &String| parts.tokens.iter().position(|t| t == token).unwrap();
            let mut counts: HashMap<(usize, usize), u64> = HashMap::new();
            for (word, count) in &words {
                for pair in word.windows(2) {
                    *counts.entry((id(&pair[0]), id(&pair[1]))).or_default() += count;
                }
            }
            let allowed = counts.into_iter().filter(|((left, right), count)| {
                let token = format!("{}{}", parts.tokens[*left], parts.tokens[*right]);
                *count >= MIN_COUNT && !named.contains(&token)
            });
            let Some(((left, right), _)) = allowed.max_by_key(|(pair, count)| (*count, Reverse(*pair))) else {
                break;
            };
            let (left, right) = (parts.tokens[left].clone(), parts.tokens[right].clone());
            let rule = format!("{left} {right}");
            if !parts.merges.contains(&rule) {
                parts.merges.push(rule);
            }
            let token = format!("{left}{right}");
            for (word, _) in &mut words {
                let mut at = 0;
                while at + 1 < word.len() {
                    if word[at] == left && word[at + 1] == right {
                        word[at] = token.clone();
                        word.remove(at + 1);
                    }
                    at += 1;
                }
            }
            if !parts.tokens.contains(&token) {
                parts.tokens.push(token);
                parts.token_types.push(TokenType::Normal);
            }
        }
    }

    fn config(vocab_size: usize) -> TrainConfig {
        TrainConfig { vocab_size, ..TrainConfig::default() }
    }

    proptest! {
        /// Few letters and long words make many ties and many ways to one token.
        #[test]
        fn fast_and_slow_learn_the_same(
            words in prop::collection::btree_map("[ab]{1,12}|[a-d]{1,9}", 1u64..9, 0..25),
            merges in 0usize..40,
        ) {
            let config = TrainConfig { added_tokens: vec!["ab".to_owned()], ..config(4096) };
            let (mut fast, mut slow) = (config.untrained().unwrap(), config.untrained().unwrap());
            let vocab_size = fast.tokens.len() + merges;
            learn_merges(&words, vocab_size, &mut fast);
            learn_merges_slowly(&words, vocab_size, &mut slow);
            prop_assert_eq!(fast.merges, slow.merges);
            prop_assert_eq!(fast.tokens, slow.tokens);
        }
    }

    #[test]
    fn the_same_texts_give_the_same_bytes_in_any_order() {
        let mut texts: Vec<String> = (0..500u32)
            .map(|n| format!("<think>{n} times {} is {}.</think> Grüße, 世界 {n}!", n + 1, n * (n + 1)))
            .collect();
        let first = Tokenizer::train(&texts, &config(600)).unwrap();
        texts.reverse();
        let second = Tokenizer::train(&texts, &config(600)).unwrap();
        assert_eq!(first.to_json().unwrap(), second.to_json().unwrap());
    }

    #[test]
    fn characters_can_stay_single() {
        let texts = ["Spell picnic.", "Напиши слово наоборот: банан", "Напиши слово наоборот: банан"];
        let single = TrainConfig { individual_characters: true, ..config(4096) };
        let tokenizer = Tokenizer::train(texts, &single).unwrap();
        let tokens = |text: &str| tokenizer.encode(text, false).unwrap().len();
        assert_eq!(tokens("Spell the word picnic"), 21);
        assert_eq!(tokens("слово наоборот"), 14);
        // A letter that the texts lack stays in its bytes.
        assert_eq!(tokens("щ"), 2);
        let text = "Spell слово щ €";
        assert_eq!(tokenizer.decode(&tokenizer.encode(text, false).unwrap(), true), text);
    }

    #[test]
    fn frequent_words_are_whole_where_characters_stay_single() {
        let texts = ["Spell the word picnic. 347+289", "Spell the word stone: слово 12", "the слово, я и ты: a - b"];
        // Twice each: `Spell`, ` the`, ` word` and ` слово`; the last by the alphabet of bytes has no place.
        let whole = TrainConfig { individual_characters: true, whole_words: 3, ..config(4096) };
        let tokenizer = Tokenizer::train(texts, &whole).unwrap();
        let tokens = |text: &str| tokenizer.encode(text, false).unwrap().len();
        assert_eq!((tokens("Spell the word"), tokens(" слово")), (3, 6));
        assert_eq!((tokens(" picnic"), tokens("the"), tokens(" words"), tokens(" 347")), (7, 3, 6, 4));
        let text = "Spell the слово щ € a";
        assert_eq!(tokenizer.decode(&tokenizer.encode(text, false).unwrap(), true), text);
        let spelled_words = HashSet::from(["word".to_owned()]);
        let tokenizer = Tokenizer::train(texts, &TrainConfig { spelled_words, ..whole.clone() }).unwrap();
        assert_eq!(tokenizer.encode(" the word", false).unwrap().len(), 1 + 5);
        // No more than the vocabulary has room for.
        let full = TrainConfig { vocab_size: 256 + 8 + 6, ..whole.clone() };
        assert_eq!(Tokenizer::train(texts, &full).unwrap().vocab_size(), 256 + 8 + 6);
        let merging = TrainConfig { individual_characters: false, ..whole };
        assert!(Tokenizer::train(texts, &merging).is_err_and(|error| error.to_string().contains("characters")));
    }

    #[test]
    fn digits_stand_alone_and_marks_are_one_token() {
        let texts = ["<think>the number 1234 is 1234</think><answer>1234</answer>"; 9];
        let tokenizer = Tokenizer::train(texts, &config(300)).unwrap();
        let ids = tokenizer.encode("<think>1234</think>", true).unwrap();
        assert_eq!(ids.len(), 1 + 1 + 4 + 1);
        assert_eq!(tokenizer.bos(), Some(ids[0]));
        assert_eq!(tokenizer.decode(&ids, true), "<think>1234</think>");
        assert!(tokenizer.token_to_id("Ġnumber").is_some());
        assert!(tokenizer.token_to_id("12").is_none());
        let together = TrainConfig { individual_digits: false, ..config(300) };
        let tokenizer = Tokenizer::train(texts, &together).unwrap();
        assert!(tokenizer.token_to_id("1234").is_some());
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        let error = Tokenizer::train([""], &config(100)).unwrap_err().to_string();
        assert!(error.contains("264"), "{error}");
        let bos = TrainConfig { bos: Some("<s>".to_owned()), ..config(300) };
        assert!(Tokenizer::train([""], &bos).is_err());
        // Without any text the bytes remain.
        let bytes = Tokenizer::train::<&str>([], &config(300)).unwrap();
        assert_eq!(bytes.vocab_size(), 264);
    }
}
