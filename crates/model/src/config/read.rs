//! Reads `config.json`, in the spelling of any `transformers` release.
//!
//! Here a value's type and the settings that we cannot run are judged; sizes are judged by
//! `validate.rs`, which also sees configurations that never were JSON. What belongs to one kind of layer is read by its
//! own file in `arch`, what belongs to one family by its own in `families`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::families::{AttentionKind, Interleaved};
use super::{
    Attention, ConfigError, Family, Gqa, Keys, Mla, ModelConfig, Rope, RopeScaling, RopeStyle, Training, Yarn,
};

/// No configuration in use comes near; it keeps a wrong file from being read whole.
const MAX_FILE_BYTES: u64 = 16 << 20;

pub(super) fn from_file(file: &Path) -> Result<ModelConfig, ConfigError> {
    let fail = |problem: String, cure: &str| ConfigError {
        file: file.to_owned(),
        key: "(whole file)".into(),
        problem,
        cure: cure.into(),
    };
    let mut text = String::new();
    File::open(file).and_then(|open| open.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)).map_err(|e| {
        let cure = "a checkpoint folder needs a readable UTF-8 config.json";
        fail(format!("cannot be read: {e}"), cure)
    })?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(fail(
            format!("is larger than {MAX_FILE_BYTES} bytes"),
            "check that this is the model's config.json",
        ));
    }
    let value: Value = serde_json::from_str(&text)
        .map_err(|e| fail(format!("is not valid JSON: {e}"), "fetch or write the file again"))?;
    ModelConfig::from_value(&value, file)
}

pub(super) fn from_value(value: &Value, file: &Path) -> Result<ModelConfig, ConfigError> {
    let keys = Keys::new(value, "", file)?;
    let family = family(&keys)?;
    refuse_unsupported(&keys, family)?;
    let vocab_size = keys.needed_size("vocab_size")?;
    // What lies outside can never be drawn; the checkpoint says so in a note.
    let ids = |key| Ok(keys.ids(key)?.into_iter().filter(|&id| (id as usize) < vocab_size).collect::<Vec<_>>());
    let (bos, eos) = (ids("bos_token_id")?, ids("eos_token_id")?);
    let max_position_embeddings = keys.needed_size("max_position_embeddings")?;
    Ok(ModelConfig {
        family,
        vocab_size,
        hidden_size: keys.needed_size("hidden_size")?,
        intermediate_size: keys.needed_size("intermediate_size")?,
        mlp_bias: family.mlp_bias && keys.boolean("mlp_bias")?.unwrap_or(false),
        num_hidden_layers: keys.needed_size("num_hidden_layers")?,
        rms_norm_eps: keys.float("rms_norm_eps")?.unwrap_or(1e-6),
        tie_word_embeddings: keys.boolean("tie_word_embeddings")?.unwrap_or(false),
        max_position_embeddings,
        initializer_range: keys.float("initializer_range")?.unwrap_or(0.02),
        bos_token_id: bos.first().copied(),
        eos_token_ids: eos,
        num_nextn_predict_layers: match family.multi_token_prediction {
            true => keys.size("num_nextn_predict_layers")?.unwrap_or(0),
            false => 0,
        },
        attention: match family.attention {
            AttentionKind::Gqa { biases, qk_norm, head_dim } => {
                Attention::Gqa(Gqa::read(&keys, biases, qk_norm, head_dim)?)
            }
            AttentionKind::Mla => Attention::Mla(Mla::read(&keys)?),
        },
        moe: family.moe.as_ref().map(|moe| (moe.read)(&keys)).transpose()?,
        rope: rope(&keys, family, max_position_embeddings)?,
        training: Training::read(keys.get(Training::SECTION), file)?,
    })
}

fn family(keys: &Keys) -> Result<&'static Family, ConfigError> {
    let name = keys.text("model_type")?.unwrap_or("");
    Family::named(name).ok_or_else(|| {
        let names: Vec<&str> = Family::ALL.iter().map(|family| family.model_type).collect();
        keys.unsupported("model_type", name, format!("use a model whose type is one of {}", names.join(", ")))
    })
}

/// Settings under which our code would compute something else than upstream's.
fn refuse_unsupported(keys: &Keys, family: &Family) -> Result<(), ConfigError> {
    if let Some(name) = keys.text("hidden_act")?.filter(|&name| !matches!(name, "silu" | "swish")) {
        return Err(keys.unsupported("hidden_act", name, "use a model with \"silu\", the only activation there is"));
    }
    if keys.boolean("use_sliding_window")? == Some(true) && slides(keys, family)? {
        return Err(keys.fail("use_sliding_window", "true is not supported", "use a model without it"));
    }
    if let Some(Value::Array(types)) = keys.get("layer_types")
        && types.iter().any(|t| t.as_str() != Some("full_attention"))
    {
        let cure = "only \"full_attention\" is supported";
        return Err(keys.fail("layer_types", "holds another kind of attention", cure));
    }
    Ok(())
}

