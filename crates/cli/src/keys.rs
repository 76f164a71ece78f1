//! `picnic keys`: who may use the server, for what and how much, and what they used.
//!
//! Every command works on the file alone, so it does not matter whether a server runs, which reads the file at each
//! request. Left out: changing a key. A new one takes its place, and the old one is revoked.

mod table;

use crate::output::line;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use etcetera::BaseStrategy;
use picnic_keys::{Key, Keys, Limits, NewKey, Scope, Timestamp};
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `picnic keys`.
#[derive(Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: Command,
    /// File of the keys [default: picnic/picnic.sqlite in the platform's folder for data of programs]
    #[arg(long, global = true)]
    file: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key and print its secret, this once
    Create(CreateArgs),
    /// Show all keys and what each has used
    List,
    /// Take a key out of force, for good and at once
    Revoke {
        /// Number or name of the key
        key: String,
    },
    /// Show what a key used on each day
    Usage {
        /// Number or name of the key
        key: String,
    },
}

#[derive(Args)]
#[command(after_help = "Examples:
  picnic keys create laptop
  picnic keys create guest --expires 7d --requests-per-minute 10 --tokens 100000
  picnic keys create monitor --scopes admin")]
struct CreateArgs {
    /// What to call the key
    name: String,
    /// What it is for: inference (whatever runs the model), read (the list of models, its own usage), admin (metrics)
    #[arg(long, value_delimiter = ',', default_value = "inference,read")]
    scopes: Vec<Scope>,
    /// When it ends: after so many days or hours, such as 30d or 12h, or at the beginning of a day, such as 2030-01-31
    #[arg(long, value_name = "TIME", value_parser = end)]
    expires: Option<Timestamp>,
    /// Requests that it may make in a minute
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u64>,
    /// Tokens of prompts and answers that it may use in a minute
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<u64>,
    /// Tokens that it may use altogether
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
    /// Names of the models that it is for, separated by commas; without this it is for all
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    models: Option<Vec<String>>,
}

/// The file where nobody names one.
///
/// # Errors
/// If the platform has no folder for data of programs, as for a user without a home.
pub fn default_file() -> Result<PathBuf> {
    let places = etcetera::base_strategy::choose_native_strategy();
    let places = places.context("there is no home folder to keep the keys in: name a file with --file")?;
    Ok(places.data_dir().join("picnic").join("picnic.sqlite"))
}

/// Does what was asked.
pub fn run(args: KeysArgs) -> Result<()> {
    let file = args.file.map_or_else(default_file, Ok)?;
    let keys = Keys::open(&file)?;
    let now = Timestamp::now();
    match args.command {
        Command::Create(create) => {
            let (key, secret) = keys.create(&create.into(), now)?;
            if args.json {
                return line(json!({"key": key, "secret": secret.reveal(), "file": file.to_string_lossy()}));
            }
            // The secret alone on standard output, so that a script can take it.
            line(secret.reveal())?;
            eprintln!("This is the secret of key {} ({}). Keep it: it will not be shown again.", key.id, key.name);
            eprintln!("Its hash is in {}; clients send it as `Authorization: Bearer pk-…`.", file.display());
            Ok(())
        }
        Command::List if args.json => keys.list()?.iter().try_for_each(|key| line(json!(key))),
        Command::List => {
            let keys = keys.list()?;
            if keys.is_empty() {
                eprintln!("There are no keys in {}: `picnic keys create NAME` makes one.", file.display());
                return Ok(());
            }
            table::keys(&keys, now).iter().try_for_each(line)
        }
        Command::Revoke { key } => {
            let key = keys.revoke(&key, now)?;
            if args.json { line(json!(key)) } else { line(format_args!("key {} ({}) is revoked", key.id, key.name)) }
        }
        Command::Usage { key } => {
            let (Key { id, name, .. }, days) = keys.usage(&key)?;
            if args.json {
                return days.iter().try_for_each(|day| {
                    let mut object = json!(day);
                    object["key"] = json!(id);
                    object["name"] = json!(name);
                    line(object)
                });
            }
            if days.is_empty() {
                eprintln!("Key {id} ({name}) has not been used.");
                return Ok(());
            }
            table::days(&days).iter().try_for_each(line)
        }
    }
}

impl From<CreateArgs> for NewKey {
    fn from(args: CreateArgs) -> NewKey {
        let CreateArgs { name, scopes, expires, requests_per_minute, tokens_per_minute, tokens, models } = args;
        let limits = Limits { requests_per_minute, tokens_per_minute, tokens };
        NewKey { name, scopes: scopes.into_iter().collect(), expires, limits, models }
    }
}

/// The time that is meant by `30d`, `12h` or `2030-01-31`.
fn end(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is no time: give days as in 30d, hours as in 12h, or a day as in 2030-01-31");
    let after = |number: &str, seconds: i64| {
        let seconds = number.parse::<u32>().ok().and_then(|number| i64::from(number).checked_mul(seconds));
        let end = seconds.map(|seconds| Timestamp::now().as_second().saturating_add(seconds));
        end.and_then(|end| Timestamp::from_second(end).ok()).ok_or_else(wrong)
    };
    if let Some(days) = text.strip_suffix('d') {
        after(days, 86_400)
    } else if let Some(hours) = text.strip_suffix('h') {
        after(hours, 3600)
    } else if text.len() == 10 {
        format!("{text}T00:00:00Z").parse().map_err(|_| wrong())
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::end;

    #[test]
    fn times_are_read() {
        assert_eq!(end("2030-01-31").unwrap().to_string(), "2030-01-31T00:00:00Z");
        let in_an_hour = end("1h").unwrap().as_second() - picnic_keys::Timestamp::now().as_second();
        assert!((3598..=3600).contains(&in_an_hour));
        for wrong in ["", "d", "-1d", "soon", "30", "2030-13-01", "2030-1-1", "4000000000d", "4294967295d"] {
            assert!(end(wrong).unwrap_err().contains("30d"), "{wrong}");
        }
    }
}
