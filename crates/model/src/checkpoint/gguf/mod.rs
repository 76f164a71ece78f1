//! GGUF, the format of llama.cpp: one file or shards, seen as a Hugging Face checkpoint.
//!
//! Names are mapped by the tables of [`architecture`], the configuration is gathered from the metadata, and whatever
//! the converter fused, stacked, permuted or transposed is undone where a tensor is read.

mod architecture;
mod container;
mod deepseek2;
mod export;
mod llama;
mod metadata;
mod qwen2;
mod qwen3;
mod qwen3moe;
mod settings;
mod split;
mod tokenizer;
mod vocabulary;

use std::collections::{BTreeMap, btree_map};
use std::path::Path;

use super::error::{CheckpointError, FETCH_AGAIN, quoted};
use super::tensor::{Entry, Source};
use super::{Checkpoint, refused};
use crate::config::{Attention, Gqa, ModelConfig};
use architecture::{Architecture, Layout, TOP};
use container::{Gguf, Tensor};
use settings::Settings;

pub use export::write_gguf;
pub use tokenizer::GgufTokenizer;

/// What a GGUF file says besides its tensors.
#[derive(Debug)]
pub(super) struct GgufModel {
    pub(super) config: ModelConfig,
    pub(super) tokenizer: GgufTokenizer,
}

/// Opens the file `path` and the shards that belong to it.
pub(super) fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let files = split::open(path)?;
    let shards = files.iter().map(Gguf::parse).collect::<Result<Vec<_>, _>>()?;
    split::check(&shards)?;
    let Some(first) = shards.first() else { return Err(refused::nothing(path)) };
    let (kind, named) = (first.text("general.type")?, first.text("general.architecture")?);
    if let Some(error) = refused::by_gguf_kind(path, kind, named) {
        return Err(error);
    }
    let architecture = Architecture::of(first)?;
    let tensors: Vec<(usize, &Tensor)> = shards
        .iter()
        .enumerate()
        .flat_map(|(file, gguf)| gguf.tensors.iter().map(move |tensor| (file, tensor)))
        .collect();
    let frequencies = tensors.iter().find(|(_, tensor)| tensor.name == FREQUENCIES);
    let freq_factors = match frequencies {
        None => None,
        Some((file, tensor)) => {
            let values = tensor.encoding.decode(&files[*file].bytes()[tensor.bytes.clone()]);
            Some(values.ok_or_else(|| CheckpointError::damaged(path, "has no numbers in rope_freqs", FETCH_AGAIN))?)
        }
    };
    let settings = Settings { gguf: first, architecture: architecture.name, tensors: &tensors, freq_factors };
    let config = (architecture.read)(&settings)?;
    config.validate(path)?;
    let mut notes = Vec::new();
    let tokenizer = tokenizer::read(first, config.vocab_size, &mut notes)?;
    let mapped = map(path, architecture, &config, &tensors)?;
    Ok(Checkpoint { gguf: Some(GgufModel { config, tokenizer }), notes, ..Checkpoint::new(path, files, mapped) })
}

/// Divisors of the rotary frequencies, which belong to the configuration.
const FREQUENCIES: &str = "rope_freqs.weight";

/// Llama 3's and YaRN's frequencies are computed; what older converters stored of them is not read.
const IGNORED: &str = "attn_rot_embd.weight";

