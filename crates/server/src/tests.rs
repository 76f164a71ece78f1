//! The application in-process, before a generator that answers each message with itself, a token a step.

mod contracts;
mod document;
mod hostile;
mod random_model;
mod tools_and_keys;

use super::*;
use crate::worker::Generator;
use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use http_body_util::BodyExt;
use picnic_engine::{Constraint, Counters, Event, Finish, Request, RequestError, RequestId, Sampling, Step};
use picnic_tokenizer::{ASSISTANT, Tokenizer, TrainConfig, USER};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tower::ServiceExt;

/// Bytes and Picnic's special tokens.
fn tokenizer() -> Tokenizer {
    let config = TrainConfig { vocab_size: 264, ..TrainConfig::default() };
    Tokenizer::train([""], &config).unwrap()
}

/// Says what the last message says, which ends where a constraint ends it. Where it is `PANIC`, it panics; `ENDLESS`
/// repeats for ever.
struct Echo {
    tokenizer: Tokenizer,
    requests: Vec<Echoing>,
    next: u64,
    active: Arc<AtomicUsize>,
    drawn: Arc<Mutex<Option<Drawing>>>,
}

/// How a request is drawn: its settings and its bias.
type Drawing = (Sampling, Vec<(u32, f32)>);

struct Echoing {
    id: RequestId,
    script: Vec<u32>,
    said: usize,
    max_tokens: usize,
    constraint: Option<Box<dyn Constraint>>,
}

impl Generator for Echo {
    fn submit(&mut self, request: Request) -> Result<RequestId, RequestError> {
        let prompt = self.tokenizer.decode(&request.prompt, false);
        let message = prompt.rsplit(USER).next().unwrap().trim_end_matches(ASSISTANT);
        let mut script = self.tokenizer.encode(message, false).unwrap();
        if message != "ENDLESS" {
            script.push(self.tokenizer.eos().unwrap());
        }
        *self.drawn.lock().unwrap() = Some((request.sampling, request.control.bias.clone()));
        let id = RequestId(self.next);
        self.next += 1;
        let (max_tokens, constraint) = (request.max_tokens, request.control.constraint);
        self.requests.push(Echoing { id, script, said: 0, max_tokens, constraint });
        self.active.store(self.requests.len(), Ordering::SeqCst);
        Ok(id)
    }

    fn cancel(&mut self, id: RequestId) {
        self.requests.retain(|request| request.id != id);
        self.active.store(self.requests.len(), Ordering::SeqCst);
    }

    fn step(&mut self) -> Step {
        std::thread::sleep(Duration::from_micros(100));
        let (eos, mut events) = (self.tokenizer.eos(), Vec::new());
        for Echoing { id, script, said, max_tokens, constraint } in &mut self.requests {
            let token = script[*said % script.len()];
            *said += 1;
            let text = self.tokenizer.decode(&script[..*said % (script.len() + 1)], false);
            assert!(!text.ends_with("PANIC"), "as the message asks");
            let length = (*said == *max_tokens).then_some(Finish::Length);
            let is_whole = constraint.as_mut().is_some_and(|constraint| constraint.accept(token));
            let finish = if is_whole || Some(token) == eos { Some(Finish::Stop) } else { length };
            events.push(Event {
                id: *id,
                token,
                logprob: 0.0,
                likeliest: Vec::new(),
                finish,
                reading: None,
                reused: 0,
            });
        }
        for event in events.iter().filter(|event| event.finish.is_some()) {
            self.cancel(event.id);
        }
        Step { events, dropped: Vec::new() }
    }

    fn reset(&mut self) {
        self.requests.clear();
    }

    fn counters(&self) -> Counters {
        Counters { running: self.requests.len(), ..Counters::default() }
    }
}

const LIMITS: Limits =
    Limits { engine: EngineLimits::new(4, 64, 4096), places: 3, context: 2000, default_max_tokens: 1000 };

fn application(chat: ChatFormat, generator: impl Generator) -> Router {
    let hosted = Hosted::of("echo".to_owned(), chat, LIMITS, 32, generator).unwrap();
    Server::new(House::of(hosted), Settings { body_bytes: 10_000, ..Settings::default() }).router()
}

fn echo() -> (Router, Arc<AtomicUsize>) {
    let active = Arc::new(AtomicUsize::new(0));
    let generator = echoing(Arc::clone(&active));
    (application(ChatFormat::picnic(tokenizer()), generator), active)
}

fn echoing(active: Arc<AtomicUsize>) -> Echo {
    Echo { tokenizer: tokenizer(), requests: Vec::new(), next: 0, active, drawn: Arc::default() }
}

