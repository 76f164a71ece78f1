//! Names and forms under which tensors stand in Hugging Face folders, and the names that our models use.
//!
//! A text model inside another has a prefix (`language_model.`), one that was saved without its head has none, wrappers
//! of training add theirs (`module.`, `_orig_mod.`). Projections may be fused (`qkv_proj`, `gate_up_proj`) and experts
//! stacked, as `transformers` 5 holds them in memory.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::checkpoint::error::{CheckpointError, quoted};
use crate::checkpoint::tensor::Entry;

type Tensors = BTreeMap<String, Entry>;

const EMBEDDING: &str = "embed_tokens.weight";
const FIRST_NORM: &str = "layers.0.input_layernorm.weight";
const OURS: &str = "model.";

/// Renames tensors so that the embedding is `model.embed_tokens.weight`, and says so; a checkpoint with several
/// embeddings, or none, is left alone.
pub(super) fn rename(tensors: Tensors, notes: &mut Vec<String>) -> Tensors {
    let ends = |end: &str| tensors.keys().any(|name| name.ends_with(end));
    // A tied model may be there with its head alone.
    let mark = if !ends(EMBEDDING) && ends("lm_head.weight") { FIRST_NORM } else { EMBEDDING };
    let prefixes: Vec<&str> = tensors
        .keys()
        .filter_map(|name| name.strip_suffix(mark))
        // Copies beside a module of multi-token prediction stand in a layer.
        .filter(|prefix| (prefix.is_empty() || prefix.ends_with('.')) && !prefix.contains("layers."))
        .collect();
    let [prefix] = prefixes.as_slice() else { return tensors };
    let prefix = (*prefix).to_owned();
    if prefix == OURS {
        return tensors;
    }
    // The head stands beside the model, or above it: `language_model.lm_head` beside `language_model.model.`.
    let outer = prefix.strip_suffix(OURS).unwrap_or(&prefix).to_owned();
    let heads = [format!("{outer}lm_head."), format!("{prefix}lm_head."), "lm_head.".to_owned()];
    let named = |name: &str| -> Option<String> {
        if let Some(rest) = heads.iter().find_map(|head| name.strip_prefix(head.as_str())) {
            return Some(format!("lm_head.{rest}"));
        }
        Some(format!("{OURS}{}", name.strip_prefix(prefix.as_str())?))
    };
    let known =
        |rest: &str| ["layers.", "norm.", "embed_tokens.", "lm_head."].iter().any(|part| rest.starts_with(part));
    let mut renamed = Tensors::new();
    for (name, entry) in &tensors {
        let rest = name.strip_prefix(prefix.as_str());
        let ours = named(name).filter(|ours| ours.starts_with("lm_head.") || rest.is_some_and(known));
        // Two tensors that would get one name are ambiguous: then all keep theirs.
        if renamed.insert(ours.unwrap_or_else(|| name.clone()), entry.clone()).is_some() {
            return tensors;
        }
    }
    let (found, read) = (quoted(&format!("{prefix}{mark}")), quoted(&format!("{OURS}{mark}")));
    notes.push(format!("its tensors are named otherwise: {found} is read as {read}, and the others likewise"));
    renamed
}

/// Takes fused and stacked tensors apart. `config`, the content of `config.json`, says where.
///
/// # Errors
/// A tensor that does not have the parts that its name promises.
pub(super) fn take_apart(path: &Path, tensors: Tensors, config: Option<&Value>) -> Result<Tensors, CheckpointError> {
    if !tensors.keys().any(|name| is_compound(name)) {
        return Ok(tensors);
    }
    let mut apart = Tensors::new();
    for (name, entry) in tensors {
        if !is_compound(&name) {
            apart.insert(name, entry);
            continue;
        }
        let parts = parts(&name, &entry, config).ok_or_else(|| {
            let shape = &entry.shape;
            let problem = format!("tensor {} of shape {shape:?} cannot be taken apart", quoted(&name));
            let cure = "check that config.json belongs to these weights";
            CheckpointError::damaged(path, problem, cure)
        })?;
        apart.extend(parts);
    }
    Ok(apart)
}

const FUSED_QKV: &str = ".self_attn.qkv_proj.";
const FUSED_GATE: &str = ".gate_up_proj";
const STACK: &str = ".mlp.experts.";

fn is_compound(name: &str) -> bool {
    let stacked = name.split_once(STACK).is_some_and(|(_, rest)| rest.ends_with("_proj") || is_stacked_scale(rest));
    stacked || name.contains(FUSED_QKV) || name.contains(".mlp.gate_up_proj.") || name.contains("experts.gate_up_proj.")
}

/// `down_proj.weight` right below `experts`, without a number between.
fn is_stacked_scale(rest: &str) -> bool {
    ["gate_up_proj.weight", "down_proj.weight"].contains(&rest)
}

fn parts(name: &str, entry: &Entry, config: Option<&Value>) -> Option<Vec<(String, Entry)>> {
    if let Some((before, rest)) = name.split_once(STACK) {
        let projection = rest.strip_suffix(".weight").unwrap_or(rest);
        let experts = ["num_experts", "n_routed_experts", "num_local_experts"];
        let experts = experts.iter().find_map(|key| config?.get(key)?.as_u64())?;
        if entry.shape.len() != 3 || entry.shape[0] as u64 != experts {
            return None;
        }
        let mut parts = Vec::new();
        for (expert, entry) in entry.unstacked()?.into_iter().enumerate() {
            let expert = format!("{before}{STACK}{expert}");
            match projection {
                "gate_up_proj" => {
                    let [gate, up] = halves(&entry)?;
                    parts.push((format!("{expert}.gate_proj.weight"), gate));
                    parts.push((format!("{expert}.up_proj.weight"), up));
                }
                other => parts.push((format!("{expert}.{other}.weight"), entry)),
            }
        }
        return Some(parts);
    }
    if let Some((before, kind)) = name.split_once(FUSED_QKV) {
        let config = config?;
        let size = |key: &str| usize::try_from(config.get(key)?.as_u64()?).ok();
        let heads = size("num_attention_heads")?;
        let kv_heads = size("num_key_value_heads").unwrap_or(heads);
        let rows = *entry.shape.first()?;
        let groups = heads.checked_add(kv_heads.checked_mul(2)?)?;
        let head_dim = rows.checked_div(groups)?;
        let (q, kv) = (heads.checked_mul(head_dim)?, kv_heads.checked_mul(head_dim)?);
        if q + 2 * kv != rows {
            return None;
        }
        let named = |which: &str| format!("{before}.self_attn.{which}_proj.{kind}");
        return Some(vec![
            (named("q"), entry.slice(0..q)?),
            (named("k"), entry.slice(q..q + kv)?),
            (named("v"), entry.slice(q + kv..rows)?),
        ]);
    }
    let [gate, up] = halves(entry)?;
    let (before, kind) = name.split_once(FUSED_GATE)?;
    Some(vec![(format!("{before}.gate_proj{kind}"), gate), (format!("{before}.up_proj{kind}"), up)])
}

/// The upper and the lower half of the rows.
fn halves(entry: &Entry) -> Option<[Entry; 2]> {
    let rows = *entry.shape.first()?;
    let half = rows / 2;
    if half * 2 != rows {
        return None;
    }
    Some([entry.slice(0..half)?, entry.slice(half..rows)?])
}
