//! The parts of a `tokenizer.model` that matter here: SentencePiece's `ModelProto`, a protocol buffer.
//!
//! The reader knows the four wire types in use and skips fields that it does not know. Nothing is allocated that the
//! file's own bytes do not fill. Left out: what training used and encoding does not, and rules for decoding
//! (`denormalizer_spec`).

use std::str;

use crate::{Error, Result, TokenType};

/// A `tokenizer.model`.
#[derive(Debug, Default)]
pub(super) struct ModelProto {
    pub(super) pieces: Vec<String>,
    pub(super) scores: Vec<f32>,
    pub(super) types: Vec<TokenType>,
    pub(super) trainer: TrainerSpec,
    pub(super) normalizer: NormalizerSpec,
}

/// Settings of the vocabulary, with the defaults of `sentencepiece_model.proto`.
#[derive(Debug)]
pub(super) struct TrainerSpec {
    /// 1 Unigram, 2 BPE, 3 words, 4 characters.
    pub(super) model_type: u64,
    pub(super) treat_whitespace_as_suffix: bool,
    pub(super) byte_fallback: bool,
    /// Negative ids stand for no such token.
    pub(super) unk_id: i64,
    pub(super) bos_id: i64,
    pub(super) eos_id: i64,
}

impl Default for TrainerSpec {
    fn default() -> Self {
        Self { model_type: 1, treat_whitespace_as_suffix: false, byte_fallback: false, unk_id: 0, bos_id: 1, eos_id: 2 }
    }
}

/// What happens to a text first, with the defaults of `sentencepiece_model.proto`.
#[derive(Debug)]
pub(super) struct NormalizerSpec {
    pub(super) charsmap: Vec<u8>,
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
    pub(super) escape_whitespaces: bool,
}

impl Default for NormalizerSpec {
    fn default() -> Self {
        Self { charsmap: Vec::new(), add_dummy_prefix: true, remove_extra_whitespaces: true, escape_whitespaces: true }
    }
}

impl ModelProto {
    /// Reads the file's bytes.
    ///
    /// # Errors
    /// Bytes that are no protocol buffer, or one without pieces.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let mut model = Self::default();
        for field in Fields(bytes) {
            match field? {
                (1, Field::Bytes(piece)) => model.piece(piece)?,
                (2, Field::Bytes(spec)) => model.trainer = TrainerSpec::parse(spec)?,
                (3, Field::Bytes(spec)) => model.normalizer = NormalizerSpec::parse(spec)?,
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err(damaged("it has no pieces"));
        }
        Ok(model)
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        let (mut text, mut score, mut kind) = ("", 0.0, TokenType::Normal);
        for field in Fields(bytes) {
            match field? {
                (1, Field::Bytes(bytes)) => {
                    text = str::from_utf8(bytes).map_err(|_| damaged("a piece is not UTF-8"))?;
                }
                (2, Field::Float(value)) => score = value,
                (3, Field::Number(number)) => kind = i32::try_from(number).map_or(kind, TokenType::from),
                _ => {}
            }
        }
        if !score.is_finite() {
            return Err(damaged("a score is not a number"));
        }
        self.pieces.push(text.to_owned());
        self.scores.push(score);
        self.types.push(kind);
        Ok(())
    }
}

impl TrainerSpec {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut spec = Self::default();
        for field in Fields(bytes) {
            match field? {
                (3, Field::Number(number)) => spec.model_type = number,
                (24, Field::Number(number)) => spec.treat_whitespace_as_suffix = number != 0,
                (35, Field::Number(number)) => spec.byte_fallback = number != 0,
                // A negative number is written as its two's complement.
                (40, Field::Number(number)) => spec.unk_id = number as i64,
                (41, Field::Number(number)) => spec.bos_id = number as i64,
                (42, Field::Number(number)) => spec.eos_id = number as i64,
                _ => {}
            }
        }
        Ok(spec)
    }
}

impl NormalizerSpec {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut spec = Self::default();
        for field in Fields(bytes) {
            match field? {
                (2, Field::Bytes(table)) => spec.charsmap = table.to_vec(),
                (3, Field::Number(number)) => spec.add_dummy_prefix = number != 0,
                (4, Field::Number(number)) => spec.remove_extra_whitespaces = number != 0,
                (5, Field::Number(number)) => spec.escape_whitespaces = number != 0,
                _ => {}
            }
        }
        Ok(spec)
    }
}

/// The fields of one message, each with its number.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    /// Eight bytes, which no field here has.
    Double,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            // Nothing after a broken field can be trusted.
            self.0 = &[];
        }
        Some(field.ok_or_else(|| damaged("it is no protocol buffer, or cut off")))
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Double
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Float(f32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, field))
    }

    /// Seven bits a byte, the lowest first, as long as the highest bit is set.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

fn damaged(reason: &str) -> Error {
    Error::Vocabulary(format!("{reason}: fetch tokenizer.model again"))
}
