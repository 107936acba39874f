//! The data of the events that the control plane makes itself (agents.md 3.4).

use serde_json::{Map, Value, json};

use super::{Draft, Kind, strip_agent};

/// Who stands behind what nobody asked for.
const SYSTEM: &str = "system";

/// What is known about a runtime that was made. Absent values are null on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct Provisioned<'a> {
    /// Name of the provider.
    pub provider: Option<&'a str>,
    /// The agent's own session.
    pub runtime_session_id: Option<&'a str>,
    /// The runner.
    pub runner_id: Option<&'a str>,
    /// The sandbox.
    pub sandbox_id: Option<&'a str>,
    /// Its name.
    pub sandbox_name: Option<&'a str>,
    /// Its name at a provider that is no longer used.
    pub sprite_name: Option<&'a str>,
}

/// A snapshot that is known.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'a> {
    /// The snapshot.
    pub snapshot_id: &'a str,
    /// Its provider.
    pub provider: &'a str,
}

/// A message of the assistant as events hold it: thoughts first, then text, each only if it is more than blanks.
pub fn message_item(item_id: &str, reasoning: &str, text: &str) -> Value {
    let content: Vec<Value> = [("reasoning", reasoning), ("text", text)]
        .into_iter()
        .map(|(kind, text)| (kind, text.trim()))
        .filter(|(_, text)| !text.is_empty())
        .map(|(kind, text)| json!({"type": kind, "text": text}))
        .collect();
    json!({
        "item_id": item_id,
        "item": {"item_id": item_id, "kind": "message", "role": "assistant", "content": content},
    })
}

