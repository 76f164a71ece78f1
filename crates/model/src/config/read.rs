//! Reads `config.json`, in the spelling of any `transformers` release.
//!
//! Here a value's type and the settings that we cannot run are judged; sizes are judged by
//! `validate.rs`, which also sees configurations that never were JSON.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Attention, ConfigError, GroupScore, ModelConfig, ModelType, Moe, Rope, RopeStyle, Scoring, Yarn};

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
    let model_type = model_type(&keys)?;
    refuse_unsupported(&keys)?;
    let mla = matches!(model_type, ModelType::DeepseekV2 | ModelType::DeepseekV3);
    let (bos, eos) = (keys.ids("bos_token_id")?, keys.ids("eos_token_id")?);
    let max_position_embeddings = keys.needed_size("max_position_embeddings")?;
    Ok(ModelConfig {
        model_type,
        vocab_size: keys.needed_size("vocab_size")?,
        hidden_size: keys.needed_size("hidden_size")?,
        intermediate_size: keys.needed_size("intermediate_size")?,
        num_hidden_layers: keys.needed_size("num_hidden_layers")?,
        num_attention_heads: keys.needed_size("num_attention_heads")?,
        rms_norm_eps: keys.float("rms_norm_eps")?.unwrap_or(1e-6),
        tie_word_embeddings: keys.boolean("tie_word_embeddings")?.unwrap_or(false),
        max_position_embeddings,
        initializer_range: keys.float("initializer_range")?.unwrap_or(0.02),
        bos_token_id: bos.first().copied(),
        eos_token_ids: eos,
        num_nextn_predict_layers: match model_type {
            ModelType::DeepseekV3 => keys.size("num_nextn_predict_layers")?.unwrap_or(0),
            _ => 0,
        },
        attention: if mla { mla_attention(&keys)? } else { gqa_attention(&keys, model_type)? },
        moe: mla.then(|| moe(&keys, model_type)).transpose()?,
        rope: rope(&keys, model_type, max_position_embeddings)?,
    })
}

fn model_type(keys: &Keys) -> Result<ModelType, ConfigError> {
    let name = keys.text("model_type")?.unwrap_or("");
    ModelType::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| {
        keys.fail(
            "model_type",
            format!("{:?} is not supported", shorten(name)),
            format!("use a model whose type is one of {}", ModelType::ALL.map(ModelType::name).join(", ")),
        )
    })
}

/// Settings under which our code would compute something else than upstream's.
fn refuse_unsupported(keys: &Keys) -> Result<(), ConfigError> {
    if let Some(name) = keys.text("hidden_act")?.filter(|&name| name != "silu") {
        let problem = format!("activation {:?} is not supported", shorten(name));
        return Err(keys.fail("hidden_act", problem, "only \"silu\" is"));
    }
    for key in ["mlp_bias", "use_sliding_window"] {
        if keys.boolean(key)? == Some(true) {
            return Err(keys.fail(key, "true is not supported", "use a model without it"));
        }
    }
    if let Some(Value::Array(types)) = keys.get("layer_types")
        && types.iter().any(|t| t.as_str() != Some("full_attention"))
    {
        let cure = "only \"full_attention\" is supported";
        return Err(keys.fail("layer_types", "holds another kind of attention", cure));
    }
    Ok(())
}

fn gqa_attention(keys: &Keys, model_type: ModelType) -> Result<Attention, ConfigError> {
    let heads = keys.needed_size("num_attention_heads")?;
    let hidden = keys.needed_size("hidden_size")?;
    let bias = keys.boolean("attention_bias")?.unwrap_or(false);
    let head_dim = match keys.size("head_dim")? {
        Some(head_dim) => head_dim,
        None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            return Err(keys.fail(
                "num_attention_heads",
                format!("{heads} heads do not divide hidden_size {hidden}"),
                "correct one of them, or give head_dim",
            ));
        }
    };
    Ok(Attention::Gqa {
        num_key_value_heads: keys.size("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        qkv_bias: bias || model_type == ModelType::Qwen2,
        o_bias: bias && model_type != ModelType::Qwen2,
        qk_norm: model_type == ModelType::Qwen3,
    })
}

fn mla_attention(keys: &Keys) -> Result<Attention, ConfigError> {
    if keys.boolean("attention_bias")? == Some(true) {
        let cure = "use a model without it";
        return Err(keys.fail("attention_bias", "true is not supported with MLA", cure));
    }
    let heads = keys.needed_size("num_attention_heads")?;
    if let Some(kv) = keys.size("num_key_value_heads")?.filter(|&kv| kv != heads) {
        return Err(keys.fail(
            "num_key_value_heads",
            format!("{kv} differs from num_attention_heads {heads}"),
            "MLA has as many of either: make them equal",
        ));
    }
    Ok(Attention::Mla {
        q_lora_rank: keys.size("q_lora_rank")?,
        kv_lora_rank: keys.needed_size("kv_lora_rank")?,
        qk_nope_head_dim: keys.needed_size("qk_nope_head_dim")?,
        qk_rope_head_dim: keys.needed_size("qk_rope_head_dim")?,
        v_head_dim: keys.needed_size("v_head_dim")?,
    })
}

