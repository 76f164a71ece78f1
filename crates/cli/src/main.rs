//! The binary `picnic`: parses what was typed, calls the crate that does it, and makes errors one line.

mod chat;
mod load;
mod serve;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// DeepSeek-R1's whole system, from text to a served model, on one computer.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Talk with a model in the terminal.
    Chat(chat::ChatArgs),
    /// Serve a model over HTTP, in the API of OpenAI and DeepSeek.
    Serve(serve::ServeArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Chat(args) => chat::run(args),
        Command::Serve(args) => serve::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