pub(super) fn with(
    mut data: Map<String, Value>,
    members: impl IntoIterator<Item = (&'static str, Option<Value>)>,
) -> Value {
    data.extend(members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Value::Object(data)
}

pub(super) fn by(user: &str) -> Map<String, Value> {
    Map::from_iter([("by".to_owned(), Value::from(user))])
}

impl Draft {
    /// The first event of a session. `attachments` is named only when there are some.
    pub fn session_created(requested_by: &str, project: &Value, agent: &Value, attachments: &[String]) -> Self {
        let mut agent = agent.clone();
        strip_agent(&mut agent);
        let mut data = json!({"requested-by": requested_by, "project": project, "agent": agent});
        if let (Value::Object(members), false) = (&mut data, attachments.is_empty()) {
            members.insert("attachments".to_owned(), json!(attachments));
        }
        Self::new(Kind::SessionCreated, data)
    }

    /// A runtime was made.
    pub fn session_provisioned(made: &Provisioned<'_>) -> Self {
        Self::new(
            Kind::SessionProvisioned,
            json!({
                "provider": made.provider,
                "runtime-session-id": made.runtime_session_id,
                "runner-id": made.runner_id,
                "sandbox-id": made.sandbox_id,
                "sandbox-name": made.sandbox_name,
                "sprite-name": made.sprite_name,
            }),
        )
    }

    /// The session runs; the reason is one of `user-resume`, `prompt-started`, `resume-after-…`.
    pub fn session_running(user: Option<&str>, reason: &str) -> Self {
        Self::new(Kind::SessionRunning, with(by(user.unwrap_or(SYSTEM)), [("reason", Some(reason.into()))]))
    }

    /// The session is paused; the reason is `user-pause`, `interrupt` or `budget`.
    pub fn session_paused(user: Option<&str>, reason: &str) -> Self {
        Self::new(Kind::SessionPaused, with(by(user.unwrap_or(SYSTEM)), [("reason", Some(reason.into()))]))
    }

    /// A person put the session away.
    pub fn session_archived(user: &str) -> Self {
        Self::new(Kind::SessionArchived, Value::Object(by(user)))
    }

    /// A person, or a message, brought the session back.
    pub fn session_unarchived(user: &str) -> Self {
        Self::new(Kind::SessionUnarchived, Value::Object(by(user)))
    }

    /// A person cancelled the session.
    pub fn session_canceled(user: &str) -> Self {
        Self::new(Kind::SessionCanceled, Value::Object(by(user)))
    }

    /// The sandbox of the session is gone.
    pub fn sandbox_missing(runtime_session_id: Option<&str>, sandbox_id: Option<&str>, error: &str) -> Self {
        Self::new(
            Kind::SessionCanceled,
            json!({
                "by": SYSTEM,
                "reason": "sandbox-missing",
                "runtime-session-id": runtime_session_id,
                "sandbox-id": sandbox_id,
                "error": error,
            }),
        )
    }

    /// A message was accepted. Its kind is null when the caller named none.
    pub fn user_message(user: &str, kind: Option<&str>, message: &str) -> Self {
        Self::new(Kind::AuditLog, json!({"event": "user-message", "kind": kind, "by": user, "message": message}))
    }

    /// Something failed between the control plane and the agent. `reason` is a word for programs, if there is one.
    pub fn runtime_error(session_id: &str, message: &str, reason: Option<&str>) -> Self {
        let data = Map::from_iter([
            ("session-id".to_owned(), Value::from(session_id)),
            ("message".to_owned(), Value::from(message)),
        ]);
        Self::new(Kind::AgentRuntimeError, with(data, [("reason", reason.map(Value::from))]))
    }

    /// A prompt has been answered (agents.md 4.5). `turn` is the number in the message's `item_id`; null for a turn that said
    /// nothing. `stopped` says how a turn that had to be stopped was stopped (agents.md 3.9).
    pub fn turn_completed(
        stop_reason: &str,
        turn: Option<u64>,
        runtime_session_id: Option<&str>,
        stopped: Option<&str>,
    ) -> Self {
        let data = json!({"stop-reason": stop_reason, "turn": turn, "runtime-session-id": runtime_session_id});
        let data = match data {
            Value::Object(members) => with(members, [("stopped", stopped.map(Value::from))]),
            other => other,
        };
        Self::new(Kind::TurnCompleted, data)
    }

    /// A known snapshot is being noted again.
    pub fn checkpoint_started(user: Option<&str>, reason: &str) -> Self {
        Self::new(Kind::CheckpointStarted, with(by(user.unwrap_or(SYSTEM)), [("reason", Some(reason.into()))]))
    }

    /// The outcome of noting a known snapshot: there was one, or there was none.
    pub fn checkpoint_ended(user: Option<&str>, reason: &str, found: Option<Checkpoint<'_>>) -> Self {
        let by = user.unwrap_or(SYSTEM);
        match found {
            Some(Checkpoint { snapshot_id, provider }) => Self::new(
                Kind::CheckpointSucceeded,
                json!({"reused": true, "by": by, "reason": reason, "snapshot-id": snapshot_id, "provider": provider}),
            ),
            None => Self::new(
                Kind::CheckpointFailed,
                json!({"error": "missing existing checkpoint snapshot", "by": by, "reason": reason}),
            ),
        }
    }

    /// A snapshot is being taken.
    pub fn snapshot_started(user: &str) -> Self {
        Self::new(Kind::SnapshotStarted, Value::Object(by(user)))
    }

    /// A snapshot was taken.
    pub fn snapshot_succeeded(user: &str, taken: Checkpoint<'_>) -> Self {
        Self::new(
            Kind::SnapshotSucceeded,
            json!({"by": user, "snapshot-id": taken.snapshot_id, "provider": taken.provider}),
        )
    }

    /// No snapshot could be taken.
    pub fn snapshot_failed(user: &str, reason: Option<&str>, error: &str) -> Self {
        Self::new(Kind::SnapshotFailed, json!({"by": user, "reason": reason, "error": error}))
    }

    /// A terminal was opened.
    pub fn terminal_opened(user: &str, cols: Option<u32>, rows: Option<u32>) -> Self {
        Self::new(
            Kind::TerminalOpened,
            with(by(user), [("cols", cols.map(Value::from)), ("rows", rows.map(Value::from))]),
        )
    }

    /// A terminal could not be opened.
    pub fn terminal_failed(user: &str, error: &str, cols: Option<u32>, rows: Option<u32>) -> Self {
        Self::new(
            Kind::TerminalFailed,
            with(
                by(user),
                [("error", Some(error.into())), ("cols", cols.map(Value::from)), ("rows", rows.map(Value::from))],
            ),
        )
    }

    /// A terminal has ended: why, with which code its process did, and what failed.
    pub fn terminal_closed(user: &str, reason: &str, exit_code: Option<i64>, error: Option<&str>) -> Self {
        Self::new(
            Kind::TerminalClosed,
            with(
                by(user),
                [
                    ("reason", Some(reason.into())),
                    ("exit-code", exit_code.map(Value::from)),
                    ("error", error.map(Value::from)),
                ],
            ),
        )
    }
}
