//! What Picnic makes of conversations with tools, for comparison with what others make of them: a case a line in, an
//! answer a line out, both JSON. `benches/tool_templates.py` asks.
//!
//! ```text
//! cargo run --release -p picnic-chat --example calls < cases.jsonl
//! ```
//!
//! A case has a template and a vocabulary: the one of `folder`, or single bytes and the tokens of `special`. It may have a
//! conversation, which is rendered, and what a model `said` to a prompt, which is read, and held to the form of calls if
//! there is a `choice`.

use picnic_chat::{ChatFormat, ChatOptions, Form, Guidance, Guide, Message, Piece, Reply, ToolChoice, ToolSpec};
use picnic_tokenizer::{Tokenizer, TrainConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

#[derive(Deserialize)]
struct Case {
    folder: Option<PathBuf>,
    #[serde(default)]
    special: Vec<String>,
    /// What the template calls `bos_token` and `eos_token`, where there is no folder.
    bos: Option<String>,
    eos: Option<String>,
    /// Without one, the folder's own.
    template: Option<String>,
    messages: Option<Value>,
    #[serde(default)]
    tools: Vec<Value>,
    #[serde(default)]
    variables: Map<String, Value>,
    #[serde(default)]
    add_generation_prompt: bool,
    #[serde(default)]
    prompt: String,
    said: Option<String>,
    /// The same as tokens.
    ids: Option<Vec<u32>>,
    /// `required`, or the name of a tool.
    choice: Option<String>,
    #[serde(default)]
    parallel: bool,
    /// Random answers to draw under the same form.
    #[serde(default)]
    draws: u64,
}

/// Tokens of a random answer after which it counts as endless.
const ENDLESS: usize = 3000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut known = HashMap::new();
    for line in std::io::stdin().lines() {
        let case: Case = serde_json::from_str(&line?)?;
        let key = json!([case.folder, case.special, case.bos, case.eos, case.template]).to_string();
        if !known.contains_key(&key) {
            // A vocabulary of a hundred thousand tokens is not held twice.
            known.retain(|_, _| case.folder.is_none());
            let chat = chat(&case)?;
            let guidance = Guidance::new(&chat);
            known.insert(key.clone(), (chat, guidance));
        }
        let (chat, guidance) = &known[&key];
        let mut answer = json!({
            "form": format!("{:?}", chat.tool_format()), "notes": chat.notes().collect::<Vec<_>>(),
            "special": chat.tokenizer().special_tokens(),
        });
        if case.messages.is_some() {
            let [plain, adapted] = render(chat, &case)?;
            answer["rendered"] = plain;
            answer["adapted"] = adapted;
        }
        let said = case.said.as_ref().map(|said| chat.tokenizer().encode_continuation(said)).transpose()?;
        if let Some(ids) = case.ids.clone().or(said) {
            answer["text"] = chat.tokenizer().decode(&ids, false).into();
            answer["read"] = shown(&read(chat, Reply::new(&case.prompt, Vec::new()), &case, &ids));
            if let Some(choice) = &case.choice {
                let choice = match choice.as_str() {
                    "required" => ToolChoice::Required,
                    name => ToolChoice::Named(name.to_owned()),
                };
                let form = Form::Calls { tools: ToolSpec::of(&case.tools), choice, parallel: case.parallel };
                let guide = guidance.as_ref().map_err(ToString::to_string).and_then(|guidance| {
                    let guide = guidance.guide(&form).map_err(|error| error.to_string())?;
                    Ok(match chat.thinking_tokens(&case.prompt) {
                        Some((open, close)) => guide.after_thinking(open, close),
                        None => guide,
                    })
                });
                match guide {
                    Err(problem) => answer["held"] = problem.into(),
                    Ok(guide) => {
                        answer["held"] = held(chat, guide.clone(), &ids).into();
                        let held = Reply::held(&case.prompt, Vec::new(), chat.thinking_tokens(&case.prompt));
                        answer["read_held"] = shown(&read(chat, held, &case, &ids));
                        let (drawn, texts) = drawn(chat, &guide, &case);
                        answer["drawn"] = drawn.into();
                        answer["draws"] = texts.into();
                    }
                }
            }
        }
        println!("{answer}");
    }
    Ok(())
}

fn chat(case: &Case) -> Result<ChatFormat, Box<dyn Error>> {
    let chat = match &case.folder {
        Some(folder) => ChatFormat::from_dir(folder)?,
        None => {
            let (bos, eos) = (case.bos.clone().ok_or("no bos")?, case.eos.clone().ok_or("no eos")?);
            let mut special = vec![bos.clone(), eos.clone(), "<|user|>".to_owned(), "<|assistant|>".to_owned()];
            special.extend(case.special.iter().cloned());
            special.sort();
            special.dedup();
            let config = TrainConfig {
                vocab_size: 256 + special.len() + 4,
                special_tokens: special,
                bos: Some(bos),
                eos: Some(eos),
                ..TrainConfig::default()
            };
            ChatFormat::new(Tokenizer::train([""], &config)?)
        }
    };
    let chat = match &case.template {
        Some(template) => chat.with_template(template)?,
        None => chat,
    };
    Ok(chat.with_end_tokens_by_name())
}