/// The tensors under upstream's names.
fn map(
    path: &Path,
    architecture: &Architecture,
    config: &ModelConfig,
    tensors: &[(usize, &Tensor)],
) -> Result<BTreeMap<String, Entry>, CheckpointError> {
    let damaged = |problem: String| CheckpointError::damaged(path, problem, FETCH_AGAIN);
    let mut mapped = BTreeMap::new();
    let mut halves: BTreeMap<u32, [Option<Entry>; 2]> = BTreeMap::new();
    for &(file, tensor) in tensors {
        if tensor.name == FREQUENCIES || tensor.name.ends_with(IGNORED) {
            continue;
        }
        let whole = Entry::plain(file, tensor.encoding.clone(), tensor.shape.clone(), tensor.bytes.clone());
        let parts = apart(tensor.name, whole, config)
            .ok_or_else(|| damaged(format!("tensor {} is not Q, K and V one below the other", quoted(tensor.name))))?;
        for (name, mut entry) in parts {
            let mut add = |name: String, entry: Entry| match mapped.insert(name, entry) {
                None => Ok(()),
                Some(_) => Err(damaged(format!("tensor {} is there twice", quoted(tensor.name)))),
            };
            if let Some(top) = TOP.iter().find(|part| part.gguf == name) {
                add(top.upstream.to_owned(), entry)?;
                continue;
            }
            let Some((layer, part)) = block_part(architecture, &name) else {
                let problem = format!("tensor {} has no place in a {}", quoted(tensor.name), architecture.name);
                let cure = format!("use a plain {} model", architecture.name);
                return Err(CheckpointError::refused(path, problem, cure));
            };
            let upstream = format!("model.layers.{layer}.{}", part.upstream);
            match part.layout {
                Layout::Plain => add(upstream, entry)?,
                Layout::Paired => {
                    let head = config.rope_dim();
                    if head < 2 || !entry.shape[0].is_multiple_of(head) {
                        return Err(damaged(format!("tensor `{upstream}` has rows that heads of {head} do not fill")));
                    }
                    if let Source::Slice(slice) = &mut entry.source {
                        slice.paired = Some(head);
                    }
                    add(upstream, entry)?;
                }
                Layout::Stacked => {
                    for (expert, entry) in experts(&entry, config).ok_or_else(|| {
                        let experts = config.moe.as_ref().map_or(0, |moe| moe.n_routed_experts);
                        damaged(format!("tensor {} is no stack of {experts} experts", quoted(tensor.name)))
                    })? {
                        add(upstream.replace("{}", &expert.to_string()), entry)?;
                    }
                }
                Layout::Keys | Layout::Values => {
                    let half = usize::from(part.layout == Layout::Values);
                    if halves.entry(layer).or_default()[half].replace(entry).is_some() {
                        return Err(damaged(format!("tensor {} is there twice", quoted(tensor.name))));
                    }
                }
            }
        }
    }
    for (layer, halves) in halves {
        let name = format!("model.layers.{layer}.self_attn.kv_b_proj.weight");
        // Some files have both forms; the whole one needs no joining.
        if let btree_map::Entry::Vacant(place) = mapped.entry(name) {
            let joined = keys_and_values(halves, config);
            place.insert(joined.ok_or_else(|| damaged(format!("block {layer} has no whole kv_b_proj")))?);
        }
    }
    Ok(mapped)
}

/// The tensor called `name`, or Q, K and V where it holds them one below the other; `None` where it should and does not.
fn apart(name: &str, whole: Entry, config: &ModelConfig) -> Option<Vec<(String, Entry)>> {
    let (Some((block, kind)), Attention::Gqa(gqa)) = (name.split_once(".attn_qkv."), &config.attention) else {
        return Some(vec![(name.to_owned(), whole)]);
    };
    let Gqa { num_attention_heads: heads, num_key_value_heads: kv_heads, head_dim, .. } = *gqa;
    let (q, kv) = (heads.checked_mul(head_dim)?, kv_heads.checked_mul(head_dim)?);
    let rows = q.checked_add(kv.checked_mul(2)?)?;
    let part = |which: &str, rows| Some((format!("{block}.attn_{which}.{kind}"), whole.slice(rows)?));
    if whole.shape.first() != Some(&rows) {
        return None;
    }
    Some(vec![part("q", 0..q)?, part("k", q..q + kv)?, part("v", q + kv..rows)?])
}

/// The layer and the part that GGUF calls `name`.
fn block_part<'a>(architecture: &'a Architecture, name: &str) -> Option<(u32, &'a architecture::Part)> {
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    Some((layer.parse().ok()?, architecture.part(rest)?))
}

/// The experts of a stack `[experts, outputs, inputs]`, each a matrix.
fn experts(stack: &Entry, config: &ModelConfig) -> Option<Vec<(usize, Entry)>> {
    let experts = config.moe.as_ref()?.n_routed_experts;
    let &[stacked, ..] = stack.shape.as_slice() else { return None };
    if stack.shape.len() != 3 || stacked != experts {
        return None;
    }
    stack.unstacked().map(|entries| entries.into_iter().enumerate().collect())
}

/// MLA's `kv_b_proj` from its two halves, if both are there in the sizes of `config`.
fn keys_and_values(halves: [Option<Entry>; 2], config: &ModelConfig) -> Option<Entry> {
    let [Some(keys), Some(values)] = halves else { return None };
    let Attention::Mla(mla) = &config.attention else { return None };
    let (heads, rank) = (mla.num_attention_heads, mla.kv_lora_rank);
    let (nope, v) = (mla.qk_nope_head_dim, mla.v_head_dim);
    let fits = keys.shape == [heads, rank, nope] && values.shape == [heads, v, rank];
    let (Source::Slice(keys), Source::Slice(values)) = (keys.source, values.source) else { return None };
    let known = [&keys, &values].iter().all(|half| half.encoding.block().is_some());
    let shape = vec![heads * (nope + v), rank];
    (fits && known).then_some(Entry { shape, source: Source::KeysAndValues { keys, values, heads } })
}