async fn call(router: &Router, method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request = HttpRequest::builder().method(method).uri(path).body(body.into()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

fn asking(message: &str, more: Value) -> String {
    let mut body = json!({"model": "echo", "messages": [{"role": "user", "content": message}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

async fn chat(router: &Router, message: &str, more: Value) -> (StatusCode, Value) {
    let (status, body) = call(router, "POST", "/v1/chat/completions", asking(message, more)).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// The settings of a request whose answer is held to a schema.
fn held_to(schema: Value) -> Value {
    json!({"response_format": {"type": "json_schema", "json_schema": {"name": "it", "strict": true, "schema": schema}}})
}

/// The data of a stream's events, `[DONE]` checked and left out.
async fn stream(router: &Router, message: &str, more: Value) -> Vec<Value> {
    let (status, body) = call(router, "POST", "/chat/completions", asking(message, more)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let mut events: Vec<&str> = body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.pop(), Some("[DONE]"), "{body}");
    events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

const THOUGHT: &str = "<think>two and two</think>\n<answer>é4</answer>";

#[tokio::test]
async fn a_whole_answer() {
    let (router, _) = echo();
    let (status, answer) = chat(&router, THOUGHT, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "echo");
    let choice = &answer["choices"][0];
    let (thought, content) = ("two and two", "é4");
    let message = json!({"role": "assistant", "reasoning_content": thought, "reasoning": thought, "content": content});
    assert_eq!((&choice["message"], &choice["finish_reason"]), (&message, &json!("stop")));
    // The prompt: bos, user, the message's 4 marks and 15 other bytes, assistant. The answer: the message and eos.
    // Thinking: 11 bytes and both marks.
    let usage = json!({
        "prompt_tokens": 22, "completion_tokens": 20, "total_tokens": 42,
        "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 13}
    });
    assert_eq!(answer["usage"], usage);
}

#[tokio::test]
async fn answers_are_drawn_as_the_request_says_or_else_as_the_model_does() {
    let folder = tempfile::tempdir().unwrap();
    ChatFormat::picnic(tokenizer()).save(folder.path()).unwrap();
    let generation = json!({"do_sample": true, "temperature": 0.5, "top_k": 20, "repetition_penalty": 1.25});
    std::fs::write(folder.path().join("generation_config.json"), generation.to_string()).unwrap();
    let generator = echoing(Arc::default());
    let drawn = Arc::clone(&generator.drawn);
    let format = ChatFormat::from_dir(folder.path()).unwrap();
    let router = application(format, generator);
    let plain = Sampling { temperature: 0.5, top_k: 20, repetition_penalty: 1.25, seed: 7, ..Sampling::GREEDY };
    for (more, expected, bias) in [
        (json!({}), plain, vec![]),
        (
            json!({
                "temperature": 0, "top_k": -1, "top_p": 0.9, "min_p": 0.25, "typical_p": 0.75, "presence_penalty": 1,
                "frequency_penalty": -1.5, "repeat_penalty": 2, "logit_bias": {"7": -100, "12": 1.5}
            }),
            Sampling {
                temperature: 0.0,
                top_k: 0,
                top_p: 0.9,
                min_p: 0.25,
                typical_p: 0.75,
                presence_penalty: 1.0,
                frequency_penalty: -1.5,
                repetition_penalty: 2.0,
                ..plain
            },
            vec![(12, 1.5), (7, -100.0)],
        ),
    ] {
        let mut asked = more.clone();
        asked["seed"] = 7.into();
        let (status, answer) = chat(&router, "hello", asked).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(drawn.lock().unwrap().take(), Some((expected, bias)), "{more}");
    }
}

#[tokio::test]
async fn a_stream_says_the_same() {
    let (router, _) = echo();
    let chunks = stream(&router, THOUGHT, json!({"stream": true, "stream_options": {"include_usage": true}})).await;
    let joined = |side: &str| -> String {
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][side].as_str()).collect()
    };
    assert_eq!((joined("reasoning_content"), joined("content")), ("two and two".to_owned(), "é4".to_owned()));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let (usage, rest) = chunks.split_last().unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(20)));
    assert!(rest.iter().all(|chunk| chunk["usage"].is_null() && chunk["id"] == usage["id"]));
    assert_eq!(rest.last().unwrap()["choices"][0]["finish_reason"], "stop");

    let plain = stream(&router, "hi", json!({"stream": true})).await;
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[tokio::test]
async fn answers_end_as_asked() {
    let (router, _) = echo();
    let cases = [
        ("<think>endless", json!({"max_tokens": 5}), "endl", "", "length"),
        ("<think>endless", json!({"max_completion_tokens": 5}), "endl", "", "length"),
        ("hello world", json!({"stop": "o w"}), "", "hell", "stop"),
        ("hello world", json!({"stop": ["xyz", "lo", "llo"]}), "", "he", "stop"),
        ("hello", json!({"stop": ["o!"]}), "", "hello", "stop"),
        ("é", json!({"max_tokens": 1}), "", "\u{fffd}", "length"),
    ];
    for (message, more, reasoning, content, finish) in cases {
        let (status, answer) = chat(&router, message, more).await;
        let choice = &answer["choices"][0];
        assert_eq!(status, StatusCode::OK, "{answer}");
        let thought = choice["message"]["reasoning_content"].as_str().unwrap_or("");
        assert_eq!((thought, choice["message"]["content"].as_str().unwrap()), (reasoning, content), "{message}");
        assert_eq!(choice["finish_reason"], finish, "{message}");
    }
}

#[tokio::test]
async fn errors_have_a_status_and_a_body() {
    let (router, _) = echo();
    let message = |more: Value| asking("hi", more);
    let post = [
        (400, "{".to_owned()),
        (400, "[]".to_owned()),
        (400, message(json!({"messages": 7}))),
        (400, message(json!({"max_tokens": 1.5}))),
        (400, asking(&"x".repeat(2000), json!({}))),
        (404, message(json!({"model": "other"}))),
        (413, asking(&"x".repeat(10_000), json!({}))),
        (422, message(json!({"messages": []}))),
        (422, message(json!({"n": 129}))),
        (422, message(json!({"n": -1}))),
        (422, message(json!({"temperature": -0.1}))),
        (422, message(json!({"temperature": 1e30}))),
        (422, message(json!({"top_p": 0}))),
        (422, message(json!({"min_p": 2}))),
        (422, message(json!({"typical_p": 0}))),
        (422, message(json!({"top_k": -2}))),
        (422, message(json!({"presence_penalty": 3}))),
        (422, message(json!({"frequency_penalty": -2.5}))),
        (422, message(json!({"repetition_penalty": 0}))),
        (422, message(json!({"logit_bias": {"5": 101}}))),
        (422, message(json!({"logit_bias": {"five": 1}}))),
        (422, message(json!({"thinking_budget": -1}))),
        (422, message(json!({"max_tokens": 0}))),
        (422, message(json!({"max_tokens": -1}))),
        (422, message(json!({"stop": vec!["a"; 17]}))),
        (422, message(json!({"stop": "a".repeat(257)}))),
        (422, message(json!({"tools": [{}]}))),
        (422, message(json!({"logprobs": true, "top_logprobs": 21}))),
        (422, message(json!({"top_logprobs": 2}))),
        (422, message(json!({"tool_choice": "required"}))),
        (422, message(json!({"functions": [{"name": "f"}]}))),
        (422, message(json!({"best_of": 2}))),
        (422, message(json!({"min_tokens": 5}))),
        (400, message(json!({"response_format": {}}))),
        (422, message(json!({"thinking": {"type": "perhaps"}}))),
        (400, message(json!({"response_format": "json"}))),
        (422, message(json!({"response_format": {"type": "xml"}}))),
        (422, message(json!({"response_format": {"type": "json_schema"}}))),
        (422, message(held_to(json!({"not": {"type": "string"}})))),
        (422, message(held_to(json!({"type": "string", "pattern": "("})))),
        (422, message(held_to(json!("object")))),
    ];
    for (expected, body) in post {
        let (status, answer) = call(&router, "POST", "/v1/chat/completions", body.clone()).await;
        assert_eq!(status.as_u16(), expected, "{body} {answer}");
        let error: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error", "{body}");
        assert!(error["error"]["message"].as_str().unwrap().len() > 20, "{answer}");
    }
    assert_eq!(call(&router, "GET", "/v1/nothing", "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(call(&router, "GET", "/v1/chat/completions", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    let (status, answer) = chat(&router, "still here", json!({})).await;
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (StatusCode::OK, &json!("still here")));
}

#[tokio::test]
async fn the_model_and_the_health_are_shown() {
    let (router, _) = echo();
    for path in ["/v1/models", "/models"] {
        let (status, body) = call(&router, "GET", path, "").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["data"][0]["id"]), (StatusCode::OK, &json!("echo")));
    }
    assert_eq!(call(&router, "GET", "/health", "").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_its_culprit_alone() {
    let (router, _) = echo();
    let long = "a long answer that is under way when its neighbour goes wrong, and some more of it ".repeat(3);
    let (whole, streamed, panicked) = tokio::join!(
        chat(&router, &long, json!({})),
        stream(&router, &long, json!({"stream": true})),
        chat(&router, "this message says PANIC", json!({})),
    );
    assert_eq!((panicked.0, &panicked.1["error"]["type"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("server_error")));
    assert_eq!(whole.1["choices"][0]["message"]["content"], long.as_str());
    let text: String = streamed.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, long);
    assert_eq!(chat(&router, "after", json!({})).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_line_is_429() {
    let (router, active) = echo();
    let mut held = Vec::new();
    for _ in 0..LIMITS.places {
        let body = asking("ENDLESS", json!({"stream": true}));
        let request = HttpRequest::post("/v1/chat/completions").body(Body::from(body)).unwrap();
        held.push(router.clone().oneshot(request).await.unwrap());
    }
    let (status, answer) = chat(&router, "hi", json!({})).await;
    assert_eq!((status, &answer["error"]["type"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limit_error")));
    drop(held);
    until_idle(&active).await;
    assert_eq!(chat(&router, "hi", json!({})).await.0, StatusCode::OK);
}

/// Waits until nothing is being generated. An hour of waiting would be a failure; the test's runner has its own limit.
async fn until_idle(active: &AtomicUsize) {
    while active.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A server on a port of its own.
async fn listening() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let (router, active) = echo();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, active)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_frees_its_place() {
    let (address, active) = listening().await;
    for more in [json!({"stream": true}), json!({"stream": false})] {
        let body = asking("ENDLESS", more);
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all((head + &body).as_bytes()).unwrap();
        while active.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(client);
        until_idle(&active).await;
    }
}

#[tokio::test]
async fn the_form_of_an_answer_begins_after_its_thinking() {
    let (router, _) = echo();
    let object = json!({"response_format": {"type": "json_object"}});
    let beside = json!({"response_format": {"type": "json_object", "schema": {"required": ["a"]}}});
    let text = json!({"response_format": {"type": "text"}});
    for (message, more, reasoning, content) in [
        ("{\"a\": [1, \"é\"]}", &object, "", "{\"a\": [1, \"é\"]}"),
        ("<think>{ 1 </think>{\"a\": 1}", &object, "{ 1 ", "{\"a\": 1}"),
        // Nothing follows what is whole.
        ("{\"a\": 1} and so on", &object, "", "{\"a\": 1}"),
        ("{\"a\": 1}", &beside, "", "{\"a\": 1}"),
        ("no JSON", &text, "", "no JSON"),
    ] {
        let (status, answer) = chat(&router, message, more.clone()).await;
        let choice = &answer["choices"][0];
        assert_eq!((status, &choice["finish_reason"]), (StatusCode::OK, &json!("stop")), "{message} {answer}");
        let thought = choice["message"]["reasoning_content"].as_str().unwrap_or("");
        assert_eq!((thought, choice["message"]["content"].as_str().unwrap()), (reasoning, content), "{message}");
    }
    // This generator says what its constraint does not allow, as if llguidance had given up.
    let (status, answer) = chat(&router, "no JSON", object.clone()).await;
    assert_eq!((status.as_u16(), &answer["error"]["param"]), (422, &json!("response_format")), "{answer}");
    let mut streamed = object;
    streamed["stream"] = true.into();
    let (_, body) = call(&router, "POST", "/v1/chat/completions", asking("{\"a\"no", streamed)).await;
    assert!(body.contains("could not be kept to") && !body.contains("[DONE]"), "{body}");
}

/// Whatever bytes come, an answer goes out.
#[tokio::test]
async fn no_body_breaks_it() {
    let (router, _) = echo();
    let mut bodies = vec![vec![0xff; 100], b"[".repeat(9000), b"{\"messages\":".repeat(500)];
    let valid = asking("hi", json!({"stop": ["a"], "stream_options": {"include_usage": true}}));
    bodies.extend((0..valid.len()).map(|n| valid.as_bytes()[..n].to_vec()));
    for body in bodies {
        let (status, _) = call(&router, "POST", "/v1/chat/completions", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

/// The raw bytes of a stream are server-sent events.
#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_event_stream() {
    let (address, _) = listening().await;
    let body = asking("hi", json!({"stream": true}));
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let read = move || {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all((head + &body).as_bytes()).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        response
    };
    let response = tokio::task::spawn_blocking(read).await.unwrap();
    assert!(response.contains("content-type: text/event-stream"), "{response}");
    assert!(response.contains("data: [DONE]\n\n"), "{response}");
}
