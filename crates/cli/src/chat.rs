//! `picnic chat`: a conversation in the terminal, messages from a pipe, or one answer with `--prompt`.
//!
//! Standard output holds answers and nothing else. What is said to the person (banner, prompt, notes, statistics) goes
//! to standard error, and only where a person is there to read it.

mod banner;
mod command;
mod conversation;
mod history;
mod interrupt;
mod pipe;
mod screen;
mod terminal;
mod transcript;

use crate::disk::DiskOptions;
use crate::load::{self, Forms, NANO, TemplateVariables};
use anyhow::{Result, ensure};
pub(crate) use conversation::{Conversation, Ending, Settings};
pub(crate) use interrupt::{Interrupt, leave};
use picnic_engine::Sampling;
use screen::Screen;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, IsTerminal, stderr, stdin};

/// What was typed.
#[derive(clap::Args)]
pub struct ChatArgs {
    /// A Hugging Face folder, a GGUF file, or `nano`
    #[arg(default_value = NANO)]
    model: String,
    /// Answer this and end
    #[arg(long)]
    prompt: Option<String>,
    /// 0 for the likeliest answer, 1 for the model's own variety [default: the model's, or 0.6]
    #[arg(long)]
    temperature: Option<f32>,
    /// The same seed and the same words give the same answer
    #[arg(long)]
    seed: Option<u64>,
    /// Tokens in an answer at most
    #[arg(long, default_value_t = 4096)]
    max_tokens: usize,
    /// Let the model think for at most so many tokens, then answer
    #[arg(long, value_name = "TOKENS")]
    thinking_budget: Option<usize>,
    /// Instructions ahead of the conversation
    #[arg(long)]
    system: Option<String>,
    /// After each answer, say how fast it came and how long the conversation is
    #[arg(long)]
    stats: bool,
    #[command(flatten)]
    forms: Forms,
    #[command(flatten)]
    disk: DiskOptions,
    #[command(flatten)]
    template: TemplateVariables,
}

/// Talks until the end of the input.
pub fn run(args: ChatArgs) -> Result<()> {
    let is_temperature = |t: f32| t.is_finite() && t >= 0.0;
    ensure!(args.temperature.is_none_or(is_temperature), "--temperature must be 0 or more");
    ensure!(args.max_tokens > 0, "--max-tokens must be at least 1");
    let (mut loaded, disk) = load::load_with_disk(&args.model, args.forms.weights(), &args.disk)?;
    loaded.chat = loaded.chat.with_variables(args.template.map());
    let recommended = loaded.chat.recommended();
    let settings = Settings {
        system: args.system,
        sampling: Sampling {
            temperature: args.temperature.or(recommended.temperature).unwrap_or(0.6),
            top_k: recommended.top_k.unwrap_or(0),
            top_p: recommended.top_p.unwrap_or(1.0),
            min_p: recommended.min_p.unwrap_or(0.0),
            typical_p: recommended.typical_p.unwrap_or(1.0),
            repetition_penalty: recommended.repetition_penalty.unwrap_or(1.0),
            ..Sampling::GREEDY
        },
        thinking_budget: args.thinking_budget,
        max_tokens: args.max_tokens,
        seed: args.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()),
    };
    let screen = Screen::new(args.stats);
    let mut conversation = Conversation::new(loaded, args.forms.cache(), settings, Interrupt::listen()?);
    if let Some(disk) = disk {
        conversation.keep_on(disk);
    }
    let done = match &args.prompt {
        Some(prompt) => pipe::answer_once(conversation, screen, prompt),
        None if stdin().is_terminal() && stderr().is_terminal() => terminal::converse(conversation, screen),
        None => pipe::converse(conversation, screen),
    };
    match done {
        // Whoever reads our output has enough of it.
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
            Ok(())
        }
        done => done,
    }
}
