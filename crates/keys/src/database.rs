//! The file: how it is opened, and the questions and changes in SQL.
//!
//! The file is in WAL mode, where readers and one writer do not wait for each other, also of several processes, and
//! `synchronous` is FULL: a commit returns when the system says that it is on disk. It belongs on a disk of this machine,
//! since WAL mode does not work over a network. Only its owner can read it.
//!
//! Left out: when what is asked (`keys.rs`, `recorder.rs`), and the tables (`schema.rs`).

use crate::schema::{Unfit, migrate};
use crate::{DayUsage, Error, Key, Limits, NewKey, Scope, Timestamp, Usage};
use jiff::tz::TimeZone;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before a file that was locked is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// Columns of a key, in the order in which [`key`] reads them.
const KEY: &str = "SELECT id, name, ending, scopes, created, last_used, expires, revoked, requests_per_minute,
    tokens_per_minute, tokens, models, (SELECT sum(requests) FROM usage WHERE key = id),
    (SELECT sum(prompt_tokens) FROM usage WHERE key = id), (SELECT sum(completion_tokens) FROM usage WHERE key = id)
    FROM keys";

/// One connection to the file.
pub(crate) struct Database {
    path: PathBuf,
    connection: Connection,
}

/// What is to be written of one request.
pub(crate) struct Record {
    pub key: i64,
    pub used: Usage,
    pub at: Timestamp,
}

impl Database {
    /// Opens the file, or makes it with its folder, and looks whether it is sound.
    pub fn open(path: &Path) -> Result<Database, Error> {
        let cannot = |error: std::io::Error| Error::File { path: path.into(), problem: error.to_string() };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(cannot)?;
        }
        // SQLite gives the files beside this one the same permissions.
        for_its_owner(path).map_err(cannot)?;
        let database = Database::connect(path)?;
        let sound = database.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match sound.map_err(|error| database.error(error))?.as_str() {
            "ok" => Ok(database),
            problem => Err(Error::Damaged { path: path.into(), problem: problem.replace('\n', " ") }),
        }
    }

    /// A connection to a file that was opened before.
    pub fn connect(path: &Path) -> Result<Database, Error> {
        let began = Instant::now();
        loop {
            match Database::try_to_connect(path) {
                // SQLite does not wait for whoever else reads the file before it changes the journal, which the first of several
                // that open a new file does.
                Err(Error::Locked(_)) if began.elapsed() < 3 * PATIENCE => std::thread::sleep(PAUSE),
                outcome => return outcome,
            }
        }
    }

    fn try_to_connect(path: &Path) -> Result<Database, Error> {
        let explain = |error| explain(path, error);
        let mut connection = Connection::open(path).map_err(explain)?;
        connection.busy_timeout(PATIENCE).map_err(explain)?;
        // Whose it is comes first: changing the journal of another program's database would write to it.
        match migrate(&mut connection) {
            Ok(()) => {}
            Err(Unfit::NotOurs) => return Err(Error::NotOurs(path.into())),
            Err(Unfit::Newer(found, known)) => return Err(Error::Newer { path: path.into(), found, known }),
            Err(Unfit::Sql(error)) => return Err(explain(error)),
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(explain)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(explain)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(explain)?;
        // macOS returns from its usual call before the disk has the data.
        connection.pragma_update(None, "fullfsync", true).map_err(explain)?;
        Ok(Database { path: path.into(), connection })
    }

    /// Adds a key.
    pub fn insert(&self, new: &NewKey, hash: &[u8; 32], ending: &str, now: Timestamp) -> Result<Key, Error> {
        let Limits { requests_per_minute, tokens_per_minute, tokens } = new.limits;
        let added = self.connection.execute(
            "INSERT INTO keys (name, hash, ending, scopes, created, expires, requests_per_minute, tokens_per_minute,
                tokens, models) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                new.name,
                hash,
                ending,
                list(new.scopes.iter().map(|scope| scope.name())),
                now.as_second(),
                new.expires.map(Timestamp::as_second),
                requests_per_minute.map(stored),
                tokens_per_minute.map(stored),
                tokens.map(stored),
                new.models.as_ref().map(|models| list(models.iter().map(String::as_str))),
            ],
        );
        match added {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(Error::NameTaken(new.name.clone()))
            }
            Err(error) => Err(self.error(error)),
            Ok(_) => self.one("WHERE id = ?1", self.connection.last_insert_rowid())?.ok_or_else(|| Error::Damaged {
                path: self.path.clone(),
                problem: "a key that was written is not there".into(),
            }),
        }
    }

    /// All keys in the order in which they were created.
    pub fn all(&self) -> Result<Vec<Key>, Error> {
        let read =
            || self.connection.prepare(&format!("{KEY} ORDER BY id"))?.query_map([], key)?.collect::<Result<_, _>>();
        read().map_err(|error| self.error(error))
    }

    /// The key whose secret has this hash.
    pub fn by_hash(&self, hash: &[u8; 32]) -> Result<Option<Key>, Error> {
        self.one("WHERE hash = ?1", hash)
    }

    /// The key of this number, or the one in force of this name, or else the last one revoked of it.
    pub fn named(&self, id_or_name: &str) -> Result<Option<Key>, Error> {
        match id_or_name.parse::<i64>() {
            Ok(id) => self.one("WHERE id = ?1", id),
            Err(_) => self.one("WHERE name = ?1 ORDER BY revoked IS NULL DESC, id DESC LIMIT 1", id_or_name),
        }
    }

    /// Marks a key as revoked. Says whether it was in force.
    pub fn revoke(&self, id: i64, now: Timestamp) -> Result<bool, Error> {
        let change = "UPDATE keys SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL";
        self.connection
            .execute(change, params![id, now.as_second()])
            .map_or_else(|error| Err(self.error(error)), |n| Ok(n > 0))
    }

    /// What a key used on each day on which it used anything, the last day first.
    pub fn days(&self, id: i64) -> Result<Vec<DayUsage>, Error> {
        let ask = "SELECT day, requests, prompt_tokens, completion_tokens FROM usage WHERE key = ?1 ORDER BY day DESC";
        let read = || self.connection.prepare(ask)?.query_map([id], day)?.collect::<Result<_, _>>();
        read().map_err(|error| self.error(error))
    }

    /// Writes what requests used: all of it is on disk when this returns, or none.
    pub fn add(&mut self, records: &[Record]) -> Result<(), Error> {
        let mut write = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for Record { key, used, at } in records {
                let add = "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key, day) DO UPDATE SET
                    requests = requests + excluded.requests, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
                    completion_tokens = completion_tokens + excluded.completion_tokens";
                transaction.prepare_cached(add)?.execute(params![
                    key,
                    at.as_second().div_euclid(86_400),
                    stored(used.requests),
                    stored(used.prompt_tokens),
                    stored(used.completion_tokens)
                ])?;
                let touch = "UPDATE keys SET last_used = max(ifnull(last_used, ?2), ?2) WHERE id = ?1";
                transaction.prepare_cached(touch)?.execute(params![key, at.as_second()])?;
            }
            transaction.commit()
        };
        write().map_err(|error| self.error(error))
    }

    fn one(&self, which: &str, argument: impl rusqlite::ToSql) -> Result<Option<Key>, Error> {
        let read = || self.connection.prepare_cached(&format!("{KEY} {which}"))?.query_row([argument], key).optional();
        read().map_err(|error| self.error(error))
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        explain(&self.path, error)
    }
}

