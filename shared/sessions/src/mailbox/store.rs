//! Rows of desks and of runners. Whoever changes one calls this within the transaction that everything else of the change is part of.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::desk::{Desk, Effect, Files, Fingerprint};
use super::limits;
use super::runner::Runner;

const TABLES: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS mailbox (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS mailbox_items (item_id TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS mailbox_events (seq INTEGER PRIMARY KEY, id TEXT, hash TEXT)",
    "CREATE TABLE IF NOT EXISTS mailbox_notices (id TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS mailbox_files (digest TEXT PRIMARY KEY, size INTEGER, at INTEGER, named INTEGER) \
     WITHOUT ROWID",
];

/// The rows of one object.
#[derive(Clone, Copy, Debug)]
pub struct MailboxRows<'a, S>(pub &'a S);

impl<S: Sql> MailboxRows<'_, S> {
    /// Makes the tables, where they are missing.
    ///
    /// # Errors
    /// What the database says.
    pub fn create(&self) -> Result<(), SqlError> {
        TABLES.iter().try_for_each(|table| self.0.execute(table, &[]))
    }

    /// Whether the object ever had such rows. Looking does not write: whoever guesses keys leaves nothing behind.
    ///
    /// # Errors
    /// What the database says.
    pub fn exist(&self) -> Result<bool, SqlError> {
        Ok(self.text("SELECT name FROM sqlite_master WHERE name = 'mailbox'", &[])?.is_some())
    }

    /// The desk of a session.
    ///
    /// # Errors
    /// What the database says, or a row that cannot be read.
    pub fn desk(&self) -> Result<Option<Desk>, SqlError> {
        self.value("desk")
    }

    /// Stores a desk and what follows from its change.
    ///
    /// # Errors
    /// What the database says.
    pub fn put_desk(&self, desk: &Desk, effects: &[Effect]) -> Result<(), SqlError> {
        self.put("desk", desk)?;
        for effect in effects {
            match effect {
                Effect::PutBody { item_id, body } => {
                    let row = [Param::Text(item_id), Param::Text(body)];
                    self.0.execute("INSERT OR REPLACE INTO mailbox_items (item_id, body) VALUES (?, ?)", &row)?;
                }
                Effect::DropBody(item_id) => {
                    self.0.execute("DELETE FROM mailbox_items WHERE item_id = ?", &[Param::Text(item_id)])?;
                }
                Effect::PutFingerprint { seq, fingerprint } => {
                    let row = [number(*seq), Param::Text(&fingerprint.id), Param::Text(&fingerprint.hash)];
                    self.0.execute("INSERT OR REPLACE INTO mailbox_events (seq, id, hash) VALUES (?, ?, ?)", &row)?;
                    let oldest = number(seq.saturating_sub(limits::KNOWN_EVENTS));
                    self.0.execute("DELETE FROM mailbox_events WHERE seq < ?", &[oldest])?;
                }
                Effect::DropFingerprints => self.0.execute("DELETE FROM mailbox_events", &[])?,
                Effect::Ring | Effect::Tell(_) => {}
            }
        }
        Ok(())
    }

    /// The body of an item.
    ///
    /// # Errors
    /// What the database says.
    pub fn body(&self, item_id: &str) -> Result<Option<String>, SqlError> {
        self.text("SELECT body FROM mailbox_items WHERE item_id = ?", &[Param::Text(item_id)])
    }

    /// What is known of the events with these numbers, both included.
    ///
    /// # Errors
    /// What the database says.
    pub fn fingerprints(&self, from: u64, to: u64) -> Result<BTreeMap<u64, Fingerprint>, SqlError> {
        let mut found = BTreeMap::new();
        let statement = "SELECT seq, id, hash FROM mailbox_events WHERE seq BETWEEN ? AND ?";
        self.0.query(statement, &[number(from), number(to)], &mut |row| {
            let text = |column| Ok::<_, SqlError>(row.text(column)?.unwrap_or_default().into_owned());
            let fingerprint = Fingerprint { id: text(1)?, hash: text(2)? };
            found.insert(row.int(0)?.and_then(|seq| u64::try_from(seq).ok()).unwrap_or_default(), fingerprint);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The runner of its object.
    ///
    /// # Errors
    /// What the database says, or a row that cannot be read.
    pub fn runner(&self) -> Result<Option<Runner>, SqlError> {
        self.value("runner")
    }

    /// Stores a runner.
    ///
    /// # Errors
    /// What the database says.
    pub fn put_runner(&self, runner: &Runner) -> Result<(), SqlError> {
        self.put("runner", runner)
    }

    /// Remembers the id of a report; false when it was known. Those of a day ago are forgotten.
    ///
    /// # Errors
    /// What the database says.
    pub fn note_notice(&self, id: &str, now: i64) -> Result<bool, SqlError> {
        let oldest = Param::Int(now.saturating_sub(limits::NOTICE_KNOWN_MS));
        self.0.execute("DELETE FROM mailbox_notices WHERE at <= ?", &[oldest])?;
        if self.text("SELECT id FROM mailbox_notices WHERE id = ?", &[Param::Text(id)])?.is_some() {
            return Ok(false);
        }
        let row = [Param::Text(id), Param::Int(now)];
        self.0.execute("INSERT INTO mailbox_notices (id, at) VALUES (?, ?)", &row)?;
        Ok(true)
    }

    /// Whether the id of a report is known from the last day.
    ///
    /// # Errors
    /// What the database says.
    pub fn knows_notice(&self, id: &str, now: i64) -> Result<bool, SqlError> {
        let oldest = Param::Int(now.saturating_sub(limits::NOTICE_KNOWN_MS));
        let row = [Param::Text(id), oldest];
        Ok(self.text("SELECT id FROM mailbox_notices WHERE id = ? AND at > ?", &row)?.is_some())
    }

    /// How many files are kept, and how large they are together.
    ///
    /// # Errors
    /// What the database says.
    pub fn files(&self) -> Result<Files, SqlError> {
        let mut files = Files::default();
        self.0.query("SELECT COUNT(*), SUM(size) FROM mailbox_files", &[], &mut |row| {
            let count = |column| Ok::<_, SqlError>(row.int(column)?.and_then(|number| u64::try_from(number).ok()));
            files = Files { count: count(0)?.unwrap_or_default(), bytes: count(1)?.unwrap_or_default() };
            Ok(ControlFlow::Break(()))
        })?;
        Ok(files)
    }

    /// Whether a file with this digest is kept.
    ///
    /// # Errors
    /// What the database says.
    pub fn has_file(&self, digest: &str) -> Result<bool, SqlError> {
        let row = [Param::Text(digest)];
        Ok(self.text("SELECT digest FROM mailbox_files WHERE digest = ?", &row)?.is_some())
    }

    /// Notes that a file is kept, which no event names yet.
    ///
    /// # Errors
    /// What the database says.
    pub fn put_file(&self, digest: &str, size: u64, now: i64) -> Result<(), SqlError> {
        let row = [Param::Text(digest), number(size), Param::Int(now)];
        self.0.execute("INSERT OR REPLACE INTO mailbox_files (digest, size, at, named) VALUES (?, ?, ?, 0)", &row)
    }

    /// An event names a file: from now on it stays. False when there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn name_file(&self, digest: &str) -> Result<bool, SqlError> {
        self.0.execute("UPDATE mailbox_files SET named = 1 WHERE digest = ?", &[Param::Text(digest)])?;
        self.has_file(digest)
    }

    /// Forgets a file.
    ///
    /// # Errors
    /// What the database says.
    pub fn drop_file(&self, digest: &str) -> Result<(), SqlError> {
        self.0.execute("DELETE FROM mailbox_files WHERE digest = ?", &[Param::Text(digest)])
    }

    /// Files that no event names and that were stored before this time.
    ///
    /// # Errors
    /// What the database says.
    pub fn unnamed_files(&self, before: i64) -> Result<Vec<String>, SqlError> {
        self.digests("SELECT digest FROM mailbox_files WHERE named = 0 AND at < ?", &[Param::Int(before)])
    }

    /// All files.
    ///
    /// # Errors
    /// What the database says.
    pub fn all_files(&self) -> Result<Vec<String>, SqlError> {
        if self.exist()? { self.digests("SELECT digest FROM mailbox_files", &[]) } else { Ok(Vec::new()) }
    }

    fn digests(&self, statement: &str, params: &[Param<'_>]) -> Result<Vec<String>, SqlError> {
        let mut found = Vec::new();
        self.0.query(statement, params, &mut |row| {
            found.extend(row.text(0)?.map(std::borrow::Cow::into_owned));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The last reports of a runner, as its user is shown them, oldest first.
    ///
    /// # Errors
    /// What the database says, or a row that cannot be read.
    pub fn notices(&self) -> Result<Vec<serde_json::Value>, SqlError> {
        Ok(self.value("notices")?.unwrap_or_default())
    }

    /// Stores them.
    ///
    /// # Errors
    /// What the database says.
    pub fn put_notices(&self, notices: &[serde_json::Value]) -> Result<(), SqlError> {
        self.put("notices", &notices)
    }

    fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SqlError> {
        if !self.exist()? {
            return Ok(None);
        }
        let text = self.text("SELECT v FROM mailbox WHERE k = ?", &[Param::Text(key)])?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)
    }

    fn put(&self, key: &str, value: &impl Serialize) -> Result<(), SqlError> {
        let text = serde_json::to_string(value).map_err(unreadable)?;
        let row = [Param::Text(key), Param::Text(&text)];
        self.0.execute("INSERT OR REPLACE INTO mailbox (k, v) VALUES (?, ?)", &row)
    }

    fn text(&self, statement: &str, params: &[Param<'_>]) -> Result<Option<String>, SqlError> {
        let mut found = None;
        self.0.query(statement, params, &mut |row| {
            found = row.text(0)?.map(std::borrow::Cow::into_owned);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}

fn number(number: u64) -> Param<'static> {
    Param::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn unreadable(error: impl std::fmt::Display) -> SqlError {
    SqlError::Other(format!("unreadable row: {error}"))
}
