use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn read(value: &Value) -> Result<ModelConfig, ConfigError> {
    ModelConfig::from_value(value, Path::new("config.json"))
}

fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 512, "rope_theta": 10000.0, "bos_token_id": 0,
        "eos_token_id": [1, 2], "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    })
}

/// DeepSeek-V3's own sizes, in the spelling of its release.
fn deepseek_v3() -> Value {
    json!({
        "model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168,
        "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61,
        "num_nextn_predict_layers": 1, "num_attention_heads": 128, "num_key_value_heads": 128,
        "n_shared_experts": 1, "n_routed_experts": 256, "num_experts_per_tok": 8, "n_group": 8,
        "topk_group": 4, "topk_method": "noaux_tc", "scoring_func": "sigmoid",
        "norm_topk_prob": true, "routed_scaling_factor": 2.5, "first_k_dense_replace": 3,
        "moe_layer_freq": 1, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "max_position_embeddings": 163840,
        "rope_theta": 10000, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
        "rope_scaling": {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1,
            "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096},
    })
}

fn with(mut value: Value, key: &str, new: Value) -> Value {
    value[key] = new;
    value
}

#[test]
fn reads_dense_and_sparse() {
    let config = read(&llama()).unwrap();
    assert_eq!(read(&with(llama(), "hidden_act", json!("swish"))).unwrap(), config, "SiLU's other name");
    assert_eq!(config.eos_token_ids, [1, 2]);
    assert_eq!(config.rope_dim(), 16);
    let Attention::Gqa(gqa) = &config.attention else { panic!("{:?}", config.attention) };
    assert_eq!(gqa.softmax_scale(), 0.25);
    assert!(matches!(config.layer(2).feed_forward, FeedForward::Dense(_)));

    let config = read(&deepseek_v3()).unwrap();
    let is_moe = |layer| matches!(config.layer(layer).feed_forward, FeedForward::Moe(_));
    assert!(!is_moe(2) && is_moe(3));
    // The paper's 671B; routers and norms are all that a rounding of the papers could hide.
    assert_eq!(config.num_parameters() / 1_000_000_000, 671);
    // The paper's 37B that are activated for each token.
    assert!((36_500_000_000..37_600_000_000).contains(&config.num_active_parameters()));
    let dense = read(&llama()).unwrap();
    assert_eq!(dense.num_active_parameters(), dense.num_parameters());
    // 192^-0.5 · (0.1·ln 40 + 1)²: the figure that DeepSeek's own code computes.
    let Attention::Mla(mla) = &config.attention else { panic!("{:?}", config.attention) };
    assert!((mla.softmax_scale(&config.rope) - 0.135_233_78).abs() < 1e-7);
    assert_eq!(config.rope.attention_factor(), 1.0);
}

/// Frequencies that `transformers` 5.23 computes: kept, on the ramp, and interpolated pairs.
#[test]
fn yarn_frequencies_equal_upstream() {
    let v3 = [
        (0, 1.0),
        (1, 0.749_894_2),
        (10, 0.056_234_13),
        (14, 0.012_447_956),
        (18, 0.002_249_365_2),
        (22, 0.000_177_827_94),
        (24, 2.5e-5),
        (31, 3.333_803_5e-6),
    ];
    let untruncated = [
        (0, 1.0),
        (20, 0.013_335_215),
        (30, 0.001_079_237_7),
        (34, 0.000_333_768_37),
        (40, 4.445_698_5e-5),
        (63, 3.102_344_4e-7),
    ];
    let mut qwen3 = with(llama(), "model_type", json!("qwen3"));
    qwen3["head_dim"] = json!(128);
    qwen3["rope_theta"] = json!(1e6);
    qwen3["rope_scaling"] = json!({"rope_type": "yarn", "factor": 4.0, "truncate": false,
        "original_max_position_embeddings": 32768});
    let qwen3 = read(&qwen3).unwrap();
    // 0.1·ln 4 + 1, rounded as upstream rounds it.
    assert_eq!(qwen3.rope.attention_factor() as f32, 1.138_629_4);
    for (config, golden) in [(read(&deepseek_v3()).unwrap(), &v3[..]), (qwen3, &untruncated)] {
        let ours = config.rope.inv_freq(config.rope_dim());
        for &(pair, golden) in golden {
            // Two units in f32's last place: torch's power function is not exactly rounded.
            let off: f32 = (ours[pair] - golden) / golden;
            assert!(off.abs() < 2.4e-7, "pair {pair}: {} {golden}", ours[pair]);
        }
    }
}

/// As `transformers` has it: Qwen3's heads are 128 wide unless they say otherwise, and only Llama knows `mlp_bias`.
#[test]
fn what_is_absent_is_what_its_family_means() {
    for (model_type, head_dim, bias) in [("llama", 16, true), ("qwen2", 16, false), ("qwen3", 128, false)] {
        let value = with(with(llama(), "model_type", json!(model_type)), "mlp_bias", json!(true));
        let config = read(&value).unwrap();
        assert_eq!((config.rope_dim(), config.mlp_bias), (head_dim, bias), "{model_type}");
    }
}

/// Like upstream: where it stands beside the section it holds, and the length stands in for it.
#[test]
fn the_original_context_may_stand_outside() {
    let scaled = |kind: &str| {
        let section = json!({"rope_type": kind, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0});
        with(llama(), "rope_scaling", section)
    };
    let original = |value: &Value| match read(value).unwrap().rope.scaling {
        RopeScaling::Yarn(yarn) => yarn.original_max_position_embeddings,
        RopeScaling::Llama3 { original_max_position_embeddings, .. } => original_max_position_embeddings,
        other => panic!("{other:?}"),
    };
    for kind in ["yarn", "llama3"] {
        let mut value = scaled(kind);
        assert_eq!(original(&value), 512);
        value["rope_scaling"]["original_max_position_embeddings"] = json!(128);
        assert_eq!(original(&value), 128);
        value["original_max_position_embeddings"] = json!(64);
        assert_eq!(original(&value), 64);
    }
}

/// Qwen2's windows narrow layers from `max_window_layers` on, and none if they are wider than the context.
#[test]
fn windows_that_narrow_nothing_are_read() {
    let qwen2 = |window: Value, from: usize| {
        let mut value = with(llama(), "model_type", json!("qwen2"));
        value["use_sliding_window"] = json!(true);
        value["sliding_window"] = window;
        value["max_window_layers"] = json!(from);
        read(&value)
    };
    assert!(qwen2(Value::Null, 0).is_ok() && qwen2(json!(512), 0).is_ok() && qwen2(json!(16), 3).is_ok());
    assert!(qwen2(json!(16), 2).unwrap_err().to_string().contains("use_sliding_window"));
    // A mixture of Qwen3's has its window in all layers.
    let mut value = with(llama(), "model_type", json!("qwen3_moe"));
    for (key, size) in [("num_experts", 4), ("num_experts_per_tok", 2), ("moe_intermediate_size", 8)] {
        value[key] = json!(size);
    }
    assert!(read(&value).is_ok());
    for (key, setting) in [("use_sliding_window", json!(true)), ("sliding_window", json!(16))] {
        value[key] = setting;
    }
    value["max_window_layers"] = json!(3);
    assert!(read(&value).unwrap_err().to_string().contains("use_sliding_window"));
}

#[test]
fn what_is_written_reads_back_the_same() {
    let v2 = json!({
        "model_type": "deepseek_v2", "n_routed_experts": 8, "topk_method": "group_limited_greedy",
        "n_group": 4, "topk_group": 2, "num_experts_per_tok": 2, "norm_topk_prob": false, "scoring_func": "softmax",
    });
    let mut v2_whole = deepseek_v3();
    for (key, value) in v2.as_object().unwrap() {
        v2_whole[key] = value.clone();
    }
    let qwen2 = with(llama(), "model_type", json!("qwen2"));
    let qwen3 = with(llama(), "model_type", json!("qwen3"));
    for value in [llama(), deepseek_v3(), v2_whole, qwen2, qwen3] {
        let config = read(&value).unwrap();
        assert_eq!(read(&config.to_json()).unwrap(), config);
    }
}

#[test]
fn new_and_old_spelling_mean_the_same() {
    let mut new = deepseek_v3();
    let map = new.as_object_mut().unwrap();
    let mut parameters = map.remove("rope_scaling").unwrap();
    parameters["rope_theta"] = map.remove("rope_theta").unwrap();
    parameters["rope_type"] = parameters.as_object_mut().unwrap().remove("type").unwrap();
    map.insert("rope_parameters".into(), parameters);
    assert_eq!(read(&new).unwrap(), read(&deepseek_v3()).unwrap());
}

#[test]
fn rope_interleave_is_honoured() {
    let half = with(deepseek_v3(), "rope_interleave", json!(false));
    assert_eq!(read(&half).unwrap().rope.style, RopeStyle::Half);
    assert_eq!(read(&deepseek_v3()).unwrap().rope.style, RopeStyle::Interleaved);
}

#[test]
fn refusals_name_file_key_and_cure() {
    let cases = [
        (llama(), "model_type", json!("mamba")),
        (llama(), "hidden_size", json!(-64)),
        (llama(), "hidden_size", json!(0)),
        (llama(), "hidden_size", json!(65)),
        (llama(), "hidden_size", json!(1u64 << 63)),
        (llama(), "num_attention_heads", json!(0)),
        (llama(), "num_key_value_heads", json!(0)),
        (llama(), "num_key_value_heads", json!(3)),
        (llama(), "vocab_size", json!("512")),
        (llama(), "head_dim", json!(15)),
        (llama(), "hidden_act", json!("gelu")),
        (llama(), "mlp_bias", json!(1)),
        (llama(), "rms_norm_eps", json!(0.0)),
        (llama(), "rope_theta", json!(1.0)),
        (llama(), "rope_scaling", json!({"rope_type": "llama3"})),
        (llama(), "rope_scaling", json!([1])),
        (llama(), "layer_types", json!(["sliding_attention"])),
        (deepseek_v3(), "n_group", json!(0)),
        (deepseek_v3(), "n_group", json!(7)),
        (deepseek_v3(), "n_group", json!(256)),
        (deepseek_v3(), "topk_group", json!(9)),
        (deepseek_v3(), "num_experts_per_tok", json!(129)),
        (deepseek_v3(), "moe_layer_freq", json!(0)),
        (deepseek_v3(), "num_key_value_heads", json!(64)),
        (deepseek_v3(), "scoring_func", json!("softmax")),
        (deepseek_v3(), "n_routed_experts", Value::Null),
        (deepseek_v3(), "qk_rope_head_dim", json!(63)),
        (deepseek_v3(), "rope_scaling", json!({"type": "yarn", "factor": 0.5})),
    ];
    for (base, key, value) in cases {
        let error = read(&with(base, key, value.clone())).expect_err(key);
        let line = error.to_string();
        assert!(line.starts_with("config.json: ") && line.contains("; "), "{line}");
        assert!(!line.contains('\n') && line.len() < 300, "{line}");
    }
    let huge = with(with(deepseek_v3(), "hidden_size", json!(1 << 20)), "moe_intermediate_size", json!(1 << 20));
    assert!(read(&huge).unwrap_err().problem.contains("parameters"));
}

proptest::proptest! {
    /// Any integer under any key is read or refused, never a panic.
    #[test]
    fn hostile_numbers_never_panic(key in 0usize..40, number: i64, v3: bool) {
        let mut value = if v3 { deepseek_v3() } else { llama() };
        let map = value.as_object_mut().unwrap();
        let key = map.keys().nth(key % map.len()).unwrap().clone();
        for number in [number, number % 100] {
            map.insert(key.clone(), json!(number));
            if let Ok(config) = read(&Value::Object(map.clone())) {
                proptest::prop_assert!(config.num_parameters() > 0);
                proptest::prop_assert!(config.rope.inv_freq(config.rope_dim()).iter().all(|f| f.is_finite()));
            }
        }
    }
}
