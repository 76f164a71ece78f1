//! The GGUF container, versions 2 and 3: metadata, tensor directory, aligned data.
//!
//! Nothing here knows of models. Counts and lengths in the file are never trusted with an
//! allocation: arrays stay bytes in the mapped file until somebody asks for their elements.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use crate::checkpoint::encoding::Encoding;
use crate::checkpoint::error::{CheckpointError, FETCH_AGAIN, quoted};
use crate::checkpoint::mapped::MappedFile;
use crate::checkpoint::refused;

/// A parsed header over the bytes of its file.
pub(super) struct Gguf<'a> {
    pub(super) path: &'a Path,
    metadata: BTreeMap<&'a str, Value<'a>>,
    pub(super) tensors: Vec<Tensor<'a>>,
}

/// An entry of the tensor directory, checked against the file's size.
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) encoding: Encoding,
    /// Sizes, the fastest-running last: the reverse of the file's order.
    pub(super) shape: Vec<usize>,
    /// Position in the file; empty for an encoding that we do not know.
    pub(super) bytes: Range<usize>,
}

/// A metadata value.
#[derive(Clone, Copy)]
enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    /// `count` elements of a type, as they lie in the file.
    Array(u32, u64, &'a [u8]),
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

impl<'a> Gguf<'a> {
    /// Reads and checks the header of `file`.
    pub(super) fn parse(file: &'a MappedFile) -> Result<Self, CheckpointError> {
        let bytes = file.bytes();
        match bytes {
            // A version in big-endian order begins with zeros.
            [b'G', b'G', b'U', b'F', 0, 0, ..] => return Err(refused::big_endian(file.path())),
            [b'F', b'U', b'G', b'G', ..] => return Err(refused::big_endian(file.path())),
            [b'G', b'G', b'U', b'F', ..] => {}
            other => {
                if let Some(error) = refused::by_bytes(file.path(), other) {
                    return Err(error);
                }
            }
        }
        let mut reader = Reader { bytes, at: 0 };
        parse(&mut reader, file.path()).map_err(|problem| CheckpointError::damaged(file.path(), problem, FETCH_AGAIN))
    }

    pub(super) fn unsigned(&self, key: &str) -> Result<Option<u64>, CheckpointError> {
        self.typed(key, "a whole number of 0 or more", |value| match value {
            Value::Unsigned(n) => Some(n),
            Value::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        })
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.typed(key, "a number", |value| match value {
            Value::Float(x) => Some(x),
            _ => None,
        })
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, CheckpointError> {
        self.typed(key, "true or false", |value| match value {
            Value::Bool(b) => Some(b),
            _ => None,
        })
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, CheckpointError> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, CheckpointError> {
        self.typed(key, "a list of UTF-8 texts", |value| match value {
            Value::Array(TEXT, count, bytes) => {
                let mut reader = Reader { bytes, at: 0 };
                (0..count).map(|_| reader.text().ok().map(str::to_owned)).collect()
            }
            _ => None,
        })
    }

    pub(super) fn ints(&self, key: &str) -> Result<Option<Vec<i32>>, CheckpointError> {
        self.typed(key, "a list of 32-bit numbers", |value| match value {
            Value::Array(4 | 5, _, bytes) => {
                let words = bytes.as_chunks().0.iter();
                Some(words.map(|word| i32::from_le_bytes(*word)).collect())
            }
            _ => None,
        })
    }

    /// Whether the key holds a list, of whatever kind.
    pub(super) fn is_list(&self, key: &str) -> bool {
        matches!(self.metadata.get(key), Some(Value::Array(..)))
    }

    /// Also of whole numbers, in which some converters write scores.
    pub(super) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, CheckpointError> {
        self.typed(key, "a list of 32-bit numbers", |value| match value {
            Value::Array(6, _, bytes) => {
                let words = bytes.as_chunks().0.iter();
                Some(words.map(|word| f32::from_le_bytes(*word)).collect())
            }
            Value::Array(5, _, bytes) => {
                let words = bytes.as_chunks().0.iter();
                Some(words.map(|word| i32::from_le_bytes(*word) as f32).collect())
            }
            _ => None,
        })
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let Some(&value) = self.metadata.get(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| {
            let problem = format!("metadata `{key}` is not {wanted}");
            CheckpointError::damaged(self.path, problem, FETCH_AGAIN)
        })
    }
}

fn parse<'a>(reader: &mut Reader<'a>, path: &'a Path) -> Result<Gguf<'a>, String> {
    if reader.take(4)? != b"GGUF" {
        return Err("does not begin as a GGUF file".into());
    }
    match reader.u32()? {
        2 | 3 => {}
        version => return Err(format!("has version {version}; 2 and 3 can be read")),
    }
    let (n_tensors, n_metadata) = (reader.u64()?, reader.u64()?);
    let mut metadata = BTreeMap::new();
    for _ in 0..n_metadata {
        let key = reader.text().map_err(|e| format!("metadata beside {}: {e}", metadata.len()))?;
        let value =
            reader.u32().and_then(|kind| reader.value(kind)).map_err(|e| format!("metadata {}: {e}", quoted(key)))?;
        if metadata.insert(key, value).is_some() {
            return Err(format!("metadata {} is there twice", quoted(key)));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(Value::Unsigned(n)) if n.is_power_of_two() && *n <= 1 << 20 => *n as usize,
        Some(_) => {
            return Err("metadata `general.alignment` is no power of two up to 2^20".into());
        }
    };
    let mut tensors = Vec::new();
    for i in 0..n_tensors {
        let name = reader.text().map_err(|e| format!("tensor {i}: {e}"))?;
        let tensor = reader.tensor(name, alignment).map_err(|e| format!("tensor {} {e}", quoted(name)))?;
        tensors.push(tensor);
    }
    place(&mut tensors, reader, alignment)?;
    Ok(Gguf { path, metadata, tensors })
}

/// Turns offsets into positions in the file and checks that they lie in it, each apart.
fn place(tensors: &mut [Tensor], reader: &Reader, alignment: usize) -> Result<(), String> {
    let (data, end) = (reader.at.next_multiple_of(alignment), reader.bytes.len());
    let mut names = BTreeSet::new();
    for tensor in tensors.iter_mut() {
        let problem = |what: String| format!("tensor {} {what}", quoted(tensor.name));
        if !names.insert(tensor.name) {
            return Err(problem("is there twice".into()));
        }
        let range = (data.checked_add(tensor.bytes.start), data.checked_add(tensor.bytes.end));
        match range {
            (Some(first), Some(last)) if last <= end => tensor.bytes = first..last,
            _ => {
                let Range { start, end: stop } = tensor.bytes;
                let have = end.saturating_sub(data);
                return Err(problem(format!(
                    "lies at bytes {start} to {stop} of {have} that the file has for data, so its end is missing"
                )));
            }
        }
    }
    let mut order: Vec<&Tensor> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.bytes.start, tensor.bytes.end));
    for pair in order.windows(2) {
        if let [a, b] = pair
            && a.bytes.end > b.bytes.start
        {
            let (a, b) = (quoted(a.name), quoted(b.name));
            return Err(format!("tensors {a} and {b} overlap"));
        }
    }
    Ok(())
}

/// A cursor that never passes the end. Errors say what the bytes before it were cut off in.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(count) {
            Ok(count) if count <= rest.len() => {
                self.at += count;
                Ok(&rest[..count])
            }
            _ => Err(format!("needs {count} bytes where {} are left", rest.len())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N as u64)?;
        bytes.try_into().map_err(|_| "is cut off".to_owned())
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let length = self.u64()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| "is not UTF-8".into())
    }

    fn value(&mut self, kind: u32) -> Result<Value<'a>, String> {
        Ok(match kind {
            0 => Value::Unsigned(self.array().map(u8::from_le_bytes)?.into()),
            1 => Value::Signed(self.array().map(i8::from_le_bytes)?.into()),
            2 => Value::Unsigned(self.array().map(u16::from_le_bytes)?.into()),
            3 => Value::Signed(self.array().map(i16::from_le_bytes)?.into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(self.array().map(i32::from_le_bytes)?.into()),
            6 => Value::Float(as_written(self.array().map(f32::from_le_bytes)?)),
            7 => Value::Bool(self.array::<1>()? != [0]),
            TEXT => Value::Text(self.text()?),
            ARRAY => {
                let (kind, count) = (self.u32()?, self.u64()?);
                let start = self.at;
                self.skip_elements(kind, count)?;
                Value::Array(kind, count, &self.bytes[start..self.at])
            }
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(self.array().map(i64::from_le_bytes)?),
            12 => Value::Float(self.array().map(f64::from_le_bytes)?),
            other => return Err(format!("has the unknown type {other}")),
        })
    }

    fn skip_elements(&mut self, kind: u32, count: u64) -> Result<(), String> {
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            TEXT => {
                // Every text takes at least its length's eight bytes, so a false count ends soon.
                for _ in 0..count {
                    let length = self.u64()?;
                    self.take(length)?;
                }
                return Ok(());
            }
            other => return Err(format!("is a list of the unsupported type {other}")),
        };
        self.take(count.saturating_mul(width)).map(|_| ())
    }

    /// A directory entry after its name. `bytes` still counts from the start of the data.
    fn tensor(&mut self, name: &'a str, alignment: usize) -> Result<Tensor<'a>, String> {
        let n_dims = self.u32()?;
        if !(1..=4).contains(&n_dims) {
            return Err(format!("has {n_dims} dimensions, not 1 to 4"));
        }
        let mut shape = Vec::with_capacity(4);
        for _ in 0..n_dims {
            let size = usize::try_from(self.u64()?).map_err(|_| "is too large")?;
            shape.push(size);
        }
        let row = shape[0];
        shape.reverse();
        let values = shape
            .iter()
            .try_fold(1usize, |n, &size| n.checked_mul(size).filter(|&n| n > 0 && n <= isize::MAX as usize));
        let values = values.ok_or_else(|| format!("has the impossible shape {shape:?}"))?;
        let encoding = Encoding::of_ggml(self.u32()?);
        let offset = self.u64()?;
        let start = usize::try_from(offset).map_err(|_| "starts past the end")?;
        if !start.is_multiple_of(alignment) {
            return Err(format!("starts at {start}, off the alignment {alignment}"));
        }
        let length = match encoding.block() {
            None => 0,
            Some((block, _)) if !row.is_multiple_of(block) => {
                return Err(format!("has rows of {row}, no multiple of {block}"));
            }
            Some((block, width)) => {
                (values / block).checked_mul(width).ok_or_else(|| format!("has the impossible shape {shape:?}"))?
            }
        };
        let end = start.checked_add(length).ok_or_else(|| format!("starts past the end, at {start}"))?;
        Ok(Tensor { name, encoding, shape, bytes: start..end })
    }
}

/// The decimal that the writer of an f32 meant: 1e-5 rather than 9.999999747378752e-6.
fn as_written(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}
