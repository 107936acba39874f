//! Events about observed databases (pg-sync.md 4.13). Those that bridges send are taken as they come.

use serde_json::{Value, json};

use super::{Draft, Kind};

impl Draft {
    /// What a bridge has sent; none when it is of no type that is known.
    pub fn of_bridge(kind: &str, mut body: Value) -> Option<Self> {
        let kind = match kind {
            "pg_sync.change" => Kind::PgSyncChange,
            "pg_sync.gap" => Kind::PgSyncGap,
            "pg_sync.blocked" => Kind::PgSyncBlocked,
            "pg_sync.recovered" => Kind::PgSyncRecovered,
            "pg_sync.throttled" => Kind::PgSyncThrottled,
            "pg_sync.ended" => Kind::PgSyncEnded,
            _ => return None,
        };
        // The event has a type of its own.
        body.as_object_mut()?.remove("type");
        Some(Self::new(kind, body))
    }

    /// A subscription has ended.
    pub fn observation_ended(source_id: &str, reason: &str) -> Self {
        Self::new(Kind::PgSyncEnded, json!({"source_id": source_id, "reason": reason}))
    }
}
