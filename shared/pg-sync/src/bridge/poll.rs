//! When the service is asked, and for what (pg-sync.md 4.7).

use super::decide::Decide;
use super::{Action, Bridge, Mode, State};
use crate::ring::Log;
use crate::shape::{Ask, LogMode};

/// How long a new source waits for the service, in milliseconds.
pub(super) const PROBE_MS: i64 = 10_000;
/// How long a bridge whose service did not answer is kept, in milliseconds: the caller was told already.
pub(super) const PROBE_KEPT_MS: i64 = 60_000;
/// How long a bridge is kept that nobody observes, in milliseconds.
pub(super) const IDLE_MS: i64 = 86_400_000;
/// How long any other request is waited for, in milliseconds. The service ends a long poll after 20 s.
const REQUEST_MS: i64 = 45_000;
/// How long the reading of a connection is waited for, in milliseconds.
const READING_MS: i64 = 10_000;
/// How long a connection is believed to be as it was, in milliseconds.
const CONNECTION_MS: i64 = 60_000;
/// The least pause after an answer that brought nothing and came at once, in milliseconds.
const LEAST_PAUSE_MS: i64 = 1_000;
/// After so long without a change the pause between two requests grows, in milliseconds.
const QUIET_MS: i64 = 600_000;
/// The longest pause between two requests, in milliseconds.
const MAX_INTERVAL_MS: i64 = 60_000;

/// The pause after a turn in the mode `interval`: what the connection asks for, and after ten quiet minutes half as long again with each turn,
/// up to a minute. How far it has grown follows from how long it was quiet, so that a process that begins between two turns goes on where the
/// one before it was.
pub(super) const fn pause_after(turn_at: i64, base: i64, changed_at: i64) -> i64 {
    let grown_for = turn_at.saturating_sub(changed_at).saturating_sub(QUIET_MS);
    if grown_for < 0 || base >= MAX_INTERVAL_MS {
        return base;
    }
    // Where each pause is half as long again as the one before, all of them together are twice what the next is longer than the first.
    let grown = base.saturating_add(base / 2).saturating_add(grown_for / 2);
    if grown > MAX_INTERVAL_MS { MAX_INTERVAL_MS } else { grown }
}

impl<L: Log> Decide<'_, L> {
    /// Begins the next request, if it is time for one and none is under way.
    pub(super) fn poll(&mut self) {
        let memory = &self.bridge.memory;
        let stored = &self.bridge.stored;
        if self.is_removed || memory.asking.is_some() || memory.reading.is_some() {
            return;
        }
        let is_due = match stored.state {
            State::Probing { until, .. } => self.now < until,
            State::Catching | State::Live => memory.next_poll_at <= self.now,
            State::Resync { next_at } => next_at <= self.now,
            State::Backoff { .. } | State::Blocked { .. } | State::Idle { .. } => false,
        };
        if !is_due {
            return;
        }
        let epoch = memory.epoch;
        let fresh = memory.connection.filter(|(_, read_at)| self.now < read_at.saturating_add(CONNECTION_MS));
        let Some((connection, read_at)) = fresh else {
            self.bridge.memory.turn_at = self.now;
            self.bridge.memory.reading = Some(self.now.saturating_add(READING_MS));
            return self.actions.push(Action::ReadConnection { epoch });
        };
        let ask = match (&stored.cursor, stored.state) {
            (None, _) => Ask::Now(LogMode::ChangesOnly),
            (Some(cursor), _) if stored.comparing.is_some() => Ask::Rows(cursor.clone()),
            (Some(cursor), State::Live) if connection.mode == Mode::Live => {
                Ask::Live(cursor.clone(), memory.echo.clone())
            }
            (Some(cursor), _) => Ask::CatchUp(cursor.clone()),
        };
        let timeout_ms = match stored.state {
            State::Probing { until, .. } => until.saturating_sub(self.now).min(PROBE_MS),
            _ => REQUEST_MS,
        };
        self.bridge.memory.asking = Some(self.now.saturating_add(timeout_ms));
        if read_at < self.now {
            // A turn that had to read the connection began with that.
            self.bridge.memory.turn_at = self.now;
        }
        self.actions.push(Action::Ask { epoch, ask, timeout_ms });
    }

    /// Sets the time of the next request after an answer. `has_news`: it brought changes, or moved the cursor.
    pub(super) fn pace(&mut self, has_news: bool) {
        let now = self.now;
        let Bridge { stored, memory, .. } = &mut *self.bridge;
        if has_news {
            stored.changed_at = now;
        }
        let pause = match (stored.state, stored.interval_ms) {
            (State::Live, Some(base)) => pause_after(memory.turn_at, base, stored.changed_at),
            // More may be there: it is asked for at once.
            _ if has_news => 0,
            _ => LEAST_PAUSE_MS,
        };
        // Counted from when the turn began: an alarm that was set for then stays where it is.
        memory.next_poll_at = if pause == 0 { now } else { memory.turn_at.saturating_add(pause).max(now) };
    }
}
