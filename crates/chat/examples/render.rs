//! Renders chat templates for comparison with another implementation: reads a JSON object a line from standard input,
//! `{"template", "special", "messages", "tools", "variables", "add_generation_prompt", "rendered" or "error"}`, and says
//! where we differ from `rendered`. Used with what `transformers` renders; see golden/README.md.
//!
//! ```text
//! cargo run --release -p picnic-chat --example render < cases.jsonl
//! ```

use picnic_chat::{ChatOptions, ChatTemplate, Message};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, SystemTime};

#[derive(Deserialize)]
struct Case {
    model: String,
    template: Value,
    special: BTreeMap<String, String>,
    messages: Value,
    tools: Vec<Value>,
    variables: Map<String, Value>,
    add_generation_prompt: bool,
    /// What the other implementation gave; absent where it refused.
    rendered: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut same, mut differ) = (0, BTreeMap::<String, usize>::new());
    for line in std::io::stdin().lines() {
        let case: Case = serde_json::from_str(&line?)?;
        let ours = render(&case);
        if ours.as_deref().ok() == case.rendered.as_deref() {
            same += 1;
            continue;
        }
        let count = differ.entry(case.model.clone()).or_default();
        *count += 1;
        if *count <= 2 {
            println!("{}: {}\n  theirs {:?}\n  ours   {ours:?}", case.model, case.messages, case.rendered);
        }
    }
    println!("{same} the same; different: {differ:?}");
    Ok(())
}

fn render(case: &Case) -> Result<String, String> {
    let messages: Vec<Message> = serde_json::from_value(case.messages.clone()).map_err(|error| error.to_string())?;
    let options = ChatOptions {
        add_generation_prompt: case.add_generation_prompt,
        tools: &case.tools,
        variables: Some(&case.variables),
        // 4 October 2024
        now: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400)),
        ..ChatOptions::default()
    };
    let template = ChatTemplate::from_json(&case.template, case.special.clone()).map_err(|error| error.to_string())?;
    template.render(&messages, &options).map_err(|error| error.to_string())
}
