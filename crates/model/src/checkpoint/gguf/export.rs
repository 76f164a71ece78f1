//! Writes a model as a GGUF file that llama.cpp runs: the tensors of a checkpoint under llama.cpp's names and in its
//! layouts, its settings, tokenizer and chat template.
//!
//! Tensors go from the checkpoint to the file one at a time, so a model of any size can be written, and rows that are
//! stored in the wanted type already are copied. Left out: splitting into shards, and the module of multi-token
//! prediction, which llama.cpp's own converter leaves out too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use picnic_kernels::stored::StoredType;

use super::FREQUENCIES;
use super::architecture::{Architecture, Layout, Part, TOP};
use super::metadata::{Metadata, put_text};
use super::tokenizer::GgufTokenizer;
use crate::Model;
use crate::checkpoint::tensor::model_row;
use crate::checkpoint::write::{persist, refused as cannot_write, staged};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::{Attention, ModelConfig, Rope, RopeScaling};

const ALIGNMENT: usize = 32;

/// Writes the model of `checkpoint` to `path`, its matrices as `weights`: F32, F16, BF16, Q8_0 or Q4_0. What comes back
/// says, a line each, what is stored otherwise than asked, or left out.
///
/// Norms, biases and gates are F32. As llama.cpp has it, the head (and an embedding that is the head) is kept finer than
/// Q4_0, here as Q8_0; rows that are no whole number of blocks are F16. The file appears whole or not at all.
///
/// # Errors
/// A model that llama.cpp has no way to run, a tensor that cannot be read or does not fit its type, or the system's
/// refusal.
pub fn write_gguf(
    path: &Path,
    checkpoint: &Checkpoint,
    tokenizer: &GgufTokenizer,
    weights: StoredType,
) -> Result<Vec<String>, CheckpointError> {
    let mut config = checkpoint.config()?;
    let mut notes = Vec::new();
    if config.num_nextn_predict_layers > 0 {
        config.num_nextn_predict_layers = 0;
        notes.push("the module of multi-token prediction is left out".to_owned());
    }
    let refuse = |problem: String| {
        let cure = "write a Hugging Face folder instead";
        CheckpointError::refused(checkpoint.path(), format!("cannot be a GGUF file: {problem}"), cure)
    };
    let architecture = Architecture::for_family(config.family)
        .ok_or_else(|| refuse(format!("llama.cpp has no architecture for {:?}", config.family)))?;
    let mut metadata = Metadata::new(architecture.name);
    metadata.text("general.type", "model");
    metadata
        .number("general.file_type", file_type(weights).ok_or_else(|| refuse(format!("{weights} is not written")))?);
    if weights.block_len() > 1 {
        metadata.number("general.quantization_version", 2);
    }
    metadata.common(&config);
    metadata.training(&config.training);
    notes.extend((architecture.write)(&config, &mut metadata).map_err(&refuse)?);
    notes.extend(rope_notes(&config.rope).map_err(&refuse)?);
    tokenizer.write(config.vocab_size, &mut metadata);

    let tensors = layout(&config, architecture, weights, &mut notes).map_err(&refuse)?;
    let file = staged(path, |out| {
        let header = header(metadata, &tensors);
        let put = |out: &mut dyn Write, bytes: &[u8]| out.write_all(bytes).map_err(|e| cannot_write(path, e));
        put(out, &header)?;
        for tensor in &tensors {
            let mut written = 0;
            for piece in &tensor.pieces {
                let bytes = piece.bytes(checkpoint, &config, tensor.stored)?;
                put(out, &bytes)?;
                written += bytes.len();
            }
            put(out, &vec![0; written.next_multiple_of(ALIGNMENT) - written])?;
        }
        Ok(())
    })?;
    persist(file, path)?;
    Ok(notes)
}

/// A tensor of the file to be.
struct Tensor {
    name: String,
    /// Sizes, the fastest-running last.
    shape: Vec<usize>,
    stored: StoredType,
    /// What it is made of, one after another.
    pieces: Vec<Piece>,
}

/// A tensor of the checkpoint, in llama.cpp's layout.
enum Piece {
    /// As it is, or with a head's rows in rotary pairs of `head` rows.
    Whole { name: String, shape: Vec<usize>, head: Option<usize> },
    /// The keys' half of `kv_b_proj`, transposed, or the values'.
    Half { name: String, layout: Layout },
    /// Numbers that stand in no tensor.
    Given(Vec<f32>),
}

