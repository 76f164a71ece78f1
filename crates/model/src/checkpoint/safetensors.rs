//! The header of a safetensors file: 8 bytes of length, then JSON, then the tensors without gaps.
//!
//! The format is read here rather than by the crate `safetensors` because that crate lets a
//! duplicated name pass and does not say which tensor's type, shape or size is wrong.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::encoding::Encoding;
use super::error::{CheckpointError, FETCH_AGAIN, quoted};
use super::mapped::MappedFile;
use super::refused;
use super::tensor::Entry;

/// The format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// More than any weight has; it keeps errors short.
const MAX_DIMENSIONS: usize = 16;

/// Reads and checks the header of `file`, which has index `index` in the checkpoint.
pub(super) fn entries(file: &MappedFile, index: usize) -> Result<Vec<(String, Entry)>, CheckpointError> {
    let damaged = |problem: String| CheckpointError::damaged(file.path(), problem, FETCH_AGAIN);
    let bytes = file.bytes();
    // A header begins with a brace; what begins otherwise may be known.
    if bytes.get(8) != Some(&b'{')
        && let Some(error) = refused::by_bytes(file.path(), bytes)
    {
        return Err(error);
    }
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| damaged(format!("has {} bytes, fewer than a header", bytes.len())))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES || length > rest.len() as u64 {
        return Err(damaged(format!(
            "announces a header of {length} bytes, but has {} bytes after the first 8",
            rest.len()
        )));
    }
    let (header, data) = rest.split_at(length as usize);
    let mut header: Header =
        serde_json::from_slice(header).map_err(|e| damaged(format!("has an unreadable header: {e}")))?;
    header.0.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));

    let mut entries = Vec::with_capacity(header.0.len());
    let mut end_before = 0;
    for (name, info) in header.0 {
        let [start, end] = info.data_offsets;
        let damaged = |problem: String| damaged(format!("tensor {} {problem}", quoted(&name)));
        if start > end || end > data.len() as u64 {
            let have = data.len();
            return Err(damaged(format!("lies at bytes {start} to {end} of {have}, so the file's end is missing")));
        }
        if start != end_before {
            return Err(damaged(format!("starts at byte {start}, but the one before it ends at {end_before}")));
        }
        end_before = end;
        if info.shape.len() > MAX_DIMENSIONS {
            return Err(damaged(format!("has {} dimensions", info.shape.len())));
        }
        let encoding = Encoding::of_safetensors(&info.dtype);
        if let Some((_, width)) = encoding.block() {
            let size = info.shape.iter().try_fold(width as u64, |size, &n| size.checked_mul(n));
            if size != Some(end - start) {
                let (found, bytes) = (&info.shape, end - start);
                return Err(damaged(format!("of shape {found:?} and type {encoding} has {bytes} bytes")));
            }
        }
        let sizes = info.shape.iter().map(|&n| usize::try_from(n));
        let shape = sizes.collect::<Result<_, _>>().map_err(|_| damaged("is too large for this machine".into()))?;
        // The data start after the header, and `end` lies within them.
        let data = 8 + length as usize;
        entries.push((name, Entry::plain(index, encoding, shape, data + start as usize..data + end as usize)));
    }
    if end_before != data.len() as u64 {
        let have = data.len();
        return Err(damaged(format!("holds {have} bytes of data, but its tensors end at {end_before}")));
    }
    Ok(entries)
}

#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Tensors in the header's order; the free-form `__metadata__` is skipped.
struct Header(Vec<(String, Info)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let info =
                map.next_value::<Info>().map_err(|e| A::Error::custom(format!("tensor {}: {e}", quoted(&name))))?;
            tensors.push((name, info));
        }
        Ok(Header(tensors))
    }
}