/// Makes the file, if it is not there, and lets nobody but its owner read it.
fn for_its_owner(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let permissions = options.mode(0o600).open(path)?.metadata()?.permissions();
        if permissions.mode() & 0o077 != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    options.open(path).map(drop)
}

/// What an error of SQLite means for the person who has the file.
fn explain(path: &Path, error: rusqlite::Error) -> Error {
    let (path, problem) = (path.to_owned(), error.to_string());
    match (error.sqlite_error_code(), &error) {
        (Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt), _) => Error::Damaged { path, problem },
        (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => Error::Locked(path),
        (Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied), _) => Error::File { path, problem },
        (_, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)) => {
            Error::Damaged { path, problem }
        }
        _ => Error::Write { path, problem },
    }
}

fn key(row: &Row) -> Result<Key, rusqlite::Error> {
    let scopes: Vec<String> = parsed(row, 3)?;
    let scopes = scopes.iter().map(|name| name.parse().map_err(|problem: String| odd(3, problem)));
    let models = row.get::<_, Option<String>>(11)?.map(|_| parsed(row, 11)).transpose()?;
    let time = |column| row.get::<_, Option<i64>>(column)?.map(|seconds| timestamp(column, seconds)).transpose();
    let amount = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(read));
    let sum = |column| Ok::<_, rusqlite::Error>(amount(column)?.unwrap_or_default());
    Ok(Key {
        id: row.get(0)?,
        name: row.get(1)?,
        ending: row.get(2)?,
        scopes: scopes.collect::<Result<BTreeSet<Scope>, _>>()?,
        created: timestamp(4, row.get(4)?)?,
        last_used: time(5)?,
        expires: time(6)?,
        revoked: time(7)?,
        limits: Limits { requests_per_minute: amount(8)?, tokens_per_minute: amount(9)?, tokens: amount(10)? },
        models,
        used: Usage { requests: sum(12)?, prompt_tokens: sum(13)?, completion_tokens: sum(14)? },
    })
}

fn day(row: &Row) -> Result<DayUsage, rusqlite::Error> {
    let seconds = row.get::<_, i64>(0)?.saturating_mul(86_400);
    let day = timestamp(0, seconds)?.to_zoned(TimeZone::UTC).date();
    let amount = |column| row.get(column).map(read);
    Ok(DayUsage { day, used: Usage { requests: amount(1)?, prompt_tokens: amount(2)?, completion_tokens: amount(3)? } })
}

fn timestamp(column: usize, seconds: i64) -> Result<Timestamp, rusqlite::Error> {
    Timestamp::from_second(seconds).map_err(|error| odd(column, error.to_string()))
}

fn parsed<T: serde::de::DeserializeOwned>(row: &Row, column: usize) -> Result<T, rusqlite::Error> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| odd(column, error.to_string()))
}

/// A value that we do not write.
fn odd(column: usize, problem: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, problem.into())
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(items).to_string()
}

/// A number as SQLite can hold it. No key comes near the end of its range.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No test can pull the plug, but SQLite says what it would survive.
    #[test]
    fn a_commit_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("keys.sqlite")).unwrap();
        let setting = |name| database.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((setting("synchronous"), setting("fullfsync"), setting("foreign_keys")), (2, 1, 1));
        let journal: String = database.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(journal, "wal");
    }
}
