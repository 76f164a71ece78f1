//! What a key is: its name, what it is for, how much it may use, and what it has used.

use crate::{Error, Timestamp};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Characters of a name at most.
const NAME_LENGTH: usize = 64;

/// What a key may be used for. Each route of the server asks for one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Whatever runs the model: chat, completions, embeddings.
    Inference,
    /// Whatever only tells: the list of models, the key's own usage.
    Read,
    /// Whatever concerns all users: metrics, the state of the server.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Scope; 3] = [Scope::Inference, Scope::Read, Scope::Admin];

    /// The name by which a scope is asked for and stored.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Inference => "inference",
            Scope::Read => "read",
            Scope::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        let found = Scope::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| {
            format!("there is no scope {text:?}: it is one of {}", Scope::ALL.map(Scope::name).join(", "))
        })
    }
}

/// How much a key may use; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Requests for inference in a minute. So many may come at once after a pause.
    pub requests_per_minute: Option<u64>,
    /// Tokens in a minute, of prompts and answers. Nobody knows the length of an answer ahead, so a request passes while
    /// any are left, and what it used too much is waited for by the next one.
    pub tokens_per_minute: Option<u64>,
    /// Tokens altogether. Requests that run when the last one is used up are finished.
    pub tokens: Option<u64>,
}

/// What somebody asks for who creates a key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people call it: 1 to 64 characters, and not digits alone. No two keys in force have the same name.
    pub name: String,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// When it ends, if it does by itself.
    pub expires: Option<Timestamp>,
    /// How much it may use.
    pub limits: Limits,
    /// The names of the models that it is for; `None` is all.
    pub models: Option<Vec<String>>,
}

impl NewKey {
    /// A key for inference and for reading, without an end or limits.
    pub fn named(name: impl Into<String>) -> NewKey {
        let scopes = BTreeSet::from([Scope::Inference, Scope::Read]);
        NewKey { name: name.into(), scopes, expires: None, limits: Limits::default(), models: None }
    }

    /// Refuses what cannot be meant.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Error> {
        let wrong = |problem| Err(Error::Name { name: self.name.clone(), problem });
        if self.name.trim().is_empty() || self.name.trim() != self.name {
            return wrong("a name needs a character, and no space at its ends");
        }
        if self.name.chars().count() > NAME_LENGTH {
            return wrong("64 characters are the most");
        }
        if self.name.chars().any(char::is_control) {
            return wrong("it has characters that cannot be printed");
        }
        if self.name.bytes().all(|byte| byte.is_ascii_digit()) {
            return wrong("digits alone are the number of a key");
        }
        let Limits { requests_per_minute, tokens_per_minute, tokens } = self.limits;
        let useless = [
            (self.scopes.is_empty(), "no scope"),
            (self.expires.is_some_and(|end| end <= now), "an end in the past"),
            (requests_per_minute == Some(0), "no requests a minute"),
            (tokens_per_minute == Some(0), "no tokens a minute"),
            (tokens == Some(0), "no tokens"),
            (self.models.as_ref().is_some_and(Vec::is_empty), "an empty list of models"),
        ];
        useless.into_iter().find(|(is_so, _)| *is_so).map_or(Ok(()), |(_, what)| Err(Error::Useless(what)))
    }
}

/// A key as it is stored, which is without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its number, which no other key ever gets.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// The last characters of the secret, to tell which of several keys a program has.
    pub ending: String,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// When it was created.
    pub created: Timestamp,
    /// When a request of it was last recorded.
    pub last_used: Option<Timestamp>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// How much it may use.
    pub limits: Limits,
    /// The names of the models that it is for; `None` is all.
    pub models: Option<Vec<String>>,
    /// What it has used since it was created.
    pub used: Usage,
}

/// What requests used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// How many requests there were.
    pub requests: u64,
    /// Tokens that were read.
    pub prompt_tokens: u64,
    /// Tokens that were written.
    pub completion_tokens: u64,
}

impl Usage {
    /// What one request used.
    pub fn of_request(prompt_tokens: u64, completion_tokens: u64) -> Usage {
        Usage { requests: 1, ..Usage::of_part(prompt_tokens, completion_tokens) }
    }

    /// What another part of a request used that is counted already.
    pub fn of_part(prompt_tokens: u64, completion_tokens: u64) -> Usage {
        Usage { requests: 0, prompt_tokens, completion_tokens }
    }

    /// Tokens that were read and written.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// What a key used on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayUsage {
    /// The day, in UTC.
    pub day: jiff::civil::Date,
    /// What was used on it.
    #[serde(flatten)]
    pub used: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let refused = |change: &dyn Fn(&mut NewKey)| {
            let mut new = NewKey::named("laptop");
            change(&mut new);
            new.check(now).unwrap_err().to_string()
        };
        NewKey::named("laptop").check(now).unwrap();
        NewKey::named("моя 2").check(now).unwrap();
        for name in ["", " ", "a ", "12", "a\nb", &"x".repeat(65)] {
            assert!(refused(&|new| name.clone_into(&mut new.name)).contains("cannot be named"), "{name:?}");
        }
        assert!(refused(&|new| new.scopes.clear()).contains("no scope"));
        assert!(refused(&|new| new.expires = Some(now)).contains("in the past"));
        assert!(refused(&|new| new.limits.tokens = Some(0)).contains("no tokens"));
        assert!(refused(&|new| new.models = Some(Vec::new())).contains("empty list"));
    }

    #[test]
    fn scopes_are_read_by_their_names() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        assert!("chat".parse::<Scope>().unwrap_err().contains("inference, read, admin"));
    }
}
