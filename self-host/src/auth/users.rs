//! The file of stored users and their tokens (self-host.md 6.1). Command line and server both have it open.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use database::local_sqlite::Journal;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::token::{ID_CHARS, PREFIX};
use crate::host::{now_ms, random_uuid};

/// Bytes of a token's secret.
const SECRET_BYTES: usize = 32;

/// The digits of an id.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS users (user_id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, email TEXT,
        created_at INTEGER NOT NULL, disabled_at INTEGER);
    CREATE TABLE IF NOT EXISTS tokens (token_id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (user_id),
        hash BLOB NOT NULL, label TEXT, created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER,
        last_used_day TEXT);
    CREATE INDEX IF NOT EXISTS tokens_of_user ON tokens (user_id);";

/// What went wrong with stored users.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersError {
    /// Somebody has the name or the id already.
    #[error("there is a user {0} already")]
    Exists(String),
    /// Nobody has the name.
    #[error("there is no user {0}")]
    Unknown(String),
    /// The user has no such token.
    #[error("the user has no token {0}")]
    UnknownToken(String),
    /// The system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
    /// What SQLite says.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// The file.
    #[error("{path}: {cause}", path = .0.display(), cause = .1)]
    File(std::path::PathBuf, std::io::Error),
}

/// The open file.
pub(crate) struct Users(Connection);

/// A token that was just made: the only time that it is seen.
#[derive(Debug, Serialize)]
pub(crate) struct NewToken {
    /// Its id.
    pub(crate) token_id: String,
    /// The token itself.
    pub(crate) token: String,
}

/// A user who is to be added.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewUser {
    pub(crate) username: String,
    pub(crate) user_id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) expires_at: Option<i64>,
}

/// A user with tokens, as they are listed.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) user_id: String,
    pub(crate) username: String,
    pub(crate) email: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) disabled_at: Option<i64>,
    pub(crate) tokens: Vec<ListedToken>,
}

/// A token without its secret.
#[derive(Debug, Serialize)]
pub(crate) struct ListedToken {
    pub(crate) token_id: String,
    pub(crate) label: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) last_used_day: Option<String>,
}

/// A token as the server checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) token_id: String,
    pub(crate) hash: Vec<u8>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) user_id: String,
    pub(crate) username: String,
    pub(crate) email: Option<String>,
}

/// What is stored of a token.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn make_token() -> Result<NewToken, UsersError> {
    let mut bytes = [0; ID_CHARS + SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| UsersError::Random(error.to_string()))?;
    let (id, secret) = bytes.split_at(ID_CHARS);
    let digit = |byte: &u8| DIGITS.get(usize::from(*byte) % DIGITS.len()).copied().map(char::from);
    let token_id: String = id.iter().filter_map(digit).collect();
    let token = format!("{PREFIX}{token_id}_{}", URL_SAFE_NO_PAD.encode(secret));
    Ok(NewToken { token_id, token })
}

impl Users {
    /// Opens the file, or makes it. Its journal stays as it is: a verb does not know whether locks hold here.
    pub(crate) fn open(path: &Path) -> Result<Self, UsersError> {
        Self::connect(path, None)
    }

    /// The same for a server, which knows: the file has this journal from then on.
    pub(super) fn open_with(path: &Path, journal: Journal) -> Result<Self, UsersError> {
        Self::connect(path, Some(journal))
    }

