//! Requests that nobody sends who means well: each is answered, soon, and by no status that is the server's fault.

use super::random_model::random_model;
use super::*;
use std::time::Instant;

/// What each path takes, with a valid body.
const PATHS: [(&str, &str); 8] = [
    ("/v1/chat/completions", r#"{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}"#),
    ("/v1/completions", r#"{"prompt": "hi", "max_tokens": 2}"#),
    ("/v1/responses", r#"{"input": "hi", "max_output_tokens": 2}"#),
    ("/v1/embeddings", r#"{"input": "hi"}"#),
    ("/v1/messages", r#"{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}"#),
    ("/v1/messages/count_tokens", r#"{"messages": [{"role": "user", "content": "hi"}]}"#),
    ("/tokenize", r#"{"prompt": "hi"}"#),
    ("/detokenize", r#"{"tokens": [70]}"#),
];

/// The status of an answer that is a JSON object of moderate size.
async fn answered(router: &Router, path: &str, body: impl Into<Body>) -> u16 {
    let begun = Instant::now();
    let (status, text) = call(router, "POST", path, body).await;
    assert!(serde_json::from_str::<Value>(&text).is_ok_and(|answer| answer.is_object()), "{path}: {text}");
    assert!(!status.is_server_error() && text.len() < 100_000, "{path}: {status}, {} bytes", text.len());
    assert!(begun.elapsed() < Duration::from_secs(60), "{path}: {:?}", begun.elapsed());
    status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_requests() {
    let router = random_model();
    for (path, valid) in PATHS {
        assert_eq!(answered(&router, path, valid).await, 200, "{path}");
        let deep = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);
        let beside = |more: &str| valid.replacen('{', &format!("{{{more}, "), 1);
        for body in [
            String::new(),
            "[]".to_owned(),
            "1e999".to_owned(),
            "null".to_owned(),
            "\"hi\"".to_owned(),
            format!("{valid} {valid}"),
            deep("[", "]"),
            deep("{\"a\":", "}"),
            beside("\"model\": \"\\ud800\""),
            beside("\"model\": 1"),
            beside("\"model\": \"a\", \"model\": \"b\""),
        ] {
            let status = answered(&router, path, body.clone()).await;
            assert_eq!(status, 400, "{path}: {}", &body[..body.len().min(100)]);
        }
        // Nobody looks at these, so they are either passed over or refused.
        for unknown in [deep("[", "]"), "1e999".to_owned(), "\"\\ud800\"".to_owned()] {
            let status = answered(&router, path, beside(&format!("\"unknown\": {unknown}"))).await;
            assert!([200, 400].contains(&status), "{path}: {status}");
        }
        assert_eq!(answered(&router, path, [&b"{\"model\": \"\xff\"}"[..]].concat()).await, 400, "{path}");
        for name in ["../../etc/passwd", "a/../b", "%2e%2e", "", "\0", &"x".repeat(1 << 20)] {
            let model = format!("\"model\": {}", Value::from(name));
            assert_eq!(answered(&router, path, beside(&model)).await, 404, "{path}: {}", &name[..name.len().min(100)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_anybody_needs() {
    let router = random_model();
    let message = json!({"role": "user", "content": "hi"});
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let members: serde_json::Map<String, Value> =
        (0..25_000).map(|n| (format!("member {n}"), json!({"type": "string", "maxLength": n}))).collect();
    let schema = json!({"type": "object", "properties": members});
    assert!(schema.to_string().len() > 1_000_000);
    let held = held_to(schema);
    for (more, statuses) in [
        (json!({"n": 1_000_000_000}), [422, 422]),
        (json!({"n": 1e9}), [400, 400]),
        (json!({"max_tokens": u64::MAX}), [400, 400]),
        (json!({"seed": u64::MAX}), [400, 400]),
        (json!({"max_tokens": i64::MAX}), [200, 200]),
        (json!({"temperature": 1e300}), [422, 422]),
        (json!({"temperature": -1e-300}), [200, 422]),
        (json!({"messages": vec![message.clone(); 1000]}), [200, 400]),
        (json!({"messages": vec![message.clone(); 4097]}), [422, 422]),
        (json!({"tools": vec![tool.clone(); 129]}), [422, 422]),
        (json!({"stop": vec!["x"; 17]}), [422, 422]),
        (json!({"logit_bias": {"99999999999999999999": 1}}), [422, 422]),
        (json!({"guided_regex": "(a{1000}){1000}"}), [200, 422]),
        (json!({"guided_regex": "(".repeat(5000)}), [422, 422]),
        (json!({"guided_grammar": "start: start start"}), [200, 422]),
        (held, [200, 422]),
    ] {
        let mut body = json!({"messages": [message], "max_tokens": 2, "thinking_budget": 0});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let status = answered(&router, "/v1/chat/completions", body.to_string()).await;
        assert!(statuses.contains(&status), "{status}: {:.200}", more.to_string());
    }
}

/// Whatever stands in a field that the document tells of, an answer goes out.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_with_every_kind_of_value() {
    let router = random_model();
    let document: Value = serde_json::from_str(&call(&router, "GET", "/openapi.json", "").await.1).unwrap();
    let fields = |schema: &Value| -> Vec<String> {
        let (mut fields, mut left) = (Vec::new(), vec![schema]);
        while let Some(schema) = left.pop() {
            left.extend(schema["$ref"].as_str().and_then(|reference| document.pointer(&reference[1..])));
            left.extend(schema["allOf"].as_array().into_iter().flatten());
            fields.extend(schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys().cloned()));
        }
        fields
    };
    let (long, mut asked) = ("x".repeat(2000), 0);
    for (path, valid) in PATHS {
        let valid: Value = serde_json::from_str(valid).unwrap();
        let schema = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        for field in fields(schema).into_iter().filter(|field| field != "stream") {
            for value in [
                json!(null),
                json!(true),
                json!(-1),
                json!(0),
                json!(1.5),
                json!(1e308),
                json!(i64::MIN),
                json!(u64::MAX),
                json!(""),
                json!("\0\u{10ffff}"),
                json!(long),
                json!([]),
                json!([[]]),
                json!([{}]),
                json!([null, "a", 1]),
                json!({}),
                json!({"type": null, "function": []}),
                json!({"type": "tool", "name": {}}),
            ] {
                let mut body = valid.clone();
                body[&field] = value;
                answered(&router, path, body.to_string()).await;
                asked += 1;
            }
        }
    }
    assert!(asked > 1000, "{asked}");
}

/// Blocks that lack what they are for are not taken for empty ones.
#[tokio::test]
async fn blocks_without_their_text_are_refused() {
    let (router, _) = echo();
    for block in [
        json!({"type": "text"}),
        json!({"type": "text", "text": 1}),
        json!({"type": "thinking"}),
        json!({"type": "tool_use", "id": "a", "name": false, "input": {}}),
        json!({"type": "tool_result", "content": "a"}),
        json!({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}]}),
    ] {
        let body = json!({"max_tokens": 1, "messages": [{"role": "user", "content": [block]}]});
        let (status, answer) = call(&router, "POST", "/v1/messages", body.to_string()).await;
        assert!(status == StatusCode::BAD_REQUEST && answer.contains("without a text"), "{status} {answer}");
    }
}

#[tokio::test]
async fn paths_that_are_no_text() {
    let (router, _) = echo();
    let valid = asking("hi", json!({}));
    for (method, path) in [("GET", "/v1/models/%ff"), ("POST", "/openai/deployments/%ff/chat/completions")] {
        let (status, body) = call(&router, method, path, valid.clone()).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("model")), "{body}");
    }
}
