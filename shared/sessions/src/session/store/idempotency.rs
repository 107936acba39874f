//! Requests that may be repeated (agents.md 18.1): the same key gives the same answer.

use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};

/// How long an answer is kept, in milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;
/// How long a request may take before a repeat takes over, in milliseconds.
pub const LEASE_MS: i64 = 75_000;

/// A key with its request.
#[derive(Clone, Copy, Debug)]
pub struct Idempotency<'a> {
    /// Method, route, user and the client's own text.
    pub key: &'a str,
    /// Fingerprint of the request's body.
    pub hash: &'a str,
}

/// What a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing yet, or the request that had it was lost: this one goes on.
    Fresh,
    /// The request was answered.
    Answered {
        /// With this status.
        status: u16,
        /// And this body.
        body: String,
    },
    /// Another request had this key.
    Mismatch,
    /// The first request goes on.
    Running,
}

impl Idempotency<'_> {
    /// Takes the key for a request, unless it is taken.
    pub fn begin(&self, sql: &impl Sql, now: i64) -> Result<Begun, SqlError> {
        let mut found = None;
        sql.query(
            "SELECT request_hash, status, body, lease_until FROM idempotency WHERE key = ? AND ts > ?",
            &[Param::Text(self.key), Param::Int(now.saturating_sub(KEPT_MS))],
            &mut |row| {
                let hash = row.text(0)?.unwrap_or_default().into_owned();
                let body = row.text(2)?.unwrap_or_default().into_owned();
                found = Some((hash, row.int(1)?, body, row.int(3)?.unwrap_or_default()));
                Ok(ControlFlow::Break(()))
            },
        )?;
        match found {
            Some((hash, ..)) if hash != self.hash => Ok(Begun::Mismatch),
            Some((_, Some(status), body, _)) => {
                Ok(Begun::Answered { status: u16::try_from(status).unwrap_or(500), body })
            }
            Some((_, None, _, until)) if until > now => Ok(Begun::Running),
            _ => {
                let row = [
                    Param::Text(self.key),
                    Param::Text(self.hash),
                    Param::Int(now),
                    Param::Int(now.saturating_add(LEASE_MS)),
                ];
                let put = "INSERT OR REPLACE INTO idempotency (key, request_hash, status, body, ts, lease_until) \
                           VALUES (?, ?, NULL, NULL, ?, ?)";
                sql.execute(put, &row)?;
                Ok(Begun::Fresh)
            }
        }
    }

    /// Notes the answer; one that says that the server failed is not kept, so that a repeat tries again.
    pub fn finish(&self, sql: &impl Sql, status: u16, body: &str) -> Result<(), SqlError> {
        if (200..500).contains(&status) {
            let row = [Param::Int(status.into()), Param::Text(body), Param::Text(self.key)];
            sql.execute("UPDATE idempotency SET status = ?, body = ? WHERE key = ?", &row)
        } else {
            sql.execute("DELETE FROM idempotency WHERE key = ?", &[Param::Text(self.key)])
        }
    }

    /// Forgets answers that are old.
    pub fn forget_old(sql: &impl Sql, now: i64) -> Result<(), SqlError> {
        sql.execute("DELETE FROM idempotency WHERE ts <= ?", &[Param::Int(now.saturating_sub(KEPT_MS))])
    }
}
