//! `deepseek_v2`: latent attention, experts chosen by softmax scores. V2, V2-Lite.

use super::deepseek_v3::{deepseek, one_of, write_deepseek};
use super::{AttentionKind, Family, Interleaved, MoeKeys};
use crate::config::{ConfigError, Keys, Moe, Put};
use serde_json::json;

pub(super) const FAMILY: Family = Family {
    model_type: "deepseek_v2",
    architecture: "DeepseekV2ForCausalLM",
    attention: AttentionKind::Mla,
    moe: Some(MoeKeys { read, write }),
    interleaved: Interleaved::Always,
    multi_token_prediction: false,
    mlp_bias: false,
};

fn read(keys: &Keys) -> Result<Moe, ConfigError> {
    one_of(keys, "scoring_func", &["softmax"])?;
    let method = one_of(keys, "topk_method", &["greedy", "group_limited_greedy"])?;
    if keys.boolean("norm_topk_prob")? == Some(true) {
        // `transformers` ignores the key here, DeepSeek's code normalises and drops the scaling.
        let cure = "implementations disagree on it: set it to false";
        return Err(keys.fail("norm_topk_prob", "true is not supported for deepseek_v2", cure));
    }
    // Greedy selection ignores groups, whatever the keys say.
    let groups = |key| Ok(keys.size(key)?.filter(|_| method != "greedy").unwrap_or(1));
    Ok(Moe { n_group: groups("n_group")?, topk_group: groups("topk_group")?, ..deepseek(keys)? })
}

fn write(moe: &Moe, put: Put) {
    write_deepseek(moe, put);
    put("scoring_func", json!("softmax"));
    put("topk_method", json!(if moe.n_group == 1 { "greedy" } else { "group_limited_greedy" }));
}
