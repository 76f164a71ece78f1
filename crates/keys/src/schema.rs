//! What the file's tables are, and how a file of an earlier version gets them.
//!
//! `user_version` of the file is the number of migrations that it has. A change of the tables is one more migration at the
//! end of the list, and those that have been released are never edited. Every other subject that moves into the file
//! appends its own.

use rusqlite::{Connection, TransactionBehavior};

/// Says in the file's header whose it is: "Picn".
const APPLICATION: i32 = 0x5069_636e;

/// Times are seconds since 1970, days are days since 1970, both in UTC. `scopes` and `models` are lists in JSON.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE keys (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        hash BLOB NOT NULL UNIQUE,
        ending TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created INTEGER NOT NULL,
        last_used INTEGER,
        expires INTEGER,
        revoked INTEGER,
        requests_per_minute INTEGER,
        tokens_per_minute INTEGER,
        tokens INTEGER,
        models TEXT
    ) STRICT;
    CREATE UNIQUE INDEX keys_in_force ON keys (name) WHERE revoked IS NULL;
    CREATE TABLE usage (
        key INTEGER NOT NULL REFERENCES keys (id),
        day INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        PRIMARY KEY (key, day)
    ) STRICT, WITHOUT ROWID;
"];

/// Why a database cannot be used.
pub(crate) enum Unfit {
    /// It is another program's.
    NotOurs,
    /// Its version is this, and the last that is known is that.
    Newer(i64, i64),
    /// What SQLite said.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Unfit {
        Unfit::Sql(error)
    }
}

/// Brings a new file, or one of an earlier version, to the present tables: all of them or none.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), Unfit> {
    // In a transaction too, or it would see half of what another process does at this moment.
    let before = connection.transaction()?;
    if is_current(&before)? {
        return Ok(());
    }
    drop(before);
    // Who comes second waits here, and finds it done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !is_current(&transaction)? {
        let version = usize::try_from(version(&transaction)?).unwrap_or_default();
        for migration in &MIGRATIONS[version..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    }
    Ok(transaction.commit()?)
}

/// Whether nothing is to be done. Refuses what must not be touched.
fn is_current(connection: &Connection) -> Result<bool, Unfit> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (version, known) = (version(connection)?, MIGRATIONS.len() as i64);
    if application != APPLICATION && (application != 0 || version != 0 || tables > 0) {
        return Err(Unfit::NotOurs);
    }
    if version > known {
        return Err(Unfit::Newer(version, known));
    }
    Ok(version == known)
}

fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_gets_everything_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate(&mut connection).is_ok() && migrate(&mut connection).is_ok());
        assert_eq!(version(&connection).unwrap(), MIGRATIONS.len() as i64);
        connection.prepare("SELECT day FROM usage JOIN keys ON key = id").unwrap();
    }

    #[test]
    fn what_is_not_ours_or_newer_is_left_alone() {
        let mut other = Connection::open_in_memory().unwrap();
        other.execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
        assert!(matches!(migrate(&mut other), Err(Unfit::NotOurs)));
        let mut newer = Connection::open_in_memory().unwrap();
        assert!(migrate(&mut newer).is_ok());
        newer.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(migrate(&mut newer), Err(Unfit::Newer(99, 1))));
    }
}
