//! Calls of tools in every contract, messages that are gone on with, and who may come in.

use super::*;
use picnic_keys::{Keys, Limits as KeyLimits, NewKey, Scope, Timestamp};
use std::collections::BTreeSet;

const CALL: &str = "So.<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Nairobi\"}}</tool_call>\
                    <tool_call>{\"name\": \"time\", \"arguments\": {}}</tool_call>";

fn tools() -> Value {
    let function =
        |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}});
    json!([function("weather"), function("time")])
}

async fn post(router: &Router, path: &str, body: Value) -> Value {
    let (status, text) = call(router, "POST", path, body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

#[tokio::test]
async fn calls_leave_in_the_words_of_each_contract() {
    let (router, _) = echo();
    let (_, answer) = chat(&router, CALL, json!({"tools": tools()})).await;
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &json!("So.")),
        "{answer}"
    );
    let calls = &choice["message"]["tool_calls"];
    assert_eq!((&calls[0]["type"], &calls[0]["function"]["name"]), (&json!("function"), &json!("weather")));
    let arguments: Value = serde_json::from_str(calls[0]["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!((&arguments, &calls[1]["function"]["name"]), (&json!({"city": "Nairobi"}), &json!("time")));
    assert!(calls[0]["id"].as_str().unwrap().len() > 10 && calls[0]["id"] != calls[1]["id"]);
    // As a stream the same comes in pieces.
    let chunks = stream(&router, CALL, json!({"tools": tools(), "stream": true})).await;
    let pieces = |index: u64, at: &str| -> String {
        let all = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array()).flatten();
        all.filter(|piece| piece["index"] == index).filter_map(|piece| piece.pointer(at)?.as_str()).collect()
    };
    assert_eq!((pieces(0, "/function/name"), pieces(1, "/function/name")), ("weather".to_owned(), "time".to_owned()));
    assert_eq!(pieces(0, "/function/arguments"), calls[0]["function"]["arguments"].as_str().unwrap());
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    // Without tools the same is text.
    let (_, answer) = chat(&router, CALL, json!({"tools": tools(), "tool_choice": "none"})).await;
    assert_eq!(
        (&answer["choices"][0]["message"]["content"], &answer["choices"][0]["finish_reason"]),
        (&json!(CALL), &json!("stop"))
    );

    let flat =
        json!([{"type": "function", "name": "weather", "parameters": {"type": "object"}}, {"type": "web_search"}]);
    let response = post(&router, "/v1/responses", json!({"input": CALL, "tools": flat})).await;
    let kinds: Vec<&Value> = response["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds[..2], ["message", "function_call"], "{response}");
    assert_eq!(
        (&response["output"][1]["name"], &response["output"][1]["status"]),
        (&json!("weather"), &json!("completed"))
    );

    let schema = json!([{"name": "weather", "input_schema": {"type": "object"}}, {"name": "time", "input_schema": {"type": "object"}}]);
    let asked = json!({"max_tokens": 500, "messages": [{"role": "user", "content": CALL}], "tools": schema});
    let message = post(&router, "/v1/messages", asked.clone()).await;
    assert_eq!(message["stop_reason"], "tool_use", "{message}");
    let [text, first, second] = &message["content"].as_array().unwrap()[..] else { panic!("{message}") };
    assert_eq!(
        (&text["text"], &first["name"], &first["input"]),
        (&json!("So."), &json!("weather"), &json!({"city": "Nairobi"}))
    );
    assert_eq!((&second["name"], &second["input"]), (&json!("time"), &json!({})));
    let mut streamed = asked;
    streamed["stream"] = true.into();
    let text = post(&router, "/v1/messages", streamed).await;
    let text = text.as_str().unwrap();
    assert!(text.contains("\"input_json_delta\"") && text.contains("\"stop_reason\":\"tool_use\""), "{text}");
}

#[tokio::test]
async fn results_of_tools_come_back() {
    let (router, _) = echo();
    let called = json!([
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Nairobi\"}"}}
        ]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "user", "content": "thanks"}
    ]);
    let (status, answer) = chat(&router, "", json!({"messages": called, "tools": tools()})).await;
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (StatusCode::OK, &json!("thanks")), "{answer}");
    let message = post(
        &router,
        "/v1/messages",
        json!({"max_tokens": 50, "messages": [
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "x"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "thanks"}
            ]}
        ]}),
    )
    .await;
    assert_eq!(message["content"][0]["text"], "thanks");
    let response = post(
        &router,
        "/v1/responses",
        json!({"input": [
            {"role": "user", "content": "weather?"},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {"role": "user", "content": "thanks"}
        ]}),
    )
    .await;
    assert_eq!(response["output"][0]["content"][0]["text"], "thanks");
}

