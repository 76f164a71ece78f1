//! Every contract before the generator that answers each message with itself.

use super::*;

pub(super) async fn post(router: &Router, path: &str, body: Value) -> (StatusCode, Value) {
    let (status, text) = call(router, "POST", path, body.to_string()).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
}

/// The events of a stream with their names.
async fn events(router: &Router, path: &str, body: Value) -> Vec<(String, Value)> {
    let (status, text) = call(router, "POST", path, body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let event = |event: &str| {
        let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
        Some((name.to_owned(), serde_json::from_str(data).unwrap()))
    };
    text.split("\n\n").filter_map(event).collect()
}

fn streaming(mut body: Value) -> Value {
    body["stream"] = true.into();
    body
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    names
}

fn joined(events: &[(String, Value)], name: &str, at: &str) -> String {
    events.iter().filter(|(it, _)| it == name).filter_map(|(_, data)| data.pointer(at)?.as_str()).collect()
}

#[tokio::test]
async fn responses_are_items_and_end_in_completed() {
    let (router, _) = echo();
    let (status, response) = post(&router, "/v1/responses", json!({"model": "echo", "input": THOUGHT})).await;
    assert_eq!(
        (status, &response["status"], &response["object"]),
        (StatusCode::OK, &json!("completed"), &json!("response"))
    );
    let output = &response["output"];
    assert_eq!((&output[0]["type"], &output[0]["content"][0]["text"]), (&json!("reasoning"), &json!("two and two")));
    assert_eq!((&output[1]["type"], &output[1]["content"][0]["text"]), (&json!("message"), &json!("é4")));
    assert_eq!(response["usage"]["output_tokens_details"]["reasoning_tokens"], 13);
    assert_eq!(response["usage"]["total_tokens"], 42);

    let streamed = events(&router, "/v1/responses", json!({"input": THOUGHT, "stream": true})).await;
    let in_order = [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.reasoning_text.delta", "response.reasoning_text.done", "response.content_part.done",
        "response.output_item.done", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ];
    assert_eq!(names(&streamed), in_order);
    for (at, (name, data)) in streamed.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(at)));
    }
    assert_eq!(joined(&streamed, "response.reasoning_text.delta", "/delta"), "two and two");
    assert_eq!(joined(&streamed, "response.output_text.delta", "/delta"), "é4");
    let last = &streamed.last().unwrap().1["response"];
    assert_eq!((&last["usage"], &last["output"][1]["content"]), (&response["usage"], &output[1]["content"]));
}