fn moe(keys: &Keys, model_type: ModelType) -> Result<Moe, ConfigError> {
    let v3 = model_type == ModelType::DeepseekV3;
    let (scoring, scoring_name) = if v3 { (Scoring::Sigmoid, "sigmoid") } else { (Scoring::Softmax, "softmax") };
    let methods: &[&str] = if v3 { &["noaux_tc"] } else { &["greedy", "group_limited_greedy"] };
    let scoring_func = keys.text("scoring_func")?.unwrap_or(scoring_name);
    let topk_method = keys.text("topk_method")?.unwrap_or(methods[0]);
    for (key, value, known) in
        [("scoring_func", scoring_func, &[scoring_name][..]), ("topk_method", topk_method, methods)]
    {
        if !known.contains(&value) {
            let problem = format!("{:?} is not supported for {}", shorten(value), model_type.name());
            return Err(keys.fail(key, problem, format!("use one of {}", known.join(", "))));
        }
    }
    let norm_topk_prob = keys.boolean("norm_topk_prob")?.unwrap_or(v3);
    if norm_topk_prob && !v3 {
        // `transformers` ignores the key here, DeepSeek's code normalises and drops the scaling.
        let cure = "implementations disagree on it: set it to false";
        return Err(keys.fail("norm_topk_prob", "true is not supported for deepseek_v2", cure));
    }
    // Greedy selection ignores groups, whatever the keys say.
    let grouped = topk_method != "greedy";
    let groups = |key| Ok(keys.size(key)?.filter(|_| grouped).unwrap_or(1));
    Ok(Moe {
        n_routed_experts: keys.needed_size("n_routed_experts")?,
        n_shared_experts: keys.needed_size("n_shared_experts")?,
        num_experts_per_tok: keys.needed_size("num_experts_per_tok")?,
        moe_intermediate_size: keys.needed_size("moe_intermediate_size")?,
        first_k_dense_replace: keys.needed_size("first_k_dense_replace")?,
        moe_layer_freq: keys.size("moe_layer_freq")?.unwrap_or(1),
        n_group: groups("n_group")?,
        topk_group: groups("topk_group")?,
        routed_scaling_factor: keys.float("routed_scaling_factor")?.unwrap_or(1.0),
        norm_topk_prob,
        scoring,
        group_score: if v3 { GroupScore::SumTop2 } else { GroupScore::Max },
        has_correction_bias: v3,
    })
}

fn rope(keys: &Keys, model_type: ModelType, max_positions: usize) -> Result<Rope, ConfigError> {
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
    let yarn = match kind {
        "default" => None,
        "yarn" => Some(yarn(&rope, max_positions)?),
        other => {
            let problem = format!("scaling {:?} is not supported", shorten(other));
            return Err(rope.fail("rope_type", problem, "only \"default\" and \"yarn\" are"));
        }
    };
    let interleaved = match model_type {
        ModelType::DeepseekV3 => keys.boolean("rope_interleave")?.unwrap_or(true),
        ModelType::DeepseekV2 => true,
        _ => false,
    };
    Ok(Rope {
        theta: theta.unwrap_or(10_000.0),
        style: if interleaved { RopeStyle::Interleaved } else { RopeStyle::Half },
        yarn,
    })
}

fn yarn(rope: &Keys, max_positions: usize) -> Result<Yarn, ConfigError> {
    let original = rope.size("original_max_position_embeddings")?.unwrap_or(max_positions);
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

/// An object of the file, with the name that its keys carry in errors. A null is an absent key.
struct Keys<'a> {
    map: &'a Map<String, Value>,
    section: &'a str,
    file: &'a Path,
}

impl<'a> Keys<'a> {
    fn new(value: &'a Value, section: &'a str, file: &'a Path) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => Ok(Keys { map, section, file }),
            _ => Err(ConfigError {
                file: file.to_owned(),
                key: if section.is_empty() { "(whole file)".into() } else { section.into() },
                problem: "is not a JSON object".into(),
                cure: "check that this is the model's config.json".into(),
            }),
        }
    }

    fn fail(&self, key: &str, problem: impl Into<String>, cure: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            key: match self.section {
                "" => key.to_owned(),
                section => format!("{section}.{key}"),
            },
            problem: problem.into(),
            cure: cure.into(),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The value under `key` through `read`, which gives `None` for a wrong type.
    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| {
            let problem = format!("{} is not {wanted}", shorten(&value.to_string()));
            self.fail(key, problem, format!("give {wanted}"))
        })
    }

    fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.typed(key, "a whole number of 0 or more", |value| usize::try_from(value.as_u64()?).ok())
    }

    fn needed_size(&self, key: &str) -> Result<usize, ConfigError> {
        self.size(key)?.ok_or_else(|| {
            let cure = "add it, as the model's own config.json has it";
            self.fail(key, "is missing", cure)
        })
    }

    fn float(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.typed(key, "a number", Value::as_f64)
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.typed(key, "a text", Value::as_str)
    }

    /// A token id or a list of them.
    fn ids(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let read = self.typed(key, "a token id or a list of them", |value| match value {
            Value::Array(ids) => ids.iter().map(id).collect(),
            single => Some(vec![id(single)?]),
        })?;
        Ok(read.unwrap_or_default())
    }
}

/// As much of a value from the file as an error may repeat, on one line.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