#[tokio::test]
async fn what_is_wrong_with_tools_is_said() {
    let (router, _) = echo();
    for (more, part) in [
        (json!({"tools": [{"type": "function"}]}), "function.name"),
        (json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "other"}}}), "not among"),
        (json!({"tools": tools(), "tool_choice": "sometimes"}), "must be `auto`"),
        (json!({"messages": [{"role": "user", "content": "x", "prefix": true}]}), "of the assistant"),
    ] {
        let (status, answer) = chat(&router, "hi", more).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_with_a_key_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(Keys::open(&folder.path().join("keys.sqlite")).unwrap());
    let make = |name: &str, change: fn(&mut NewKey)| {
        let mut new = NewKey::named(name);
        change(&mut new);
        keys.create(&new, Timestamp::now()).unwrap().1.reveal().to_owned()
    };
    let good = make("good", |_| {});
    let reader = make("reader", |new| new.scopes = BTreeSet::from([Scope::Read]));
    let other = make("other", |new| new.models = Some(vec!["another".to_owned()]));
    let slow = make("slow", |new| new.limits = KeyLimits { requests_per_minute: Some(1), ..KeyLimits::default() });
    let small = make("small", |new| new.limits = KeyLimits { tokens: Some(5), ..KeyLimits::default() });
    let admin = make("admin", |new| new.scopes = Scope::ALL.into());
    let hosted =
        Hosted::of("echo".to_owned(), ChatFormat::picnic(tokenizer()), LIMITS, 32, echoing(Arc::default())).unwrap();
    let settings = Settings { keys: Some(Arc::clone(&keys)), ..Settings::default() };
    let router = Server::new(House::of(hosted), settings).router();
    let ask = async |method: &str, path: &str, header: &str, value: &str| {
        let body = if method == "GET" { String::new() } else { asking("hello", json!({"max_tokens": 50})) };
        let request = HttpRequest::builder().method(method).uri(path).header(header, value);
        let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (status, retry) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, retry, String::from_utf8(body.to_vec()).unwrap())
    };
    let chat = "/v1/chat/completions";
    assert_eq!(ask("POST", chat, "x-nothing", "x").await.0, 401);
    assert_eq!(ask("POST", chat, "authorization", "Bearer pk-wrong").await.0, 401);
    assert_eq!(ask("GET", "/v1/health/live", "x-nothing", "x").await.0, 200);
    for (header, value) in
        [("authorization", format!("Bearer {good}")), ("x-api-key", good.clone()), ("api-key", good.clone())]
    {
        assert_eq!(ask("POST", chat, header, &value).await.0, 200);
    }
    // What was used is written down before an answer ends: "hello" between three marks, and it again with its end.
    let used = keys.usage("good").unwrap().0.used;
    assert_eq!((used.requests, used.prompt_tokens, used.completion_tokens), (3, 3 * 8, 3 * 6));
    assert_eq!(ask("POST", chat, "x-api-key", &reader).await.0, 403);
    // A list of prompts is one request.
    let prompts = json!({"prompt": ["a", "b", "c"], "max_tokens": 1}).to_string();
    let request = HttpRequest::post("/v1/completions").header("x-api-key", &good).body(Body::from(prompts)).unwrap();
    let body = router.clone().oneshot(request).await.unwrap().into_body().collect().await;
    let after = keys.usage("good").unwrap().0.used;
    assert!(body.is_ok() && after.requests == 4 && after.prompt_tokens > used.prompt_tokens, "{after:?}");
    let (status, _, models) = ask("GET", "/v1/models", "x-api-key", &reader).await;
    assert!(status == 200 && models.contains("\"echo\""), "{models}");
    let (status, _, models) = ask("GET", "/v1/models", "x-api-key", &other).await;
    assert!(status == 200 && !models.contains("\"echo\""), "what a key is not for is not shown to it: {models}");
    assert_eq!(ask("GET", "/v1/models/echo", "x-api-key", &other).await.0, 403);
    assert_eq!(ask("GET", "/v1/metrics", "x-api-key", &reader).await.0, 403);
    assert_eq!(ask("GET", "/v1/metrics", "x-api-key", &admin).await.0, 200);
    assert_eq!(ask("POST", chat, "x-api-key", &other).await.0, 403);
    assert_eq!(ask("POST", chat, "x-api-key", &slow).await.0, 200);
    let (status, retry, body) = ask("POST", chat, "x-api-key", &slow).await;
    assert!(status == 429 && retry && body.contains("rate_limit_exceeded"), "{body}");
    assert_eq!(ask("POST", chat, "x-api-key", &small).await.0, 200);
    assert_eq!(ask("POST", chat, "x-api-key", &small).await.0, 402);
    keys.revoke("good", Timestamp::now()).unwrap();
    let (status, _, body) = ask("POST", "/v1/messages", "x-api-key", &good).await;
    assert!(
        status == 401 && body.contains("\"authentication_error\"") && body.starts_with("{\"type\":\"error\""),
        "{body}"
    );
}