/// Whether a window narrows any layer: one that is wider than the context does not, nor does it reach layers before
/// `max_window_layers` where the model is dense; Qwen3's mixtures have it in every layer.
fn slides(keys: &Keys, family: &Family) -> Result<bool, ConfigError> {
    let layers = keys.needed_size("num_hidden_layers")?;
    let has_window = keys.size("sliding_window")?.is_some_and(|window| {
        keys.size("max_position_embeddings").ok().flatten().is_none_or(|positions| window < positions)
    });
    let first = if family.moe.is_some() { 0 } else { keys.size("max_window_layers")?.unwrap_or(28) };
    Ok(has_window && first < layers)
}

fn rope(keys: &Keys, family: &Family, max_positions: usize) -> Result<Rope, ConfigError> {
    // Both spellings may be present; like upstream, the older one wins if it says anything.
    let section =
        ["rope_scaling", "rope_parameters"].into_iter().find_map(|name| keys.get(name).map(|value| (name, value)));
    let empty = Value::Object(Map::new());
    let (name, value) = section.unwrap_or(("rope_parameters", &empty));
    let rope = Keys::new(value, name, keys.file)?;
    // Where `rope_scaling` wins, the base may still stand in `rope_parameters` alone.
    let nested = keys.get("rope_parameters").unwrap_or(&empty);
    let theta = match rope.float("rope_theta")? {
        Some(theta) => Some(theta),
        None => match keys.float("rope_theta")? {
            Some(theta) => Some(theta),
            None => Keys::new(nested, "rope_parameters", keys.file)?.float("rope_theta")?,
        },
    };
    let kind = match rope.text("rope_type")? {
        Some(kind) => kind,
        None => rope.text("type")?.unwrap_or("default"),
    };
    for part in [keys, &rope] {
        let whole = part.float("partial_rotary_factor")?;
        if whole.is_some_and(|share| share != 1.0) {
            let cure = "use a model that rotates whole heads";
            return Err(part.fail("partial_rotary_factor", "is not supported", cure));
        }
    }
    // Like upstream: beside the section it goes before the one in it, and the length stands in for both.
    let original = match keys.size("original_max_position_embeddings")? {
        Some(original) => original,
        None => rope.size("original_max_position_embeddings")?.unwrap_or(max_positions),
    };
    let scaling = scaling(&rope, kind, max_positions, original)?;
    let interleaved = match family.interleaved {
        Interleaved::Never => false,
        Interleaved::Always => true,
        Interleaved::ByKey => keys.boolean("rope_interleave")?.unwrap_or(true),
    };
    Ok(Rope {
        theta: theta.unwrap_or(10_000.0),
        style: if interleaved { RopeStyle::Interleaved } else { RopeStyle::Half },
        scaling,
    })
}

fn scaling(
    rope: &Keys,
    kind: &str,
    max_positions: usize,
    original_max_position_embeddings: usize,
) -> Result<RopeScaling, ConfigError> {
    Ok(match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: rope.needed_float("factor")? },
        "dynamic" => {
            RopeScaling::Dynamic { factor: rope.needed_float("factor")?, max_position_embeddings: max_positions }
        }
        "llama3" => RopeScaling::Llama3 {
            factor: rope.needed_float("factor")?,
            low_freq_factor: rope.needed_float("low_freq_factor")?,
            high_freq_factor: rope.needed_float("high_freq_factor")?,
            original_max_position_embeddings,
        },
        "yarn" => RopeScaling::Yarn(yarn(rope, max_positions, original_max_position_embeddings)?),
        RopeScaling::DIVISORS => RopeScaling::Divisors(rope.floats("divisors")?.unwrap_or_default()),
        other => {
            let cure = "use a model with linear, dynamic, llama3 or yarn scaling, or none";
            return Err(rope.unsupported("rope_type", other, cure));
        }
    })
}

fn yarn(rope: &Keys, max_positions: usize, original: usize) -> Result<Yarn, ConfigError> {
    // Zero counts as absent in upstream's reading of the two betas.
    let beta = |key, default| Ok(rope.float(key)?.filter(|&b| b != 0.0).unwrap_or(default));
    Ok(Yarn {
        factor: rope.float("factor")?.unwrap_or(max_positions as f64 / original.max(1) as f64),
        beta_fast: beta("beta_fast", 32.0)?,
        beta_slow: beta("beta_slow", 1.0)?,
        mscale: rope.float("mscale")?.unwrap_or(0.0),
        mscale_all_dim: rope.float("mscale_all_dim")?.unwrap_or(0.0),
        original_max_position_embeddings: original,
        attention_factor: rope.float("attention_factor")?,
        truncate: rope.boolean("truncate")?.unwrap_or(true),
    })
}