impl Piece {
    fn bytes(
        &self,
        checkpoint: &Checkpoint,
        config: &ModelConfig,
        stored: StoredType,
    ) -> Result<Vec<u8>, CheckpointError> {
        let (name, values) = match self {
            Piece::Given(values) => (FREQUENCIES, values.clone()),
            Piece::Whole { name, shape, head } => {
                if let Ok([n, k]) = <[usize; 2]>::try_from(shape.as_slice()) {
                    let rows = checkpoint.stored_rows(name, [n, k])?;
                    if rows.stored() == stored && rows.scales().is_none() {
                        let at = |row: usize| head.map_or(row, |head| model_row(row, head));
                        let bytes = (0..n).flat_map(|row| rows.row(at(row))).copied().collect();
                        checkpoint.release(name);
                        return Ok(bytes);
                    }
                }
                let values = checkpoint.read_expected(name, shape)?;
                checkpoint.release(name);
                (name.as_str(), in_pairs(values, shape, *head))
            }
            Piece::Half { name, layout } => {
                let Attention::Mla(mla) = &config.attention else { return Ok(Vec::new()) };
                let (nope, v, rank) = (mla.qk_nope_head_dim, mla.v_head_dim, mla.kv_lora_rank);
                let values = checkpoint.read_expected(name, &[mla.num_attention_heads * (nope + v), rank])?;
                (name.as_str(), half_of(&values, [nope, v, rank], *layout))
            }
        };
        let overflows = |x: &&f32| x.is_finite() && x.abs() >= 65520.0;
        if let (StoredType::F16, Some(x)) = (stored, values.iter().find(overflows)) {
            let problem = format!("F16 cannot hold {x}; write BF16 or F32");
            return Err(CheckpointError::Unwritable { tensor: name.to_owned(), problem });
        }
        stored.encode(&values).ok_or_else(|| {
            let problem = format!("{stored} is not written; write F32, F16, BF16, Q8_0 or Q4_0");
            CheckpointError::Unwritable { tensor: name.to_owned(), problem }
        })
    }
}

/// The rows of `values` with each head's in rotary pairs, where it has `head` rows.
fn in_pairs(values: Vec<f32>, shape: &[usize], head: Option<usize>) -> Vec<f32> {
    let Some(head) = head else { return values };
    let rows = shape.first().copied().unwrap_or(1).max(1);
    let width = values.len() / rows;
    (0..rows).flat_map(|row| &values[model_row(row, head) * width..][..width]).copied().collect()
}

/// Half of `kv_b_proj` `[heads · (nope + v), rank]`: keys `[heads, rank, nope]` or values `[heads, v, rank]`.
fn half_of(values: &[f32], [nope, v, rank]: [usize; 3], layout: Layout) -> Vec<f32> {
    let heads = values.chunks_exact((nope + v) * rank);
    if layout == Layout::Values {
        return heads.flat_map(|head| &head[nope * rank..]).copied().collect();
    }
    let transposed = |head: &[f32]| -> Vec<f32> {
        (0..rank).flat_map(|column| head[..nope * rank].iter().skip(column).step_by(rank)).copied().collect()
    };
    heads.flat_map(transposed).collect()
}

/// The tensors of the file, in llama.cpp's order of blocks.
fn layout(
    config: &ModelConfig,
    architecture: &Architecture,
    weights: StoredType,
    notes: &mut Vec<String>,
) -> Result<Vec<Tensor>, String> {
    let model = Model::new(config.clone());
    let mut left: BTreeMap<&str, &[usize]> =
        model.specs().iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice())).collect();
    let mut tensors = Vec::new();
    let mut odd = BTreeSet::new();
    let mut add = |name: String, shape: Vec<usize>, pieces: Vec<Piece>| {
        let stored = stored_as(&name, &shape, weights, config.tie_word_embeddings);
        if stored == StoredType::F16 && weights != stored {
            odd.insert(shape.last().copied().unwrap_or(0));
        }
        tensors.push(Tensor { name, shape, stored, pieces });
    };
    if let Some(divisors) = divisors(config) {
        add(FREQUENCIES.to_owned(), vec![divisors.len()], vec![Piece::Given(divisors)]);
    }
    for part in &TOP {
        if let Some(shape) = left.remove(part.upstream) {
            let whole = Piece::Whole { name: part.upstream.to_owned(), shape: shape.to_vec(), head: None };
            add(part.gguf.to_owned(), shape.to_vec(), vec![whole]);
        }
    }
    for layer in 0..config.num_hidden_layers {
        for part in architecture.block.iter().copied().flatten() {
            let name = format!("blk.{layer}.{}", part.gguf);
            let upstream = format!("model.layers.{layer}.{}", part.upstream);
            if let Some((shape, pieces)) = pieces(part, &upstream, architecture, config, &mut left) {
                add(name, shape, pieces);
            }
        }
        // Its two halves share it.
        left.remove(format!("model.layers.{layer}.self_attn.kv_b_proj.weight").as_str());
    }
    if let Some(name) = left.keys().next() {
        return Err(format!("llama.cpp's {} has no place for `{name}`", architecture.name));
    }
    if !odd.is_empty() {
        let widths: Vec<String> = odd.iter().map(usize::to_string).collect();
        notes.push(format!("rows of {} are no whole blocks of {weights}: stored as F16", widths.join(", ")));
    }
    if weights == StoredType::Q4_0 {
        let embedding = if config.tie_word_embeddings { "the embedding, which is the head too," } else { "the head" };
        notes.push(format!("{embedding} is stored as Q8_0"));
    }
    Ok(tensors)
}

