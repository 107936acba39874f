//! Refusals of routes about databases (pg-sync.md 4.2): a code, and members beside it.

use http::StatusCode;
use serde_json::{Map, Value, json};

/// Why a request about a database is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PgSyncError {
    /// Members of the body that are wrong or unknown.
    #[error("invalid_options")]
    InvalidOptions(Vec<String>),
    /// A filter cannot be decided where updates carry only what has changed.
    #[error("filter_needs_full_replica")]
    FilterNeedsFullReplica,
    /// Members of a connection that are wrong or unknown.
    #[error("invalid_connection")]
    InvalidConnection(Vec<String>),
    /// The address may not be asked.
    #[error("url_not_allowed")]
    UrlNotAllowed,
    /// The connection does not let the table through, or not with this condition.
    #[error("table_not_allowed")]
    TableNotAllowed,
    /// The connection stands in the operator's configuration.
    #[error("read_only")]
    ReadOnly,
    /// There is no connection of that name.
    #[error("connection_not_found")]
    ConnectionNotFound,
    /// It is observed with another wake; that one.
    #[error("wake_conflict")]
    WakeConflict(Value),
    /// Changes after that number are not kept any more; the first that is.
    #[error("gone")]
    Gone(u64),
    /// The service refuses, or does not answer.
    #[error("probe_failed")]
    ProbeFailed {
        /// The status of its answer; 0 without one.
        status: u16,
        /// What it says, without secrets.
        detail: String,
    },
    /// There are too many.
    #[error("quota")]
    Quota {
        /// How many there may be.
        limit: i64,
        /// Of what.
        scope: &'static str,
    },
    /// The operator has not bound the objects of bridges.
    #[error("pg_sync_disabled")]
    Disabled,
    /// The bridge cannot be reached, or has no place in the log of the service now.
    #[error("bridge_unavailable")]
    BridgeUnavailable,
}

/// What quotas are of.
const SCOPES: [&str; 4] = ["session", "user", "source", "connections"];

impl PgSyncError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::InvalidOptions(_) | Self::FilterNeedsFullReplica | Self::InvalidConnection(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::UrlNotAllowed | Self::TableNotAllowed | Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::ConnectionNotFound => StatusCode::NOT_FOUND,
            Self::WakeConflict(_) => StatusCode::CONFLICT,
            Self::Gone(_) => StatusCode::GONE,
            Self::ProbeFailed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Quota { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Disabled | Self::BridgeUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The members beside the code.
    pub fn members(&self) -> Map<String, Value> {
        let members = match self {
            Self::InvalidOptions(fields) | Self::InvalidConnection(fields) => json!({"fields": fields}),
            Self::WakeConflict(wake) => json!({"wake": wake}),
            Self::Gone(first_seq) => json!({"first_seq": first_seq}),
            Self::ProbeFailed { status, detail } => json!({"status": status, "detail": detail}),
            Self::Quota { limit, scope } => json!({"limit": limit, "scope": scope}),
            _ => Value::Null,
        };
        if let Value::Object(members) = members { members } else { Map::new() }
    }

    /// What a bridge has refused with. An answer that is none of ours counts as no answer.
    pub fn of_answer(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let number = |name: &str| body.get(name).and_then(Value::as_i64).unwrap_or_default();
        match body.get("error").and_then(Value::as_str) {
            Some("probe_failed") => Self::ProbeFailed {
                status: u16::try_from(number("status")).unwrap_or_default(),
                detail: body.get("detail").and_then(Value::as_str).unwrap_or_default().to_owned(),
            },
            Some("quota") => {
                let scope = body.get("scope").and_then(Value::as_str);
                let scope = SCOPES.into_iter().find(|known| Some(*known) == scope).unwrap_or("source");
                Self::Quota { limit: number("limit"), scope }
            }
            Some("gone") => Self::Gone(u64::try_from(number("first_seq")).unwrap_or_default()),
            Some("url_not_allowed") => Self::UrlNotAllowed,
            Some("table_not_allowed") => Self::TableNotAllowed,
            Some("connection_not_found") => Self::ConnectionNotFound,
            _ => Self::BridgeUnavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bridge_says_is_said_again() {
        for error in [
            PgSyncError::ProbeFailed { status: 401, detail: "no".into() },
            PgSyncError::Quota { limit: 1_000, scope: "source" },
            PgSyncError::Gone(17),
            PgSyncError::UrlNotAllowed,
            PgSyncError::TableNotAllowed,
            PgSyncError::ConnectionNotFound,
            PgSyncError::BridgeUnavailable,
        ] {
            let mut body = error.members();
            body.insert("error".into(), error.to_string().into());
            assert_eq!(PgSyncError::of_answer(Value::Object(body).to_string().as_bytes()), error);
        }
        assert_eq!(PgSyncError::of_answer(b"<html>"), PgSyncError::BridgeUnavailable);
    }
}
