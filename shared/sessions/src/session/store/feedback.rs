//! What was said about pull requests and is no order yet (agents.md 20.4), under the names of GitHub's deliveries: each is taken once.

use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};

use super::{numbers, signed, text, unsigned};
use crate::follow_up::Piece;

/// Remarks that may wait with their texts; of further ones only the number is kept.
const MAX_WAITING: i64 = 50;
/// Deliveries that are remembered.
const MAX_KNOWN: i64 = 2_000;
/// How long they are, in milliseconds.
const KEPT_MS: i64 = 7 * 86_400_000;

/// The remarks of one pull request that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The pull request.
    pub number: u64,
    /// Who is behind the first.
    pub by: String,
    /// What was said, oldest first.
    pub pieces: Vec<Piece>,
    /// The last of them; what comes later waits for the next order.
    pub last: u64,
    /// Whether remarks about others wait.
    pub has_more: bool,
}

/// The rows of what was said.
#[derive(Clone, Debug)]
pub struct Feedback<S>(pub S);

impl<S: Sql> Feedback<S> {
    /// Whether a delivery was taken before.
    pub fn knows(&self, delivery: &str) -> Result<bool, SqlError> {
        let found = text(&self.0, "SELECT 'x' FROM feedback WHERE delivery_id = ?", &[Param::Text(delivery)])?;
        Ok(found.is_some())
    }

    /// Remembers a delivery that leaves nothing to wait for.
    pub fn remember(&self, delivery: &str, now: i64) -> Result<(), SqlError> {
        self.forget_old(now)?;
        let row = [Param::Text(delivery), Param::Int(now)];
        self.0.execute("INSERT OR IGNORE INTO feedback (delivery_id, at, waits) VALUES (?, ?, 0)", &row)
    }

    /// Stores what was said, once.
    pub fn put(&self, delivery: &str, number: u64, by: &str, said: &str, now: i64) -> Result<(), SqlError> {
        self.forget_old(now)?;
        let waiting = numbers::<1>(&self.0, "SELECT COUNT(*) FROM feedback WHERE waits = 1 AND text IS NOT NULL", &[])?;
        let is_full = waiting.is_some_and(|[count]| count.unwrap_or_default() >= MAX_WAITING);
        let row = [
            Param::Text(delivery),
            Param::Int(signed(number)),
            Param::Text(by),
            Param::opt((!is_full).then_some(said)),
            Param::Int(now),
        ];
        let put =
            "INSERT OR IGNORE INTO feedback (delivery_id, number, by_user, text, at, waits) VALUES (?, ?, ?, ?, ?, 1)";
        self.0.execute(put, &row)
    }

    fn forget_old(&self, now: i64) -> Result<(), SqlError> {
        let old = [Param::Int(now.saturating_sub(KEPT_MS))];
        self.0.execute("DELETE FROM feedback WHERE waits = 0 AND at < ?", &old)?;
        let many = [Param::Int(MAX_KNOWN)];
        self.0.execute("DELETE FROM feedback WHERE seq <= (SELECT MAX(seq) FROM feedback) - ? AND waits = 0", &many)
    }

    /// What waits about the pull request of which something was said first.
    pub fn first(&self) -> Result<Option<Said>, SqlError> {
        let first = "SELECT number, COUNT(*), MAX(seq) FROM feedback WHERE waits = 1 AND number = \
            (SELECT number FROM feedback WHERE waits = 1 ORDER BY seq LIMIT 1)";
        let Some([Some(number), _, last]) = numbers::<3>(&self.0, first, &[])? else { return Ok(None) };
        let (mut by, mut pieces) = (None, Vec::new());
        // At most MAX_WAITING of them have a text, and MAX_KNOWN are there at all.
        let of = "SELECT by_user, text FROM feedback WHERE waits = 1 AND number = ? ORDER BY seq LIMIT ?";
        self.0.query(of, &[Param::Int(number), Param::Int(MAX_KNOWN)], &mut |row| {
            by.get_or_insert(row.text(0)?.unwrap_or_default().into_owned());
            pieces.push(Piece { text: row.text(1)?.map(std::borrow::Cow::into_owned) });
            Ok(ControlFlow::Continue(()))
        })?;
        let others = numbers::<1>(
            &self.0,
            "SELECT COUNT(*) FROM feedback WHERE waits = 1 AND number <> ?",
            &[Param::Int(number)],
        )?;
        let has_more = others.is_some_and(|[count]| count.unwrap_or_default() > 0);
        let (number, last) = (unsigned(Some(number)), unsigned(last));
        Ok(Some(Said { number, by: by.unwrap_or_default(), pieces, last, has_more }))
    }

    /// What was said became an order, or never will.
    pub fn take(&self, said: &Said) -> Result<(), SqlError> {
        let of = [Param::Int(signed(said.number)), Param::Int(signed(said.last))];
        self.0.execute("UPDATE feedback SET waits = 0, text = NULL WHERE waits = 1 AND number = ? AND seq <= ?", &of)
    }
}
