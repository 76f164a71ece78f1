//! How models are talked to, through the binary: where answers end whichever file says so, what a saved model keeps of
//! it, and variables of chat templates. The models are made to say one token always.

use crate::program::{Folder, picnic, recipe, refuse, run, succeed};
use picnic_chat::ChatFormat;
use picnic_tokenizer::{Tokenizer, TrainConfig};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const WIDTH: usize = 16;
const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
/// It says nothing of how a turn ends.
const BARE: &str = "{% for m in messages %}{{ m.content }}\n{% endfor %}";

/// Bytes and three special tokens. The tokenizer's own end token ends texts, not turns.
fn tokenizer() -> Tokenizer {
    let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned).to_vec();
    let config = TrainConfig {
        vocab_size: 256 + 3,
        special_tokens: special,
        added_tokens: Vec::new(),
        bos: None,
        eos: Some("<|endoftext|>".to_owned()),
        ..TrainConfig::default()
    };
    Tokenizer::train([""], &config).unwrap()
}

fn id(token: &str) -> u32 {
    tokenizer().token_to_id(token).unwrap()
}

/// The tensors of a model that always says `says`: its layer adds nothing, all embeddings are alike, and its head knows
/// one row. Rows are the first size.
fn tensors(says: u32) -> Vec<(&'static str, &'static str, Vec<usize>, Vec<f32>)> {
    let rows = tokenizer().vocab_size();
    let mut head = vec![0.0; rows * WIDTH];
    head[says as usize * WIDTH..][..WIDTH].fill(1.0);
    let square = || (vec![WIDTH, WIDTH], vec![0.0; WIDTH * WIDTH]);
    let [q, k, v, o, gate, up, down] = std::array::from_fn(|_| square());
    let norm = || (vec![WIDTH], vec![1.0; WIDTH]);
    [
        ("model.embed_tokens.weight", "token_embd.weight", (vec![rows, WIDTH], vec![1.0; rows * WIDTH])),
        ("lm_head.weight", "output.weight", (vec![rows, WIDTH], head)),
        ("model.norm.weight", "output_norm.weight", norm()),
        ("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", norm()),
        ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight", norm()),
        ("model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", q),
        ("model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", k),
        ("model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight", v),
        ("model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", o),
        ("model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", gate),
        ("model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", up),
        ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", down),
    ]
    .map(|(hugging_face, gguf, (shape, values))| (hugging_face, gguf, shape, values))
    .to_vec()
}