    fn connect(path: &Path, journal: Option<Journal>) -> Result<Self, UsersError> {
        let is_new = !path.exists();
        if is_new {
            let made = File::options().create(true).append(true).mode(0o600).open(path);
            made.map_err(|cause| UsersError::File(path.to_owned(), cause))?;
        }
        let connect = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY)?;
            let mode = match journal {
                Some(Journal::Rollback) => Some("DELETE"),
                Some(Journal::WriteAhead) => Some("WAL"),
                None => is_new.then_some("WAL"),
            };
            if let Some(mode) = mode {
                connection.pragma_update(None, "journal_mode", mode)?;
            }
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(SCHEMA)?;
            Ok(Self(connection))
        };
        let failed = |error: rusqlite::Error| UsersError::File(path.to_owned(), std::io::Error::other(error));
        connect().map_err(failed)
    }

    /// Adds a user with a token.
    pub(crate) fn add(&mut self, user: &NewUser) -> Result<(String, NewToken), UsersError> {
        let id = user.user_id.clone().unwrap_or_else(|| random_uuid().to_string());
        let token = make_token()?;
        let transaction = self.0.transaction()?;
        let taken = transaction.query_row(
            "SELECT 1 FROM users WHERE username = ? OR user_id = ?",
            params![user.username, id],
            |_| Ok(()),
        );
        if taken.optional()?.is_some() {
            return Err(UsersError::Exists(user.username.clone()));
        }
        transaction.execute(
            "INSERT INTO users (user_id, username, email, created_at) VALUES (?, ?, ?, ?)",
            params![id, user.username, user.email, now_ms()],
        )?;
        insert(&transaction, &id, &token, user.label.as_deref(), user.expires_at)?;
        transaction.commit()?;
        Ok((id, token))
    }

    fn id_of(&self, username: &str) -> Result<String, UsersError> {
        let id = self.0.query_row("SELECT user_id FROM users WHERE username = ?", [username], |row| row.get(0));
        id.optional()?.ok_or_else(|| UsersError::Unknown(username.to_owned()))
    }

    /// Adds a token.
    pub(crate) fn add_token(
        &mut self,
        username: &str,
        label: Option<&str>,
        expires_at: Option<i64>,
    ) -> Result<NewToken, UsersError> {
        let id = self.id_of(username)?;
        let token = make_token()?;
        insert(&self.0, &id, &token, label, expires_at)?;
        Ok(token)
    }

    /// Puts a new token in the place of one, or of all. What it replaces ends `grace` milliseconds from now.
    pub(crate) fn rotate(&mut self, username: &str, of: Option<&str>, grace_ms: i64) -> Result<NewToken, UsersError> {
        let id = self.id_of(username)?;
        let token = make_token()?;
        let now = now_ms();
        let transaction = self.0.transaction()?;
        let sql = "UPDATE tokens SET expires_at = MIN(COALESCE(expires_at, ?1), ?1) \
            WHERE user_id = ?2 AND revoked_at IS NULL AND (?3 IS NULL OR token_id = ?3)";
        let ended = transaction.execute(sql, params![now + grace_ms, id, of])?;
        if let (Some(of), 0) = (of, ended) {
            return Err(UsersError::UnknownToken(of.to_owned()));
        }
        let label: Option<String> = match of {
            Some(of) => transaction.query_row("SELECT label FROM tokens WHERE token_id = ?", [of], |row| row.get(0))?,
            None => None,
        };
        insert(&transaction, &id, &token, label.as_deref(), None)?;
        transaction.execute("UPDATE users SET disabled_at = NULL WHERE user_id = ?", [&id])?;
        transaction.commit()?;
        Ok(token)
    }

    /// Revokes a token, or all of them and the user. Gives how many tokens that were.
    pub(crate) fn revoke(&mut self, username: &str, token: Option<&str>) -> Result<usize, UsersError> {
        let id = self.id_of(username)?;
        let transaction = self.0.transaction()?;
        let sql = "UPDATE tokens SET revoked_at = ?1 WHERE user_id = ?2 AND revoked_at IS NULL AND (?3 IS NULL OR token_id = ?3)";
        let revoked = transaction.execute(sql, params![now_ms(), id, token])?;
        match token {
            Some(token) if revoked == 0 => return Err(UsersError::UnknownToken(token.to_owned())),
            Some(_) => {}
            None => {
                transaction.execute("UPDATE users SET disabled_at = ? WHERE user_id = ?", params![now_ms(), id])?;
            }
        }
        transaction.commit()?;
        Ok(revoked)
    }

    /// Forgets a user, by id, and all tokens. Gives how many tokens that were.
    pub(crate) fn delete(&mut self, user_id: &str) -> Result<usize, UsersError> {
        let transaction = self.0.transaction()?;
        let tokens = transaction.execute("DELETE FROM tokens WHERE user_id = ?", [user_id])?;
        transaction.execute("DELETE FROM users WHERE user_id = ?", [user_id])?;
        transaction.commit()?;
        Ok(tokens)
    }

    /// All users and their tokens.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, UsersError> {
        let mut statement = self.0.prepare(
            "SELECT user_id, username, email, created_at, disabled_at FROM users ORDER BY created_at, username",
        )?;
        let users = statement.query_map((), |row| {
            Ok(Listed {
                user_id: row.get(0)?,
                username: row.get(1)?,
                email: row.get(2)?,
                created_at: row.get(3)?,
                disabled_at: row.get(4)?,
                tokens: Vec::new(),
            })
        })?;
        let mut users: Vec<Listed> = users.collect::<Result<_, _>>()?;
        let mut statement = self.0.prepare(
            "SELECT token_id, label, created_at, expires_at, revoked_at, last_used_day FROM tokens \
             WHERE user_id = ? ORDER BY created_at, token_id",
        )?;
        for user in &mut users {
            let tokens = statement.query_map([&user.user_id], |row| {
                Ok(ListedToken {
                    token_id: row.get(0)?,
                    label: row.get(1)?,
                    created_at: row.get(2)?,
                    expires_at: row.get(3)?,
                    revoked_at: row.get(4)?,
                    last_used_day: row.get(5)?,
                })
            })?;
            user.tokens = tokens.collect::<Result<_, _>>()?;
        }
        Ok(users)
    }

    /// The tokens that count now.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, UsersError> {
        let mut statement = self.0.prepare_cached(
            "SELECT token_id, hash, expires_at, users.user_id, username, email FROM tokens \
             JOIN users ON users.user_id = tokens.user_id \
             WHERE revoked_at IS NULL AND disabled_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
        )?;
        let entries = statement.query_map([now_ms()], |row| {
            Ok(Entry {
                token_id: row.get(0)?,
                hash: row.get(1)?,
                expires_at: row.get(2)?,
                user_id: row.get(3)?,
                username: row.get(4)?,
                email: row.get(5)?,
            })
        })?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// Notes that a token was used on a day.
    pub(crate) fn note_use(&self, token_id: &str, day: &str) -> Result<(), UsersError> {
        let sql = "UPDATE tokens SET last_used_day = ?1 WHERE token_id = ?2 AND last_used_day IS NOT ?1";
        self.0.prepare_cached(sql)?.execute([day, token_id])?;
        Ok(())
    }
}

