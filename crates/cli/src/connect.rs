//! `picnic connect CLIENT`: the configuration by which a client talks to this server.
//!
//! Standard output gets the configuration alone, so that it can go into a file; what to do with it goes to standard
//! error. Left out: writing into a client's own files, which may hold more than we know of, and asking the server, which
//! need not run yet.

mod clients;

use crate::load::NANO;
use crate::output::line;
use anyhow::Result;
use clap::{Args, ValueEnum};

/// Arguments of `picnic connect`.
#[derive(Args)]
#[command(after_help = "Examples:
  picnic connect codex > ~/.codex/picnic.config.toml && codex --profile picnic
  picnic connect zed --url https://llm.example.org --model qwen3-8b --context 40960")]
pub struct ConnectArgs {
    /// The client
    client: Client,
    /// Where the server is
    #[arg(long, default_value = "http://127.0.0.1:8000", value_parser = url)]
    url: String,
    /// Name of the model, as GET /v1/models lists it
    #[arg(long, default_value = NANO, value_parser = plain)]
    model: String,
    /// Secret of an API key; a server without keys takes any text
    #[arg(long, value_parser = plain)]
    key: Option<String>,
    /// Tokens of a conversation at most, for clients that ask; without it they follow their own defaults
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(64..=1 << 40))]
    context: Option<u64>,
}

/// Clients that we know how to configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    /// OpenAI's agent for the terminal
    Codex,
    /// Anthropic's Claude Code
    Claude,
    /// The agent opencode
    Opencode,
    /// A web page to chat in
    OpenWebui,
    /// An extension for VS Code and JetBrains
    Continue,
    /// An extension for VS Code
    Cline,
    /// The editor Zed
    Zed,
}

/// What a client has to know.
struct Server<'a> {
    /// Without a slash or `/v1` at its end.
    url: &'a str,
    model: &'a str,
    key: Option<&'a str>,
    context: Option<u64>,
}

/// How one client is configured.
struct Guide {
    /// Where the configuration belongs.
    place: &'static str,
    /// The configuration.
    text: String,
    /// What to do beside writing it there, a sentence each.
    steps: Vec<String>,
}

/// Prints the configuration, and what to do with it.
pub fn run(args: &ConnectArgs) -> Result<()> {
    let ConnectArgs { client, url, model, key, context } = args;
    let guide = clients::guide(*client, &Server { url, model, key: key.as_deref(), context: *context });
    eprintln!("This belongs into {}:", guide.place);
    line(guide.text.trim_end())?;
    guide.steps.iter().for_each(|step| eprintln!("{step}"));
    Ok(())
}

/// An address without what clients add to it themselves.
fn url(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no address of a server: give one like http://127.0.0.1:8000");
    let text = plain(text).map_err(|_| wrong())?;
    let text = text.trim_end_matches('/');
    let text = text.strip_suffix("/v1").unwrap_or(text);
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or_else(wrong)?;
    if host.is_empty() || host.starts_with('/') { Err(wrong()) } else { Ok(text.to_owned()) }
}

/// Text that stands in every format as it is, inside quotes.
fn plain(text: &str) -> Result<String, String> {
    let bad = |character: char| character.is_control() || character.is_whitespace() || "\"'\\$`{}#".contains(character);
    match text.chars().find(|character| bad(*character)) {
        _ if text.is_empty() => Err("it is empty".into()),
        Some(character) => Err(format!("{character:?} would not be the same in a configuration: leave it out")),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_ends() {
        for text in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"] {
            assert_eq!(url(text), Ok("http://h:1".into()));
        }
        assert_eq!(url("https://h/llm/v1"), Ok("https://h/llm".into()));
        for text in ["", "h:1", "ftp://h", "http://", "http:///v1", "http://a b", "http://a\"b"] {
            assert!(url(text).unwrap_err().contains("127.0.0.1:8000"), "{text}");
        }
    }

    #[test]
    fn names_are_what_every_format_takes() {
        assert_eq!(plain("Qwen/Qwen3-8B:q4_0"), Ok("Qwen/Qwen3-8B:q4_0".into()));
        for text in ["", "a b", "a\"", "a\nb", "$(x)", "{env:X}"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }
}
