//! The binary `picnic`: parse, configure, call.

mod bench;
mod chat;
mod completions;
mod connect;
mod disk;
mod doctor;
mod eval;
mod export;
mod keys;
mod load;
mod output;
mod parity;
mod quantize;
mod recipes;
mod report;
mod serve;
mod tokenizer;
mod train;

use anyhow::bail;
use clap::{CommandFactory, Parser, Subcommand};
use picnic_model::kernels::Isa;
use std::io::Write;
use std::process::ExitCode;

/// DeepSeek-R1's whole system on a laptop: makes a reasoning model by R1's recipe and serves it.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A whole recipe: tokenizer, pre-training, cold start, RL, what the recipe has beside them, report
    R1(train::RecipeArgs),
    /// Pre-train a model from nothing
    Pretrain(train::RecipeArgs),
    /// Cold start: fine-tune a model on worked problems
    Sft(train::RecipeArgs),
    /// Reinforcement learning with rewards by rules
    Rl(train::RecipeArgs),
    /// Rejection sampling: right answers of a model, as a set to fine-tune on
    Reject(train::RecipeArgs),
    /// On-policy distillation: a teacher reads what a student writes
    Distill(train::RecipeArgs),
    /// Judge a model on held-out problems, or pose problems from a file
    Eval(eval::EvalArgs),
    /// Write a run's page again, compare two runs, or set runs from several seeds side by side
    Report(report::ReportArgs),
    /// Talk with a model in the terminal
    Chat(chat::ChatArgs),
    /// Serve models over HTTP, in the APIs of OpenAI, DeepSeek and Anthropic
    Serve(serve::ServeArgs),
    /// The configuration by which a client, such as Codex or Zed, talks to the server
    Connect(connect::ConnectArgs),
    /// Keys of the server's API: make, list and revoke them, and see what they used
    Keys(keys::KeysArgs),
    /// Write a model as a Hugging Face folder or a GGUF file
    Export(export::ExportArgs),
    /// Write a model with weights of 8 or 4 bits, as a GGUF file
    Quantize(quantize::QuantizeArgs),
    /// Compare with another implementation's numbers
    Parity(parity::ParityArgs),
    /// Make vocabularies
    Tokenizer(tokenizer::TokenizerArgs),
    /// Measure speed on this machine
    Bench(bench::BenchArgs),
    /// Write the recipes that come with the program, to run, read and change
    Recipes(recipes::RecipesArgs),
    /// What this machine gives Picnic to work with, and what makes it slow
    Doctor(doctor::DoctorArgs),
    /// A script that teaches a shell to complete commands and options
    Completions(completions::CompletionsArgs),
    /// Write the manual's pages, one for each command
    Man(completions::ManArgs),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    match environment().and_then(|()| run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is full too, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::R1(args) => train::run_r1(&args),
        Command::Pretrain(args) => train::run_pretrain(&args),
        Command::Sft(args) => train::run_sft(&args),
        Command::Rl(args) => train::run_rl(&args),
        Command::Reject(args) => train::run_reject(&args),
        Command::Distill(args) => train::run_distill(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Chat(args) => chat::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Connect(args) => connect::run(&args),
        Command::Keys(args) => keys::run(args),
        Command::Export(args) => export::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Parity(args) => parity::run(&args),
        Command::Tokenizer(args) => tokenizer::run(args),
        Command::Bench(args) => bench::run(&args),
        Command::Recipes(args) => recipes::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::completions(&args, Cli::command()),
        Command::Man(args) => completions::man(&args, Cli::command()),
    }
}

/// What the environment sets must be something that we know.
fn environment() -> anyhow::Result<()> {
    picnic_train::watch::limit().map_err(anyhow::Error::msg)?;
    instruction_set()
}

/// A name in `PICNIC_ISA` must be one that this processor has: whoever sets it compares, and must not compare a thing
/// with itself.
fn instruction_set() -> anyhow::Result<()> {
    let Some(name) = std::env::var_os("PICNIC_ISA") else { return Ok(()) };
    if name.to_str().and_then(Isa::named).is_none() {
        let available: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
        bail!("PICNIC_ISA is {name:?}, but this processor has {}: name one of them, or unset it", available.join(", "));
    }
    Ok(())
}

/// An error and its causes; those that its text repeats already are left out.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}
