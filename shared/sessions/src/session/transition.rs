//! What an operator is told when a session goes from one status to another (agents.md 20.10).

use web::{Event, Fact, Level};

use super::{Effect, State, Status};
use crate::event::{Draft, Kind};

/// Reasons that the service gives for a status. Agents may write others into their events: those are not told.
const REASONS: [&str; 10] = [
    "user-resume",
    "prompt-started",
    "resume-after-completed",
    "resume-after-failed",
    "resume-after-canceled",
    "user-pause",
    "interrupt",
    "budget",
    "sandbox-missing",
    "pg-sync-wake",
];
/// Where a session comes from that was just created.
const NOWHERE: &str = "none";
/// Where a session goes that is deleted.
const DELETED: &str = "deleted";

/// A session went from one status to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The session.
    pub session_id: String,
    /// Who created it.
    pub user_id: String,
    /// Where its agent runs; none before a runtime was made.
    pub provider: Option<&'static str>,
    /// The status before; `none` for a new session.
    pub from: &'static str,
    /// The status now; `deleted` for a session that is being removed.
    pub to: &'static str,
    /// How long the status before lasted, in milliseconds.
    pub duration_ms: i64,
    /// Why: a reason of the service's own, else the type of the event that brought the status.
    pub cause: &'static str,
}

impl Transition {
    /// What became of a session in one change, if its status changed. `effects` are those of the change.
    pub fn of(before: &State, after: &State, effects: &[Effect], now: i64) -> Option<Self> {
        let drafts = || effects.iter().filter_map(draft_of);
        let is_new = drafts().any(|draft| draft.kind == Kind::SessionCreated);
        let is_deleted = after.removal.is_some();
        let is_same = before.status == after.status && !is_new && !is_deleted;
        if before.removal.is_some() || is_same {
            return None;
        }
        let from = if is_new { NOWHERE } else { before.status.as_str() };
        let to = if is_deleted { DELETED } else { after.status.as_str() };
        let bringer = drafts().rfind(|draft| Status::after(&draft.kind) == Some(after.status));
        let cause = match bringer {
            _ if is_deleted => "user-delete",
            _ if is_new => "user-create",
            Some(draft) => reason_of(draft).unwrap_or(after.status.as_str()),
            None => after.status.as_str(),
        };
        let duration_ms = if is_new { 0 } else { now.saturating_sub(before.since()).max(0) };
        let provider = after.runtime.as_ref().or(before.runtime.as_ref()).map(|runtime| runtime.provider.as_str());
        let (session_id, user_id) = (after.id.clone(), after.requested_by.clone());
        Some(Self { session_id, user_id, provider, from, to, duration_ms, cause })
    }

    /// Hands the line of it to `report`.
    pub fn tell(&self, report: impl FnOnce(&Event<'_>)) {
        let facts = [
            ("session-id", Fact::Text(&self.session_id)),
            ("user-id", Fact::Text(&self.user_id)),
            ("provider", Fact::Text(self.provider.unwrap_or(NOWHERE))),
            ("from", Fact::Text(self.from)),
            ("to", Fact::Text(self.to)),
            ("duration-ms", Fact::Number(self.duration_ms)),
            ("cause", Fact::Text(self.cause)),
        ];
        report(&Event::new(Level::Info, "agents/transition").with_facts(&facts));
    }
}

fn draft_of(effect: &Effect) -> Option<&Draft> {
    match effect {
        Effect::Append(draft) | Effect::Announce(draft) => Some(draft),
        _ => None,
    }
}

fn reason_of(draft: &Draft) -> Option<&'static str> {
    let reason = draft.data.get("reason")?.as_str()?;
    REASONS.into_iter().find(|known| *known == reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(status: Status, data: serde_json::Value, kind: Kind) -> (State, State, Vec<Effect>) {
        let mut before = State::new("s", "ann", 1_000);
        before.status_since = Some(4_000);
        let after = State { status, ..before.clone() };
        (before, after, vec![Effect::Append(Draft::new(kind, data))])
    }

    #[test]
    fn a_new_status_is_told_with_its_cause() {
        let (before, after, effects) = changed(Status::Paused, json!({"reason": "budget"}), Kind::SessionPaused);
        let told = Transition::of(&before, &after, &effects, 10_000).unwrap();
        assert_eq!((told.from, told.to, told.cause, told.duration_ms), ("created", "paused", "budget", 6_000));
        assert_eq!((told.session_id.as_str(), told.user_id.as_str(), told.provider), ("s", "ann", None));
        let mut line = String::new();
        told.tell(|event| line = event.to_json());
        let expected = r#"{"level":"info","event":"agents/transition","session-id":"s","user-id":"ann","provider":"none",
            "from":"created","to":"paused","duration-ms":6000,"cause":"budget"}"#;
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&line), read(expected));
        assert!(!line.contains('\n'));
    }

    #[test]
    fn what_agents_write_is_not_told() {
        let words = json!({"reason": "text of the agent", "by": "text of the agent"});
        let (before, after, effects) = changed(Status::Failed, words, Kind::SessionFailed);
        assert_eq!(Transition::of(&before, &after, &effects, 5_000).unwrap().cause, "failed");
    }

    #[test]
    fn sessions_come_and_go() {
        let (before, ..) = changed(Status::Created, json!({}), Kind::SessionCreated);
        let effects = [Effect::Append(Draft::new(Kind::SessionCreated, json!({})))];
        let told = Transition::of(&before, &before, &effects, 5_000).unwrap();
        assert_eq!((told.from, told.to, told.duration_ms), ("none", "created", 0));
        let after = State { removal: Some(crate::session::Removal { attempt: 0, retry_at: 9 }), ..before.clone() };
        let told = Transition::of(&before, &after, &[], 5_000).unwrap();
        assert_eq!((told.from, told.to, told.cause), ("created", "deleted", "user-delete"));
        assert_eq!(Transition::of(&after, &after, &[], 6_000), None, "it is told once");
        assert_eq!(Transition::of(&before, &before, &[], 5_000), None);
    }
}