/// Shape and pieces of `part`, if the model has what upstream calls `upstream`.
fn pieces<'a>(
    part: &Part,
    upstream: &str,
    architecture: &Architecture,
    config: &ModelConfig,
    left: &mut BTreeMap<&'a str, &'a [usize]>,
) -> Option<(Vec<usize>, Vec<Piece>)> {
    match part.layout {
        Layout::Plain | Layout::Paired => {
            // What is split is not written whole.
            if architecture
                .block
                .iter()
                .copied()
                .flatten()
                .any(|p| p.upstream == part.upstream && p.layout == Layout::Keys)
            {
                return None;
            }
            let shape = left.remove(upstream)?.to_vec();
            let head = (part.layout == Layout::Paired).then(|| config.rope_dim());
            let whole = Piece::Whole { name: upstream.to_owned(), shape: shape.clone(), head };
            Some((shape, vec![whole]))
        }
        Layout::Stacked => {
            let experts = config.moe.as_ref()?.n_routed_experts;
            let mut shape = vec![experts];
            let mut pieces = Vec::new();
            for expert in 0..experts {
                let name = upstream.replace("{}", &expert.to_string());
                let of_one = left.remove(name.as_str())?.to_vec();
                shape.truncate(1);
                shape.extend(&of_one);
                pieces.push(Piece::Whole { name, shape: of_one, head: None });
            }
            Some((shape, pieces))
        }
        Layout::Keys | Layout::Values => {
            let Attention::Mla(mla) = &config.attention else { return None };
            left.contains_key(upstream).then_some(())?;
            let (heads, rank) = (mla.num_attention_heads, mla.kv_lora_rank);
            let shape = match part.layout {
                Layout::Keys => vec![heads, rank, mla.qk_nope_head_dim],
                _ => vec![heads, mla.v_head_dim, rank],
            };
            Some((shape, vec![Piece::Half { name: upstream.to_owned(), layout: part.layout }]))
        }
    }
}

/// The type of the tensor `name`, when matrices are to be `weights`.
fn stored_as(name: &str, shape: &[usize], weights: StoredType, tied: bool) -> StoredType {
    let is_gate = name.ends_with("ffn_gate_inp.weight");
    let is_head = name == "output.weight" || tied && name == "token_embd.weight";
    let row = shape.last().copied().unwrap_or(0);
    match weights {
        _ if shape.len() < 2 || is_gate => StoredType::F32,
        StoredType::Q4_0 if is_head && row.is_multiple_of(StoredType::Q8_0.block_len()) => StoredType::Q8_0,
        quantised if !row.is_multiple_of(quantised.block_len()) => StoredType::F16,
        fitting => fitting,
    }
}

/// The start of the file, up to the first tensor.
fn header(metadata: Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let (count, metadata) = metadata.finish();
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(metadata);
    let mut offset = 0u64;
    for tensor in tensors {
        put_text(&mut out, &tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        out.extend(tensor.shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
        out.extend(tensor.stored.ggml().unwrap_or_default().to_le_bytes());
        out.extend(offset.to_le_bytes());
        let bytes = tensor.stored.bytes(tensor.shape.iter().product()).unwrap_or(0);
        offset += bytes.next_multiple_of(ALIGNMENT) as u64;
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out
}

/// llama.cpp's number for files that hold mostly `weights`; `None` for a type that is not written.
fn file_type(weights: StoredType) -> Option<u32> {
    Some(match weights {
        StoredType::F32 => 0,
        StoredType::F16 => 1,
        StoredType::Q4_0 => 2,
        StoredType::Q8_0 => 7,
        StoredType::BF16 => 32,
        _ => return None,
    })
}

/// What llama.cpp divides rotary frequencies by, where that is a list.
fn divisors(config: &ModelConfig) -> Option<Vec<f32>> {
    match &config.rope.scaling {
        RopeScaling::Divisors(divisors) => Some(divisors.clone()),
        RopeScaling::Llama3 { .. } => {
            let dim = config.rope_dim();
            let unscaled = Rope { scaling: RopeScaling::None, ..config.rope.clone() }.inv_freq(dim);
            Some(unscaled.iter().zip(config.rope.inv_freq(dim)).map(|(plain, scaled)| plain / scaled).collect())
        }
        _ => None,
    }
}

/// What llama.cpp does otherwise with rotary frequencies: refused, or, where it shows only beyond the model's length,
/// noted.
fn rope_notes(rope: &Rope) -> Result<Option<String>, String> {
    match &rope.scaling {
        RopeScaling::Yarn(yarn) if !yarn.truncate => Err("llama.cpp rounds the ends of YaRN's ramp".into()),
        RopeScaling::Yarn(yarn) if (yarn.beta_fast, yarn.beta_slow) != (32.0, 1.0) => Ok(Some(format!(
            "llama.cpp takes YaRN's betas for 32 and 1, whatever a file says; this model's are {} and {}",
            yarn.beta_fast, yarn.beta_slow
        ))),
        RopeScaling::Dynamic { .. } => Ok(Some(
            "dynamic scaling of rotary frequencies, which begins beyond the model's length, is left out".into(),
        )),
        _ => Ok(None),
    }
}