/// The conversation as the template writes it, and with what the template does not know said in what it does.
fn render(chat: &ChatFormat, case: &Case) -> Result<[Value; 2], Box<dyn Error>> {
    let messages: Vec<Message> = serde_json::from_value(case.messages.clone().unwrap_or_default())?;
    let options = ChatOptions {
        add_generation_prompt: case.add_generation_prompt,
        tools: &case.tools,
        variables: Some(&case.variables),
        // 4 October 2024
        now: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400)),
        ..ChatOptions::default()
    };
    let plain = chat.template().and_then(|template| template.render(&messages, &options));
    let adapted = chat.prompt(&messages, &options).map(|prompt| prompt.text);
    Ok([plain, adapted].map(|rendered| match rendered {
        Ok(text) => json!({"text": text}),
        Err(error) => json!({"error": error.to_string()}),
    }))
}

fn read(chat: &ChatFormat, reply: Reply, case: &Case, ids: &[u32]) -> Piece {
    let mut reply = reply.with_tools(chat.tool_format(), &case.tools, 7);
    let mut whole = Piece::default();
    for &id in ids {
        if !reply.is_stopped() {
            whole += reply.push(chat, id);
        }
    }
    whole += reply.finish();
    whole
}

fn shown(piece: &Piece) -> Value {
    let calls: Vec<Value> =
        piece.calls.iter().map(|call| json!({"name": call.name, "arguments": call.arguments})).collect();
    json!({"reasoning": piece.reasoning, "content": piece.content, "calls": calls})
}

/// `yes` if the guide lets all tokens up to an end come, or where it does not.
fn held(chat: &ChatFormat, mut guide: Guide, ids: &[u32]) -> String {
    for (at, &id) in ids.iter().enumerate() {
        if !may(&guide, id) {
            let text = |ids: &[u32]| chat.tokenizer().decode(ids, false);
            return format!("{:?} is refused behind {:?}", text(&[id]), text(&ids[..at]));
        }
        if chat.ends().contains(id) {
            return "yes".to_owned();
        }
        guide.accept(id);
    }
    match chat.ends().ids().iter().any(|&end| may(&guide, end)) {
        true => "yes".to_owned(),
        false => "it may not end".to_owned(),
    }
}

fn may(guide: &Guide, token: u32) -> bool {
    guide.allowed().get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
}

/// Draws random answers; each has to be calls and nothing else. Returns what came of it, and those that came to an end.
fn drawn(chat: &ChatFormat, guide: &Guide, case: &Case) -> (String, Vec<String>) {
    let (mut texts, mut count) = (Vec::new(), 0);
    let quote = chat.tokenizer().encode_continuation("\"").unwrap_or_default();
    let bytes = |id| chat.tokenizer().token_bytes(id).map_or(0, |bytes| bytes.len());
    let size = if case.draws == 0 { 0 } else { guide.allowed().len() as u32 * 32 };
    let is_short: Vec<bool> = (0..size).map(|id| bytes(id) < 3).collect();
    for seed in 0..case.draws {
        let (mut guide, mut random, mut ids) = (guide.clone(), picnic_random::stream(seed), Vec::new());
        // Thinking has no form and no end.
        let (mut opens, mut closes) = (None, None);
        match chat.thinking_tokens(&case.prompt) {
            Some((Some(open), _)) => opens = Some(open),
            Some((None, close)) => closes = Some(close),
            None => {}
        }
        if let Some(close) = closes {
            guide.accept(close);
            ids.push(close);
        }
        while ids.len() < ENDLESS {
            let words = guide.allowed();
            let bits = words.iter().zip(0u32..).filter(|(word, _)| **word != 0);
            let ids_of = |(word, at): (&u32, u32)| {
                let word = *word;
                (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 32 + bit)
            };
            let members: Vec<u32> = bits.flat_map(ids_of).filter(|&id| opens != Some(id)).collect();
            let shorts: Vec<u32> = members.iter().copied().filter(|&id| is_short[id as usize]).collect();
            let end = members.iter().copied().find(|&id| chat.ends().contains(id));
            let dice = picnic_random::uniform(&mut random);
            let at = picnic_random::uniform(&mut random);
            let among = if dice < 0.9 && !shorts.is_empty() { &shorts } else { &members };
            let token = match (end, quote.as_slice()) {
                (Some(end), _) if ids.len() > 40 => end,
                (_, &[quote]) if dice < 0.3 && members.contains(&quote) => quote,
                _ => among[(at * among.len() as f64) as usize],
            };
            ids.push(token);
            if chat.ends().contains(token) {
                break;
            }
            guide.accept(token);
        }
        if !ids.last().is_some_and(|&id| chat.ends().contains(id)) {
            continue;
        }
        let text = chat.tokenizer().decode(&ids, false);
        let reply = Reply::held(&case.prompt, Vec::new(), chat.thinking_tokens(&case.prompt));
        let piece = read(chat, reply, case, &ids);
        let is_whole =
            |arguments: &str| arguments.starts_with('{') && serde_json::from_str::<IgnoredAny>(arguments).is_ok();
        if piece.calls.is_empty()
            || !piece.content.trim().is_empty()
            || !piece.calls.iter().all(|call| is_whole(&call.arguments))
        {
            return (format!("{text:?} is read as {}", shown(&piece)), texts);
        }
        texts.push(text);
        count += piece.calls.len();
    }
    (format!("{count} calls in {} of {}", texts.len(), case.draws), texts)
}
