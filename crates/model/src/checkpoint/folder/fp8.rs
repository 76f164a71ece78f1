//! FP8 files: E4M3 values with factors beside them. DeepSeek has one for each block of a matrix (`NAME_scale_inv`), others
//! one for each row or one for all of it (`NAME_scale`). Either is what the values are multiplied by.

use std::collections::BTreeMap;
use std::path::Path;

use picnic_kernels::stored::StoredType;
use serde_json::Value;

use crate::checkpoint::error::{CheckpointError, quoted};
use crate::checkpoint::scales::StoredScales;
use crate::checkpoint::tensor::{Entry, Source};

const SCALES: [&str; 2] = ["_scale_inv", "_scale"];

/// DeepSeek-V3's blocks, where `config.json` does not say.
const USUAL_BLOCK: [usize; 2] = [128, 128];

/// Gives each tensor the scales that stand beside it; they are no tensors of their own any more.
///
/// # Errors
/// Scales that do not fit the blocks of their tensor.
pub(super) fn attach(
    path: &Path,
    tensors: &mut BTreeMap<String, Entry>,
    config: Option<&Value>,
) -> Result<(), CheckpointError> {
    let scaled = |scales: &String| {
        let name = SCALES.iter().find_map(|suffix| scales.strip_suffix(suffix))?;
        tensors.contains_key(name).then(|| (name.to_owned(), scales.clone()))
    };
    let pairs: Vec<(String, String)> = tensors.keys().filter_map(scaled).collect();
    let block = block_size(config);
    for (name, scales) in pairs {
        let Some(scales) = tensors.remove(&scales) else { continue };
        let Some(entry) = tensors.get_mut(&name) else { continue };
        let other = entry.slices().map(|slice| &slice.encoding).find(|e| e.stored() != Some(StoredType::F8_E4M3));
        if let Some(other) = other {
            let problem = format!("holds {} as {other} with scales beside it", quoted(&name));
            let cure = "of such types E4M3 is read: use the model that it was made from, or a GGUF file of it";
            return Err(CheckpointError::refused(path, problem, cure));
        }
        let stored = stored_scales(entry, &scales, block).ok_or_else(|| {
            let (shape, found) = (&entry.shape, &scales.shape);
            let problem = format!(
                "tensor {} of shape {shape:?} has scales of shape {found:?} for blocks {block:?}",
                quoted(&name)
            );
            let cure = "check weight_block_size in config.json, or fetch the model again";
            CheckpointError::damaged(path, problem, cure)
        })?;
        if let Source::Slice(slice) = &mut entry.source {
            slice.scales = Some(stored);
        }
    }
    Ok(())
}

fn stored_scales(entry: &Entry, scales: &Entry, block: [usize; 2]) -> Option<StoredScales> {
    let (Source::Slice(values), Source::Slice(slice)) = (&entry.source, &scales.source) else { return None };
    if values.encoding.stored() != Some(StoredType::F8_E4M3) {
        return None;
    }
    let count = scales.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size))?;
    let shape = match *entry.shape.as_slice() {
        [n, k] => [n, k],
        // A stack, as long as no block reaches over two experts.
        [experts, n, k] if n.is_multiple_of(block[0]) => [experts.checked_mul(n)?, k],
        _ => return None,
    };
    // One factor for the whole tensor is a block of all of it, one for each row a block of that row. No grid of blocks
    // has the shape of the latter: `[n]`, or `[n, 1]` with n > 1.
    let block = match *scales.shape.as_slice() {
        _ if count == 1 => [shape[0].max(1), shape[1].max(1)],
        [n] | [n, 1] if n == shape[0] => [1, shape[1].max(1)],
        _ => block,
    };
    StoredScales::new((slice.file, slice.encoding.clone(), slice.bytes.clone()), count, shape, block)
}

/// Rows and columns of a block.
fn block_size(config: Option<&Value>) -> [usize; 2] {
    let section = config.and_then(|config| config.get("quantization_config"));
    let given = section.and_then(|section| section.get("weight_block_size")).and_then(Value::as_array);
    let size = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    match given.map(Vec::as_slice) {
        Some([rows, columns]) => size(rows).zip(size(columns)).map_or(USUAL_BLOCK, |(rows, columns)| [rows, columns]),
        _ => USUAL_BLOCK,
    }
}