fn insert(
    connection: &Connection,
    user_id: &str,
    token: &NewToken,
    label: Option<&str>,
    expires_at: Option<i64>,
) -> Result<(), UsersError> {
    connection.execute(
        "INSERT INTO tokens (token_id, user_id, hash, label, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![token.token_id, user_id, hash(&token.token), label, now_ms(), expires_at],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::token;
    use super::*;

    fn users() -> (tempfile::TempDir, Users) {
        let folder = tempfile::tempdir().unwrap();
        let users = Users::open(&folder.path().join("self-host.sqlite")).unwrap();
        (folder, users)
    }

    fn ann() -> NewUser {
        NewUser { username: "ann".into(), email: Some("ann@example.org".into()), ..NewUser::default() }
    }

    fn ids(users: &Users) -> Vec<String> {
        users.entries().unwrap().into_iter().map(|entry| entry.token_id).collect()
    }

    #[test]
    fn a_token_is_seen_once_and_stored_as_a_hash() {
        let (folder, mut users) = users();
        let (_, new) = users.add(&ann()).unwrap();
        assert_eq!(token::id(&new.token), Some(&*new.token_id));
        let secret = new.token.splitn(3, '_').last().unwrap();
        assert!(new.token.len() == 4 + 8 + 1 + 43 && !new.token.contains('.'));
        let [entry] = &*users.entries().unwrap() else { panic!("one token") };
        assert_eq!(entry.hash, hash(&new.token));
        drop(users);
        for file in folder.path().read_dir().unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
    }

    #[test]
    fn names_are_taken_once() {
        let (_folder, mut users) = users();
        users.add(&ann()).unwrap();
        assert!(matches!(users.add(&ann()), Err(UsersError::Exists(_))));
        assert!(matches!(users.add_token("bob", None, None), Err(UsersError::Unknown(_))));
    }

    #[test]
    fn tokens_end_when_they_are_revoked_rotated_or_too_old() {
        let (_folder, mut users) = users();
        let (_, first) = users.add(&ann()).unwrap();
        let second = users.add_token("ann", Some("phone"), None).unwrap();
        users.add_token("ann", None, Some(now_ms() - 1)).unwrap();
        assert_eq!(ids(&users).len(), 2, "one is too old");
        assert_eq!(users.revoke("ann", Some(&first.token_id)).unwrap(), 1);
        assert_eq!(ids(&users), [&*second.token_id]);
        assert!(matches!(users.revoke("ann", Some(&first.token_id)), Err(UsersError::UnknownToken(_))));
        let third = users.rotate("ann", Some(&second.token_id), 0).unwrap();
        assert_eq!(ids(&users), [&*third.token_id]);
        let fourth = users.rotate("ann", None, 60_000).unwrap();
        let mut both = [third.token_id, fourth.token_id];
        both.sort();
        let mut now = ids(&users);
        now.sort();
        assert_eq!(now, both, "the grace is not over");
        let labels: Vec<_> =
            users.list().unwrap().remove(0).tokens.into_iter().filter_map(|token| token.label).collect();
        assert_eq!(labels, ["phone", "phone"], "what takes its place is for the same device");
        assert_eq!(users.revoke("ann", None).unwrap(), 4);
        assert!(ids(&users).is_empty() && users.list().unwrap().remove(0).disabled_at.is_some());
    }
}
