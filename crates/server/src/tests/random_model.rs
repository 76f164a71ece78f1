//! The application before the real engine and a small model that knows nothing: what it draws, shares and is held to.

use super::contracts::post;
use super::*;
use picnic_engine::{DiskError, DiskSettings};
use picnic_model::WeightForm;

/// The real engine and a small model with random weights.
pub(super) fn random_model() -> Router {
    random_model_on(None)
}

fn random_model_on(disk: Option<DiskCache>) -> Router {
    let config = json!({
        "model_type": "llama", "vocab_size": 264, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "rope_theta": 10000.0, "initializer_range": 0.1
    });
    let config = picnic_model::config::ModelConfig::from_value(&config, "test".as_ref()).unwrap();
    let ops = picnic_model::backend::with_threads(1).unwrap();
    let model = Model::new(config);
    let params = picnic_model::initialise(&ops, &model, 1).unwrap();
    let (format, limits) = (ChatFormat::picnic(tokenizer()), Limits::new(&ops, &model, CacheForm::Exact, 1 << 20));
    let model = picnic_model::SharedModel::new(model, params);
    let served = Served { name: "echo".to_owned(), model, ops, chat: format, limits, disk };
    Server::new(House::of(Hosted::new(served).unwrap()), Settings::default()).router()
}

/// A server that was started again finds on disk what the one before has read, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_outlasts_the_server() {
    let folder = tempfile::tempdir().unwrap();
    // The thread of the server before may take a moment to let go of the folder.
    let open = async || {
        for _ in 0..1000 {
            let (folder, weights) = (folder.path().to_owned(), [1; 32]);
            let settings = DiskSettings { folder, bytes: 1 << 30, weights, form: WeightForm::Exact };
            match DiskCache::open(settings, |line| panic!("{line}")) {
                Ok(disk) => return disk,
                Err(error) => assert!(matches!(error, DiskError::Held(_)), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the folder is not free");
    };
    let mut answers = Vec::new();
    for _ in 0..2 {
        let router = random_model_on(Some(open().await));
        let more = json!({"max_tokens": 40, "temperature": 0.0});
        let (status, answer) = chat(&router, &"picnic ".repeat(20), more).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let usage = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        let all = answer["usage"]["prompt_tokens"].as_u64().unwrap();
        answers.push((answer["choices"][0]["message"].clone(), usage, (all - 1) / 32 * 32));
    }
    let [first, second] = &answers[..] else { panic!("two answers") };
    assert_eq!((&first.0, first.1), (&second.0, 0));
    assert!(second.1 == second.2 && second.1 > 0, "{answers:?}");
}

/// Asked the same again, a model reads only the end of it, says so, and answers the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_not_read_again() {
    let router = random_model();
    let ask = async || {
        let more = json!({"max_tokens": 40, "temperature": 0.0});
        let (status, answer) = chat(&router, &"picnic ".repeat(20), more).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let usage = &answer["usage"];
        let [hit, miss, all] = ["prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "prompt_tokens"]
            .map(|key| usage[key].as_u64().unwrap());
        assert_eq!((hit + miss, &usage["prompt_tokens_details"]["cached_tokens"]), (all, &json!(hit)));
        (answer["choices"][0]["message"].clone(), hit, all)
    };
    let (first, second) = (ask().await, ask().await);
    assert_eq!((first.0, first.1), (second.0, 0));
    // Whole pages before the last token.
    assert_eq!(second.1, (second.2 - 1) / 32 * 32);
}

/// A seed fixes the answer, whatever else is being answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_seed_fixes_the_answer() {
    let router = random_model();
    let ask = |seed: u64| {
        let router = router.clone();
        async move {
            let (status, answer) = chat(&router, "hi", json!({"seed": seed, "max_tokens": 40})).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            answer["choices"][0]["message"].clone()
        }
    };
    let alone = ask(1).await;
    let (together, other, _) = tokio::join!(ask(1), ask(2), ask(3));
    assert_eq!(alone, together);
    assert_ne!(alone, other);
}

/// A model that knows nothing, drawn from at temperature 1, answers by the schema whenever it comes to an end.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_held_to_a_schema() {
    let router = random_model();
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["цвет", "count", "is_new"],
        "properties": {
            "цвет": {"enum": ["красный", "синий", "зелёный"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 300},
            "is_new": {"type": "boolean"}
        }
    });
    let is_valid = |answer: &Value| {
        let known = ["красный", "синий", "зелёный"].map(Value::from).contains(&answer["цвет"]);
        let counted = answer["count"].as_u64().is_some_and(|count| count <= 300);
        known
            && counted
            && answer["is_new"].is_boolean()
            && answer.as_object().is_some_and(|members| members.len() == 3)
    };
    let (mut whole, mut thought) = (0, 0);
    for seed in 0..24 {
        // Whoever thinks has to come to an end with it, or a model that knows nothing never would.
        let mut more = held_to(schema.clone());
        let settings = json!({"seed": seed, "temperature": 1, "max_tokens": 900, "thinking_budget": 8});
        more.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let (status, answer) = chat(&router, "hi", more).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let choice = &answer["choices"][0];
        let content = choice["message"]["content"].as_str().unwrap();
        thought += usize::from(answer["usage"]["completion_tokens_details"]["reasoning_tokens"] != 0);
        match choice["finish_reason"].as_str() {
            Some("stop") => assert!(serde_json::from_str(content).is_ok_and(|json| is_valid(&json)), "{content}"),
            finish => assert_eq!(finish, Some("length"), "{answer}"),
        }
        whole += usize::from(choice["finish_reason"] == "stop");
    }
    assert!(whole > 12 && (1..24).contains(&thought), "{whole} came to an end, {thought} thought");

    // What reads like a mark is text, whole and as a stream.
    let quoted = "<think>a</think><answer>b</answer>";
    let mut more = held_to(json!({"const": quoted}));
    more["thinking_budget"] = 2.into();
    more["seed"] = 1.into();
    let (_, answer) = chat(&router, "hi", more.clone()).await;
    assert_eq!(answer["choices"][0]["message"]["content"], format!("{quoted:?}"), "{answer}");
    more["stream"] = true.into();
    let chunks = stream(&router, "hi", more).await;
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, format!("{quoted:?}"));
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
}