#[tokio::test]
async fn responses_read_items_and_pass_over_others() {
    let (router, _) = echo();
    let input = json!([
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"role": "user", "content": "one"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "two", "annotations": []}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"role": "user", "content": [{"type": "input_text", "text": "three"}]},
    ]);
    let tools = json!([{"type": "web_search"}]);
    let asked = json!({"input": input, "tools": tools, "store": true, "include": [], "prompt_cache_key": "x"});
    let (status, response) = post(&router, "/responses", asked).await;
    assert_eq!((status, &response["output"][0]["content"][0]["text"]), (StatusCode::OK, &json!("three")), "{response}");
    let (_, cut) = post(&router, "/v1/responses", json!({"input": "a long answer", "max_output_tokens": 3})).await;
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    for (wrong, status, part) in [
        (json!({"input": "x", "previous_response_id": "resp_1"}), 422, "nothing is stored"),
        (json!({"input": "x", "text": {"format": {"schema": {}}}}), 422, "must have a format"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}),
            422,
            "send text",
        ),
        (json!({"input": 7}), 422, "a string or a list"),
        (json!({"input": "x".repeat(4000)}), 400, "maximum context length is 2000 tokens"),
    ] {
        let (found, error) = post(&router, "/v1/responses", wrong).await;
        assert_eq!(found.as_u16(), status, "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_response_that_was_stored_is_gone_on_from() {
    let hosted =
        Hosted::of("echo".to_owned(), ChatFormat::picnic(tokenizer()), LIMITS, 32, echoing(Arc::default())).unwrap();
    let settings = Settings { stored_bytes: 1 << 20, ..Settings::default() };
    let router = Server::new(House::of(hosted), settings).router();
    let ask = async |body: Value| post(&router, "/v1/responses", body).await.1;
    let first = ask(json!({"input": "one"})).await;
    assert_eq!((&first["store"], &first["previous_response_id"]), (&json!(true), &Value::Null), "{first}");
    let gone_on = ask(json!({"input": "two", "previous_response_id": first["id"]})).await;
    assert_eq!(gone_on["output"][0]["content"][0]["text"], "two");
    assert_eq!(gone_on["previous_response_id"], first["id"]);
    // It is the conversation that somebody would have sent who kept it, and so from there on.
    let mut whole = vec![json!({"role": "user", "content": "one"}), first["output"][0].clone()];
    whole.push(json!({"role": "user", "content": "two"}));
    let alone = ask(json!({"input": whole, "store": false})).await;
    assert_eq!(gone_on["usage"]["input_tokens"], alone["usage"]["input_tokens"]);
    assert_eq!(alone["store"], false);
    let body = json!({"input": "three", "previous_response_id": gone_on["id"]});
    let (_, counted) = post(&router, "/v1/responses/input_tokens", body.clone()).await;
    let streamed = events(&router, "/v1/responses", streaming(body)).await;
    let third = &streamed.last().unwrap().1["response"];
    assert_eq!(third["usage"]["input_tokens"], counted["input_tokens"]);
    let path = |response: &Value| format!("/v1/responses/{}", response["id"].as_str().unwrap());
    let (status, found) = call(&router, "GET", &path(third), "").await;
    assert_eq!((status, &serde_json::from_str::<Value>(&found).unwrap()), (StatusCode::OK, third));
    let (_, items) = call(&router, "GET", &format!("{}/input_items", path(third)), "").await;
    let items: Value = serde_json::from_str(&items).unwrap();
    assert_eq!(
        (items["data"].as_array().unwrap().len(), &items["data"][0]["content"]),
        (5, &json!("three")),
        "{items}"
    );
    // What was not kept, and what is forgotten, is not there.
    assert_eq!(call(&router, "GET", &path(&alone), "").await.0, StatusCode::NOT_FOUND);
    let (status, gone) = call(&router, "DELETE", &path(&first), "").await;
    assert!(status == StatusCode::OK && gone.contains("\"deleted\":true"), "{gone}");
    for (method, path) in [("DELETE", path(&first)), ("GET", path(&first)), ("GET", path(&first) + "/input_items")] {
        assert_eq!(call(&router, method, &path, "").await.0, StatusCode::NOT_FOUND);
    }
    // A name that is no text is an error in the same words.
    let (status, error) = call(&router, "GET", "/v1/responses/%ff", "").await;
    assert!(status == StatusCode::BAD_REQUEST && error.contains("\"error\""), "{status} {error}");
    let (status, error) =
        post(&router, "/v1/responses", json!({"input": "x", "previous_response_id": first["id"]})).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("previous_response_not_found")));
    // What went on from it has it still.
    assert_eq!(ask(json!({"input": "four", "previous_response_id": gone_on["id"]})).await["status"], "completed");
}

