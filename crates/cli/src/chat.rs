//! `picnic chat`: a conversation in the terminal, or one answer with `--prompt`.

use crate::load::{self, Loaded, NANO, TemplateVariables};
use crate::output::CANNOT_WRITE;
use anyhow::{Context, Result, ensure};
use picnic_chat::{ChatOptions, Message, Piece, Prompt, Reply, Role};
use picnic_engine::{Engine, Limits, Request, Sampling, Wants};
use picnic_model::Backend;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, ErrorKind, IsTerminal, Write, stderr, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// Tokens that a conversation may have, on models that were trained for more: they bound the cache.
const MAX_CONTEXT: usize = 16 * 1024;

/// What the shell expects of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// What was typed.
#[derive(clap::Args)]
pub struct ChatArgs {
    /// A Hugging Face folder, a GGUF file, or `nano`
    #[arg(default_value = NANO)]
    model: String,
    /// Answer this and end
    #[arg(long)]
    prompt: Option<String>,
    /// 0 for the likeliest answer, 1 for the model's own variety
    #[arg(long, default_value_t = 0.6)]
    temperature: f32,
    /// The same seed and the same words give the same answer
    #[arg(long)]
    seed: Option<u64>,
    /// Tokens in an answer at most
    #[arg(long, default_value_t = 4096)]
    max_tokens: usize,
    /// Instructions ahead of the conversation
    #[arg(long)]
    system: Option<String>,
    #[command(flatten)]
    template: TemplateVariables,
}

/// Talks until the end of the input. Ctrl-C stops an answer; while none is under way it ends the program.
pub fn run(args: ChatArgs) -> Result<()> {
    ensure!(args.temperature.is_finite() && args.temperature >= 0.0, "--temperature must be 0 or more");
    ensure!(args.max_tokens > 0, "--max-tokens must be at least 1");
    let mut loaded = load::load(&args.model)?;
    loaded.chat = loaded.chat.with_variables(args.template.map());
    let talk = Conversation::new(loaded, &args)?;
    let done = match &args.prompt {
        Some(prompt) => talk.answer_once(prompt),
        None => talk.converse(),
    };
    match done {
        // Whoever reads our output has enough of it.
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
            Ok(())
        }
        done => done,
    }
}

struct Conversation {
    loaded: Loaded,
    messages: Vec<Message>,
    context: usize,
    /// Whether exchanges have been forgotten already.
    outgrown: bool,
    max_tokens: usize,
    temperature: f32,
    /// Of the next answer.
    seed: u64,
    interrupt: Arc<Interrupt>,
    screen: Screen,
}

/// What Ctrl-C does, and whether it did.
#[derive(Default)]
struct Interrupt {
    answering: AtomicBool,
    pressed: AtomicBool,
}