/// A model that knows nothing can only say what the form allows, by each contract's name for it.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_held_to_a_schema_by_every_contract() {
    let router = random_model();
    let schema = json!({
        "type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": false
    });
    let format = json!({"type": "json_schema", "schema": schema});
    let said = json!([{"role": "user", "content": "hi"}]);
    for (path, body, answer) in [
        (
            "/v1/chat/completions",
            json!({"messages": said, "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}),
            "/choices/0/message/content",
        ),
        (
            "/v1/responses",
            json!({"input": "hi", "reasoning": {"effort": "none"}, "text": {"format": format}}),
            "/output/0/content/0/text",
        ),
        (
            "/v1/messages",
            json!({"messages": said, "max_tokens": 200, "output_config": {"effort": "low", "format": format}}),
            "/content/0/text",
        ),
        ("/v1/messages", json!({"messages": said, "max_tokens": 200, "output_format": format}), "/content/0/text"),
    ] {
        let mut body = body;
        if path != "/v1/responses" {
            body["thinking"] = json!({"type": "disabled"});
        }
        let (status, response) = post(&router, path, body).await;
        let text = response.pointer(answer).and_then(Value::as_str).unwrap_or_else(|| panic!("{status} {response}"));
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {response}"));
        assert!([1, 2].map(|a| json!({"a": a})).contains(&value), "{response}");
    }
    for wrong in [json!({"type": "json_object"}), json!({"type": "json_schema"}), json!(7)] {
        let body = json!({"messages": said, "max_tokens": 9, "output_config": {"format": wrong}});
        let (status, error) = post(&router, "/v1/messages", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains("output_config"), "{error}");
    }
}