#[tokio::test]
async fn responses_tell_log_probabilities() {
    let (router, _) = echo();
    let include = json!({"input": "hé", "include": ["message.output_text.logprobs"]});
    let (_, response) = post(&router, "/v1/responses", include.clone()).await;
    let told = response["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    let bytes: Vec<&Value> = told.iter().flat_map(|place| place["bytes"].as_array().unwrap()).collect();
    assert_eq!(bytes, [&json!(b'h'), &json!(0xc3), &json!(0xa9)], "{response}");
    let streamed = events(&router, "/v1/responses", streaming(include)).await;
    let of = |name: &str| streamed.iter().filter(|(of, _)| of == name).map(|(_, event)| event).collect::<Vec<_>>();
    let pieces = of("response.output_text.delta");
    let joined: Vec<&Value> = pieces.iter().flat_map(|event| event["logprobs"].as_array().unwrap()).collect();
    assert_eq!(joined, told.iter().collect::<Vec<_>>());
    assert_eq!(of("response.output_text.done")[0]["logprobs"].as_array(), Some(told));
    let (_, likeliest) = post(&router, "/v1/responses", json!({"input": "h", "top_logprobs": 2})).await;
    assert!(likeliest["output"][0]["content"][0]["logprobs"][0]["top_logprobs"].is_array(), "{likeliest}");
    let (_, without) = post(&router, "/v1/responses", json!({"input": "h", "top_logprobs": 0})).await;
    assert_eq!(without["output"][0]["content"][0]["logprobs"], json!([]));
}

#[tokio::test]
async fn messages_have_blocks_and_events_in_order() {
    let (router, _) = echo();
    let asked = |more: Value| {
        let mut body = json!({
            "model": "claude-sonnet-4-5", "max_tokens": 100, "thinking": {"type": "enabled", "budget_tokens": 1024}, "metadata": {"user_id": "x"}, "context_management": {},
            "system": [
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=123;"},
                {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
            ],
            "messages": [
                {"role": "user", "content": "before"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "so"}
                ]},
                {"role": "user", "content": [{"type": "text", "text": THOUGHT, "cache_control": {"type": "ephemeral"}}]}
            ]
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for path in ["/v1/messages?beta=true", "/anthropic/v1/messages"] {
        let (status, message) = post(&router, path, asked(json!({}))).await;
        assert_eq!(status, StatusCode::OK, "{message}");
        let content = json!([
            {"type": "thinking", "thinking": "two and two", "signature": ""}, {"type": "text", "text": "é4"}
        ]);
        assert_eq!((&message["content"], &message["stop_reason"]), (&content, &json!("end_turn")));
        assert_eq!((&message["model"], &message["role"]), (&json!("claude-sonnet-4-5"), &json!("assistant")));
        let count = post(&router, &path.replace("messages", "messages/count_tokens"), asked(json!({}))).await.1;
        assert_eq!(count["input_tokens"], message["usage"]["input_tokens"]);
    }
    // Whoever does not ask for the thinking gets the text alone.
    let (_, message) = post(&router, "/v1/messages", asked(json!({"thinking": null}))).await;
    assert_eq!(message["content"], json!([{"type": "text", "text": "é4"}]));
    let streamed = events(&router, "/v1/messages", asked(json!({"stream": true}))).await;
    let in_order = [
        "message_start", "ping", "content_block_start", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ];
    assert_eq!(names(&streamed), in_order);
    assert!(streamed.iter().all(|(name, data)| data["type"] == name.as_str()));
    assert_eq!(joined(&streamed, "content_block_delta", "/delta/thinking"), "two and two");
    assert_eq!(joined(&streamed, "content_block_delta", "/delta/text"), "é4");

    for (more, status, kind, part) in [
        (json!({"max_tokens": null}), 400, "invalid_request_error", "is missing"),
        (json!({"model": "other"}), 404, "not_found_error", "no model"),
        (
            json!({"messages": [{"role": "user", "content": "x".repeat(4000)}]}),
            400,
            "invalid_request_error",
            "prompt is too long: ",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}),
            400,
            "invalid_request_error",
            "send text",
        ),
        (json!({"messages": 1}), 400, "invalid_request_error", "messages"),
    ] {
        let (found, error) = post(&router, "/v1/messages", asked(more)).await;
        assert_eq!(
            (found.as_u16(), &error["error"]["type"], &error["type"]),
            (status, &json!(kind), &json!("error")),
            "{error}"
        );
        assert!(error["error"]["message"].as_str().unwrap().contains(part), "{error}");
    }
}

/// A line that changes with every request does not change the prompt.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_billing_does_not_empty_the_cache() {
    let router = super::random_model::random_model();
    let ask = async |line: u32| {
        let system = json!([
            {"type": "text", "text": format!("x-anthropic-billing-header: cc_version=2; cch={line};")},
            {"type": "text", "text": "picnic ".repeat(20)}
        ]);
        let messages = json!([{"role": "user", "content": "hi"}]);
        let body = json!({"max_tokens": 4, "system": system, "messages": messages});
        post(&router, "/v1/messages", body).await.1["usage"]["cache_read_input_tokens"].as_u64().unwrap()
    };
    assert_eq!(ask(1).await, 0);
    assert!(ask(2).await >= 128);
}