impl Conversation {
    fn new(loaded: Loaded, args: &ChatArgs) -> Result<Conversation> {
        let interrupt = Arc::new(Interrupt::default());
        ctrlc::set_handler({
            let interrupt = Arc::clone(&interrupt);
            move || {
                if !interrupt.answering.load(Ordering::SeqCst) {
                    eprintln!();
                    std::process::exit(INTERRUPTED);
                }
                interrupt.pressed.store(true, Ordering::SeqCst);
            }
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(Conversation {
            context: loaded.model.model().config().conversation_tokens().min(MAX_CONTEXT),
            loaded,
            outgrown: false,
            messages: args.system.iter().map(Message::system).collect(),
            max_tokens: args.max_tokens,
            temperature: args.temperature,
            seed: args.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()),
            interrupt,
            screen: Screen::new(),
        })
    }

    fn answer_once(mut self, prompt: &str) -> Result<()> {
        self.messages.push(Message::user(prompt));
        self.answer()?;
        if self.interrupt.pressed.load(Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        Ok(())
    }

    /// A line is a message. A message that cannot be answered is taken back.
    fn converse(mut self) -> Result<()> {
        let person = stdin().is_terminal() && stderr().is_terminal();
        let mut line = String::new();
        loop {
            if person {
                eprint!("> ");
            }
            line.clear();
            if stdin().lock().read_line(&mut line).context("cannot read the next message")? == 0 {
                if person {
                    eprintln!();
                }
                return Ok(());
            }
            if line.trim().is_empty() {
                continue;
            }
            self.messages.push(Message::user(line.trim()));
            match self.answer() {
                Ok(reply) => self.messages.push(reply),
                Err(error) if error.downcast_ref::<std::io::Error>().is_some() => return Err(error),
                Err(error) => {
                    self.messages.pop();
                    eprintln!("error: {}", crate::one_line(&error));
                }
            }
        }
    }

    /// Generates and shows the answer to what was said so far, or as much of it as Ctrl-C lets through.
    fn answer(&mut self) -> Result<Message> {
        let Prompt { text, ids } = self.fit()?;
        let Loaded { model, ops, chat, .. } = &self.loaded;
        let sampling = Sampling { temperature: self.temperature, top_p: 1.0, seed: self.seed };
        self.seed = self.seed.wrapping_add(1);
        let cache_tokens = Limits::cache_for::<Backend>(1, self.context);
        let limits = Limits { sequences: 1, batch_tokens: 256, cache_tokens };
        let mut engine = Engine::new(ops.clone(), model.clone(), limits);
        let max_tokens = self.max_tokens.min(self.context - ids.len());
        let stop = chat.ends().ids().to_vec();
        engine.submit(Request { prompt: ids, max_tokens, stop, sampling, wants: Wants::default() })?;

        let (mut reply, mut whole) = (Reply::new(&text, Vec::new()), Piece::default());
        self.interrupt.pressed.store(false, Ordering::SeqCst);
        self.interrupt.answering.store(true, Ordering::SeqCst);
        while !engine.is_idle() && !self.interrupt.pressed.load(Ordering::SeqCst) {
            let step = engine.step();
            if let Some(dropped) = step.dropped.into_iter().next() {
                self.interrupt.answering.store(false, Ordering::SeqCst);
                return Err(dropped.into());
            }
            for event in step.events {
                let mut piece = reply.push(chat, event.token);
                if event.finish.is_some() && !reply.is_stopped() {
                    piece += reply.finish();
                }
                self.screen.show(&piece).context(CANNOT_WRITE)?;
                whole += piece;
            }
        }
        self.interrupt.answering.store(false, Ordering::SeqCst);
        self.screen.end().context(CANNOT_WRITE)?;
        let reasoning_content = (!whole.reasoning.is_empty()).then_some(whole.reasoning);
        Ok(Message { reasoning_content, ..Message::assistant(whole.content) })
    }

    /// The prompt and its tokens. Where they leave no room for an answer, the oldest exchange is forgotten, which is
    /// said once.
    fn fit(&mut self) -> Result<Prompt> {
        let room = self.max_tokens.min(self.context / 4).max(1);
        loop {
            let options =
                ChatOptions { add_generation_prompt: true, now: Some(SystemTime::now()), ..ChatOptions::default() };
            let prompt = self.loaded.chat.prompt(&self.messages, &options)?;
            if prompt.ids.len() + room <= self.context {
                return Ok(prompt);
            }
            let first = self.messages.iter().position(|message| message.role != Role::System).unwrap_or(0);
            ensure!(
                first + 2 < self.messages.len(),
                "this is {} tokens with what goes around it, too many for a context of {}: say it shorter",
                prompt.ids.len(),
                self.context
            );
            self.messages.drain(first..first + 2);
            if !self.outgrown {
                eprintln!(
                    "note: the conversation outgrew the {} tokens that it may have; from here on the oldest exchange is \
                     forgotten",
                    self.context
                );
            }
            self.outgrown = true;
        }
    }
}

/// Standard output: thinking dimmed on a terminal, plain in a pipe.
struct Screen {
    terminal: bool,
    colour: bool,
    thinking: bool,
    answered: bool,
}

impl Screen {
    fn new() -> Screen {
        let terminal = stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { terminal, colour, thinking: false, answered: false }
    }

    fn show(&mut self, piece: &Piece) -> std::io::Result<()> {
        let mut out = stdout().lock();
        if !piece.reasoning.is_empty() {
            if self.colour && !self.thinking {
                write!(out, "\x1b[2m")?;
            }
            self.thinking = true;
            write!(out, "{}", self.safe(&piece.reasoning))?;
        }
        if !piece.content.is_empty() {
            if self.thinking && !self.answered {
                writeln!(out, "{}\n", self.undimmed())?;
            }
            self.answered = true;
            write!(out, "{}", self.safe(&piece.content))?;
        }
        out.flush()
    }

    /// Ends an answer with its line.
    fn end(&mut self) -> std::io::Result<()> {
        let undimmed = if self.thinking && !self.answered { self.undimmed() } else { "" };
        (self.thinking, self.answered) = (false, false);
        writeln!(stdout(), "{undimmed}")
    }

    fn undimmed(&self) -> &'static str {
        if self.colour { "\x1b[0m" } else { "" }
    }

    /// What the model wrote must not command the terminal.
    fn safe<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        let commands = |c: char| c.is_control() && c != '\n' && c != '\t';
        if self.terminal && text.contains(commands) { text.replace(commands, "\u{fffd}").into() } else { text.into() }
    }
}
