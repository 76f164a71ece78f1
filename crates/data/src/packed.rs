//! Pre-training sequences: documents after one another, without a mask between them (DeepSeek-V3, section 4.1).

use picnic_tokenizer::{Error, Tokenizer};

/// Documents that a sequence may draw from before the next sequence's begin.
const DOCUMENTS: u64 = 1 << 20;

/// Sequence `index`: `length` tokens of the texts that `document(i)` gives, each followed by the end-of-text token, the
/// last cut short.
///
/// # Errors
/// A text that cannot be encoded.
pub fn packed(
    tokenizer: &Tokenizer,
    index: u64,
    length: usize,
    document: impl Fn(u64) -> String,
) -> Result<Vec<u32>, Error> {
    let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
    let first = index.wrapping_mul(DOCUMENTS);
    for i in 0..DOCUMENTS {
        if ids.len() >= length {
            break;
        }
        ids.extend(tokenizer.encode(&document(first.wrapping_add(i)), false)?);
        ids.extend(tokenizer.eos());
    }
    ids.truncate(length);
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_tokenizer::TrainConfig;

    #[test]
    fn sequences_are_full_and_differ() {
        let text = |i: u64| format!("{i} apples and {} pears", i % 7);
        let config = TrainConfig { vocab_size: 300, ..TrainConfig::default() };
        let tokenizer = Tokenizer::train((0..50).map(text), &config).unwrap();
        let sequence = |index| packed(&tokenizer, index, 100, text).unwrap();
        assert_eq!(sequence(0).len(), 100);
        assert_eq!(sequence(3), sequence(3));
        assert_ne!(sequence(3), sequence(4));
        assert!(tokenizer.decode(&sequence(0), true).starts_with("0 apples and 0 pears1 apples"));
    }
}