#[tokio::test]
async fn completions_go_on_with_a_text() {
    let (router, _) = echo();
    let (status, answer) =
        post(&router, "/v1/completions", json!({"prompt": "hello world", "stop": " w", "max_tokens": 50})).await;
    assert_eq!((status, &answer["object"]), (StatusCode::OK, &json!("text_completion")), "{answer}");
    assert_eq!(
        (&answer["choices"][0]["text"], &answer["choices"][0]["finish_reason"]),
        (&json!("hello"), &json!("stop"))
    );
    // What would be marks in a conversation is text here.
    let (_, answer) =
        post(&router, "/completions", json!({"prompt": ["<think>a</think>", "b"], "max_tokens": 50, "n": 2})).await;
    let texts: Vec<&str> =
        answer["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["<think>a</think>", "<think>a</think>", "b", "b"]);
    let streamed = call(
        &router,
        "POST",
        "/beta/completions",
        json!({"prompt": "hello", "stream": true, "max_tokens": 50}).to_string(),
    )
    .await
    .1;
    let text: String = streamed
        .split("\n\n")
        .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok())
        .map(|chunk| chunk["choices"][0]["text"].as_str().unwrap_or("").to_owned())
        .collect();
    assert!(text == "hello" && streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
    let (status, error) = post(&router, "/v1/completions", json!({"prompt": "a", "suffix": "b"})).await;
    assert_eq!((status.as_u16(), &error["error"]["param"]), (422, &json!("suffix")));
}

/// What evaluation harnesses read: the log-probability of each token of the prompt, and which would have been the likeliest.
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_told_with_its_logprobs() {
    let router = super::random_model::random_model();
    let ask = async |max_tokens: u32| {
        let body = json!({"prompt": "picnic", "echo": true, "logprobs": 2, "max_tokens": max_tokens, "temperature": 0});
        post(&router, "/v1/completions", body).await.1["choices"][0].clone()
    };
    let (read, one_more) = (ask(0).await, ask(1).await);
    assert_eq!(read["text"], "picnic");
    let logprobs = &read["logprobs"];
    let tokens: Vec<&str> =
        logprobs["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(tokens, ["<|bos|>", "p", "i", "c", "n", "i", "c"]);
    assert_eq!(logprobs["text_offset"], json!([0, 0, 1, 2, 3, 4, 5]));
    assert!(logprobs["token_logprobs"][0].is_null() && logprobs["top_logprobs"][0].is_null());
    for at in 1..tokens.len() {
        let top = logprobs["top_logprobs"][at].as_object().unwrap();
        let own = logprobs["token_logprobs"][at].as_f64().unwrap();
        assert!(own < 0.0 && top[tokens[at]] == json!(own) && (2..=3).contains(&top.len()), "{logprobs}");
        assert!(top.values().any(|likeliest| likeliest.as_f64().unwrap() >= own));
    }
    // Harnesses take the last token for the one that was drawn, so that the end of a text is told as well.
    let eos = tokenizer().eos().unwrap();
    let mut body = json!({"prompt": "picnic", "echo": true, "logprobs": 1, "max_tokens": 1});
    body["logit_bias"] = json!({eos.to_string(): 100});
    let ended = post(&router, "/v1/completions", body).await.1["choices"][0].clone();
    assert_eq!((&ended["logprobs"]["tokens"][7], &ended["text"]), (&json!("<|eos|>"), &json!("picnic")));
    assert_eq!(ended["finish_reason"], "stop");
    // A token more changes nothing of the prompt, and is the likeliest one.
    assert_eq!(
        one_more["logprobs"]["token_logprobs"].as_array().unwrap()[..7],
        *logprobs["token_logprobs"].as_array().unwrap()
    );
    let last = one_more["logprobs"]["token_logprobs"][7].as_f64().unwrap();
    assert!(
        one_more["logprobs"]["top_logprobs"][7].as_object().unwrap().values().all(|it| it.as_f64().unwrap() <= last)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_tell_logprobs_and_there_may_be_several() {
    let router = super::random_model::random_model();
    let more = json!({"n": 3, "seed": 5, "max_tokens": 12, "logprobs": true, "top_logprobs": 2, "temperature": 1});
    let (status, answer) = chat(&router, "hi", more.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let choices = answer["choices"].as_array().unwrap();
    let texts: Vec<&Value> = choices.iter().map(|choice| &choice["message"]["content"]).collect();
    assert!(choices.len() == 3 && texts[0] != texts[1] && texts[1] != texts[2], "{answer}");
    for choice in choices {
        let content = choice["logprobs"]["content"].as_array().unwrap();
        assert!(
            !content.is_empty() && content.iter().all(|place| place["top_logprobs"].as_array().unwrap().len() == 2)
        );
    }
    // The first of several is the one that there is alone.
    let mut alone = more.clone();
    alone["n"] = 1.into();
    assert_eq!(chat(&router, "hi", alone).await.1["choices"][0]["message"], choices[0]["message"]);
    // As a stream they are the same.
    let mut streamed = more;
    streamed["stream"] = true.into();
    let chunks = stream(&router, "hi", streamed).await;
    for (number, choice) in choices.iter().enumerate() {
        let of = |chunk: &&Value| chunk["choices"][0]["index"] == number;
        let text: String =
            chunks.iter().filter(of).filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(choice["message"]["content"], text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_have_length_one() {
    let router = super::random_model::random_model();
    let (status, list) = post(&router, "/v1/embeddings", json!({"input": ["picnic", "a basket"]})).await;
    assert_eq!(status, StatusCode::OK, "{list}");
    let values: Vec<f64> =
        list["data"][1]["embedding"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
    assert!(values.len() == 32 && (values.iter().map(|it| it * it).sum::<f64>() - 1.0).abs() < 1e-5);
    assert_ne!(list["data"][0]["embedding"], list["data"][1]["embedding"]);
    let (_, coded) = post(&router, "/v1/embeddings", json!({"input": "a basket", "encoding_format": "base64"})).await;
    use base64::Engine;
    let text = coded["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let (chunks, _) = bytes.as_chunks::<4>();
    let same: Vec<f64> = chunks.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
    assert!(same.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[tokio::test]
async fn paths_of_operators_and_of_azure() {
    let (router, _) = echo();
    for path in [
        "/v1/health/live", "/v1/health/ready", "/v1/version", "/v1/metadata", "/v1/metrics", "/user/balance",
        "/v1/models/echo", "/models/echo", "/openai/v1/models",
    ] {
        let (status, body) = call(&router, "GET", path, "").await;
        assert_eq!(status, StatusCode::OK, "{path} {body}");
    }
    let (status, body) = call(&router, "GET", "/v1/models/other", "").await;
    assert!(status == StatusCode::NOT_FOUND && body.contains("model_not_found"), "{body}");
    let path = "/openai/deployments/echo/chat/completions?api-version=2024-10-21";
    let (status, answer) = post(&router, path, json!({"messages": [{"role": "user", "content": "hi"}]})).await;
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (StatusCode::OK, &json!("hi")));
    let (_, metrics) = call(&router, "GET", "/metrics", "").await;
    for name in ["num_requests_running", "kv_cache_usage_perc", "prefix_cache_hits_total", "generation_tokens_total"] {
        assert!(
            metrics.contains(&format!("\n{name}{{")) && metrics.contains(&format!("\nvllm:{name}{{")),
            "{name}\n{metrics}"
        );
    }
    let (_, counted) = post(&router, "/tokenize", json!({"prompt": "hé"})).await;
    assert_eq!((&counted["count"], &counted["max_model_len"]), (&json!(4), &json!(2000)), "{counted}");
    let (_, text) = post(&router, "/detokenize", json!({"tokens": counted["tokens"]})).await;
    assert!(text["prompt"].as_str().unwrap().ends_with("hé"));
    // By llama.cpp's names, and a text within another one.
    let (_, counted) = post(&router, "/tokenize", json!({"content": "hé", "with_pieces": true})).await;
    let pieces: Vec<&Value> = counted["tokens"].as_array().unwrap().iter().map(|token| &token["piece"]).collect();
    assert_eq!(pieces, [&json!("h"), &json!([0xc3]), &json!([0xa9])], "{counted}");
    for (whole, of) in [(json!({"content": "h", "add_special": true}), 2), (json!({"prompt": "h", "content": "no"}), 2)]
    {
        let (_, counted) = post(&router, "/tokenize", whole).await;
        assert_eq!(counted["count"], of, "{counted}");
    }
    let (_, counted) = post(&router, "/tokenize", json!({"prompt": "h", "return_token_strs": true})).await;
    assert_eq!(counted["token_strs"][1], "h", "{counted}");
}

#[tokio::test]
async fn deepseeks_names_stand_for_the_default_model() {
    let (router, _) = echo();
    for name in ["deepseek-chat", "deepseek-reasoner"] {
        let (status, answer) = chat(&router, "hi", json!({"model": name})).await;
        assert_eq!((status, &answer["model"]), (StatusCode::OK, &json!(name)), "{answer}");
    }
}

#[tokio::test]
async fn a_server_on_loopback_refuses_foreign_pages() {
    let hosted =
        Hosted::of("echo".to_owned(), ChatFormat::picnic(tokenizer()), LIMITS, 32, echoing(Arc::default())).unwrap();
    let origins = vec!["https://chat.example.com".to_owned()];
    let router =
        Server::new(House::of(hosted), Settings { is_loopback: true, origins, ..Settings::default() }).router();
    let ask = async |method: &str, host: &str, origin: Option<&str>| {
        let mut request = HttpRequest::builder().method(method).uri("/v1/models").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin).header("access-control-request-method", "GET");
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let allowed = response.headers().get("access-control-allow-origin").map(|it| it.to_str().unwrap().to_owned());
        (response.status().as_u16(), allowed)
    };
    let here = Some("http://localhost:3000".to_owned());
    assert_eq!(ask("GET", "127.0.0.1:8000", None).await, (200, None));
    assert_eq!(ask("GET", "localhost:8000", here.as_deref()).await, (200, here.clone()));
    assert_eq!(ask("OPTIONS", "localhost:8000", here.as_deref()).await, (200, here.clone()));
    let listed = Some("https://chat.example.com".to_owned());
    assert_eq!(ask("GET", "localhost", listed.as_deref()).await, (200, listed.clone()));
    assert_eq!(ask("GET", "evil.example.com", None).await.0, 403);
    assert_eq!(ask("GET", "localhost", Some("https://evil.example.com")).await, (403, None));
    assert_eq!(ask("GET", "localhost", Some("null")).await.0, 403);
}

#[tokio::test]
async fn more_tokens_than_there_is_room_for_are_fewer_and_said() {
    let (router, _) = echo();
    let request =
        HttpRequest::post("/v1/chat/completions").body(Body::from(asking("hi", json!({"max_tokens": 32000})))).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let warning = response.headers()["warning"].to_str().unwrap().to_owned();
    assert!(response.status() == StatusCode::OK && warning.contains("lowered from 32000 to 1995"), "{warning}");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_loaded_when_asked_for_and_make_room() {
    let loads = Arc::new(Mutex::new(Vec::new()));
    let listed = |name: &'static str| {
        let loads = Arc::clone(&loads);
        let load = move || {
            loads.lock().unwrap().push(name);
            if name == "broken" {
                return Err("its files are gone".to_owned());
            }
            Hosted::of(name.to_owned(), ChatFormat::picnic(tokenizer()), LIMITS, 32, echoing(Arc::default()))
                .map_err(|error| error.to_string())
        };
        Listed { name: name.to_owned(), bytes: 10, load: Arc::new(load) }
    };
    let aliases = [("gpt-4o".to_owned(), "b".to_owned())].into();
    let house = House::new(vec![listed("a"), listed("b"), listed("broken")], aliases, 15).unwrap();
    let router = Server::new(house, Settings::default()).router();
    let ask = async |model: &str| chat(&router, "hi", json!({"model": model})).await;
    for (model, status) in
        [("a", 200), ("gpt-4o", 200), ("a", 200), ("broken", 503), ("c", 404), ("b", 200), ("broken", 503), ("b", 200)]
    {
        let (found, answer) = ask(model).await;
        assert_eq!(found.as_u16(), status, "{model} {answer}");
    }
    // Two do not fit beside each other; the one that failed made room too.
    assert_eq!(*loads.lock().unwrap(), ["a", "b", "a", "broken", "b"]);
    let (_, list) = call(&router, "GET", "/v1/models", "").await;
    for name in ["\"a\"", "\"b\"", "\"broken\"", "\"gpt-4o\""] {
        assert!(list.contains(name), "{list}");
    }
}

/// Breaks wherever it is asked.
struct Broken;

impl Generator for Broken {
    fn submit(&mut self, _: Request) -> Result<RequestId, RequestError> {
        panic!("as it is meant to")
    }
    fn cancel(&mut self, _: RequestId) {}
    fn step(&mut self) -> Step {
        Step::default()
    }
    fn reset(&mut self) {}
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// A model whose thread has ended is not ready, and says so before somebody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_engine_is_gone_is_not_ready() {
    let router = application(ChatFormat::picnic(tokenizer()), Broken);
    assert_eq!(call(&router, "GET", "/v1/health/ready", "").await.0, StatusCode::OK);
    let (status, answer) = chat(&router, "hi", json!({})).await;
    assert_eq!((status, &answer["error"]["type"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("server_error")));
    // The thread ends a moment after it has let go of the request.
    while call(&router, "GET", "/v1/health/ready", "").await.0 == StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(call(&router, "GET", "/health", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(call(&router, "GET", "/v1/health/live", "").await.0, StatusCode::OK);
}

/// Where an answer is held to a form, tools cannot be called; whoever asks for both is told.
#[tokio::test]
async fn tools_beside_a_form_are_said_to_be_unheard() {
    let (router, _) = echo();
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let body = asking("{}", json!({"response_format": {"type": "json_object"}, "tools": tools}));
    let request = HttpRequest::post("/v1/chat/completions").body(Body::from(body)).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert!(response.headers()["warning"].to_str().unwrap().contains("tools cannot be called"));
}

/// Where a prompt leaves no room for an answer, a stream does not begin: the refusal has a status, as clients that shorten their
/// conversation expect.
#[tokio::test]
async fn a_prompt_that_is_too_long_is_refused_before_its_stream_begins() {
    let (router, _) = echo();
    let long = "x".repeat(4000);
    let messages = json!([{"role": "user", "content": long}]);
    let code = Some("context_length_exceeded");
    for (path, asked, code, part) in [
        ("/v1/chat/completions", json!({"messages": messages}), code, "maximum context length is 2000 tokens"),
        ("/v1/completions", json!({"prompt": ["hi", long]}), code, "maximum context length is 2000 tokens"),
        ("/v1/responses", json!({"input": long}), code, "maximum context length is 2000 tokens"),
        ("/v1/messages", json!({"messages": messages, "max_tokens": 9}), None, "prompt is too long: "),
    ] {
        let mut asked = asked;
        asked["stream"] = true.into();
        let (status, refusal) = post(&router, path, asked).await;
        let error = &refusal["error"];
        assert_eq!((status, error["code"].as_str()), (StatusCode::BAD_REQUEST, code), "{path}: {refusal}");
        assert_eq!(error["type"], "invalid_request_error", "{path}: {refusal}");
        assert!(error["message"].as_str().unwrap().contains(part), "{path}: {refusal}");
    }
}
