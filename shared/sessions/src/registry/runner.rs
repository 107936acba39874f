//! Runners: machines of users (agents.md 7).

use serde_json::{Value, json};

/// A registered runner. Its secrets are in clear where they were asked for, and absent otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its name, unique for its user.
    pub runner_id: String,
    /// Whose it is.
    pub user_id: String,
    /// Address of its agent server, without a slash at its end.
    pub base_url: String,
    /// `online` or `offline`.
    pub status: String,
    /// How many sessions it takes at once; at least 1.
    pub max_sessions: i64,
    /// How many it has.
    pub active_sessions: i64,
    /// Milliseconds since 1970.
    pub last_heartbeat_at: i64,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// The directory under which sessions work.
    pub workspace_dir: Option<String>,
    /// Bearer token of the agent server.
    pub agent_token: Option<String>,
    /// Cloudflare Access service token: its id.
    pub access_client_id: Option<String>,
    /// Cloudflare Access service token: its secret.
    pub access_client_secret: Option<String>,
    /// Key of signed requests, base64 of 32 bytes.
    pub signing_key: Option<String>,
    /// What is known of one that calls us; none for one that is called.
    pub mailbox: Option<MailboxRunner>,
}

/// A runner that calls us (session-mailbox.md 7.1), as far as the list of runners knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct MailboxRunner {
    /// The name of its object.
    pub key: String,
    /// Its machine.
    pub instance_id: String,
    /// How often it was registered.
    pub epoch: i64,
}

/// The address in the row of a runner that nobody calls.
pub(super) const NO_ADDRESS: &str = "mailbox:";

impl Runner {
    /// As clients see it (agents.md 2.6.13), without its secrets.
    pub fn shown(&self) -> Value {
        let mut shown = self.shown_to_all();
        if let (Some(members), Some(mailbox)) = (shown.as_object_mut(), &self.mailbox) {
            members.insert("base-url".to_owned(), Value::Null);
            members.insert("transport".to_owned(), "mailbox".into());
            members.insert("instance-id".to_owned(), mailbox.instance_id.as_str().into());
            members.insert("runner-epoch".to_owned(), mailbox.epoch.into());
        }
        shown
    }

    fn shown_to_all(&self) -> Value {
        json!({
            "runner-id": self.runner_id,
            "user-id": self.user_id,
            "base-url": self.base_url,
            "status": self.status,
            "max-sessions": self.max_sessions,
            "active-sessions": self.active_sessions,
            "last-heartbeat-at": self.last_heartbeat_at,
            "created-at": self.created_at,
            "updated-at": self.updated_at,
        })
    }
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Runner")
            .field("runner_id", &self.runner_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}
