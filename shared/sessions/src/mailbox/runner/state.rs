//! What is stored of a runner.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Tokens;
use crate::mailbox::Presence;

/// A runner, as its object keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Runner {
    /// The key of this object, as it stands in tokens.
    pub key: String,
    /// Whose runner it is.
    pub user_id: String,
    /// Its name, unique for its user.
    pub runner_id: String,
    /// Its machine, as far as anybody can tell one from another.
    pub instance_id: String,
    /// Raised by each registration.
    pub epoch: u64,
    /// What it proves itself with.
    pub tokens: Tokens,
    /// The process that counts; none before the first attach after a registration.
    pub attach: Option<Attachment>,
    /// Whether it is there.
    pub presence: Presence,
    /// It said that it goes, and has not been heard of since.
    pub detached: Option<Detached>,
    /// When it was last written to the list of runners that it was seen.
    pub seen_written_at: i64,
    /// The sessions that are bound to it, by id. A runner takes at most as many as it says (`max-sessions`), and sessions that ended go.
    pub sessions: BTreeMap<String, Bound>,
    /// When it was deleted.
    pub revoked_at: Option<i64>,
}

/// The process of a runner that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attachment {
    /// Shown by each of its requests.
    pub id: String,
    /// The process.
    pub process_id: String,
}

/// A runner that said that it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Detached {
    /// It comes back soon, in a new version.
    pub is_upgrade: bool,
    /// When it said so.
    pub at: i64,
}

/// A session of a runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bound {
    /// Counts how often the session said that it has work.
    pub rings: u64,
    /// The ring after which all of its work was fetched.
    pub fetched: u64,
    /// The change of presence that it was told last.
    pub told: u64,
}

impl Bound {
    /// Whether there may be work.
    pub const fn has_work(&self) -> bool {
        self.rings > self.fetched
    }
}

impl Runner {
    /// Sessions that may have work.
    pub fn with_work(&self) -> impl Iterator<Item = (&str, Bound)> {
        self.sessions.iter().filter(|(_, bound)| bound.has_work()).map(|(id, bound)| (id.as_str(), *bound))
    }

    /// Sessions that do not know yet whether the runner is there.
    pub fn untold(&self) -> impl Iterator<Item = &str> {
        let number = self.presence.number;
        self.sessions.iter().filter(move |(_, bound)| bound.told < number).map(|(id, _)| id.as_str())
    }
}