/// A folder with a model that always says the token `says`; `config_eos` stands in its config.json.
fn model(folder: &Folder, name: &str, says: &str, template: &str, config_eos: Value) -> PathBuf {
    let path = folder.join(name);
    ChatFormat::new(tokenizer()).with_template(template).unwrap().save(&path).unwrap();
    fs::remove_file(path.join("generation_config.json")).unwrap();
    let config = json!({
        "model_type": "llama", "vocab_size": tokenizer().vocab_size(), "hidden_size": WIDTH,
        "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "rope_theta": 10000.0,
        "eos_token_id": config_eos,
    });
    fs::write(path.join("config.json"), config.to_string()).unwrap();
    let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors(id(says))
        .into_iter()
        .map(|(name, _, shape, values)| (name, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views =
        tensors.iter().map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &path.join("model.safetensors")).unwrap();
    path
}

/// The same as a GGUF file, whose keys name `<|endoftext|>` as the end and no end of a turn.
fn gguf(folder: &Folder, says: &str) -> PathBuf {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let key = |key: &str, kind: u32, value: Vec<u8>| [text(key), kind.to_le_bytes().to_vec(), value].concat();
    let string = |name: &str, value: &str| key(name, 8, text(value));
    let number = |name: &str, value: u32| key(name, 4, value.to_le_bytes().to_vec());
    let list = |name: &str, kind: u32, items: Vec<Vec<u8>>| {
        let head = [&kind.to_le_bytes()[..], &(items.len() as u64).to_le_bytes()].concat();
        key(name, 9, [head, items.concat()].concat())
    };
    let tokenizer = tokenizer();
    let ids = 0..tokenizer.vocab_size() as u32;
    let keys = [
        string("general.architecture", "llama"),
        number("llama.block_count", 1),
        number("llama.context_length", 256),
        number("llama.embedding_length", WIDTH as u32),
        number("llama.feed_forward_length", WIDTH as u32),
        number("llama.attention.head_count", 2),
        key("llama.attention.layer_norm_rms_epsilon", 6, 1e-5f32.to_le_bytes().to_vec()),
        string("tokenizer.ggml.model", "gpt2"),
        string("tokenizer.ggml.pre", "gpt-2"),
        list("tokenizer.ggml.tokens", 8, ids.clone().map(|id| text(&tokenizer.id_to_token(id).unwrap())).collect()),
        list(
            "tokenizer.ggml.token_type",
            5,
            ids.map(|id| if tokenizer.is_special(id) { 3i32 } else { 1 }.to_le_bytes().to_vec()).collect(),
        ),
        list("tokenizer.ggml.merges", 8, Vec::new()),
        number("tokenizer.ggml.eos_token_id", id("<|endoftext|>")),
        string("tokenizer.chat_template", BARE),
    ];
    let tensors = tensors(id(says));
    let (mut infos, mut data) = (Vec::new(), Vec::<u8>::new());
    for (_, name, shape, values) in &tensors {
        infos.extend([text(name), (shape.len() as u32).to_le_bytes().to_vec()].concat());
        infos.extend(shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
        infos.extend([&0u32.to_le_bytes()[..], &(data.len() as u64).to_le_bytes()].concat());
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        data.resize(data.len().next_multiple_of(32), 0);
    }
    let counts = [tensors.len() as u64, keys.len() as u64].map(u64::to_le_bytes).concat();
    let mut file = [&b"GGUF"[..], &3u32.to_le_bytes(), &counts, &keys.concat(), &infos].concat();
    file.resize(file.len().next_multiple_of(32), 0);
    let path = folder.join("model.gguf");
    fs::write(&path, [file, data].concat()).unwrap();
    path
}

/// What the model says to "Hi", and why it ended.
fn said(folder: &Folder, model: &Path, more: &[&str]) -> (String, String) {
    let (problems, samples) = (folder.join("problems.jsonl"), folder.join("samples.jsonl"));
    fs::write(&problems, "{\"id\": 1, \"prompt\": \"Hi\"}\n").unwrap();
    let [model, problems, out] = [model, &problems, &samples].map(|path| path.to_str().unwrap());
    let args = ["eval", model, "--problems", problems, "--samples", out, "--max-tokens", "8", "--threads", "1"];
    succeed(picnic(&args).args(more));
    let row: Value = serde_json::from_str(&fs::read_to_string(&samples).unwrap()).unwrap();
    (row["completion"].as_str().unwrap().to_owned(), row["finish_reason"].as_str().unwrap().to_owned())
}

fn ends_at_once(folder: &Folder, model: &Path) {
    assert_eq!(said(folder, model, &[]), (String::new(), "stop".to_owned()), "{}", model.display());
    let output =
        run(picnic(&["chat", model.to_str().unwrap(), "--prompt", "Hi", "--max-tokens", "8"]).stdout(Stdio::piped()));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "\n", "{}", model.display());
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A step of fine-tuning on an empty answer; the folder of the model and the loss.
fn taught(folder: &Folder, base: &Path, out: &str) -> (PathBuf, f64) {
    let traces = folder.join("traces.jsonl");
    fs::write(&traces, "{\"prompt\": \"Hi\", \"completion\": \"\"}\n").unwrap();
    let out = folder.join(out);
    let (base, traces) = (format!("base={}", base.display()), format!("traces={}", traces.display()));
    let recipe = recipe("smoke/sft.toml");
    let args = ["sft", &recipe, &base, &traces, "steps=1", "batch_examples=1", "replay=0.0", "mtp_weight=0.0"];
    succeed(picnic(&args).args(["--quiet", "--threads", "1", "--out", out.to_str().unwrap()]));
    let outcome = json_of(&out.join("outcome.json"));
    let curves = outcome["curves"].as_array().unwrap();
    let loss = curves.iter().find(|curve| curve["name"] == "loss").unwrap();
    (out, loss["points"][0][1].as_f64().unwrap())
}

#[test]
fn an_end_that_only_generation_config_names_is_kept_by_every_save() {
    let folder = Folder::new();
    let eos = id("<|endoftext|>");
    let model = model(&folder, "model", "<|im_end|>", BARE, json!(eos));
    assert_eq!(said(&folder, &model, &[]).1, "length");
    let generation = json!({"temperature": 0.6, "eos_token_id": [eos, id("<|im_end|>")]});
    fs::write(model.join("generation_config.json"), generation.to_string()).unwrap();
    ends_at_once(&folder, &model);
    let exported = folder.join("exported");
    succeed(&mut picnic(&["export", model.to_str().unwrap(), exported.to_str().unwrap(), "--dtype", "f32"]));
    let (tuned, _) = taught(&folder, &model, "tuned");
    for saved in [exported, tuned] {
        assert_eq!(json_of(&saved.join("generation_config.json")), generation);
        assert_eq!(json_of(&saved.join("config.json"))["eos_token_id"], generation["eos_token_id"]);
        ends_at_once(&folder, &saved);
    }
}

#[test]
fn a_list_in_config_json_ends_answers() {
    let folder = Folder::new();
    let ends = json!([id("<|im_end|>"), id("<|endoftext|>")]);
    ends_at_once(&folder, &model(&folder, "model", "<|im_end|>", BARE, ends));
}

#[test]
fn a_gguf_file_s_end_of_turn_is_known_by_its_name() {
    let folder = Folder::new();
    ends_at_once(&folder, &gguf(&folder, "<|im_end|>"));
    assert_eq!(said(&folder, &gguf(&folder, "a"), &[]), ("aaaaaaaa".to_owned(), "length".to_owned()));
}

#[test]
fn an_answer_is_taught_to_end_as_the_template_ends_it() {
    let folder = Folder::new();
    let base = model(&folder, "model", "<|im_end|>", CHATML, Value::Null);
    ends_at_once(&folder, &base);
    // The model is as good as certain of its token; of another it would be 16 nats away.
    let (_, loss) = taught(&folder, &base, "taught");
    assert!(loss < 0.01, "{loss}");
    let silent = model(&folder, "silent", "<|im_end|>", BARE, Value::Null);
    let (_, loss) = taught(&folder, &silent, "silent_taught");
    assert!((loss - WIDTH as f64).abs() < 0.1, "{loss}");
}

#[test]
fn a_broken_template_keeps_nobody_from_the_weights() {
    let folder = Folder::new();
    let model = model(&folder, "model", "a", BARE, Value::Null);
    fs::write(model.join("chat_template.jinja"), "{% nonsense %}").unwrap();
    let (model, out) = (model.to_str().unwrap(), folder.join("out"));
    succeed(&mut picnic(&["export", model, out.to_str().unwrap()]));
    refuse(&mut picnic(&["chat", model, "--prompt", "Hi"]), &["chat template", "nonsense"]);
}

/// A template that wants to be told not to think, by a truth value.
const ASKS: &str = "{{ messages[-1].content }}{% if enable_thinking is not defined %}{{ raise_exception('undecided') }}\
                    {% elif enable_thinking is false %}NOTHINK{% endif %}";

#[test]
fn variables_reach_the_template_of_chat_and_eval() {
    let folder = Folder::new();
    let model = model(&folder, "model", "<|endoftext|>", ASKS, Value::Null);
    let chat = ["chat", model.to_str().unwrap(), "--prompt", "Hi"];
    refuse(&mut picnic(&chat), &["undecided"]);
    succeed(picnic(&chat).args(["--template-var", "enable_thinking=false"]));
    assert_eq!(said(&folder, &model, &["--template-var", "enable_thinking=true"]).1, "stop");
    let output = run(picnic(&chat).args(["--template-var", "enable_thinking"]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a name and a value"), "{output:?}");
}

#[test]
fn variables_reach_the_template_of_a_request() {
    let folder = Folder::new();
    let model = model(&folder, "model", "<|endoftext|>", ASKS, Value::Null);
    let args = ["serve", model.to_str().unwrap(), "--port", "0", "--template-var", "enable_thinking=true"];
    let mut server = Server(picnic(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().trim_end().trim_end_matches("/v1").to_owned();
    let post = |more: &str| -> Value {
        let body = format!(r#"{{"messages": [{{"role": "user", "content": "Hi"}}]{more}}}"#);
        let head = format!("host: localhost\r\nconnection: close\r\ncontent-length: {}", body.len());
        let mut client = TcpStream::connect(&address).unwrap();
        write!(client, "POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let tokens = |more: &str| post(more)["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!((tokens(""), tokens(r#", "chat_template_kwargs": null"#)), (2, 2));
    assert_eq!(tokens(r#", "chat_template_kwargs": {"enable_thinking": false}"#), 2 + 7);
    let refused = post(r#", "chat_template_kwargs": []"#);
    assert_eq!(refused["error"]["type"], "invalid_request_error");
}

#[test]
fn conversations_are_judged_by_thirds() {
    let folder = Folder::new();
    let model = model(&folder, "model", "5", BARE, Value::Null);
    let question =
        |i| format!("{{\"id\": \"{i}\", \"prompt\": \"{i}?\", \"kind\": \"contains\", \"answer\": [\"55\"]}}\n");
    fs::write(folder.join("questions.jsonl"), (0..7).map(question).collect::<String>()).unwrap();
    let recipe_file = folder.join("eval.toml");
    let tasks = format!(
        "[[tasks]]\nname = \"arithmetic\"\n[[tasks]]\nname = \"questions\"\npath = {:?}\n",
        folder.join("questions.jsonl")
    );
    let stage = format!("extends = {:?}\nproblems = 1\nmax_tokens = 4\n", recipe("smoke/eval.toml"));
    fs::write(&recipe_file, stage + &tasks).unwrap();
    let base = format!("base={}", model.display());
    let eval = |questions: &str| {
        let args = ["eval", recipe_file.to_str().unwrap(), &base, "--json", "--conversation", questions];
        let mut command = picnic(&args);
        command.stdout(Stdio::piped());
        command
    };
    // Whatever is asked, it says 5555: right but for the sum. Of four questions the first, two, and the last are the thirds.
    let output = run(&mut eval("4"));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&found["conversations"], &found["questions"]), (&json!(2), &json!(4)));
    let [first, second, last] = [0, 1, 2].map(|third| found["thirds"][third]["value"].as_f64().unwrap());
    assert_eq!(2.0 * (first + 2.0 * second + last), 7.0, "{found}");
    assert_eq!(found["last_minus_first"]["value"], last - first);
    assert_eq!(found["could_not_judge"], 0);
    refuse(&mut eval("9"), &["8 held-out problems", "`problems`"]);
    refuse(&mut eval("2"), &["3 or more"]);
}

/// A server that ends with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
