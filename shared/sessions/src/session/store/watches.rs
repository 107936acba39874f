//! What a session observes, and what waits to be told of it (pg-sync.md 4.9): a row a subscription.

use database::Param;
use database::local::{Sql, SqlError};
use pg_sync::bridge::Source;
use pg_sync::wake::Wake;
use serde::{Deserialize, Serialize};

use super::{text, unreadable};
use crate::pg_sync::Waiting;

/// What a subscription is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What is observed.
    pub source: Source,
    /// What wakes the session.
    pub wake: Wake,
    /// The name under which its owner reads the log (pg-sync.md 4.14); none in rows of before that was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<String>,
    /// When it was asked for, in milliseconds since 1970.
    pub created_at: i64,
}

/// The rows of subscriptions.
#[derive(Clone, Debug)]
pub struct Watches<S>(pub S);

impl<S: Sql> Watches<S> {
    /// What a subscription is for.
    pub fn observation(&self, id: &str) -> Result<Option<Observation>, SqlError> {
        let found = text(&self.0, "SELECT observation FROM watches WHERE id = ?", &[Param::Text(id)])?;
        found.map(|found| serde_json::from_str(&found).map_err(unreadable)).transpose()
    }

    /// Stores what a subscription is for. What waits to be told of it stays.
    pub fn put(&self, id: &str, observation: &Observation) -> Result<(), SqlError> {
        let observation = serde_json::to_string(observation).map_err(unreadable)?;
        let put = "INSERT INTO watches (id, observation) VALUES (?, ?) ON CONFLICT(id) DO UPDATE SET observation = excluded.observation";
        self.0.execute(put, &[Param::Text(id), Param::Text(&observation)])
    }

    /// What waits to be told of it.
    pub fn waiting(&self, id: &str) -> Result<Option<Waiting>, SqlError> {
        let found = text(&self.0, "SELECT waiting FROM watches WHERE id = ?", &[Param::Text(id)])?;
        found.map(|found| serde_json::from_str(&found).map_err(unreadable)).transpose()
    }

    /// Stores what waits to be told of it.
    pub fn put_waiting(&self, id: &str, waiting: &Waiting) -> Result<(), SqlError> {
        let waiting = serde_json::to_string(waiting).map_err(unreadable)?;
        self.0.execute("UPDATE watches SET waiting = ? WHERE id = ?", &[Param::Text(&waiting), Param::Text(id)])
    }

    /// Removes a subscription.
    pub fn remove(&self, id: &str) -> Result<(), SqlError> {
        self.0.execute("DELETE FROM watches WHERE id = ?", &[Param::Text(id)])
    }
}
