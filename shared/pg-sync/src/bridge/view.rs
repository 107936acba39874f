//! What is seen of an observation (pg-sync.md 4.13).

use serde_json::{Value as Json, json};

use super::{Bridge, Observer, State};

impl Bridge {
    /// One observation, as it is shown. `dropped` counts messages that were passed over, and changes that the log had no room for.
    pub fn observation(&self, observer: &Observer, now: i64) -> Json {
        let stored = &self.stored;
        let last_ok_at = self.memory.last_ok_at.or(stored.last_ok_at);
        let reason = match (&stored.block, &stored.gap) {
            (Some(block), _) => Some(block.reason.as_str()),
            (None, Some(gap)) => Some(gap.reason.as_str()),
            (None, None) => None,
        };
        json!({
            "source_id": stored.source.id,
            "subscription_id": observer.id,
            "connection": stored.source.connection,
            "table": stored.source.options.table,
            "wake": observer.wake,
            "state": if observer.joining.is_some() { "pending" } else { stored.state.as_str() },
            "reason": reason,
            "last_seq": stored.ring.last_seq,
            "sent_seq": observer.sent_seq,
            "pending": observer.pending(),
            "cursor_age_ms": last_ok_at.map(|at| now.saturating_sub(at).max(0)),
            "last_ok_at": last_ok_at,
            "last_error": stored.failures.last,
            "next_at": match stored.state {
                State::Backoff { until } | State::Blocked { retry_at: until } => Some(until),
                _ => None,
            },
            "observers": self.observers.len(),
            "dropped": stored.odd + stored.overrun,
            "gaps": stored.gap_seq,
            "created_at": stored.incarnation,
        })
    }
}