/// A model that knows nothing calls what it has to call, with arguments by the schema, in the words of each contract.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_has_to_be_made_is_made() {
    let router = super::random_model::random_model();
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["city"],
        "properties": {"city": {"enum": ["Nairobi", "Stockholm"]}}
    });
    let tools = json!([
        {"type": "function", "function": {"name": "weather", "parameters": schema}},
        {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "additionalProperties": false}}}
    ]);
    for (seed, choice) in [(1, json!("required")), (2, json!({"type": "function", "function": {"name": "weather"}}))] {
        let more = json!({
            "tools": tools, "tool_choice": choice, "seed": seed, "max_tokens": 400, "thinking_budget": 4,
            "parallel_tool_calls": false
        });
        let (status, answer) = chat(&router, "hi", more).await;
        assert_eq!(
            (status, &answer["choices"][0]["finish_reason"]),
            (StatusCode::OK, &json!("tool_calls")),
            "{answer}"
        );
        let calls = answer["choices"][0]["message"]["tool_calls"].as_array().unwrap();
        assert_eq!(calls.len(), 1, "{answer}");
        let arguments: Value = serde_json::from_str(calls[0]["function"]["arguments"].as_str().unwrap()).unwrap();
        match calls[0]["function"]["name"].as_str() {
            Some("weather") => assert!(["Nairobi", "Stockholm"].map(Value::from).contains(&arguments["city"])),
            name => assert!(name == Some("time") && choice == "required", "{answer}"),
        }
    }
    let asked = json!({
        "max_tokens": 400, "messages": [{"role": "user", "content": "hi"}], "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 4}, "tools": [{"name": "weather", "input_schema": schema}]
    });
    let message = post(&router, "/v1/messages", asked).await;
    let block = message["content"].as_array().unwrap().last().unwrap();
    assert!(message["stop_reason"] == "tool_use" && block["input"]["city"].is_string(), "{message}");
}

/// What a client has taken when it goes away is counted, and nothing of what still waited in line.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_broken_off_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(Keys::open(&folder.path().join("keys.sqlite")).unwrap());
    let secret = keys.create(&NewKey::named("k"), Timestamp::now()).unwrap().1.reveal().to_owned();
    let active = Arc::new(AtomicUsize::new(0));
    let chat = ChatFormat::picnic(tokenizer());
    let hosted = Hosted::of("echo".to_owned(), chat, LIMITS, 32, echoing(Arc::clone(&active))).unwrap();
    let settings = Settings { keys: Some(Arc::clone(&keys)), ..Settings::default() };
    let router = Server::new(House::of(hosted), settings).router();
    let body = asking("ENDLESS", json!({"stream": true}));
    let request = HttpRequest::post("/v1/chat/completions").header("x-api-key", secret).body(Body::from(body)).unwrap();
    let mut response = router.oneshot(request).await.unwrap().into_body();
    for _ in 0..5 {
        response.frame().await.unwrap().unwrap();
    }
    drop(response);
    until_idle(&active).await;
    let used = loop {
        let used = keys.usage("k").unwrap().0.used;
        if used.requests > 0 {
            break used;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!((used.requests, used.prompt_tokens) == (1, 10) && used.completion_tokens > 3, "{used:?}");
}

/// A tool of free text is told to the model as a function with one argument, and its calls come back as what was asked for.
#[tokio::test]
async fn tools_of_free_text_are_called_with_free_text() {
    let (router, _) = echo();
    let call_of = r#"<tool_call>{"name": "apply_patch", "arguments": {"input": "*** Begin\n+é"}}</tool_call>"#;
    let asked =
        json!({"input": call_of, "tools": [{"type": "custom", "name": "apply_patch", "format": {"type": "text"}}]});
    let response = post(&router, "/v1/responses", asked.clone()).await;
    let item = &response["output"][0];
    assert_eq!((&item["type"], &item["input"]), (&json!("custom_tool_call"), &json!("*** Begin\n+é")), "{response}");
    let mut streamed = asked;
    streamed["stream"] = true.into();
    let text = post(&router, "/v1/responses", streamed).await;
    assert!(text.as_str().unwrap().contains("event: response.custom_tool_call_input.done"), "{text}");
    assert!(!text.as_str().unwrap().contains("function_call_arguments"), "{text}");
}

/// A call that is cut off is a call as far as it goes, and no text with marks in it.
#[tokio::test]
async fn a_call_that_is_cut_off_is_no_text() {
    let (router, _) = echo();
    let (_, answer) = chat(&router, CALL, json!({"tools": tools(), "max_tokens": 60})).await;
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("length"), &json!("So.")),
        "{answer}"
    );
    let function = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!(function["name"], "weather", "{answer}");
    assert!(function["arguments"].as_str().unwrap().starts_with("{\"city\": \"N"), "{answer}");
    // Before its name is known it is nothing.
    for max_tokens in 8..25 {
        let (_, answer) = chat(&router, CALL, json!({"tools": tools(), "max_tokens": max_tokens})).await;
        let choice = &answer["choices"][0];
        assert_eq!(
            (&choice["finish_reason"], &choice["message"]["content"], &choice["message"]["tool_calls"]),
            (&json!("length"), &json!("So."), &Value::Null),
            "{max_tokens} {answer}"
        );
    }
}
